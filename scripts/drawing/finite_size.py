"""Softmax heads at finite (d, L): [S]'s loss and norm, and attention, against exact quadrature."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import style
from analytic import softmax as closed
from claims.softmax.finite_size import exact_at_limit
from claims.softmax.saturation import participation
from drawing.base import Drawing, Names, Row, Settings, rows
from numerics.softmax.optimum import exact_optimum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
DIMS = (10, 30, 100)
COLOURS = (style.MEASURED, "#E69F00", style.OTHER)
RATIOS = (0.02, 0.1, 0.5)
TRAINED, FIXED = (40, 160, 640, 2560), 40
LENGTHS = (100, 10**4, 10**8)
LOADED = (10**4, 10**12, 10**48)


@dataclass(frozen=True, eq=False)
class Sizes:
    """Exact losses of the limit weights, λ = 1, σ = 0, beside the closed forms.

    `exact`, `spectral`, `long` (dims, L); `over_d` is the exact loss over [S]'s less 1 (ratios, d);
    `elsewhere` (trained L, L') at d = 40.
    """

    lengths: Array
    exact: Array
    spectral: Array
    long: Array
    dims: Array
    over_d: Array
    tested: Array
    elsewhere: Array


def compute_sizes(settings: Settings) -> Sizes:
    """L from d = 10's own length to 10⁶, d from 5 to 640."""
    lengths = np.unique(np.geomspace(20, 1e6, 8 if settings.quick else 40).astype(int))
    dims = np.unique(np.geomspace(10, 640, 4 if settings.quick else 10).astype(int))
    tested = np.unique(np.geomspace(10, 1e5, 6 if settings.quick else 14).astype(int))
    known = [(d, 1.0, lengths) for d in DIMS]
    points = [closed.limit_weights(*k) for k in known]
    return Sizes(
        lengths,
        np.array([[exact_at_limit(d, int(L)) for L in lengths] for d in DIMS]),
        np.array([closed.limit_loss(*k) for k in known]),
        np.array([closed.long_context_loss(p.omega_bar, p.mu, *k)
                  for p, k in zip(points, known, strict=True)]),
        dims,
        np.array([[_over(int(d), round(d / ratio)) for d in dims] for ratio in RATIOS]),
        tested,
        np.array([[exact_at_limit(FIXED, L, 1.0, int(K)) for K in tested] for L in TRAINED]),
    )  # fmt: skip


def _over(dim: int, length: int) -> float:
    return exact_at_limit(dim, length) / float(closed.limit_loss(dim, 1.0, length)) - 1


def draw_sizes(result: Sizes) -> Figure:
    """(a) losses over L, (b) their ratios, (c) the error over d, (d) other lengths."""
    fig, axes = style.figure(7.2, 5.6, nrows=2, ncols=2)
    _losses(axes[0, 0], result)
    _ratios(axes[0, 1], result)
    _over_dims(axes[1, 0], result)
    _elsewhere(axes[1, 1], result)
    return fig


def _losses(ax: Axes, result: Sizes) -> None:
    for i in (0, 2):
        style.measured(ax, result.lengths, result.exact[i] / DIMS[i],
                       label="exact" if i == 0 else None)  # fmt: skip
        style.predicted(ax, result.lengths, result.spectral[i] / DIMS[i],
                        label="[S] Lemma 2" if i == 0 else None)  # fmt: skip
        middle = len(result.lengths) * 3 // 5
        below = i == 0
        ax.annotate(f"d = {DIMS[i]}", (result.lengths[middle], result.exact[i, middle] / DIMS[i]),
                    xytext=(-6, -4) if below else (6, 4), textcoords="offset points", fontsize=8,
                    ha="right" if below else "left", va="top" if below else "bottom")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="context length L", ylabel="loss/(λd)")
    ax.set_title("(a) limit weights of [S]", loc="left")
    ax.legend()


def _ratios(ax: Axes, result: Sizes) -> None:
    ax.axhline(1.0, color=style.QUIET, lw=0.8)
    for i, (d, colour) in enumerate(zip(DIMS, COLOURS, strict=True)):
        ax.plot(
            result.lengths, result.spectral[i] / result.exact[i], color=colour, label=f"d = {d}"
        )
        ax.plot(result.lengths, result.long[i] / result.exact[i], color=colour, ls=":")
        floor = 1 / closed.dimension_correction(d, 1.0)
        ax.plot([2e6], [floor], "<", color=colour, ms=5, clip_on=False)
    ax.plot([], [], color="black", label="[S] Lemma 2")
    ax.plot([], [], color="black", ls=":", label="closed in d")
    ax.plot([], [], "<", color="black", ms=5, label="L → ∞")
    ax.set(xscale="log", xlabel="context length L", ylabel="formula / exact loss")
    ax.set_xlim(20, 2e6)
    ax.set_ylim(0.75, 1.45)
    ax.set_title("(b) an error of about 2/d stays", loc="left")
    ax.legend(ncols=2)


def _over_dims(ax: Axes, result: Sizes) -> None:
    for row, ratio, colour in zip(result.over_d, RATIOS, COLOURS, strict=True):
        ax.plot(result.dims, row, "o", color=colour, ms=5, label=f"d/L = {ratio:g}")
        style.predicted(ax, result.dims, _coefficients(result.dims, ratio))
    ax.plot([], [], color=style.OVER, ls=style.DASHES, lw=1.2, label="K/d")
    ax.set(xscale="log", yscale="log", xlabel="d", ylabel="exact / Lemma 2 − 1")
    ax.set_title("(c) the error at fixed d/L", loc="left")
    ax.legend()


def _coefficients(dims: Array, ratio: float) -> Array:
    return np.array([float(closed.dimension_coefficient(d, 1.0, d / ratio)) / d for d in dims])


def _elsewhere(ax: Axes, result: Sizes) -> None:
    fine = np.geomspace(result.tested[0], result.tested[-1], 100)
    ax.plot(fine, closed.limit_loss(FIXED, 1.0, fine) / FIXED, color=style.QUIET, lw=1.0,
            label="trained at L'")  # fmt: skip
    for row, L, colour in zip(result.elsewhere, TRAINED, style.shades(4), strict=True):
        ax.plot(result.tested, row / FIXED, "o", color=colour, ms=4.5, label=f"L = {L}")
        style.predicted(ax, fine, closed.generalised_loss(FIXED, 1.0, L, fine) / FIXED)
    ax.set(xscale="log", yscale="log", xlabel="context length L' in use", ylabel="loss/(λd)")
    ax.set_title(f"(d) trained at L, used at L', d = {FIXED}", loc="left")
    ax.legend(ncols=1)


def table_sizes(result: Sizes) -> Iterator[Row]:
    """Every curve and point."""
    length = Names("context_length", "loss")
    for i, d in enumerate(DIMS):
        for series, kind, values in (("exact", "measured", result.exact),
                                     ("Lemma 2", "predicted", result.spectral),
                                     ("closed in d", "predicted", result.long)):  # fmt: skip
            yield from rows("over L", f"d = {d}, {series}", kind, result.lengths, values[i], length)
    error = Names("dimension", "exact_over_formula_minus_1")
    for row, ratio in zip(result.over_d, RATIOS, strict=True):
        yield from rows("over d", f"d/L = {ratio:g}", "measured", result.dims, row, error)
        yield from rows("over d", f"d/L = {ratio:g}", "predicted", result.dims,
                        _coefficients(result.dims, ratio), error)  # fmt: skip
    used = Names("test_length", "loss")
    for row, L in zip(result.elsewhere, TRAINED, strict=True):
        yield from rows("other lengths", f"trained at {L}", "measured", result.tested, row, used)
        yield from rows("other lengths", f"trained at {L}", "predicted", result.tested,
                        closed.generalised_loss(FIXED, 1.0, L, result.tested), used)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Regimes:
    """L·EΣp² (L, norms), EΣp² (L, loads), and the exact optimum (dims, L) beside the limit."""

    norms: Array
    growth: Array
    loads: Array
    shares: Array
    lengths: Array
    best_norm: Array
    excess: Array


def compute_regimes(settings: Settings) -> Regimes:
    """Scores N(0, ‖ω‖²); the optimum and the limit weights for λ = 1, σ = 0."""
    quick = settings.quick
    norms = np.linspace(0.05, 25, 12 if quick else 80)
    loads = np.linspace(0.1, 20, 12 if quick else 80)
    lengths = np.unique(np.geomspace(10, 1e6, 5 if quick else 24).astype(int))
    best = [[exact_optimum(d, 1.0, int(L)) for L in lengths] for d in DIMS]
    least = np.array([[b.loss for b in line] for line in best])
    at_limit = np.array([[exact_at_limit(d, int(L)) for L in lengths] for d in DIMS])
    return Regimes(
        norms,
        np.array([[L * participation(x, L) for x in norms] for L in LENGTHS]),
        loads,
        np.array([[participation(u * math.log(L), L) for u in loads] for L in LOADED]),
        lengths,
        np.array([[b.squared_norm for b in line] for line in best]),
        at_limit / least - 1,
    )


def draw_regimes(result: Regimes) -> Figure:
    """(a) growth with ‖ω‖², (b) condensation, (c) the best norm, (d) what [S]'s weights cost."""
    fig, axes = style.figure(7.2, 5.6, nrows=2, ncols=2)
    _growth(axes[0, 0], result)
    _condensation(axes[0, 1], result)
    _best_norm(axes[1, 0], result)
    ax = axes[1, 1]
    for row, d, colour in zip(result.excess, DIMS, COLOURS, strict=True):
        ax.plot(result.lengths, 100 * row, "o-", color=colour, ms=4, lw=1.0, label=f"d = {d}")
    ax.set(xscale="log", yscale="log", xlabel="context length L", ylabel="excess of loss  [%]")
    ax.set_title("(d) limit weights of [S] over the best", loc="left")
    ax.legend()
    return fig


def _growth(ax: Axes, result: Regimes) -> None:
    for row, L, colour in zip(result.growth, LENGTHS, COLOURS, strict=True):
        ax.plot(result.norms, row, color=colour, label=f"L = $10^{round(math.log10(L))}$")
        ax.axhline(L, color=colour, lw=0.7, ls=":")
        scale = closed.saturation_scale(L)
        ax.plot([scale.mean], [math.exp(scale.mean) / 2], "o", color=colour, ms=5, mfc="white")
    below = result.norms[result.norms < 21]
    style.predicted(ax, below, np.exp(below), label="$e^{‖ω‖²}$")
    ax.plot([], [], color="black", lw=0.7, ls=":", label="one token takes all")
    ax.plot([], [], "o", color="black", ms=5, mfc="white", label="half of it at ⅔ ln L")
    ax.set(yscale="log", xlabel="‖ω‖²", ylabel="L · E Σp²", ylim=(0.7, 1e14), xlim=(0, 25))
    ax.set_title("(a) exponential regime", loc="left")
    ax.legend(ncols=2, loc="upper left")


def _condensation(ax: Axes, result: Regimes) -> None:
    for row, L, colour in zip(result.shares, LOADED, style.shades(3)[::-1], strict=True):
        ax.plot(result.loads, row, color=colour, lw=2.0,
                label=f"L = $10^{{{round(math.log10(L))}}}$")  # fmt: skip
    fine = np.linspace(2, result.loads[-1], 200)
    limit = closed.condensed_participation(fine)
    style.predicted(ax, [0, *fine], [0, *limit], label="L → ∞: $1 − \\sqrt{2/u}$")
    ax.set(xlabel="u = ‖ω‖²/ln L", ylabel="E Σp²", ylim=(0, 1), xlim=(0, 20))
    ax.set_xticks([0, 5, 10, 15, 20])
    ax.set_title("(b) condensed attention", loc="left")
    ax.legend(loc="lower right")


def _best_norm(ax: Axes, result: Regimes) -> None:
    for row, d, colour in zip(result.best_norm, DIMS, COLOURS, strict=True):
        ax.plot(result.lengths, row, "o-", color=colour, ms=4, lw=1.0, label=f"d = {d}")
        end = float(closed.long_context_squared_norm(d, 1.0))
        style.predicted(ax, result.lengths[[0, -1]], [end, end],
                        label="L → ∞" if d == DIMS[-1] else None)  # fmt: skip
    ax.axhline(1.0, color=style.QUIET, lw=0.8, label="[S]: 1")
    ax.set(xscale="log", xlabel="context length L", ylabel="best ‖ω‖², exact")
    ax.set_title("(c) the best norm", loc="left")
    ax.legend()


def table_regimes(result: Regimes) -> Iterator[Row]:
    """Every curve and limit."""
    norm = Names("squared_norm", "length_times_participation")
    for row, L in zip(result.growth, LENGTHS, strict=True):
        yield from rows("growth", f"L = {L:.0e}", "measured", result.norms, row, norm)
    yield from rows("growth", "exponential", "predicted", result.norms, np.exp(result.norms), norm)
    load = Names("squared_norm_over_log_length", "participation")
    for row, L in zip(result.shares, LOADED, strict=True):
        yield from rows("condensation", f"L = {L:.0e}", "measured", result.loads, row, load)
    beyond = result.loads[result.loads >= 2]
    yield from rows("condensation", "L → ∞", "predicted", beyond,
                    closed.condensed_participation(beyond), load)  # fmt: skip
    best = Names("context_length", "squared_norm")
    for i, d in enumerate(DIMS):
        yield from rows("best norm", f"d = {d}", "measured", result.lengths, result.best_norm[i],
                        best)  # fmt: skip
        yield from rows("best norm", f"d = {d}, L → ∞", "predicted", [result.lengths[-1]],
                        [closed.long_context_squared_norm(d, 1.0)], best)  # fmt: skip
        yield from rows("excess", f"d = {d}", "measured", result.lengths, result.excess[i],
                        Names("context_length", "relative_excess_of_loss"))  # fmt: skip


DRAWINGS = {
    "formula": Drawing(compute_sizes, draw_sizes, table_sizes),
    "regimes": Drawing(compute_regimes, draw_regimes, table_regimes),
}

"""ATTN_S of rank one, [L] Fig. 3: each drop is one head that learns one eigenvector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import analytic
import style
from drawing.base import Drawing, Names, Row, Settings, level_rows, rows, thin
from drawing.runs import CONTEXT, FOUR, LossCurve, Run, Setup, loss_curve, separate_run
from numerics import crossing_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Values:
    """Value weights (T, D), heads sorted by the mode they learn, and Eq. 21 for each of them.

    `halves` (D,) are the times at which the heads pass half of their predicted limits. A fit is
    (t, v): the closed-form t(v) of Eq. 21, shifted in time to pass there as well.
    """

    t: Array
    v: Array
    halves: Array
    fits: tuple[tuple[Array, Array], ...]


@dataclass(frozen=True, eq=False)
class Modes:
    """Losses of all seeds; values and keys of one of them.

    `keys` (D, D, D): plateau, head, coordinate. `reference` (D, D): eigenvectors as rows, each
    scaled to the norm of a key that has learned it.
    """

    plateaus: Array
    curves: tuple[LossCurve, ...]
    shown: int
    values: Values
    keys: Array
    reference: Array


def compute(settings: Settings) -> Modes:
    """D=4, N=31, H=4, eigenvalues 0.4 to 0.1 in a random basis, weights N(0, 0.01²)."""
    setup = Setup(FOUR, heads=4, rank=1, scale=1e-2, basis_seed=settings.seed)
    runs = [separate_run(setup, seed, tail=0.3) for seed in settings.seeds()]
    # The run whose drops lie furthest apart has the clearest plateaus.
    best = max(runs, key=Run.separation)
    v, k, q = setup.model.unpack(best.states)
    k, q = k[:, :, 0], q[:, :, 0]
    order, sign = _heads_by_mode(setup.basis, v[-1], k[-1], q[-1])
    limits = np.cbrt(analytic.mode_coefficients(FOUR, CONTEXT))
    reference = (setup.basis * limits).T
    # (k, q) and (−k, −q) are the same head, and an eigenvector has no sign: match the keys.
    signs = np.sign(np.sum(reference * k[-1, order], axis=1))
    return Modes(
        setup.plateaus,
        tuple(loss_curve(run, log_time=True) for run in runs),
        best.seed,
        _values(best.t, sign * v[:, order]),
        k[_plateau_indices(best)][:, order],
        signs[:, None] * reference,
    )


def _heads_by_mode(basis: Array, v: Array, k: Array, q: Array) -> tuple[Array, Array]:
    """The head that holds most of each mode at the end, and the sign of its value weight."""
    share = v[:, None] * (k @ basis) * (q @ basis)
    order = np.argmax(share, axis=0)
    return order, np.sign(v[order])


def _plateau_indices(run: Run) -> Array:
    """Where the loss is flattest between consecutive drops, and the end."""
    t, found = run.t, []
    for start, stop in zip(run.drops[:-1], run.drops[1:], strict=True):
        inside = np.flatnonzero((t > start) & (t < stop))
        found.append(inside[np.argmin(run.loss_rate[inside])])
    return np.array([*found, len(t) - 1])


def _values(t: Array, v: Array) -> Values:
    growth = analytic.mode_growth(FOUR)
    curvature = analytic.mode_curvature(FOUR, CONTEXT)
    limits = (growth / curvature) ** (1 / 3)
    halves, fits = [], []
    for d, limit in enumerate(limits):
        half = float(crossing_times(t, -v[:, d], [-limit / 2])[0])
        path = limit * np.concatenate([np.geomspace(1e-3, 0.1, 60), np.linspace(0.11, 0.9999, 90)])
        times = half + analytic.time_to_reach(path, limit / 2, growth[d], curvature[d])
        after = times > t[t > 0].min()
        # The last point lies within 1e-4 of the limit, where the solution stays.
        fits.append((np.append(times[after], max(t[-1], times[-1])), np.append(path[after], limit)))
        halves.append(half)
    keep = thin(t, *v.T, log_x=True, count=800)
    return Values(t[keep], v[keep], np.array(halves), tuple(fits))


def draw(result: Modes) -> Figure:
    """(a) losses, (b, c) value weights, (d) keys at each plateau."""
    fig = style.canvas(7.2, 4.7)
    grid = fig.add_gridspec(2, 1, height_ratios=[1.5, 1])
    top, bottom = grid[0].subgridspec(1, 3), grid[1].subgridspec(1, 5)
    left, middle, right = (fig.add_subplot(top[0, i]) for i in range(3))
    _losses(left, result)
    _value_weights(middle, result.values)
    _rises(right, result.values)
    blocks = [*result.keys, result.reference]
    maps = [fig.add_subplot(bottom[0, i]) for i in range(len(blocks))]
    size = float(max(np.abs(block).max() for block in blocks))
    for m, (ax, block) in enumerate(zip(maps, blocks, strict=True), start=1):
        image = ax.imshow(block, cmap="cividis", vmin=-size, vmax=size)
        ax.set_title(f"plateau {m}", loc="left")
        ax.set(xticks=range(4), yticks=[])
        ax.set_xticklabels(["1", "2", "3", "4"])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    maps[0].set_title("(d) plateau 1", loc="left")
    maps[-1].set_title("predicted", loc="left")
    maps[len(maps) // 2].set_xlabel("coordinate of the token")
    maps[0].set_yticks(range(4), [f"$k_{i}$" for i in range(1, 5)])
    maps[-1].set_yticks(range(4), [f"$v_{i} e_{i}$" for i in range(1, 5)])
    fig.colorbar(image, ax=maps, aspect=10, pad=0.01, shrink=0.8).set_label("key weight")
    return fig


def _losses(ax: Axes, result: Modes) -> None:
    style.plateau_lines(ax, result.plateaus, "predicted, Eq. 19")
    for curve in sorted(result.curves, key=lambda c: c.seed == result.shown):
        shown = curve.seed == result.shown
        label = "run of (b–d)" if shown else None
        if curve is result.curves[0] or (shown and len(result.curves) == 1):
            label = label or "other seeds"
        ax.plot(curve.t, curve.loss, label=label, lw=1.8 if shown else 1.0,
                color=style.MEASURED if shown else style.PALE)  # fmt: skip
    style.loss_axes(ax, log_time=True)
    ax.set_xlim(100, max(float(curve.t[-1]) for curve in result.curves))
    ax.set_ylim(0, 1.6)
    ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    ax.set_title("(a) loss", loc="left")
    ax.legend(loc="upper right", borderaxespad=0.1)


def _value_weights(ax: Axes, values: Values) -> None:
    shades = style.shades(len(values.fits))
    for d, fit in enumerate(values.fits):
        style.measured(ax, values.t, values.v[:, d], color=shades[d],
                       label="gradient flow" if d == 0 else None)  # fmt: skip
        style.predicted(ax, *fit, label="Eq. 21, shifted in time" if d == 0 else None)
        ax.annotate(f"$v_{d + 1}$", (values.t[-1], values.v[-1, d]), xytext=(3, min(5 * d - 6, 1)),
                    textcoords="offset points", va="center", annotation_clip=False)  # fmt: skip
    ax.set_xscale("log")
    ax.set_xlim(100, values.t[-1])
    ax.set_ylim(-0.1, 1.6 / 1.1 * float(values.v.max()))
    ax.set_xlabel("training time  [τ]")
    ax.set_ylabel("value weight")
    ax.set_title("(b) values, one run", loc="left")
    ax.legend(loc="upper left", borderaxespad=0.1)


def _rises(ax: Axes, values: Values) -> None:
    """Each head around the time at which it passes half of its limit."""
    shades = style.shades(len(values.fits))
    for d, (t, v) in enumerate(values.fits):
        style.measured(ax, values.t - values.halves[d], values.v[:, d], color=shades[d])
        style.predicted(ax, t - values.halves[d], v)
    ax.set_xlim(-200, 100)
    ax.set_ylim(-0.1, 1.6 / 1.1 * float(values.v.max()))
    ax.set_xlabel("time from half height  [τ]")
    ax.set_title("(c) the rises of (b)", loc="left")


def table(result: Modes) -> Iterator[Row]:
    """Losses with their plateaus, value weights with Eq. 21, keys with the eigenvectors."""
    yield from level_rows("a", result.plateaus)
    for curve in result.curves:
        yield from rows("a", f"seed {curve.seed}", "measured", curve.t, curve.loss)
    value = Names(y="value_weight")
    for d, fit in enumerate(result.values.fits):
        yield from rows("b", f"head {d + 1}", "measured", result.values.t,
                        result.values.v[:, d], value)  # fmt: skip
        yield from rows("b", f"head {d + 1}", "predicted", *fit, value)
    entry = Names("coordinate", "key_weight")
    numbers = np.arange(1, len(result.reference) + 1)
    for m, block in enumerate(result.keys, start=1):
        for d, key in enumerate(block, start=1):
            yield from rows(f"c, plateau {m}", f"head {d}", "measured", numbers, key, entry)
    for d, vector in enumerate(result.reference, start=1):
        yield from rows("c, eigenvectors", f"mode {d}", "predicted", numbers, vector, entry)


DRAWINGS = {"fig3": Drawing(compute, draw, table)}

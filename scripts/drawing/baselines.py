"""[S] Fig. 4 and 5: softmax heads beside ridge regression and the Bayes risk, over d̄/L.

Ten tasks (I = 10) of d̄ = d/I entries each and λ = σ² = 1, where λ is read as the signal energy of
a task, so that φ = 2. Losses are over the signal energy, 1 where nothing is learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import style
from analytic import softmax as closed
from claims.softmax.regression import TASKS, exact_flow_risk, flow_risk, heads_risk, sampled
from drawing.base import Drawing, Names, Row, Settings, rows
from numerics.softmax.heads import optimal_heads

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
HEADS = (1, 2, 4, 7, 11)
FIG5 = ("ridge 0.05", "ridge 5", "best single head", "flow, H ≥ I", "Bayes")
COLOURS = (style.PREDICTED, "#CC79A7", style.QUIET, style.MEASURED, style.OTHER)
LINES = ("-", (0, (6, 1.5, 1, 1.5)), (0, (1, 1.2)), "-", (0, (5, 1.5)))  # told apart in grey too
GAMMA = Names("d_over_L", "loss_over_energy")
READING = "I = 10, λ = σ² = 1: λ read as signal energy of a task, φ = 2"


@dataclass(frozen=True, eq=False)
class Curves:
    """Closed forms over a grid of d̄/L, and points of finite size with two standard errors."""

    grid: Array
    lines: dict[str, Array]
    at: Array
    points: dict[str, Array]
    errors: dict[str, Array]


def compute_bounds(settings: Settings) -> Curves:
    """Lower bounds of H heads; searches over all weights at d̄ = 4, and Bayes sampled at d̄ = 40."""
    grid = np.logspace(-2, 1, 31 if settings.quick else 201)
    at = np.array([0.02, 1.0] if settings.quick else [0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0])
    shown = (1, 11) if settings.quick else HEADS
    lines = {_heads(H): heads_risk(H, grid) for H in HEADS}
    lines["Bayes"] = np.asarray(closed.bayes_risk(grid, 1.0))
    points = {_heads(H): np.array([_searched(H, g, settings.seed) for g in at]) for H in shown}
    points["Bayes"], error = _sampled("Bayes", at, settings)
    return Curves(grid, lines, at, points, {"Bayes": error})


def compute_losses(settings: Settings) -> Curves:
    """Ridge and Bayes sampled at d̄ = 40, the exact loss there of the flow's limit point."""
    grid = np.logspace(-2, 1, 31 if settings.quick else 401)
    at = np.array([0.1, 1.0, 4.0] if settings.quick else
                  [0.02, 0.05, 0.1, 0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0, 8.0])  # fmt: skip
    lines = {
        "ridge 0.05": closed.ridge_risk(grid, 1.0, 0.05),
        "ridge 5": closed.ridge_risk(grid, 1.0, 5.0),
        "best single head": heads_risk(1, grid),
        "flow, H ≥ I": flow_risk(grid),
        "Bayes": closed.bayes_risk(grid, 1.0),
    }
    points, errors = {}, {}
    for name, kind in (("ridge 0.05", 0.05), ("ridge 5", 5.0), ("Bayes", "Bayes")):
        points[name], errors[name] = _sampled(kind, at, settings)
    points["flow, H ≥ I"] = np.array([exact_flow_risk(40, float(g)) for g in at])
    return Curves(grid, {name: np.asarray(lines[name]) for name in FIG5}, at, points, errors)


def _heads(count: int) -> str:
    return f"H = {count}" if count <= TASKS else f"H ≥ {count}"


def _searched(heads: int, gamma: float, seed: int) -> float:
    found = optimal_heads(
        (4,) * TASKS, 1 / 4, round(4 / gamma), heads=heads, noise=1.0, starts=2, rng=seed
    )
    return found.loss / TASKS


def _sampled(kind: str | float, at: Array, settings: Settings) -> tuple[Array, Array]:
    count = 100 if settings.quick else 500
    both = [sampled(kind, 40, float(g), count, (settings.seed, n)) for n, g in enumerate(at)]
    mean, error = np.array(both).T
    return mean, 2 * error


def draw_bounds(result: Curves) -> Figure:
    """Bounds from dark (one head) to pale, their searched points, and Bayes below them."""
    fig, ax = style.figure(4.8, 3.7)
    for name, colour in zip(map(_heads, HEADS), style.SHADES, strict=False):
        ax.plot(result.grid, result.lines[name], color=colour, label=f"lower bound, {name}")
        if name in result.points:
            ax.plot(result.at, result.points[name], "o", ms=4, mfc="none", color=colour)
    ax.plot([], [], "o", ms=4, mfc="none", color=style.SHADES[1], label="least loss found, d̄ = 4")
    _with_errors(ax, result, "Bayes", style.PREDICTED, LINES[-1], "Bayes (MMSE)",
                 "Bayes, sampled, d̄ = 40")  # fmt: skip
    _axes(ax)
    ax.set_ylim(0, 1.02)
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def draw_losses(result: Curves) -> Figure:
    """Ridge with its peak, and what softmax attention keeps."""
    fig, ax = style.figure(4.8, 3.7)
    for name, colour, line in zip(FIG5, COLOURS, LINES, strict=True):
        label = name.replace("ridge", "ridge, penalty")
        if name in result.errors:
            _with_errors(ax, result, name, colour, line, label, None)
            continue
        ax.plot(result.grid, result.lines[name], color=colour, ls=line, label=label)
        if name in result.points:
            ax.plot(result.at, result.points[name], "s", ms=4, mfc="none", color=colour)
    ax.plot([], [], "o", ms=4, color="black", mfc="none", label="sampled, d̄ = 40")
    ax.plot([], [], "s", ms=4, color=style.MEASURED, mfc="none", label="exact loss, d̄ = 40")
    ax.axhline(1.0, color=style.QUIET, lw=0.6, ls=":", zorder=0)
    _axes(ax)
    ax.set_ylim(bottom=0)
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def _with_errors(
    ax: Axes, result: Curves, name: str, colour: str, line: Any, label: str, points: str | None
) -> None:
    ax.plot(result.grid, result.lines[name], color=colour, ls=line, label=label)
    ax.errorbar(result.at, result.points[name], result.errors[name], fmt="o", ms=4, mfc="white",
                color=colour, lw=0.9, label=points)  # fmt: skip


def _axes(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.set_xlim(0.01, 10)
    ax.set_xlabel("d̄/L, entries of a task over context length")
    ax.set_ylabel("loss over signal energy")
    ax.set_title(READING, loc="left")


def table(result: Curves) -> Iterator[Row]:
    """Every line, every point, and two standard errors of those that are sampled."""
    for name, line in result.lines.items():
        yield from rows("all", name, "predicted", result.grid, line, GAMMA)
    for name, values in result.points.items():
        yield from rows("all", name, "measured", result.at, values, GAMMA)
    for name, values in result.errors.items():
        spread = Names(GAMMA.x, "two_standard_errors")
        yield from rows("all", name, "measured", result.at, values, spread)


DRAWINGS = {
    "softmax-fig4": Drawing(compute_bounds, draw_bounds, table),
    "softmax-fig5": Drawing(compute_losses, draw_losses, table),
}

"""The losses over context length: formulas as lines, what is exact as points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import style
from analytic import softmax as closed
from numerics.files import written_atomically

from .theory import (
    Prediction,
    Tasks,
    bayes_losses,
    best_heads,
    best_losses,
    exact_at_limit,
    together,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
SPAN = 30.0  # from L/SPAN to L·SPAN
POINTS = 121
EVALUATIONS = 21  # of exact optima, at up to 0.1 s each
FEWEST, MOST = 5, 13


@dataclass(frozen=True, eq=False)
class Curves:
    """Losses over L: formulas on a fine grid; exact ones, (m,), at few whole lengths."""

    length: Array
    limit: Array | None
    single: Array
    bound: Array
    bayes: Array
    points: Array
    exact: Array
    optimum: Array

    def limit_at_points(self, tasks: Tasks) -> Array:
        """The formula of the limit at the lengths of the exact points."""
        lengths = self.points.astype(float)
        return np.asarray(closed.limit_loss(tasks.sizes, tasks.signal, lengths, noise=tasks.noise))


def compute(prediction: Prediction) -> Curves:
    """The curves around the given L."""
    tasks, L = prediction.tasks, prediction.length
    length = np.geomspace(max(1.0, L / SPAN), SPAN * L, POINTS)
    world: tuple[Any, Any, Any] = (tasks.sizes, tasks.signal, length)
    noise: Any = {"noise": tasks.noise}
    limit, points = None, np.array([], dtype=int)
    if prediction.limit is not None:
        limit = np.asarray(closed.limit_loss(*world, **noise))
        count = int(np.clip(EVALUATIONS // len(set(tasks.kinds)), FEWEST, MOST)) // 2
        sides = np.geomspace(max(1.0, L / SPAN), L, count + 1), np.geomspace(L, SPAN * L, count + 1)
        points = np.unique(np.concatenate(sides).round().astype(int))
    best = [together(best_losses(best_heads(tasks, int(n)))).value for n in points]
    return Curves(
        length,
        limit,
        np.asarray(closed.single_head_optimum(*world, **noise).loss),
        np.asarray(closed.lower_bound(*world, heads=tasks.heads, **noise)),
        bayes_losses(tasks, length).sum(axis=-1),
        points,
        np.array([together(exact_at_limit(tasks, int(n))).value for n in points]),
        np.array(best),
    )  # fmt: skip


def draw(axes: Any, prediction: Prediction, curves: Curves) -> None:
    """Losses above; below, exact losses over the formula of the limit."""
    tasks, top = prediction.tasks, axes[0]
    bounds = tasks.heads == 1
    label = "best single head, lower bound" if bounds else "best single head"
    # Of one task it is the limit, which is drawn over it.
    width = 2.6 if tasks.count == 1 else 1.4
    top.plot(curves.length, curves.single, color="#E69F00", lw=width, label=label)
    if curves.limit is not None:
        top.plot(curves.length, curves.limit, color=style.MEASURED, label="limit of the flow")
    if not bounds:
        label = f"lower bound, H = {tasks.heads}"
        top.plot(curves.length, curves.bound, color=style.QUIET, ls=style.DASHES, label=label)
    if (curves.bayes > 0).any():
        shown = np.where(curves.bayes > 0, curves.bayes, np.nan)
        label = "Bayes" if tasks.noise else f"Bayes, 0 from L = {max(tasks.dims)}"
        top.plot(curves.length, shown, color=style.OTHER, ls=":", label=label)
    top.set_yscale("log")
    top.set_ylim(0.6 * float(curves.bound.min()), 1.3 * float(tasks.energy.sum()))
    top.set_ylabel("loss, summed over tasks")
    if curves.limit is not None:
        _points(top, curves.points, curves.exact, curves.optimum)
        formula = curves.limit_at_points(tasks)
        off = [100 * (formula / exact - 1) for exact in (curves.exact, curves.optimum)]
        _points(axes[1], curves.points, *off)
        axes[1].margins(y=0.2)
        axes[1].axhline(0.0, color=style.QUIET, lw=0.8, zorder=0)
        axes[1].set_ylabel("limit formula\noff by  [%]")
    for ax in axes:
        ax.axvline(prediction.length, color=style.QUIET, lw=0.8, ls=":", zorder=0)
    top.annotate(
        f"L = {prediction.length}", (prediction.length, 1.0), (3, -2), va="top", fontsize=8,
        xycoords=("data", "axes fraction"), textcoords="offset points", color=style.QUIET,
    )  # fmt: skip
    axes[-1].set_xscale("log")
    axes[-1].set_xlabel("context length L")
    top.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1.4)


def _points(ax: Axes, length: Array, exact: Array, optimum: Array) -> None:
    """What belongs to the exact losses, as points."""
    ax.plot(length, exact, "o", color=style.MEASURED, ms=4, label="exact, the limit's weights")
    ax.plot(
        length, optimum, "o", color=style.PREDICTED, ms=6, mfc="none", mew=1.2,
        label="exact, best head for each task",
    )  # fmt: skip


def save(path: Path, prediction: Prediction) -> None:
    """Draw into a file, which appears whole or not at all."""
    curves = compute(prediction)
    both = prediction.limit is not None
    grid = {"height_ratios": [3, 1]} if both else {}
    figure, axes = style.figure(
        5.6, 4.6 if both else 3.3, nrows=1 + both, sharex=True, squeeze=False,
        gridspec_kw=grid,
    )  # fmt: skip
    with style.look():
        draw(axes[:, 0], prediction, curves)
    with written_atomically(path) as temporary:
        style.save(figure, temporary)

"""Their curve, ours and the predicted plateaus; underneath, how far the curves are apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import style
from numerics.files import written_atomically

from .compare import Comparison
from .report import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOG_FROM = 20.0  # ratio of last to first drop from which linear steps hide the first
POINTS = 20_000  # more than any printer shows
LEAST, MOST = 1e-18, 1e6  # differences drawn: exact zeros and divergence lie at the edges
LABEL_HEIGHT = 0.055  # of the axes
RANGE = 1.6  # a loss above this many times its start is divergence, not the picture's subject


def draw(result: Result) -> Figure:
    """The whole picture."""
    found = result.comparison if result.comparison and len(result.comparison.steps) else None
    if found is None:
        figure, ax = style.figure(5.6, 3.4)
        axes = [ax]
    else:
        figure, both = style.figure(
            5.6, 4.4, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
        )
        axes = list(both)
    with style.look():
        _curves(axes[0], result, found)
        if found is not None:
            _differences(axes[1], found)
        axes[-1].set_xlabel("step of gradient descent")
        _steps(axes[0], result)
    return figure


def _curves(ax: Axes, result: Result, found: Comparison | None) -> None:
    top = RANGE * float(result.loss[0])
    if found is not None:
        some = _thin(len(found.steps))
        given = np.minimum(found.given[some], 2 * top)
        style.measured(ax, found.steps[some], given, label="your run")
    some = _thin(len(result.loss))
    alone: Any = {"color": style.MEASURED, "lw": 1.4, "ls": "-"} if found is None else {}
    ours = np.minimum(result.loss[some], 2 * top)
    style.predicted(ax, some, ours, label="replayed", **alone)
    losses = result.plateaus.losses
    style.plateau_lines(ax, losses)
    if result.loss.max() > top:
        ax.set_ylim(0.0, top)
    for modes, loss in _labels(result, LABEL_HEIGHT * float(np.ptp(ax.get_ylim()))):
        ax.annotate(
            modes, (1.01, loss), xycoords=("axes fraction", "data"), va="center", fontsize=7,
            color=style.PREDICTED, annotation_clip=False,
        )  # fmt: skip
    ax.set_ylabel("loss  mean (ŷ − y)²")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False,
              handlelength=1.8, columnspacing=1.4)  # fmt: skip


def _labels(result: Result, reach: float) -> list[tuple[str, float]]:
    """Plateaus by the number of modes learned; those too close for a line each share one."""
    losses, modes = result.plateaus.losses, result.plateaus.modes
    if not losses:
        return []
    if result.run.design != "separate":
        return list(zip(("ŷ = 0", "minimum"), losses, strict=False))
    groups = [[0]]
    for i in range(1, len(losses)):
        if losses[groups[-1][0]] - losses[i] < reach:
            groups[-1].append(i)
        else:
            groups.append([i])
    out = []
    for group in groups:
        ends = dict.fromkeys((modes[group[0]], modes[group[-1]]))
        plural = "mode" if list(ends) == [1] else "modes"
        out.append(("–".join(str(m) for m in ends) + f" {plural}", losses[group[0]]))
    return out


def _differences(ax: Axes, found: Comparison) -> None:
    some = _thin(len(found.steps))
    height = np.clip(np.abs(found.difference[some]), LEAST, MOST)
    ax.plot(found.steps[some], height, ".", ms=1.5, color=style.QUIET, rasterized=True)
    ax.set_yscale("log")
    ax.set_ylabel("|difference|\n(0: at the edge)")


def _steps(ax: Axes, result: Result) -> None:
    """Linear steps, or logarithmic where the drops are far apart."""
    drops = [d for d in result.drops if 1 <= d < np.inf]
    if drops and max(drops) > LOG_FROM * min(drops):
        ax.set_xscale("log")
        ax.set_xlim(1.0, max(len(result.loss), 2))
    else:
        ax.set_xlim(0, max(len(result.loss) - 1, 1))


def _thin(count: int) -> Any:
    return np.arange(0, count, max(1, count // POINTS))


def save(path: Path, result: Result) -> None:
    """Draw into a file, which appears whole or not at all."""
    figure = draw(result)
    with written_atomically(path) as temporary:
        style.save(figure, temporary, dpi=200)

"""The predicted loss over time, with whatever was measured laid over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import console
import numpy as np
import style

from .measured import Measured
from .theory import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG_TIME_FROM = 20.0  # ratio of last to first drop from which linear time hides the first
LABEL_HEIGHT = 0.045  # of the axes
LABELS_PER_LINE = 2
COLOURS = {
    "gradient flow": style.MEASURED,
    "gradient descent": style.OTHER,
    "your run": "#CC79A7",
}


def draw(ax: Axes, prediction: Prediction, measured: Sequence[Measured]) -> list[Any]:
    """Draw into `ax`; return the lines of the curves."""
    first, last, logarithmic = _time_span(prediction, measured)
    complete = len(prediction.visits[-1].modes) == len(prediction.growth)
    lines = []
    for run in measured:
        # A flow that has converged stays where it is.
        t, loss = _cut(run.t, run.loss, last, complete and run.name == "gradient flow")
        lines += ax.plot(t, loss, color=COLOURS[run.name], lw=2.2, alpha=0.8, label=run.name)
    if prediction.cascade is not None and not any(visit.rotates for visit in prediction.visits):
        t, loss = _cut(prediction.cascade.t, prediction.cascade.loss, last, complete)
        lines += ax.plot(t, loss, color=style.PREDICTED, lw=1.0, label="predicted run")
    style.plateau_lines(ax, [visit.loss for visit in prediction.visits])
    unit = "τ" if prediction.tau == 1 else f"τ = {prediction.tau:g}"
    style.loss_axes(ax, log_time=logarithmic, unit=unit)
    ax.set_xlim(first, last)
    _label_plateaus(ax, prediction)
    entries = len(ax.get_legend_handles_labels()[0])
    ax.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), frameon=False,
        ncols=3 if entries <= 3 else 2, handlelength=1.6, columnspacing=1.4,
    )  # fmt: skip
    return lines


def _cut(t: Any, loss: Any, last: float, extend: bool) -> tuple[Any, Any]:
    """The part of a curve up to `last`, or the whole with its last value held on until then."""
    if extend and t[-1] < last:
        return np.append(t, last), np.append(loss, loss[-1])
    inside = t <= last
    return t[inside], loss[inside]


def _time_span(prediction: Prediction, measured: Sequence[Measured]) -> tuple[float, float, bool]:
    """First and last time to show, and whether time is better logarithmic."""
    drops = [visit.drop_time for visit in prediction.visits if visit.drop_time is not None]
    drops += [float(t) for run in measured for t in run.drop_times]
    finite = [t for t in drops if np.isfinite(t) and t > 0]
    if not finite:
        return 0.0, max([float(run.t[-1]) for run in measured] or [1.0]), False
    first, last = min(finite), max(finite)
    if last > LOG_TIME_FROM * first:
        return first / 3, 1.7 * last, True
    return 0.0, 1.2 * last, False


def _label_plateaus(ax: Axes, prediction: Prediction) -> None:
    """Name the plateaus at the right edge; those too close for a line each share one."""
    visits = prediction.visits
    reach = LABEL_HEIGHT * 1.1 * (visits[0].loss - visits[-1].loss)
    groups = [[visits[0]]]
    for visit in visits[1:]:
        if groups[-1][0].loss - visit.loss < reach:
            groups[-1].append(visit)
        else:
            groups.append([visit])
    for group in groups:
        names = [visit.name for visit in group]
        if len(names) > LABELS_PER_LINE:
            names = [names[0], "…", names[-1]]
        ax.annotate(
            " ".join(names), (1.01, group[0].loss), xycoords=("axes fraction", "data"),
            va="center", fontsize=7, color=style.PREDICTED, annotation_clip=False,
        )  # fmt: skip


def save(path: Path, prediction: Prediction, measured: Sequence[Measured]) -> None:
    """Draw into a file, which appears whole or not at all."""
    from matplotlib import rc_context

    figure, ax = style.figure(5.6, 3.3)
    with rc_context(style.RC):
        draw(ax, prediction, measured)
    with console.written_atomically(path) as temporary:
        style.save(figure, temporary)

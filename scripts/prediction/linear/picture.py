"""The predicted loss over time, with whatever was measured laid over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import style
from numerics.files import written_atomically

from ..overlay import COLOUR, NAME
from .measured import Measured
from .theory import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_HEIGHT = 0.065  # of the axes
MOST_LABELS = 8
COLOURS = {
    "gradient flow": style.MEASURED,
    "gradient descent": style.OTHER,
    NAME: COLOUR,
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
    for run in measured:
        for loss in [] if run.sample is None else run.sample.plateaus:
            ax.axhline(loss, color=COLOURS[run.name], lw=0.6, ls=":")
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
    if last > style.LOG_TIME_FROM * first:
        return first / 3, 1.7 * last, True
    return 0.0, 1.2 * last, False


def _label_plateaus(ax: Axes, prediction: Prediction) -> None:
    """Name the plateaus at the right edge, moved apart; of many, those after the largest drops."""
    low, high = ax.get_ylim()
    step = LABEL_HEIGHT * (high - low)
    visits = prediction.visits
    end = len(visits) - 1
    drops = sorted(range(1, end), key=lambda i: visits[i].loss - visits[i - 1].loss)
    shown = [visits[i] for i in sorted({0, end, *drops[: MOST_LABELS - 2]})]
    places = [visit.loss for visit in shown]
    for i in range(1, len(shown)):
        places[i] = min(places[i], places[i - 1] - step)
    places[-1] = max(places[-1], low)
    for i in reversed(range(len(shown) - 1)):
        places[i] = max(places[i], places[i + 1] + step)
    for visit, place in zip(shown, places, strict=True):
        ax.annotate(
            visit.name, (1.0, visit.loss), (1.03, place), xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"), va="center", fontsize=7, color=style.PREDICTED,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": style.PREDICTED, "shrinkA": 0,
                        "shrinkB": 0, "relpos": (0.0, 0.5)},
        )  # fmt: skip


def save(path: Path, prediction: Prediction, measured: Sequence[Measured]) -> None:
    """Draw into a file, which appears whole or not at all."""
    figure, ax = style.figure(5.6, 3.3)
    with style.look():
        draw(ax, prediction, measured)
    with written_atomically(path) as temporary:
        style.save(figure, temporary)

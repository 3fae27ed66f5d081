"""The loss of a run against its steps, beside the plateaus that the theory predicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import style
from numerics.files import written_atomically

from .measured import TEST
from .report import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANGE = 1.6  # a loss above this many times its start is divergence, not the picture's subject
BEFORE = 20.0  # the first drop over the first step shown
MARGIN = 0.05  # above and below
LABEL_HEIGHT = 0.055  # of the axes


def draw(result: Result) -> Figure:
    """The whole picture; step 0 stands at the left edge of the logarithmic axis."""
    figure, ax = style.figure(5.6, 3.4)
    with style.look():
        run, top = result.run, 0.0
        step = np.maximum(run.step, 1) if len(run.step) else run.step
        if len(step):
            top = RANGE * float(max(run.loss[0], result.held_out[0]))
            width = 3.2 if result.plan.settings["batch"] is None else 1.2
            style.measured(ax, step, np.minimum(run.loss, 2 * top), lw=width,
                           label=result.plan.trained_on)  # fmt: skip
            ax.plot(step, np.minimum(result.held_out, 2 * top), color=style.MEASURED, lw=1.2,
                    label=TEST)  # fmt: skip
        style.plateau_lines(ax, result.plan.theory.losses)
        shown = [
            *result.plan.theory.losses,
            *np.minimum(run.loss, top),
            *np.minimum(result.held_out, top),
        ]
        if shown:
            margin = MARGIN * (max(shown) - min(shown))
            ax.set_ylim(min(shown) - margin, max(shown) + margin)
        ax.set_xscale("log")
        drops = [drop for drop in result.measured.drops if drop < np.inf]
        ax.set_xlim(
            max(1.0, min(drops, default=1.0) / BEFORE), max(result.plan.settings["steps"], 2)
        )
        _label(ax, result)
        ax.set_xlabel(f"step of {result.plan.settings['optimiser'].replace('-', ' ')}")
        ax.set_ylabel("loss  E(ŷ − y)²")
        ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False,
                  handlelength=1.8, columnspacing=1.4)  # fmt: skip
    return figure


def _label(ax: Axes, result: Result) -> None:
    """Plateaus by the number of modes learned; those too close for a line each share one."""
    losses, modes = result.plan.theory.losses, result.plan.theory.modes
    reach = LABEL_HEIGHT * float(np.ptp(ax.get_ylim()))
    groups: list[list[int]] = []
    for i, loss in enumerate(losses):
        if groups and losses[groups[-1][0]] - loss < reach:
            groups[-1].append(i)
        else:
            groups.append([i])
    for group in groups:
        ends = list(dict.fromkeys((modes[group[0]], modes[group[-1]])))
        text = "–".join(str(m) for m in ends) + (" mode" if ends == [1] else " modes")
        ax.annotate(
            text, (1.01, losses[group[0]]), xycoords=("axes fraction", "data"), va="center",
            fontsize=7, color=style.PREDICTED, annotation_clip=False,
        )  # fmt: skip


def save(path: Path, result: Result) -> None:
    """Draw into a file, which appears whole or not at all."""
    figure = draw(result)
    with written_atomically(path) as temporary:
        style.save(figure, temporary, dpi=200)

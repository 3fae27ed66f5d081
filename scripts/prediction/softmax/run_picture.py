"""A user's run of softmax heads over time, with the losses and phases that are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import style
from numerics.files import written_atomically

from ..overlay import COLOUR, NAME
from .measured import Compared, half_time
from .phases import Phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIGHEST = 3.0  # times the loss before learning, of a run that diverges
LOOKS: dict[str, dict[str, Any]] = {
    "flow_limit": {"color": style.PREDICTED, "ls": style.DASHES},
    "exact_optimum": {"color": style.OTHER, "ls": "-"},
    "single_head_optimum": {"color": "#E69F00", "ls": "-"},
    "lower_bound": {"color": style.QUIET, "ls": style.DASHES},
}


def draw(ax: Axes, run: Compared, phases: Sequence[Phases] | None) -> None:
    """The curve; levels across it, and where each kind of task ends its phases."""
    t, loss = run.curve.t, run.curve.loss
    for level in run.levels:
        ax.axhline(level.loss, lw=1.0, zorder=0, label=level.name, **LOOKS[level.key])
    ax.plot(t, loss, color=COLOUR, lw=2.0, alpha=0.9, label=NAME)
    shown = {"warm-up ends": ":", "emergence ends": "-."}
    for name, times in zip(shown, phase_ends(phases or ()), strict=True):
        for i, time in enumerate(time for time in times if time <= t[-1]):
            label = f"{name}, predicted" if i == 0 else None
            ax.axvline(time, color=style.PREDICTED, lw=0.9, ls=shown[name], label=label)
    logarithmic = bool(t[-1] > style.LOG_TIME_FROM * half_time(run))
    style.loss_axes(ax, log_time=logarithmic, unit="dθ/dt = −∂ℓ/∂θ")
    first = max(float(t[t > 0][0]), half_time(run) / 100) if logarithmic else 0.0
    ax.set_xlim(first, t[-1])
    ax.set_ylim(0.0, 1.05 * max(min(float(np.max(loss)), HIGHEST * run.before), run.before))
    ax.set_ylabel("loss, summed over tasks")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1.4)


def phase_ends(phases: Sequence[Phases]) -> tuple[list[float], list[float]]:
    """When the warm-up and the emergence of each kind of task end, where that is predicted."""
    known = {
        (p.warmup_time, p.warmup_time + p.emergence_time)
        for p in phases
        if p.warmup_time is not None and p.emergence_time is not None
    }
    return sorted(a for a, _ in known), sorted(b for _, b in known)


def save(path: Path, run: Compared, phases: Sequence[Phases] | None) -> None:
    """Draw into a file, which appears whole or not at all."""
    figure, ax = style.figure(5.6, 3.6)
    with style.look():
        draw(ax, run, phases)
    with written_atomically(path) as temporary:
        style.save(figure, temporary)

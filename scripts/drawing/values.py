"""Value weights of ATTN_S at several ranks: a head takes a step for every mode it learns.

In a head that holds the modes of a set S, every aligned pair has v κ² = m_d, and v² = Σ κ² from
small weights; so v³ = Σ_{d∈S} m_d, with m_d = λ_d/s_d the coefficients of [L] Eq. 17. Two heads
that rise at almost the same time may share two modes unaligned, the same M from other weights;
they end off their steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import analytic
import style
from drawing.base import Drawing, Names, Row, Settings, rows, thin
from drawing.runs import CONTEXT, HARMONIC, Run, Setup, separate_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
NAMES = Names(y="absolute_value_weight")


@dataclass(frozen=True, eq=False)
class Step:
    """A head holds the predicted value from one predicted drop to its next, or to the end."""

    head: int
    modes: tuple[int, ...]
    start: float
    end: float
    value: float


@dataclass(frozen=True, eq=False)
class Heads:
    """|v| (T, H) of one run, and the predicted steps; heads in the order in which they learn."""

    t: Array
    v: Array
    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class LowRank:
    """One run for each rank."""

    runs: dict[int, Heads]


def compute(settings: Settings) -> LowRank:
    """[L] Fig. 11: D=8, N=31, H=9, λ_d ∝ 1/d with trace 1; weights N(0, 0.003²)."""
    ranks = (4, 8) if settings.quick else (1, 2, 4, 8)
    runs = {}
    for rank in ranks:
        setup = Setup(HARMONIC, heads=9, rank=rank, scale=3e-3, basis_seed=settings.seed)
        runs[rank] = _heads(setup, separate_run(setup, settings.seed, tail=0.3))
    return LowRank(runs)


def _heads(setup: Setup, run: Run) -> Heads:
    """Sort the heads by their first predicted mode; those that learn none come last."""
    used = list(dict.fromkeys(run.cascade.heads))
    order = used + [h for h in range(setup.heads) if h not in used]
    v = np.abs(setup.model.unpack(run.states)[0][:, order])
    keep = thin(run.t, *v.T, count=500)
    t = run.t[keep]
    return Heads(t, v[keep], tuple(_steps(run, order, float(t[-1]))))


def _steps(run: Run, order: list[int], end: float) -> Iterator[Step]:
    """The stairs that the cascade and v³ = Σ m_d predict."""
    coefficients = analytic.mode_coefficients(HARMONIC, CONTEXT)
    times = run.cascade.drop_times
    for place, head in enumerate(h for h in order if h in run.cascade.heads):
        mine = [i for i, winner in enumerate(run.cascade.heads) if winner == head]
        stops = [*(float(times[i]) for i in mine[1:]), max(end, float(times[-1]))]
        for number, (i, stop) in enumerate(zip(mine, stops, strict=True), start=1):
            modes = tuple(run.cascade.learned[j] for j in mine[:number])
            value = float(np.cbrt(sum(coefficients[d] for d in modes)))
            yield Step(place, modes, float(times[i]), stop, value)


def draw(result: LowRank) -> Figure:
    """One panel for each rank."""
    lines = (len(result.runs) + 1) // 2
    fig, axes = style.figure(6.8, 2.3 * lines + 0.4, nrows=lines, ncols=2, squeeze=False)
    for ax, (rank, heads) in zip(axes.ravel(), result.runs.items(), strict=True):
        _panel(ax, rank, heads)
    for ax in axes[:, 0]:
        ax.set_ylabel("value weight  |v|")
    for ax in axes[-1]:
        ax.set_xlabel("training time  [10³ τ]")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


def _panel(ax: Axes, rank: int, heads: Heads) -> None:
    count = heads.v.shape[1]
    shades = style.shades(count)
    for h in range(count):
        label = "gradient flow (darker: learns earlier)" if h == 0 else None
        style.measured(ax, heads.t / 1e3, heads.v[:, h], color=shades[h], label=label)
    for i, step in enumerate(heads.steps):
        style.predicted(ax, [step.start / 1e3, step.end / 1e3], [step.value] * 2,
                        label="predicted steps" if i == 0 else None)  # fmt: skip
    first, last = heads.steps[0].start / 1e3, max(step.start for step in heads.steps) / 1e3
    ax.set_xlim(max(0.0, first - 0.12 * (last - first)), last + 0.2 * (last - first))
    ax.set_ylim(-0.1)
    ax.set_title(f"R = {rank}", loc="left")


def table(result: LowRank) -> Iterator[Row]:
    """Value weights, and the two ends of every predicted step."""
    for rank, heads in result.runs.items():
        for h in range(heads.v.shape[1]):
            yield from rows(f"R={rank}", f"head {h + 1}", "measured", heads.t, heads.v[:, h], NAMES)
        for step in heads.steps:
            modes = " ".join(str(d + 1) for d in sorted(step.modes))
            yield from rows(f"R={rank}", f"head {step.head + 1}, modes {modes}", "predicted",
                            [step.start, step.end], [step.value] * 2, NAMES)  # fmt: skip


DRAWINGS = {"fig11": Drawing(compute, draw, table)}

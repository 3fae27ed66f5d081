"""The whole softmax layer: one drop with merged keys and queries, several with separate ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import analytic
import style
from claims.linear.softmax_layer import LAYERS, Run, softmax_run
from drawing.base import Drawing, Names, Row, Settings, rows, thin
from drawing.runs import CONTEXT, FOUR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

STEPS = {"merged": 1000, "separate": 4000}
TITLES = {"merged": "softmax ATTN_M, H = 8", "separate": "softmax ATTN_S, H = 4, R = 1"}
GAIN = Names(y="gain")


@dataclass(frozen=True, eq=False)
class Softmax:
    """Runs of each layer, by seed, and the plateaus of linear attention for comparison."""

    runs: dict[str, dict[int, Run]]
    linear: Array


def compute(settings: Settings) -> Softmax:
    """[L] Fig. 5: D=4, N=31; gradient descent on 1500 sequences, weights N(0, 0.02²)."""
    count, shorter = (400, 2) if settings.quick else (1500, 1)
    runs = {
        kind: {
            seed: softmax_run(kind, count, STEPS[kind] // shorter, settings.seed, seed)
            for seed in settings.seeds()
        }
        for kind in LAYERS
    }
    return Softmax(runs, np.asarray(analytic.plateau_losses(FOUR, CONTEXT)))


def draw(result: Softmax) -> Figure:
    """Losses above; below, what the first run has learned of each eigenvector.

    Linear ATTN_M rests at the first and the last plateau of linear ATTN_S.
    """
    fig, axes = style.figure(6.8, 4.6, nrows=2, ncols=2, sharex="col", sharey="row")
    for column, (kind, runs) in zip(axes.T, result.runs.items(), strict=True):
        _losses(column[0], runs, result.linear[:: 1 if kind == "separate" else 4])
        _gains(column[1], next(iter(runs.values())))
        column[0].set_title(TITLES[kind], loc="left")
        column[1].set_xlabel("training time  [τ]")
    axes[0, 0].set_ylabel("training loss  E(ŷ − y)²")
    axes[1, 0].set_ylabel("gain along e_d")
    axes[0, 0].legend(loc="center right")
    axes[1, 0].legend(loc="lower right", title="eigenvalue λ_d", title_fontsize=8)
    return fig


def _losses(ax: Axes, runs: dict[int, Run], linear: Array) -> None:
    for i, run in enumerate(runs.values()):
        ax.plot(run.t, run.loss, color=style.MEASURED, lw=1.1, alpha=0.85,
                label=f"gradient descent, {len(runs)} seeds" if i == 0 else None)  # fmt: skip
    for m, level in enumerate(linear):
        ax.axhline(level, color=style.QUIET, lw=0.8, ls=(0, (1, 3)), zorder=0,
                   label=None if m else "plateaus of linear attention")  # fmt: skip
    ax.set_ylim(0.0, 1.06 * max(float(linear[0]), *(float(run.loss[0]) for run in runs.values())))


def _gains(ax: Axes, run: Run) -> None:
    for gain, value, color in zip(run.gains.T, FOUR, style.SHADES, strict=False):
        ax.plot(run.t_gains, gain, color=color, label=f"{value:g}")
    ax.set_ylim(-0.08, 1.08)
    ax.set_xlim(0.0, run.t[-1])


def table(result: Softmax) -> Iterator[Row]:
    """Every curve, and the reference lines, which predict nothing about softmax."""
    for kind, runs in result.runs.items():
        for seed, run in runs.items():
            keep = thin(run.t, run.loss)
            series = f"seed {seed}"
            yield from rows(kind, series, "measured", run.t[keep], run.loss[keep])
        seed, run = next(iter(runs.items()))
        for value, gain in zip(FOUR, run.gains.T, strict=True):
            series = f"seed {seed}, eigenvalue {value:g}"
            yield from rows(f"{kind}, gain", series, "measured", run.t_gains, gain, GAIN)
    for m, level in enumerate(result.linear):
        series = f"linear attention, plateau {m}"
        yield from rows("losses", series, "reference", m, level, Names(x="number"))


DRAWINGS = {"fig5": Drawing(compute, draw, table)}

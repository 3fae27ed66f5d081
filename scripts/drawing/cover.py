"""The two ways to learn in context, side by side: one drop, or one drop for each direction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

import style
from drawing.base import Drawing, Row, Settings, level_rows, rows, thin
from drawing.runs import FOUR, LossCurve, Run, Setup, loss_curve, separate_run
from numerics import MergedAttention, gradient_flow, population_moments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]

SCALE = 1e-3


@dataclass(frozen=True, eq=False)
class Cover:
    """One run of each model; the plateaus of [L] Eq. 19 and the cascade's drop times."""

    plateaus: Array
    separate: LossCurve
    merged_t: Array
    merged_loss: Array


def compute(settings: Settings) -> Cover:
    """D=4, N=31, H=4, eigenvalues 0.4 to 0.1, weights N(0, 0.001²)."""
    setup = Setup(FOUR, heads=4, rank=1, scale=SCALE, basis_seed=settings.seed)
    runs = [separate_run(setup, seed, tail=0.9) for seed in settings.seeds()]
    separate = loss_curve(max(runs, key=Run.separation), log_time=True)
    model = MergedAttention(dimension=4, heads=4)
    merged = gradient_flow(
        model,
        population_moments(setup.task),
        model.initial_weights(SCALE, rng=settings.seed),
        float(separate.t[-1]),
    )
    keep = thin(merged.t, merged.loss, log_x=True)
    return Cover(setup.plateaus, separate, merged.t[keep], merged.loss[keep])


def draw(result: Cover) -> Figure:
    """Both losses over logarithmic time."""
    fig, ax = style.figure(8.6, 3.5)
    learned = ("nothing learned", "1 direction", "2 directions", "3 directions", "all 4 directions")
    style.plateau_lines(ax, result.plateaus, "plateaus predicted in closed form")
    for level, text in zip(result.plateaus, learned, strict=True):
        ax.annotate(text, (1.0, level), xycoords=("axes fraction", "data"), xytext=(5, 0),
                    textcoords="offset points", va="center", color=style.PREDICTED)  # fmt: skip
    ax.plot(result.merged_t, result.merged_loss, color=style.QUIET, lw=2.2)
    ax.plot(result.separate.t, result.separate.loss, color=style.MEASURED, lw=2.2)
    middle = (result.plateaus[1:] + result.plateaus[:-1]) / 2
    ax.plot(result.separate.predicted_drops, middle, "D", ms=6, mfc="white", mew=1.4, zorder=5,
            color=style.PREDICTED, label="drops predicted from the initial weights")  # fmt: skip
    ax.text(47, 0.82, "key and query merged", color="0.4", va="center")
    ax.text(0.93 * result.separate.predicted_drops[0], 0.82, "key and query separate  ",
            color=style.MEASURED, ha="right", va="center")  # fmt: skip
    style.loss_axes(ax, log_time=True)
    ax.set_xlim(10, result.separate.t[-1])
    ax.set_ylim(0, 1.06)
    ax.set_title("Learning to regress in context: all at once, or one direction at a time",
                 loc="left", fontsize=10.5)  # fmt: skip
    ax.legend(loc="center", bbox_to_anchor=(0.43, 0.48))
    return fig


def table(result: Cover) -> Iterator[Row]:
    """Both losses, the plateaus, and where the drops are predicted."""
    yield from level_rows("cover", result.plateaus)
    middle = (result.plateaus[1:] + result.plateaus[:-1]) / 2
    yield from rows("cover", "drops", "predicted", result.separate.predicted_drops, middle)
    yield from rows("cover", "separate", "measured", result.separate.t, result.separate.loss)
    yield from rows("cover", "merged", "measured", result.merged_t, result.merged_loss)


DRAWINGS = {"cover": Drawing(compute, draw, table)}

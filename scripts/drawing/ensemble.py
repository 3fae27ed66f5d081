"""When the drops of ATTN_S come, over many seeds: measured, and predicted from initial weights.

A seed's prediction is `numerics.task_cascade`, which integrates H(1+D) scalars of the seed's own
initial weights, one seed after another: half a minute for a thousand. Drops later than the end of
the run count as never.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import analytic
import gpu
import style
from drawing.base import Drawing, Names, Row, Settings, rows
from drawing.runs import CONTEXT, FOUR
from numerics import LinearTask, SeparateAttention, task_cascade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

SCALE = 1e-2
DURATION = 250.0  # in units of τ/scale; the scale of a quick figure is three times as large
COLOURS = (style.MEASURED, "#E69F00", style.OTHER, "#CC79A7")
BINS_PER_DECADE = 12


@dataclass(frozen=True, eq=False)
class Drops:
    """Drop times (seeds, D), inf if later than the run.

    `measured` midway between the plateaus of [L] Eq. 19; `predicted` and `paired` midway between
    the plateaus in the order in which the seed is predicted to learn; `rule`
    (D,) is τ/(λ_d² v_0) at v_0 = the scale.
    """

    measured: Array
    predicted: Array
    paired: Array
    rule: Array
    scale: float

    @property
    def duration(self) -> float:
        """Where the runs end."""
        return DURATION / self.scale


def compute(settings: Settings) -> Drops:
    """D=H=4, R=1, eigenvalues 0.4 to 0.1, N=31, weights N(0, 0.01²), up to t = 25,000 τ."""
    count, scale = (50, 3 * SCALE) if settings.quick else (1000, SCALE)
    end = DURATION / scale
    task, model = LinearTask.from_eigenvalues(FOUR, CONTEXT), SeparateAttention(4, 4)
    seeds = range(settings.seed, settings.seed + count)
    initial = gpu.initial_weights(model, scale, seeds)
    # The loss and its slope at steps of 2 % fix a drop to 1e-4 of its time, by the cubic between.
    grid = np.concatenate([[0.0], np.geomspace(1e-3 * end, end, 400)])
    moments = gpu.stack_moments([task])
    run = gpu.gradient_flow(
        model, moments, initial, end, times=grid, rtol=1e-6, atol=1e-9, method="explicit"
    )
    # A tenth of a per cent, far below what the reduced equations leave out.
    cascades = [task_cascade(model, task, theta, rtol=1e-5) for theta in initial]
    predicted = np.array([cascade.drop_times for cascade in cascades])
    levels = np.array([cascade.plateaus for cascade in cascades])
    return Drops(
        run.drop_times(np.asarray(analytic.plateau_losses(FOUR, CONTEXT))),
        np.where(predicted <= end, predicted, np.inf),
        gpu.drop_times(run.t, run.loss, levels, loss_rate=run.loss_rate),
        np.asarray(analytic.learning_time(scale, analytic.mode_growth(FOUR))),
        scale,
    )


def shares(times: Array) -> tuple[Array, Array]:
    """Edges in time, and the share of seeds whose drop falls between two of them.

    >>> shares(np.array([1000.0, np.inf]))[1].sum()
    np.float64(0.5)
    """
    edges = np.logspace(1.5, 4.5, 3 * BINS_PER_DECADE + 1)
    inside = times[np.isfinite(times)]
    return edges, np.histogram(inside, edges)[0] / len(times)


def draw(result: Drops) -> Figure:
    """(a) shares of seeds over time, (b) measured over predicted times."""
    fig, (left, right) = style.figure(7.6, 3.4, ncols=2, width_ratios=(1.35, 1))
    _histograms(left, result)
    _pairs(right, result)
    handles, labels = left.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


def _dark(colour: str) -> Any:
    """The same colour, so that it shows as a line over its own pale surface."""
    from matplotlib.colors import to_rgb

    return tuple(0.6 * part for part in to_rgb(colour))


def _ends(result: Drops) -> tuple[float, float]:
    return 0.01 * result.duration, 1.25 * result.duration


def _histograms(ax: Axes, result: Drops) -> None:
    for d in range(len(COLOURS)):
        _histogram(ax, result, d)
    ax.set_xscale("log")
    ax.set_xlim(_ends(result))
    ax.set_ylim(0, 1.15 * ax.dataLim.y1)
    late = int(np.isinf(result.measured[:, -1]).sum())
    ax.set_xlabel("training time of the drop  [τ]")
    ax.set_ylabel("share of seeds per bin")
    ax.set_title(f"(a) {late:,} seeds have no drop 4 by t = {result.duration:,.0f}", loc="left")


def _histogram(ax: Axes, result: Drops, d: int) -> None:
    edges, measured = shares(result.measured[:, d])
    _, predicted = shares(result.predicted[:, d])
    colour, dark, rule = COLOURS[d], _dark(COLOURS[d]), result.rule[d]
    texts = (
        f"gradient flow, {len(result.measured):,} seeds",
        "predicted, seed by seed",
        f"τ/(λ² v₀) at v₀ = {result.scale:g}",
    )
    names = texts if d == 0 else (None, None, None)
    ax.stairs(measured, edges, fill=True, color=colour, alpha=0.45, label=names[0])
    ax.stairs(predicted, edges, color=dark, lw=1.3, label=names[1])
    style.predicted(ax, [rule, rule], [0.0, 1.0], color=style.PREDICTED, lw=0.9, zorder=0,
                    transform=ax.get_xaxis_transform(), label=names[2])  # fmt: skip
    median = float(np.median(result.measured[:, d]))
    ax.annotate(f"drop {d + 1}" if d == 0 else str(d + 1), (median, 0.98), color=dark, va="top",
                ha="center", xycoords=("data", "axes fraction"),
                bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip


def _pairs(ax: Axes, result: Drops) -> None:
    ends = _ends(result)
    style.predicted(ax, ends, ends, zorder=1)
    for d, colour in enumerate(COLOURS):
        predicted, measured = _both(result, d)
        ax.plot(predicted, measured, "o", ms=2.4, mew=0, color=colour, alpha=0.4, zorder=2,
                label=f"drop {d + 1}")  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(ends)
    ax.set_ylim(ends)
    ax.set_aspect("equal")
    ax.set_xlabel("predicted time  [τ]")
    ax.set_ylabel("measured time  [τ]")
    ax.set_title("(b) seed by seed", loc="left")
    ax.legend(loc="lower right", markerscale=2.1, handletextpad=0.2)


def _both(result: Drops, d: int) -> tuple[Array, Array]:
    """Predicted and measured time of a drop, of the seeds that have both."""
    predicted, measured = result.predicted[:, d], result.paired[:, d]
    both = np.isfinite(predicted) & np.isfinite(measured)
    return predicted[both], measured[both]


def table(result: Drops) -> Iterator[Row]:
    """Every bar, every pair and the four times of the rule."""
    bars, pairs = Names("time_tau", "share"), Names("predicted_tau", "measured_tau")
    for d in range(len(result.rule)):
        series = f"drop {d + 1}"
        for kind, times in (("measured", result.measured), ("predicted", result.predicted)):
            edges, share = shares(times[:, d])
            yield from rows("a", series, kind, np.sqrt(edges[:-1] * edges[1:]), share, bars)
        yield from rows("b", series, "measured", *_both(result, d), pairs)
    yield from rows("a", "rule", "predicted", range(1, len(result.rule) + 1), result.rule,
                    Names("drop", "time_tau"))  # fmt: skip


DRAWINGS = {"ensemble": Drawing(compute, draw, table)}

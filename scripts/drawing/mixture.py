"""In-context against in-weight learning: a share c of random tasks beside one fixed task w0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import style
from claims.linear.mixture import stored_task_loss
from claims.linear.mixture_case import CONTEXT, Mixture, flow, sample
from claims.linear.sampled import train_whole_layer
from drawing.base import Drawing, Names, Row, Settings, rows, thin
from numerics import find_plateaus

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
LAWS = ("training", "in context", "in weights")
COLOURS = (style.QUIET, style.MEASURED, style.OTHER)
MARKERS = ("o", "s", "^")
SHOWN = (0.0, 0.3, 1.0)


@dataclass(frozen=True, eq=False)
class Curves:
    """Three losses (3, T) over time at one c; the predicted ones (3, m) between the drops."""

    share: float
    t: Array
    losses: Array
    drops: Array
    predicted: Array


@dataclass(frozen=True, eq=False)
class Mixtures:
    """Runs at a few c; final losses (3, n) over a grid of c; whole layers on +w0.

    `stored` is the closed form of what such a layer leaves at c = 0.
    """

    curves: tuple[Curves, ...]
    grid: Array
    line: Array
    shares: Array
    finals: Array
    layer_shares: Array
    layer_finals: Array
    stored: float


def compute(settings: Settings) -> Mixtures:
    """D=3, N=10, H=4, eigenvalues 0.5, 0.3, 0.2, w0 with equal parts of each, ‖w0‖² = D."""
    shares = np.linspace(0, 1, 3 if settings.quick else 11)
    grid = np.linspace(0, 1, 101)
    layer_shares = np.linspace(0, 1, 2 if settings.quick else 6)
    count, steps = (10_000, 2000) if settings.quick else (200_000, 30_000)
    ends = []
    for c in layer_shares:
        case = Mixture(float(c))
        sequences = sample(case, count, settings.seed, mirrored=False)
        ends.append(train_whole_layer(sequences, case.modes().matrices, steps).loss[-1])
    return Mixtures(
        tuple(_curves(Mixture(c), settings.seed) for c in SHOWN),
        grid,
        np.array([Mixture(float(c)).predicted()[:, -1] for c in grid]).T,
        shares,
        np.array([_final(Mixture(float(c)), settings.seed) for c in shares]).T,
        layer_shares,
        np.array(ends),
        stored_task_loss(float(Mixture(0.0).predicted()[0, 0]), 3, CONTEXT),
    )


def _curves(case: Mixture, seed: int) -> Curves:
    run = flow(case, 1e-2, seed)
    losses = case.measured(run.matrices)
    keep = thin(run.t, *losses, log_x=True)
    return Curves(
        case.share, run.t[keep], losses[:, keep], find_plateaus(run).drops, case.predicted()
    )


def _final(case: Mixture, seed: int) -> Array:
    return case.measured(flow(case, 1e-2, seed).matrices[-1:])[:, 0]


def draw(result: Mixtures) -> Figure:
    """(a–c) three losses over time, (d) final losses over c."""
    fig, axes = style.figure(7.2, 5.0, nrows=2, ncols=2)
    titles = ("(a) c = 0: one task only", "(b) c = 0.3", "(c) c = 1: random tasks only")
    for ax, curves, title in zip(axes.flat, result.curves, titles, strict=False):
        _over_time(ax, curves)
        ax.set_title(title, loc="left")
    _finals(axes[1, 1], result)
    handles, labels = axes[1, 1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


def _over_time(ax: Axes, curves: Curves) -> None:
    for i, colour in enumerate(COLOURS):
        ax.plot(curves.t, curves.losses[i], color=colour, lw=3.2 if i == 0 else 1.4,
                alpha=0.5 if i == 0 else 1.0)  # fmt: skip
        edges = [curves.t[1], *curves.drops, curves.t[-1]]
        # Two of the three may coincide, and grey paper shows no colour: marks at both ends.
        ends = np.array([0.3 * curves.drops[0], 3 * curves.drops[-1]]) * (1.0, 0.75, 1.33)[i]
        ax.plot(ends, np.interp(ends, curves.t, curves.losses[i]), MARKERS[i], ms=5, color=colour,
                zorder=4)  # fmt: skip
        for m, height in enumerate(curves.predicted[i]):
            style.predicted(ax, edges[m : m + 2], [height, height])
    style.loss_axes(ax, log_time=True)
    ax.set_xlim(max(20.0, 0.1 * float(curves.drops[0])), 10 * float(curves.drops[-1]))
    ax.set_ylim(0, 1.05 * float(curves.losses.max()))


def _finals(ax: Axes, result: Mixtures) -> None:
    for i, (law, colour) in enumerate(zip(LAWS, COLOURS, strict=True)):
        style.predicted(ax, result.grid, result.line[i], label="predicted" if i == 0 else None)
        ax.plot(result.shares, result.finals[i], MARKERS[i], ms=5, color=colour, zorder=3,
                alpha=0.8, label=f"{law}, gradient flow")  # fmt: skip
    ax.plot(result.layer_shares, result.layer_finals, "x", ms=6, mew=1.6, color="black", zorder=4,
            label="training, whole layer on +w0, sampled")  # fmt: skip
    ax.plot([0], [result.stored], "_", ms=14, mew=1.4, color=style.OVER, zorder=5,
            label="predicted for it at c = 0")  # fmt: skip
    ax.set_xlabel("share c of random tasks")
    ax.set_ylabel("final loss")
    ax.set_ylim(bottom=0)
    ax.set_title("(d) end of training", loc="left")


def table(result: Mixtures) -> Iterator[Row]:
    """Every curve, plateau and end."""
    for curves in result.curves:
        panel = f"c={curves.share:g}"
        for law, loss, heights in zip(LAWS, curves.losses, curves.predicted, strict=True):
            yield from rows(panel, law, "measured", curves.t, loss)
            yield from rows(panel, law, "predicted", np.arange(len(heights)), heights,
                            Names("plateau"))  # fmt: skip
    share = Names("share", "final_loss")
    for i, law in enumerate(LAWS):
        yield from rows("final", law, "predicted", result.grid, result.line[i], share)
        yield from rows("final", law, "measured", result.shares, result.finals[i], share)
    yield from rows("final", "whole layer on +w0", "measured", result.layer_shares,
                    result.layer_finals, share)  # fmt: skip
    yield from rows("final", "whole layer on +w0", "predicted", [0.0], [result.stored], share)


DRAWINGS = {"mixture": Drawing(compute, draw, table)}

"""Loss of ATTN_S at several ranks: plateaus stand out where a multiple of R modes is learned."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import analytic
import style
from drawing.base import Drawing, Row, Settings, level_rows, rows
from drawing.runs import CONTEXT, HARMONIC, LossCurve, harmonic_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Ranks:
    """Loss curves of several seeds for each rank, and the nine predicted plateaus."""

    plateaus: Array
    curves: dict[int, tuple[LossCurve, ...]]


def compute(settings: Settings, ranks: tuple[int, ...]) -> Ranks:
    """[L] Fig. 4 and 12: D=8, N=31, H=9, λ_d ∝ 1/d with trace 1."""
    if settings.quick:
        ranks = (ranks[-2], ranks[-1])
    plateaus = np.asarray(analytic.plateau_losses(HARMONIC, CONTEXT))
    curves = {
        R: tuple(harmonic_curve(R, seed, settings.seed) for seed in settings.seeds()) for R in ranks
    }
    return Ranks(plateaus, curves)


def draw(result: Ranks) -> Figure:
    """One panel for each rank, on common axes."""
    count = len(result.curves)
    columns = 2 if count <= 4 else 4
    lines = math.ceil(count / columns)
    width, height = (6.8, 2.35 * lines + 0.35) if columns == 2 else (7.2, 2.2 * lines + 0.35)
    fig, axes = style.figure(
        width, height, nrows=lines, ncols=columns, sharex=True, sharey=True, squeeze=False
    )
    for ax, (rank, curves) in zip(axes.ravel(), result.curves.items(), strict=True):
        _panel(ax, rank, curves, result.plateaus)
    slowest = max(float(curve.t[-1]) for curves in result.curves.values() for curve in curves)
    axes[0, 0].set_xlim(200, 1.3 * slowest)
    for ax in axes[:, 0]:
        ax.set_ylabel("loss  E(ŷ − y)²")
    for ax in axes[-1]:
        ax.set_xlabel("training time  [τ]")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


def _panel(ax: Axes, rank: int, curves: tuple[LossCurve, ...], plateaus: Array) -> None:
    last = len(plateaus) - 1
    for m, height in enumerate(plateaus):
        full = m % rank == 0 or m == last
        ax.axhline(height, color=style.PREDICTED, zorder=0, lw=1.1 if full else 0.8,
                   ls=style.DASHES if full else (0, (1, 3)))  # fmt: skip
        if full:
            ax.annotate(str(m), (1.0, height), xycoords=("axes fraction", "data"),
                        xytext=(3, 0), textcoords="offset points", va="center", fontsize=7,
                        color=style.PREDICTED)  # fmt: skip
    for i, curve in enumerate(curves):
        ax.plot(curve.t, curve.loss, color=style.MEASURED, lw=1.1, alpha=0.8,
                label=f"gradient flow, {len(curves)} seeds" if i == 0 else None)  # fmt: skip
    ax.plot([], [], color=style.PREDICTED, lw=1.1, ls=style.DASHES,
            label="predicted with m modes learned,\nm a multiple of R, or all")  # fmt: skip
    ax.plot([], [], color=style.PREDICTED, lw=0.8, ls=(0, (1, 3)), label="predicted, other m")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_yticks([0.2, 0.3, 0.5, 1.0], ["0.2", "0.3", "0.5", "1"])
    ax.set_yticks([], minor=True)
    ax.set_title(f"R = {rank}", loc="left")
    ax.set_title("m", loc="right", x=1.04, fontsize=7, color=style.PREDICTED)


def table(result: Ranks) -> Iterator[Row]:
    """Every curve and every plateau."""
    yield from level_rows("all", result.plateaus)
    for rank, curves in result.curves.items():
        for curve in curves:
            series = f"seed {curve.seed}"
            yield from rows(f"R={rank}", series, "measured", curve.t, curve.loss)


DRAWINGS = {
    "fig4": Drawing(partial(compute, ranks=(1, 2, 4, 8)), draw, table),
    "fig12": Drawing(partial(compute, ranks=tuple(range(1, 9))), draw, table),
}

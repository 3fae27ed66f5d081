"""Contexts of varying length: E[1/N] decides if attention is divided by N, else E[N] and E[N²]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import analytic
import style
from claims.linear.lengths import flow, heights, second_moment, summed_second_moment, train
from drawing.base import Drawing, Names, Row, Settings, rows, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
Lengths = tuple[int, ...]
# The first two have the same E[1/N], the first and the last two the same E[N].
SHOWN: tuple[Lengths, ...] = ((3, 21), (4, 4, 14), (6, 18), (12,))
TRAINED: tuple[Lengths, ...] = ((3,), (2, 10), (5,), (3, 21), (4, 36), (6, 18), (12,), (24,))


@dataclass(frozen=True, eq=False)
class Curve:
    """Loss of the population flow with contexts drawn from a list, and its plateaus."""

    lengths: Lengths
    t: Array
    loss: Array
    plateaus: Array


@dataclass(frozen=True, eq=False)
class End:
    """Final loss of a whole layer on sampled sequences, and the least loss predicted."""

    lengths: Lengths
    divided: bool
    measured: float
    predicted: float


@dataclass(frozen=True, eq=False)
class Result:
    """Curves of the flow, ends of whole layers, and the least loss over E[1/N]."""

    curves: tuple[Curve, ...]
    ends: tuple[End, ...]
    inverse: Array
    line: Array


def effective(lengths: Lengths) -> float:
    """1/E[1/N]."""
    return float(analytic.effective_context_length(lengths))


def compute(settings: Settings) -> Result:
    """D=2, eigenvalues 0.7 and 0.3, label noise 0.3; R=1, H=2 (flow) or 3 (whole layer)."""
    trained = ((3,), (3, 21), (12,)) if settings.quick else TRAINED
    inverse = np.linspace(0, 0.36, 73)
    with np.errstate(divide="ignore"):
        line = np.array([heights(second_moment(float(1 / u)))[-1] for u in inverse])
    return Result(
        tuple(_curve(lengths) for lengths in SHOWN),
        tuple(_end(lengths, divided, settings) for lengths in trained for divided in (True, False)),
        inverse,
        line,
    )


def _curve(lengths: Lengths) -> Curve:
    run = flow(lengths, 1e-2)
    keep = thin(run.t, run.loss, log_x=True)
    plateaus = heights(second_moment(effective(lengths)))
    return Curve(lengths, run.t[keep], run.loss[keep], plateaus)


def _end(lengths: Lengths, divided: bool, settings: Settings) -> End:
    second = second_moment(effective(lengths)) if divided else summed_second_moment(lengths)
    count = 10_000 if settings.quick else 100_000
    _, run = train(lengths, second, count, settings.seed, divide=divided)
    return End(lengths, divided, float(run.loss[-1]), float(heights(second)[-1]))


def name(lengths: Lengths) -> str:
    """N ∈ {…}, or N = … for one length."""
    if len(lengths) == 1:
        return f"N = {lengths[0]}"
    return f"N ∈ {{{', '.join(map(str, lengths))}}}"


def draw(result: Result) -> Figure:
    """(a) losses over time, (b) final losses over E[1/N]."""
    fig, (left, right) = style.figure(7.2, 3.2, ncols=2)
    _over_time(left, result.curves)
    _ends(right, result)
    return fig


def _over_time(ax: Axes, curves: tuple[Curve, ...]) -> None:
    looks = [(style.PALE, 4.5, "-"), (style.SHADES[0], 1.2, "-"), (style.OTHER, 1.6, "-"),
             (style.QUIET, 1.6, (0, (1, 1)))]  # fmt: skip
    for curve, (colour, width, line) in zip(curves, looks, strict=True):
        label = f"{name(curve.lengths)}: 1/E[1/N] = {effective(curve.lengths):g}"
        ax.plot(curve.t, curve.loss, color=colour, lw=width, ls=line, label=label)
    for i, curve in enumerate(curves[1:]):
        for m, height in enumerate(curve.plateaus):
            ax.axhline(height, color=style.PREDICTED, lw=0.9, ls=style.DASHES, zorder=0,
                       label="predicted plateaus" if i == m == 0 else None)  # fmt: skip
    style.loss_axes(ax, log_time=True)
    ax.set_xlim(30, 1e4)
    ax.set_ylim(0, 1.8)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    ax.set_title("(a) attention divided by N", loc="left")
    ax.legend(loc="upper right", borderaxespad=0.1)


def _ends(ax: Axes, result: Result) -> None:
    style.predicted(ax, result.inverse, result.line, label="predicted from E[1/N]")
    ax.plot([], [], "_", ms=9, mew=1.6, color=style.PREDICTED, label="predicted from E[N], E[N²]")
    looks = ((True, "o", style.MEASURED, "divided by N, sampled"),
             (False, "s", style.OTHER, "not divided, sampled"))  # fmt: skip
    for divided, marker, colour, label in looks:
        chosen = [end for end in result.ends if end.divided == divided]
        x = [1 / effective(end.lengths) for end in chosen]
        ax.plot(x, [end.measured for end in chosen], marker, ms=5, color=colour, mfc="none",
                mew=1.3, label=label)  # fmt: skip
        if not divided:
            ax.plot(x, [end.predicted for end in chosen], "_", ms=9, mew=1.6,
                    color=style.PREDICTED, zorder=0)  # fmt: skip
            for end, at in zip(chosen, x, strict=True):
                if len(end.lengths) > 1:
                    ax.annotate("{" + ", ".join(map(str, end.lengths)) + "}", (at, end.measured),
                                xytext=(0, 7), textcoords="offset points", ha="center",
                                fontsize=7)  # fmt: skip
    ax.set_xlabel("E[1/N]")
    ax.set_ylabel("final loss")
    ax.set_xlim(0, 0.37)
    ax.set_ylim(0, 0.75)
    ax.set_title("(b) whole layer, end of training", loc="left")
    ax.legend(loc="lower right")


def table(result: Result) -> Iterator[Row]:
    """Every curve, plateau and end."""
    for curve in result.curves:
        yield from rows("a", name(curve.lengths), "measured", curve.t, curve.loss)
        yield from rows("a", name(curve.lengths), "predicted", np.arange(3), curve.plateaus,
                        Names("plateau"))  # fmt: skip
    final = Names("mean_inverse_length", "final_loss")
    yield from rows("b", "from E[1/N]", "predicted", result.inverse, result.line, final)
    for end in result.ends:
        series = f"{name(end.lengths)}, {'' if end.divided else 'not '}divided by N"
        at = 1 / effective(end.lengths)
        yield from rows("b", series, "measured", [at], [end.measured], final)
        yield from rows("b", series, "predicted", [at], [end.predicted], final)


DRAWINGS = {"lengths": Drawing(compute, draw, table)}

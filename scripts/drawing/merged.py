"""ATTN_M: its equality with a two-layer network, and its time course on white tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import analytic
import style
from drawing.base import Drawing, Names, Row, Settings, rows
from drawing.runs import CONTEXT, FOUR
from numerics import (
    AttentionSystem,
    LinearTask,
    MergedAttention,
    TwoLayerNetwork,
    gradient_descent,
    gradient_flow,
    population_moments,
    sample_moments,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

RATE = 0.05  # learning rate; a step is 2·RATE units of flow time
SCALE = 1e-3
END = 8.0  # of the time course on white tokens


@dataclass(frozen=True, eq=False)
class Equivalence:
    """Losses of ATTN_M and of the network over the same steps of gradient descent."""

    t: Array
    attention: Array
    network: Array
    start: float
    end: float
    sequences: int


def compute_equivalence(settings: Settings) -> Equivalence:
    """[L] Fig. 1: D=4, N=31, H=8, gradient descent on the moments of sampled sequences."""
    task = LinearTask.from_eigenvalues(FOUR, CONTEXT, rng=settings.seed)
    count, steps = (1000, 1500) if settings.quick else (20_000, 3000)
    data = sample_moments(task, count, rng=settings.seed)
    model, network = MergedAttention(dimension=4, heads=8), TwoLayerNetwork(data, width=8)
    weights = model.initial_weights(SCALE, rng=settings.seed)
    v, U = model.unpack(weights)
    # z stacks the columns of β x_qᵀ, so a row of W1 is U_h by columns.
    layers = network.pack(v, U.swapaxes(1, 2).reshape(8, -1))
    ours = gradient_descent(AttentionSystem(model, data), weights, steps, RATE, every=5)
    theirs = gradient_descent(network, layers, steps, RATE, every=5)
    second = analytic.feature_second_moment(task.covariance, CONTEXT)
    end = float(analytic.minimum_loss(task.covariance, second))
    return Equivalence(2 * RATE * ours.t, ours.loss, theirs.loss, sum(FOUR), end, count)


def draw_equivalence(result: Equivalence) -> Figure:
    """The two losses over each other, and their difference below."""
    fig, (top, bottom) = style.figure(
        4.6, 3.7, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    style.measured(top, result.t, result.attention, lw=5, label="attention, merged key-query")
    top.plot(result.t, result.network, color="black", lw=1.1, ls=style.DASHES,
             label="two-layer network on z")  # fmt: skip
    style.plateau_lines(top, [result.start, result.end], "predicted before and after the drop")
    top.set_ylabel("training loss")
    top.set_title(f"D = 4, N = 31, H = 8, {result.sequences:,} sequences", loc="left")
    top.set_ylim(0, 1.12)
    top.legend(loc="center right")
    gap = result.network - result.attention
    power = math.floor(math.log10(np.abs(gap).max() or 1e-16))
    bottom.plot(result.t, gap / 10.0**power, color="black", lw=0.8)
    bottom.set_ylabel(f"difference\n[10$^{{{power}}}$]")
    bottom.set_xlabel("training time  [τ]")
    bottom.set_xlim(0, result.t[-1])
    fig.align_ylabels()
    return fig


def table_equivalence(result: Equivalence) -> Iterator[Row]:
    """Losses, their difference and the two predicted levels."""
    yield from rows("loss", "attention", "measured", result.t, result.attention)
    yield from rows("loss", "network", "measured", result.t, result.network)
    ends, names = [result.t[0], result.t[-1]], Names(y="loss_difference")
    yield from rows("loss", "before the drop", "predicted", ends, [result.start] * 2)
    yield from rows("loss", "after the drop", "predicted", ends, [result.end] * 2)
    yield from rows("difference", "network − attention", "measured", result.t,
                    result.network - result.attention, names)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Course:
    """One run on white tokens: its norm w_init, its loss, and Eq. 10 at the same times."""

    norm: float
    t: Array
    loss: Array
    predicted: Array


@dataclass(frozen=True, eq=False)
class White:
    """Runs from aligned and from random weights."""

    aligned: tuple[Course, ...]
    random: tuple[Course, ...]


def compute_white(settings: Settings) -> White:
    """Λ = I, D=4, N=31, H=8, four sizes of the initial weights."""
    model = MergedAttention(dimension=4, heads=8)
    directions = np.random.default_rng(settings.seed).standard_normal(8)
    share = directions / np.linalg.norm(directions)
    aligned = model.pack(share, share[:, None, None] * np.eye(4) / 2.0)
    random = model.initial_weights(1.0, rng=settings.seed)
    return White(
        tuple(_course(model, aligned, 10.0**-power) for power in (1, 2, 3, 4)),
        tuple(_course(model, random, 10.0**-power) for power in (1, 2, 3, 4)),
    )


def _course(model: MergedAttention, direction: Array, norm: float) -> Course:
    """Flow from weights along `direction` whose growing part has this norm.

    The part of (v, U) that grows is (v_h + ⟨U_h, I/√D⟩)/2 in head h.
    """
    v, U = model.unpack(direction)
    growing = np.linalg.norm(v + np.trace(U, axis1=1, axis2=2) / 2.0) / 2.0
    moments, t = population_moments(LinearTask(np.eye(4), CONTEXT)), np.linspace(0, END, 321)
    run = gradient_flow(model, moments, norm / growing * direction, END, times=t, rtol=1e-9)
    predicted = np.asarray(analytic.white_loss_curve(t, norm, 4, CONTEXT))
    return Course(norm, t, run.loss, predicted)


def draw_white(result: White) -> Figure:
    """Aligned weights on the left, random ones on the right."""
    fig, axes = style.figure(6.8, 2.9, ncols=2, sharey=True)
    pairs = (("(a) aligned weights of norm w", result.aligned),
             ("(b) random weights of effective norm w", result.random))  # fmt: skip
    for ax, (title, courses) in zip(axes, pairs, strict=True):
        for i, course in enumerate(courses):
            first = i == 0
            style.measured(ax, course.t, course.loss, label="gradient flow" if first else None)
            style.predicted(ax, course.t, course.predicted, label="Eq. 10" if first else None)
            _label_drop(ax, course, first)
        ax.set_title(title, loc="left")
        ax.set_xlabel("training time  [τ]")
        ax.set_xlim(0, END)
        ax.set_ylim(0, 4.6)
    axes[0].set_ylabel("loss  E(ŷ − y)²")
    axes[1].legend(loc="center right", handlelength=1.6, bbox_to_anchor=(1.02, 0.55))
    return fig


def _label_drop(ax: Axes, course: Course, first: bool) -> None:
    """Write w above the drop."""
    middle = (course.predicted[0] + course.predicted[-1]) / 2
    t = course.t[int(np.argmax(course.predicted < middle))]
    power = f"10$^{{{round(math.log10(course.norm))}}}$"
    ax.annotate(f"w = {power}" if first else power, (t, course.predicted[0]),
                xytext=(11 if first else 0, 5), textcoords="offset points",
                ha="right" if first else "center", fontsize=8)  # fmt: skip


def table_white(result: White) -> Iterator[Row]:
    """Measured and predicted losses of every run."""
    for panel, courses in (("aligned", result.aligned), ("random", result.random)):
        for course in courses:
            series = f"w_init={course.norm:.6g}"
            yield from rows(panel, series, "measured", course.t, course.loss)
            yield from rows(panel, series, "predicted", course.t, course.predicted)


DRAWINGS = {
    "fig1": Drawing(compute_equivalence, draw_equivalence, table_equivalence),
    "white": Drawing(compute_white, draw_white, table_white),
}

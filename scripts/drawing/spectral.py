"""Training of multi-head softmax attention [S]: Fig. 1, and how the limit is left.

Time is that of dθ/dt = −∂ℓ/∂θ on the individual weights, as in [S].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import style
from analytic import softmax as closed
from claims.softmax.limit import THREE, escape_rates, left_run, lowest, slow_rates
from claims.softmax.phases import FIG1, Allocation, heads_system, train_layer
from drawing.base import Drawing, Names, Row, Settings, rows, thin
from numerics import MultiTask
from numerics.softmax.saddle import unbalanced
from numerics.softmax.spectral import PAPER_TAU, spectral_flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

TIME = "training time  [dθ/dt = −∂ℓ/∂θ]"
COLOURS = (style.MEASURED, "#E69F00", style.OTHER)
CLOCK = "time_paper"


@dataclass(frozen=True, eq=False)
class Heads:
    """Fig. 1: a layer on samples and the flow of its start; ω̄ and μ are (T, H, I)."""

    task: MultiTask
    t: Array
    omega: Array
    mu: Array
    loss: Array
    flow: Allocation
    limits: tuple[float, float, float]


def compute_heads(settings: Settings) -> Heads:
    """H=I=3, d=30, L=100, λ=1, σ=0; read-outs start at 0.5, and at 1 for each task's leader."""
    quick = settings.quick
    task = MultiTask((3, 3), 1.0, 20) if quick else FIG1
    omega, rate, steps = (0.05, 0.02, 300) if quick else (0.01, 0.005, 2600)
    # Small steps until the limit is near, larger ones while little moves.
    schedule = rate if quick else lambda step: rate if step < 1600 else 2.5 * rate
    layer, start, run = train_layer(task, omega, schedule, steps, 128, settings.seed)
    system = heads_system(task)
    weights, mu = layer.spectral(run.states)
    flow = spectral_flow(system, start, PAPER_TAU * run.time[-1])
    d, L = task.block_dims[0], task.context_length
    point, loss = closed.limit_weights(d, 1.0, L), closed.limit_loss(task.block_dims, 1.0, L)
    return Heads(
        task, PAPER_TAU * run.time, system.model.block_means(weights), mu, run.loss,
        Allocation(system, tuple(range(task.outputs)), flow),
        (float(point.omega_bar), float(point.mu), float(loss)),
    )  # fmt: skip


def draw_heads(result: Heads) -> Figure:
    """ω̄, μ and the loss over time, and ω̄ of all heads and tasks at the end."""
    fig, axes = style.figure(7.2, 5.0, nrows=2, ncols=2)
    omega, mu = result.flow.weights
    panels = ((axes[0, 0], result.omega, omega, "(a) scores  ω̄$_i^h$"),
              (axes[0, 1], result.mu, mu, "(b) read-outs  μ$_i^h$"))  # fmt: skip
    for number, (ax, measured, flow, title) in enumerate(panels):
        _over_heads(ax, result, measured, flow)
        style.plateau_lines(ax, [result.limits[number]], "limit")
        ax.set_title(title, loc="left")
        ax.set_xlim(0, result.t[-1])
    ax = axes[1, 0]
    style.measured(ax, result.t, result.loss, lw=1.2)
    style.predicted(ax, result.flow.run.t, result.flow.run.loss)
    style.plateau_lines(ax, [result.limits[2]])
    ax.set_title("(c) loss  ℓ", loc="left")
    ax.set_xlim(0, result.t[-1])
    ax.set_ylim(0, 1.15 * float(result.loss[0]))
    ax.legend(*axes[0, 1].get_legend_handles_labels(), loc="upper right")
    for ax in axes.flat[:3]:
        ax.set_xlabel(TIME)
    _heat_map(fig, axes[1, 1], result.omega[-1])
    return fig


def _over_heads(ax: Axes, result: Heads, measured: Array, flow: Array) -> None:
    """Leaders in colour, all other pairs in grey; samples wide and pale, the flow dashed."""
    H = measured.shape[1]
    for h in range(H):
        for i in range(measured.shape[2]):
            own = h == i
            colour = COLOURS[i % 3] if own else style.QUIET
            label = f"task {i + 1}, its leader" if own else None
            ax.plot(result.t, measured[:, h, i], color=colour, lw=2.6 if own else 1.2,
                    alpha=0.45, label=label, zorder=2 if own else 1)  # fmt: skip
    ax.plot([], [], color=style.QUIET, lw=1.2, alpha=0.45, label="other heads")
    keep = thin(result.flow.run.t, flow[:, 0, 0], count=400)
    shown = flow[keep].reshape(len(keep), -1)
    style.predicted(ax, result.flow.run.t[keep], shown, lw=1.0)
    ax.plot([], [], color=style.OVER, lw=1.0, ls=style.DASHES, label="spectral flow")


def _heat_map(fig: Figure, ax: Axes, values: Array) -> None:
    top = float(np.abs(values).max())
    image = ax.imshow(values, cmap="Blues", vmin=0, vmax=top)
    for (h, i), value in np.ndenumerate(values):
        ax.text(i, h, f"{value:.2f}", ha="center", va="center", fontsize=8,
                color="white" if value > 0.6 * top else "black")  # fmt: skip
    ax.set_xticks(range(values.shape[1]), [f"{i + 1}" for i in range(values.shape[1])])
    ax.set_yticks(range(values.shape[0]), [f"{h + 1}" for h in range(values.shape[0])])
    ax.set_xlabel("task i")
    ax.set_ylabel("head h")
    ax.set_title("(d) ω̄$_i^h$ of the trained layer", loc="left")
    fig.colorbar(image, ax=ax, shrink=0.85)


def table_heads(result: Heads) -> Iterator[Row]:
    """Every curve of layer and flow."""
    omega, mu = result.flow.weights
    keep = thin(result.flow.run.t, omega[:, 0, 0], mu[:, 0, 0])
    t = result.flow.run.t[keep]
    for name, measured, flow in (("omega", result.omega, omega), ("mu", result.mu, mu)):
        for h, i in np.ndindex(*measured.shape[1:]):
            series, names = f"head {h + 1}, task {i + 1}", Names(CLOCK, name)
            yield from rows(name, series, "measured", result.t, measured[:, h, i], names)
            yield from rows(name, series, "predicted", t, flow[keep][:, h, i], names)
    yield from rows("loss", "batches", "measured", result.t, result.loss, Names(CLOCK))
    yield from rows("loss", "flow", "predicted", t, result.flow.run.loss[keep], Names(CLOCK))


@dataclass(frozen=True, eq=False)
class Leaving:
    """Losses over time for some imbalances, predicted escapes; the excess loss long after."""

    levels: tuple[float, float]
    runs: dict[float, tuple[Array, Array]]
    escapes: dict[float, float]
    late: tuple[Array, Array, Array]


def compute_leaving(settings: Settings) -> Leaving:
    """Fig. 1's flow from o e^δ, v e^{−δ}; three tasks of d_i = 2, L = 20 long after."""
    system = heads_system(FIG1)
    start = system.model.leading_weights(0.01, 0.5, 1.0)
    balanced = spectral_flow(system, start, 20.0)
    # Off task u = (o + v)/√2 decays, w = (o − v)/√2 grows, and 2uw = o² − v² = 4δμ stays. At
    # rate g, w is 1 at a time after that of the balanced run's end which is ln(1/w)/g.
    left = float(system.model.combined(balanced.states[-1])[1][1, 0])
    rate = float(escape_rates(system)[0])
    runs, escapes = {}, {}
    for delta in (1e-2, 1e-6) if settings.quick else (1e-1, 1e-3, 1e-5, 1e-7, 1e-9):
        run = spectral_flow(system, unbalanced(system, start, delta), 120.0)
        keep = thin(run.t, run.loss, count=400)
        runs[delta] = run.t[keep], run.loss[keep]
        escapes[delta] = 20.0 - np.log(2 * delta * 0.5 / np.sqrt(2 * left)) / rate
    run = left_run(1e4 if settings.quick else 1e6, settings.seed)
    slope, speed = slow_rates(THREE)
    t, excess = run.t[run.t > 1], run.loss[run.t > 1] - lowest(THREE)
    keep = thin(t, np.log(excess), log_x=True)
    return Leaving(
        (float(closed.limit_loss(FIG1.block_dims, 1.0, 100)), lowest(FIG1)),
        runs, escapes, (t[keep], excess[keep], slope * (speed * t[keep]) ** (-2 / 3)),
    )  # fmt: skip


def draw_leaving(result: Leaving) -> Figure:
    """(a) the limit left, later for smaller δ; (b) the slow approach to the least loss."""
    fig, (ax, late) = style.figure(7.2, 3.0, ncols=2)
    style.plateau_lines(ax, result.levels, "predicted levels")
    escapes = list(result.escapes.values())
    ax.plot(escapes, [result.levels[0]] * len(escapes), "v", color=style.PREDICTED, ms=5, zorder=3,
            label="predicted escapes")  # fmt: skip
    for i, (delta, (t, loss)) in enumerate(result.runs.items()):
        power = f"10$^{{{round(np.log10(delta))}}}$"
        ax.plot(t, loss, color=style.SHADES[i], label=f"δ = {power}" if i == 0 else power)
    low, high = result.levels[1], result.levels[0]
    ax.set_ylim(low - 0.15 * (high - low), high + 1.3 * (high - low))
    ax.set_xlim(0, 120)
    ax.set_xlabel(TIME)
    ax.set_ylabel("loss  ℓ")
    ax.set_title("(a) o e$^δ$ and v e$^{−δ}$ at the start", loc="left")
    ax.legend(ncols=2, loc="upper right", columnspacing=1.0)
    t, excess, predicted = result.late
    style.measured(late, t, excess, label="flow, three small tasks")
    shown = t > 100
    style.predicted(late, t[shown], predicted[shown], label="ℓ′ (12ℓ′t/Hκ)$^{−2/3}$")
    late.set_xscale("log")
    late.set_yscale("log")
    late.set_xlabel(TIME)
    late.set_ylabel("loss above the least of 3 heads")
    late.set_title("(b) long after", loc="left")
    late.legend(loc="lower left")
    return fig


def table_leaving(result: Leaving) -> Iterator[Row]:
    """Every curve, mark and level."""
    for delta, (t, loss) in result.runs.items():
        yield from rows("leaving", f"delta={delta:g}", "measured", t, loss, Names(CLOCK))
        yield from rows("leaving", f"delta={delta:g}, escape", "predicted",
                        result.escapes[delta], result.levels[0], Names(CLOCK))  # fmt: skip
    for name, level in zip(("limit", "least of 3 heads"), result.levels, strict=True):
        yield from rows("leaving", name, "predicted", 0.0, level, Names("number"))
    t, excess, predicted = result.late
    names = Names(CLOCK, "excess_loss")
    yield from rows("late", "flow", "measured", t, excess, names)
    yield from rows("late", "power law", "predicted", t, predicted, names)


DRAWINGS = {
    "softmax-fig1": Drawing(compute_heads, draw_heads, table_heads),
    "leaving": Drawing(compute_leaving, draw_leaving, table_leaving),
}

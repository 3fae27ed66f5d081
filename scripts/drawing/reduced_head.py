"""One softmax head on its own task, reduced to (ω̄, μ): [S] Fig. 3.

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
from drawing.base import Drawing, Names, Row, Settings, rows
from numerics.softmax.reduced import ReducedHead, ReducedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

BLOCK, EMBEDDING, LENGTH, START, END = 10, 30, 100, (0.01, 1.0), 12.0
CLOCK = "time_paper"


@dataclass(frozen=True, eq=False)
class Reduced:
    """The flow of (ω̄, μ), its closed forms, and how μ − κω̄ moves for several L.

    `warm` is (t, ω̄, μ) of the warm-up; `emergence` a run of the one equation from where the flow
    meets μ_eq; `speed` holds ω̄, dω̄/dt along the flow, and dω̄/dt of the one equation.
    """

    flow: ReducedRun
    warm: tuple[Array, Array, Array]
    emergence: tuple[Array, ReducedRun]
    speed: tuple[Array, Array, Array]
    limit: tuple[float, float]
    moved: dict[int, tuple[Array, Array]]


def compute(settings: Settings) -> Reduced:
    """[S] Fig. 3: d_i = 10, d_e = 30, L = 100, φ = λ = 1, from (ω̄, μ) = (0.01, 1)."""
    head = ReducedHead(BLOCK, 1.0, LENGTH, EMBEDDING)
    t = np.linspace(0, END, 1201)
    flow = head.flow(*START, END, times=t)
    behind = (flow.mu < head.equilibrium(flow.omega_bar)) | (t < 0.5)
    meets = int(np.argmin(behind))
    emergence = head.emergence(float(flow.omega_bar[meets]), END - t[meets])
    blow_up = float(closed.blow_up_time(*START, BLOCK, 1.0, EMBEDDING))
    early = np.linspace(0, 0.93 * blow_up, 300)
    warm = closed.warmup_time_course(early, *START, BLOCK, 1.0, EMBEDDING)
    moved = {}
    for power in (2, 4) if settings.quick else (2, 3, 4, 5):
        part = ReducedHead(BLOCK, 1.0, 10**power, EMBEDDING).flow(*START, 0.95 * blow_up)
        kept = closed.warmup_invariant(part.omega_bar, part.mu, BLOCK, 1.0, np.inf, EMBEDDING)
        moved[10**power] = part.t / blow_up, np.abs(kept / kept[0] - 1)
    limit = closed.limit_weights(BLOCK, 1.0, LENGTH)
    return Reduced(
        flow, (early, warm.omega_bar, warm.mu), (t[meets] + emergence.t, emergence),
        (flow.omega_bar, head.velocity(flow.omega_bar, flow.mu)[0],
         closed.emergence_velocity(flow.omega_bar, BLOCK, 1.0, LENGTH, EMBEDDING)),
        (float(limit.omega_bar), float(limit.mu)), moved,
    )  # fmt: skip


def draw(result: Reduced) -> Figure:
    """(a) μ and (b) ω̄ over time, (c) the speed of ω̄, (d) the conserved quantity of the warm-up."""
    fig, axes = style.figure(7.2, 5.0, nrows=2, ncols=2)
    _course(axes[0, 0], result, 1)
    axes[0, 0].set_title("(a) read-out", loc="left")
    axes[0, 0].legend(loc="upper right")
    _course(axes[0, 1], result, 0)
    axes[0, 1].set_title("(b) score weight", loc="left")
    ax = axes[1, 0]
    omega, measured, predicted = result.speed
    style.measured(ax, omega, measured)
    style.predicted(ax, omega, predicted)
    ax.axvline(result.limit[0], color=style.QUIET, lw=0.8, zorder=0)
    ax.set_xlabel("ω̄")
    ax.set_ylabel("dω̄/dt")
    ax.set_title("(c) its speed", loc="left")
    ax = axes[1, 1]
    colours = style.shades(len(result.moved))
    for (length, (t, change)), colour in zip(result.moved.items(), colours, strict=True):
        ax.semilogy(t[1:], change[1:], color=colour, label=f"L = {length:,}")
    ax.set_ylim(1e-6, 5)
    ax.set_xlabel("time / time to blow-up")
    ax.set_ylabel("relative change")
    ax.set_title("(d) μ − d$_i$√d$_e$ ω̄ in the warm-up", loc="left")
    ax.legend(ncols=2, loc="lower right")
    return fig


def _course(ax: Axes, result: Reduced, which: int) -> None:
    """One of ω̄ (0) and μ (1) over time: the flow, warm-up and emergence, and the limit."""
    t, run = result.emergence
    curves = ((result.flow.omega_bar, run.omega_bar), (result.flow.mu, run.mu))[which]
    style.measured(ax, result.flow.t, curves[0], label="flow of (ω̄, μ)")
    top = 1.15 * float(max(curve.max() for curve in curves))
    shown = result.warm[1 + which] < top
    style.predicted(ax, result.warm[0][shown], result.warm[1 + which][shown],
                    color=style.OTHER, ls=":", lw=1.8, label="warm-up: logistic")  # fmt: skip
    style.predicted(ax, t, curves[1], label="emergence: one equation")
    ax.axhline(result.limit[which], color=style.QUIET, lw=0.8, zorder=0, label="limit")
    ax.set_xlim(0, END)
    ax.set_ylim(0, top)
    ax.set_xlabel("training time  [dθ/dt = −∂ℓ/∂θ]")
    ax.set_ylabel(("ω̄", "μ")[which])


def table(result: Reduced) -> Iterator[Row]:
    """Every curve."""
    t, run = result.emergence
    for j, name in enumerate(("omega_bar", "mu")):
        names = Names(CLOCK, name)
        flow, slow = (getattr(part, name) for part in (result.flow, run))
        yield from rows(name, "two variables", "measured", result.flow.t, flow, names)
        yield from rows(name, "warm-up", "predicted", result.warm[0], result.warm[1 + j], names)
        yield from rows(name, "emergence", "predicted", t, slow, names)
    names = Names("omega_bar", "omega_bar_rate")
    yield from rows("speed", "two variables", "measured", *result.speed[:2], names)
    yield from rows("speed", "emergence", "predicted", result.speed[0], result.speed[2], names)
    for length, (share, change) in result.moved.items():
        yield from rows("invariant", f"L={length}", "measured", share, change,
                        Names("time_over_blow_up", "relative_change"))  # fmt: skip


DRAWINGS = {"softmax-fig3": Drawing(compute, draw, table)}

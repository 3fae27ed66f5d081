"""S5: the reduced equations of training softmax heads ([S] Fig. 3), each against what it reduces.

The spectral flow of all heads reduces to two variables (ω̄, μ) of a head on its task as all that
is off task, ω and μ, vanishes; those to the warm-up's logistic as μω̄ and φμ/(Lω̄) do; and to
the one equation of emergence as 1/√d_e does. Between the first two,

    d(μ − d_i √d_e ω̄)/dt = −4λ d_i μ² (φE/L)(1 − d_i ω̄²)

exactly: the terms in μω̄ cancel, so that the quantity moves at the order 1/L alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, agree, claim, same, shrinks
from claims.cases import EPS
from claims.softmax.phases import FIG1, heads_system
from numerics import MultiTask, crossing_times
from numerics.softmax.reduced import ReducedHead, ReducedRun
from numerics.softmax.spectral import spectral_flow

Array = np.ndarray
FIG3 = ReducedHead(10, 1.0, 100, embedding_dim=30)  # [S] Fig. 3: λ = φ = 1
START = (0.01, 1.0)  # (ω̄, μ)


@lru_cache
def two_variables(head: ReducedHead, omega: float, mu: float, duration: float) -> ReducedRun:
    """The flow of (ω̄, μ) at 201 times."""
    return head.flow(omega, mu, duration, times=np.linspace(0, duration, 201))


@claim(
    "S5",
    source="[S] Fig. 3; derived",
    kind="asymptotic",
    statement="all heads reduce to (ω̄, μ); warm-up is a logistic, emergence one equation",
    regime="ω and μ off task → 0; warm-up: μω̄ and φμ/(Lω̄) → 0; emergence: d_e → ∞",
)
def reduced_equations(settings: Settings) -> Evidence:
    """An identity for the equations, then one ladder for each reduction."""
    checks = [
        *_same_velocity(settings),
        _other_heads(settings),
        *_warm_up(settings),
        _emergence(settings),
        _order_of_phases(),
    ]

    def draw(ax: Any) -> None:
        full = FIG3.flow(*START, 60.0, times=np.linspace(0, 60, 3001))
        w = np.linspace(1e-3, 0.33, 300)
        style.measured(ax, full.omega_bar, full.mu, label="flow of (ω̄, μ)")
        style.predicted(ax, w, closed.equilibrium_value(w, 10, 1.0, 100), label="μ_eq(ω̄)")
        line = START[1] + 10 * np.sqrt(30) * (w - START[0])
        inside = line < 1.1 * full.mu.max()
        ax.plot(w[inside], line[inside], color=style.QUIET, lw=1.0, label="μ − d_i√d_e ω̄ kept")
        ax.plot(*(float(x) for x in closed.limit_weights(10, 1.0, 100)), "o", color="black", ms=4)
        ax.set_xlabel("ω̄")
        ax.set_ylabel("μ")
        ax.legend()

    start = closed.neglected_share(*START, 10, 1.0, 100)[1]
    note = (
        f"at Fig. 3's start φμ/(Lω̄) is 1 (neglected share of μ̇ {float(start):.2f}): μ rests there "
        "while ω̄ grows, and μ − d_i√d_e ω̄ is not kept to leading order"
    )
    return Evidence(checks, draw, note)


def _same_velocity(settings: Settings) -> list[Check]:
    """One head alone, all entries alike: the spectral system, the reduced one and the formulas."""
    rng = np.random.default_rng(settings.seed)
    task = MultiTask((4,), 0.7, 30, noise=0.5)
    system, head = heads_system(task), ReducedHead(4, 0.7, 30, 4, noise=0.5)
    rows = []
    for omega, mu in rng.uniform(0.1, 0.9, (20, 2)):
        theta = system.model.balanced(np.full((1, 4), omega), [[mu]])
        o, _, k, _ = system.model.unpack(theta)
        # dθ/dt = −∂ℓ/∂θ is twice the velocity; μ = o² and ω̄ = k²/√d_e.
        by_o, _, by_k, _ = system.model.unpack(2 * system.velocity(theta))
        spectral = 2 * k[0, 0] * by_k[0, 0] / 2.0, 2 * o[0, 0] * by_o[0, 0]
        formula = closed.balanced_velocity(omega, mu, 4, 0.7, 30, 4, noise=0.5)
        slow = closed.emergence_velocity(omega, 4, 0.7, 30, 4, noise=0.5)
        reduced = *head.velocity(omega, mu), head.emergence_rate(np.array(omega))
        rows.append([*formula, *formula, float(slow), *spectral, *reduced])
    table = np.array(rows, float)
    return [
        agree("ω̄̇, μ̇ and that of emergence: formulas, spectral system, reduced flow",
              table[:, :5], table[:, 5:], 500 * EPS, "rounding", scale=np.abs(table).max())
    ]  # fmt: skip


def _other_heads(settings: Settings) -> Check:
    """All heads of Fig. 1 against one head on one task, as what is off task shrinks."""
    system, t = heads_system(FIG1), np.linspace(0, 20, 201)
    reduced = two_variables(FIG3, *START, 20.0)
    others = 10.0 ** -np.arange(1, settings.choose(4, 6))
    own, measured = np.eye(3, dtype=bool), []
    for other in others:
        mu = np.where(own, START[1], other * START[1])
        omega = np.where(own, START[0], other * START[0]).repeat(10, axis=1)
        start = system.model.balanced(omega, mu)
        run = spectral_flow(system, start, 20.0, times=t, rtol=1e-9)
        omega, mu = system.model.combined(run.states)
        measured.append([omega[:, 0, 0] * np.sqrt(10), mu[:, 0, 0]])
    predicted = np.array([reduced.omega_bar * np.sqrt(10), reduced.mu])
    return shrinks("leader's ω̄ and μ in the flow of all heads, against the other weights", others,
                   [predicted] * len(others), measured, 1.0,
                   "what is off task enters linearly")  # fmt: skip


def _warm_up(settings: Settings) -> list[Check]:
    """Conservation at the order 1/L, and the logistic at the order μω̄."""
    lengths = [10**k for k in range(4, settings.choose(7, 9))]
    end = 0.9 * float(closed.blow_up_time(*START, 10, 1.0, 30))
    kept = closed.warmup_invariant(*START, 10, 1.0, np.inf, 30)
    left = []
    for length in lengths:
        run = two_variables(ReducedHead(10, 1.0, length, 30), *START, end)
        left.append(closed.warmup_invariant(run.omega_bar[-1], run.mu[-1], 10, 1.0, np.inf, 30))
    scales = np.geomspace(0.3, 0.003, settings.choose(3, 5))
    predicted, measured = [], []
    for scale in scales:
        omega, mu = scale * START[0], scale * START[1]
        duration = 0.5 * float(closed.blow_up_time(omega, mu, 10, 1.0, 30))
        run = two_variables(ReducedHead(10, 1.0, 10**12, 30), omega, mu, duration)
        course = closed.warmup_time_course(run.t, omega, mu, 10, 1.0, 30)
        predicted.append(np.concatenate([course.omega_bar * 50, course.mu]))
        measured.append(np.concatenate([run.omega_bar * 50, run.mu]))
    return [
        shrinks("μ − d_i√d_e ω̄ after nine tenths of the time to blow-up", lengths,
                [kept] * len(lengths), left, -1.0, "its rate is of order 1/L, exactly", slack=0.1),
        shrinks("ω̄ and μ until half of the time to blow-up, against their size", scales, predicted,
                measured, 2.0, "the warm-up leaves out μω̄"),
    ]  # fmt: skip


def _emergence(settings: Settings) -> Check:
    """The one equation against two, from the slow manifold, as μ becomes fast."""
    widths = [300 * 10**k for k in range(settings.choose(4, 6))]
    predicted, measured = [], []
    for width in widths:
        head = ReducedHead(10, 1.0, 100, width)
        duration = 20.0 * np.sqrt(width / 30)
        full = two_variables(head, 0.05, float(head.equilibrium(0.05)), duration)
        slow = head.emergence(0.05, duration, times=full.t)
        predicted.append([slow.omega_bar * np.sqrt(10), slow.mu])
        measured.append([full.omega_bar * np.sqrt(10), full.mu])
    return shrinks("ω̄ and μ of emergence, against d_e", widths, predicted, measured, -0.5,
                   "μ lags by the ratio of the rates, of order 1/(d_i √d_e)",
                   slack=0.1)  # fmt: skip


def _order_of_phases() -> Check:
    """The closed forms' phases along Fig. 3's run: each entered once, in order."""
    run = two_variables(FIG3, *START, 60.0)

    def visited(omega: Array, mu: Array) -> list[int]:
        phase = np.asarray(closed.training_phase(omega, mu, 10, 1.0, 100))
        return [int(p) for p in phase[np.flatnonzero(np.diff(phase, prepend=-1))]]

    risen = crossing_times(run.t, -run.omega_bar, [-0.5 / np.sqrt(10)])[0]
    late = run.t > 2 * risen
    return same("Fig. 3: phases in the order visited", [0, 1, 2], visited(run.omega_bar, run.mu),
                control=lambda: visited(run.omega_bar[late], run.mu[late]))  # fmt: skip

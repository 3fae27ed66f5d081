"""What the theory says of a case before it is run: plateaus, drop times, how long to run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import analytic
from analytic import softmax as closed
from numerics import (
    LinearTask,
    MergedAttention,
    SeparateAttention,
    exact_optimum,
    exact_task_loss,
    task_cascade,
)
from prediction.linear.theory import LARGEST_CASCADE

from .case import LinearCase, MergedCase, SoftmaxCase

Array = NDArray[Any]

NOT_SMALL = 10.0  # initial weights for which it says nothing; far beyond, it does not end
BEYOND_LAST_DROP = 1.3
# Without a cascade v_0 is some init, not known to a factor.
PATIENCE = 5.0
SETTLING = 25.0  # e-foldings
# Of the drop of ATTN_M, left when a run ends: its slowest modes may take many times as long.
REMAINING = 1e-4
TINY = 1e-150  # its square is a number still
# Rounding of o = v grows at the escape rate g; e^30 times it is still small.
BEFORE_ESCAPE = 30.0


@dataclass(frozen=True, eq=False)
class LinearTheory:
    """Closed-form losses M_0 … M_m, drop times (NaN where not predicted), and a duration."""

    plateaus: Array
    drops: Array
    duration: float


def linear_theory(case: LinearCase, model: SeparateAttention, initial: Array) -> LinearTheory:
    """Plateaus of [L] Eq. 19 in visit order, drop times from these weights' reduced cascade."""
    count = min(model.dimension, model.heads * model.rank)
    spectrum = np.array(case.eigenvalues)
    plateaus = analytic.plateau_losses(spectrum, case.context_length, noise=case.noise)
    drops = np.full(count, np.nan)
    if model.heads * (1 + model.dimension) > LARGEST_CASCADE or case.init > NOT_SMALL:
        slowest = analytic.learning_time(min(case.init, 1.0), analytic.mode_growth(spectrum).min())
        return LinearTheory(plateaus[: count + 1], drops, PATIENCE * float(slowest))
    task = LinearTask.from_eigenvalues(spectrum, case.context_length, noise=case.noise)
    cascade = task_cascade(model, task, initial)
    drops = cascade.drop_times[:count]
    last = drops[np.isfinite(drops)]
    duration = max(float(cascade.t[-1]), BEYOND_LAST_DROP * float(last.max(initial=0.0)))
    return LinearTheory(plateaus[: count + 1], drops, duration)


def merged_theory(case: MergedCase, model: MergedAttention, initial: Array) -> LinearTheory:
    """Both fixed points of ATTN_M, and when its loss is midway, from these weights.

    What grows of small weights are v_h + ⟨U_h, Ĉ⟩, Ĉ = ΛΩΛ/‖ΛΩΛ‖_F, at one rate: they become one
    aligned head of value a = ½ ‖v + ⟨U, Ĉ⟩‖ over heads, which `analytic.aligned_velocity` follows.
    """
    from scipy.integrate import solve_ivp

    spectrum, settings = np.array(case.eigenvalues), {"noise": case.noise}
    losses = analytic.plateau_losses(spectrum, case.context_length, **settings)
    plateaus = losses[[0, -1]]
    rate = float(analytic.escape_rate(spectrum))
    growth = analytic.mode_growth(spectrum)
    bends = analytic.mode_curvature(spectrum, case.context_length, **settings)
    v, U = model.unpack(initial)
    growing = v + np.einsum("hdd,d->h", U, growth) / rate
    start = max(0.5 * float(np.linalg.norm(growing)), TINY)
    # Near M* mode d settles at the rate v² curvature_d, v² = ‖M*‖_F.
    slowest = float(np.linalg.norm(growth / bends) * bends.min())
    end = 2 * math.log1p(1 / start) / rate + SETTLING / slowest
    if case.init > NOT_SMALL or start == TINY:
        return LinearTheory(plateaus, np.full(1, np.nan), end)

    def left(share: float) -> Any:
        def event(t: float, y: Array) -> float:
            m = y[0] * y[1:]
            loss = losses[0] - float(np.sum((2 * growth - bends * m) * m))
            return loss - float(plateaus[1]) - share * float(plateaus[0] - plateaus[1])

        return event

    def velocity(t: float, y: Array) -> Array:
        return np.append(*analytic.aligned_velocity(y[0], y[1:], spectrum, case.context_length,
                                                    **settings))  # fmt: skip

    events = [left(0.5), left(REMAINING)]
    events[1].terminal = True
    aligned = start * np.append(1.0, growth / rate)
    run = solve_ivp(velocity, (0.0, end), aligned, "LSODA", events=events, rtol=1e-10,
                    atol=1e-12 * start)  # fmt: skip
    drop = run.t_events[0][:1] if len(run.t_events[0]) else np.full(1, np.nan)
    return LinearTheory(plateaus, drop, max(float(run.t[-1]), BEYOND_LAST_DROP * float(drop[0])))


@dataclass(frozen=True, eq=False)
class SoftmaxTheory:
    """Losses summed over tasks: of the limit by [S]'s formula and exactly, and of the best heads.

    `norms` are the best heads' ‖ω‖², one for each task; 1 in the limit of [S].
    """

    limit: float
    exact: float
    optimum: float
    norms: Array
    converged: bool


def softmax_theory(case: SoftmaxCase) -> SoftmaxTheory:
    """Each kind of task is computed once."""
    length, noise = case.context_length, case.noise
    pairs = list(zip(case.block_dims, case.signal, strict=True))
    found = {}
    for d, lam in set(pairs):
        omega, mu = closed.limit_weights(d, lam, length, noise=noise)
        exact = exact_task_loss(float(omega), float(mu), d, lam, length, noise=noise)
        found[d, lam] = exact, exact_optimum(d, lam, length, noise=noise)
    exacts, optima = zip(*(found[pair] for pair in pairs), strict=True)
    sizes, signal = np.array(case.block_dims, float), np.array(case.signal)
    return SoftmaxTheory(
        limit=float(closed.limit_loss(sizes, signal, length, noise=noise)),
        exact=math.fsum(loss.value for loss in exacts),
        optimum=math.fsum(best.loss for best in optima),
        norms=np.array([best.squared_norm for best in optima]),
        converged=all(part.status == "converged" for part in (*exacts, *optima)),
    )


def softmax_duration(case: SoftmaxCase, leading: float) -> float:
    """Twice the predicted warm-up and then what settling takes, before rounding is let out."""
    sizes, signal = np.array(case.block_dims, float), np.array(case.signal)
    length, noise, width = case.context_length, case.noise, case.embedding_dim
    warmup = closed.blow_up_time(case.init, leading, sizes, signal, width)
    rate = closed.convergence_rate(sizes, signal, length, width, noise=noise)
    escape = closed.limit_escape_rate(sizes, signal, length, noise=noise)
    settling = min(SETTLING / float(np.min(rate)), BEFORE_ESCAPE / float(np.max(escape)))
    return 2 * float(np.max(warmup)) + settling

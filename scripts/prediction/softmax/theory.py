"""What the theory of [S] says about one set of tasks, and what is exact at its (d, L).

Notation of `analytic.softmax`: d_i, λ_i per coordinate, L, σ, H, d_e. Losses are summed over tasks,
without ½ and without the query's label noise.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import console
from analytic import softmax as closed
from numerics import ExactLoss, ExactOptimum, exact_optimum, exact_task_loss

Array = NDArray[Any]
CONVERGED = "converged"
SLOW = 30  # kinds of tasks, at some 0.1 s each


@dataclass(frozen=True, eq=False)
class Tasks:
    """The tasks, (I,) each, and the layer."""

    dims: tuple[int, ...]
    signal: Array
    noise: float
    heads: int
    embedding_dim: int

    @property
    def count(self) -> int:
        """I."""
        return len(self.dims)

    @property
    def sizes(self) -> Array:
        """d_i as floats, whose products do not overflow."""
        return np.array(self.dims, dtype=float)

    @property
    def energy(self) -> Array:
        """λ_i d_i, the loss of each task when nothing is learned."""
        return self.signal * self.sizes

    @property
    def kinds(self) -> list[tuple[int, float]]:
        """(d_i, σ/√λ_i), on which a task's exact loss over λ_i depends, beside L."""
        return [
            (d, self.noise / math.sqrt(lam))
            for d, lam in zip(self.dims, self.signal.tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Limit:
    """Where the flow ends with a head for each task; arrays and lists are over tasks.

    `exact` is the exact loss at that point; `optima` are the exactly best heads, one for each task.
    """

    omega: Array
    mu: Array
    losses: Array
    exact: list[ExactLoss]
    optima: list[ExactOptimum]
    escape_rates: Array
    convergence_rates: Array


@dataclass(frozen=True, eq=False)
class Generalisation:
    """Losses (I,) at L' of what was trained at L; `bayes` belongs to L'."""

    length: int
    formula: Array
    exact: list[ExactLoss]
    exact_optimum: list[ExactLoss]
    bayes: Array


@dataclass(frozen=True, eq=False)
class Prediction:
    """All that does not need training; `limit` is None where there are fewer heads than tasks."""

    tasks: Tasks
    length: int
    limit: Limit | None
    generalisation: Generalisation | None
    single: closed.SingleHead
    single_allocation: Array
    single_losses: Array
    bound_allocation: Array
    bound_losses: Array
    bayes: Array

    @property
    def missing(self) -> str | None:
        """Why there is no limit."""
        if self.limit is not None:
            return None
        return (
            f"[S] Theorem 2 needs a head for each task: {self.tasks.heads} heads, "
            f"{self.tasks.count} tasks"
        )


def bayes_losses(tasks: Tasks, length: Any) -> Array:
    """λ_i d_i times the Bayes risk in the proportional limit, (..., I) for L (...)."""
    gamma = tasks.sizes / np.asarray(length, dtype=float)[..., None]
    with np.errstate(divide="ignore", over="ignore"):  # σ = 0, or σ² as good as 0
        snr = tasks.energy / np.float64(tasks.noise) ** 2
    return np.asarray(tasks.energy * closed.bayes_risk(gamma, snr))


def exact_at_limit(tasks: Tasks, length: int, test_length: int | None = None) -> list[ExactLoss]:
    """The exact loss of each task at the weights of the limit for L, used at L'."""
    known = {}
    for d, noise in set(tasks.kinds):
        omega, mu = closed.limit_weights(float(d), 1.0, length, noise=noise)
        used = test_length or length
        known[d, noise] = exact_task_loss(float(omega), float(mu), d, 1.0, used, noise=noise)
    return _scaled(tasks, known)


def best_heads(tasks: Tasks, length: int) -> list[ExactOptimum]:
    """The exactly best head of each task, those of a kind computed once."""
    known = {
        (d, noise): exact_optimum(d, 1.0, length, noise=noise) for d, noise in set(tasks.kinds)
    }
    return [
        ExactOptimum(
            best.omega_bar, best.mu, best.squared_norm, best.squared_norm_error,
            lam * best.loss, lam * best.loss_error, best.status,
        )
        for best, lam in zip((known[k] for k in tasks.kinds), tasks.signal.tolist(), strict=True)
    ]  # fmt: skip


def convergence_rates(tasks: Tasks, length: int) -> Array:
    """The rate at which 1 − dω̄² of each task decays at the end, (I,)."""
    return np.asarray(
        closed.convergence_rate(
            tasks.sizes, tasks.signal, length, tasks.embedding_dim, noise=tasks.noise
        )
    )


def _scaled(tasks: Tasks, known: dict[tuple[int, float], ExactLoss]) -> list[ExactLoss]:
    return [
        ExactLoss(lam * known[kind].value, lam * known[kind].error, known[kind].status)
        for kind, lam in zip(tasks.kinds, tasks.signal.tolist(), strict=True)
    ]


def together(losses: list[ExactLoss]) -> ExactLoss:
    """The sum over tasks; with heads of their own and no others, tasks do not interact."""
    failed = [loss.status for loss in losses if loss.status != CONVERGED]
    value, error = math.fsum(x.value for x in losses), math.fsum(x.error for x in losses)
    return ExactLoss(value, error, failed[0] if failed else CONVERGED)


def best_losses(optima: list[ExactOptimum]) -> list[ExactLoss]:
    """The losses of best heads."""
    return [ExactLoss(best.loss, best.loss_error, best.status) for best in optima]


def predict(options: argparse.Namespace) -> Prediction:
    """Everything that the options ask for but the phases and the curves over L."""
    tasks = Tasks(
        tuple(options.block_dims), np.array(options.signal), options.noise, options.heads,
        options.embedding_dim,
    )  # fmt: skip
    length = options.context_length
    world = (tasks.sizes, tasks.signal, length)
    limit = _limit(tasks, length) if tasks.heads >= tasks.count else None
    budget: dict[str, Any] = {"budget": tasks.heads - 1, "cap": 1} if tasks.heads > 1 else {}
    single = closed.water_filling(*world, noise=tasks.noise)
    bound = closed.water_filling(*world, noise=tasks.noise, **budget)
    cost = closed.noise_factor(*world[:2], noise=tasks.noise) * tasks.sizes / length
    return Prediction(
        tasks, length, limit, _generalisation(tasks, length, options.test_length, limit),
        single=closed.single_head_optimum(*world, noise=tasks.noise),
        single_allocation=single,
        single_losses=tasks.energy * cost / (cost + single),
        bound_allocation=bound,
        bound_losses=tasks.energy * cost / (cost + bound),
        bayes=bayes_losses(tasks, length),
    )  # fmt: skip


def _limit(tasks: Tasks, length: int) -> Limit:
    if len(set(tasks.kinds)) > SLOW:
        console.progress(f"the best heads for {len(set(tasks.kinds))} kinds of tasks …")
    world = (tasks.sizes, tasks.signal, length)
    point = closed.limit_weights(*world, noise=tasks.noise)
    return Limit(
        np.asarray(point.omega_bar),
        np.asarray(point.mu),
        np.asarray(closed.task_limit_losses(*world, noise=tasks.noise)),
        exact_at_limit(tasks, length),
        best_heads(tasks, length),
        np.asarray(closed.limit_escape_rate(*world, noise=tasks.noise)),
        convergence_rates(tasks, length),
    )


def _generalisation(
    tasks: Tasks, length: int, test_length: int | None, limit: Limit | None
) -> Generalisation | None:
    if test_length is None or limit is None:
        return None
    formula = [
        float(closed.generalised_loss(d, lam, length, test_length, noise=tasks.noise))
        for d, lam in zip(tasks.sizes.tolist(), tasks.signal.tolist(), strict=True)
    ]
    known = {
        (d, noise): exact_task_loss(best.omega_bar, best.mu, d, 1.0, test_length, noise=noise)
        for (d, noise), best in zip(tasks.kinds, limit.optima, strict=True)
    }
    return Generalisation(
        test_length,
        np.array(formula),
        exact_at_limit(tasks, length, test_length),
        _scaled(tasks, known),
        bayes_losses(tasks, test_length),
    )

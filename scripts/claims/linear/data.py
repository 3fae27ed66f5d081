"""L1, L2, B2: the moments of the data, and that the loss sees nothing else."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import analytic
import style
from claims.base import Evidence, Settings, agree, claim, same, within_noise
from claims.cases import EPS, reference_task
from claims.linear.whole import reduced_gap, sampled_checks, sampled_runs
from numerics import (
    AttentionSystem,
    LinearTask,
    SeparateAttention,
    Sequences,
    gradient_descent,
    matrix_loss,
    moments_of_sequences,
    population_moments,
    random_rotation,
    sample_chunks,
    sample_sequences,
)


@lru_cache
def generic_task() -> LinearTask:
    """Λ and Ω that do not commute, label noise, short contexts: nothing is hidden by a 1."""
    a, b = random_rotation(3, rng=11), random_rotation(3, rng=12)
    return LinearTask((a * [0.9, 0.5, 0.2]) @ a.T, 5, (b * [1.5, 0.7, 0.3]) @ b.T, noise=0.6)


class _Average:
    """Mean and standard error of a stream of arrays."""

    def __init__(self) -> None:
        self.count, self.total, self.square = 0, np.zeros(()), np.zeros(())

    def add(self, rows: np.ndarray) -> None:
        self.count += len(rows)
        self.total = self.total + rows.sum(axis=0)
        self.square = self.square + (rows * rows).sum(axis=0)

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.count

    @property
    def standard_error(self) -> np.ndarray:
        variance = self.square / self.count - self.mean**2
        return np.asarray(np.sqrt(variance / self.count))


@claim(
    "L1",
    source="[L] Eq. 15",
    kind="identity",
    statement="E[β wᵀ] = ΛΩ and E[β βᵀ] = S = (1+1/N) ΛΩΛ + (tr ΩΛ + σ²) Λ/N",
    regime="Gaussian tokens; any Λ, Ω, σ, N; 1/N ↦ E[1/N] where N varies",
)
def moments(settings: Settings) -> Evidence:
    """Monte Carlo averages of β wᵀ and β βᵀ, for a fixed and for a varying context length."""
    task = generic_task()
    varying = LinearTask(task.covariance, [4, 12], task.task_covariance, task.noise)
    count = settings.choose(2_000_000, 10_000_000)
    lam, omega = task.covariance, task.task_covariance
    predicted = {
        "task": analytic.input_target_moment(lam, omega),
        "second": analytic.feature_second_moment(lam, 5, task_covariance=omega, noise=task.noise),
        "varying": analytic.feature_second_moment(
            lam,
            analytic.effective_context_length([4, 12]),
            task_covariance=omega,
            noise=task.noise,
        ),
    }
    titles = {"task": "E[β wᵀ]", "second": "E[β βᵀ]", "varying": "E[β βᵀ] with N ∈ {4, 12}"}
    averages = {name: _Average() for name in titles}
    for s in sample_chunks(task, count, chunk=50_000, rng=settings.seed):
        averages["task"].add(_entries_and_scale(s.beta, s.w, predicted["task"]))
        averages["second"].add(_entries_and_scale(s.beta, s.beta, predicted["second"]))
    for s in sample_chunks(varying, count, chunk=50_000, rng=settings.seed + 1):
        averages["varying"].add(_entries_and_scale(s.beta, s.beta, predicted["varying"]))
    checks = [
        within_noise(
            title, np.append(predicted[n], 1.0), averages[n].mean, averages[n].standard_error
        )
        for n, title in titles.items()
    ]

    def draw(ax: Any) -> None:
        p = np.concatenate([predicted[n].ravel() for n in predicted])
        m = np.concatenate([averages[n].mean[:-1] for n in averages])
        e = np.concatenate([averages[n].standard_error[:-1] for n in averages])
        ax.errorbar(p, (m - p) / e, yerr=1.0, fmt="o", ms=3, color=style.MEASURED)
        ax.axhline(0, color=style.PREDICTED, lw=0.9)
        ax.set_xlabel("predicted entry of a moment")
        ax.set_ylabel("(measured − predicted) / SE")

    return Evidence(checks, draw, f"{count:,} sequences each")


def _entries_and_scale(a: np.ndarray, b: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Entries of a bᵀ for each sequence and, last, tr(predicted⁻¹ a bᵀ)/D.

    The last has mean 1 and is the number most sensitive to a common factor.
    """
    D = a.shape[1]
    scale = np.sum((a @ np.linalg.inv(predicted).T) * b, axis=1) / D
    outer = a[:, :, None] * b[:, None, :]
    return np.concatenate([outer.reshape(len(a), -1), scale[:, None]], axis=1)


@claim(
    "L2",
    source="[L] Eq. 5, 15; derived",
    kind="identity",
    statement="L(M) = tr ΩΛ − 2 tr(MᵀΛΩΛ) + tr(MᵀSMΛ) for every M",
    regime="any predictor linear in z = vec(β x_qᵀ)",
)
def loss_of_matrix(settings: Settings) -> Evidence:
    """The closed form against Monte Carlo and against the loss in numerics."""
    task, rng = generic_task(), np.random.default_rng(settings.seed)
    matrices = rng.standard_normal((4, 3, 3)) * 0.6
    S = analytic.feature_second_moment(
        task.covariance, 5, task_covariance=task.task_covariance, noise=task.noise
    )
    predicted = np.array(
        [
            analytic.population_loss(M, task.covariance, S, task_covariance=task.task_covariance)
            for M in matrices
        ]
    )
    average = _Average()
    count = settings.choose(4_000_000, 20_000_000)
    for s in sample_chunks(task, count, chunk=50_000, rng=settings.seed + 2):
        guess = np.stack([np.sum((s.beta @ M) * s.query, axis=1) for M in matrices], axis=1)
        average.add((guess - s.target[:, None]) ** 2)

    few = sample_sequences(task, 400, rng=settings.seed + 3)
    raw = [_mean_square(few, M) for M in matrices]
    from_moments = matrix_loss(moments_of_sequences(few), matrices)
    rounding = 400 * 3 * EPS
    checks = [
        agree(
            "population loss in numerics",
            predicted,
            matrix_loss(population_moments(task), matrices),
            100 * EPS,
            "rounding of about 100 operations",
        ),
        agree(
            "mean square error over 400 sequences, from their moments",
            from_moments,
            raw,
            rounding,
            "rounding of a sum over 400 sequences",
        ),
        within_noise(
            "Monte Carlo mean square error", predicted, average.mean, average.standard_error
        ),
    ]

    def draw(ax: Any) -> None:
        ax.errorbar(predicted, average.mean, yerr=average.standard_error, fmt="o",
                    color=style.MEASURED, label="Monte Carlo")  # fmt: skip
        ax.plot(predicted, predicted, color=style.PREDICTED, lw=0.9, label="closed form")
        ax.set_xlabel("L(M), closed form")
        ax.set_ylabel("mean square error")
        ax.legend()

    return Evidence(checks, draw, f"{count:,} sequences, four random M")


def _mean_square(s: Sequences, M: np.ndarray) -> float:
    return float(np.mean((np.sum((s.beta @ M) * s.query, axis=1) - s.target) ** 2))


@claim(
    "B2",
    source="derived",
    kind="identity",
    statement="training on P sampled sequences is reproduced step for step by their moments",
    regime="linear attention, the reduced model or all blocks of the layer; full batch, any P",
)
def sampled_run(settings: Settings) -> Evidence:
    """Gradient descent with sums over every sequence, beside gradient descent on moments.

    The reduced model sees D² features of a sequence, the whole layer (D+1)(D+2)D/2.
    """
    task, model = reference_task(), SeparateAttention(dimension=4, heads=4)
    count, steps = settings.choose((300, 3000), (3000, 6001))
    sequences = sample_sequences(task, count, rng=settings.seed)
    start, rate = model.initial_weights(0.05, rng=settings.seed), 0.05
    by_hand = _train_on_sequences(model, sequences, start, steps, rate)
    system = AttentionSystem(model, moments_of_sequences(sequences))
    run = gradient_descent(system, start, steps, rate)
    amplified = EPS * steps / 0.05
    checks = [
        agree(
            f"loss at each of {steps} steps",
            run.loss,
            by_hand,
            amplified,
            "one rounding a step, amplified by the growth from the initial weights to order 1",
            scale=run.loss[0],
        ),
        same("steps taken", len(by_hand), len(run.loss)),
    ]
    runs = sampled_runs(settings)
    checks += sampled_checks(runs)

    def draw(ax: Any) -> None:
        for i, (name, whole) in enumerate(runs.items()):
            first = i == 0
            style.measured(ax, whole.sampled.t, whole.sampled.loss,
                           label="all blocks, on the sequences" if first else None)  # fmt: skip
            style.predicted(ax, whole.exact.t, whole.exact.loss,
                            label="all blocks, on their moments" if first else None)  # fmt: skip
            ax.plot(whole.reduced.t, whole.reduced.loss, color=style.QUIET, lw=0.9, ls=":",
                    label="the reduced blocks alone" if first else None)  # fmt: skip
            middle = len(whole.exact.t) // 2
            ax.annotate(name, (middle, whole.exact.loss[middle]), xytext=(0, 8),
                        textcoords="offset points")  # fmt: skip
        ax.set_xlabel("step")
        ax.set_ylabel("training loss")
        ax.legend()

    return Evidence(checks, draw, reduced_gap(settings))


def _train_on_sequences(
    model: SeparateAttention, s: Sequences, theta: np.ndarray, steps: int, rate: float
) -> np.ndarray:
    """Plain training that touches every sequence at every step."""
    losses, beta = [], s.beta
    for _ in range(steps + 1):
        v, k, q = model.unpack(theta)
        keys, queries = beta @ k[:, 0].T, s.query @ q[:, 0].T
        error = (keys * queries) @ v - s.target
        losses.append(np.mean(error**2))
        share = 2.0 * error[:, None] / len(error)
        dv = np.sum(share * keys * queries, axis=0)
        dk = v[:, None] * ((share * queries).T @ beta)
        dq = v[:, None] * ((share * keys).T @ s.query)
        theta = theta - rate * np.concatenate([dv, dk.ravel(), dq.ravel()])
    return np.array(losses)

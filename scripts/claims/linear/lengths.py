"""L21: contexts of varying length.

Given N, E[ββᵀ] is affine in 1/N, so the loss over a law of N has E[1/N] for 1/N. Attention without
its own 1/N reads c = Nβ instead, with E[c wᵀ] = E[N] ΛΩ and

    E[ccᵀ] = (E[N²] + E[N]) ΛΩΛ + E[N] (tr ΩΛ + σ²) Λ,

so that everything holds at S' = E[ccᵀ]/E[N]² and M' = E[N] M. As contexts grow in proportion the
least loss then tends to tr ΩΛ · Var N/E[N²], not to zero: long sequences outweigh short ones.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

import analytic
import style
from claims.base import Check, Evidence, Settings, agree, claim, shrinks, within_noise
from claims.linear.sampled import flattest_between, mean_squares, train_whole_layer
from numerics import (
    LinearTask,
    SeparateAttention,
    Sequences,
    Trajectory,
    find_plateaus,
    gradient_flow,
    matrix_loss,
    minimiser,
    population_moments,
    sample_sequences,
)

SPECTRUM = (0.7, 0.3)
NOISE = 0.3
LENGTHS = (3, 21)  # E[1/N] as at N = 5.25, but E[N] = 12
MEAN = 12.0
SHORT = (2, 6)  # for many samples: E[1/N] as at N = 3, but E[N] = 4


@lru_cache
def task_of(lengths: tuple[int, ...]) -> LinearTask:
    """Label noise 0.3, Λ in a random basis, N drawn from the list."""
    return LinearTask.from_eigenvalues(SPECTRUM, list(lengths), noise=NOISE, rng=0)


def second_moment(length: float) -> np.ndarray:
    """S at one length, or at 1/E[1/N]."""
    cov = task_of(LENGTHS).covariance
    return np.asarray(analytic.feature_second_moment(cov, length, noise=NOISE))


def summed_second_moment(lengths: tuple[int, ...]) -> np.ndarray:
    """S' = E[ccᵀ]/E[N]² of attention that is not divided by N."""
    cov, N = task_of(LENGTHS).covariance, np.array(lengths, float)
    energy = np.trace(cov) + NOISE**2
    total = (np.mean(N**2) + np.mean(N)) * cov @ cov + np.mean(N) * energy * cov
    return np.asarray(total / np.mean(N) ** 2)


def heights(second: np.ndarray) -> np.ndarray:
    """Plateaus at an S."""
    return np.asarray(analytic.general_plateau_losses(task_of(LENGTHS).covariance, second))


def plateau_matrices(second: np.ndarray) -> np.ndarray:
    """M at the plateaus of an S, zero first."""
    modes = analytic.general_modes(task_of(LENGTHS).covariance, second)
    return np.concatenate([np.zeros((1, 2, 2)), np.cumsum(modes.matrices, axis=0)])


@lru_cache
def flow(lengths: tuple[int, ...], scale: float = 1e-3) -> Trajectory:
    """Gradient flow of rank-one ATTN_S, H = 2, through both drops."""
    model = SeparateAttention(dimension=2, heads=2)
    start = model.initial_weights(scale, rng=0)
    duration = 10 / (SPECTRUM[-1] ** 2 * scale)
    return gradient_flow(model, population_moments(task_of(lengths)), start, duration, rtol=1e-9)


@claim(
    "L21",
    source="derived",
    kind="asymptotic",
    statement="where the context length varies, 1/N is E[1/N] in moments, plateaus and minimum",
    regime="attention divided by its own N; if not, E[N] and E[N²] enter and Var N costs loss",
)
def varying_length(settings: Settings) -> Evidence:
    """Moments, plateaus, whole layers on samples, other lengths at test; attention without 1/N."""
    effective = float(analytic.effective_context_length(LENGTHS))
    predicted = heights(second_moment(effective))
    found = find_plateaus(flow(LENGTHS)).heights
    found = found if len(found) == len(predicted) else np.full(len(predicted), np.nan)
    checks = [
        *_moments(effective, settings),
        agree("plateaus of the flow", predicted, found, 1e-3,
              "the correction is at most linear in initial weights of 1e-3", scale=predicted),
        *_test_lengths(effective, settings),
    ]  # fmt: skip
    counts, errors, rate = _ladder(settings)
    checks += [rate, *_whole_layers(effective, settings), _lasting_loss()]

    def draw(ax: Any) -> None:
        for P, row in zip(counts, errors, strict=True):
            ax.loglog(np.full(row.size, P), row, "o", ms=3, color=style.MEASURED)
        mean = np.sqrt(np.mean(errors**2, axis=1))
        ax.loglog(counts, mean[0] * np.sqrt(counts[0] / np.array(counts)), ls=style.DASHES,
                  color=style.PREDICTED, label="∝ P^(−1/2)")  # fmt: skip
        ax.set_xlabel("sampled sequences P")
        ax.set_ylabel("relative error of the final loss")
        ax.legend()

    least = heights(summed_second_moment(LENGTHS))[-1]
    note = f"lengths 3 and 21: least loss {predicted[-1]:.3f}; not divided by N {least:.3f}, "
    note += f"of which {lasting_loss():.3f} stays however long the contexts"
    return Evidence(checks, draw, note)


def _moments(effective: float, settings: Settings) -> list[Check]:
    """E[ββᵀ] at E[1/N] and not at 1/E[N]; moments of c = Nβ at E[N], E[N²]."""
    count, cov, mean = settings.choose(50_000, 300_000), task_of(LENGTHS).covariance, MEAN
    s = sample_sequences(task_of(LENGTHS), count, rng=settings.seed)
    summed = s.beta * s.lengths[:, None]
    rows = (
        ("E[ββᵀ]", s.beta, s.beta, second_moment(effective), second_moment(mean)),
        ("E[ccᵀ], c = Nβ", summed, summed, mean**2 * summed_second_moment(LENGTHS),
         mean**2 * second_moment(effective)),
        ("E[c wᵀ]", summed, s.w, mean * cov, effective * cov),
    )  # fmt: skip
    checks = []
    for name, a, b, predicted, wrong in rows:
        outer = a[:, :, None] * b[:, None, :]
        error = outer.std(axis=0) / np.sqrt(count)
        checks.append(within_noise(f"{name}, N ∈ {{3, 21}}", predicted, outer.mean(axis=0), error,
                                   wrong=wrong))  # fmt: skip
    return checks


def _test_lengths(effective: float, settings: Settings) -> list[Check]:
    """M trained on varying lengths and tested at one length N'."""
    cov = task_of(LENGTHS).covariance
    M = plateau_matrices(second_moment(effective))[-1]
    losses, means, errors, lengths = [], [], [], (3, 8, 21, 40)
    for i, length in enumerate(lengths):
        s = sample_sequences(task_of((length,)), settings.choose(12_000, 200_000),
                             rng=settings.seed * 10 + i)  # fmt: skip
        mean, error = mean_squares(s, M[None])
        losses.append(analytic.population_loss(M, cov, second_moment(length)))
        means.append(mean[0])
        errors.append(error[0])
    at_training = analytic.population_loss(M, cov, second_moment(effective))
    return [within_noise(f"loss of the trained M at N' = {', '.join(map(str, lengths))}", losses,
                         means, errors, wrong=[at_training] * len(lengths))]  # fmt: skip


def train(
    lengths: tuple[int, ...], second: np.ndarray, count: int, seed: int, *, divide: bool = True
) -> tuple[Sequences, Trajectory]:
    """A sample, and the whole layer trained on it from one head along each mode of S.

    Features E[N] times as large need weights E[N]^(1/3) times as small, and an equally fast
    descent a rate E[N]^(2/3) times as small.
    """
    sequences = sample_sequences(task_of(lengths), count, rng=seed)
    factor = 1.0 if divide else float(np.mean(lengths)) ** (-1 / 3)
    modes = analytic.general_modes(task_of(lengths).covariance, second).matrices
    run = train_whole_layer(sequences, modes, 500, size=0.1 * factor, rate=0.3 * factor**2,
                            divide=divide)  # fmt: skip
    return sequences, run


def _ladder(settings: Settings) -> tuple[tuple[int, ...], np.ndarray, Check]:
    """Ends of whole layers on several samples of each size; their error falls like P^(−½)."""
    counts = settings.choose((1000, 6000, 36_000), (1000, 8000, 64_000))
    repeats = settings.choose(10, 20)
    second = second_moment(float(analytic.effective_context_length(SHORT)))
    predicted, wrong = heights(second)[-1], heights(second_moment(float(np.mean(SHORT))))[-1]
    found = np.array(
        [[train(SHORT, second, P, 1000 * settings.seed + 10 * r + i)[1].loss[-1]
          for r in range(repeats)] for i, P in enumerate(counts)]
    )  # fmt: skip
    check = shrinks(
        f"final loss of the whole layer on P sequences, N ∈ {{2, 6}}, {repeats} samples of each P",
        counts, np.full(found.shape, predicted), found, -0.5, "the error of a sample mean",
        wrong=np.full(found.shape, wrong),
    )  # fmt: skip
    return counts, np.abs(found / predicted - 1), check


def _whole_layers(effective: float, settings: Settings) -> list[Check]:
    """Plateaus on one larger sample, with and without the layer's 1/N."""
    count = settings.choose(40_000, 200_000)
    wrong = heights(second_moment(MEAN))[1:]
    seconds = {True: second_moment(effective), False: summed_second_moment(LENGTHS)}
    checks = []
    for divide, second in seconds.items():
        sequences, run = train(LENGTHS, second, count, settings.seed, divide=divide)
        matrices = plateau_matrices(second)[1:] / (1.0 if divide else MEAN)
        errors = mean_squares(sequences, matrices, divide=divide)[1]
        predicted = heights(second)
        found = flattest_between(run, predicted)
        name = f"plateaus of the whole layer {'with' if divide else 'without'} its 1/N"
        checks.append(within_noise(name, predicted[1:], found, errors, wrong=wrong))
    return checks


def _lasting_loss() -> Check:
    """Without 1/N: what stays of the least loss as all contexts grow in proportion."""
    factors = np.array([1, 10, 100, 1000])
    moments = population_moments(task_of(LENGTHS))
    least = []
    for k in factors:
        longer = replace(moments, second_moment=summed_second_moment(tuple(k * np.array(LENGTHS))))
        least.append(float(matrix_loss(longer, minimiser(longer))))
    return shrinks(
        "least loss without 1/N, lengths 3k and 21k, against tr ΩΛ · Var N/E[N²]", factors,
        [lasting_loss()] * len(factors), least, -1.0, "the rest is what contexts of length k cost",
    )  # fmt: skip


def lasting_loss() -> float:
    """The part tr ΩΛ · Var N/E[N²] of the least loss without 1/N."""
    return float(np.sum(SPECTRUM) * np.var(LENGTHS) / np.mean(np.square(LENGTHS)))

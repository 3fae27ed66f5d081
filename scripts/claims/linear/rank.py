"""L16, L17: ATTN_S of rank R."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

import analytic
import style
from claims.base import Evidence, Settings, agree, at_least, claim, same
from claims.cases import EPS, eigenbasis
from claims.linear.landscape import distinct, find_functions, mismatch, set_of_functions
from numerics import (
    AttentionSystem,
    Cascade,
    LinearTask,
    SeparateAttention,
    Trajectory,
    drop_times,
    gradient_flow,
    matrix_loss,
    population_moments,
    task_cascade,
)

# [L] Fig. 4: D = 8, H = 9, N = 31, eigenvalues ∝ 1/d with trace 1.
SPECTRUM = 1 / np.arange(1, 9) / np.sum(1 / np.arange(1, 9))


@lru_cache
def rank_run(rank: int, scale: float, seed: int) -> Trajectory:
    """Flow of [L] Fig. 4 at one rank, from N(0, scale²) weights until all is learned.

    The reduced cascade says how long that takes, within a few per cent.
    """
    model = SeparateAttention(dimension=8, heads=9, rank=rank)
    moments = population_moments(LinearTask.from_eigenvalues(SPECTRUM, 31))
    start = model.initial_weights(scale, rng=seed)
    duration = 1.3 * float(np.max(rank_cascade(rank, scale, seed).drop_times))
    return gradient_flow(model, moments, start, duration)


@lru_cache
def rank_cascade(rank: int, scale: float, seed: int) -> Cascade:
    """The reduced scalars of the same run."""
    model = SeparateAttention(dimension=8, heads=9, rank=rank)
    task = LinearTask.from_eigenvalues(SPECTRUM, 31)
    return task_cascade(model, task, model.initial_weights(scale, rng=seed))


@claim(
    "L16",
    source="[L] §5, Fig. 4, 11, 12",
    kind="qualitative",
    statement="at rank R the plateaus are long where m is a multiple of R, and brief elsewhere",
    regime="D = 8, H = 9, N = 31, λ_d ∝ 1/d, initial weights of 1e-3",
)
def multiples_of_rank(settings: Settings) -> Evidence:
    """Every wait on M_m with R | m is longer than every wait on the other plateaus of the run."""
    ranks = settings.choose((2, 3, 4, 8), (2, 3, 4, 5, 6, 7, 8))
    seeds = settings.choose((0, 1), (0, 1, 2, 3, 4, 5))
    heights = analytic.plateau_losses(SPECTRUM, 31)
    waits = {
        (rank, seed): _waits(rank_run(rank, 1e-3, seed), heights)
        for rank in ranks
        for seed in seeds
    }

    def separated(shift: int) -> list[bool]:
        """Whether the waits at m ≡ shift (mod R) are the longest ones, for each run."""
        out = []
        for (rank, _), wait in waits.items():
            chosen = np.arange(8) % rank == shift
            out.append(bool(wait[chosen].min() > wait[~chosen].max()))
        return out

    ratios = {
        key: wait[np.arange(8) % key[0] == 0].min() / wait[np.arange(8) % key[0] != 0].max()
        for key, wait in waits.items()
    }
    first = [_waits(rank_run(R, 1e-3, seed), heights)[0] for R, seed in waits]
    checks = [
        same("waits at multiples of R exceed all others, each run", [True] * len(waits),
             separated(0), control=lambda: separated(1)),
        agree("time of the first drop, by the reduced scalars",
              [rank_cascade(R, 1e-3, seed).drop_times[0] for R, seed in waits], first, 1e-3,
              "linear in the initial weights", scale=first),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        style.plateau_lines(ax, heights)
        for rank, shade in zip((1, 2, 4, 8), style.SHADES, strict=False):
            run = rank_run(rank, 1e-3, 0)
            ax.plot(run.t, run.loss, color=shade, label=f"R = {rank}")
        style.loss_axes(ax, log_time=True)
        ax.set_xlim(left=1e3)
        ax.legend(loc="lower left")

    gap = min(ratios.values())
    return Evidence(checks, draw, f"long waits exceed brief ones by a factor of {gap:.2g} or more")


def _waits(run: Trajectory, heights: np.ndarray) -> np.ndarray:
    """Time on each plateau M_0…M_7: from the drop before it to the drop after it."""
    times = drop_times(run.t, run.loss, heights, loss_rate=run.loss_rate)
    return np.diff(times, prepend=0.0)


@claim(
    "L17",
    source="[L] §5",
    kind="identity",
    statement="at any rank R the fixed points and the minimum in function space are the same",
    regime="any R with H·R ≥ D; M_S for every set S of eigenvectors",
)
def landscape(settings: Settings) -> Evidence:
    """Roots of the gradient at R = 2, 3 from random starts, and the end of flows at R = 1…4."""
    spectrum = [0.5, 0.3, 0.2]
    task = LinearTask.from_eigenvalues(spectrum, 10, rng=settings.seed)
    moments, basis = population_moments(task), eigenbasis(task)
    predicted = set_of_functions(task)
    starts = settings.choose(40, 300)
    roots = {
        R: find_functions(SeparateAttention(3, 2, R), moments, starts, settings.seed)
        for R in (2, 3)
    }
    gradients = _gradients_at_embedded_points(moments, basis, spectrum, 1.0)
    model_losses = []
    for R in (1, 2, 3, 4):
        model = SeparateAttention(dimension=3, heads=4, rank=R)
        run = gradient_flow(model, moments, model.initial_weights(0.3, rng=settings.seed), 5000.0)
        model_losses.append(run.loss[-1])
    minimum = analytic.plateau_losses(spectrum, 10)[-1]
    checks = [
        same(f"roots at R = {R} that are none of the 8 (found {len(found)})", 0,
             mismatch(found, predicted),
             control=partial(mismatch, found, 1.01 * predicted))
        for R, found in roots.items()
    ]  # fmt: skip
    checks += [
        at_least(f"distinct points among the roots at R = {R}", 4, distinct(found, predicted),
                 control=partial(distinct, found, 1.01 * predicted))
        for R, found in roots.items()
    ]  # fmt: skip
    checks += [
        agree("|∂L/∂θ| at the 8 points written with R = 2", np.zeros(8), gradients, 200 * EPS,
              "rounding of the gradient", scale=1.0,
              control=lambda: _gradients_at_embedded_points(moments, basis, spectrum, 1.01)),
        agree("loss at the end of the flow, R = 1…4", [minimum] * 4, model_losses, 1e-10,
              "the loss is quadratic in the solver's error of 1e-8"),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        losses = np.array([matrix_loss(moments, M) for M in predicted])
        style.plateau_lines(ax, losses, "L(M_S), 8 sets S")
        for column, found in enumerate(roots.values()):
            values = [matrix_loss(moments, M) for M in found]
            jitter = column + 0.3 * np.linspace(-1, 1, len(values))
            ax.plot(jitter, values, "o", ms=3, color=style.MEASURED)
        ax.set_xticks([0, 1], [f"R = {R}" for R in roots])
        ax.set_ylabel("loss at the roots of the gradient")
        ax.legend()

    return Evidence(checks, draw)


def _gradients_at_embedded_points(
    moments: Any, basis: np.ndarray, spectrum: list[float], factor: float
) -> np.ndarray:
    """|∂L/∂θ| with two modes to a head: v² = Σ_r κ_hr² at balance, κ_hr from v κ_hr² = m_d."""
    model = SeparateAttention(dimension=3, heads=2, rank=2)
    system = AttentionSystem(model, moments)
    out = []
    for subset in analytic.fixed_point_subsets(3):
        m = analytic.fixed_point_coefficients(subset, spectrum, 10)
        v, k = np.zeros(2), np.zeros((2, 2, 3))
        for head, modes in enumerate(([0, 1], [2])):
            v[head] = np.sum(m[modes]) ** (1 / 3)
            for pair, d in enumerate(modes):
                if m[d]:
                    k[head, pair] = np.sqrt(m[d] / v[head]) * basis[:, d]
        theta = model.pack(factor * v, k, k)
        out.append(2 * float(np.linalg.norm(system.velocity(theta))))
    return np.array(out)

"""B1, B4, B6: beyond [L], with the same closed forms: other tasks, stability, real tokens."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import analytic
import style
from claims.base import Check, Evidence, Settings, agree, claim, same, shrinks, within_noise
from claims.cases import EPS, eigenbasis
from numerics import (
    AttentionSystem,
    DenseMoments,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    TokenTask,
    Trajectory,
    crossing_times,
    find_plateaus,
    gradient_descent,
    gradient_flow,
    matrix_loss,
    minimiser,
    population_moments,
    random_rotation,
    sample_chunks,
    sample_moments,
    stability,
)


@lru_cache
def anisotropic_run(spectrum: tuple, omega: tuple, scale: float, seed: int) -> Trajectory:
    """Flow of rank-one ATTN_S with label noise σ = 0.5, N = 20, H = D + 1."""
    task = LinearTask.from_eigenvalues(spectrum, 20, task_eigenvalues=omega, noise=0.5, rng=5)
    model = SeparateAttention(dimension=len(spectrum), heads=len(spectrum) + 1)
    start = model.initial_weights(scale, rng=seed)
    return gradient_flow(model, population_moments(task), start, 500 / scale, rtol=1e-9)


@claim(
    "B1",
    source="derived",
    kind="asymptotic",
    statement="with task covariance Ω and noise σ, plateaus tr ΩΛ − Σ gains in order of λ_d²ω_d",
    regime="gains ordered like λ_d²ω_d; else a head turns to a mode of larger gain (saddle_path)",
)
def anisotropic(settings: Settings) -> Evidence:
    """Plateaus where both orders agree, where they differ, and for Ω that does not commute."""
    scale = 1e-3
    agreeing = ((0.5, 0.3, 0.2), (0.4, 2.5, 1.0))
    differing = ((0.5, 0.3, 0.2), (0.3, 1.2, 0.8))
    checks: list[Check] = []
    for seed in range(settings.choose(2, 6)):
        run = anisotropic_run(*agreeing, scale, seed)
        heights = analytic.plateau_losses(agreeing[0], 20, task_eigenvalues=agreeing[1], noise=0.5)
        checks.append(
            _plateaus(f"plateaus, λ²ω and gains ordered alike, seed {seed}", heights, run)
        )
        run = anisotropic_run(*differing, 1e-4, seed)
        path = analytic.saddle_path(differing[0], 20, task_eigenvalues=differing[1], noise=0.5)
        heights = analytic.fixed_point_loss(
            path, differing[0], 20, task_eigenvalues=differing[1], noise=0.5
        )
        checks.append(_plateaus(f"saddle_path with its detour, seed {seed}", heights, run))
        found = len(find_plateaus(run).drops)
        checks.append(same(f"D drops where the orders differ, seed {seed}", 3, found, beyond=True))
    checks += [_other_basis(seed) for seed in range(settings.choose(2, 6))]

    def draw(ax: Any) -> None:
        run = anisotropic_run(*differing, 1e-4, 0)
        style.plateau_lines(ax, heights, "saddle_path")
        ax.plot(run.t, run.loss, color=style.MEASURED, label="gradient flow")
        style.loss_axes(ax)
        ax.set_xlim(0, 1.5 * find_plateaus(run).drops[-1])
        ax.legend()

    return Evidence(checks, draw, "where λ²ω and gain order modes differently, D+1 drops are seen")


def _plateaus(name: str, heights: np.ndarray, run: Trajectory) -> Check:
    found = _found(run, len(heights))
    because = "linear in initial weights of at most 1e-3, with room for a factor of 5"
    return agree(name, heights, found, 5e-3, because, scale=heights)


def _other_basis(seed: int) -> Check:
    """Ω in a basis of its own, so that ΛΩΛ, S and Λ share no eigenvectors."""
    a, b = random_rotation(3, rng=seed), random_rotation(3, rng=100 + seed)
    task = LinearTask((a * [0.6, 0.3, 0.12]) @ a.T, 20, (b * [1.3, 1.0, 0.7]) @ b.T, noise=0.3)
    S = analytic.feature_second_moment(
        task.covariance, 20, task_covariance=task.task_covariance, noise=0.3
    )
    heights = analytic.general_plateau_losses(
        task.covariance, S, task_covariance=task.task_covariance
    )
    model = SeparateAttention(dimension=3, heads=4)
    start = model.initial_weights(1e-3, rng=seed)
    run = gradient_flow(model, population_moments(task), start, 1e6, rtol=1e-9)
    return _plateaus(f"plateaus, Ω and Λ that do not commute, case {seed}", heights, run)


@claim(
    "B4",
    source="derived",
    kind="identity",
    statement="Hessian index at every fixed point: #{(i∈S, d∉S): gain_d > gain_i}; escape rates",
    regime="ATTN_S at the ansatz of each S; ATTN_M at 0: index H, rate ‖ΛΩΛ‖_F/τ",
)
def stability_of_all(settings: Settings) -> Evidence:
    """Spectra at all 16 points, the rate of each unstable pair, and measured escapes."""
    lam, omega = [0.5, 0.35, 0.25, 0.15], [0.4, 0.9, 0.8, 2.5]
    task = LinearTask.from_eigenvalues(lam, 20, task_eigenvalues=omega, rng=settings.seed)
    basis = eigenbasis(task)
    model = SeparateAttention(dimension=4, heads=5)
    moments = population_moments(task)
    system = AttentionSystem(model, moments)
    subsets = analytic.fixed_point_subsets(4)
    reports = []
    for subset in subsets:
        weights = analytic.ansatz_weights(
            subset, lam, 20, heads=5, eigenvectors=basis, task_eigenvalues=omega
        )
        reports.append(stability(system, model.pack(*weights), tolerance=1e-10))
    index = analytic.stability_index(subsets, lam, 20, task_eigenvalues=omega)
    rates = [_fastest(subset, lam, omega) for subset in subsets]
    v0 = [1e-1, 3e-2, 1e-2, 3e-3]
    times = [_escape(model, moments, basis, lam, omega, v) for v in v0]
    waiting = analytic.mode_growth(lam, task_eigenvalues=omega)
    plain = LinearTask.from_eigenvalues(lam, 20, task_eigenvalues=omega)
    merged = MergedAttention(dimension=4, heads=3)
    zero = stability(AttentionSystem(merged, population_moments(plain)), np.zeros(merged.size))
    checks = [
        same("negative Hessian eigenvalues at the 16 points", index, [r.index for r in reports]),
        agree("escape rate at the 16 points", rates, [r.escape_rate for r in reports], 1e-11,
              "rounding of the eigenvalue solver, 1e-14 of the largest eigenvalue"),
        same("ATTN_M, H = 3, at zero: negative eigenvalues", analytic.merged_zero_index(3),
             zero.index),
        agree("ATTN_M at zero: escape rate", analytic.escape_rate(lam, task_eigenvalues=omega),
              zero.escape_rate, 200 * EPS, "rounding of the eigenvalue solver"),
        shrinks("time to leave {1} by an idle head of size v0, against τ/(λ²ω v0)", v0,
                [analytic.learning_time(v, waiting[2]) for v in v0], times, 1.0,
                "the next term of t(v) is of relative order v0", slack=0.15),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        order = np.argsort([matrix_loss(moments, _point(s, lam, omega, basis)) for s in subsets])
        ax.bar(range(16), index[order], color=style.PREDICTED, alpha=0.35, label="predicted")
        ax.plot(range(16), [reports[i].index for i in order], "o", color=style.MEASURED,
                label="Hessian")  # fmt: skip
        names = ["".join(str(d + 1) for d in np.flatnonzero(subsets[i])) or "∅" for i in order]
        ax.set_xticks(range(16), names, rotation=60, fontsize=7)
        ax.set_xlabel("learned modes, by rising loss")
        ax.set_ylabel("unstable directions")
        ax.legend()

    return Evidence(checks, draw)


def _point(subset: np.ndarray, lam: list, omega: list, basis: np.ndarray) -> np.ndarray:
    m = analytic.fixed_point_coefficients(subset, lam, 20, task_eigenvalues=omega)
    return np.asarray((basis * m) @ basis.T)


def _fastest(subset: np.ndarray, lam: list, omega: list) -> float:
    """Largest predicted escape rate of a fixed point, 0 where none is predicted."""
    pairs = [
        analytic.rotation_eigenvalues(int(i), int(d), lam, 20, task_eigenvalues=omega)[0]
        for i in np.flatnonzero(subset)
        for d in np.flatnonzero(~subset)
    ]
    return max([0.0, *(-float(h) / 2 for h in pairs)])


def _escape(
    model: SeparateAttention, moments: Any, basis: np.ndarray, lam: list, omega: list, v0: float
) -> float:
    """Time at which mode 2 is half learned from the fixed point {1}, by one aligned small head."""
    eigen = population_moments(LinearTask.from_eigenvalues(lam, 20, task_eigenvalues=omega))
    subset = np.array([False, True, False, False])
    v, k, q = analytic.ansatz_weights(subset, lam, 20, heads=5, task_eigenvalues=omega)
    v[4], k[4, 2], q[4, 2] = v0, v0, v0
    growth = analytic.mode_growth(lam, task_eigenvalues=omega)[2]
    duration = 2.0 * float(analytic.learning_time(v0, growth))
    run = gradient_flow(model, eigen, model.pack(v, k, q), duration, rtol=1e-10, atol=1e-14)
    gain = analytic.mode_gains(lam, 20, task_eigenvalues=omega)[2]
    middle = run.loss[0] - gain / 2
    return float(crossing_times(run.t, run.loss, [middle], loss_rate=run.loss_rate)[0])


@claim(
    "B6",
    source="derived",
    kind="asymptotic",
    statement="for any tokens the plateaus follow from S = (1−1/N)ΛΩΛ + E[xxᵀΩxxᵀ]/N + σ²Λ/N",
    regime="independent tokens with a fourth moment; here patches of a photograph, N = 31",
)
def real_tokens(settings: Settings) -> Evidence:
    """Patches of a natural image: plateaus of the flow, and training on sampled sequences."""
    from photograph import photograph_patches

    tokens = photograph_patches()
    task = TokenTask(tokens, 31)
    fourth = tokens.T @ (tokens * np.sum(tokens**2, axis=1)[:, None]) / len(tokens)
    S = analytic.token_second_moment(task.covariance, fourth, 31)
    heights = analytic.general_plateau_losses(task.covariance, S)
    gaussian = analytic.general_plateau_losses(
        task.covariance, analytic.feature_second_moment(task.covariance, 31)
    )
    model = SeparateAttention(dimension=task.dimension, heads=task.dimension)
    smallest = float(np.linalg.eigvalsh(task.covariance)[0])
    duration = 10 / (smallest**2 * 1e-3)
    start = model.initial_weights(1e-3, rng=0)
    run = gradient_flow(model, population_moments(task), start, duration, rtol=1e-9)
    contexts = _loss_over_contexts(task, settings)
    batches = [sample_moments(task, settings.choose(40_000, 400_000), rng=settings.seed * 10 + i)
               for i in range(10)]  # fmt: skip
    trained = gradient_descent(
        AttentionSystem(model, _pooled(batches)), _one_head_per_mode(task, model),
        60_000, 0.2, every=20,
    )  # fmt: skip
    errors = _sampling_errors(task, S, batches)
    checks = [
        _plateaus("plateaus of the flow on the patches", heights, run),
        within_noise("loss of M* over sampled contexts", heights[-1], contexts.mean(),
                     contexts.std() / np.sqrt(len(contexts))),
        within_noise("plateaus of gradient descent on sampled sequences", heights[1:],
                     _found(trained, len(heights))[1:], errors[1:], wrong=gaussian[1:]),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        style.plateau_lines(ax, heights, "from the fourth moment")
        for i, height in enumerate(gaussian[1:]):
            ax.axhline(height, color=style.QUIET, lw=0.8, ls=":",
                       label="if tokens were Gaussian" if i == 0 else None)  # fmt: skip
        ax.plot(run.t, run.loss, color=style.MEASURED, label="gradient flow")
        ax.plot(0.4 * trained.t[1:], trained.loss[1:], color=style.OTHER, lw=1.0,
                label="gradient descent, sampled")  # fmt: skip
        style.loss_axes(ax, log_time=True)
        ax.set_xlim(left=10)
        ax.legend(loc="center left", bbox_to_anchor=(0.0, 0.3))

    off = float(np.max(np.abs(gaussian / heights - 1)))
    return Evidence(
        checks,
        draw,
        f"{len(tokens):,} patches; a Gaussian S would put the plateaus off by up to {off:.0%}",
    )


def _one_head_per_mode(task: TokenTask, model: SeparateAttention) -> np.ndarray:
    """Small weights, each head along one eigenvector, so that no two modes drop together."""
    size = np.array([0.03, 0.02, 0.02, 0.01])
    keys = size[:, None] * eigenbasis(task).T
    return model.pack(size, keys, keys)


def _found(run: Trajectory, count: int) -> np.ndarray:
    """Plateau heights, or NaN where their number is not the one expected."""
    heights = find_plateaus(run).heights
    return heights if len(heights) == count else np.full(count, np.nan)


def _pooled(batches: list[Any]) -> DenseMoments:
    """Moments of equally large samples together."""
    return DenseMoments(
        float(np.mean([b.energy for b in batches])),
        np.mean([b.correlation for b in batches], axis=0),
        np.mean([b.feature_moment for b in batches], axis=0),
    )


def _sampling_errors(task: TokenTask, S: np.ndarray, batches: list[Any]) -> np.ndarray:
    """Standard error of the sample's loss at each predicted plateau."""
    modes = analytic.general_modes(task.covariance, S)
    M = np.concatenate([[0 * S], np.cumsum(modes.matrices, axis=0)])
    losses = np.array([matrix_loss(batch, M) for batch in batches])
    return np.asarray(losses.std(axis=0, ddof=1) / np.sqrt(len(batches)))


def _loss_over_contexts(task: TokenTask, settings: Settings) -> np.ndarray:
    """Loss of M* given each of many sampled contexts, averaged exactly over w and the query.

    Without noise β = Λ̂w, so E[(ŷ − y_q)² | context] = tr (MᵀΛ̂ − I)ᵀ Λ (MᵀΛ̂ − I).
    """
    M = minimiser(population_moments(task))
    losses = []
    for s in sample_chunks(task, settings.choose(300_000, 3_000_000), chunk=20_000,
                           rng=settings.seed):  # fmt: skip
        empirical = s.x.swapaxes(1, 2) @ s.x / s.lengths[:, None, None]
        gap = M.T @ empirical - np.eye(task.dimension)
        losses.append(np.sum(gap * (task.covariance @ gap), axis=(1, 2)))
    return np.concatenate(losses)

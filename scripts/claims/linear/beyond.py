"""B1, B4: beyond [L], with the same closed forms: other tasks, and stability."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import analytic
import style
from claims.base import Check, Evidence, Settings, agree, claim, same, shrinks
from claims.cases import EPS, eigenbasis
from numerics import (
    AttentionSystem,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    Trajectory,
    crossing_times,
    find_plateaus,
    gradient_flow,
    matrix_loss,
    population_moments,
    random_rotation,
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
            plateau_check(f"plateaus, λ²ω and gains ordered alike, seed {seed}", heights, run)
        )
        run = anisotropic_run(*differing, 1e-4, seed)
        path = analytic.saddle_path(differing[0], 20, task_eigenvalues=differing[1], noise=0.5)
        heights = analytic.fixed_point_loss(
            path, differing[0], 20, task_eigenvalues=differing[1], noise=0.5
        )
        checks.append(plateau_check(f"saddle_path with its detour, seed {seed}", heights, run))
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


def plateau_check(name: str, heights: np.ndarray, run: Trajectory) -> Check:
    """Compare the plateaus found in a run from small weights with predicted heights."""
    found = found_heights(run, len(heights))
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
    return plateau_check(f"plateaus, Ω and Λ that do not commute, case {seed}", heights, run)


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


def found_heights(run: Trajectory, count: int) -> np.ndarray:
    """Plateau heights, or NaN where their number is not the one expected."""
    heights = find_plateaus(run).heights
    return heights if len(heights) == count else np.full(count, np.nan)

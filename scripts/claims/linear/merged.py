"""L4–L7: ATTN_M, the merged key and query."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import analytic
import style
from claims.base import Check, Evidence, Settings, agree, at_least, claim, same, shrinks
from claims.cases import CONTEXT, EPS, reference_task
from claims.linear.landscape import distinct, find_functions, mismatch
from numerics import (
    AttentionSystem,
    LinearTask,
    MergedAttention,
    Trajectory,
    crossing_times,
    gradient_flow,
    matrix_loss,
    minimiser,
    population_moments,
    sample_sequences,
    stability,
)


@claim(
    "L4",
    source="[L] Eq. 9",
    kind="identity",
    statement="ATTN_M has two fixed points in function space, M = 0 (unstable) and M* (stable)",
    regime="any H ≥ 1, Λ positive definite",
)
def two_fixed_points(settings: Settings) -> Evidence:
    """Zero gradient and Hessian index at both, and a search for others from random starts."""
    task = LinearTask.from_eigenvalues([0.5, 0.3, 0.2], 10, noise=0.3, rng=settings.seed)
    moments, model = population_moments(task), MergedAttention(dimension=3, heads=2)
    system = AttentionSystem(model, moments)
    S = analytic.feature_second_moment(task.covariance, 10, noise=0.3)
    best = analytic.optimal_weights(task.covariance, S)

    def at(M: np.ndarray) -> np.ndarray:
        size = np.sqrt(np.linalg.norm(M) / 2) or 0.0
        U = np.stack([M / (2 * size)] * 2) if size else np.zeros((2, 3, 3))
        return model.pack([size, size], U)

    zero, star = stability(system, at(0 * best)), stability(system, at(best))
    found = find_functions(
        model, moments, settings.choose(60, 400), settings.seed, sizes=(0.5, 1.0, 2.0),
        gradient=1e-12,
    )  # fmt: skip

    def points(factor: float) -> np.ndarray:
        return np.stack([0 * best, factor * best])

    gradient_scale = 2 * float(np.linalg.norm(moments.correlation))
    checks = [
        agree("|∂L/∂θ| at M*", 0.0, star.gradient_norm, 200 * EPS, "rounding of the gradient",
              scale=gradient_scale,
              control=lambda: stability(system, at(1.01 * best)).gradient_norm),
        agree("|∂L/∂θ| at 0", 0.0, zero.gradient_norm, 200 * EPS, "rounding of the gradient",
              scale=gradient_scale,
              control=lambda: stability(system, at(0.01 * best)).gradient_norm),
        same("negative Hessian eigenvalues at 0", analytic.merged_zero_index(2), zero.index),
        same("negative Hessian eigenvalues at M*", 0, star.index),
        agree("escape rate at 0", analytic.escape_rate(np.linalg.eigvalsh(task.covariance)),
              zero.escape_rate, 200 * EPS, "rounding of the eigenvalue solver"),
        same("roots of the gradient that are neither 0 nor M*", 0, mismatch(found, points(1.0)),
             control=lambda: mismatch(found, points(1.01))),
        at_least("of 0 and M*, seen among the roots", 2, distinct(found, points(1.0)),
                 control=lambda: distinct(found, points(1.01))),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        ax.plot(zero.eigenvalues, "o", ms=4, color=style.MEASURED, label="at M = 0")
        ax.plot(star.eigenvalues, "s", ms=4, color=style.OTHER, label="at M*")
        ax.axhline(0, color=style.QUIET, lw=0.8)
        ax.set_xlabel("index")
        ax.set_ylabel("Hessian eigenvalue of L")
        ax.legend()

    return Evidence(checks, draw, f"{len(found)} roots from random starts")


@lru_cache
def white_run(scale: float, seed: int) -> tuple[Trajectory, float]:
    """Flow of ATTN_M on white tokens, D=4, N=31, H=8, and the norm that Eq. 10 starts from.

    Only the part of (v, U) that grows matters: its coefficient in head h is half of
    v_h + ⟨U_h, I/√D⟩, and w_init is the norm of these coefficients.
    """
    task = LinearTask(np.eye(4), CONTEXT)
    model = MergedAttention(dimension=4, heads=8)
    start = model.initial_weights(scale, rng=seed)
    v, U = model.unpack(start)
    growing = (v + np.trace(U, axis1=1, axis2=2) / 2.0) / 2.0
    run = gradient_flow(model, population_moments(task), start, 12.0, rtol=1e-11, atol=1e-15)
    return run, float(np.linalg.norm(growing))


@claim(
    "L5",
    source="[L] Eq. 10",
    kind="asymptotic",
    statement="on white tokens ŷ = σ(t) βᵀx_q with the logistic σ(t) of Eq. 10",
    regime="Λ = I; exact from aligned weights, O(w_init) from random ones",
)
def white_time_course(settings: Settings) -> Evidence:
    """The aligned solution to solver tolerance, then random weights of falling size."""
    model, task = MergedAttention(dimension=4, heads=2), LinearTask(np.eye(4), CONTEXT)
    w = 1e-3
    share = np.array([0.6, 0.8]) * w
    aligned = model.pack(share, share[:, None, None] * np.eye(4) / 2.0)
    run = gradient_flow(model, population_moments(task), aligned, 8.0, rtol=1e-11, atol=1e-15)
    sigma = analytic.white_time_course(run.t, w, 4, CONTEXT)
    scales = [3e-2, 1e-2, 3e-3, 1e-3]
    random = [white_run(scale, settings.seed) for scale in scales]
    levels = np.linspace(0.1, 0.9, 9)
    end = float(analytic.white_loss_curve(12.0, 1e-2, 4, CONTEXT))
    predicted, measured = [], []
    for flow, norm in random:
        predicted.append(4.0 + levels * (end - 4.0))
        times = crossing_times(flow.t, flow.loss, predicted[-1], loss_rate=flow.loss_rate)
        measured.append(analytic.white_loss_curve(times, norm, 4, CONTEXT))
    checks = [
        agree("σ(t) from aligned weights", sigma, np.trace(run.matrices, axis1=1, axis2=2) / 4,
              1e-8, "rtol 1e-11, amplified by the growth 1/w² of σ's error before the drop"),
        agree("loss from aligned weights", analytic.white_loss_curve(run.t, w, 4, CONTEXT),
              run.loss, 1e-8, "as above"),
        shrinks("loss from random weights", scales, predicted, measured, 1.0,
                "the part of the weights that does not grow stays of order w_init"),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        for flow, norm in random:
            t = np.linspace(0, 7, 300)
            ax.plot(flow.t, flow.loss, color=style.MEASURED, lw=2.2, alpha=0.5)
            ax.plot(t, analytic.white_loss_curve(t, norm, 4, CONTEXT), color=style.PREDICTED,
                    lw=0.9, ls="--")  # fmt: skip
        ax.set_xlim(0, 7)
        ax.set_title("flow (solid), Eq. 10 (dashed), four initial scales", loc="left")
        style.loss_axes(ax)

    return Evidence(checks, draw)


@claim(
    "L6",
    source="[L] §3.2",
    kind="asymptotic",
    statement="ATTN_M leaves zero after (τ/‖Λ²‖_F) ln(1/w_init) and drops once",
    regime="w_init → 0, any Λ",
)
def escape(settings: Settings) -> Evidence:
    """Time to half of the drop over a ladder of scales of one random direction."""
    task = reference_task()
    model, moments = MergedAttention(dimension=4, heads=8), population_moments(task)
    direction = model.initial_weights(1.0, rng=settings.seed)
    scales = np.geomspace(1e-2, 1e-7, settings.choose(6, 11))
    eigenvalues = np.linalg.eigvalsh(task.covariance)
    final = matrix_loss(moments, minimiser(moments))
    times, drops = [], []
    for scale in scales:
        duration = 1.5 * float(analytic.escape_time(scale, eigenvalues)) + 200
        run = gradient_flow(model, moments, scale * direction, duration, rtol=1e-10, atol=1e-16)
        middle = (run.loss[0] + final) / 2
        times.append(crossing_times(run.t, run.loss, [middle], loss_rate=run.loss_rate)[0])
        drops.append(_drops(run))
    slopes = np.diff(times) / np.diff(np.log(1 / scales))
    rate = 1 / analytic.escape_rate(eigenvalues)
    formula = analytic.escape_time(scales, eigenvalues)
    checks = [
        agree("dt/d ln(1/w_init) of the escape time", np.full(len(slopes), rate), slopes,
              1e-2 / np.log(10), "O(w_init), 1e-2 at the first rung, over its ln 10"),
        same("number of drops", np.ones(len(drops)), drops),
        shrinks("escape time against (τ/‖Λ²‖) ln(1/w_init)", np.log(1 / scales), formula, times,
                -1.0, "the leading formula leaves out a constant", slack=0.15,
                wrong=np.log(1 / scales) / np.linalg.norm(eigenvalues)),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        ax.semilogx(scales, times, "o", color=style.MEASURED, label="half of the drop")
        ax.semilogx(scales, formula, color=style.PREDICTED, label="(τ/‖Λ²‖) ln(1/w)")
        ax.set_xlabel("initial scale w")
        ax.set_ylabel("time  [τ]")
        ax.legend()

    return Evidence(checks, draw)


def _drops(run: Trajectory) -> int:
    from numerics import find_plateaus

    return len(find_plateaus(run).drops)


@claim(
    "L7",
    source="[L] Eq. 11",
    kind="identity",
    statement="ATTN_M converges to βᵀ[Λ + (Λ + tr(Λ) I)/N]⁻¹ x_q, which tends to βᵀΛ⁻¹x_q",
    regime="Ω = I, σ = 0 (and in general S⁻¹ΛΩ); limit N → ∞ at rate 1/N",
)
def converged(settings: Settings) -> Evidence:
    """The end of the flow, its predictions on fresh sequences, and the limit of long contexts."""
    task = reference_task()
    model = MergedAttention(dimension=4, heads=2)
    lengths = [31, 310, 3100, 31000]
    ends, targets = [], []
    for N in lengths:
        other = LinearTask(task.covariance, N)
        run = gradient_flow(
            model, population_moments(other), model.initial_weights(0.1, rng=settings.seed),
            3000.0, rtol=1e-10,
        )  # fmt: skip
        ends.append(model.matrix(run.states[-1]))
        S = analytic.feature_second_moment(task.covariance, N)
        targets.append(analytic.optimal_weights(task.covariance, S))
    s = sample_sequences(task, 200, rng=settings.seed)
    predicted = analytic.converged_prediction(s.beta, s.query, task.covariance, CONTEXT)
    measured = np.sum((s.beta @ ends[0]) * s.query, axis=1)
    limit = np.linalg.inv(task.covariance)
    because = "exponential convergence has ended; what is left is the solver's tolerance"
    checks: list[Check] = [
        agree("M at the end of the flow, four N", targets, ends, 1e-7, because),
        agree("predictions on 200 fresh sequences", predicted, measured, 1e-6, because),
        shrinks("M against Λ⁻¹ as N grows", lengths, [limit] * 4, ends, -1.0,
                "the first correction is (I + tr(Λ)Λ⁻¹)/N"),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        ax.plot(predicted, measured, "o", ms=3, color=style.MEASURED)
        ends_at = [float(predicted.min()), float(predicted.max())]
        ax.plot(ends_at, ends_at, color=style.PREDICTED, lw=0.9)
        ax.set_xlabel("ŷ, Eq. 11")
        ax.set_ylabel("ŷ of the trained model")

    return Evidence(checks, draw)

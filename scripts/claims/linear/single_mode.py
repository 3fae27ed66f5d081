"""L13–L15: one head on one mode, what is computed in context, and what is conserved."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import analytic
import style
from claims.base import Check, Evidence, Settings, agree, claim, shrinks
from claims.cases import CONTEXT, EIGENVALUES, cascade_run, eigenbasis, reference_task
from numerics import (
    AttentionSystem,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    Trajectory,
    drop_times,
    find_plateaus,
    gradient_descent,
    gradient_flow,
    population_moments,
    sample_sequences,
    task_cascade,
)
from numerics.systems import Attention


def aligned_run(mode: int, v0: float) -> Trajectory:
    """Flow of one head that starts at k = q = v e_mode, v = v0, until its mode is learned.

    Λ is diagonal here: a head on mode i turns towards larger modes from a rounding error in
    another basis, amplified by (v/v0)^(λ_1²/λ_i²), before it has learned its own.
    """
    task = LinearTask.from_eigenvalues(EIGENVALUES, CONTEXT)
    model = SeparateAttention(dimension=4, heads=1)
    e = v0 * np.eye(4)[mode]
    start = model.pack([v0], e[None], e[None])
    duration = 1.2 / (EIGENVALUES[mode] ** 2 * v0) + 40 / EIGENVALUES[mode] ** 2
    return gradient_flow(model, population_moments(task), start, duration, rtol=1e-11, atol=1e-15)


@claim(
    "L13",
    source="[L] Eq. 21, Fig. 3b",
    kind="asymptotic",
    statement="an aligned head follows τ v̇ = λ²v² − λ³c v⁵; its mode takes τ/(λ²v0) to learn",
    regime="aligned head: exact; duration as v0 → 0; random small weights: as they shrink",
)
def scalar_flow(settings: Settings) -> Evidence:
    """Closed-form t(v) on aligned flows, the duration's leading term, and heads of random runs."""
    growth = analytic.mode_growth(EIGENVALUES)
    curvature = analytic.mode_curvature(EIGENVALUES, CONTEXT)
    limit = analytic.mode_coefficients(EIGENVALUES, CONTEXT) ** (1 / 3)
    runs = [aligned_run(mode, 0.02) for mode in range(4)]
    predicted, measured = [], []
    for mode, run in enumerate(runs):
        v = run.states[:, 0]
        rising = (v > 0.021) & (v < 0.99 * limit[mode])
        predicted.append(analytic.time_to_reach(v[rising], 0.02, growth[mode], curvature[mode]))
        measured.append(run.t[rising])
    scales = [1e-1, 3e-2, 1e-2, 3e-3]
    halves = [
        [_half_time(aligned_run(mode, v0), limit[mode]) for mode in range(4)] for v0 in scales
    ]
    leading = [analytic.learning_time(v0, growth) for v0 in scales]
    random_scales = [1e-2, 1e-3, 1e-4]
    slopes = [_velocities_of_heads(cascade_run(s, 0), growth, curvature) for s in random_scales]
    drops = [_drop_times(s, (0, 1, 2, 5)) for s in random_scales]
    checks = [
        agree("t(v) of four aligned heads", np.concatenate(predicted), np.concatenate(measured),
              1e-6, "rtol 1e-11 in v, amplified by dt/dv ≤ 1/(λ²v0²)",
              scale=np.concatenate(predicted)),
        shrinks("time to half of the value against τ/(λ²v0)", scales, leading, halves, 1.0,
                "the next term of t(v) is of relative order v0"),
        shrinks("dv/dt of heads in a random run against Eq. 21", random_scales,
                [p for p, _ in slopes], [m for _, m in slopes], 0.5,
                "misalignment at the drop is w^(1−(λ₂/λ₁)²) = w^0.44 and enters squared",
                slack=0.1),
        shrinks("drop times of random runs, by the reduced scalars", random_scales,
                [c for c, _ in drops], [d for _, d in drops], 1.0,
                "off-diagonal entries of M kick idle heads at order w^(2−(λ₂/λ₁)²) = w^1.44"),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        for mode, run in enumerate(runs):
            v = np.linspace(0.02, 0.999 * limit[mode], 200)
            t = analytic.time_to_reach(v, 0.02, growth[mode], curvature[mode])
            ax.plot(run.t, run.states[:, 0], color=style.SHADES[mode], lw=2.6, alpha=0.6,
                    label=f"λ = {EIGENVALUES[mode]:g}")  # fmt: skip
            ax.plot(t, v, color=style.PREDICTED, lw=0.9, ls="--")
        ax.set_xscale("log")
        ax.set_xlim(left=100)
        ax.set_xlabel("time  [τ]  (dashed: Eq. 21 in closed form)")
        ax.set_ylabel("value weight v")
        ax.legend()

    return Evidence(checks, draw)


def _half_time(run: Trajectory, limit: float) -> float:
    """Time at which v reaches half of its limit, by cubic interpolation of t over v."""
    from scipy.interpolate import PchipInterpolator

    v = run.states[:, 0]
    rising = np.concatenate([[True], np.diff(np.maximum.accumulate(v)) > 1e-9])
    return float(PchipInterpolator(v[rising], run.t[rising])(limit / 2))


def _velocities_of_heads(
    run: Trajectory, growth: np.ndarray, curvature: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """dv/dt by Eq. 21 and as measured, where each head passes half of its final value."""
    model, basis = run.model, eigenbasis(reference_task())
    system = AttentionSystem(model, population_moments(reference_task()))
    _, keys, _ = model.unpack(run.states[-1])
    modes = np.abs(keys[:, 0] @ basis).argmax(axis=1)
    predicted, measured = [], []
    for head, mode in enumerate(modes):
        v = run.states[:, head]
        i = int((np.abs(v) > 0.5 * abs(v[-1])).argmax())
        sign = np.sign(v[-1])
        predicted.append(float(analytic.value_velocity(sign * v[i], growth[mode], curvature[mode])))
        measured.append(sign * float(system.velocity(run.states[i])[head]))
    return np.array(predicted), np.array(measured)


def _drop_times(scale: float, seeds: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Drop times of several runs, by the reduced scalars and as measured."""
    heights = analytic.plateau_losses(EIGENVALUES, CONTEXT)
    predicted, measured = [], []
    for seed in seeds:
        run = cascade_run(scale, seed)
        reduced = task_cascade(run.model, reference_task(), run.states[0])
        predicted.append(reduced.drop_times)
        measured.append(drop_times(run.t, run.loss, heights, loss_rate=run.loss_rate))
    return np.array(predicted), np.array(measured)


@claim(
    "L14",
    source="[L] Eq. 22",
    kind="asymptotic",
    statement="on plateau m the model computes principal component regression with m components",
    regime="small initial weights; N → ∞: ŷ = wᵀ Σ_{d≤m} e_d e_dᵀ x_q, at rate N^{-1/2}",
)
def components_in_context(settings: Settings) -> Evidence:
    """M on each plateau, its predictions on fresh sequences, and the limit of long contexts."""
    task, basis = reference_task(), eigenbasis(reference_task())
    targets = np.array(
        [analytic.in_context_weights(m, EIGENVALUES, basis, CONTEXT) for m in range(1, 5)]
    )
    scales = [1e-2, 1e-3, 1e-4]
    found = []
    for scale in scales:
        run = cascade_run(scale, 2)
        found.append(run.matrices[find_plateaus(run).indices[1:]])
    s = sample_sequences(task, 500, rng=settings.seed)
    predicted = np.array(
        [
            analytic.principal_component_prediction(m, s.beta, s.query, task.covariance, CONTEXT)
            for m in range(1, 5)
        ]
    )
    measured = np.array([np.sum((s.beta @ M) * s.query, axis=1) for M in found[-1]])
    lengths = settings.choose([30, 120, 480, 1920], [30, 120, 480, 1920, 7680])
    limits = [_long_context(task, basis, N, settings.seed) for N in lengths]
    checks: list[Check] = [
        agree("M on the four plateaus, weights of 1e-4", targets, found[-1], 1e-3,
              "linear in the initial weights, with room for a factor of 10"),
        agree("predictions on 500 fresh sequences", predicted, measured, 1e-3, "as above"),
        shrinks("M on the plateaus", scales, [targets[:3]] * 3, [f[:3] for f in found], 0.5,
                "at least like the root of the plateau's error in the loss"),
        shrinks("prediction with 2 components against wᵀ Σ e_d e_dᵀ x_q", lengths,
                [p for p, _, _ in limits], [m for _, _, m in limits], -0.5,
                "sampling error of β over N tokens", slack=0.1,
                wrong=[w for _, w, _ in limits]),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        for m in range(4):
            ax.plot(predicted[m], measured[m], "o", ms=2.5, color=style.SHADES[m],
                    label=f"m = {m + 1}")  # fmt: skip
        span = [float(predicted.min()), float(predicted.max())]
        ax.plot(span, span, color=style.PREDICTED, lw=0.9)
        ax.set_xlabel("ŷ of principal component regression")
        ax.set_ylabel("ŷ of the model on plateau m")
        ax.legend()

    return Evidence(checks, draw)


def _long_context(
    task: LinearTask, basis: np.ndarray, N: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Limits with two and with one component, and the two-component predictor at length N."""
    s = sample_sequences(LinearTask(task.covariance, N), 2000, rng=seed)
    limit = np.sum((s.w @ basis[:, :2]) * (s.query @ basis[:, :2]), axis=1)
    wrong = np.sum((s.w @ basis[:, :1]) * (s.query @ basis[:, :1]), axis=1)
    M = analytic.in_context_weights(2, EIGENVALUES, basis, N)
    return limit, wrong, np.asarray(analytic.predict(M, s.beta, s.query))


@claim(
    "L15",
    source="[L] App.; derived",
    kind="identity",
    statement="v_h² − ‖U_h‖²; ‖k_hr‖² − ‖q_hr‖² and v_h² − Σ_r ‖k_hr‖² are conserved",
    regime="gradient flow; under gradient descent they drift at first order in the rate",
)
def conservation(settings: Settings) -> Evidence:
    """Drift along tightly integrated flows, and its order in the learning rate."""
    task = reference_task()
    moments = population_moments(task)
    models: dict[str, Attention] = {
        "ATTN_M, H=3": MergedAttention(dimension=4, heads=3),
        "ATTN_S, H=4, R=1": SeparateAttention(dimension=4, heads=4),
        "ATTN_S, H=2, R=3": SeparateAttention(dimension=4, heads=2, rank=3),
    }
    checks, runs = [], {}
    for name, model in models.items():
        start = model.initial_weights(0.3, rng=settings.seed)
        run = gradient_flow(model, moments, start, 400.0, rtol=1e-11, atol=1e-13, method="DOP853")
        runs[name] = run
        because = "1e3 steps of rtol 1e-11"
        checks.append(
            agree(f"drift, {name}", 0.0, run.invariant_drift.max(), 1e-8, because, scale=1.0,
                  control=partial(_drift_of_perturbed_law, run))
        )  # fmt: skip
        checks.append(
            agree(f"energy identity, {name}", run.loss[0] - run.loss,
                  run.loss[0] - run.loss - run.energy_gap, 1e-8, because)
        )  # fmt: skip
    model = models["ATTN_S, H=4, R=1"]
    system = AttentionSystem(model, moments)
    start = model.initial_weights(0.3, rng=settings.seed)
    rates = [0.2, 0.1, 0.05, 0.025]
    drifts = [gradient_descent(system, start, round(100 / r), r).invariant_drift[-1] for r in rates]
    checks.append(
        shrinks("drift under gradient descent at equal flow time", rates, np.ones(4),
                1 + np.array(drifts), 1.0, "one step changes a conserved quantity by O(η²)")
    )  # fmt: skip

    def draw(ax: Any) -> None:
        for name, run in runs.items():
            ax.semilogy(run.t[1:], np.maximum(run.invariant_drift[1:], 1e-17), label=name)
        ax.set_xlabel("time  [τ]")
        ax.set_ylabel("drift of the conserved quantities")
        ax.legend()

    return Evidence(checks, draw)


def _drift_of_perturbed_law(run: Trajectory) -> float:
    """Drift of the quantities with every value weight counted 1 % too large."""
    states = run.states.copy()
    states[:, : run.model.heads] *= 1.01
    law = run.model.invariants(states)
    return float(np.abs(law - law[:1]).max())

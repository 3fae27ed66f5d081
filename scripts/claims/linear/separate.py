"""L9–L12: ATTN_S, separate key and query of rank 1: fixed points and plateaus."""

from __future__ import annotations

from typing import Any

import numpy as np

import analytic
import style
from claims.base import Evidence, Settings, agree, at_least, claim, same, shrinks
from claims.cases import CONTEXT, EIGENVALUES, EPS, SEEDS, cascade_run, eigenbasis, reference_task
from claims.linear.landscape import distinct, find_functions, mismatch, set_of_functions
from numerics import (
    AttentionSystem,
    LinearTask,
    SeparateAttention,
    find_plateaus,
    population_moments,
)


@claim(
    "L9",
    source="[L] Eq. 16–18",
    kind="identity",
    statement="ATTN_S has exactly 2^D fixed points in function space, one per set of eigenvectors",
    regime="R = 1, H ≥ D, distinct eigenvalues; C3 as derived: k_hᵀ G q_h = 0 where v_h = 0",
)
def fixed_points(settings: Settings) -> Evidence:
    """Zero gradient on all of them, C1–C3 broken one by one, and a search for others."""
    task, model = reference_task(), SeparateAttention(dimension=4, heads=6)
    system = AttentionSystem(model, population_moments(task))
    basis, rng = eigenbasis(task), np.random.default_rng(settings.seed)
    subsets = analytic.fixed_point_subsets(4)
    points = [_spread_over_heads(subset, basis, rng) for subset in subsets]

    def gradients(factor: float) -> np.ndarray:
        return np.array([_gradient(system, model.pack(factor * v, k, q)) for v, k, q in points])

    broken = {name: _broken(system, model, points, basis, name) for name in ("C1", "C2", "C3")}
    small = LinearTask.from_eigenvalues([0.5, 0.3, 0.2], 10, rng=settings.seed)
    three = SeparateAttention(dimension=3, heads=3)
    found = find_functions(
        three, population_moments(small), settings.choose(120, 1000), settings.seed
    )
    predicted = set_of_functions(small)
    checks = [
        agree("|∂L/∂θ| at the 16 fixed points, shared and idle heads", np.zeros(16),
              gradients(1.0), 1000 * EPS, "rounding of the gradient", scale=1.0,
              control=lambda: gradients(1.01)),
        same("fixed points at which breaking C1, C2, C3 leaves a gradient", [15, 15, 15],
             [int((broken[c] > 1e-6).sum()) for c in broken],
             control=lambda: [int((gradients(1.0) > 1e-6).sum())] * 3),
        same("roots of the gradient that are none of the 8 (D = 3)", 0,
             mismatch(found, predicted), control=lambda: mismatch(found, 1.01 * predicted)),
        at_least("distinct points among the roots", 6, distinct(found, predicted),
                 control=lambda: distinct(found, 1.01 * predicted)),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        rows = [gradients(1.0), *broken.values()]
        for values, name in zip(rows, ["on the point", "C1 broken", "C2 broken", "C3 broken"],
                                strict=True):  # fmt: skip
            ax.semilogy(np.maximum(values, 1e-18), "o", ms=4, label=name)
        ax.set_xlabel("fixed point (subset of eigenvectors)")
        ax.set_ylabel("|∂L/∂θ|")
        ax.legend(ncols=2)

    seen = distinct(found, predicted)
    return Evidence(
        checks, draw, f"{len(found)} roots from random starts, {seen} of the 8 among them"
    )


def _gradient(system: AttentionSystem, theta: np.ndarray) -> float:
    return 2.0 * float(np.linalg.norm(system.velocity(theta)))


def _spread_over_heads(
    subset: np.ndarray, basis: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of six heads at a fixed point that is not the ansatz.

    Five heads carry random combinations of the learned eigenvectors whose sum is M_S; the last
    is idle: v = 0 and k in their span, q anything (C3).
    """
    m = analytic.fixed_point_coefficients(subset, EIGENVALUES, CONTEXT)
    inside = basis[:, subset]
    r = inside.shape[1]
    if r == 0:
        q = rng.standard_normal((6, 4))
        return np.zeros(6), np.zeros((6, 4)), q
    mixing = rng.standard_normal((5, r))
    other = np.linalg.pinv(mixing).T
    v = rng.uniform(0.5, 1.5, 5)
    k = (mixing * m[subset]) @ inside.T / v[:, None]
    q = other @ inside.T
    idle = inside @ rng.standard_normal(r)
    return np.append(v, 0.0), np.vstack([k, idle]), np.vstack([q, rng.standard_normal(4)])


def _broken(
    system: AttentionSystem,
    model: SeparateAttention,
    points: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    basis: np.ndarray,
    condition: str,
) -> np.ndarray:
    """|∂L/∂θ| at every fixed point after one condition is broken and the others kept.

    C1 cannot be broken where nothing is learned; C2 and C3 not where everything is.
    """
    out = []
    for subset, (v0, k0, q0) in zip(analytic.fixed_point_subsets(4), points, strict=True):
        v, k, q = v0.copy(), k0.copy(), q0.copy()
        outside = basis[:, ~subset]
        if condition == "C1":
            v = 1.05 * v
        elif outside.shape[1] and condition == "C2":
            # Two heads of opposite sign: the sum C1 stays, but k and q leave the span.
            v[4:], k[4:], q[4:] = [1.0, -1.0], outside[:, 0], outside[:, 0]
            theta = _restore_sum(model, v, k, q, model.matrix(model.pack(v0, k0, q0)))
            out.append(_gradient(system, theta))
            continue
        elif outside.shape[1] and condition == "C3":
            v[5], k[5], q[5] = 0.0, outside[:, 0], outside[:, 0]
        out.append(_gradient(system, model.pack(v, k, q)))
    return np.array(out)


def _restore_sum(
    model: SeparateAttention, v: np.ndarray, k: np.ndarray, q: np.ndarray, M: np.ndarray
) -> np.ndarray:
    """Spread M over the first four heads, whose values and keys are rebuilt from its SVD."""
    left, s, right = np.linalg.svd(M)
    v[:4], k[:4], q[:4] = 1.0, (left * s).T, right
    return model.pack(v, k, q)


@claim(
    "L10",
    source="[L] §4.3, Fig. 3",
    kind="qualitative",
    statement="from small weights ATTN_S drops D times, learning eigenvectors by falling λ_d",
    regime="H ≥ D, R = 1, initial weights of 1e-3, six seeds",
)
def visit_order(settings: Settings) -> Evidence:
    """Drops counted on the loss curve alone; the order read from the diagonal of M."""
    runs = [cascade_run(1e-3, seed) for seed in SEEDS]
    basis = eigenbasis(reference_task())
    counts = [len(find_plateaus(run).drops) for run in runs]
    targets = analytic.mode_coefficients(EIGENVALUES, CONTEXT)
    orders, curves = [], []
    for run in runs:
        diagonal = np.einsum("di,tde,ei->ti", basis, run.matrices, basis) / targets
        curves.append(diagonal)
        orders.append(np.argsort((diagonal > 0.5).argmax(axis=0)))
    expected = analytic.visit_order(EIGENVALUES)
    checks = [same("number of drops, six seeds", [4] * 6, counts)]
    checks += [same(f"order, seed {s}", expected, o) for s, o in zip(SEEDS, orders, strict=True)]

    def draw(ax: Any) -> None:
        for d in range(4):
            ax.plot(runs[0].t, curves[0][:, d], color=style.SHADES[d],
                    label=f"λ = {EIGENVALUES[d]:g}")  # fmt: skip
        ax.set_xscale("log")
        ax.set_xlim(left=1e3)
        ax.set_xlabel("time  [τ]")
        ax.set_ylabel("e_dᵀ M e_d / predicted")
        ax.legend()

    return Evidence(checks, draw)


@claim(
    "L11",
    source="[L] Eq. 19, Fig. 3a",
    kind="asymptotic",
    statement="the plateaus lie at L(M_m) = T − Σ_{d≤m} λ_d/(1 + (1+T/λ_d)/N)",
    regime="small initial weights; six seeds",
)
def plateaus(settings: Settings) -> Evidence:
    """Loss where each run is flattest between its drops, over a ladder of initial scales."""
    scales = [1e-2, 1e-3, 1e-4]
    predicted = analytic.plateau_losses(EIGENVALUES, CONTEXT)
    runs = {scale: [cascade_run(scale, seed) for seed in SEEDS] for scale in scales}
    heights = {
        scale: np.array([_heights(find_plateaus(run).heights) for run in group])
        for scale, group in runs.items()
    }
    middle = {scale: np.median(rows, axis=0) for scale, rows in heights.items()}
    checks = [
        agree("the five plateaus of six runs, weights of 1e-3", np.tile(predicted, (6, 1)),
              heights[1e-3], 1e-3, "the correction is at most linear in the initial weights",
              scale=predicted),
        agree("the same, weights of 1e-4", np.tile(predicted, (6, 1)), heights[1e-4], 1e-4,
              "as above", scale=predicted),
        shrinks("median over seeds", scales, [predicted[1:4]] * 3,
                [middle[s][1:4] for s in scales], 1.0, "as above"),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        style.loss_curves(ax, runs[1e-2], plateaus=predicted)
        ax.set_xscale("log")
        ax.set_xlim(200, 30_000)
        ax.legend(loc="lower left")

    return Evidence(checks, draw)


def _heights(found: np.ndarray) -> np.ndarray:
    """Five heights, or NaN in each where a run did not drop four times."""
    return found if len(found) == 5 else np.full(5, np.nan)


@claim(
    "L12",
    source="[L] Eq. 20",
    kind="identity",
    statement="k = q = v e_i, v³ = 1/(λ_i(1+(1+T/λ_i)/N)), is the fixed point of least norm",
    regime="R = 1, H ≥ number of learned modes; least Σ v²+‖k‖²+‖q‖² is 3 Σ m_d^{2/3}",
)
def ansatz(settings: Settings) -> Evidence:
    """Zero gradient, and the least norm found by constrained optimisation from random starts."""
    task = LinearTask.from_eigenvalues([0.5, 0.3, 0.2], 10, rng=settings.seed)
    spectrum, basis = [0.5, 0.3, 0.2], eigenbasis(task)
    model = SeparateAttention(dimension=3, heads=4)
    system = AttentionSystem(model, population_moments(task))
    subsets = analytic.fixed_point_subsets(3)
    weights = [
        model.pack(*analytic.ansatz_weights(s, spectrum, 10, heads=4, eigenvectors=basis))
        for s in subsets
    ]
    norms = np.array([float(theta @ theta) for theta in weights])
    least = np.array([float(analytic.least_norm(s, spectrum, 10)) for s in subsets])
    chosen = [6, 7] if not settings.full else range(1, 8)
    targets = [model.matrix(weights[i]) for i in chosen]
    minima = np.array([_least_norm_by_search(model, M, settings) for M in targets])
    checks = [
        agree("|∂L/∂θ| at the ansatz, 8 subsets", np.zeros(8),
              [_gradient(system, t) for t in weights], 200 * EPS, "rounding of the gradient",
              scale=1.0, control=lambda: [_gradient(system, 1.01 * t) for t in weights]),
        agree("its squared norm", least[1:], norms[1:], 100 * EPS, "rounding of powers of 1/3"),
        agree("least squared norm at that function, by search", least[list(chosen)],
              minima, 1e-5, "penalty 1e7 for leaving the constraint, multipliers of order 10"),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        ax.plot(least[list(chosen)], minima, "o", color=style.MEASURED, label="by search")
        ax.plot(least, norms, "x", color=style.PREDICTED, label="ansatz, 8 subsets")
        ax.set_xlabel("3 Σ m_d^{2/3}")
        ax.set_ylabel("Σ v² + ‖k‖² + ‖q‖²")
        ax.legend()

    return Evidence(checks, draw)


def _least_norm_by_search(model: SeparateAttention, M: np.ndarray, settings: Settings) -> float:
    """Smallest |θ|² subject to matrix(θ) = M, over random starts.

    Least squares on (θ, √ρ (matrix(θ) − M)) for growing ρ; its value lies below the constrained
    minimum by |multiplier|²/(4ρ).
    """
    from scipy.optimize import least_squares

    rng, best = np.random.default_rng(settings.seed), np.inf
    identity = np.eye(model.size)
    for _ in range(settings.choose(8, 40)):
        theta = rng.standard_normal(model.size)
        for root in (1e1, 1e2, 1e3, 3e3):
            solution = least_squares(
                lambda t, r=root: np.concatenate([t, r * (model.matrix(t) - M).ravel()]),
                theta,
                jac=lambda t, r=root: np.concatenate([identity, r * model.tangent(t)]),
                xtol=1e-12,
                ftol=1e-14,
                gtol=1e-12,
            )
            theta = solution.x
        best = min(best, 2 * float(solution.cost))
    return best

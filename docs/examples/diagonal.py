"""A small model of your own: one head of linear attention with a diagonal key-query matrix.

Prediction ŷ = βᵀ M x_q with M = v diag(u), v a number and u ∈ R^D: D + 1 weights. Tokens N(0, Λ),
any Λ; tasks of second moment Ω; S = E[ββᵀ]. Loss E(ŷ − y_q)² without ½, flow τ dθ/dt = −½ ∂L/∂θ,
N counts context pairs. This is the example that docs/add-your-own-model.md works out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from claims.base import Check, Evidence, Settings, agree, claim, shrinks
from numerics import FactoredMoments, LinearTask, population_moments, system_flow

Array = np.ndarray
EPS = float(np.finfo(float).eps)


# Closed forms. In the library: analytic/diagonal.py


def diagonal_optimum(covariance: Array, task_covariance: Array, second_moment: Array) -> Array:
    """Return m*, the diagonal of the only nonzero M at which the flow can rest.

    m* = (S∘Λ)⁻¹ b with b = diag(ΛΩΛ) and ∘ the product of entries. S∘Λ is positive definite where
    S and Λ are (Schur).

    Examples
    --------
    >>> import analytic
    >>> cov = np.diag([2.0, 1.0])
    >>> S = analytic.feature_second_moment(cov, 10)
    >>> diagonal_optimum(cov, np.eye(2), S).round(4).tolist()  # λω/s, as in ATTN_S
    [0.4, 0.7143]
    """
    target = np.diag(covariance @ task_covariance @ covariance)
    return np.asarray(np.linalg.solve(second_moment * covariance, target))


def diagonal_minimum(covariance: Array, task_covariance: Array, second_moment: Array) -> float:
    """Return the loss there, tr ΩΛ − bᵀ (S∘Λ)⁻¹ b, in units of y²."""
    target = np.diag(covariance @ task_covariance @ covariance)
    best = diagonal_optimum(covariance, task_covariance, second_moment)
    return float(np.trace(task_covariance @ covariance) - target @ best)


def final_value(optimum: Array, invariant: float) -> float:
    """Return |v| where the flow ends, from c = v² − ‖u‖² that it conserves.

    v u = m* and v² − ‖u‖² = c give v² = (c + √(c² + 4‖m*‖²))/2.

    Examples
    --------
    >>> round(final_value(np.array([3.0, 4.0]), 0.0) ** 2, 12)
    5.0
    """
    size = float(np.linalg.norm(optimum))
    return float(np.sqrt((invariant + np.hypot(invariant, 2 * size)) / 2))


# The model: loss, velocity and Jacobian. In the library: numerics/diagonal.py


@dataclass(frozen=True, eq=False)
class DiagonalSystem:
    """One diagonal head on given moments; all that `system_flow` and `stability` ask for.

    A state θ is (v, u_1 … u_D). With G = −½ ∂L/∂M the chain rule gives `v̇ = Σ u_d G_dd` and
    `u̇_d = v G_dd`.
    """

    moments: FactoredMoments

    @property
    def size(self) -> int:
        """Number of weights, 1 + D."""
        return 1 + len(self.moments.correlation)

    def matrix(self, theta: Array) -> Array:
        """M = v diag(u), (..., D, D) for states (..., size)."""
        return np.asarray(theta[..., :1, None] * theta[..., None, 1:] * np.eye(self.size - 1))

    def loss(self, theta: Array) -> Array:
        """L = E[y_q²] − ⟨C + G, M⟩ at states (..., size), C = ΛΩΛ; no factor ½."""
        M = self.matrix(theta)
        both = self.moments.correlation + self.moments.residual(M)
        return np.asarray(self.moments.energy - np.sum(both * M, axis=(-2, -1)))

    def velocity(self, theta: Array) -> Array:
        """−½ ∂L/∂θ, the gradient by hand."""
        v, u = theta[0], theta[1:]
        g = np.diagonal(self.moments.residual(self.matrix(theta)))
        return np.concatenate([[u @ g], v * g])

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the velocity: of the weights at fixed g, and of g by g = b − (S∘Λ) v u."""
        g = np.diagonal(self.moments.residual(self.matrix(theta)))
        out = np.zeros((self.size, self.size), theta.dtype)
        out[0, 1:] = out[1:, 0] = g
        tangent = np.column_stack([theta[1:], theta[0] * np.eye(self.size - 1)])  # ∂(v u)/∂θ
        return out - tangent.T @ (self.moments.second_moment * self.moments.covariance) @ tangent

    def jvp(self, theta: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction."""
        return self.jacobian(theta) @ direction

    def invariants(self, theta: Array) -> Array:
        """v² − ‖u‖², (..., 1), conserved by the flow."""
        return np.asarray(theta[..., :1] ** 2 - np.sum(theta[..., 1:] ** 2, axis=-1, keepdims=True))


# The claim. In the library: scripts/claims/linear/diagonal.py, listed in scripts/claims/__init__.py


@claim(
    "D1",
    source="derived",
    kind="asymptotic",
    statement="a head with diagonal key-query weights ends at v diag(u) = diag((S∘Λ)⁻¹ diag(ΛΩΛ)), "
    "v² = (c + √(c² + 4‖m*‖²))/2, and leaves zero at the rate ‖diag(ΛΩΛ)‖/τ",
    regime="Λ positive definite, almost every start; the rate: small initial weights",
)
def diagonal_head(settings: Settings) -> Evidence:
    """Gradient at the predicted point, ends of runs from large starts, and the escape from zero."""
    task = LinearTask([[1.0, 0.3, 0.1], [0.3, 0.6, -0.2], [0.1, -0.2, 0.4]], 20, noise=0.5)
    moments = population_moments(task)
    data = (task.covariance, task.task_covariance, moments.second_moment)
    best, least = diagonal_optimum(*data), diagonal_minimum(*data)
    system = DiagonalSystem(moments)

    def slope(factor: float) -> float:
        v = final_value(best, 0.0)
        return float(np.linalg.norm(system.velocity(np.r_[v, factor * best / v])))

    rng = np.random.default_rng(settings.seed)
    starts = rng.standard_normal((settings.choose(6, 30), 4))
    runs = [system_flow(system, start, 400.0, rtol=1e-10) for start in starts]
    ends = np.array([run.states[-1] for run in runs])
    values = [final_value(best, float(system.invariants(start)[0])) for start in starts]
    because = "rtol of the solver, 1e-10 of each step; the last exponential rate times 400 is > 40"
    checks: list[Check] = [
        agree("gradient at the predicted point", 0.0, slope(1.0), 100 * EPS, "rounding",
              scale=1.0, control=lambda: slope(1.01)),
        agree("end of each run: v u", best, ends[:, :1] * ends[:, 1:], 1e-7, because),
        agree("end of each run: |v|", values, np.abs(ends[:, 0]), 1e-7, because),
        agree("end of each run: loss", least, [run.loss[-1] for run in runs], 1e-7, because),
        _escape(system, settings),
    ]  # fmt: skip
    return Evidence(checks)


def _escape(system: DiagonalSystem, settings: Settings) -> Check:
    """Growth of the leading direction (1, b/‖b‖) over a short time, for smaller and smaller v0."""
    b = np.diagonal(system.moments.correlation)
    rate, duration = float(np.linalg.norm(b)), 2.0
    leading = np.r_[1.0, b / rate]
    scales = np.array(settings.choose((1e-1, 3e-2, 1e-2), (1e-1, 3e-2, 1e-2, 3e-3)))
    growth = []
    for scale in scales:
        run = system_flow(system, scale * np.array([1.0, 0.5, -0.5, 0.2]), duration, rtol=1e-11)
        parts = run.states[[0, -1]] @ leading
        growth.append(np.log(parts[1] / parts[0]) / duration)
    because = "what is left out is cubic in the weights: relative v0²"
    return shrinks("escape rate from zero, ‖diag(ΛΩΛ)‖", scales, [rate] * len(scales), growth, 2.0,
                   because)  # fmt: skip

"""The pieces of `reduced`: small heads as scalars, and what happens when one saturates.

Notation: p = (k+q)/√2, n = (k−q)/√2, both (H, R, D); P_hd = Σ_r p_hrd², N_hd = Σ_r n_hrd² at the
start of a stage; E_hd the exponent gained since then; growth_d = C_dd, curvature_d = s_d λ_d;
a mode's target is growth_d/curvature_d, where its residual g_d vanishes. Time is in units of τ.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A mode counts as learned at this share of its target. The loss is midway between its plateaus
# at a share 1 − 1/√2 = 0.29; projecting just before that makes the first drop ten times more
# accurate than projecting at 0.5. The later drops hardly care: their median error (R = 1, 2,
# weights of 1e-2 and 1e-3) varies by 3 % between shares of 0.1 and 0.9.
LEARNED_SHARE = 0.25

# e^{2E} neither overflows nor underflows; a factor that reaches the bound multiplies a zero.
EXPONENT_BOUND = 300.0


@dataclass(frozen=True, eq=False)
class Heads:
    """Weights of all heads at one time: v (H,), p and n (H, R, D)."""

    v: Array
    p: Array
    n: Array

    def advanced(self, v: Array, E: Array) -> Heads:
        """The weights after each head has gained the exponents E (H, D)."""
        E = np.clip(E, -EXPONENT_BOUND, EXPONENT_BOUND)[:, None, :]
        return Heads(v.copy(), self.p * np.exp(E), self.n * np.exp(-E))

    def leading(self, head: int) -> Array:
        """The part (R, D) that a head grows: p for v > 0, n for v < 0 (M = ±v·(p pᵀ, −n nᵀ)/2)."""
        return np.asarray((self.p if self.v[head] > 0 else self.n)[head])

    def without(self, head: int, occupied: list[Array], modes: list[int]) -> Heads:
        """Take the occupied directions of R-space out of a head's components along `modes`.

        With all R directions occupied nothing is left, exactly: a rounding error would grow.
        """
        p, n = self.p.copy(), self.n.copy()
        for part in (p, n):
            block = part[head][:, modes]
            for u in occupied:
                block = block - np.outer(u, u @ block)
            part[head][:, modes] = 0.0 if len(occupied) == part.shape[1] else block
        return replace(self, p=p, n=n)

    def rotated(self, modes: list[int], basis: Array) -> Heads:
        """Components along `modes` in another orthonormal basis (columns)."""
        p, n = self.p.copy(), self.n.copy()
        p[..., modes], n[..., modes] = p[..., modes] @ basis, n[..., modes] @ basis
        return replace(self, p=p, n=n)


class StageEquations:
    """Right-hand side and Jacobian of (v_h, E_hd) from given weights, at τ = 1.

    `v̇_h = ½ Σ_d g_d (P e^{2E} − N e^{−2E})_hd`, `Ė_hd = v_h g_d`, `g_d = growth_d −
    curvature_d m_d`, `m_d = ½ Σ_h v_h (P e^{2E} − N e^{−2E})_hd`.
    """

    def __init__(self, heads: Heads, growth: Array, curvature: Array) -> None:
        self.growth, self.curvature = growth, curvature
        self.P, self.N = (heads.p**2).sum(axis=1), (heads.n**2).sum(axis=1)
        # A component that is exactly zero has no exponent to follow.
        self.active = (self.P + self.N > 0).astype(float)
        self.H, self.D = self.P.shape
        self.start = np.concatenate([heads.v, np.zeros(self.H * self.D)])

    def _parts(self, y: Array) -> tuple[Array, Array, Array, Array]:
        """V, P e^{2E}, N e^{−2E} and m for states (..., H(1+D))."""
        v, E = y[..., : self.H], y[..., self.H :].reshape(*y.shape[:-1], self.H, self.D)
        gain = np.exp(2 * np.clip(E, -EXPONENT_BOUND, EXPONENT_BOUND))
        a, b = self.P * gain, self.N / gain
        return v, a, b, 0.5 * (v[..., None, :] @ (a - b))[..., 0, :]

    def modes(self, y: Array) -> Array:
        """m (..., D), the diagonal of M."""
        return self._parts(y)[3]

    def contributions(self, y: Array) -> Array:
        """Share of each head in m, (H, D)."""
        v, a, b, _ = self._parts(y)
        return 0.5 * v[:, None] * (a - b)

    def velocity(self, _t: float, y: Array) -> Array:
        """Derivative of (v, E)."""
        v, a, b, m = self._parts(y)
        g = self.growth - self.curvature * m
        return np.concatenate([0.5 * ((a - b) @ g), (v[:, None] * g * self.active).ravel()])

    def jacobian(self, _t: float, y: Array) -> Array:
        """Derivative of `velocity`."""
        H, D = self.H, self.D
        v, a, b, m = self._parts(y)
        g = self.growth - self.curvature * m
        g_v = -0.5 * self.curvature * (a - b)  # ∂g_d/∂v_h, (H, D)
        g_E = -self.curvature * v[:, None] * (a + b)  # ∂g_d/∂E_hd, (H, D)
        h, d = np.arange(H), np.arange(D)
        J = np.empty((H * (1 + D), H * (1 + D)))
        J[:H, :H] = 0.5 * (a - b) @ g_v.T
        v_E = 0.5 * (a - b)[:, None, :] * g_E
        v_E[h, h] += (a + b) * g
        J[:H, H:] = v_E.reshape(H, -1)
        E_v = v[:, None, None] * g_v.T  # ∂(v_h g_d)/∂v_h', (h, d, h')
        E_v[h, :, h] += g
        J[H:, :H] = (self.active[..., None] * E_v).reshape(-1, H)
        E_E = np.zeros((H, D, H, D))
        E_E[:, d, :, d] = (self.active * v[:, None]).T[:, :, None] * g_E.T[:, None, :]
        J[H:, H:] = E_E.reshape(H * D, H * D)
        return J


@dataclass(frozen=True, eq=False)
class Stage:
    """A stretch of time over which the equations keep their constants."""

    equations: StageEquations
    t: Array
    y: Array  # (T, H(1+D))
    dense: Callable[[Any], Array] | None
    failure: str | None
    interrupted: bool

    def at(self, times: Array) -> Array:
        """States (T, H(1+D)) at times within the stage."""
        return self.y[[0] * len(times)] if self.dense is None else self.dense(times).T


def run_stage(
    equations: StageEquations, start: float, stop: float, waiting: list[int], rtol: float
) -> Stage:
    """Integrate until a mode of `waiting` reaches its learned share, or to `stop`."""
    target = (equations.growth / np.where(equations.growth > 0, equations.curvature, 1.0))[waiting]

    def excess(_t: float, y: Array) -> float:
        return float((equations.modes(y)[waiting] / target).max()) - LEARNED_SHARE

    y0 = equations.start
    if waiting and excess(start, y0) >= 0:
        return Stage(equations, np.array([start]), y0[None], None, None, True)
    excess.terminal = True  # type: ignore[attr-defined]
    excess.direction = 1  # type: ignore[attr-defined]
    solution = _solved(equations, start, stop, excess if waiting else None, rtol, target)
    failure = None if solution.status >= 0 else str(solution.message)
    overflow = np.flatnonzero(~np.isfinite(solution.y).all(axis=0))
    if overflow.size:
        t, y = solution.t[: overflow[0]], solution.y.T[: overflow[0]]
        return Stage(equations, t, y, solution.sol, failure or "the solver overflows", False)
    return Stage(equations, solution.t, solution.y.T, solution.sol, failure, solution.status == 1)


def _solved(
    equations: StageEquations, start: float, stop: float, event: Any, rtol: float, target: Array
) -> Any:
    """SciPy's solution; errors count relative to the first weights, small beside learned ones."""
    from scipy.integrate import solve_ivp

    y0 = equations.start
    size = float(np.sqrt(np.mean(y0[: equations.H] ** 2 + equations.P.sum(axis=1))))
    learned = float(np.cbrt(target.max())) if len(target) else 0.0
    unit = learned or size or 1.0
    share = min(size / unit, 1.0) or 1.0
    # A failure is told, and a step that tries too much is taken again.
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        warnings.filterwarnings("ignore", message="lsoda: ")
        try:
            return solve_ivp(
                equations.velocity,
                (start, stop),
                y0,
                method="LSODA",
                jac=equations.jacobian,
                events=event,
                dense_output=True,
                rtol=rtol,
                atol=rtol * share * np.where(np.arange(y0.size) < equations.H, unit, 1.0),
            )
        except ValueError:  # steps below the rounding of the time
            raise FloatingPointError from None


def crossing(stages: list[Stage], loss: Callable[[Array], Array], level: float) -> float:
    """First time at which the loss falls to `level`, on the dense solution; inf if never."""
    from scipy.optimize import brentq

    for stage in stages:
        below = np.flatnonzero(loss(stage.equations.modes(stage.y)) <= level)
        if not below.size:
            continue
        i = int(below[0])
        if i == 0 or stage.dense is None:
            return float(stage.t[i])
        excess = [float(loss(stage.equations.modes(stage.at(stage.t[[j]])))[0]) - level
                  for j in (i - 1, i)]  # fmt: skip
        if not excess[0] > 0 > excess[1]:  # the level is met at a step, up to rounding
            return float(stage.t[i])

        def above(t: float, stage: Stage = stage) -> float:
            return float(loss(stage.equations.modes(stage.at(np.array([t]))))[0]) - level

        return float(brentq(above, stage.t[i - 1], stage.t[i], rtol=1e-14))
    return math.inf

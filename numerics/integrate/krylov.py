"""Backward differentiation whose linear systems are solved by conjugate gradients, matrix-free.

A dense implicit method factorises I − cJ, n³/3 operations for n weights. Here J = −½ Hessian is
symmetric and met only through products, and a step that follows the flow (c times its largest
rate of growth below 1) makes I − cJ positive definite: preconditioned conjugate gradients solve it,
and if they meet a direction of negative curvature the step was too long and is halved.

Steps are those of Shampine & Reichelt (*The MATLAB ODE Suite*, SIAM J. Sci. Comput. 18, 1997):
orders 1 to 6 on backward differences of a quasi-constant step h,

    Σ_{m≤q} ∇^m y γ_m / α_q + d = c f(y_pred + d),   c = h/α_q,   error ≈ ε_q d.

**Measured** (the whole cascade of ATTN_S, R = 1, H = D, λ_d ∝ 1/d, first weights of scale 1e-2;
processor seconds on a busy machine, errors against rtol = 1e-12). D = 64: an explicit pair needs
10 million evaluations. At rtol = 1e-10, 17 s: 28,000 evaluations, 18,000 products, drop times
within 4e-4 and the loss between them within 4e-7. At rtol = 1e-8, 12 s, 17,000 evaluations: the
loss within 3e-5, drop times within 4e-5 (median), but the last two by 3e-3 and 3e-2. These are
ill-conditioned: a change of the first weights by 1e-6 of themselves moves the very last drop by
5e-2, so that its relative condition number is 5e4; tolerances tighter than 1e-8 are for it alone.
D = 256, 131,000 weights, all 256 drops at rtol = 1e-7: 13 minutes with tighter linear solves,
20,000 evaluations and 49,000 products; dissipated energy and loss agree to 1e-6.

Without a preconditioner (R > 1, or moments of a sample) it is of use as well. D = H = 32, until the
loss is within 1e-5 of its minimum, at rtol = 1e-8: R = 4, 10 s, and 13 s with DOP853; R = 2, 11 s
and 15 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.integrate.linearised import linearised
from numerics.systems import GradientSystem

Array = NDArray[Any]

# J is symmetric, and order 6 stable on the real axis: a quarter fewer steps than order 5.
_ORDERS = 6
_KAPPA = np.array([0, -0.1850, -1 / 9, -0.0823, -0.0415, 0, 0])
_GAMMA = np.append(0, np.cumsum(1 / np.arange(1, _ORDERS + 1)))
_ALPHA = (1 - _KAPPA) * _GAMMA
_ERROR = _KAPPA * _GAMMA + 1 / np.arange(1, _ORDERS + 2)

# Errors, as shares of the tolerance: what Newton's iteration may leave, and a linear system, unless
# that has reduced its own by this much already. At D = 64 and rtol = 3e-10 errors of drops agree to
# four digits with those of (0.1, 0.03, 0.1), at 0.9 of the time.
_NEWTON, _LINEAR, _REDUCTION = 0.3, 0.1, 0.3
_CORRECTIONS, _PRODUCTS = 5, 300
# A preconditioner is made anew when the step has changed, or has become this old.
_OLD = 10
# A step is not lengthened by less than this.
_WORTHWHILE = 1.2


class Krylov:
    """A solver with the interface of `scipy.integrate.OdeSolver` that `March` uses.

    Parameters
    ----------
    velocity : callable
        (t, y) ↦ right-hand side of y = (θ, dissipated energy).
    t, y, end
        From where to where.
    system : GradientSystem
        Whose linearised flow and preconditioner are used.
    tau, rtol, atol : float
        As in `gradient_flow`.
    """

    def __init__(
        self,
        velocity: Callable[[float, Array], Array],
        t: float,
        y: Array,
        end: float,
        *,
        system: GradientSystem,
        tau: float,
        rtol: float,
        atol: float,
    ) -> None:
        self.velocity, self.tau, self.rtol, self.atol = velocity, tau, rtol, atol
        self.t, self.y, self.t_bound, self.status = t, y, end, "running"
        self.nfev = self.products = self.steps = self.rejected = self.failures = self.prepared = 0
        self.linear = linearised(system)
        rate = self._evaluate(y)
        speed = self._norm(rate, self._scale(y))
        self.h = min(end - t, 0.5 / speed) if speed > 0 else end - t
        self.differences = np.zeros((_ORDERS + 3, len(y)), y.dtype)
        self.differences[0], self.differences[1] = y, self.h * rate
        self.order, self.equal, self.age, self.c = 1, 0, 0, 0.0
        self.next: tuple[int, float] | None = None

    def step(self) -> str | None:
        """Advance; a message if that fails."""
        if self.next is not None:
            self.order, factor = self.next
            self.next = None
            self._stretch(factor)
        while True:
            if self.h < 10 * math.ulp(self.t):
                self.status = "failed"
                return "the step became too small"
            if self.t + self.h > self.t_bound:
                self._stretch((self.t_bound - self.t) / self.h)
            t = self.t + self.h
            if self.t_bound - t <= 10 * math.ulp(self.t_bound):
                t = self.t_bound
            predicted = self.differences[: self.order + 1].sum(axis=0)
            d = self._correct(predicted)
            if d is None:
                self.failures += 1
                self._stretch(0.5)
                continue
            y = predicted + d
            scale = self._scale(y)
            error = _ERROR[self.order] * self._norm(d, scale)
            if error <= 1:
                break
            self.rejected += 1
            self._stretch(max(0.2, 0.9 * error ** (-1 / (self.order + 1))))
        self.t, self.y = t, y
        self.status = "finished" if t == self.t_bound else "running"
        self.steps += 1
        self._record(d, error, scale)
        return None

    def _correct(self, predicted: Array) -> Array | None:
        """The d that solves the step's equation, or None."""
        order, D, linear = self.order, self.differences, self.linear
        c = self.h / _ALPHA[order]
        history = _GAMMA[1 : order + 1] @ D[1 : order + 1] / _ALPHA[order]
        scale = self._scale(predicted[:-1])
        linear.move(predicted[:-1])
        if c != self.c or self.age > _OLD:
            linear.prepare(c / self.tau)
            self.c, self.age = c, 0
            self.prepared += 1
        self.age += 1
        d = np.zeros_like(predicted)
        for correction in range(_CORRECTIONS):
            residual = c * self._evaluate(predicted + d)
            residual -= history
            residual -= d
            if not np.isfinite(residual).all():
                return None
            z = linear.precondition(residual[:-1])
            size = self._norm(z, scale)
            if correction and size <= _NEWTON:
                d[:-1] += z
                d[-1] += residual[-1]
                return d
            step = self._solve(
                c / self.tau, residual[:-1], z, scale, max(_LINEAR, _REDUCTION * size)
            )
            if step is None:
                return None
            d[:-1] += step
        return None

    def _solve(self, c: float, r: Array, z: Array, scale: Array, tolerance: float) -> Array | None:
        """(I − cJ)⁻¹ r by conjugate gradients from z = P⁻¹r, or None if that fails."""
        linear, x, p, rz = self.linear, np.zeros_like(r), z, float(r @ z)
        if rz == 0:
            return x  # nothing to solve, or nothing that its square can hold
        r = r.copy()
        for _ in range(_PRODUCTS):
            q = linear.apply(p)
            q *= -c
            q += p
            self.products += 1
            bend = float(p @ q)
            if not (bend > 0 and rz > 0):
                return None
            share = rz / bend
            x += share * p
            q *= share
            r -= q
            z = linear.precondition(r)
            if self._norm(z, scale) <= tolerance:
                x += z
                return x
            rz, before = float(r @ z), rz
            p = z + (rz / before) * p
        return None

    def _record(self, d: Array, error: float, scale: Array) -> None:
        """Update the differences; after order + 1 equal steps choose order and step anew."""
        D, order = self.differences, self.order
        D[order + 2] = d - D[order + 1]
        D[order + 1] = d
        for i in reversed(range(order + 1)):
            D[i] += D[i + 1]
        self.equal += 1
        if self.equal <= order:
            return
        errors = [math.inf, error, math.inf]
        if order > 1:
            errors[0] = abs(_ERROR[order - 1]) * self._norm(D[order], scale)
        if order < _ORDERS:
            errors[2] = abs(_ERROR[order + 1]) * self._norm(D[order + 2], scale)
        factors = [max(e, 1e-30) ** (-1 / (order + i)) for i, e in enumerate(errors)]
        best = max(range(3), key=factors.__getitem__)
        factor = min(10.0, 0.9 * factors[best])
        if not 1 <= factor < _WORTHWHILE:
            # Not before the next step: until then the differences are this one's polynomial.
            self.next = order + best - 1, factor

    def _stretch(self, factor: float) -> None:
        """Interpolate the differences to a step that is `factor` times as long."""
        self.h *= factor
        self.equal = 0
        used = slice(self.order + 1)
        change = _interpolation(self.order, factor) @ _interpolation(self.order, 1.0)
        self.differences[used] = change.T @ self.differences[used]

    def _evaluate(self, y: Array) -> Array:
        self.nfev += 1
        return self.velocity(self.t, y)

    def _scale(self, y: Array) -> Array:
        scale = np.abs(y)
        scale *= self.rtol
        scale += self.atol
        return scale

    @staticmethod
    def _norm(x: Array, scale: Array) -> float:
        ratio = x / scale
        return math.sqrt(float(ratio @ ratio) / len(ratio))

    def dense_output(self) -> Callable[[Any], Array]:
        """The polynomial through this step's ends and those of the steps before it."""
        order, h, end, D = self.order, self.h, self.t, self.differences[: self.order + 1].copy()

        def at(t: Any) -> Array:
            shares = (np.asarray(t)[..., None] - end) / h
            i = np.arange(order)
            weights = np.cumprod((shares + i) / (1 + i), axis=-1)
            return np.asarray((D[0] + weights @ D[1:]).T)

        return at


def _interpolation(order: int, factor: float) -> Array:
    i = np.arange(1, order + 1)
    matrix = np.zeros((order + 1, order + 1))
    matrix[1:, 1:] = (i[:, None] - 1 - factor * i) / i[:, None]
    matrix[0] = 1
    return np.cumprod(matrix, axis=0)

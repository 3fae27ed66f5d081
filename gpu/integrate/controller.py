"""How large the next step is: a proportional-integral controller for each row.

After an accepted step of error e (in units of the tolerance) whose forerunner had e₋, h grows by
s e^{−α} e₋^{β} (Hairer and Wanner, Solving ODEs II, IV.2); after a refused one it shrinks by
s e^{−1/k}.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpu._arrays import Array

# Errors beyond these, and those that are not finite, count as these.
_LEAST_ERROR, _LARGEST_ERROR = 1e-10, 1e10


@dataclass(frozen=True)
class Controller:
    """Constants of the control.

    Attributes
    ----------
    order : int
        k, the order of the local error.
    integral : float
        β k; α = (1 − 0.75 integral)/k.
    safety, shrink, grow : float
        s, and the bounds on the change in one step.
    """

    order: int
    integral: float = 0.2
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 6.0

    def factor(self, xp: Any, error: Array, previous: Array, held: Array) -> Array:
        """The factor on each row's step; one that was refused just before (`held`) may not grow.

        Errors that are not finite shrink the step as far as allowed.
        """
        bounded = xp.where(error < _LARGEST_ERROR, xp.maximum(error, _LEAST_ERROR), _LARGEST_ERROR)
        alpha, beta = (1 - 0.75 * self.integral) / self.order, self.integral / self.order
        passed = self.safety * bounded**-alpha * previous**beta
        refused = self.safety * bounded ** (-1 / self.order)
        passed = xp.where(held, xp.minimum(passed, 1.0), passed)
        chosen = xp.where(bounded <= 1.0, passed, refused)
        return xp.minimum(xp.maximum(chosen, self.shrink), self.grow)

    def remember(self, xp: Any, error: Array, previous: Array, accepted: Array) -> Array:
        """The error that the next step counts as its forerunner's."""
        return xp.where(accepted, xp.maximum(error, 1e-4), previous)


def rms(xp: Any, scaled: Array) -> Array:
    """Root mean square over the state, (rows,)."""
    return xp.sqrt(xp.mean(scaled * scaled, axis=0))


def first_step(
    xp: Any, problem: Any, y: Array, velocity: Array, scale: Array, end: Array, order: int
) -> Array:
    """A first step for each row (Hairer, Nørsett and Wanner, Solving ODEs I, II.4)."""
    d0, d1 = rms(xp, y / scale), rms(xp, velocity / scale)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = xp.where(small, 1e-6, 0.01 * d0 / xp.where(small, 1.0, d1))
    h0 = xp.minimum(h0, xp.astype(end, y.dtype))
    d2 = rms(xp, (problem.velocity(y + h0 * velocity) - velocity) / scale) / h0
    largest = xp.maximum(d1, d2)
    flat = ~(largest > 1e-15)
    h1 = (0.01 / xp.where(flat, 1.0, largest)) ** (1 / (order + 1))
    h1 = xp.where(flat, xp.maximum(1e-3 * h0, 1e-6), h1)
    h = xp.astype(xp.minimum(100 * h0, h1), xp.float64)
    return xp.minimum(xp.where(xp.isfinite(h) & (h > 0), h, 1e-6), end)

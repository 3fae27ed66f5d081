"""Which method is cheapest for a batch: a pilot of a few rows is integrated and its steps counted.

The pilot takes the implicit method where that is affordable, else the stabilised one, at a loose
tolerance, and its counts are scaled to the tight one. Stability holds the explicit pair to steps of
3.3 over the largest rate |λ| of the Jacobian, so that it takes ∫|λ| dt / 3.3 of them; roundings
hold the stabilised method to steps of `reach`, accuracy to some twice as many steps n as the
implicit one, of together 6n + √(3.4 n ∫|λ| dt) evaluations.

For ATTN_S at D = H = 4 and initial scales of 1e-2 and 1e-3 this estimates 880 and 1,250 implicit
steps, 820 and 1,000 being true, and 3,870 and 38,700 explicit ones, 4,130 and 39,000 being true.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import device

from gpu._arrays import Array, namespace
from gpu.integrate.implicit import ImplicitStep
from gpu.integrate.loop import SYNCHRONISE, Run, Settings
from gpu.integrate.problem import jacobian_of
from gpu.integrate.stabilised import StabilisedStep, cost_of, reach
from gpu.integrate.status import Status
from gpu.integrate.step import ExplicitStep
from gpu.integrate.tableau import DORMAND_PRINCE

_PILOTS = 4
_LOOSE = 1e-3
_POWERS = 8
# Steps grow as rtol^−1/6 between 1e-3 and 1e-8 (exponents of 0.15 to 0.17 are measured), slower
# than the order says: plateaus are left behind by steps that grow as fast as allowed. Evaluations
# of the stabilised method, which grow as the root of its steps, do so as rtol^−1/10 (0.08 to 0.12).
_GROWTH, _STABILISED_GROWTH = 1 / 6, 1 / 10
_LARGEST = 128
# An evaluation of the stabilised method with what belongs to it, over one of the explicit pair:
# 1.6, 1.6 and 1.5 for ATTN_S of 37, 137 and 529 components. Flows of 529 components take it 36,000
# evaluations at rtol = 1e-6 and 61,000 at 1e-8; the pair takes 167,000 at either.
_OVERHEAD = 1.5


def cost_ratio(size: int) -> float:
    """Cost of an implicit over that of an explicit step; 25 is measured at size 36.

    The solutions take size² and the factors and the Jacobian size³, the explicit step size.

    >>> round(cost_ratio(36)), round(cost_ratio(128))
    (25, 185)
    """
    scaled = size / 36
    return 5.0 + 8.0 * scaled + 12.0 * scaled**2


def largest_rate(xp: Any, J: Array) -> Array:
    """Estimate |λ| of each row's Jacobian (size, size, rows) by a few powers of it."""
    size, rows = J.shape[1:]
    x = xp.ones((size, rows), dtype=J.dtype, device=device(J))
    # Uneven, so that no symmetry between the weights makes it orthogonal to the eigenvector.
    x = x + xp.reshape(xp.arange(size, dtype=J.dtype, device=device(J)), (size, 1)) / size
    rate = x[0, :]
    for _ in range(_POWERS):
        x = x / xp.sqrt(xp.sum(x * x, axis=0))
        x = xp.sum(J * x[None, ...], axis=1)
        rate = xp.sqrt(xp.sum(x * x, axis=0))
        x = xp.where(rate > 0.0, x, 1.0)
    return rate


class Pilot(Run):
    """A run that adds up |λ| dt."""

    length: Array = 0.0

    def step(self) -> None:
        """One step of every row that runs."""
        xp, before, y = self.xp, self.t, self.y
        stabilised = isinstance(self.method, StabilisedStep)
        rate = None if stabilised else largest_rate(xp, self.method.problem.jacobian(y))
        super().step()
        rate = self.method.rate if stabilised else rate
        grown = xp.astype(rate, xp.float64) * (self.t - before)
        self.length = self.length + xp.where(xp.isfinite(grown), grown, 0.0)

    def walk(self) -> None:
        """Run to the end and leave everything in place."""
        while bool(self.xp.any(self.status == int(Status.RUNNING))):
            for _ in range(SYNCHRONISE):
                self.step()

    def total(self, counts: Array) -> float:
        """A sum over the rows."""
        return float(self.xp.sum(self.xp.astype(counts, self.xp.float64)))


def choose_method(problem: Any, state: Array, end: Array, rtol: float, atol: float) -> str:
    """The name of the method that takes least time by its estimated evaluations.

    Not implicit without a Jacobian or beyond 128 weights, where factors cost too much; explicit if
    the stabilised pilot comes to no end, as with rates that are not real.
    """
    xp, (size, rows) = namespace(state), state.shape
    dense = jacobian_of(problem) is not None and size <= _LARGEST
    places = sorted({rows * i // _PILOTS for i in range(_PILOTS)})
    some = xp.asarray(places, dtype=xp.int64, device=device(state))
    few, y, until = problem.take(some), xp.take(state, some, axis=1), xp.take(end, some)
    loose = max(rtol, _LOOSE)
    settings = Settings(loose, atol * loose / rtol, 2000)
    pilot = Pilot(ImplicitStep if dense else StabilisedStep, few, y, until, None, settings)
    pilot.walk()
    if not dense and bool(xp.any(pilot.status == int(Status.OUT_OF_STEPS))):
        return "explicit"
    length = pilot.total(pilot.length)
    costs = {"explicit": ExplicitStep.evaluations * length / DORMAND_PRINCE.stability}
    if dense:
        steps = pilot.total(pilot.steps) * (loose / rtol) ** _GROWTH
        costs["implicit"] = steps * cost_ratio(size) * ExplicitStep.evaluations
        needed = 12.0 * steps + math.sqrt(6.8 * steps * length)
    else:
        needed = pilot.total(pilot.evaluations) * (loose / rtol) ** _STABILISED_GROWTH
    reached = reach(rtol, float(xp.finfo(state.dtype).eps))
    costs["Chebyshev"] = _OVERHEAD * max(needed, cost_of(reached) * length)
    return min(costs, key=costs.__getitem__)

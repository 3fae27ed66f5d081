"""Which method is cheaper for a batch: a pilot of a few rows is integrated and its steps counted.

The pilot takes the implicit method at a loose tolerance, and its number of steps is scaled to the
tight one. Stability holds the explicit pair to steps of 3.3 over the largest rate |λ| of the
Jacobian, so that it takes ∫|λ| dt / 3.3 of them. For ATTN_S at D = H = 4 and initial scales of
1e-2 and 1e-3 this estimates 880 and 1,250 implicit steps, 820 and 1,000 being true, and 3,870 and
38,700 explicit ones, 4,130 and 39,000 being true.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import device

from gpu._arrays import Array, namespace
from gpu.integrate.implicit import ImplicitStep
from gpu.integrate.loop import SYNCHRONISE, Run, Settings
from gpu.integrate.problem import jacobian_of
from gpu.integrate.status import Status
from gpu.integrate.tableau import DORMAND_PRINCE

_PILOTS = 4
_LOOSE = 1e-3
_POWERS = 8
# Steps grow as rtol^−1/6 between 1e-3 and 1e-8 (exponents of 0.15 to 0.17 are measured), slower
# than the order says: plateaus are left behind by steps that grow as fast as allowed.
_GROWTH = 1 / 6
_LARGEST = 128


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
        xp, before = self.xp, self.t
        rate = largest_rate(xp, self.method.problem.jacobian(self.y))
        super().step()
        grown = xp.astype(rate, xp.float64) * (self.t - before)
        self.length = self.length + xp.where(xp.isfinite(grown), grown, 0.0)

    def walk(self) -> None:
        """Run to the end and leave everything in place."""
        while bool(self.xp.any(self.status == int(Status.RUNNING))):
            for _ in range(SYNCHRONISE):
                self.step()


def choose_method(problem: Any, state: Array, end: Array, rtol: float, atol: float) -> str:
    """``"explicit"`` or ``"implicit"``, whichever takes less time by its estimated steps.

    Explicit without a Jacobian or beyond 128 weights, where factors cost too much.
    """
    xp, (size, rows) = namespace(state), state.shape
    if jacobian_of(problem) is None or size > _LARGEST:
        return "explicit"
    places = sorted({rows * i // _PILOTS for i in range(_PILOTS)})
    some = xp.asarray(places, dtype=xp.int64, device=device(state))
    few, y, until = problem.take(some), xp.take(state, some, axis=1), xp.take(end, some)
    loose = max(rtol, _LOOSE)
    settings = Settings(loose, atol * loose / rtol, 2000)
    pilot = Pilot(ImplicitStep, few, y, until, None, settings)
    pilot.walk()
    longer = (loose / rtol) ** _GROWTH
    implicit = float(xp.sum(xp.astype(pilot.steps, xp.float64))) * longer
    explicit = float(xp.sum(pilot.length)) / DORMAND_PRINCE.stability
    return "implicit" if implicit * cost_ratio(size) < explicit else "explicit"

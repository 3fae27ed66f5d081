"""Steps of stabilised methods of order 4: stable down to hλ ≈ −0.35 s² with s + 1 evaluations.

They need neither a Jacobian nor a factorisation, and suit Jacobians whose eigenvalues are real, as
those of gradient flows are: a plateau of stiffness κ takes them some √κ times as long where it
takes an explicit pair κ times.

Each row has its own number of stages, and rows do not wait for one another: every evaluation serves
each row at the stage where it is. `attempt` makes `PERIOD` evaluations, after which the rows that
are `ready` have come to the end of their step and the others go on with theirs.

The first evaluation of a step is one of a power iteration for the Jacobian's largest rate ρ, by a
difference quotient along v, which is kept between steps. The error of a step is mixed into v: it is
largest along an eigenvector that has grown stiff unnoticed.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import device, is_numpy_namespace

from gpu._arrays import Array, namespace
from gpu.integrate import polynomials
from gpu.integrate.polynomials import LARGEST, LEAST, PERIOD, place_of, stability
from gpu.integrate.step import constants, keep_accepted

# ρ is estimated from below, hence the safety; an estimate that has fallen is forgotten slowly.
_SAFETY, _FORGET = 1.2, 0.8
_MIXED = 0.1
_POWERS = 4
# The last four stages amplify what the others have damped, and with it roundings: the error that
# they feign is some eps·(hρ)⁵/500. With hρ < 3.5 (rtol/eps)^{1/5}, 300 at rtol = 1e-6 and 120 at
# 1e-8, few steps are refused for it. ATTN_S of 36 weights, initial scale 1e-3, takes 154,000
# evaluations at 1e-8 without this bound and 138,000 with hρ < 183; at 1e-6, 102,000 and 83,000.
_NOISE = 3.5


def reach(rtol: float, eps: float) -> float:
    """The largest hρ of a step at a tolerance.

    >>> round(reach(1e-6, 2.2e-16)), round(reach(1e-8, 2.2e-16))
    (249, 99)
    """
    largest = min(_NOISE * (rtol / eps) ** 0.2, stability(LARGEST))
    return max(largest, stability(LEAST)) / _SAFETY


def cost_of(reached: float) -> float:
    """Evaluations per unit of hρ of steps of that hρ."""
    m = math.ceil((math.sqrt((_SAFETY * reached + 2.78) / 0.3504) + 1) / PERIOD - 1e-9)
    return PERIOD * max(m, LEAST) / reached


class StabilisedStep:
    """Steps of the methods of `polynomials`, with the interface of `ExplicitStep`."""

    evaluations, first_evaluations = PERIOD, _POWERS
    order = 4

    def __init__(self, problem: Any, state: Array, velocity: Array) -> None:
        xp = namespace(state)
        self.xp, self.problem = xp, problem
        size, rows = state.shape
        at, dtype = device(state), state.dtype
        # D of the last two stages in turn, F of the last one, and G.
        self._stack = xp.zeros((4, size, rows), dtype=dtype, device=at)
        self._start = xp.asarray(velocity, copy=True)
        self._turn = 0
        # The stage to be made next, 0 for the power iteration, and the class.
        self._stage = xp.zeros(rows, dtype=xp.int64, device=at)
        self._kind = xp.full((rows,), LEAST, dtype=xp.int64, device=at)
        self.ready = xp.zeros(rows, dtype=xp.bool, device=at)
        made = polynomials.constants()
        self._stages, self._error = constants(state, made.stages), constants(state, made.error)
        uneven = xp.reshape(xp.arange(size, dtype=dtype, device=at), (size, 1)) / size
        self._v = xp.zeros_like(state) + (1.0 + uneven) / size**0.5
        self.rate = xp.zeros(rows, dtype=dtype, device=at)
        for _ in range(_POWERS):
            length = self._length(state)
            change = problem.velocity(state + self._v * length) - self._start
            self._power(change, length, self._stage == 0)

    def _norm(self, x: Array) -> Array:
        return self.xp.sqrt(self.xp.sum(x * x, axis=0))

    def _length(self, y: Array) -> Array:
        """Of the difference quotient, (rows,)."""
        norm = self._norm(y)
        root = float(self.xp.finfo(y.dtype).eps) ** 0.5
        return root * self.xp.where(norm > 0.0, norm, 1.0)

    def _power(self, change: Array, length: Array, chosen: Array) -> None:
        """One power iteration for the chosen rows."""
        xp, norm = self.xp, self._norm(change)
        sound = chosen & xp.isfinite(norm) & (norm > 0.0)
        self._v = xp.where(sound, change / norm, self._v)
        rate = xp.maximum(norm / length, _FORGET * self.rate)
        self.rate = xp.where(sound, rate, self.rate)

    def _choose(self, dt: Array, chosen: Array) -> None:
        """How many stages the chosen rows take."""
        xp = self.xp
        needed = xp.sqrt((_SAFETY * self.rate * dt + 2.78) / 0.3504)
        kind = xp.ceil((needed + 1.0) / PERIOD)
        kind = xp.where(kind < LARGEST, xp.maximum(kind, float(LEAST)), float(LARGEST))
        self._kind = xp.where(chosen, xp.astype(kind, xp.int64), self._kind)

    def limited(self, dt: Array, rtol: float) -> Array:
        """Steps no longer than roundings and the largest number of stages allow."""
        xp = self.xp
        most = reach(rtol, float(xp.finfo(self._start.dtype).eps))
        rate = xp.astype(self.rate, xp.float64)
        return xp.where(rate * dt > most, most / rate, dt)

    def _advance(self, y: Array, dt: Array) -> Array:
        """The next D over the one before the last; returns Y."""
        xp, turn = self.xp, self._turn
        entry = place_of(self._kind) + xp.maximum(self._stage - 1, 0)
        weights = xp.take(self._stages, entry, axis=1)
        now, before = weights[0, :], weights[1, :]
        rows = [*((before, now) if turn else (now, before)), weights[2, :] * dt, weights[3, :]]
        self._turn = 1 - turn
        if is_numpy_namespace(xp):
            # Outside the standard, but NumPy multiplies and adds here in one pass.
            self._stack[1 - turn] = xp.einsum("kr,knr->nr", xp.stack(rows), self._stack)
        else:
            total = rows[0] * self._stack[0, ...]
            for i in range(1, 4):
                total = total + rows[i] * self._stack[i, ...]
            self._stack[1 - turn, ...] = total
        return y + self._stack[1 - turn, ...]

    def _begin(self, y: Array, dt: Array) -> None:
        """The first evaluation of a round: rows that start a step make a power iteration."""
        xp, stack = self.xp, self._stack
        stack[3, ...] = stack[self._turn, ...]
        made = self._advance(y, dt)
        starting, length = self._stage == 0, self._length(y)
        F = self.problem.velocity(xp.where(starting, y + self._v * length, made))
        self._power(F - self._start, length, starting)
        self._choose(dt, starting)
        stack[2, ...] = F
        self._overwrite(2, starting, self._start)
        for place in (0, 1, 3):
            self._overwrite(place, starting, 0.0)
        self._stage = self._stage + 1

    def _overwrite(self, place: int, chosen: Array, value: Any) -> None:
        """Write into the stack for the chosen rows."""
        xp, stack = self.xp, self._stack
        if is_numpy_namespace(xp):
            xp.copyto(stack[place], value, where=chosen)
        else:
            stack[place, ...] = xp.where(chosen, value, stack[place, ...])

    def attempt(self, y: Array, dt: Array) -> tuple[Array, Array]:
        """The state a step later and its error, both (size, rows), of the rows that are ready."""
        xp, stack = self.xp, self._stack
        self._begin(y, dt)
        for _ in range(PERIOD - 1):
            made = self._advance(y, dt)
            stack[2, ...] = self.problem.velocity(made)
            self._stage = self._stage + 1
        self.ready = self._stage == PERIOD * self._kind
        error = self._estimate(dt)
        norm = self._norm(error)
        sound = self.ready & xp.isfinite(norm) & (norm > 0.0)
        self._v = xp.where(sound, self._v + (_MIXED / norm) * error, self._v)
        return made, error

    def _estimate(self, dt: Array) -> Array:
        """The error of a step that has just ended."""
        e, stack = self.xp.take(self._error, self._kind - LEAST, axis=1), self._stack
        total = e[0, :] * stack[self._turn, ...] + e[1, :] * stack[1 - self._turn, ...]
        total = total + e[2, :] * stack[3, ...]
        return total + dt * (e[3, :] * stack[2, ...] + e[4, :] * self._start)

    def interpolate(self, rows: Array, share: Array, y: Array, y_new: Array, dt: Array) -> Array:
        """States (size, n) at the shares θ (n,) of the step of the rows (n,)."""
        xp = self.xp
        start, stop = xp.take(y, rows, axis=1), xp.take(y_new, rows, axis=1)
        h = xp.take(dt, rows)
        first = h * xp.take(self._start, rows, axis=1)
        last = h * xp.take(self._stack[2, ...], rows, axis=1)
        change, rest = stop - start, 1.0 - share
        inner = rest * (first - change) - share * (last - change)
        return start + share * (change + rest * inner)

    def commit(self, accepted: Array, y: Array, y_new: Array) -> Array:
        """Go on from the end of the step in the rows that accept it; overwrites both states."""
        made = keep_accepted(accepted, y_new, y)
        self._start = keep_accepted(~accepted, self._start, self._stack[2, ...])
        self._stage = self.xp.where(self.ready, 0, self._stage)
        return made

    def take(self, rows: Array) -> None:
        """Go on with some rows alone."""
        xp = self.xp
        self.problem = self.problem.take(rows)
        self._stack = xp.take(self._stack, rows, axis=2)
        for name in ("_v", "_start"):
            setattr(self, name, xp.take(getattr(self, name), rows, axis=1))
        for name in ("_stage", "_kind", "rate", "ready"):
            setattr(self, name, xp.take(getattr(self, name), rows))

"""One step of an explicit pair for all rows at once, and what every method's step shares.

A method keeps what its stages need between steps. In a run the loop calls, in this order,
`attempt` (all rows), `interpolate` (the rows that passed a time to record), `limited` (of the next
step) and `commit` (the rows whose step was accepted). Rows that are not `ready` after an attempt
are in the middle of their step and go on with it in the next. Nothing here waits for a device.
NumPy works in place.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import device, is_numpy_namespace

from gpu._arrays import Array, namespace
from gpu.integrate.tableau import DORMAND_PRINCE, ExplicitTableau


def constants(reference: Array, values: Any) -> Array:
    """Constants as an array of the reference's library, dtype and device."""
    xp = namespace(reference)
    return xp.asarray(values, dtype=reference.dtype, device=device(reference))


def keep_accepted(accepted: Array, new: Array, old: Array) -> Array:
    """`new` where the row's step was accepted, `old` elsewhere; may overwrite `new`."""
    xp = namespace(new)
    if not is_numpy_namespace(xp):
        return xp.where(accepted, new, old)
    if not accepted.all():
        xp.copyto(new, old, where=~accepted)
    return new


class WholeStep:
    """A method whose attempt always ends a step, of whatever length."""

    ready: Array = None
    first_evaluations = 0

    def limited(self, dt: Array, rtol: float) -> Array:
        """The next step as the controller wants it."""
        return dt


class ExplicitStep(WholeStep):
    """Steps of an explicit pair; 6 evaluations each for Dormand and Prince's.

    The state and the stages h k_i are stacked, so that one product of a row of constants with the
    stack makes the argument of the next stage.
    """

    evaluations = 6

    def __init__(
        self, problem: Any, state: Array, velocity: Array, tableau: ExplicitTableau = DORMAND_PRINCE
    ) -> None:
        xp = namespace(state)
        self.xp, self.problem = xp, problem
        self.order = tableau.error_order + 1
        shape = (len(tableau.stages) + 2, *state.shape)
        self._stack = xp.empty(shape, dtype=state.dtype, device=device(state))
        self._start = xp.asarray(velocity, copy=True)
        self._end = velocity
        self._rows = [constants(state, [[1.0, *map(float, row)]]) for row in tableau.stages]
        self._error = constants(state, [[0.0, *map(float, tableau.error)]])
        self._dense = constants(state, [list(map(float, row)) for row in tableau.dense])
        self._spare: list[Array] = []

    def _sum(self, weights: Array, out: Array = None) -> Array:
        """The first entries of the stack, weighted; into `out` with NumPy."""
        xp, (_, size, rows) = self.xp, self._stack.shape
        n = weights.shape[1]
        stages = xp.reshape(self._stack[:n, ...], (n, size * rows))
        if out is None:
            return xp.reshape(xp.matmul(weights, stages), (size, rows))
        xp.matmul(weights, stages, out=out.reshape(1, -1))
        return out

    def attempt(self, y: Array, dt: Array) -> tuple[Array, Array]:
        """The state a step later and its error, both (size, rows)."""
        in_place = is_numpy_namespace(self.xp)
        if in_place and not self._spare:
            self._spare = [self.xp.empty(y.shape, dtype=y.dtype) for _ in range(2)]
        spare, error = self._spare if in_place else (None, None)
        self._stack[0, ...] = y
        self._add(0, self._start, dt)
        made = y
        for i, weights in enumerate(self._rows):
            made = self._sum(weights, spare)
            self._end = self.problem.velocity(made)
            self._add(i + 1, self._end, dt)
        return made, self._sum(self._error, error)

    def _add(self, stage: int, velocity: Array, dt: Array) -> None:
        if is_numpy_namespace(self.xp):
            self.xp.multiply(velocity, dt, out=self._stack[stage + 1])
        else:
            self._stack[stage + 1, ...] = velocity * dt

    def interpolate(self, rows: Array, share: Array, y: Array, y_new: Array, dt: Array) -> Array:
        """States (size, n) at the shares θ (n,) of the step of the rows (n,)."""
        xp, powers = self.xp, [share]
        for _ in range(self._dense.shape[1] - 1):
            powers.append(powers[-1] * share)
        weights = self._dense @ xp.stack(powers)
        stages = xp.take(self._stack[1:, ...], rows, axis=2)
        return xp.take(y, rows, axis=1) + xp.sum(weights[:, None, :] * stages, axis=0)

    def commit(self, accepted: Array, y: Array, y_new: Array) -> Array:
        """Go on from the end of the step in the rows that accept it; overwrites both states."""
        made = keep_accepted(accepted, y_new, y)
        if is_numpy_namespace(self.xp):
            self._spare[0] = y
            self.xp.copyto(self._start, self._end, where=accepted)
        else:
            self._start = self.xp.where(accepted, self._end, self._start)
        return made

    def take(self, rows: Array) -> None:
        """Go on with some rows alone."""
        xp = self.xp
        self.problem = self.problem.take(rows)
        shape = (*self._stack.shape[:2], rows.shape[0])
        self._stack = xp.empty(shape, dtype=self._stack.dtype, device=device(self._stack))
        self._start = xp.take(self._start, rows, axis=1)
        self._spare = []

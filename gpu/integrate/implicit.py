"""One step of the linearly implicit method for all rows at once: J and one LU for eight solutions.

Its steps are as long as the solution is smooth, however stiff the row: it walks plateaus.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import device, is_numpy_namespace

from gpu._arrays import Array, namespace
from gpu.integrate import lu
from gpu.integrate.step import WholeStep, constants, keep_accepted
from gpu.integrate.tableau import RODAS5P, RosenbrockTableau


class ImplicitStep(WholeStep):
    """Steps of a Rosenbrock method, with the interface of `ExplicitStep`."""

    evaluations = 8

    def __init__(
        self, problem: Any, state: Array, velocity: Array, tableau: RosenbrockTableau = RODAS5P
    ) -> None:
        xp = namespace(state)
        self.xp, self.problem, self.tableau = xp, problem, tableau
        self.order = tableau.error_order + 1
        shape = (len(tableau.a) + 1, *state.shape)
        self._u = xp.empty(shape, dtype=state.dtype, device=device(state))
        self._f = velocity + 0.0
        self._a = [constants(state, [row]) for row in tableau.a]
        self._c = [constants(state, [row]) for row in tableau.c]
        self._dense = [constants(state, row) for row in tableau.dense]

    def _combine(self, weights: Array) -> Array:
        """Σ w_i U_i."""
        xp, (_, size, rows) = self.xp, self._u.shape
        n = weights.shape[1]
        stages = xp.reshape(self._u[:n, ...], (n, size * rows))
        return xp.reshape(xp.matmul(weights, stages), (size, rows))

    def _factors(self, y: Array, dt: Array) -> Array:
        """LU of 1/(γh) − J."""
        W = -self.problem.jacobian(y)
        diagonal = 1.0 / (self.tableau.gamma * dt)
        for i in range(W.shape[0]):
            W[i, i, :] = W[i, i, :] + diagonal
        return lu.factor(self.xp, W)

    def attempt(self, y: Array, dt: Array) -> tuple[Array, Array]:
        """The state a step later and its error, both (size, rows)."""
        xp, factors = self.xp, self._factors(y, dt)
        self._u[0, ...] = lu.solve(xp, factors, self._f + 0.0)
        stages = zip(self._a, self._c, strict=True)
        made = y
        for i, (a, c) in enumerate(stages):
            made = y + self._combine(a)
            right = self._combine(c) / dt + self.problem.velocity(made)
            self._u[i + 1, ...] = lu.solve(xp, factors, right)
        return made + self._u[-1, ...], self._u[-1, ...] + 0.0

    def interpolate(self, rows: Array, share: Array, y: Array, y_new: Array, dt: Array) -> Array:
        """States (size, n) at the shares θ (n,) of the step of the rows (n,)."""
        xp = self.xp
        stages = xp.take(self._u, rows, axis=2)
        low, middle, high = (row[:, None] for row in self._dense)
        weights = low + share * (middle + share * high)
        inner = xp.sum(weights[:, None, :] * stages, axis=0)
        start, stop = xp.take(y, rows, axis=1), xp.take(y_new, rows, axis=1)
        return (1.0 - share) * start + share * (stop + (1.0 - share) * inner)

    def commit(self, accepted: Array, y: Array, y_new: Array) -> Array:
        """Go on from the end of the step in the rows that accept it; overwrites both states."""
        made = keep_accepted(accepted, y_new, y)
        velocity = self.problem.velocity(made)
        if is_numpy_namespace(self.xp):
            self.xp.copyto(self._f, velocity)
        else:
            self._f = velocity + 0.0
        return made

    def take(self, rows: Array) -> None:
        """Go on with some rows alone."""
        self.problem = self.problem.take(rows)
        self._u = self.xp.take(self._u, rows, axis=2)
        self._f = self.xp.take(self._f, rows, axis=1)

"""What is integrated: dy/dt = f(y) for a batch of rows, states (size, rows)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gpu._arrays import Array, namespace


class Problem(Protocol):
    """A batch of autonomous systems, rows last.

    A problem may also have `jacobian(state)`, ∂f_i/∂y_j as (size, size, rows), which the linearly
    implicit method needs, and `norm(scaled)`, from the error over its tolerance (size, rows) to
    (rows,): by default the root mean square.
    """

    def velocity(self, state: Array) -> Array:
        """f (size, rows): fresh, or a buffer of the problem's that its next call overwrites."""

    def take(self, rows: Array) -> Problem:
        """The problem of some rows, given by an index array."""


@dataclass(frozen=True, eq=False)
class FunctionProblem:
    """A problem from plain functions and the parameters of each row.

    Parameters
    ----------
    function : callable
        f(state, *parameters).
    parameters : sequence of arrays
        Each with the rows as its last axis.
    derivative : callable, optional
        ∂f/∂y (size, size, rows), of the same arguments.

    Examples
    --------
    >>> import numpy as np
    >>> decay = FunctionProblem(lambda y, rate: -rate * y, [np.array([1.0, 2.0])])
    >>> decay.velocity(np.ones((1, 2))).tolist()
    [[-1.0, -2.0]]
    """

    function: Callable[..., Array]
    parameters: Sequence[Array] = ()
    derivative: Callable[..., Array] | None = None

    def velocity(self, state: Array) -> Array:
        """f(state), (size, rows)."""
        return self.function(state, *self.parameters)

    @property
    def jacobian(self) -> Callable[[Array], Array] | None:
        """∂f/∂y as a function of the state, if it was given."""
        if self.derivative is None:
            return None
        derivative = self.derivative
        return lambda state: derivative(state, *self.parameters)

    def take(self, rows: Array) -> FunctionProblem:
        """The problem of some rows."""
        some = [namespace(p).take(p, rows, axis=p.ndim - 1) for p in self.parameters]
        return FunctionProblem(self.function, some, self.derivative)


def jacobian_of(problem: Any) -> Callable[[Array], Array] | None:
    """The problem's Jacobian, or None."""
    return getattr(problem, "jacobian", None)

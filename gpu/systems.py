"""Gradient systems over many runs: models and moments, bound into loss, velocity and Jacobian.

The velocity is −½ ∂L/∂θ of each row, the Jacobian (∂B/∂θ)ᵀG − Bᵀ E[zzᵀ] B with B = ∂M/∂θ; `jvp`
is its product with one direction of each row, at the cost of two or three velocities.
`System` is what a caller sees, rows first; its `problem` is the same rows last, as the integrators
of `gpu.integrate` read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gpu import _arrays
from gpu._arrays import Array, namespace, product, rows_first, rows_last
from gpu.merged import MergedKernel
from gpu.moments import BatchedMoments
from gpu.separate import SeparateKernel
from numerics import MergedAttention, SeparateAttention

Attention = MergedAttention | SeparateAttention


class Problem(Protocol):
    """A batch of gradient systems, states (size, rows)."""

    @property
    def size(self) -> int:
        """Number of weights of one run."""

    @property
    def moments(self) -> Any:
        """The data, with `rows` and `reference`."""

    def loss(self, state: Array) -> Array:
        """L (rows,); no factor ½."""

    def velocity(self, state: Array) -> Array:
        """−½ ∂L/∂θ (size, rows), a fresh array."""

    def jvp(self, state: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction of each row, (size, rows)."""

    def invariants(self, state: Array) -> Array:
        """Conserved quantities (n, rows)."""

    def take(self, rows: Array) -> Problem:
        """The problem of some rows, given by an index array."""


class AttentionProblem:
    """Linear attention with every row's moments, rows last."""

    def __init__(self, model: Attention, moments: BatchedMoments) -> None:
        self.model, self.moments, self.size = model, moments, model.size
        self._kernel = _kernel(model)

    def loss(self, state: Array) -> Array:
        """L (rows,)."""
        return self.moments.loss_last(self._kernel.matrix(state))

    def velocity(self, state: Array) -> Array:
        """−½ ∂L/∂θ (size, rows)."""
        return self._kernel.velocity(state, self.moments.residual_last)

    def jvp(self, state: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction of each row, (size, rows)."""
        moments = self.moments
        return self._kernel.jvp(state, direction, moments.residual_last, moments.quadratic_last)

    def jacobian(self, state: Array) -> Array:
        """Derivative of the velocity, (size, size, rows)."""
        xp, B = namespace(state), self._kernel.tangent(state)
        G = self.moments.residual_last(self._kernel.matrix(state))
        flat = (B.shape[0] ** 2, *B.shape[2:])
        weighted = xp.reshape(self.moments.apply_last(B), flat)
        square = product(xp.permute_dims(xp.reshape(B, flat), (1, 0, 2)), weighted)
        return self._kernel.curvature(state, G) - square

    def invariants(self, state: Array) -> Array:
        """The model's conserved quantities, (n, rows)."""
        return self._kernel.invariants(state)

    def rotate(self, state: Array, left: Array, right: Array) -> Array:
        """States in other bases (rows, D, D), as `model.rotate`."""
        return self._kernel.rotate(state, rows_last(left), rows_last(right))

    def take(self, rows: Array) -> AttentionProblem:
        """The problem of some rows."""
        return AttentionProblem(self.model, self.moments.take(rows))


def _kernel(model: Attention) -> MergedKernel | SeparateKernel:
    return MergedKernel(model) if isinstance(model, MergedAttention) else SeparateKernel(model)


class System:
    """A batch of gradient systems as a caller sees it: states (rows, size)."""

    def __init__(self, model: Any, problem: Any) -> None:
        self.model, self.problem, self.size = model, problem, model.size

    def checked(self, name: str, theta: Any) -> Array:
        """States (rows, size), refused if they are not of the model's size or the data's kind."""
        moments = self.problem.moments
        _arrays.states(name, theta, self.size)
        _arrays.same_kind(name, theta, "the moments", moments.reference)
        _arrays.same_rows(name, theta.shape[0], "the moments", moments.rows)
        return theta

    def _through(self, function: Callable[[Array], Array], theta: Array) -> Array:
        return rows_first(function(rows_last(self.checked("theta", theta))))

    def loss(self, theta: Array) -> Array:
        """L (rows,) at states (rows, size); no factor ½."""
        return self._through(self.problem.loss, theta)

    def velocity(self, theta: Array) -> Array:
        """−½ ∂L/∂θ (rows, size)."""
        return self._through(self.problem.velocity, theta)

    def jvp(self, theta: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction of each row, (rows, size).

        Costs two or three velocities: the Jacobian is never formed.

        Raises
        ------
        ValueError, TypeError
            If the direction is not of θ's shape, library, dtype and device.
        """
        theta = self.checked("theta", theta)
        _arrays.states("direction", direction, self.size)
        _arrays.same_kind("direction", direction, "theta", theta)
        if direction.shape[0] != theta.shape[0]:
            raise ValueError(
                f"direction has {direction.shape[0]} rows, which is not the {theta.shape[0]} "
                "of theta"
            )
        return rows_first(self.problem.jvp(rows_last(theta), rows_last(direction)))

    def invariants(self, theta: Array) -> Array:
        """Conserved quantities (rows, n)."""
        return self._through(self.problem.invariants, theta)


class JacobianSystem(System):
    """A batch of gradient systems that know the derivative of their velocity."""

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the velocity, −½ Hessian of L, (rows, size, size)."""
        return self._through(self.problem.jacobian, theta)


class AttentionSystem(JacobianSystem):
    """`numerics.AttentionSystem` over rows of weights, each with its moments.

    Parameters
    ----------
    model : MergedAttention or SeparateAttention
        Of `numerics`; the sizes that all rows share.
    moments : FactoredMoments, DiagonalMoments or DenseMoments
        From `stack_moments`, one row for each run or one for all.

    Raises
    ------
    ValueError, TypeError
        If the model's D is not the moments', or one of them is of another kind; at a call, if
        states are not of the moments' library, dtype, device and number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from gpu import stack_moments
    >>> from numerics import LinearTask
    >>> moments = stack_moments([LinearTask(np.eye(2), 10), LinearTask(2 * np.eye(2), 10)])
    >>> system = AttentionSystem(SeparateAttention(dimension=2, heads=1), moments)
    >>> system.loss(np.zeros((2, 5))).tolist()
    [2.0, 4.0]
    """

    def __init__(self, model: Attention, moments: BatchedMoments) -> None:
        if not isinstance(model, MergedAttention | SeparateAttention):
            raise TypeError(
                "model must be a MergedAttention or SeparateAttention of numerics, "
                f"got {type(model).__name__}"
            )
        if not isinstance(moments, BatchedMoments):
            raise TypeError(f"moments must come from stack_moments, got {type(moments).__name__}")
        if model.dimension != moments.dimension:
            raise ValueError(
                f"model has dimension {model.dimension}, but the moments have {moments.dimension}"
            )
        super().__init__(model, AttentionProblem(model, moments))


def loss(model: Attention, moments: BatchedMoments, theta: Array) -> Array:
    """L = E(ŷ − y_q)² of each row, (rows,) at states (rows, size); no factor ½.

    Raises
    ------
    ValueError, TypeError
        As `AttentionSystem` does, and if θ is not finite.
    """
    system = AttentionSystem(model, moments)
    return system.loss(_arrays.finite("theta", system.checked("theta", theta)))


def gradient(model: Attention, moments: BatchedMoments, theta: Array) -> Array:
    """∂L/∂θ of each row, (rows, size), written by hand; the flow is τ dθ/dt = −½ of it.

    Raises
    ------
    ValueError, TypeError
        As `loss` does.
    """
    system = AttentionSystem(model, moments)
    return -2.0 * system.velocity(_arrays.finite("theta", system.checked("theta", theta)))


__all__ = ["AttentionProblem", "AttentionSystem", "Problem", "System", "gradient", "loss"]

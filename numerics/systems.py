"""Gradient systems: a model and its data, bound into loss, velocity and Jacobian.

The velocity is −½ ∂L/∂θ, the right-hand side of [L] Eq. 5 at τ = 1. For a model θ ↦ M with
tangent B = ∂M/∂θ and residual G = −½ ∂L/∂M,

    velocity = BᵀG,     Jacobian = (∂B/∂θ)ᵀG − Bᵀ E[zzᵀ] B = −½ Hessian of L.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import finite, guarded
from numerics.merged import MergedAttention
from numerics.moments import AnyMoments, DiagonalMoments, quadratic_loss
from numerics.sampling import Sequences
from numerics.separate import SeparateAttention

Array = NDArray[Any]
Attention = MergedAttention | SeparateAttention


class Trainable(Protocol):
    """What an optimiser needs."""

    @property
    def size(self) -> int:
        """Number of weights."""

    def loss(self, theta: Array) -> Array:
        """L at states (..., size); no factor ½."""

    def velocity(self, theta: Array) -> Array:
        """−½ ∂L/∂θ, a fresh array."""

    def invariants(self, theta: Array) -> Array:
        """Quantities that the flow conserves, for states (..., size)."""


class GradientSystem(Trainable, Protocol):
    """What an implicit solver or a stability analysis needs."""

    def jvp(self, theta: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction."""

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the velocity, (size, size), symmetric."""


class AttentionSystem:
    """A linear attention model bound to moments. One thread at a time may use it.

    Raises
    ------
    ValueError
        If the model's D is not the moments'.

    Examples
    --------
    >>> from numerics.tasks import LinearTask
    >>> from numerics.moments import population_moments
    >>> model = SeparateAttention(dimension=2, heads=1)
    >>> system = AttentionSystem(model, population_moments(LinearTask(np.eye(2), 10)))
    >>> float(system.loss(np.zeros(model.size)))
    2.0
    """

    @guarded
    def __init__(self, model: Attention, moments: AnyMoments) -> None:
        D = len(moments.correlation)
        if model.dimension != D:
            raise ValueError(f"model has dimension {model.dimension}, but the moments have {D}")
        self.model, self.moments = model, moments
        self.size = model.size
        self._workspace = model.workspace(moments.correlation.dtype)

    def loss(self, theta: Array) -> Array:
        """L at states (..., size); no factor ½."""
        return quadratic_loss(self.moments, self.model.matrix(theta))

    def velocity(self, theta: Array) -> Array:
        """−½ ∂L/∂θ ([L] Eq. 5), a fresh array; the intermediate products reuse one workspace."""
        workspace = self._workspace
        if theta.dtype != workspace[0].dtype:
            workspace = self.model.workspace(np.result_type(theta, self.moments.correlation))
        return self.model.velocity(theta, self.moments.residual, workspace)

    def jvp(self, theta: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction, at the cost of about two velocities."""
        G = self.moments.residual(self.model.matrix(theta))
        dG = -self.moments.quadratic(self.model.pushforward(theta, direction))
        along = self.model.pullback_derivative(theta, direction, G)
        return along + self.model.pullback(theta, dG)

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the velocity, −½ Hessian of L."""
        B = self.model.tangent(theta)
        G = self.moments.residual(self.model.matrix(theta))
        return self.model.curvature(theta, G) - B.T @ _apply_to_columns(self.moments, B)

    def invariants(self, theta: Array) -> Array:
        """The model's conserved quantities."""
        return self.model.invariants(theta)


def _apply_to_columns(moments: AnyMoments, B: Array) -> Array:
    """E[zzᵀ] applied to each column of B (D², n), matrices flattened by rows."""
    if isinstance(moments, DiagonalMoments):
        return moments.weights.reshape(-1, 1) * B
    D = len(moments.correlation)
    columns = np.moveaxis(B.reshape(D, D, -1), -1, 0)
    return np.asarray(np.moveaxis(moments.quadratic(columns), 0, -1).reshape(B.shape))


@guarded
def predict(model: Attention, sequences: Sequences, theta: ArrayLike) -> Array:
    """ŷ = βᵀ M x_q of each sequence, (P,) for a state (size,) or (T, P) for states (T, size).

    Raises
    ------
    ValueError, TypeError
        If the sizes do not agree, or θ does not hold finite real numbers.

    Examples
    --------
    >>> from numerics import LinearTask, sample_sequences
    >>> sequences = sample_sequences(LinearTask(np.eye(2), 5), 3, rng=0)
    >>> predict(SeparateAttention(dimension=2, heads=1), sequences, np.zeros(5)).tolist()
    [0.0, 0.0, 0.0]
    """
    D = sequences.query.shape[1]
    if model.dimension != D:
        raise ValueError(f"model has dimension {model.dimension}, but the sequences have {D}")
    M = model.matrix(_check.state("theta", theta, model.size, (1, 2)))
    return np.asarray(np.sum((sequences.beta @ M) * sequences.query, axis=-1))


@guarded
def loss(model: Attention, moments: AnyMoments, theta: ArrayLike) -> Array:
    """L(θ) = E(ŷ − y_q)² at states (size,) or (T, size); no factor ½.

    Raises
    ------
    ValueError, TypeError
        If the sizes do not agree, or θ does not hold finite real numbers.
    """
    system = AttentionSystem(model, moments)
    return system.loss(_check.state("theta", theta, system.size, (1, 2)))


@guarded
def gradient(model: Attention, moments: AnyMoments, theta: ArrayLike) -> Array:
    """∂L/∂θ at a state (size,), written by hand; the flow of [L] Eq. 5 is τ dθ/dt = −½ of it.

    Raises
    ------
    ValueError, TypeError
        As `loss` does.
    """
    system = AttentionSystem(model, moments)
    return finite(-2 * system.velocity(_check.state("theta", theta, system.size)))


__all__ = [
    "Attention",
    "AttentionSystem",
    "GradientSystem",
    "Trainable",
    "gradient",
    "loss",
    "predict",
]

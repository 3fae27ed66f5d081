"""The linearised flow with a preconditioner: what matrix-free implicit steps need.

ATTN_S has both at rank one, where plateaus are longest, in the bases of `DiagonalMoments`. Other
systems have their `jvp`, and nothing to help the conjugate gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.integrate.jacobian import HeadsJacobian
from numerics.integrate.preconditioner import HeadsPreconditioner, Turn
from numerics.moments import DiagonalMoments
from numerics.separate import SeparateAttention
from numerics.systems import AttentionSystem, GradientSystem

Array = NDArray[Any]

# A head is stiff where c·J exceeds this: below, conjugate gradients need no help.
_STIFF = 0.3


class Linearised:
    """J at a point of any gradient system, with no preconditioner."""

    def __init__(self, system: GradientSystem) -> None:
        self.system = system

    def move(self, theta: Array) -> None:
        """Linearise at θ."""
        self.theta = theta

    def prepare(self, c: float) -> None:
        """Get ready to precondition I − cJ."""

    def apply(self, direction: Array) -> Array:
        """J direction."""
        return self.system.jvp(self.theta, direction)

    def precondition(self, residual: Array) -> Array:
        """Approximate (I − cJ)⁻¹ residual."""
        return residual


class LinearisedHeads(HeadsJacobian):
    """J of ATTN_S at rank one, with its preconditioner."""

    def __init__(self, system: Any) -> None:
        super().__init__(system)
        self.turn: Turn | None = None

    def prepare(self, c: float) -> None:
        """Get ready to precondition I − cJ."""
        rates = (self.U * self.U) @ self.W.T
        stiff = np.flatnonzero(c * rates.max(axis=1) > _STIFF)
        if self.turn is None or not self.turn.serves(stiff):
            self.turn = Turn(self, stiff)
        self.precondition = HeadsPreconditioner(self, c, self.turn)


def preconditioned(system: GradientSystem) -> bool:
    """Whether `linearised` has a preconditioner for the system."""
    return (
        isinstance(system, AttentionSystem)
        and isinstance(system.model, SeparateAttention)
        and system.model.rank == 1
        and isinstance(system.moments, DiagonalMoments)
        and _is_product(system.moments.weights)
    )


def _is_product(W: Array) -> bool:
    """Whether W = s λᵀ, as in a population."""
    i, j = np.unravel_index(W.argmax(), W.shape)
    return bool(np.allclose(W[i, j] * W, np.outer(W[:, j], W[i]), rtol=1e-8, atol=0.0))


def linearised(system: GradientSystem) -> Linearised | LinearisedHeads:
    """The linearisation that knows most of the system."""
    return LinearisedHeads(system) if preconditioned(system) else Linearised(system)

"""The linearised flow of ATTN_S with a preconditioner: what matrix-free implicit steps need.

J = −½ Hessian is applied from products made once: G, QGᵀ and KG, in the bases of `DiagonalMoments`,
where E[zzᵀ] is the elementwise product with W. Other systems have their `jvp`, and nothing to help
the conjugate gradients: these are `preconditioned` at rank one alone, where plateaus are longest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.moments import DiagonalMoments
from numerics.preconditioner import HeadsPreconditioner, Turn
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


class LinearisedHeads:
    """J of ATTN_S at rank one and in the eigenbases of its moments."""

    def __init__(self, system: Any) -> None:
        self.moments = system.moments
        self.W = system.moments.weights
        self.H, self.D = system.model.heads, system.model.dimension
        self.turn: Turn | None = None

    def split(self, theta: Array) -> tuple[Array, Array, Array]:
        """V (H,), K and Q (H, D) as views of a state."""
        shape = self.H, self.D
        k, q = theta[self.H :].reshape(2, *shape)
        return theta[: self.H], k, q

    def move(self, theta: Array) -> None:
        """Linearise at θ."""
        v, self.K, self.Q = self.split(theta)
        self.v = v[:, None]
        self.U, self.V = self.v * self.Q, self.v * self.K
        self.G = self.moments.residual(self.V.T @ self.Q)
        self.GQ, self.KG = self.Q @ self.G.T, self.K @ self.G

    def apply(self, direction: Array) -> Array:
        """J direction."""
        dv, dK, dQ = self.split(direction)
        change = dv[:, None] * self.K
        change += self.v * dK
        dG = change.T @ self.Q
        dG += self.V.T @ dQ
        dG *= self.W
        out = np.empty_like(direction)
        value, key, query = self.split(out)
        np.dot(dQ, self.G.T, out=key)
        key -= self.Q @ dG.T
        work = self.K * key
        work += dK * self.GQ
        np.sum(work, axis=1, out=value)
        key *= self.v
        key += np.multiply(dv[:, None], self.GQ, out=work)
        np.dot(change, self.G, out=query)
        query -= np.dot(self.V, dG, out=work)
        return out

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

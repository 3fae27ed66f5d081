"""The Jacobian of the flow of ATTN_S at rank one, J = −½ Hessian, from products made once.

In the bases of `DiagonalMoments` E[zzᵀ] is the elementwise product with W, and with G, QGᵀ and KG
made at a point each product J·direction costs a few products of H × D with D × D matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class HeadsJacobian:
    """J of ATTN_S at rank one and in the eigenbases of its moments."""

    def __init__(self, system: Any) -> None:
        self.moments = system.moments
        self.W = system.moments.weights
        self.H, self.D = system.model.heads, system.model.dimension

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

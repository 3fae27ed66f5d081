"""ATTN_M over many runs: `numerics.MergedAttention`'s map θ ↦ M and its derivatives, rows last.

A state is (H + H·D², rows): all v_h, then all U_h by rows; M = Σ_h v_h U_h.
"""

from __future__ import annotations

from collections.abc import Callable

from gpu._arrays import Array, device, namespace, product, transposed, unit
from numerics import MergedAttention

Linear = Callable[[Array], Array]


class MergedKernel:
    """What `gpu.AttentionSystem` needs of ATTN_M.

    >>> import numpy as np
    >>> MergedKernel(MergedAttention(dimension=2, heads=3)).matrix(np.ones((15, 4))).shape
    (2, 2, 4)
    """

    def __init__(self, model: MergedAttention) -> None:
        self.model, self.size = model, model.size

    def blocks(self, state: Array) -> tuple[Array, Array]:
        """V (H, rows) and U (H, D², rows), views."""
        H, D, rows = self.model.heads, self.model.dimension, state.shape[1]
        return state[:H, :], namespace(state).reshape(state[H:, :], (H, D * D, rows))

    def matrix(self, state: Array) -> Array:
        """M (D, D, rows)."""
        return self._sum(*self.blocks(state))

    def _sum(self, v: Array, U: Array) -> Array:
        """Σ_h v_h U_h, (D, D, rows)."""
        D = self.model.dimension
        return namespace(v).reshape(product(v[None, :, :], U), (D, D, v.shape[1]))

    def velocity(self, state: Array, residual: Linear) -> Array:
        """`τ v̇_h = ⟨U_h, G⟩`, `τ U̇_h = v_h G` ([L] Eq. 6–8)."""
        v, U = self.blocks(state)
        G = self._flat(residual(self.matrix(state)))
        return self._joined(U * G, v[:, None, :] * G)

    def jvp(self, state: Array, direction: Array, residual: Linear, quadratic: Linear) -> Array:
        """Derivative of the velocity along a direction, for M ↦ G and M ↦ E[zzᵀ]·M."""
        (v, U), (dv, dU) = self.blocks(state), self.blocks(direction)
        change = self._sum(dv, U) + self._sum(v, dU)
        G, dG = self._flat(residual(self._sum(v, U))), -self._flat(quadratic(change))
        by_matrix = dv[:, None, :] * G + v[:, None, :] * dG
        return self._joined(dU * G + U * dG, by_matrix)

    def _flat(self, G: Array) -> Array:
        """G (D, D, rows) beside the matrices of the heads, (1, D², rows)."""
        return namespace(G).reshape(G, (1, -1, G.shape[2]))

    def _joined(self, by_value: Array, by_matrix: Array) -> Array:
        """A state from terms (H, D², rows) that add up to each v_h, and those of each U_h."""
        xp, rows = namespace(by_value), by_value.shape[2]
        return xp.concat([xp.sum(by_value, axis=1), xp.reshape(by_matrix, (-1, rows))])

    def tangent(self, state: Array) -> Array:
        """∂M/∂θ (D, D, size, rows)."""
        xp, (v, U) = namespace(state), self.blocks(state)
        D, H, rows = self.model.dimension, self.model.heads, state.shape[1]
        entry = unit(state, D * D)
        by_value = xp.reshape(xp.permute_dims(U, (1, 0, 2)), (D, D, H, rows))
        by_matrix = entry[:, None, :, None] * v[None, :, None, :]
        by_matrix = xp.reshape(by_matrix, (D, D, H * D * D, rows))
        return xp.concat([by_value, by_matrix], axis=2)

    def curvature(self, state: Array, G: Array) -> Array:
        """Σ_ij G_ij ∂²M_ij/∂θ², (size, size, rows)."""
        xp, rows = namespace(state), state.shape[1]
        D, H = self.model.dimension, self.model.heads
        n = H * D * D
        flat = xp.reshape(G, (D * D, rows))
        block = xp.reshape(unit(state, H)[:, :, None, None] * flat[None, None, :, :], (H, n, rows))
        corner = xp.zeros_like(block[:, :H, :])
        rest = xp.zeros((n, n, rows), dtype=G.dtype, device=device(G))
        upper = xp.concat([corner, block], axis=1)
        return xp.concat([upper, xp.concat([transposed(block), rest], axis=1)])

    def rotate(self, state: Array, left: Array, right: Array) -> Array:
        """State whose M is leftᵀ M right, for bases (D, D, rows)."""
        xp, (v, U) = namespace(state), self.blocks(state)
        D, H, rows = self.model.dimension, self.model.heads, state.shape[1]
        # Σ_ab left[a,i] U_h[a,b] right[b,j]: first over b with (h, a), then over a with (h, j).
        turned = xp.reshape(product(xp.reshape(U, (H * D, D, rows)), right), (H, D, D, rows))
        turned = xp.reshape(xp.permute_dims(turned, (1, 0, 2, 3)), (D, H * D, rows))
        turned = xp.reshape(product(transposed(left), turned), (D, H, D, rows))
        turned = xp.reshape(xp.permute_dims(turned, (1, 0, 2, 3)), (H * D * D, rows))
        return xp.concat([v, turned])

    def invariants(self, state: Array) -> Array:
        """v_h v_h' − ⟨U_h, U_h'⟩ for all pairs of heads, (H², rows)."""
        v, U = self.blocks(state)
        gram = v[:, None, :] * v[None, :, :] - product(U, transposed(U))
        return namespace(state).reshape(gram, (self.model.heads**2, state.shape[1]))


__all__ = ["MergedKernel"]

"""ATTN_S over many runs: `numerics.SeparateAttention`'s map θ ↦ M and its derivatives, rows last.

A state is (H + 2HRD, rows): all v_h, then all k_hr, then all q_hr; M = Σ_h v_h Σ_r k_hr q_hrᵀ.
P = HR counts the pairs of all heads.
"""

from __future__ import annotations

from collections.abc import Callable

from gpu._arrays import Array, namespace, product, transposed, unit
from numerics import SeparateAttention

Linear = Callable[[Array], Array]


class SeparateKernel:
    """What `gpu.AttentionSystem` needs of ATTN_S, of any rank.

    >>> import numpy as np
    >>> model = SeparateAttention(dimension=2, heads=3, rank=2)
    >>> SeparateKernel(model).matrix(np.ones((model.size, 4))).shape
    (2, 2, 4)
    """

    def __init__(self, model: SeparateAttention) -> None:
        self.model, self.size = model, model.size

    def blocks(self, state: Array) -> tuple[Array, Array, Array]:
        """V (H, rows), and keys and queries (P, D, rows) of all heads and ranks, views."""
        xp, H = namespace(state), self.model.heads
        shape = (self.model.pairs, self.model.dimension, state.shape[1])
        end = H + shape[0] * shape[1]
        return state[:H, :], xp.reshape(state[H:end, :], shape), xp.reshape(state[end:, :], shape)

    def _times_value(self, v: Array, pairs: Array) -> Array:
        """v_h times each of the head's pairs (P, …, rows)."""
        if self.model.rank == 1:
            return v[:, None, :] * pairs
        xp, shape = namespace(pairs), pairs.shape
        flat = xp.reshape(pairs, (self.model.heads, -1, shape[2]))
        return xp.reshape(v[:, None, :] * flat, shape)

    def _by_head(self, pairs: Array) -> Array:
        """Sum over each head's pairs and entries, (H, rows) of (P, D, rows)."""
        xp = namespace(pairs)
        return xp.sum(xp.reshape(pairs, (self.model.heads, -1, pairs.shape[2])), axis=1)

    def matrix(self, state: Array) -> Array:
        """M (D, D, rows)."""
        v, K, Q = self.blocks(state)
        return product(transposed(self._times_value(v, K)), Q)

    def velocity(self, state: Array, residual: Linear) -> Array:
        """`τ v̇ = Σ_r kᵀ G q`, `τ k̇ = v G q`, `τ q̇ = v Gᵀ k` ([L] Eq. 14)."""
        v, K, Q = self.blocks(state)
        vK = self._times_value(v, K)
        G = residual(product(transposed(vK), Q))
        GQ = product(Q, transposed(G))
        return self._joined(K * GQ, self._times_value(v, GQ), product(vK, G))

    def jvp(self, state: Array, direction: Array, residual: Linear, quadratic: Linear) -> Array:
        """Derivative of the velocity along a direction, for M ↦ G and M ↦ E[zzᵀ]·M."""
        (v, K, Q), (dv, dK, dQ) = self.blocks(state), self.blocks(direction)
        vK = self._times_value(v, K)
        change = self._times_value(dv, K) + self._times_value(v, dK)
        G = residual(product(transposed(vK), Q))
        dG = -quadratic(product(transposed(change), Q) + product(transposed(vK), dQ))
        GQ = product(Q, transposed(G))
        dGQ = product(dQ, transposed(G)) + product(Q, transposed(dG))
        keys = self._times_value(dv, GQ) + self._times_value(v, dGQ)
        return self._joined(dK * GQ + K * dGQ, keys, product(change, G) + product(vK, dG))

    def _joined(self, by_value: Array, keys: Array, queries: Array) -> Array:
        """A state from terms (P, D, rows) that add up to each v_h, and those of keys, queries."""
        xp, rows = namespace(keys), keys.shape[2]
        flat = (xp.reshape(part, (-1, rows)) for part in (keys, queries))
        return xp.concat([self._by_head(by_value), *flat])

    def _owners(self, state: Array) -> Array:
        """1 where a pair belongs to a head, else 0, (H, P)."""
        xp, (H, R) = namespace(state), (self.model.heads, self.model.rank)
        return xp.reshape(xp.broadcast_to(unit(state, H)[:, :, None], (H, H, R)), (H, H * R))

    def tangent(self, state: Array) -> Array:
        """∂M/∂θ (D, D, size, rows)."""
        xp, (v, K, Q) = namespace(state), self.blocks(state)
        D, H, P, R = self.model.dimension, self.model.heads, self.model.pairs, self.model.rank
        rows, entry = state.shape[1], unit(state, D)
        k, q = (xp.reshape(block, (H, R, D, rows)) for block in (K, Q))
        by_value = xp.sum(k[:, :, :, None, :] * q[:, :, None, :, :], axis=1)
        vK, vQ = self._times_value(v, K), self._times_value(v, Q)
        # ∂M_ij/∂k_pa = δ_ia v q_pj and ∂M_ij/∂q_pb = v k_pi δ_jb.
        by_key = entry[:, None, None, :, None] * transposed(vQ)[None, :, :, None, :]
        by_query = transposed(vK)[:, None, :, None, :] * entry[None, :, None, :, None]
        flat = (D, D, P * D, rows)
        parts = [xp.permute_dims(by_value, (1, 2, 0, 3)), xp.reshape(by_key, flat)]
        return xp.concat([*parts, xp.reshape(by_query, flat)], axis=2)

    def curvature(self, state: Array, G: Array) -> Array:
        """Σ_ij G_ij ∂²M_ij/∂θ², (size, size, rows)."""
        xp, (v, K, Q) = namespace(state), self.blocks(state)
        H, D, P, rows = self.model.heads, self.model.dimension, self.model.pairs, state.shape[1]
        m, owner = P * D, self._owners(state)

        def spread(pairs: Array) -> Array:
            """(H, P·D, rows), zero where a pair is not the head's."""
            return xp.reshape(owner[:, :, None, None] * pairs[None, :, :, :], (H, m, rows))

        vk, vq = spread(product(Q, transposed(G))), spread(product(K, G))
        value = owner.T @ v
        scaled = unit(state, P)[:, :, None] * value[:, None, :]
        kq = scaled[:, None, :, None, :] * G[None, :, None, :, :]
        kq = xp.reshape(kq, (m, m, rows))
        return xp.concat(
            [
                xp.concat([xp.zeros_like(vk[:, :H, :]), vk, vq], axis=1),
                xp.concat([transposed(vk), xp.zeros_like(kq), kq], axis=1),
                xp.concat([transposed(vq), transposed(kq), xp.zeros_like(kq)], axis=1),
            ]
        )

    def rotate(self, state: Array, left: Array, right: Array) -> Array:
        """State whose M is leftᵀ M right, for bases (D, D, rows)."""
        xp, (v, K, Q) = namespace(state), self.blocks(state)
        flat = (self.model.pairs * self.model.dimension, state.shape[1])
        turned = [xp.reshape(product(K, left), flat), xp.reshape(product(Q, right), flat)]
        return xp.concat([v, *turned])

    def invariants(self, state: Array) -> Array:
        """`K_h K_hᵀ − Q_h Q_hᵀ` (R, R) of each head, then `v_h² − Σ_r ‖k_hr‖²`."""
        xp, (v, K, Q) = namespace(state), self.blocks(state)
        H, R, D, rows = self.model.heads, self.model.rank, self.model.dimension, state.shape[1]
        k, q = (xp.reshape(block, (H, R, D, rows)) for block in (K, Q))
        gram_k, gram_q = (xp.sum(w[:, :, None, ...] * w[:, None, ...], axis=3) for w in (k, q))
        balance = v * v - self._by_head(K * K)
        return xp.concat([xp.reshape(gram_k - gram_q, (H * R * R, rows)), balance])


__all__ = ["SeparateKernel"]

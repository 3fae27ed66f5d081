"""A preconditioner of I − cJ for ATTN_S at rank one: exact but for terms of second order.

In the bases of `DiagonalMoments` E[zzᵀ] is elementwise, W = s λᵀ. With u = v q and w = v k of each
head, the entries k_i, q_i of one head at one index have

    J[k_i, k_i] = −Σ_j W_ij u_j²,   J[q_i, q_i] = −Σ_j W_ji w_j²,
    J[k_i, q_i] = v G_ii − W_ii u_i w_i,

and these blocks are inverted for every head and index. Stiff are the heads that have learned. Heads
of neighbouring modes share them in nearly orthogonal mixtures, so their rows are first turned: the
orthogonal T that makes TU, and with it TV, nearly diagonal (u_a, w_a) is a polar factor. Then

    δM_ab = u_b δk^b_a + w_a δq^a_b + Σ_h δv_h k^h_a q^h_b,

so that learned keys and queries meet in pairs (k^b_a, q^a_b), coupled by W_ab u_b w_a, and all the
pairs couple to the values. The pairs are eliminated. What remains for the values is

    1 + c Σ_ab F_ab (k^h_a q^h_b)(k^h'_a q^h'_b),   F_ab = W_ab / (1 + c W_ab (u_b² + w_a²)):

turns of the rows undo what the values do to an off-diagonal entry of M. F is smooth, a sum of a few
products by adaptive cross approximation, so that the whole costs products of D × D matrices. Heads
not yet learned have a block (v, k_a, q_a), a their largest entry.

**Measured** (cascades of `benchmarks/large.py`). D = 20, most modes learned: eigenvalues of the
preconditioned matrix within 0.89…1.11, where the values' coupling to the pairs would leave 0.2…1.8.
The last two modes of D = 64 take 1,900 products with J, without the elimination 16,000.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.integrate.jacobian import HeadsJacobian

Array = NDArray[Any]

_OLDEST = 20  # uses of one turn
_CLOSE = 1e-6  # of the largest entry of F


class HeadsPreconditioner:
    """(I − cJ)⁻¹, approximately and positive definite, at the point of a `HeadsJacobian`."""

    def __init__(self, at: HeadsJacobian, c: float, turn: Turn) -> None:
        self.at, self.turn = at, turn
        # Rows in turned order: learned heads first; columns their modes first.
        K, Q, GQ, KG = (turn.permuted(x) for x in (at.K, at.Q, at.GQ, at.KG))
        U, V = turn.rows(at.U, turn.signed), turn.rows(at.V, turn.T)
        W = c * at.W[np.ix_(turn.columns, turn.columns)]
        kk, qq = 1 + (U * U) @ W.T, 1 + (V * V) @ W
        bend = c * turn.values(at.v[:, 0])[:, None] * np.diagonal(at.G)[turn.columns]
        kq = np.diagonal(W) * U * V - bend
        det = kk * qq - kq * kq
        self.inverse = qq / det, -kq / det, kk / det

        L = len(turn.T)
        self.learned = None
        if L:
            block = kk[:L, :L], np.diagonal(kq)[:L], qq[:L, :L]
            self.learned = _Learned(W, K[:L], Q[:L], np.diagonal(U)[:L], np.diagonal(V)[:L], block)
        # Blocks (v, k_a, q_a) of the others.
        head = np.arange(L, at.H)
        a = (np.abs(K) + np.abs(Q)).argmax(axis=1)[L:]
        own = head, a
        self.others = head * at.D + a
        K, Q = K[L:], Q[L:]
        key = np.sum(U[L:] * Q * W[a], axis=1) * K[head - L, a] - c * GQ[own]
        query = np.sum(V[L:] * K * W.T[a], axis=1) * Q[head - L, a] - c * KG[own]
        value = 1 + np.sum(K * K * ((Q * Q) @ W.T), axis=1)
        rows = [[value, key, query], [key, kk[own], kq[own]], [query, kq[own], qq[own]]]
        self.triples = np.linalg.inv(np.array(rows).transpose(2, 0, 1))

    def __call__(self, residual: Array) -> Array:
        """Approximate (I − cJ)⁻¹ residual."""
        turn, L = self.turn, len(self.turn.T)
        value, key, query = self.at.split(residual)
        value = value[turn.order]
        key, query = turn.rows(key, turn.signed), turn.rows(query, turn.T)
        kk, kq, qq = self.inverse
        k, q = kk * key, qq * query
        k += kq * query
        q += kq * key
        if self.learned is not None:
            block = slice(L), slice(L)
            self.learned.solve(value[:L], key[block], query[block], k[block], q[block])
        at = self.others
        x = np.stack([value[L:], key.ravel()[at], query.ravel()[at]], axis=1)
        x = np.matmul(self.triples, x[:, :, None])[:, :, 0]
        value[L:], k.reshape(-1)[at], q.reshape(-1)[at] = x.T
        out = np.empty_like(residual)
        to_value, to_key, to_query = self.at.split(out)
        to_value[turn.order] = value
        turn.back(k, turn.signed, to_key)
        turn.back(q, turn.T, to_query)
        return out


class _Learned:
    """Values of learned heads and the pairs (k^b_a, q^a_b), arrays [a, b]; W includes c."""

    def __init__(
        self, W: Array, K: Array, Q: Array, u: Array, w: Array, block: tuple[Array, Array, Array]
    ) -> None:
        L = len(u)
        kk, own, qq = block
        inner = W[:L, :L]
        on_key, on_query = inner * u, inner * w[:, None]
        meet = on_key * w[:, None]
        np.fill_diagonal(meet, own)
        det = kk.T * qq - meet * meet
        kk, kq, qq = self.pair = qq / det, -meet / det, kk.T / det
        self.along = on_key * kk + on_query * kq, on_key * kq + on_query * qq
        self.K, self.Q = K[:, :L].copy(), Q[:, :L].copy()
        kept = inner / (1 + inner * (u * u + (w * w)[:, None]))
        # On the diagonal F has G as well.
        rest = on_key * self.along[0] + on_query * self.along[1]
        self.values = self._values(W, K, Q, kept, np.diagonal(inner - rest - kept))

    def _values(self, W: Array, K: Array, Q: Array, kept: Array, own: Array) -> Array:
        """Inverse of what remains for the values: W outside the learned modes, F within."""
        L = len(K)
        i, j = np.unravel_index(W.argmax(), W.shape)
        s, lam = W[:, j] / W[i, j], W[i]
        values = _gram(K, Q, s, lam)
        values -= _gram(self.K, self.Q, s[:L], lam[:L])
        for s, lam in _crosses(kept):
            values += _gram(self.K, self.Q, s, lam)
        aligned = self.K * self.Q
        values += (aligned * own) @ aligned.T
        values.flat[:: L + 1] += 1
        return np.linalg.inv(values)

    def solve(self, value: Array, key: Array, query: Array, k: Array, q: Array) -> None:
        """Overwrite `value`, k and q by the solution for (value, key, query)."""
        (on_key, on_query), (kk, kq, qq) = self.along, self.pair
        key = key.T
        met = on_key * key
        met += on_query * query
        value -= np.einsum("ha,ha->h", self.K, np.dot(self.Q, met.T))
        value[:] = self.values @ value
        moved = np.dot((value[:, None] * self.K).T, self.Q)
        x = kk * key
        x += kq * query
        x -= on_key * moved
        k[:] = x.T
        np.multiply(kq, key, out=q)
        q += qq * query
        q -= on_query * moved


def _gram(K: Array, Q: Array, s: Array, lam: Array) -> Array:
    """Σ_ab s_a λ_b (k^h_a q^h_b)(k^h'_a q^h'_b) for all pairs of heads."""
    return np.asarray(((K * s) @ K.T) * ((Q * lam) @ Q.T))


def _crosses(kernel: Array) -> Iterator[tuple[Array, Array]]:
    """Adaptive cross approximation with full pivoting: kernel ≈ Σ s λᵀ."""
    rest, smallest = kernel.copy(), _CLOSE * kernel.max()
    for _ in range(len(kernel)):
        i, j = np.unravel_index(np.abs(rest).argmax(), rest.shape)
        if abs(rest[i, j]) <= smallest:
            return
        s, lam = rest[:, j] / rest[i, j], rest[i].copy()
        yield s, lam
        rest -= np.outer(s, lam)


class Turn:
    """Which heads have learned which modes, and the rotation T of their rows that unmixes them."""

    def __init__(self, at: HeadsJacobian, stiff: Array) -> None:
        from scipy.optimize import linear_sum_assignment

        self.stiff, self.age = stiff, 0
        strength = np.abs(at.V[stiff] * at.Q[stiff])
        row, mode = linear_sum_assignment(strength, maximize=True)
        learned = stiff[row]
        self.order = np.concatenate([learned, np.setdiff1d(np.arange(at.H), learned)])
        self.columns = np.concatenate([mode, np.setdiff1d(np.arange(at.D), mode)])
        self.flat = (self.order[:, None] * at.D + self.columns).ravel()
        self.flat_back = np.argsort(self.flat)
        # (v, k) ↦ (−v, −k) changes nothing: after it keys and queries of a learned head agree.
        sign = np.sign(at.v[learned, 0])
        X = sign[:, None] * at.U[np.ix_(learned, mode)] + at.V[np.ix_(learned, mode)]
        left, _, right = np.linalg.svd(X)
        self.T = (left @ right).T
        self.signed = self.T * sign

    def serves(self, stiff: Array) -> bool:
        """Whether the same heads are still stiff, and T young enough."""
        self.age += 1
        return self.age < _OLDEST and np.array_equal(stiff, self.stiff)

    def permuted(self, x: Array) -> Array:
        """Learned heads first, and their modes."""
        return x.ravel().take(self.flat).reshape(x.shape)

    def rows(self, x: Array, T: Array) -> Array:
        """Permuted and turned."""
        x = self.permuted(x)
        L = len(T)
        if L:
            x[:L] = T @ x[:L]
        return x

    def back(self, x: Array, T: Array, out: Array) -> None:
        """Undo `rows` (its transpose)."""
        L = len(T)
        if L:
            x[:L] = T.T @ x[:L]
        out[:] = x.ravel().take(self.flat_back).reshape(x.shape)

    def values(self, v: Array) -> Array:
        """Diagonal of T|v|Tᵀ for learned heads, v for the others."""
        v = v[self.order]
        L = len(self.T)
        v[:L] = (self.T * self.T) @ np.abs(v[:L])
        return v

"""The linearised flow of ATTN_S with a preconditioner: what matrix-free implicit steps need.

J = −½ Hessian is applied from products made once: G, QGᵀ and KG. Most of I − cJ is small blocks,
in the bases of `DiagonalMoments` (E[zzᵀ] elementwise, W). With u = v q and w = v k of each head and
the entries k_i, q_i of one head at one index,

    J[k_i, k_i] = −Σ_j W_ij u_j²,   J[q_i, q_i] = −Σ_j W_ji w_j²,
    J[k_i, q_i] = v G_ii − W_ii u_i w_i.

Stiff are the heads that have learned. Take one, p, whose keys and queries point along mode a, and
another, r, along b: k^p_b and q^r_a meet in M_ba, J[k^p_b, q^r_a] = −W_ba u^p_a w^r_b, as large as
the diagonal and singular with it (M does not feel that the two heads turn together). Heads of
neighbouring modes share them in nearly orthogonal mixtures, so their rows are first turned: the
orthogonal T that makes TU, and with it TV, nearly diagonal is a polar factor. Inverted exactly are
the principal blocks of I − cJ, in turned rows, on

    (v, k_a, q_a) of a head,   (k^p_b, q^p_b, k^r_a, q^r_a) of two learned heads,   (k_i, q_i),

which cover every weight once. A principal block is positive definite whenever I − cJ is. What is
left to the conjugate gradients are mostly the values of heads that share modes: one to six
products for a linear system until most modes are learned, some forty at the end of D = 64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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


class LinearisedHeads:
    """J of ATTN_S at rank one and in the eigenbases of its moments."""

    def __init__(self, system: Any) -> None:
        self.moments = system.moments
        self.W = system.moments.weights
        self.H, self.D = system.model.heads, system.model.dimension
        self.turn: _Turn | None = None

    def _split(self, theta: Array) -> tuple[Array, Array, Array]:
        shape = self.H, self.D
        k, q = theta[self.H :].reshape(2, *shape)
        return theta[: self.H], k, q

    def move(self, theta: Array) -> None:
        """Linearise at θ."""
        v, self.K, self.Q = self._split(theta)
        self.v = v[:, None]
        self.U, self.V = self.v * self.Q, self.v * self.K
        self.G = self.moments.residual(self.V.T @ self.Q)
        self.GQ, self.KG = self.Q @ self.G.T, self.K @ self.G

    def apply(self, direction: Array) -> Array:
        """J direction."""
        dv, dK, dQ = self._split(direction)
        change = dv[:, None] * self.K
        change += self.v * dK
        dG = change.T @ self.Q
        dG += self.V.T @ dQ
        dG *= self.W
        out = np.empty_like(direction)
        value, key, query = self._split(out)
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
        W = self.W
        U, V, v = self.U, self.V, self.v[:, 0].copy()
        key_scale = 1 + c * ((U * U) @ W.T)
        stiff = np.flatnonzero(key_scale.max(axis=1) > 1 + _STIFF)
        if self.turn is None or not self.turn.serves(stiff):
            self.turn = _Turn(self, stiff)
        turn = self.turn
        # From here on rows are in turned order: learned heads first; columns their modes first.
        U, V, v = turn.rows(U, turn.signed), turn.rows(V, turn.T), turn.values(v)
        W = W[np.ix_(turn.columns, turn.columns)]
        kk, qq = 1 + c * ((U * U) @ W.T), 1 + c * ((V * V) @ W)
        kq = c * (np.diagonal(W) * U * V - v[:, None] * np.diagonal(self.G)[turn.columns])
        self._prepare_values(c, turn, (U, V, W), (kk, kq, qq))
        det = kk * qq - kq * kq
        self.inverse = qq / det, -kq / det, kk / det
        learned = slice(len(turn.T)), slice(len(turn.T))
        meet = c * W[learned].T * np.diagonal(U[learned])[:, None] * np.diagonal(V[learned])
        np.fill_diagonal(meet, 0.0)
        own, self.partner = _pair_inverse(kk[learned], kq[learned], qq[learned], meet)
        for whole, part in zip(self.inverse, own, strict=True):
            whole[learned] = part

    def _prepare_values(
        self, c: float, turn: _Turn, turned: tuple[Array, ...], block: tuple[Array, ...]
    ) -> None:
        """Blocks of (v, k_a, q_a), with a the mode learned or the largest weight's."""
        U, V, W = turned
        K, Q, GQ, KG = (turn.permuted(x) for x in (self.K, self.Q, self.GQ, self.KG))
        L = len(turn.T)
        a = (np.abs(K) + np.abs(Q)).argmax(axis=1)
        a[:L] = np.arange(L)
        at = np.arange(self.H), a
        self.at = at[0] * self.D + a
        on_key, on_query = np.ones((2, self.H))
        on_key[:L], on_query[:L] = np.diagonal(turn.signed), np.diagonal(turn.T)
        key = on_key * GQ[at] - np.sum(U * Q * W[a], axis=1) * K[at]
        query = on_query * KG[at] - np.sum(V * K * W.T[a], axis=1) * Q[at]
        value = 1 + c * np.sum(K * K * ((Q * Q) @ W.T), axis=1)
        kk, kq, qq = (x[at] for x in block)
        rows = [[value, -c * key, -c * query], [-c * key, kk, kq], [-c * query, kq, qq]]
        self.triples = np.linalg.inv(np.array(rows).transpose(2, 0, 1))

    def precondition(self, residual: Array) -> Array:
        """Approximate (I − cJ)⁻¹ residual."""
        turn: Any = self.turn
        L = len(turn.T)
        value, key, query = self._split(residual)
        key, query = turn.rows(key, turn.signed), turn.rows(query, turn.T)
        kk, kq, qq = self.inverse
        k, q = kk * key, qq * query
        k += kq * query
        q += kq * key
        if L:
            kk, kq, qk, qq = self.partner
            across, along = key[:L, :L].T, query[:L, :L].T
            k[:L, :L] += kk * across + kq * along
            q[:L, :L] += qk * across + qq * along
        x = np.stack([value[turn.order], key.ravel()[self.at], query.ravel()[self.at]], axis=1)
        x = np.matmul(self.triples, x[:, :, None])[:, :, 0]
        k.reshape(-1)[self.at], q.reshape(-1)[self.at] = x[:, 1], x[:, 2]
        out = np.empty_like(residual)
        value, key, query = self._split(out)
        value[turn.order] = x[:, 0]
        turn.back(k, turn.signed, key)
        turn.back(q, turn.T, query)
        return out


class _Turn:
    """Which heads have learned which modes, and the rotation T of their rows that unmixes them."""

    def __init__(self, at: LinearisedHeads, stiff: Array) -> None:
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
        return self.age < 20 and np.array_equal(stiff, self.stiff)

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


def _pair_inverse(
    kk: Array, kq: Array, qq: Array, meet: Array
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """First two rows of the inverse of [[B, X], [Xᵀ, B']], the others being their transposes.

    B = [[kk, kq], [kq, qq]] and X = [[0, meet], [meet', 0]] for each (p, r); a prime is (r, p).
    """
    kk_, kq_, qq_, meet_ = kk.T, kq.T, qq.T, meet.T
    det = kk_ * qq_ - kq_ * kq_
    # Schur complement B − X B'⁻¹ Xᵀ
    a = kk - meet * meet * kk_ / det
    b = kq + meet * meet_ * kq_ / det
    d = qq - meet_ * meet_ * qq_ / det
    inner = a * d - b * b
    a, b, d = d / inner, -b / inner, a / inner
    x, y = meet * kq_ / det, meet * kk_ / det  # −X B'⁻¹ = [[x, −y], [−z, w]]
    z, w = meet_ * qq_ / det, meet_ * kq_ / det
    return (a, b, d), (a * x - b * z, b * w - a * y, b * x - d * z, d * w - b * y)


def preconditioned(system: GradientSystem) -> bool:
    """Whether `linearised` has a preconditioner for the system."""
    return (
        isinstance(system, AttentionSystem)
        and isinstance(system.model, SeparateAttention)
        and system.model.rank == 1
        and isinstance(system.moments, DiagonalMoments)
    )


def linearised(system: GradientSystem) -> Linearised | LinearisedHeads:
    """The linearisation that knows most of the system."""
    return LinearisedHeads(system) if preconditioned(system) else Linearised(system)

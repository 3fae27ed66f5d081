"""Error and derivatives of a layer on some sequences, one kernel for every layer and batch.

Notation as in `numerics.layers.kernels_several`: tokens x_n (K,), a query x_q (D,), and heads with
values a_h (C, K) and scores B_h (D, K),

    u_h = B_hᵀ x_q,  s_hn = u_h·x_n,  m_h = Σ_n p_hn x_n,  ŷ = Σ_h a_h m_h ∈ R^C,

with p = f s or softmax_n(s). With e = ŷ − y_q and r_h = a_hᵀ e, backwards

    g_hn = r_h·x_n,  w_hn = f g_hn or p_hn (g_hn − r_h·m_h),  j_h = Σ_n w_hn x_n,
    ½ ∂‖e‖²/∂a_h = e m_hᵀ,  ½ ∂‖e‖²/∂B_h = x_q j_hᵀ.

A dot is the derivative along a direction. Tokens are read by matrix products alone, four for a
gradient and eight with its derivative; D, K and C may be any.

Of S samples each is shared by R rows, S = 1 for one sample of all runs and R = 1 where each run has
its own: the heads of the R rows meet each token in one product, along one axis of G = R·H.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpu._arrays import Array, namespace

Pair = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some sequences of every sample.

    Attributes
    ----------
    tokens : (S, b, M, K)
        The tokens that are attended to.
    query : (S, b, D)
        x_q.
    target : (S, b, C)
        y_q.
    factor : float or None
        f of linear attention; None for softmax.
    """

    tokens: Array
    query: Array
    target: Array
    factor: float | None

    def _scores(self, B: Array) -> Array:
        """S (S, b, G, M) for B (S, D, G·K)."""
        xp, (S, b, _, K) = namespace(B), self.tokens.shape
        return xp.reshape(self.query @ B, (S, b, -1, K)) @ _swapped(self.tokens)

    def forward(self, B: Array) -> Pair:
        """P (S, b, G, M) and m (S, b, G, K)."""
        xp, p = namespace(B), self._scores(B)
        if self.factor is None:
            p -= xp.max(p, axis=-1, keepdims=True)
            p = xp.exp(p)
            p /= xp.sum(p, axis=-1, keepdims=True)
        else:
            p *= self.factor
        return p, p @ self.tokens

    def error(self, a: Array, m: Array) -> Array:
        """E (S, R, b, C) for a (S, R, C, H·K)."""
        return _by_row(m, a) @ _swapped(a) - self.target[:, None, ...]

    def gradient(self, a: Array, B: Array) -> Pair:
        """Sums over sequences of e mᵀ (S, R, C, H·K) and x_q jᵀ (S, D, G·K)."""
        p, m = self.forward(B)
        e = self.error(a, m)
        r = _by_sequence(e @ a, m)
        w = r @ _swapped(self.tokens)
        if self.factor is None:
            w -= _dot(r, m)
            w *= p
        else:
            w *= self.factor
        return _swapped(e) @ _by_row(m, a), self._by_score(w)

    def gradient_and_derivative(
        self, a: Array, B: Array, da: Array, dB: Array
    ) -> tuple[Pair, Pair]:
        """The gradient, and its derivative as a and B move by da and dB."""
        p, m = self.forward(B)
        dp = self._scores(dB)
        if self.factor is None:
            dp *= p
            dp -= p * namespace(p).sum(dp, axis=-1, keepdims=True)
        else:
            dp *= self.factor
        dm = dp @ self.tokens
        e, rows, d_rows = self.error(a, m), _by_row(m, a), _by_row(dm, a)
        de = rows @ _swapped(da) + d_rows @ _swapped(a)
        r, dr = _by_sequence(e @ a, m), _by_sequence(de @ a + e @ da, m)
        w, dw = self._moved_weights((p, m, r), (dp, dm, dr))
        d_values = _swapped(de) @ rows + _swapped(e) @ d_rows
        return (_swapped(e) @ rows, self._by_score(w)), (d_values, self._by_score(dw))

    def _moved_weights(self, here: tuple[Array, ...], moved: tuple[Array, ...]) -> Pair:
        """W (S, b, G, M) and its derivative, from p, m, r and theirs; overwrites that of p."""
        (p, m, r), (dp, dm, dr), last = here, moved, _swapped(self.tokens)
        w, dw = r @ last, dr @ last
        if self.factor is None:
            w -= _dot(r, m)
            dw -= _dot(dr, m) + _dot(r, dm)
            dw *= p
            dp *= w
            dw += dp
            w *= p
        else:
            w *= self.factor
            dw *= self.factor
        return w, dw

    def _by_score(self, w: Array) -> Array:
        """Σ x_q jᵀ (S, D, G·K) from w (S, b, G, M)."""
        xp, (S, b) = namespace(w), w.shape[:2]
        return _swapped(self.query) @ xp.reshape(w @ self.tokens, (S, b, -1))


def _swapped(x: Array) -> Array:
    """The last two axes exchanged, a view."""
    return namespace(x).matrix_transpose(x)


def _dot(x: Array, y: Array) -> Array:
    """Sums over the last axis, which stays."""
    return namespace(x).sum(x * y, axis=-1, keepdims=True)


def _by_row(m: Array, a: Array) -> Array:
    """(S, b, R·H, K) as (S, R, b, H·K), a view, beside a (S, R, C, H·K)."""
    xp, (S, b), (R, _, HK) = namespace(m), m.shape[:2], a.shape[1:]
    return xp.permute_dims(xp.reshape(m, (S, b, R, HK)), (0, 2, 1, 3))


def _by_sequence(r: Array, m: Array) -> Array:
    """(S, R, b, H·K) as m, (S, b, R·H, K)."""
    xp = namespace(r)
    return xp.reshape(xp.permute_dims(r, (0, 2, 1, 3)), m.shape)


__all__ = ["Piece"]

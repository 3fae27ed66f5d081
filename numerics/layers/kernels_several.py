"""Loss and gradient of a multi-head attention layer with several outputs, over the context alone.

The layer is the map (a, B) ↦ ŷ ∈ R^C with a (H, C, K) and B (H, D, K), K = D+C, and its query
attends to the N context tokens x_n only:

    u_h = B_hᵀ x_q,  s_hn = u_h·x_n,  m_h = Σ_n p_hn x_n,  ŷ = Σ_h a_h m_h,

with p = f s or softmax_n(s). With e = ŷ − y_q and r_h = a_hᵀ e, backwards

    g_hn = r_h·x_n,  w_hn = f g_hn or p_hn (g_hn − r_h·m_h),  j_h = Σ_n w_hn x_n,
    ½ ∂‖e‖²/∂a_h = e m_hᵀ,  ½ ∂‖e‖²/∂B_h = x_q j_hᵀ.

The weights thus meet a sequence's tokens only through u, m, r and j: four products with H rows
each, whatever C is. Values per token and output, (H, C, N), would take C times the rows. The four
passes read a piece that stays in cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.layers.kernels import Workspace, above_ones, beside_zero, far_sums, shifted_exp

Array = NDArray[Any]

# Bytes of a piece with its intermediate arrays, about one core's second-level cache. Half and
# twice as many cost up to 5 % more, a quarter 10 to 20 %.
PIECE_BYTES = 2**21


@dataclass(frozen=True, eq=False)
class Several:
    """A piece of b sequences, sequences first.

    Attributes
    ----------
    tokens : (b, K+1, N)
        The context, without the query, above a row of ones.
    query : (b, D)
        x_q.
    target : (b, C)
        y_q.
    """

    tokens: Array
    query: Array
    target: Array

    @classmethod
    def of(cls, tokens: Array, target: Array) -> Several:
        """Lay out tokens (b, N+1, D+C), the last one of each sequence the query."""
        D = tokens.shape[2] - target.shape[1]
        return cls(
            above_ones(tokens[:, :-1]), tokens[:, -1, :D].copy(), target.astype(tokens.dtype)
        )

    @property
    def context_length(self) -> int:
        """N."""
        return self.tokens.shape[2]

    def forward(
        self, a: Array, B: Array, factor: float | None, work: Workspace
    ) -> tuple[Array, Any, Array]:
        """Unnormalised weights E (b, H, N), their scale and (m, Σ_n p) (b, H, K+1).

        p = scale E, where the scale is f, or 1/Z_h (b, H, 1) for softmax.
        """
        b, K1, N = self.tokens.shape
        H, dtype = len(a), np.result_type(a, self.tokens)
        u, m = work.array("u", (b, H, K1), dtype), work.array("m", (b, H, K1), dtype)
        scores, E = (work.array(name, (b, H, N), dtype) for name in ("scores", "E"))
        transposed = self.tokens.swapaxes(1, 2)
        np.dot(self.query, _side_by_side(B), out=u.reshape(b, -1))
        np.matmul(u, self.tokens, out=scores)
        scale: Any = factor
        if factor:
            E = scores
            np.matmul(E, transposed, out=m)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(np.exp(scores, out=E), transposed, out=m)
            far = far_sums(m[:, :, -1], 0)
            if far.size:
                E[far] = shifted_exp(scores[far], 2)
                m[far] = np.matmul(E[far], transposed[far])
            scale = 1 / m[:, :, -1:]
        m *= scale
        return E, scale, m

    def predict(self, a: Array, B: Array, factor: float | None, work: Workspace) -> Array:
        """ŷ (b, C)."""
        m = self.forward(a, B, factor, work)[2]
        return np.asarray(np.dot(m.reshape(len(m), -1), _side_by_side(a).T))

    def gradient(
        self, a: Array, B: Array, factor: float | None, work: Workspace
    ) -> tuple[float, Array, Array]:
        """Σ ‖ŷ − y_q‖² and half its derivatives by a and B."""
        E, scale, m = self.forward(a, B, factor, work)
        b, H, K1 = m.shape
        a_rows = _side_by_side(a)
        error = np.dot(m.reshape(b, -1), a_rows.T) - self.target
        r, j = work.array("r", m.shape, m.dtype), work.array("j", m.shape, m.dtype)
        np.dot(error, a_rows, out=r.reshape(b, -1))
        da = np.dot(error.T, m.reshape(b, -1)).reshape(-1, H, K1)
        r *= scale
        w = np.matmul(r, self.tokens, out=work.array("w", E.shape, E.dtype))
        if not factor:
            w *= E
        np.matmul(w, self.tokens.swapaxes(1, 2), out=j)
        if not factor:
            j -= j[:, :, -1:] * m  # Σ p (g − r·m) x, as the row of ones has summed p g to r·m
        dB = np.dot(self.query.T, j.reshape(b, -1)).reshape(-1, H, K1)
        square = float(error.ravel() @ error.ravel())
        return square, da.swapaxes(0, 1)[:, :, :-1], dB.swapaxes(0, 1)[:, :, :-1]


def _side_by_side(weights: Array) -> Array:
    """All heads' a (H, C, K) or B (H, D, K) side by side, rows of H·(K+1), zero at the ones."""
    return beside_zero(weights.swapaxes(0, 1)).reshape(weights.shape[1], -1)


def several_length(tokens: Array, heads: int) -> int:
    """Sequences per piece, the fastest of those tried."""
    _, M, K = tokens.shape
    return int(max(1, PIECE_BYTES // (tokens.itemsize * (M * K + 3 * heads * (M + K)))))


def several_pieces(tokens: Array, target: Array, length: int) -> Iterator[Several]:
    """Cut tokens (P, N+1, K) and target (P, C) into laid-out pieces of at most `length`."""
    for start in range(0, len(tokens), length):
        part = slice(start, start + length)
        yield Several.of(tokens[part], target[part])

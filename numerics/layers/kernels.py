"""Loss and gradient of a multi-head attention layer, one piece of the sequences at a time.

Every layer of `numerics.layers.attention` is the map (a, B) ↦ ŷ with a (H, K) and B (H, D, K),
K = D+1: scores s_hn = x_qᵀ B_h x_n, values t_hn = a_h·x_n, and

    linear:   ŷ = f Σ_h Σ_n s_hn t_hn,             ∂ŷ/∂s_hn = f t_hn,            ∂ŷ/∂t_hn = f s_hn,
    softmax:  ŷ = Σ_h ŷ_h, ŷ_h = Σ_n p_hn t_hn,    ∂ŷ/∂s_hn = p_hn (t_hn − ŷ_h), ∂ŷ/∂t_hn = p_hn,

whence ∂ŷ/∂a_h = Σ_n (∂ŷ/∂t_hn) x_n and ∂ŷ/∂B_h = x_q Σ_n (∂ŷ/∂s_hn) x_nᵀ. Here f is 1 or 1/N.
Weights e^s stay unnormalised until a sum over tokens has made them small: the norm Z_h = Σ_n e^s
and the error of a sequence then multiply arrays without a token axis, or ride on one pass.

Two layouts, because a piece should meet matrix products large enough to be worth a call:
`Narrow` (few distinct products x_q x_nᵀ) stores these products, sequences last, so that scores and
∂B are one product each for the whole piece; `Wide` multiplies sequence by sequence, with scores
and values stacked so that each token is read twice in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Up to this many products x_q x_nᵀ per token (D ≤ 4), one large matrix product over stored
# products beats a small one per sequence.
NARROW = 20

# Numbers in a piece with its intermediate arrays. A narrow piece should stay in one core's cache
# (2 MB of float64), which each of its passes reads; a wide one is read twice, so fewer calls count
# for more than the cache.
NARROW_PIECE, WIDE_PIECE = 2**18, 2**20


class Workspace:
    """Flat buffers that are handed out by name, so that no step faults in fresh pages."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of that shape with arbitrary contents; valid until the name is asked again."""
        size = 1
        for n in shape:
            size *= n
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            buffer = self._buffers[name] = np.empty(size, dtype)
        return buffer[:size].reshape(shape)


def _exponentiate(scores: Array, axis: int, out: Array) -> Array:
    """Write e^(s − shift) to `out`, which must not be `scores`, and return the sums over tokens.

    A softmax does not see the shift. While all sums lie between ∛tiny and its inverse, nothing
    has overflowed, no weight above tiny^(2/3) has been lost, and products have room on either
    side; the passes for each row's own maximum are then saved.
    """
    with np.errstate(over="ignore"):
        np.exp(scores, out=out)
        total = np.sum(out, axis=axis)
    least = float(np.finfo(total.dtype).tiny) ** (1 / 3)
    if not (least < total.real.min() and total.real.max() < 1 / least):
        scores -= scores.real.max(axis=axis, keepdims=True)
        np.exp(scores, out=out)
        total = np.sum(out, axis=axis)
    return np.asarray(total)


@dataclass(frozen=True, eq=False)
class Narrow:
    """A piece of b sequences, sequences last.

    Attributes
    ----------
    tokens : (K, M·b)
        X.
    products : (D·K, M·b)
        x_q x_nᵀ, rows of the product first.
    target : (b,)
        y_q.
    """

    tokens: Array
    products: Array
    target: Array

    @classmethod
    def of(cls, tokens: Array, target: Array) -> Narrow:
        """Lay out tokens (b, M, K)."""
        last = np.ascontiguousarray(tokens.transpose(2, 1, 0))
        K, M, b = last.shape
        products = last[:-1, None, -1:] * last
        flat = last.reshape(K, M * b)
        return cls(flat, products.reshape(-1, M * b), target.astype(tokens.dtype))

    @property
    def context_length(self) -> int:
        """N."""
        return self.tokens.shape[1] // len(self.target) - 1

    def forward(
        self, a: Array, B: Array, factor: float | None, work: Workspace
    ) -> tuple[Array, Array, Array, Array]:
        """Scores or weights E and values T, both (H, M, b), the scale and outputs, both (H, b).

        ŷ_h = scale Σ_n E T, where the scale is f, or 1/Z_h for softmax.
        """
        H, b, dtype = len(a), len(self.target), np.result_type(a, self.tokens)
        shape, flat = (H, self.tokens.shape[1] // b, b), (H, -1)
        S, T, E = (work.array(name, shape, dtype) for name in ("S", "T", "E"))
        np.dot(B.reshape(flat), self.products, out=S.reshape(flat))
        np.dot(a, self.tokens, out=T.reshape(flat))
        if factor:
            E, scale = S, np.full((H, b), factor, dtype)
            product = S * T
        else:
            scale = 1 / _exponentiate(S, 1, E)
            product = np.multiply(E, T, out=S)
        return E, T, scale, scale * product.sum(axis=1)

    def predict(self, a: Array, B: Array, factor: float | None, work: Workspace) -> Array:
        """ŷ (b,)."""
        return np.asarray(self.forward(a, B, factor, work)[3].sum(axis=0))

    def gradient(
        self, a: Array, B: Array, factor: float | None, work: Workspace
    ) -> tuple[float, Array, Array]:
        """Σ (ŷ − y_q)² and the sums of (ŷ − y_q) ∂ŷ/∂a and (ŷ − y_q) ∂ŷ/∂B."""
        E, T, scale, outputs = self.forward(a, B, factor, work)
        error = outputs.sum(axis=0) - self.target
        scale *= error
        if factor:
            T *= scale[:, None]
            E *= scale[:, None]
        else:
            T -= outputs[:, None]
            E *= scale[:, None]
            T *= E
        flat = (len(a), -1)
        da = np.dot(E.reshape(flat), self.tokens.T)
        dB = np.dot(T.reshape(flat), self.products.T)
        return float(np.dot(error, error)), da, dB.reshape(B.shape)


@dataclass(frozen=True, eq=False)
class Wide:
    """A piece of b sequences, sequences first.

    Attributes
    ----------
    tokens : (b, K, M)
        X.
    query : (b, D)
        x_q.
    target : (b,)
        y_q.
    """

    tokens: Array
    query: Array
    target: Array

    @classmethod
    def of(cls, tokens: Array, target: Array) -> Wide:
        """Lay out tokens (b, M, K)."""
        last = np.ascontiguousarray(tokens.swapaxes(1, 2))
        return cls(last, tokens[:, -1, :-1].copy(), target.astype(tokens.dtype))

    @property
    def context_length(self) -> int:
        """N."""
        return self.tokens.shape[2] - 1

    def forward(
        self, a: Array, B: Array, factor: float | None, work: Workspace
    ) -> tuple[Array, Array, Any]:
        """Scores above values (2, H, b, M), scores or weights E (H, b, M), and the scale.

        ŷ_h = scale Σ_n E T, where the scale is f, or 1/Z_h (H, b) for softmax.
        """
        b, K, M = self.tokens.shape
        H, dtype = len(a), np.result_type(a, self.tokens)
        rows = work.array("rows", (2, H, b, K), dtype)
        np.matmul(self.query, B, out=rows[0])
        rows[1] = a[:, None]
        both = work.array("both", (2, H, b, M), dtype)
        np.matmul(_by_sequence(rows), self.tokens, out=_by_sequence(both))
        if factor:
            return both, both[0], factor
        E = work.array("weights", both.shape, dtype)[0]
        return both, E, 1 / _exponentiate(both[0], 2, E)

    def predict(self, a: Array, B: Array, factor: float | None, work: Workspace) -> Array:
        """ŷ (b,)."""
        both, E, scale = self.forward(a, B, factor, work)
        return np.asarray((scale * np.sum(E * both[1], axis=2)).sum(axis=0))

    def gradient(
        self, a: Array, B: Array, factor: float | None, work: Workspace
    ) -> tuple[float, Array, Array]:
        """Σ (ŷ − y_q)² and the sums of (ŷ − y_q) ∂ŷ/∂a and (ŷ − y_q) ∂ŷ/∂B."""
        weights, E, scale = self.forward(a, B, factor, work)
        b, K, _ = self.tokens.shape
        if not factor:
            values, weights = weights[1], work.array("weights", weights.shape, E.dtype)
            np.multiply(E, values, out=weights[1])
        sums = work.array("sums", (2, len(a), b, K), E.dtype)
        np.matmul(_by_sequence(weights), self.tokens.swapaxes(1, 2), out=_by_sequence(sums))
        by_value, by_score = sums
        outputs = scale * np.matmul(by_value, a[:, :, None])[:, :, 0]
        error = outputs.sum(axis=0) - self.target
        if not factor:
            # Σ p (t − ŷ_h) x in two sums that are at hand.
            by_score -= outputs[:, :, None] * by_value
        # The factor of each sequence goes to the smaller operand of either product.
        scale = scale * error
        scale = np.broadcast_to(scale, outputs.shape)
        da = np.matmul(scale[:, None], by_value)[:, 0]
        dB = np.matmul(self.query.T * scale[:, None], by_score)
        return float(np.dot(error, error)), da, dB


def _by_sequence(array: Array) -> Array:
    """(2, H, b, n) as (b, 2H, n), a view that BLAS reads and writes in place."""
    _, H, b, n = array.shape
    return array.reshape(2 * H, b, n).swapaxes(0, 1)


Piece = Narrow | Wide


def piece_length(tokens: Array, heads: int) -> int:
    """Sequences per piece, the fastest of those tried."""
    _, M, K = tokens.shape
    if K * (K - 1) <= NARROW:
        return int(max(1, NARROW_PIECE // (M * (K * K + 3 * heads))))
    return int(max(1, WIDE_PIECE // (M * (K + 4 * heads))))


def pieces(tokens: Array, target: Array, length: int) -> Iterator[Piece]:
    """Cut tokens (P, M, K) and target (P,) into laid-out pieces of at most `length` sequences.

    Their precision is that of the tokens.
    """
    K = tokens.shape[2]
    layout: type[Narrow] | type[Wide] = Narrow if K * (K - 1) <= NARROW else Wide
    for start in range(0, len(tokens), length):
        part = slice(start, start + length)
        yield layout.of(tokens[part], target[part])


def laid_out_bytes(tokens: Array) -> int:
    """Bytes that all pieces of tokens (P, M, K) take together."""
    K = tokens.shape[2]
    return tokens.nbytes * (K if K * (K - 1) <= NARROW else 1)

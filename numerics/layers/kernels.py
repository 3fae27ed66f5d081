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
and values stacked so that each token is read twice in all, and a row of ones below the tokens so
that the products also form Z_h and Σ_n e^s t.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Up to this many entries per token (D ≤ 4, 20 products x_q x_nᵀ), one large matrix product over
# stored products beats a small one per sequence.
NARROW = 5

# Numbers in a piece with its intermediate arrays. A narrow piece should stay in one core's cache
# (2 MB of float64), which each of its passes reads; a wide one is read twice, so fewer calls count
# for more than the cache.
NARROW_PIECE, WIDE_PIECE = 2**18, 2**20

# OpenBLAS copies the operands of products with more multiplications than this, which made the
# narrow ones 1.5 to 2.5 times slower.
SMALL_PRODUCT = 10**6


class Workspace:
    """Flat buffers that are handed out by name, so that no step faults in fresh pages."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of that shape with arbitrary contents; valid until the name is asked again."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            buffer = self._buffers[name] = np.empty(size, dtype)
        return buffer[:size].reshape(shape)


def far_sums(sums: Array, axis: int) -> NDArray[np.intp]:
    """Sequences, numbered along the axis, some head's Σ_n e^s of which lies too far out.

    A softmax does not see a shift of its scores. Where a sum lies between √tiny and its inverse, at
    neither, nothing has overflowed, no weight above √tiny has been lost, and products have room on
    either side; only elsewhere are the passes for a row's own maximum needed.
    """
    least = float(np.finfo(sums.dtype).tiny) ** 0.5
    if least < sums.real.min() and sums.real.max() < 1 / least:
        return np.empty(0, np.intp)
    near = (least < sums.real) & (sums.real < 1 / least)
    return np.flatnonzero(~near.all(axis=1 - axis))


def shifted_exp(scores: Array, axis: int) -> Array:
    """e^(s − max s) along the axis of tokens."""
    return np.asarray(np.exp(scores - scores.real.max(axis=axis, keepdims=True)))


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
        shape = (H, self.tokens.shape[1] // b, b)
        S, T, E = (work.array(name, shape, dtype) for name in ("S", "T", "E"))
        np.dot(B.reshape(H, -1), self.products, out=S.reshape(H, -1))
        np.dot(a, self.tokens, out=T.reshape(H, -1))
        if factor:
            E, scale = S, np.full((H, b), factor, dtype)
        else:
            with np.errstate(over="ignore"):
                total = np.exp(S, out=E).sum(axis=1)
            far = far_sums(total, 1)
            if far.size:
                E[:, :, far] = shifted_exp(S[:, :, far], 1)
                total[:, far] = E[:, :, far].sum(axis=1)
            scale = 1 / total
        return E, T, scale, scale * np.einsum("hmb,hmb->hb", E, T)

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
        da = np.dot(E.reshape(len(a), -1), self.tokens.T)
        dB = np.dot(T.reshape(len(a), -1), self.products.T)
        return float(error @ error), da, dB.reshape(B.shape)


@dataclass(frozen=True, eq=False)
class Wide:
    """A piece of b sequences, sequences first.

    Attributes
    ----------
    tokens : (b, K+1, M)
        X above a row of ones.
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
        return cls(above_ones(tokens), tokens[:, -1, :-1].copy(), target.astype(tokens.dtype))

    @property
    def context_length(self) -> int:
        """N."""
        return self.tokens.shape[2] - 1

    def forward(
        self, a: Array, B: Array, factor: float | None, work: Workspace
    ) -> tuple[Array, Any, Array]:
        """Sums over tokens (2, H, b, K+1), their scale f or 1/Z_h (H, b), and outputs (H, b).

        The sums are Σ_n E x_n and Σ_n E t x_n, or Σ_n s x_n and Σ_n t x_n for linear attention,
        each with Σ_n E or the like in the last place; ŷ_h = scale a_h·Σ_n E x_n.
        """
        b, K1, M = self.tokens.shape
        H, dtype = len(a), np.result_type(a, self.tokens)
        rows, sums = (work.array(name, (2, H, b, K1), dtype) for name in ("rows", "sums"))
        np.matmul(self.query, beside_zero(B), out=rows[0])
        rows[1] = beside_zero(a)[:, None]
        both = work.array("both", (2, H, b, M), dtype)
        np.matmul(_by_sequence(rows), self.tokens, out=_by_sequence(both))
        transposed = self.tokens.swapaxes(1, 2)
        if factor:
            np.matmul(_by_sequence(both), transposed, out=_by_sequence(sums))
            return sums, factor, factor * np.matmul(sums[0, :, :, :-1], a[:, :, None])[:, :, 0]
        weights = work.array("weights", both.shape, dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(np.exp(both[0], out=weights[0]), both[1], out=weights[1])
            np.matmul(_by_sequence(weights), transposed, out=_by_sequence(sums))
        far = far_sums(sums[0, :, :, -1], 1)
        if far.size:
            weights[0][:, far] = shifted_exp(both[0][:, far], 2)
            weights[1][:, far] = weights[0][:, far] * both[1][:, far]
            _by_sequence(sums)[far] = np.matmul(_by_sequence(weights)[far], transposed[far])
        scale = 1 / sums[0, :, :, -1]
        return sums, scale, scale * sums[1, :, :, -1]

    def predict(self, a: Array, B: Array, factor: float | None, work: Workspace) -> Array:
        """ŷ (b,)."""
        return np.asarray(self.forward(a, B, factor, work)[2].sum(axis=0))

    def gradient(
        self, a: Array, B: Array, factor: float | None, work: Workspace
    ) -> tuple[float, Array, Array]:
        """Σ (ŷ − y_q)² and the sums of (ŷ − y_q) ∂ŷ/∂a and (ŷ − y_q) ∂ŷ/∂B."""
        (by_value, by_score), scale, outputs = self.forward(a, B, factor, work)
        error = outputs.sum(axis=0) - self.target
        if not factor:
            # Σ p (t − ŷ_h) x in two sums that are at hand.
            by_score -= outputs[:, :, None] * by_value
        # The factor of each sequence goes to the smaller operand of either product.
        scale = np.broadcast_to(scale * error, outputs.shape)
        da = np.matmul(scale[:, None], by_value)[:, 0]
        dB = np.matmul(self.query.T * scale[:, None], by_score)
        return float(error @ error), da[:, :-1], dB[:, :, :-1]


def _by_sequence(array: Array) -> Array:
    """(2, H, b, n) as (b, 2H, n), a view that BLAS reads and writes in place."""
    _, H, b, n = array.shape
    return array.reshape(2 * H, b, n).swapaxes(0, 1)


def above_ones(tokens: Array) -> Array:
    """Tokens (b, M, K) as (b, K+1, M), the last row ones: a product then sums weights as well."""
    b, M, K = tokens.shape
    out = np.ones((b, K + 1, M), tokens.dtype)
    out[:, :-1] = tokens.swapaxes(1, 2)
    return out


def beside_zero(weights: Array) -> Array:
    """Weights (..., K) as (..., K+1), the last entry zero: what meets the row of ones."""
    out = np.zeros((*weights.shape[:-1], weights.shape[-1] + 1), weights.dtype)
    out[..., :-1] = weights
    return out


Layout = Narrow | Wide


def _is_narrow(tokens: Array) -> bool:
    """Whether tokens (P, M, K) are laid out with their products."""
    return bool(tokens.shape[2] <= NARROW)


def piece_length(tokens: Array, heads: int) -> int:
    """Sequences per piece, the fastest of those tried."""
    _, M, K = tokens.shape
    if _is_narrow(tokens):
        numbers, products = M * (K * K + 3 * heads), M * heads * K * (K - 1)
        return int(max(1, min(NARROW_PIECE // numbers, SMALL_PRODUCT // products)))
    return int(max(1, WIDE_PIECE // (M * (K + 4 * heads))))


def pieces(tokens: Array, target: Array, length: int) -> Iterator[Layout]:
    """Cut tokens (P, M, K) and target (P,) into laid-out pieces of at most `length` sequences.

    Their precision is that of the tokens.
    """
    layout: type[Narrow] | type[Wide] = Narrow if _is_narrow(tokens) else Wide
    for start in range(0, len(tokens), length):
        part = slice(start, start + length)
        yield layout.of(tokens[part], target[part])


def laid_out_bytes(tokens: Array) -> int:
    """Bytes that all pieces of tokens (P, M, K) take together."""
    K = tokens.shape[2]
    return tokens.nbytes * K if _is_narrow(tokens) else tokens.nbytes // K * (K + 1)

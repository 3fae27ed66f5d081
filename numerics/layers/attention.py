"""The whole multi-head attention layer on tokens, linear or softmax, with every block of weights.

Notation: K = D+1; a sequence is X (N+1, K) with tokens (x_n, y_n) and last the query (x_q, 0);
N counts the context pairs. Head h has a_h ∈ R^K, the last row of its W^V (the other rows never
reach the prediction), and scores over all N+1 tokens

    merged:    s_hn = x_qᵀ W_h x_n,               W_h (K, K),
    separate:  s_hn = (W_q,h x_q)·(W_k,h x_n),    W_k,h and W_q,h (R, K),

so that ŷ = Σ_h Σ_n p_hn a_h·x_n with p = s, p = s/N or p = softmax_n(s). Only this entry of the
attention output enters the loss, and only the query's column is computed: N times less work than
all tokens. The loss is the mean of (ŷ − y_q)² without ½; the velocity is −½ ∂L/∂θ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics.layers.base import Layer, Piece
from numerics.layers.kernels import laid_out_bytes, piece_length, pieces
from numerics.merged import check_and_pack

Array = NDArray[Any]


@dataclass(frozen=True)
class AttentionLayer(Layer):
    """A multi-head attention layer and its hand-written gradient.

    A state θ is flat: all a_h (H, K), then all W_h (H, K, K) by rows, or all W_k (H, R, K) and
    all W_q (H, R, K).

    Parameters
    ----------
    dimension : int
        D of the tokens' x; K = D+1.
    heads : int
        H ≥ 1.
    rank : int or None
        R ≥ 1 for separate keys and queries; None for merged ones.
    attention : str
        ``"linear"`` or ``"softmax"``.
    divide_by_context : bool
        Whether linear attention is divided by N, as in [L]; it must be False for softmax.

    Raises
    ------
    ValueError, TypeError
        For a size below 1, an unknown attention, or softmax divided by N.

    Examples
    --------
    >>> layer = AttentionLayer(dimension=2, heads=3, rank=1, attention="softmax")
    >>> theta = layer.initial_weights(0.1, rng=0)
    >>> tokens = np.ones((4, 6, 3)); tokens[:, -1, -1] = 0
    >>> layer.size, layer.predict(theta, tokens).shape
    (27, (4,))
    """

    dimension: int
    heads: int
    rank: int | None = None
    attention: str = "linear"
    divide_by_context: bool = False

    def __post_init__(self) -> None:
        self._check_attention()
        if self.rank is not None:
            _check.count("rank", self.rank)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """A sequence has one y_q."""
        return ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights, in the order in which a state holds them."""
        H, K = self.heads, self.dimension + 1
        if self.rank is None:
            return {"a": (H, K), "W": (H, K, K)}
        return {"a": (H, K), "W_k": (H, self.rank, K), "W_q": (H, self.rank, K)}

    def embed(self, v: ArrayLike, *weights: ArrayLike) -> Array:
        """State of a reduced model: v (H,) with U (H, D, D), or with k and q (H, R, D).

        a_h = (0, v_h), and all blocks that the reduced model lacks are zero. Linear attention
        divided by N then predicts what `MergedAttention` or `SeparateAttention` does.
        """
        H, D, R = self.heads, self.dimension, self.rank
        names = {"U": (H, D, D)} if R is None else {"k": (H, R, D), "q": (H, R, D)}
        fields = zip(names, weights, names.values(), strict=True)
        v = check_and_pack({"v": (v, (H,))})
        blocks = [check_and_pack({n: (w, s)}).reshape(s) for n, w, s in fields]
        theta = np.zeros(self.size)
        a, *full = self.unpack(theta)
        a[:, D] = v
        if R is None:
            blocks = [blocks[0].swapaxes(1, 2)]  # U_h meets x_n from the left, W_h the query
        for whole, block in zip(full, blocks, strict=True):
            whole[:, : block.shape[1], :D] = block
        return theta

    def factors(self, theta: Array) -> tuple[Array, Array]:
        """A (..., H, K) and B (..., H, D, K), s_hn = x_qᵀ B_h x_n as the query's label is 0."""
        a, *rest = self.unpack(theta)
        if self.rank is None:
            return a, rest[0][..., :-1, :]
        W_k, W_q = rest
        return a, np.matmul(W_q[..., :-1].swapaxes(-1, -2), W_k)

    def pullback(self, theta: Array, da: Array, dB: Array) -> Array:
        """Derivatives by θ (size,) from those by a and B; zero for what meets the query's label."""
        out = np.zeros(self.size, np.result_type(theta, da, dB))
        parts = self.unpack(out)
        parts[0][:] = da
        if self.rank is None:
            parts[1][:, :-1] = dB
        else:
            _, W_k, W_q = self.unpack(theta)
            np.matmul(W_q[..., :-1], dB, out=parts[1])
            parts[2][..., :-1] = np.matmul(W_k, dB.swapaxes(-1, -2))
        return out

    def invariants(self, theta: Array) -> Array:
        """Quantities that the gradient flow conserves, for states (..., size).

        - The weights that meet the query's zero label (last row of W_h, last column of W_q,h).
        - Separate, any attention: W_k W_kᵀ − W_q W_qᵀ (R, R) of each head. The loss depends on
          C = W_qᵀ W_k alone; with Γ = −½ ∂L/∂C, Ẇ_k = W_q Γ and Ẇ_q = W_k Γᵀ, so both products
          have the derivative W_q Γ W_kᵀ + W_k Γᵀ W_qᵀ.
        - Separate, linear: ‖a_h‖² − ‖W_k,h‖². Scaling a_h by c and W_k,h by 1/c leaves ŷ alone,
          so a_h·ȧ_h = ⟨W_k,h, Ẇ_k,h⟩.
        - Merged, linear: a aᵀ − B Bᵀ (H, H), B_h flat. ŷ depends on Σ_h a_h ⊗ B_h = aᵀB alone;
          with Γ = −½ ∂L/∂(aᵀB), ȧ = B Γᵀ and Ḃ = a Γ, and the argument is the one above.

        A softmax is not homogeneous in its scores, so it has no balance of values with keys.
        """
        a, *rest = self.unpack(theta)
        linear = self.attention == "linear"
        if self.rank is None:
            quantities = [rest[0][..., -1, :]]
            if linear:
                B = rest[0][..., :-1, :].reshape(*a.shape[:-1], -1)
                quantities.append(a @ a.swapaxes(-1, -2) - B @ B.swapaxes(-1, -2))
        else:
            W_k, W_q = rest
            gram = W_k @ W_k.swapaxes(-1, -2) - W_q @ W_q.swapaxes(-1, -2)
            quantities = [W_q[..., -1], gram]
            if linear:
                quantities.append(np.sum(a * a, axis=-1) - np.sum(W_k * W_k, axis=(-2, -1)))
        head = theta.shape[:-1]
        return np.concatenate([q.reshape(*head, -1) for q in quantities], axis=-1)

    def pieces(self, tokens: Array, target: Array, chunk: int | None = None) -> Iterator[Piece]:
        """Checked tokens and target, laid out for the kernels piece by piece."""
        length = piece_length(tokens, self.heads) if chunk is None else _check.count("chunk", chunk)
        return pieces(tokens, target, length)

    def laid_out_bytes(self, tokens: Array) -> int:
        """Bytes that all pieces of these tokens take together."""
        return laid_out_bytes(tokens)

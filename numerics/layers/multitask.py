"""The multi-head softmax layer of [S] on tokens with several labels.

Notation ([S] §2, arXiv:2402.19442): a token is (x_n, y_n) ∈ R^(d+d_y); a sequence has L context
tokens [X; Y] and last its query (q, 0), to which nothing attends; L counts the context pairs. Head
h has O_h (d_y, d_e), V_h, K_h and Q_h (d_e, d+d_y), and

    ŷ = Σ_h O_h V_h [X; Y] softmax([X; Y]ᵀ K_hᵀ Q_h (q; 0) / √d_e).

The loss is the mean over sequences of ‖ŷ − y_q‖², summed over outputs and without ½.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics.layers.base import Layer
from numerics.layers.kernels_several import Several, several_length, several_pieces
from numerics.merged import check_and_pack

Array = NDArray[Any]


@dataclass(frozen=True)
class MultiTaskLayer(Layer):
    """[S]'s layer with all its weights and its hand-written gradient.

    A state θ is flat: all O_h (H, d_y, d_e), then all V_h, K_h and Q_h (H, d_e, d+d_y).

    Parameters
    ----------
    dimension, outputs : int
        d and d_y, the lengths of a token's x and y.
    heads : int
        H ≥ 1.
    embedding_dim : int
        d_e ≥ 1, the width of a head.
    attention : str
        ``"softmax"`` or ``"linear"`` (the scores themselves as weights).
    divide_by_context : bool
        Whether linear attention is divided by L; it must be False for softmax.

    Raises
    ------
    ValueError, TypeError
        For a size below 1, an unknown attention, or softmax divided by L.

    Examples
    --------
    >>> layer = MultiTaskLayer(dimension=4, outputs=2, heads=3, embedding_dim=5)
    >>> theta = layer.initial_weights(0.1, rng=0)
    >>> tokens = np.ones((7, 9, 6)); tokens[:, -1, -2:] = 0
    >>> layer.size, layer.predict(theta, tokens).shape
    (300, (7, 2))
    """

    dimension: int
    outputs: int
    heads: int
    embedding_dim: int
    attention: str = "softmax"
    divide_by_context: bool = False

    def __post_init__(self) -> None:
        self._check_attention()
        _check.count("outputs", self.outputs)
        _check.count("embedding_dim", self.embedding_dim)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one sequence's y_q, (d_y,)."""
        return (self.outputs,)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights, in the order in which a state holds them."""
        H, C, E = self.heads, self.outputs, self.embedding_dim
        wide = (H, E, self.dimension + C)
        return {"O": (H, C, E), "V": wide, "K": wide, "Q": wide}

    def factors(self, theta: Array) -> tuple[Array, Array]:
        """a_h = O_h V_h (..., H, d_y, d+d_y) and B_h (..., H, d, d+d_y), s_hn = qᵀ B_h (x_n, y_n).

        B_h is the first d rows of Q_hᵀ K_h / √d_e: the query's labels are 0.
        """
        O, V, K, Q = self.unpack(theta)  # noqa: E741 - the paper's letter
        B = np.matmul(Q[..., : self.dimension].swapaxes(-1, -2), K)
        B /= math.sqrt(self.embedding_dim)
        return np.matmul(O, V), B

    def pullback(self, theta: Array, da: Array, dB: Array) -> Array:
        """Derivatives by θ (size,) from those by a and B; zero where the query's labels are."""
        out = np.zeros(self.size, np.result_type(theta, da, dB))
        O, V, K, Q = self.unpack(theta)  # noqa: E741
        by_O, by_V, by_K, by_Q = self.unpack(out)
        d, dB = self.dimension, dB / math.sqrt(self.embedding_dim)
        np.matmul(da, V.swapaxes(-1, -2), out=by_O)
        np.matmul(O.swapaxes(-1, -2), da, out=by_V)
        np.matmul(Q[..., :d], dB, out=by_K)
        by_Q[..., :d] = np.matmul(K, dB.swapaxes(-1, -2))
        return out

    def invariants(self, theta: Array) -> Array:
        """Quantities that the gradient flow conserves, for states (..., size).

        - The columns of Q_h that meet the query's zero labels: they never reach ŷ.
        - K_h K_hᵀ − Q_h Q_hᵀ (d_e, d_e) of each head, any attention. The loss depends on
          C = Q_hᵀ K_h alone; with Γ = −½ ∂L/∂C, K̇ = Q Γ and Q̇ = K Γᵀ, so both products have the
          derivative Q Γ Kᵀ + K Γᵀ Qᵀ.
        - O_hᵀ O_h − V_h V_hᵀ (d_e, d_e) of each head, any attention. The loss depends on O_h V_h
          alone; with Γ = −½ ∂L/∂(O_h V_h), Ȯ = Γ Vᵀ and V̇ = Oᵀ Γ, so both products have the
          derivative V Γᵀ O + Oᵀ Γ Vᵀ.
        - Linear: ‖O_h‖² − ‖K_h‖². Scaling O_h by c and K_h by 1/c leaves ŷ alone, so
          ⟨O_h, Ȯ_h⟩ = ⟨K_h, K̇_h⟩. A softmax is not homogeneous in its scores.
        """
        O, V, K, Q = self.unpack(theta)  # noqa: E741
        quantities = [
            Q[..., self.dimension :],
            K @ K.swapaxes(-1, -2) - Q @ Q.swapaxes(-1, -2),
            O.swapaxes(-1, -2) @ O - V @ V.swapaxes(-1, -2),
        ]
        if self.attention == "linear":
            quantities.append(np.sum(O * O, axis=(-2, -1)) - np.sum(K * K, axis=(-2, -1)))
        head = theta.shape[:-1]
        return np.concatenate([q.reshape(*head, -1) for q in quantities], axis=-1)

    def embed(self, o: ArrayLike, v: ArrayLike, k: ArrayLike, q: ArrayLike) -> Array:
        """State of decomposable weights ([S] Def. 1, Φ = Ψ = 1): o, v (H, d_y), k, q (H, d).

        They stand on diagonals, o and v where labels meet, k and q where tokens meet, so that
        ω = k q/√d_e and μ = o v, entry by entry; `spectral` reads them back.

        Raises
        ------
        ValueError
            If d_e is below d or d_y, or a shape is not the layer's.

        Examples
        --------
        >>> layer = MultiTaskLayer(dimension=2, outputs=1, heads=1, embedding_dim=4)
        >>> theta = layer.embed([[3.0]], [[2.0]], [[1.0, 4.0]], [[5.0, 1.0]])
        >>> [part.tolist() for part in layer.spectral(theta)]
        [[[2.5, 2.0]], [[6.0]]]
        """
        H, d, C = self.heads, self.dimension, self.outputs
        if self.embedding_dim < max(d, C):
            raise ValueError(
                f"embedding_dim must be >= {max(d, C)} to hold {d} tokens' and {C} labels' "
                f"entries, got {self.embedding_dim}"
            )
        given = {"o": (o, (H, C)), "v": (v, (H, C)), "k": (k, (H, d)), "q": (q, (H, d))}
        values = [check_and_pack({n: part}).reshape(part[1]) for n, part in given.items()]
        theta = np.zeros(self.size)
        O, V, K, Q = self.unpack(theta)  # noqa: E741
        label, entry = np.arange(C), np.arange(d)
        O[:, label, label], V[:, label, d + label] = values[:2]
        K[:, entry, entry], Q[:, entry, entry] = values[2:]
        return theta

    def spectral(self, theta: Array) -> tuple[Array, Array]:
        """ω (..., H, d) and μ (..., H, d_y): diagonals of the combined weights, states (..., size).

        ω_h is that of B_h's token block, μ_h that of a_h's label block.
        """
        a, B = self.factors(theta)
        d = self.dimension
        omega = np.diagonal(B[..., :d], axis1=-2, axis2=-1)
        return omega.copy(), np.diagonal(a[..., d:], axis1=-2, axis2=-1).copy()

    def leakage(self, theta: Array) -> Array:
        """Largest |entry| of a and B off the diagonals of `spectral`, for states (..., size).

        Zero for decomposable weights, which the population's flow keeps so ([S] Lemma 1).
        """
        a, B = self.factors(theta)
        d = self.dimension
        values, scores = np.abs(a), np.abs(B)
        values[..., np.arange(self.outputs), d + np.arange(self.outputs)] = 0
        scores[..., np.arange(d), np.arange(d)] = 0
        axes = (-3, -2, -1)
        return np.asarray(np.maximum(values.max(axis=axes), scores.max(axis=axes)))

    def pieces(self, tokens: Array, target: Array, chunk: int | None = None) -> Iterator[Several]:
        """Checked tokens and target, laid out for the kernel piece by piece."""
        if chunk is None:
            return several_pieces(tokens, target, several_length(tokens, self.heads))
        return several_pieces(tokens, target, _check.count("chunk", chunk))

    def laid_out_bytes(self, tokens: Array) -> int:
        """Bytes that all pieces of these tokens take together."""
        return tokens.nbytes

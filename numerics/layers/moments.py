"""The whole linear layer on any number of sequences, exactly, from a finite matrix of moments.

The prediction `ŷ = Σ_h a_hᵀ A B_hᵀ x_q`, A = Σ_n x_n x_nᵀ (over N if attention is), is linear in
the features `f_(ik)d = A_ik x_q,d`, i ≤ k, of which there are K(K+1)D/2, K = D+1:

    ŷ = m·f,  m_(ik)d = Σ_h (a_h,i B_h,dk + a_h,k B_h,di),  halved for i = k.

So the loss sees the sequences through E[y_q²], E[y_q f] and E[f fᵀ] alone: a training run, with
the blocks that act on labels, is reproduced step for step at a cost that does not depend on P.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics.layers.attention import AttentionLayer
from numerics.layers.tokens import checked_target, checked_tokens

Array = NDArray[Any]

# Features of one piece in the pass over the sequences: 4 MB of float64.
PIECE = 2**19


@dataclass(frozen=True, eq=False)
class LinearLayerMoments:
    """What a linear attention layer sees of its sequences.

    Attributes
    ----------
    energy : float
        E[y_q²].
    correlation : (F,)
        E[y_q f], F = (D+1)(D+2)D/2.
    feature_moment : (F, F)
        E[f fᵀ].
    dimension : int
        D.
    count : int
        P, the number of sequences averaged.
    divide_by_context : bool
        Whether A in f is divided by N.
    """

    energy: float
    correlation: Array
    feature_moment: Array
    dimension: int
    count: int
    divide_by_context: bool


def layer_features(tokens: ArrayLike, *, divide_by_context: bool = False) -> Array:
    """All f (P, F): A_ik x_q,d for i ≤ k, pairs first, of tokens (P, N+1, D+1).

    Raises
    ------
    ValueError, TypeError
        As `AttentionLayer.loss_and_gradient` does for tokens.

    Examples
    --------
    >>> layer_features(np.array([[[2.0, 1.0], [3.0, 0.0]]])).tolist()
    [[39.0, 6.0, 3.0]]
    """
    return _features(checked_tokens(tokens), divide_by_context)


def _features(X: Array, divide_by_context: bool) -> Array:
    i, k = np.triu_indices(X.shape[2])
    A = np.matmul(X.swapaxes(1, 2), X)[:, i, k]
    if divide_by_context:
        A /= X.shape[1] - 1
    return np.asarray((A[:, :, None] * X[:, -1, None, :-1]).reshape(len(X), -1))


def linear_layer_moments(
    chunks: Iterable[tuple[ArrayLike, ArrayLike]], *, divide_by_context: bool = False
) -> LinearLayerMoments:
    """Average over sequences in one pass; memory grows with a chunk, not with their number.

    Parameters
    ----------
    chunks : iterable of (tokens, target)
        X (P_c, N_c+1, D+1) and y_q (P_c,) of each chunk; N may differ between chunks.
    divide_by_context : bool
        Whether the layer's attention is divided by N.

    Raises
    ------
    ValueError, TypeError
        If there is no chunk, a chunk is not what a layer reads, or D changes between chunks.

    Examples
    --------
    >>> from numerics import LinearTask, sample_chunks
    >>> from numerics.layers.tokens import tokens_of
    >>> chunks = sample_chunks(LinearTask(np.eye(2), 5), 30, chunk=10, rng=0)
    >>> moments = linear_layer_moments((tokens_of(s), s.target) for s in chunks)
    >>> moments.count, moments.feature_moment.shape
    (30, (12, 12))
    """
    dimension: int | None = None
    count, energy = 0, 0.0
    cross: Any = 0.0
    second: Any = 0.0
    for tokens, target in chunks:
        X = checked_tokens(tokens, dimension).astype(np.float64, copy=False)
        dimension = X.shape[2] - 1
        y = checked_target(target, len(X)).astype(np.float64, copy=False)
        count += len(X)
        energy += float(y @ y)
        features = (dimension + 1) * (dimension + 2) * dimension // 2
        rows = max(1, PIECE // (features + X[0].size))
        for start in range(0, len(X), rows):
            f = _features(X[start : start + rows], divide_by_context)
            cross = cross + y[start : start + rows] @ f
            second = second + f.T @ f
    if dimension is None:
        raise ValueError("chunks must hold at least one sequence, got none")
    return LinearLayerMoments(
        energy / count, cross / count, second / count, dimension, count, divide_by_context
    )


class LayerMomentsSystem:
    """A linear `AttentionLayer` bound to moments; trainable, at a cost independent of P.

    Loss and gradient are those of `LayerSystem` on the averaged sequences, to rounding of
    E[y_q²]: the loss is a difference of averages, not an average of squares.

    Raises
    ------
    ValueError
        If the layer is not linear, or its D or its division by N is not the moments'.

    Examples
    --------
    >>> moments = linear_layer_moments([(np.array([[[2.0, 1.0], [1.0, 0.0]]]), [3.0])])
    >>> system = LayerMomentsSystem(AttentionLayer(dimension=1, heads=1), moments)
    >>> float(system.loss(np.array([0, 1.0, 1, 0, 0, 0])))
    1.0
    """

    def __init__(self, layer: AttentionLayer, moments: LinearLayerMoments) -> None:
        if layer.attention != "linear":
            raise ValueError(f"layer must be linear to be seen through moments, got {layer}")
        for name in ("dimension", "divide_by_context"):
            ours, theirs = getattr(layer, name), getattr(moments, name)
            if ours != theirs:
                raise ValueError(f"layer has {name} {ours}, but the moments have {theirs}")
        self.layer = self.model = layer
        self.moments, self.size = moments, layer.size
        D, K = layer.dimension, layer.dimension + 1
        i, k = (index[:, None] for index in np.triu_indices(K))
        d = np.arange(D)
        # Where feature (ik)d finds its two terms in aᵀB (K, D·K), and where an entry of aᵀB
        # finds its feature.
        self._first, self._second = ((u * D + d) * K + w for u, w in ((i, k), (k, i)))
        self._first, self._second = self._first.ravel(), self._second.ravel()
        self._halves = np.repeat(np.where(i == k, 0.5, 1.0), D)
        self._entry = np.empty(K * D * K, np.intp)
        self._entry[self._first] = self._entry[self._second] = np.arange(len(self._first))

    def coefficients(self, theta: Array) -> Array:
        """M (..., F) with ŷ = m·f, for states (..., size)."""
        a, B = self.layer.factors(theta)
        flat = np.matmul(a.swapaxes(-1, -2), B.reshape(*a.shape[:-1], -1))
        flat = flat.reshape(*theta.shape[:-1], -1)
        folded = flat.take(self._first, axis=-1) + flat.take(self._second, axis=-1)
        return np.asarray(folded * self._halves)

    def loss(self, theta: Array) -> Array:
        """L at states (..., size); no factor ½."""
        m = self.coefficients(theta)
        rest = 2 * self.moments.correlation - m @ self.moments.feature_moment
        return np.asarray(self.moments.energy - np.sum(rest * m, axis=-1))

    def velocity(self, theta: Array) -> Array:
        """−½ ∂L/∂θ at a state (size,), a fresh array."""
        a, B = self.layer.factors(theta)
        H, K = a.shape
        flat = np.dot(a.T, B.reshape(H, -1)).ravel()
        m = flat.take(self._first)
        m += flat.take(self._second)
        m *= self._halves
        residual = self.moments.correlation - np.dot(self.moments.feature_moment, m)
        G = residual.take(self._entry).reshape(K, -1)
        return self.layer.pullback(
            theta, np.dot(B.reshape(H, -1), G.T), np.dot(a, G).reshape(B.shape)
        )

    def invariants(self, theta: Array) -> Array:
        """The layer's conserved quantities, for states (..., size)."""
        return self.layer.invariants(theta)

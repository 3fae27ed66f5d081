"""The features of the whole linear layer, and their averages over any number of sequences.

The prediction `ŷ = Σ_h a_hᵀ A B_hᵀ x_q`, A = Σ_n x_n x_nᵀ (over N if attention is), is linear in
the features `f_(ik)d = A_ik x_q,d`, i ≤ k, of which there are F = K(K+1)D/2, K = D+1: so the loss
sees the sequences through E[y_q²], E[y_q f] and E[f fᵀ] alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics._repr import OneLine
from numerics.layers.tokens import checked_target, checked_tokens
from numerics.moments import DenseMoments

Array = NDArray[Any]

# Features of one piece in the pass over the sequences: 4 MB of float64.
PIECE = 2**19


@dataclass(frozen=True, eq=False, repr=False)
class LinearLayerMoments(OneLine):
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

    def __post_init__(self) -> None:
        D = _check.count("dimension", self.dimension)
        arrays = {
            "correlation": _check.floating_array("correlation", self.correlation, 1),
            "feature_moment": _check.floating_array("feature_moment", self.feature_moment, 2),
        }
        for name, array in arrays.items():
            if array.shape != (wanted := (_number(D),) * array.ndim):
                raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
        _check.count("count", self.count)
        _check.flag("divide_by_context", self.divide_by_context)
        _check.settle(self, energy=_check.real("energy", self.energy), **arrays)


def _number(D: int) -> int:
    """F."""
    return (D + 1) * (D + 2) * D // 2


@guarded
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


@guarded
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
    for pair in chunks:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise TypeError(f"chunks must hold (tokens, target), got {_check.shown(pair)}")
        tokens, target = pair
        X = np.asarray(checked_tokens(tokens, dimension), np.float64)
        dimension = X.shape[2] - 1
        y = np.asarray(checked_target(target, len(X)), np.float64)
        count += len(X)
        energy += float(y @ y)
        rows = max(1, PIECE // (_number(dimension) + X[0].size))
        for start in range(0, len(X), rows):
            f = _features(X[start : start + rows], divide_by_context)
            cross = cross + y[start : start + rows] @ f
            second = second + f.T @ f
    if dimension is None:
        raise ValueError("chunks must hold at least one sequence, got none")
    return LinearLayerMoments(
        energy / count, cross / count, second / count, dimension, count, divide_by_context
    )


@guarded
def pool_layer_moments(batches: Iterable[LinearLayerMoments]) -> LinearLayerMoments:
    """Moments of several samples together, each weighted by its number of sequences.

    Raises
    ------
    ValueError
        If there is none, or they differ in D or in the division by N.

    Examples
    --------
    >>> one = linear_layer_moments([([[[2.0, 1.0], [1.0, 0.0]]], [3.0])])
    >>> other = linear_layer_moments([([[[2.0, 1.0], [1.0, 0.0]]] * 2, [0.0, 0.0])])
    >>> pooled = pool_layer_moments([one, other])
    >>> pooled.count, pooled.energy
    (3, 3.0)
    """
    parts = list(batches)
    for part in parts:
        if not isinstance(part, LinearLayerMoments):
            raise TypeError(f"batches must hold LinearLayerMoments, got {_check.shown(part)}")
    if len({(part.dimension, part.divide_by_context) for part in parts}) != 1:
        raise ValueError(
            "batches must hold moments of one dimension and one division by N, "
            f"got {[(part.dimension, part.divide_by_context) for part in parts]}"
        )
    count = sum(part.count for part in parts)
    energy, cross, second = (
        sum((part.count / count) * getattr(part, name) for part in parts)
        for name in ("energy", "correlation", "feature_moment")
    )
    first = parts[0]
    return LinearLayerMoments(
        energy, cross, second, first.dimension, count, first.divide_by_context
    )


@guarded
def reduced_moments(moments: LinearLayerMoments) -> DenseMoments:
    """What the reduced model sees of the same sequences: z = vec(β x_qᵀ) is a part of f.

    β = (1/N) Σ y_n x_n is the label's row of A without its last entry, for the query's label
    is 0.

    Raises
    ------
    ValueError
        If A is not divided by N.

    Examples
    --------
    >>> X = np.array([[[2.0, 1.0], [3.0, 0.0]]])
    >>> reduced_moments(linear_layer_moments([(X, [1.0])], divide_by_context=True)).correlation
    array([[6.]])
    """
    if not moments.divide_by_context:
        raise ValueError("moments must be divided by the context, as β is")
    D = moments.dimension
    i, k = np.triu_indices(D + 1)
    pairs = np.flatnonzero((k == D) & (i < D))
    chosen = (pairs * D + np.arange(D)[:, None]).ravel()  # vec: d outer, the entry of β inner
    C = moments.correlation[chosen].reshape(D, D).T
    return DenseMoments(moments.energy, C, moments.feature_moment[np.ix_(chosen, chosen)])

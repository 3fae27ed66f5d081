"""The weights of whole layers over many runs: the maps θ ↦ (a, B) of `numerics`, rows last.

A head acts through values a_h and scores B_h alone (`gpu.layers.kernels`). What a map has besides
its derivatives is what it says of its tokens: whether the query attends to itself. Matrices of all
heads are (H, n, m, rows).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import accumulate, pairwise
from typing import Any

from gpu._arrays import Array, namespace, product
from numerics import AttentionLayer, MultiTaskLayer


class WeightMap(ABC):
    """The map θ ↦ (a, B) of a layer and its derivatives, states (size, rows)."""

    query_attends: bool
    """Whether the query is one of the tokens that it attends to."""

    def __init__(self, layer: Any) -> None:
        self.layer, self.size = layer, layer.size
        self._shapes = list(layer.shapes.values())
        self._cuts = list(pairwise([0, *accumulate(map(math.prod, self._shapes))]))

    def blocks(self, state: Array) -> list[Array]:
        """The weights (*shape, rows), views of a state (size, rows)."""
        xp, parts = namespace(state), zip(self._cuts, self._shapes, strict=True)
        return [xp.reshape(state[a:b, :], (*shape, state.shape[1])) for (a, b), shape in parts]

    @abstractmethod
    def factors(self, state: Array) -> tuple[Array, Array]:
        """The values a (H, *outputs, K, rows) and scores B (H, D, K, rows)."""

    @abstractmethod
    def pushforward(self, state: Array, direction: Array) -> tuple[Array, Array]:
        """Derivatives of a and B along a direction."""

    @abstractmethod
    def pullback(self, state: Array, da: Array, dB: Array) -> Array:
        """Derivatives by θ (size, rows) from those by a and B; zero for the query's labels."""

    @abstractmethod
    def pullback_derivative(self, direction: Array, da: Array, dB: Array) -> Array:
        """Derivative of `pullback` along a direction at fixed da and dB, whatever θ."""

    @abstractmethod
    def invariants(self, state: Array) -> Array:
        """What the gradient flow conserves, (n, rows)."""


class AttentionMap(WeightMap):
    """`numerics.AttentionLayer`'s map, with merged keys and queries or separate ones."""

    query_attends = True

    def factors(self, state: Array) -> tuple[Array, Array]:
        """A (H, K, rows) and B (H, D, K, rows), s_hn = x_qᵀ B_h x_n as the query's label is 0."""
        a, *rest = self.blocks(state)
        if self.layer.rank is None:
            return a, rest[0][:, :-1, :, :]
        keys, queries = rest
        return a, _products(_transposed(queries[:, :, :-1, :]), keys)

    def pushforward(self, state: Array, direction: Array) -> tuple[Array, Array]:
        """Derivatives of a and B along a direction."""
        da, *moved = self.blocks(direction)
        if self.layer.rank is None:
            return da, moved[0][:, :-1, :, :]
        _, keys, queries = self.blocks(state)
        return da, _scores_moved(queries[:, :, :-1, :], keys, moved[1][:, :, :-1, :], moved[0])

    def pullback(self, state: Array, da: Array, dB: Array) -> Array:
        """Derivatives by θ (size, rows) from those by a and B; zero for the query's label."""
        if self.layer.rank is None:
            last = namespace(dB).zeros_like(dB[:, :1, :, :])
            return _joined([da, namespace(dB).concat([dB, last], axis=1)])
        _, keys, queries = self.blocks(state)
        return _joined([da, *_scores_pullback(queries, keys, dB)])

    def pullback_derivative(self, direction: Array, da: Array, dB: Array) -> Array:
        """Derivative of `pullback` along a direction at fixed da and dB, whatever θ."""
        xp = namespace(direction)
        if self.layer.rank is None:
            return xp.zeros_like(direction)
        return self.pullback(direction, xp.zeros_like(da), dB)

    def invariants(self, state: Array) -> Array:
        """See `AttentionLayer.invariants`."""
        xp, rows, (a, *rest) = namespace(state), state.shape[1], self.blocks(state)
        linear = self.layer.attention == "linear"
        if self.layer.rank is None:
            quantities = [rest[0][:, -1, :, :]]
            if linear:
                B = xp.reshape(rest[0][:, :-1, :, :], (self.layer.heads, -1, rows))
                quantities.append(_gram(a[None, ...]) - _gram(B[None, ...]))
        else:
            keys, queries = rest
            quantities = [queries[:, :, -1, :], _gram(keys) - _gram(queries)]
            if linear:
                quantities.append(xp.sum(a * a, axis=1) - xp.sum(keys * keys, axis=(1, 2)))
        return _joined(quantities)


class MultiTaskMap(WeightMap):
    """`numerics.MultiTaskLayer`'s map: a_h = O_h V_h, B_h the first d rows of Q_hᵀ K_h/√d_e."""

    query_attends = False

    def __init__(self, layer: MultiTaskLayer) -> None:
        super().__init__(layer)
        self._scale = 1.0 / math.sqrt(layer.embedding_dim)

    def _tokens(self, queries: Array) -> Array:
        """Columns of Q that meet the query's x."""
        return queries[:, :, : self.layer.dimension, :]

    def factors(self, state: Array) -> tuple[Array, Array]:
        """A (H, d_y, d+d_y, rows) and B (H, d, d+d_y, rows)."""
        O, V, K, Q = self.blocks(state)  # noqa: E741 - the paper's letter
        return _products(O, V), self._scale * _products(_transposed(self._tokens(Q)), K)

    def pushforward(self, state: Array, direction: Array) -> tuple[Array, Array]:
        """Derivatives of a and B along a direction."""
        O, V, K, Q = self.blocks(state)  # noqa: E741
        dO, dV, dK, dQ = self.blocks(direction)
        by_score = _scores_moved(self._tokens(Q), K, self._tokens(dQ), dK)
        return _products(dO, V) + _products(O, dV), self._scale * by_score

    def pullback(self, state: Array, da: Array, dB: Array) -> Array:
        """Derivatives by θ (size, rows) from those by a and B; zero for the query's labels."""
        O, V, K, Q = self.blocks(state)  # noqa: E741
        by_value = [_products(da, _transposed(V)), _products(_transposed(O), da)]
        return _joined([*by_value, *_scores_pullback(Q, K, self._scale * dB)])

    def pullback_derivative(self, direction: Array, da: Array, dB: Array) -> Array:
        """Derivative of `pullback`, linear in θ, along a direction at fixed da and dB."""
        return self.pullback(direction, da, dB)

    def invariants(self, state: Array) -> Array:
        """See `MultiTaskLayer.invariants`."""
        xp, (O, V, K, Q) = namespace(state), self.blocks(state)  # noqa: E741
        values = _gram(_transposed(O)) - _gram(V)
        quantities = [Q[:, :, self.layer.dimension :, :], _gram(K) - _gram(Q), values]
        if self.layer.attention == "linear":
            quantities.append(xp.sum(O * O, axis=(1, 2)) - xp.sum(K * K, axis=(1, 2)))
        return _joined(quantities)


def weight_map(layer: AttentionLayer | MultiTaskLayer) -> WeightMap:
    """The map of a layer."""
    return AttentionMap(layer) if isinstance(layer, AttentionLayer) else MultiTaskMap(layer)


def _joined(parts: list[Array]) -> Array:
    """Blocks (…, rows) as one state (size, rows)."""
    xp, rows = namespace(*parts), parts[0].shape[-1]
    return xp.concat([xp.reshape(part, (-1, rows)) for part in parts])


def _transposed(weights: Array) -> Array:
    """(H, n, m, rows) as (H, m, n, rows), a view."""
    return namespace(weights).permute_dims(weights, (0, 2, 1, 3))


def _products(A: Array, B: Array) -> Array:
    """Products of each head's matrices, (H, n, k, rows) · (H, k, m, rows)."""
    each = [product(A[h, ...], B[h, ...]) for h in range(A.shape[0])]
    return namespace(A).stack(each)


def _gram(weights: Array) -> Array:
    """W_h W_hᵀ, (H, n, n, rows)."""
    return _products(weights, _transposed(weights))


def _scores_moved(queries: Array, keys: Array, dq: Array, dk: Array) -> Array:
    """Derivative of Q_hᵀ K_h, for queries cut to the columns that meet the query's x."""
    return _products(_transposed(queries), dk) + _products(_transposed(dq), keys)


def _scores_pullback(queries: Array, keys: Array, dB: Array) -> tuple[Array, Array]:
    """Derivatives by keys and queries from those by Q_hᵀ K_h, zero for the query's labels."""
    xp, D = namespace(dB), dB.shape[1]
    by_keys = _products(queries[:, :, :D, :], dB)
    by_queries = _products(keys, _transposed(dB))
    return by_keys, xp.concat([by_queries, xp.zeros_like(queries[:, :, D:, :])], axis=2)


__all__ = ["AttentionMap", "MultiTaskMap", "WeightMap", "weight_map"]

"""The weights of a whole layer over many runs: `AttentionLayer`'s map θ ↦ (a, B), rows last."""

from __future__ import annotations

import math

from gpu._arrays import Array, namespace, product, transposed
from numerics import AttentionLayer


class LayerMap:
    """The map θ ↦ (a, B) of a layer and its transposed derivative, rows last."""

    def __init__(self, layer: AttentionLayer) -> None:
        self.layer, self.size = layer, layer.size
        self._heads, self._K = layer.heads, layer.dimension + 1
        self._rank = layer.rank

    def blocks(self, state: Array) -> list[Array]:
        """The weights (*shape, rows), views of a state (size, rows)."""
        xp, begin, parts = namespace(state), 0, []
        for shape in self.layer.shapes.values():
            end = begin + math.prod(shape)
            parts.append(xp.reshape(state[begin:end, :], (*shape, state.shape[1])))
            begin = end
        return parts

    def factors(self, state: Array) -> tuple[Array, Array]:
        """A (H, K, rows) and B (H, D, K, rows), s_hn = x_qᵀ B_h x_n as the query's label is 0."""
        xp, (a, *rest) = namespace(state), self.blocks(state)
        if self._rank is None:
            return a, rest[0][:, :-1, :, :]
        keys, queries = rest[0], rest[1][:, :, :-1, :]
        heads = range(self._heads)
        products = [product(transposed(queries[h, ...]), keys[h, ...]) for h in heads]
        return a, xp.stack(products, axis=0)

    def pullback(self, state: Array, da: Array, dB: Array) -> Array:
        """Derivatives by θ (size, rows) from those by a and B; zero for the query's label."""
        xp, rows = namespace(state), state.shape[1]
        if self._rank is None:
            last = xp.zeros_like(dB[:, :1, :, :])
            parts = [da, xp.concat([dB, last], axis=1)]
        else:
            _, keys, queries = self.blocks(state)
            heads = range(self._heads)
            by_key = [product(queries[h, :, :-1, :], dB[h, ...]) for h in heads]
            by_query = [product(keys[h, ...], transposed(dB[h, ...])) for h in heads]
            full = xp.stack(by_query, axis=0)
            full = xp.concat([full, xp.zeros_like(full[:, :, :1, :])], axis=2)
            parts = [da, xp.stack(by_key, axis=0), full]
        return xp.concat([xp.reshape(part, (-1, rows)) for part in parts], axis=0)

    def invariants(self, state: Array) -> Array:
        """What the gradient flow conserves, (n, rows); see `AttentionLayer.invariants`."""
        xp, rows, (a, *rest) = namespace(state), state.shape[1], self.blocks(state)
        linear = self.layer.attention == "linear"
        if self._rank is None:
            quantities = [rest[0][:, -1, :, :]]
            if linear:
                B = xp.reshape(rest[0][:, :-1, :, :], (self._heads, -1, rows))
                quantities.append(product(a, transposed(a)) - product(B, transposed(B)))
        else:
            keys, queries = rest
            squares = (
                xp.sum(w[:, :, None, ...] * w[:, None, ...], axis=3) for w in (keys, queries)
            )
            gram_k, gram_q = squares
            quantities = [queries[:, :, -1, :], gram_k - gram_q]
            if linear:
                norm = xp.sum(keys * keys, axis=(1, 2))
                quantities.append(xp.sum(a * a, axis=1) - norm)
        return xp.concat([xp.reshape(part, (-1, rows)) for part in quantities], axis=0)


__all__ = ["LayerMap"]

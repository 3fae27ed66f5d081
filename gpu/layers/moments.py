"""The whole linear layer over many runs, exactly, from moments; `numerics.layers.moments` defines.

The layer sees its sample through m·f, m_(ik)d = Σ_h (a_h,i B_h,dk + a_h,k B_h,di), halved for
i = k (`numerics.layers.features`). With r = E[y_q f] − E[f fᵀ] m, unfolded to G = −½ ∂L/∂(aᵀB),
the velocity is the pullback of (B Gᵀ, a G), along a direction ṙ = −E[f fᵀ] ṁ, and the Jacobian
(∂T/∂θ)ᵀ r − Tᵀ E[f fᵀ] T with T = ∂m/∂θ.
"""

from __future__ import annotations

import numpy as np

from gpu._arrays import Array, index, like, namespace, product, rows_last, transposed
from gpu.batch import LayerMoments
from gpu.layers.maps import AttentionMap
from gpu.layers.tensors import half_curvature, tangent
from gpu.systems import JacobianSystem
from numerics import AttentionLayer


class LayerMomentsProblem:
    """A linear layer with every row's moments, rows last."""

    def __init__(self, layer: AttentionLayer, moments: LayerMoments) -> None:
        self.model, self.moments, self.size = layer, moments, layer.size
        self._map = AttentionMap(layer)
        reference = moments.correlation
        first, second, halves, entry = _feature_places(layer.dimension)
        self._first, self._second = index(reference, first), index(reference, second)
        self._halves, self._entry = like(reference, halves), index(reference, entry)
        self._correlation = rows_last(reference)
        self._feature = rows_last(moments.feature_moment)

    def _fold(self, products: Array) -> Array:
        """Entries (F, …, rows) of m from those of aᵀB (K, D·K, …, rows)."""
        xp, (K, n, *rest) = namespace(products), products.shape
        flat = xp.reshape(products, (K * n, *rest))
        folded = xp.take(flat, self._first, axis=0) + xp.take(flat, self._second, axis=0)
        return folded * xp.reshape(self._halves, (-1, *(1 for _ in rest)))

    def _unfold(self, residual: Array) -> Array:
        """G (K, D·K, rows) from r (F, rows)."""
        xp, rows = namespace(residual), residual.shape[1]
        entries = xp.take(residual, self._entry, axis=0)
        return xp.reshape(entries, (self.model.dimension + 1, -1, rows))

    def _quadratic(self, m: Array) -> Array:
        """E[f fᵀ] m, (F, rows)."""
        return product(self._feature, m[:, None, :])[:, 0, :]

    def _flat(self, state: Array) -> tuple[Array, Array]:
        """A (H, K, rows) and flat B (H, D·K, rows)."""
        a, B = self._map.factors(state)
        return a, namespace(state).reshape(B, (a.shape[0], -1, state.shape[1]))

    def loss(self, state: Array) -> Array:
        """L (rows,); a difference of averages, right to rounding of E[y_q²]."""
        a, B = self._flat(state)
        m = self._fold(product(transposed(a), B))
        rest = (2.0 * self._correlation - self._quadratic(m)) * m
        return self.moments.energy - namespace(state).sum(rest, axis=0)

    def _residual(self, a: Array, B: Array) -> Array:
        """G (K, D·K, rows)."""
        m = self._fold(product(transposed(a), B))
        return self._unfold(self._correlation - self._quadratic(m))

    def velocity(self, state: Array) -> Array:
        """−½ ∂L/∂θ (size, rows)."""
        a, B = self._flat(state)
        return self._map.pullback(state, *self._products(a, B, self._residual(a, B)))

    def _products(self, a: Array, B: Array, G: Array) -> tuple[Array, Array]:
        """Derivatives B Gᵀ of ⟨G, aᵀB⟩ by a (H, K, rows) and a G by B (H, D, K, rows)."""
        scores, (H, K, rows) = product(a, G), a.shape
        scores = namespace(a).reshape(scores, (H, K - 1, K, rows))
        return product(B, transposed(G)), scores

    def jvp(self, state: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction of each row, (size, rows)."""
        xp, (a, B) = namespace(state), self._flat(state)
        da, dB = self._map.pushforward(state, direction)
        dB = xp.reshape(dB, B.shape)
        dm = self._fold(product(transposed(da), B) + product(transposed(a), dB))
        G, dG = self._residual(a, B), self._unfold(-self._quadratic(dm))
        parts = zip(self._products(da, dB, G), self._products(a, B, dG), strict=True)
        out = self._map.pullback(state, *(x + y for x, y in parts))
        return out + self._map.pullback_derivative(direction, *self._products(a, B, G))

    def jacobian(self, state: Array) -> Array:
        """Derivative of the velocity, −½ Hessian of L, (size, size, rows)."""
        moved = self._fold(tangent(self._map, state))
        half = half_curvature(self._map, state, self._residual(*self._flat(state)))
        square = product(transposed(moved), product(self._feature, moved))
        return half + transposed(half) - square

    def invariants(self, state: Array) -> Array:
        """The layer's conserved quantities, (n, rows)."""
        return self._map.invariants(state)

    def take(self, rows: Array) -> LayerMomentsProblem:
        """The problem of some rows."""
        return LayerMomentsProblem(self.model, self.moments.take(rows))


def _feature_places(D: int) -> tuple[np.ndarray, ...]:
    """Where feature (ik)d has its two terms in aᵀB (K, D·K), its factor, and the way back."""
    K = D + 1
    i, k = (places[:, None] for places in np.triu_indices(K))
    d = np.arange(D)
    first, second = (((u * D + d) * K + w).ravel() for u, w in ((i, k), (k, i)))
    halves = np.repeat(np.where(i == k, 0.5, 1.0), D)
    entry = np.empty(K * D * K, np.int64)
    entry[first] = entry[second] = np.arange(len(first))
    return first, second, halves, entry


class LayerMomentsSystem(JacobianSystem):
    """`numerics.LayerMomentsSystem` over rows of weights: the whole linear layer, exactly.

    Parameters
    ----------
    layer : AttentionLayer
        Linear.
    moments : LayerMoments
        From `stack_moments` of `numerics.linear_layer_moments`, one row for each run or for all.

    Raises
    ------
    ValueError, TypeError
        If the layer is not linear, its D or its division by N is not the moments', or the moments
        are of another kind.

    Examples
    --------
    >>> from gpu import stack_moments
    >>> from numerics import linear_layer_moments
    >>> moments = linear_layer_moments([(np.array([[[2.0, 1.0], [1.0, 0.0]]]), [3.0])])
    >>> system = LayerMomentsSystem(AttentionLayer(dimension=1, heads=1), stack_moments([moments]))
    >>> system.loss(np.array([[0.0, 1, 1, 0, 0, 0], [0.0, 0, 0, 0, 0, 0]])).tolist()
    [1.0, 9.0]
    """

    def __init__(self, layer: AttentionLayer, moments: LayerMoments) -> None:
        if not isinstance(layer, AttentionLayer):
            raise TypeError(f"layer must be an AttentionLayer, got {type(layer).__name__}")
        if not isinstance(moments, LayerMoments):
            raise TypeError(
                f"moments must be stacked from LinearLayerMoments, got {type(moments).__name__}"
            )
        if layer.attention != "linear":
            raise ValueError(f"layer must be linear to be seen through moments, got {layer}")
        for name in ("dimension", "divide_by_context"):
            ours, theirs = getattr(layer, name), getattr(moments, name)
            if ours != theirs:
                raise ValueError(f"layer has {name} {ours}, but the moments have {theirs}")
        super().__init__(layer, LayerMomentsProblem(layer, moments))


__all__ = ["LayerMomentsProblem", "LayerMomentsSystem"]

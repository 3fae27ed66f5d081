"""The whole linear layer on any number of sequences, exactly, from a finite matrix of moments.

In the features f of `numerics.layers.features` the prediction is

    ŷ = m·f,  m_(ik)d = Σ_h (a_h,i B_h,dk + a_h,k B_h,di),  halved for i = k,

so a training run, with the blocks that act on labels, is reproduced step for step from E[y_q²],
E[y_q f] and E[f fᵀ], at a cost that does not depend on P. With T = ∂m/∂θ and
r = E[y_q f] − E[f fᵀ] m, the velocity −½ ∂L/∂θ is Tᵀ r, and its derivative
(∂T/∂θ)ᵀ r − Tᵀ E[f fᵀ] T.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.layers.attention import AttentionLayer
from numerics.layers.features import (
    LinearLayerMoments,
    layer_features,
    linear_layer_moments,
    pool_layer_moments,
    reduced_moments,
)

Array = NDArray[Any]


@guarded
def extra_blocks(layer: AttentionLayer, theta: Array) -> Array:
    """The weights that the reduced model lacks and that reach the prediction, (..., n).

    Entries of a_h on x, then the column of W_h that meets y_n (n = 2DH), or the last entries of
    the rows of W_k,h (n = (D+R)H). `AttentionLayer.embed` leaves them at zero.

    Examples
    --------
    >>> layer = AttentionLayer(dimension=2, heads=1)
    >>> extra_blocks(layer, layer.pack([[1, 2, 3]], [[[4, 5, 6], [7, 8, 9], [0, 0, 0]]]))
    array([1., 2., 6., 9.])
    """
    theta = _check.state("theta", theta, layer.size, (1, 2))
    a, keys = layer.unpack(theta)[:2]
    D, head = layer.dimension, theta.shape[:-1]
    labels = keys[..., :D, D] if layer.rank is None else keys[..., D]
    parts = [a[..., :D].reshape(*head, -1), labels.reshape(*head, -1)]
    return np.concatenate(parts, axis=-1)


class LayerMomentsSystem:
    """A linear `AttentionLayer` bound to moments; a gradient system at a cost independent of P.

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

    @guarded
    def __init__(self, layer: AttentionLayer, moments: LinearLayerMoments) -> None:
        if layer.attention != "linear":
            raise ValueError(f"layer must be linear to be seen through moments, got {layer}")
        for name in ("dimension", "divide_by_context"):
            ours, theirs = getattr(layer, name), getattr(moments, name)
            if ours != theirs:
                raise ValueError(f"layer has {name} {ours}, but the moments have {theirs}")
        self.layer = self.model = layer
        self._moments, self.size = moments, layer.size
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
        return self._fold(np.matmul(a.swapaxes(-1, -2), B.reshape(*a.shape[:-1], -1)))

    def _fold(self, products: Array) -> Array:
        """Entries (..., F) of m from those of aᵀB (..., K, D·K)."""
        flat = products.reshape(*products.shape[:-2], -1)
        folded = flat.take(self._first, axis=-1)
        folded += flat.take(self._second, axis=-1)
        return np.asarray(folded * self._halves)

    def _unfold(self, residual: Array) -> Array:
        """G (K, D·K) = −½ ∂L/∂(aᵀB) from r (F,)."""
        return residual.take(self._entry).reshape(self.layer.dimension + 1, -1)

    def loss(self, theta: Array) -> Array:
        """L at states (..., size); no factor ½."""
        m = self.coefficients(theta)
        rest = 2 * self._moments.correlation - m @ self._moments.feature_moment
        return np.asarray(self._moments.energy - np.sum(rest * m, axis=-1))

    def velocity(self, theta: Array) -> Array:
        """−½ ∂L/∂θ at a state (size,), a fresh array."""
        a, B = self.layer.factors(theta)
        flat = B.reshape(len(a), -1)
        m = self._fold(np.dot(a.T, flat))
        G = self._unfold(self._moments.correlation - np.dot(self._moments.feature_moment, m))
        return self.layer.pullback(theta, np.dot(flat, G.T), np.dot(a, G).reshape(B.shape))

    def _pushforward(self, theta: Array, directions: Array) -> tuple[Array, Array]:
        """Derivatives of B, flat (..., H, D·K), and of m (..., F) along directions (..., size)."""
        a, B = self.layer.factors(theta)
        da, *rest = self.layer.unpack(directions)
        if self.layer.rank is None:
            dB = rest[0][..., :-1, :]
        else:
            (_, W_k, W_q), (dk, dq) = self.layer.unpack(theta), rest
            dB = np.matmul(W_q[..., :-1].swapaxes(-1, -2), dk)
            dB = dB + np.matmul(dq[..., :-1].swapaxes(-1, -2), W_k)
        flat = dB.reshape(*da.shape[:-1], -1)
        products = np.matmul(da.swapaxes(-1, -2), B.reshape(len(a), -1)) + np.matmul(a.T, flat)
        return flat, self._fold(products)

    def jvp(self, theta: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction, at the cost of about two velocities."""
        a, B = self.layer.factors(theta)
        da = self.layer.unpack(direction)[0]
        dflat, dm = self._pushforward(theta, direction)
        Q, flat = self._moments.feature_moment, B.reshape(len(a), -1)
        m = self._fold(np.dot(a.T, flat))
        G, dG = self._unfold(self._moments.correlation - Q @ m), self._unfold(-(Q @ dm))
        values = np.dot(dflat, G.T) + np.dot(flat, dG.T)
        keys = (np.dot(da, G) + np.dot(a, dG)).reshape(B.shape)
        out = self.layer.pullback(theta, values, keys)
        if self.layer.rank is not None:  # B is a product of weights: the pullback moves as well
            out += self.layer.pullback(direction, 0 * da, np.dot(a, G).reshape(B.shape))
        return out

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the velocity, −½ Hessian of L, (size, size) and symmetric."""
        Q, m = self._moments.feature_moment, self.coefficients(theta)
        tangent = self._pushforward(theta, np.eye(self.size))[1]
        half = self._half_curvature(theta, self._unfold(self._moments.correlation - Q @ m))
        return np.asarray(half + half.T - tangent @ Q @ tangent.T)

    def _half_curvature(self, theta: Array, G: Array) -> Array:
        """Second derivatives of ⟨G, aᵀB(θ)⟩ at fixed G, one of the two triangles."""
        D, K = self.layer.dimension, self.layer.dimension + 1
        G = G.reshape(K, D, K)
        out = np.zeros((self.size, self.size), G.dtype)
        weights = self.layer.unpack(theta)
        places = self.layer.unpack(np.arange(self.size))
        for h in range(self.layer.heads):
            a, *rest = (place[h] for place in places)
            if self.layer.rank is None:
                out[a[:, None], rest[0][:-1].ravel()] = G.reshape(K, -1)
                continue
            (W_k, W_q), (k, q) = (w[h] for w in weights[1:]), rest
            out[a[:, None, None], k] = np.einsum("rd,idk->irk", W_q[:, :-1], G)
            out[a[:, None, None], q[:, :-1]] = np.einsum("rk,idk->ird", W_k, G)
            out[k[:, :, None], q[:, None, :-1]] = np.tensordot(weights[0][h], G, 1).T
        return out

    def invariants(self, theta: Array) -> Array:
        """The layer's conserved quantities, for states (..., size)."""
        return self.layer.invariants(theta)


__all__ = [
    "LayerMomentsSystem",
    "LinearLayerMoments",
    "extra_blocks",
    "layer_features",
    "linear_layer_moments",
    "pool_layer_moments",
    "reduced_moments",
]

"""Whole attention layers over many runs: linear ones by moments, any by tokens, backward by hand.

Notation as in `numerics.layers.attention`: K = D+1, tokens X (N+1, K) end with the query (x_q, 0),
and a head acts through a_h (K,) and B_h (D, K): scores s_n = x_qᵀ B_h x_n, values t_n = a_h·x_n,

    ŷ = Σ_h Σ_n p_hn t_hn,   p = s, s/N or softmax_n(s),
    ∂ŷ/∂a_h = Σ_n p_n x_n,   ∂ŷ/∂B_h = x_q Σ_n d_n x_nᵀ,   d = t, t/N or p (t − ŷ_h).

A linear layer sees the sample through m·f, m_(ik)d = Σ_h (a_h,i B_h,dk + a_h,k B_h,di), halved for
i = k (`numerics.layers.features`). The loss is the mean of (ŷ − y_q)² without ½, the velocity
−½ ∂L/∂θ; states are (rows, size), each row a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat
import numpy as np

from gpu import _arrays
from gpu._arrays import Array, index, like, namespace, product, rows_last, transposed
from gpu.batch import Batch, LayerMoments
from gpu.layer_map import LayerMap
from gpu.systems import System
from numerics import AttentionLayer

# Numbers in the intermediate arrays of one piece of the sequences: on the host they should stay
# near one core's cache, a device wants long calls.
HOST_PIECE, DEVICE_PIECE = 2**18, 2**26


class LayerMomentsProblem:
    """A linear layer with every row's moments, rows last."""

    def __init__(self, layer: AttentionLayer, moments: LayerMoments) -> None:
        self.model, self.moments, self.size = layer, moments, layer.size
        self._map = LayerMap(layer)
        reference = moments.correlation
        first, second, halves, entry = _feature_places(layer.dimension)
        self._first, self._second = index(reference, first), index(reference, second)
        self._halves, self._entry = like(reference, halves), index(reference, entry)
        self._correlation = rows_last(reference)
        self._feature = rows_last(moments.feature_moment)

    def _coefficients(self, a: Array, B: Array) -> Array:
        """M (F, rows) with ŷ = m·f, for flat B (H, D·K, rows)."""
        xp = namespace(a)
        flat = xp.reshape(product(transposed(a), B), (-1, a.shape[2]))
        folded = xp.take(flat, self._first, axis=0) + xp.take(flat, self._second, axis=0)
        return folded * self._halves

    def _quadratic(self, m: Array) -> Array:
        """E[f fᵀ] m, (F, rows)."""
        return product(self._feature, m[:, None, :])[:, 0, :]

    def _flat(self, state: Array) -> tuple[Array, Array]:
        a, B = self._map.factors(state)
        return a, namespace(state).reshape(B, (a.shape[0], -1, state.shape[1]))

    def loss(self, state: Array) -> Array:
        """L (rows,); a difference of averages, right to rounding of E[y_q²]."""
        m = self._coefficients(*self._flat(state))
        rest = (2.0 * self._correlation - self._quadratic(m)) * m
        return self.moments.energy - namespace(state).sum(rest, axis=0)

    def velocity(self, state: Array) -> Array:
        """−½ ∂L/∂θ (size, rows)."""
        xp, rows, (a, B) = namespace(state), state.shape[1], self._flat(state)
        residual = self._correlation - self._quadratic(self._coefficients(a, B))
        G = xp.reshape(xp.take(residual, self._entry, axis=0), (a.shape[1], -1, rows))
        dB = xp.reshape(product(a, G), (a.shape[0], self.model.dimension, -1, rows))
        return self._map.pullback(state, product(B, transposed(G)), dB)

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
    halves = np.repeat(np.where(i == k, 0.5, 1.0), D)[:, None]
    entry = np.empty(K * D * K, np.int64)
    entry[first] = entry[second] = np.arange(len(first))
    return first, second, halves, entry


class LayerMomentsSystem(System):
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
        _known_layer(layer)
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


def _known_layer(layer: AttentionLayer) -> None:
    if not isinstance(layer, AttentionLayer):
        raise TypeError(f"layer must be an AttentionLayer, got {type(layer).__name__}")


@dataclass(frozen=True, eq=False)
class TokenSample(Batch):
    """Sequences of one length: tokens (rows, P, N+1, K) and target (rows, P); one row for all."""

    tokens: Array
    target: Array


class LayerProblem:
    """A layer on each row's sequences, or on one sample for all rows, rows last.

    With one sample for all, the heads of all rows meet each token in one product: rows and heads
    are one axis of G = rows·H, and G = H where each row has its own sample.
    """

    def __init__(self, layer: AttentionLayer, sample: TokenSample, chunk: int | None) -> None:
        self.model, self.moments, self.size = layer, sample, layer.size
        self._map, self._chunk = LayerMap(layer), chunk
        length = sample.tokens.shape[2] - 1
        self._factor = 1.0 / length if layer.divide_by_context else 1.0

    def _weights(self, state: Array) -> tuple[Array, Array]:
        """A (S, G, K) and B (S, D, G·K), S = 1 for one sample, else rows."""
        xp, (a, B) = namespace(state), self._map.factors(state)
        S = self.moments.rows
        D, K = B.shape[1], B.shape[2]
        a = xp.reshape(xp.permute_dims(a, (2, 0, 1)), (S, -1, K))
        B = xp.reshape(xp.permute_dims(B, (3, 0, 1, 2)), (S, -1, D, K))
        return a, xp.reshape(xp.permute_dims(B, (0, 2, 1, 3)), (S, D, -1))

    def _pieces(self, groups: int) -> list[slice]:
        tokens = self.moments.tokens
        S, P, M, K = tokens.shape
        host = array_api_compat.is_numpy_array(tokens)
        numbers = S * (4 * groups * M + 4 * groups * K + M * K)
        length = self._chunk or max(1, (HOST_PIECE if host else DEVICE_PIECE) // numbers)
        return [slice(start, min(start + length, P)) for start in range(0, P, length)]

    def _forward(self, a: Array, B: Array, part: slice) -> tuple[Array, ...]:
        """Tokens, queries, weights p and values t (S, b, G, M), and ŷ_h (S, b, G)."""
        xp, X = namespace(a), self.moments.tokens[:, part, :, :]
        S, b, _, K = X.shape
        query = X[:, :, -1, :-1]
        last = xp.permute_dims(X, (0, 1, 3, 2))
        scores = xp.reshape(query @ B, (S, b, -1, K)) @ last
        values = a[:, None, :, :] @ last
        if self.model.attention == "softmax":
            weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
            weights = weights / xp.sum(weights, axis=-1, keepdims=True)
        else:
            weights = scores * self._factor
        return X, query, weights, values, xp.sum(weights * values, axis=-1)

    def _error(self, outputs: Array, part: slice) -> Array:
        """ŷ − y_q, (S, b, rows of one sample)."""
        xp, (S, b, _) = namespace(outputs), outputs.shape
        total = xp.sum(xp.reshape(outputs, (S, b, -1, self.model.heads)), axis=-1)
        return total - self.moments.target[:, part, None]

    def loss(self, state: Array) -> Array:
        """L (rows,)."""
        xp, (a, B) = namespace(state), self._weights(state)
        total = xp.zeros_like(state[0, :])
        for part in self._pieces(a.shape[1]):
            error = self._error(self._forward(a, B, part)[-1], part)
            total = total + xp.reshape(xp.sum(error * error, axis=1), (-1,))
        return total / self.moments.tokens.shape[1]

    def velocity(self, state: Array) -> Array:
        """−½ ∂L/∂θ (size, rows)."""
        xp, (a, B) = namespace(state), self._weights(state)
        da, dB = xp.zeros_like(a), xp.zeros_like(B)
        for part in self._pieces(a.shape[1]):
            more = self._gradient(a, B, part)
            da, dB = da + more[0], dB + more[1]
        H, K, rows, D = self.model.heads, a.shape[2], state.shape[1], B.shape[1]
        da = xp.permute_dims(xp.reshape(da, (rows, H, K)), (1, 2, 0))
        dB = xp.permute_dims(xp.reshape(dB, (B.shape[0], D, -1, K)), (0, 2, 1, 3))
        dB = xp.permute_dims(xp.reshape(dB, (rows, H, D, K)), (1, 2, 3, 0))
        return self._map.pullback(state, da, dB) * (-1.0 / self.moments.tokens.shape[1])

    def _gradient(self, a: Array, B: Array, part: slice) -> tuple[Array, Array]:
        """Sums over sequences of (ŷ − y_q) ∂ŷ/∂a and (ŷ − y_q) ∂ŷ/∂B."""
        xp = namespace(a)
        X, query, weights, values, outputs = self._forward(a, B, part)
        S, b = X.shape[:2]
        shape = (S, b, outputs.shape[2] // self.model.heads, self.model.heads)
        error = xp.broadcast_to(self._error(outputs, part)[..., None], shape)
        scale = xp.reshape(error, (S, b, -1, 1))
        if self.model.attention == "softmax":
            by_score = weights * (values - outputs[..., None])
        else:
            by_score = self._factor * values
        tokens_a, tokens_B = scale * (weights @ X), scale * (by_score @ X)
        dB = xp.permute_dims(query, (0, 2, 1)) @ xp.reshape(tokens_B, (S, b, -1))
        return xp.sum(tokens_a, axis=1), dB

    def invariants(self, state: Array) -> Array:
        """The layer's conserved quantities, (n, rows)."""
        return self._map.invariants(state)

    def take(self, rows: Array) -> LayerProblem:
        """The problem of some rows."""
        return LayerProblem(self.model, self.moments.take(rows), self._chunk)


class LayerSystem(System):
    """`numerics.LayerSystem` over rows of weights: a layer, linear or softmax, on sequences.

    Parameters
    ----------
    layer : AttentionLayer
    tokens : (P, N+1, D+1) or (rows, P, N+1, D+1)
        X of one sample for all rows, or of each row's own; the last token is the query with
        label 0.
    target : (P,) or (rows, P)
        y_q.
    chunk : int, optional
        Sequences per piece; chosen by memory if left out.

    Raises
    ------
    ValueError, TypeError
        If a shape is not the layer's, something is empty or not finite, a query's label is not 0,
        or tokens and target are not of one kind.

    Examples
    --------
    >>> layer = AttentionLayer(dimension=1, heads=1, divide_by_context=True)
    >>> system = LayerSystem(layer, np.array([[[2.0, 1.0], [1.0, 0.0]]]), np.array([3.0]))
    >>> system.velocity(np.array([[0.0, 1, 1, 0, 0, 0]]))[:, :4].tolist()
    [[5.0, 2.0, 2.0, 1.0]]
    """

    def __init__(
        self, layer: AttentionLayer, tokens: Array, target: Array, *, chunk: int | None = None
    ) -> None:
        _known_layer(layer)
        if chunk is not None and (isinstance(chunk, bool) or chunk != int(chunk) or chunk < 1):
            raise ValueError(f"chunk must be an integer >= 1, got {chunk!r}")
        shared = getattr(tokens, "ndim", 4) == 3
        _arrays.floating("tokens", tokens, 3 if shared else 4)
        _arrays.floating("target", target, 1 if shared else 2)
        _arrays.same_kind("target", target, "tokens", tokens)
        if shared:
            tokens, target = tokens[None, ...], target[None, ...]
        _checked_tokens(layer, tokens, target)
        super().__init__(layer, LayerProblem(layer, TokenSample(tokens, target), chunk))


def _checked_tokens(layer: AttentionLayer, tokens: Array, target: Array) -> None:
    K = layer.dimension + 1
    if tokens.shape[3] != K or tokens.shape[2] < 2:
        raise ValueError(
            f"tokens must have shape (…, P, N+1, {K}) with N >= 1, got {tuple(tokens.shape)}"
        )
    if tuple(target.shape) != tuple(tokens.shape[:2]):
        raise ValueError(
            f"target has rows and sequences {tuple(target.shape)}, but tokens have "
            f"{tuple(tokens.shape[:2])}"
        )
    _arrays.finite("tokens", tokens)
    _arrays.finite("target", target)
    if bool(namespace(tokens).any(tokens[:, :, -1, -1] != 0.0)):
        raise ValueError("tokens must end with the query and its label 0, got another label")


__all__ = ["LayerMomentsSystem", "LayerSystem"]

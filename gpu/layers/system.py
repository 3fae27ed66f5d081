"""Whole attention layers over many runs, linear or softmax, on tokens, backward by hand.

Notation as in `numerics.layers`: tokens X (N+1, K) end with the query, whose labels are 0; N counts
the context pairs. The loss is the mean of ‖ŷ − y_q‖² over sequences without ½, the velocity
−½ ∂L/∂θ; states are (rows, size), each row a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpu import _arrays
from gpu._arrays import Array, namespace, on_host
from gpu.batch import Batch
from gpu.layers.kernels import Piece
from gpu.layers.maps import weight_map
from gpu.systems import System
from numerics import AttentionLayer, MultiTaskLayer

Layer = AttentionLayer | MultiTaskLayer

# Numbers in the intermediate arrays of one piece of the sequences: on the host they should stay
# near one core's cache, a device wants long calls.
HOST_PIECE, DEVICE_PIECE = 2**18, 2**26


@dataclass(frozen=True, eq=False, repr=False)
class TokenSample(Batch):
    """Sequences of one length: tokens (rows, P, N+1, K), target (rows, P, …); one row for all."""

    tokens: Array
    target: Array


class LayerProblem:
    """A layer on each row's sequences, or on one sample for all rows, rows last."""

    def __init__(self, layer: Layer, sample: TokenSample, chunk: int | None) -> None:
        self.model, self.moments, self.size = layer, sample, layer.size
        self._map, self._chunk = weight_map(layer), chunk
        self._sequences, tokens = sample.tokens.shape[1:3]
        self._attended = tokens if self._map.query_attends else tokens - 1
        self._factor: float | None = None
        if layer.attention == "linear":
            self._factor = 1.0 / (tokens - 1) if layer.divide_by_context else 1.0

    def _for_kernel(self, a: Array, B: Array) -> tuple[Array, Array]:
        """A (S, R, C, H·K), B (S, D, G·K) of the map's a (H, …, K, rows), B (H, D, K, rows)."""
        xp, S, (H, D, K, rows) = namespace(B), self.moments.rows, B.shape
        a = xp.permute_dims(xp.reshape(a, (H, -1, K, rows)), (3, 1, 0, 2))
        B = xp.reshape(xp.permute_dims(B, (3, 0, 1, 2)), (S, -1, D, K))
        B = xp.reshape(xp.permute_dims(B, (0, 2, 1, 3)), (S, D, -1))
        return xp.reshape(a, (S, rows // S, -1, H * K)), B

    def _from_kernel(self, da: Array, dB: Array) -> tuple[Array, Array]:
        """Sums of half the derivatives of ‖e‖² as −½ those of L, laid out as the map's a and B."""
        xp, H, (S, D, _) = namespace(dB), self.model.heads, dB.shape
        (S, R, _, HK), mean = da.shape, -1.0 / self._sequences
        K, rows = HK // H, S * R
        da = xp.permute_dims(xp.reshape(da, (rows, -1, H, K)), (2, 1, 3, 0))
        dB = xp.permute_dims(xp.reshape(dB, (S, D, -1, K)), (0, 2, 1, 3))
        dB = xp.permute_dims(xp.reshape(dB, (rows, H, D, K)), (1, 2, 3, 0))
        return mean * xp.reshape(da, (H, *self.model.output_shape, K, rows)), mean * dB

    def _pieces(self, rows: int) -> Iterator[Piece]:
        """The sequences of all samples, so many at once."""
        xp, sample, D = namespace(self.moments.tokens), self.moments, self.model.dimension
        S, P, M, K = sample.tokens.shape
        groups = rows // S * self.model.heads
        room = HOST_PIECE if on_host(sample.tokens) else DEVICE_PIECE
        length = self._chunk or max(1, room // (S * (4 * groups * (M + K) + M * K)))
        target = xp.reshape(sample.target, (S, P, self.model.labels))
        for start in range(0, P, length):
            part = slice(start, min(start + length, P))
            X = sample.tokens[:, part, ...]
            context = X[:, :, : self._attended, :]
            yield Piece(context, X[:, :, -1, :D], target[:, part, :], self._factor)

    def loss(self, state: Array) -> Array:
        """L (rows,)."""
        xp, (a, B) = namespace(state), self._for_kernel(*self._map.factors(state))
        total = xp.zeros_like(state[0, :])
        for piece in self._pieces(state.shape[1]):
            error = piece.error(a, piece.forward(B)[1])
            total = total + xp.reshape(xp.sum(error * error, axis=(2, 3)), (-1,))
        return total / self._sequences

    def velocity(self, state: Array) -> Array:
        """−½ ∂L/∂θ (size, rows)."""
        a, B = self._for_kernel(*self._map.factors(state))
        xp = namespace(state)
        da, dB = xp.zeros_like(a), xp.zeros_like(B)
        for piece in self._pieces(state.shape[1]):
            more = piece.gradient(a, B)
            da, dB = da + more[0], dB + more[1]
        return self._map.pullback(state, *self._from_kernel(da, dB))

    def jvp(self, state: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction of each row, (size, rows)."""
        xp = namespace(state)
        a, B = self._for_kernel(*self._map.factors(state))
        along = self._for_kernel(*self._map.pushforward(state, direction))
        sums = [xp.zeros_like(x) for x in (a, B, a, B)]
        for piece in self._pieces(state.shape[1]):
            here, moved = piece.gradient_and_derivative(a, B, *along)
            sums = [x + more for x, more in zip(sums, (*here, *moved), strict=True)]
        out = self._map.pullback(state, *self._from_kernel(*sums[2:]))
        return out + self._map.pullback_derivative(direction, *self._from_kernel(*sums[:2]))

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
    layer : AttentionLayer or MultiTaskLayer
    tokens : (P, N+1, K) or (rows, P, N+1, K)
        X of one sample for all rows, or of each row's own; the last token is the query with
        labels 0. K counts a token's entries, D+1 or d+d_y.
    target : (P, *outputs) or (rows, P, *outputs)
        y_q; a `MultiTaskLayer` has d_y outputs, an `AttentionLayer` one and no such axis.
    chunk : int, optional
        Sequences per piece; chosen by memory if left out.

    Raises
    ------
    ValueError, TypeError
        If a shape is not the layer's, something is empty or not finite, a query's label is not 0,
        or tokens and target are not of one kind.

    Examples
    --------
    >>> import numpy as np
    >>> layer = AttentionLayer(dimension=1, heads=1, divide_by_context=True)
    >>> system = LayerSystem(layer, np.array([[[2.0, 1.0], [1.0, 0.0]]]), np.array([3.0]))
    >>> system.velocity(np.array([[0.0, 1, 1, 0, 0, 0]]))[:, :4].tolist()
    [[5.0, 2.0, 2.0, 1.0]]

    Several outputs, as in [S]:

    >>> from gpu import gradient_descent, initial_weights
    >>> from numerics import MultiTask, sample_multitask
    >>> layer = MultiTaskLayer(dimension=3, outputs=2, heads=2, embedding_dim=3)
    >>> tokens, target = sample_multitask(MultiTask((2, 1), 1.0, 10), 200, rng=0)
    >>> system = LayerSystem(layer, tokens, target)
    >>> run = gradient_descent(system, initial_weights(layer, 0.3, seeds=[0, 1]), 300, 0.05)
    >>> bool((run.loss[:, -1] < 0.7 * run.loss[:, 0]).all())
    True
    """

    def __init__(
        self, layer: Layer, tokens: Array, target: Array, *, chunk: int | None = None
    ) -> None:
        if not isinstance(layer, AttentionLayer | MultiTaskLayer):
            raise TypeError(
                f"layer must be an AttentionLayer or a MultiTaskLayer, got {type(layer).__name__}"
            )
        if chunk is not None and (isinstance(chunk, bool) or chunk != int(chunk) or chunk < 1):
            raise ValueError(f"chunk must be an integer >= 1, got {chunk!r}")
        shared = getattr(tokens, "ndim", None) == 3
        _arrays.floating("tokens", tokens, 3 if shared else 4)
        _arrays.floating("target", target, len(layer.output_shape) + (1 if shared else 2))
        _arrays.same_kind("target", target, "tokens", tokens)
        if shared:
            tokens, target = tokens[None, ...], target[None, ...]
        _checked_tokens(layer, tokens, target)
        super().__init__(layer, LayerProblem(layer, TokenSample(tokens, target), chunk))


def _checked_tokens(layer: Layer, tokens: Array, target: Array) -> None:
    K = layer.dimension + layer.labels
    if tokens.shape[3] != K or tokens.shape[2] < 2:
        raise ValueError(
            f"tokens must have shape (…, P, N+1, {K}) with N >= 1, got {tuple(tokens.shape)}"
        )
    if tuple(target.shape[:2]) != tuple(tokens.shape[:2]):
        raise ValueError(
            f"target has rows and sequences {tuple(target.shape[:2])}, but tokens have "
            f"{tuple(tokens.shape[:2])}"
        )
    if tuple(target.shape[2:]) != layer.output_shape:
        raise ValueError(
            f"target must hold {layer.labels} outputs of each sequence, got {target.shape[2]}"
        )
    _arrays.finite("tokens", tokens)
    _arrays.finite("target", target)
    if bool(namespace(tokens).any(tokens[:, :, -1, layer.dimension :] != 0.0)):
        raise ValueError("tokens must end with the query and its label 0, got another label")


__all__ = ["LayerProblem", "LayerSystem"]

"""An attention layer bound to given sequences, as an optimiser sees it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics.layers.attention import AttentionLayer
from numerics.layers.kernels import Piece, Workspace, laid_out_bytes
from numerics.layers.tokens import checked_target, checked_tokens

Array = NDArray[Any]

# Sequences are kept laid out for the kernels if that takes no more bytes than this.
KEPT_BYTES = 2**29


class LayerSystem:
    """An `AttentionLayer` on sequences; trainable. One thread at a time may use it.

    The sequences are laid out for the kernels once, which takes up to D+1 times their memory for
    D ≤ 4; above `KEPT_BYTES` they are laid out piece by piece in each step instead.

    Parameters
    ----------
    layer
        What is trained.
    tokens : (P, N+1, D+1)
        X, the last token of each sequence the query with label 0. Keep the weights in its
        precision: mixed ones are right, but converted at every product.
    target : (P,)
        y_q.
    chunk : int, optional
        Sequences per piece; the default is the fastest of those tried.

    Raises
    ------
    ValueError, TypeError
        If a shape is not the layer's, something is empty or not finite, or a query's label is
        not 0.

    Examples
    --------
    >>> from numerics import LinearTask, gradient_descent, sample_sequences
    >>> from numerics.layers.tokens import tokens_of
    >>> sequences = sample_sequences(LinearTask([[1.0]], 9), 50, rng=0)
    >>> layer = AttentionLayer(dimension=1, heads=2, attention="softmax")
    >>> system = LayerSystem(layer, tokens_of(sequences), sequences.target)
    >>> run = gradient_descent(system, layer.initial_weights(0.3, rng=0), 500, 0.1)
    >>> bool(run.loss[-1] < 0.5 * run.loss[0])
    True
    """

    def __init__(
        self,
        layer: AttentionLayer,
        tokens: ArrayLike,
        target: ArrayLike,
        *,
        chunk: int | None = None,
    ) -> None:
        X = checked_tokens(tokens, layer.dimension)
        y = checked_target(target, len(X))
        self.layer = self.model = layer
        self.size = layer.size
        self._tokens, self._target, self._chunk = X, y, chunk
        self._work = Workspace()
        parts = layer.pieces(X, y, chunk)
        self._kept = list(parts) if laid_out_bytes(X) <= KEPT_BYTES else None

    def _parts(self) -> Iterable[Piece]:
        if self._kept is not None:
            return self._kept
        return self.layer.pieces(self._tokens, self._target, self._chunk)

    def loss(self, theta: Array) -> Array:
        """L at states (..., size); no factor ½."""
        if theta.ndim > 1:
            return np.array([self.loss(row) for row in theta])
        return np.asarray(self.layer.mean_square(theta, self._parts()))

    def loss_and_gradient(self, theta: Array) -> tuple[float, Array]:
        """L and ∂L/∂θ at a state (size,), in one pass."""
        return self.layer.accumulate(theta, self._parts(), self._work)

    def velocity(self, theta: Array) -> Array:
        """−½ ∂L/∂θ at a state (size,), a fresh array."""
        gradient = self.loss_and_gradient(theta)[1]
        gradient *= -0.5
        return gradient

    def invariants(self, theta: Array) -> Array:
        """The layer's conserved quantities, for states (..., size)."""
        return self.layer.invariants(theta)

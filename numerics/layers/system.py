"""An attention layer bound to given sequences, as an optimiser sees it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics._guard import guarded
from numerics.layers.base import Layer, Piece
from numerics.layers.kernels import Workspace
from numerics.layers.tokens import token_blocks
from numerics.sampling import Sequences

Array = NDArray[Any]

# Sequences are kept laid out for the kernels if that takes no more bytes than this.
KEPT_BYTES = 2**29


class LayerSystem:
    """A whole `Layer` on sequences; trainable. One thread at a time may use it.

    The sequences are laid out for the kernels once, which takes up to D+1 times their memory for
    D ≤ 4; above `KEPT_BYTES` they are laid out piece by piece in each step instead.

    Parameters
    ----------
    layer
        What is trained.
    tokens : (P, N+1, dimension + labels)
        X, the last token of each sequence the query with labels 0. Keep the weights in its
        precision: mixed ones are right, but converted at every product.
    target : (P, *output_shape)
        y_q, as the layer predicts it.
    chunk : int, optional
        Sequences per piece; the default is the fastest of those tried.

    Raises
    ------
    ValueError, TypeError
        If a shape is not the layer's, something is empty or not finite, or a query's label is
        not 0.

    Examples
    --------
    >>> from numerics import AttentionLayer, LinearTask, gradient_descent
    >>> from numerics import sample_sequences, tokens_of
    >>> sequences = sample_sequences(LinearTask([[1.0]], 9), 50, rng=0)
    >>> layer = AttentionLayer(dimension=1, heads=2, attention="softmax")
    >>> system = LayerSystem(layer, tokens_of(sequences), sequences.target)
    >>> run = gradient_descent(system, layer.initial_weights(0.3, rng=0), 500, 0.1)
    >>> bool(run.loss[-1] < 0.5 * run.loss[0])
    True
    """

    @guarded
    def __init__(
        self,
        layer: Layer,
        tokens: ArrayLike,
        target: ArrayLike,
        *,
        chunk: int | None = None,
    ) -> None:
        self._bind(layer, [(tokens, target)], chunk)

    @classmethod
    @guarded
    def of(cls, layer: Layer, sequences: Sequences, *, chunk: int | None = None) -> LayerSystem:
        """The layer on a sample whose context lengths may differ; without padding or masks.

        Pieces hold sequences of one length each, and the loss is the mean over all sequences.

        >>> from numerics import AttentionLayer, LinearTask, sample_sequences
        >>> sample = sample_sequences(LinearTask([[1.0]], [2, 4]), 10, rng=0)
        >>> layer = AttentionLayer(dimension=1, heads=1, attention="softmax")
        >>> LayerSystem.of(layer, sample).velocity(layer.initial_weights(0.3, rng=0)).shape
        (6,)
        """
        system = cls.__new__(cls)
        shape = layer.output_shape if layer.labels == 1 else ()
        blocks = [(X, y.reshape(-1, *shape)) for X, y in token_blocks(sequences)]
        system._bind(layer, blocks, chunk)
        return system

    def _bind(
        self, layer: Layer, blocks: Iterable[tuple[ArrayLike, ArrayLike]], chunk: int | None
    ) -> None:
        """Check the blocks, each of one context length, and lay them out if that fits."""
        self.layer = self.model = layer
        self.size = layer.size
        self._blocks = [layer.checked(X, y) for X, y in blocks]
        self._chunk, self._work = chunk, Workspace()
        self._kept: list[Piece] | None = None
        if sum(layer.laid_out_bytes(X) for X, _ in self._blocks) <= KEPT_BYTES:
            self._kept = list(self._parts())

    def _parts(self) -> Iterable[Piece]:
        if self._kept is not None:
            return self._kept
        cut = (self.layer.pieces(X, y, self._chunk) for X, y in self._blocks)
        return chain.from_iterable(cut)

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

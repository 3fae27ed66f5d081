"""What every whole attention layer shares, whatever its weights are.

A layer's prediction depends on its weights through factors a and B alone (`numerics.layers.kernels`
and `kernels_several`), so a kind of layer is its shapes, the map θ ↦ (a, B) and that map's
transposed derivative. The loss is the mean over sequences of ‖ŷ − y_q‖² without ½; the velocity
is −½ ∂L/∂θ.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import finite, guarded
from numerics.layers.kernels import Workspace
from numerics.layers.tokens import checked_target, checked_tokens
from numerics.merged import check_and_pack

Array = NDArray[Any]

ATTENTIONS = ("linear", "softmax")


class Piece(Protocol):
    """Some of the sequences, laid out for one of the kernels."""

    @property
    def target(self) -> Array:
        """y_q of each sequence."""

    @property
    def context_length(self) -> int:
        """N."""

    def predict(self, a: Array, B: Array, factor: float | None, work: Workspace) -> Array:
        """ŷ, shaped as the target; `factor` multiplies linear scores, None means softmax."""

    def gradient(
        self, a: Array, B: Array, factor: float | None, work: Workspace
    ) -> tuple[float, Array, Array]:
        """Σ ‖ŷ − y_q‖² and half its derivatives by a and B."""


class Layer(ABC):
    """A multi-head attention layer with a flat state θ and a hand-written gradient.

    Attributes
    ----------
    dimension, heads : int
        Length of a token's x, and H.
    attention : str
        ``"linear"`` or ``"softmax"``.
    divide_by_context : bool
        Whether linear attention is divided by N.
    """

    dimension: int
    heads: int
    attention: str
    divide_by_context: bool

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights, in the order in which a state holds them."""

    @abstractmethod
    def factors(self, theta: Array) -> tuple[Array, Array]:
        """The values a and scores B through which the weights (..., size) reach ŷ."""

    @abstractmethod
    def pullback(self, theta: Array, da: Array, dB: Array) -> Array:
        """Derivatives by θ (size,) from those by a and B."""

    @abstractmethod
    def invariants(self, theta: Array) -> Array:
        """Quantities that the gradient flow conserves, for states (..., size)."""

    @abstractmethod
    def pieces(self, tokens: Array, target: Array, chunk: int | None = None) -> Iterator[Piece]:
        """Checked tokens and target, laid out for the kernels piece by piece."""

    @abstractmethod
    def laid_out_bytes(self, tokens: Array) -> int:
        """Bytes that all pieces of these tokens take together."""

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one sequence's y_q."""

    @property
    def labels(self) -> int:
        """Labels per token, the last of its entries."""
        return math.prod(self.output_shape)

    def _check_attention(self) -> None:
        """Refuse what no kind of layer can be."""
        _check.count("dimension", self.dimension)
        _check.count("heads", self.heads)
        _check.choice("attention", self.attention, ATTENTIONS)
        _check.flag("divide_by_context", self.divide_by_context)
        if self.divide_by_context and self.attention == "softmax":
            raise ValueError("divide_by_context must be False for softmax, whose weights sum to 1")

    @cached_property
    def _spans(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Where each of the weights begins and ends in a state, and its shape."""
        ends = list(accumulate(math.prod(shape) for shape in self.shapes.values()))
        return list(zip([0, *ends[:-1]], ends, self.shapes.values(), strict=True))

    @property
    def size(self) -> int:
        """Length of a state."""
        return self._spans[-1][1]

    def pack(self, *weights: ArrayLike) -> Array:
        """Flatten the weights, given in the order of `shapes`, into a state.

        Raises
        ------
        ValueError
            If their number or a shape is not the layer's.
        """
        shapes = self.shapes
        if len(weights) != len(shapes):
            raise ValueError(f"weights must be {', '.join(shapes)}, got {len(weights)} arrays")
        return check_and_pack(
            {name: (w, shapes[name]) for name, w in zip(shapes, weights, strict=True)}
        )

    def unpack(self, theta: Array) -> tuple[Array, ...]:
        """The weights (..., *shape), views of a state (..., size)."""
        batch = theta.shape[:-1]
        return tuple(
            theta[..., start:end].reshape(batch + shape) for start, end, shape in self._spans
        )

    def initial_weights(self, scale: float, *, rng: Any = None) -> Array:
        """Every weight drawn from N(0, scale²)."""
        scale = _check.real("scale", scale, above=0.0)
        return scale * _check.generator("rng", rng).standard_normal(self.size)

    def checked(self, tokens: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
        """Tokens and y_q as floating arrays, refused if they are not what the layer reads."""
        X = checked_tokens(tokens, self.dimension, self.labels)
        return X, checked_target(target, len(X), self.output_shape)

    @guarded
    def predict(self, theta: ArrayLike, tokens: ArrayLike, *, chunk: int | None = None) -> Array:
        """ŷ (P, *output_shape) for tokens, inf where it overflows.

        See `loss_and_gradient` for what is refused.
        """
        X = checked_tokens(tokens, self.dimension, self.labels)
        parts = self.pieces(X, np.zeros((len(X), *self.output_shape)), chunk)
        work = Workspace()
        factors = self.factors(_check.state("theta", theta, self.size))
        return np.concatenate([self._predict(part, factors, work) for part in parts])

    @guarded
    def loss(
        self, theta: ArrayLike, tokens: ArrayLike, target: ArrayLike, *, chunk: int | None = None
    ) -> float:
        """Mean of ‖ŷ − y_q‖², no factor ½, inf where it overflows.

        See `loss_and_gradient` for what is refused.
        """
        parts = self.pieces(*self.checked(tokens, target), chunk)
        return float(self.mean_square(_check.state("theta", theta, self.size), parts))

    @guarded
    def loss_and_gradient(
        self, theta: ArrayLike, tokens: ArrayLike, target: ArrayLike, *, chunk: int | None = None
    ) -> tuple[float, Array]:
        """L = (1/P) Σ ‖ŷ − y_q‖² and ∂L/∂θ, one pass over the sequences.

        Parameters
        ----------
        theta : (size,)
            Weights.
        tokens : (P, N+1, dimension + labels)
            X, the last token of each sequence the query with labels 0.
        target : (P, *output_shape)
            y_q.
        chunk : int, optional
            Sequences per piece; the working memory grows with it and not with P. The default
            is the fastest of those tried. Results of different chunks agree to rounding.

        Returns
        -------
        float, (size,)
            The gradient is float32 if weights and tokens are, else float64.

        Raises
        ------
        ValueError, TypeError
            If a shape is not the layer's, something is empty or not finite, or a query's label
            is not 0.

        Examples
        --------
        >>> from numerics import AttentionLayer
        >>> layer = AttentionLayer(dimension=1, heads=1, divide_by_context=True)
        >>> X = np.array([[[2.0, 1.0], [1.0, 0.0]]])
        >>> layer.loss_and_gradient([0, 1, 1, 0, 0, 0], X, [3.0])[1].tolist()
        [-10.0, -4.0, -4.0, -2.0, 0.0, 0.0]
        """
        parts = self.pieces(*self.checked(tokens, target), chunk)
        state = _check.state("theta", theta, self.size)
        loss, gradient = self.accumulate(state, parts, Workspace())
        return loss, finite(gradient)

    def _factor(self, piece: Piece) -> float | None:
        """What multiplies the scores of linear attention; None for softmax."""
        if self.attention == "softmax":
            return None
        return 1.0 / piece.context_length if self.divide_by_context else 1.0

    def _predict(self, piece: Piece, factors: tuple[Array, Array], work: Workspace) -> Array:
        return piece.predict(*factors, self._factor(piece), work)

    def mean_square(self, theta: Array, parts: Iterable[Piece]) -> Any:
        """L at one state, unchecked and possibly complex, over pieces."""
        factors, work, square, count = self.factors(theta), Workspace(), 0.0, 0
        for part in parts:
            error = (self._predict(part, factors, work) - part.target).ravel()
            square, count = square + error @ error, count + len(part.target)
        return square / count

    def accumulate(
        self, theta: Array, parts: Iterable[Piece], work: Workspace
    ) -> tuple[float, Array]:
        """L and ∂L/∂θ at one state, unchecked, over pieces."""
        a, B = self.factors(theta)
        square, count = 0.0, 0
        da: Any = 0.0
        dB: Any = 0.0
        for part in parts:
            more, by_a, by_B = part.gradient(a, B, self._factor(part), work)
            square, count = square + more, count + len(part.target)
            da, dB = da + by_a, dB + by_B
        gradient = self.pullback(theta, da, dB)
        gradient *= 2.0 / count
        return square / count, gradient

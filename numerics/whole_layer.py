"""The whole linear attention layer, with every block of its weights, on given sequences.

In the layer itself W^V and the key-query weights act on tokens (x_n, y_n) ∈ R^{D+1}, and the
query token (x_q, 0) is among the N+1 tokens. Its prediction is
`ŷ = Σ_h a_hᵀ A B_h x_q`, with `A = (1/N) X Xᵀ` (D+1, D+1), a_h ∈ R^{D+1} the last row of W^V and
B_h ∈ R^{(D+1)×D} the merged key-query block that meets a query whose label is zero. The reduced
model of [L] keeps a_h = (0, v_h) and B_h = (U_h; 0) and drops the rest ([L] App. F.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics.merged import check_and_pack
from numerics.sampling import Sequences

Array = NDArray[Any]


def token_moments(sequences: Sequences) -> Array:
    """A = (1/N) X Xᵀ of each sequence, query token included, shape (P, D+1, D+1).

    >>> from numerics import LinearTask, sample_sequences
    >>> token_moments(sample_sequences(LinearTask([[1.0]], 3), 5, rng=0)).shape
    (5, 2, 2)
    """
    tokens = np.concatenate([sequences.x, sequences.y[..., None]], axis=-1)
    query = np.pad(sequences.query, ((0, 0), (0, 1)))
    total = tokens.swapaxes(1, 2) @ tokens + query[:, :, None] * query[:, None, :]
    return np.asarray(total / sequences.lengths[:, None, None])


class WholeLinearLayer:
    """Merged linear attention with all blocks, bound to sequences; a gradient system.

    A state is all a_h (H, D+1), then all B_h (H, D+1, D) by rows. The loss is the mean square
    error over the sequences (no ½); the velocity is −½ ∂L/∂θ.

    Examples
    --------
    >>> from numerics import LinearTask, sample_sequences
    >>> sequences = sample_sequences(LinearTask(np.eye(2), 5), 10, rng=0)
    >>> layer = WholeLinearLayer(sequences, heads=3)
    >>> theta = layer.embed([1.0, 0, 0], np.zeros((3, 2, 2)))
    >>> layer.size, layer.predict(theta).shape, layer.extra_blocks(theta).any()
    (27, (10,), np.False_)
    """

    def __init__(self, sequences: Sequences, heads: int) -> None:
        self.heads = _check.count("heads", heads)
        self.query, self.target = sequences.query, sequences.target
        self.token_moments = token_moments(sequences)
        self.dimension = sequences.query.shape[1]
        D1 = self.dimension + 1
        self.size = self.heads * D1 * (1 + self.dimension)

    def unpack(self, theta: Array) -> tuple[Array, Array]:
        """The a_h (..., H, D+1) and B_h (..., H, D+1, D)."""
        H, D = self.heads, self.dimension
        split = H * (D + 1)
        a, B = theta[..., :split], theta[..., split:]
        head = theta.shape[:-1]
        return a.reshape(*head, H, D + 1), B.reshape(*head, H, D + 1, D)

    def embed(self, v: ArrayLike, U: ArrayLike) -> Array:
        """State of the reduced model: a_h = (0, v_h), B_h = (U_h; 0)."""
        H, D = self.heads, self.dimension
        reduced = check_and_pack({"v": (v, (H,)), "U": (U, (H, D, D))})
        theta = np.zeros(self.size)
        a, B = self.unpack(theta)
        a[:, D] = reduced[:H]
        B[:, :D] = reduced[H:].reshape(H, D, D)
        return theta

    def extra_blocks(self, theta: Array) -> Array:
        """The weights that the reduced model lacks, (..., H·2D)."""
        a, B = self.unpack(theta)
        D, head = self.dimension, theta.shape[:-1]
        parts = [a[..., :D].reshape(*head, -1), B[..., D, :].reshape(*head, -1)]
        return np.concatenate(parts, axis=-1)

    def _factors(self, theta: Array) -> tuple[Array, Array]:
        """Values a_hᵀ A and keys B_h x_q, both (P, H, D+1): ŷ is the sum of their products."""
        a, B = self.unpack(theta)
        return a @ self.token_moments, np.tensordot(self.query, B, axes=(1, 2))

    def _gather(self, values: Array, keys: Array) -> Array:
        """A state's (Σ_p A keys, Σ_p values x_qᵀ), from arrays (P, H, D+1) over sequences."""
        da = np.sum(keys @ self.token_moments, axis=0)
        dB = values.reshape(len(values), -1).T @ self.query
        return np.concatenate([da.ravel(), dB.ravel()])

    def predict(self, theta: Array) -> Array:
        """ŷ (P,) = Σ_h a_hᵀ A B_h x_q."""
        values, keys = self._factors(theta)
        return np.asarray(np.sum(values * keys, axis=(1, 2)))

    def loss(self, theta: Array) -> Array:
        """Mean square error at states (..., size)."""
        if theta.ndim > 1:
            return np.array([self.loss(row) for row in theta])
        return np.asarray(np.mean((self.predict(theta) - self.target) ** 2))

    def velocity(self, theta: Array) -> Array:
        """−½ ∂L/∂θ = (1/P) Σ_p (y_q − ŷ) ∂ŷ/∂θ."""
        values, keys = self._factors(theta)
        error = self.target - np.sum(values * keys, axis=(1, 2))
        error = error[:, None, None] / len(self.target)
        return self._gather(error * values, error * keys)

    def jvp(self, theta: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction, by the product rule."""
        values, keys = self._factors(theta)
        dvalues, dkeys = self._factors(direction)
        error = self.target - np.sum(values * keys, axis=(1, 2))
        derror = -np.sum(dvalues * keys + values * dkeys, axis=(1, 2))
        error, derror = (e[:, None, None] / len(self.target) for e in (error, derror))
        return self._gather(derror * values + error * dvalues, derror * keys + error * dkeys)

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the velocity, column by column."""
        return np.stack([self.jvp(theta, e) for e in np.eye(self.size)], axis=1)

    def invariants(self, theta: Array) -> Array:
        """a_h·a_h' − ⟨B_h, B_h'⟩ summed: the balance Σ_h (‖a_h‖² − ‖B_h‖²)."""
        a, B = self.unpack(theta)
        return np.asarray(np.sum(a * a, axis=(-2, -1)) - np.sum(B * B, axis=(-3, -2, -1)))[
            ..., None
        ]

"""Linear networks on the cubic feature z = vec(β x_qᵀ), columns stacked: z[jD + i] = x_q^j β^i.

[L] states that ATTN_M is a two-layer linear network on z (Eq. 6–8) and ATTN_S of rank 1 a sum
of three-layer convolutional linear networks on z (Eq. 13). Both networks are written here from
their own layers, on the moments of z alone, so that the statement can be checked rather than
assumed. Velocities are −½ ∂L/∂θ, the loss has no factor ½.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.merged import check_and_pack
from numerics.moments import AnyMoments, dense_moments

Array = NDArray[Any]


class NetworkSystem(ABC):
    """A network whose output is linear in z, bound to the moments of z.

    Subclasses give `size`, `filter` (the vector a with ŷ = a·z), `backward` and `invariants`.
    """

    size: int

    @guarded
    def __init__(self, moments: AnyMoments) -> None:
        dense = dense_moments(moments)
        self.dimension = len(dense.correlation)
        self.energy = dense.energy
        self.cross = dense.correlation.T.ravel()
        self.feature_moment = dense.feature_moment

    @abstractmethod
    def filter(self, theta: Array) -> Array:
        """a (..., D²) with ŷ = a·z."""

    @abstractmethod
    def backward(self, theta: Array, r: Array) -> Array:
        """(∂a/∂θ)ᵀ r."""

    @abstractmethod
    def backward_derivative(self, theta: Array, direction: Array, r: Array) -> Array:
        """Derivative of `backward(θ, r)` along `direction` at fixed r."""

    @abstractmethod
    def forward_derivative(self, theta: Array, direction: Array) -> Array:
        """(∂a/∂θ) direction."""

    @abstractmethod
    def invariants(self, theta: Array) -> Array:
        """Quantities that the flow conserves."""

    def predict(self, theta: Array, z: Array) -> Array:
        """ŷ for features z (P, D²)."""
        return np.asarray(z @ self.filter(theta))

    def loss(self, theta: Array) -> Array:
        """E(a·z − y_q)² at states (..., size)."""
        a = self.filter(theta)
        return np.asarray(
            self.energy - 2 * a @ self.cross + np.sum(a * (a @ self.feature_moment), axis=-1)
        )

    def velocity(self, theta: Array) -> Array:
        """−½ ∂L/∂θ, by back-propagation of r = E[(y_q − ŷ) z]."""
        r = self.cross - self.feature_moment @ self.filter(theta)
        return self.backward(theta, r)

    def jvp(self, theta: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction."""
        r = self.cross - self.feature_moment @ self.filter(theta)
        dr = -self.feature_moment @ self.forward_derivative(theta, direction)
        return self.backward_derivative(theta, direction, r) + self.backward(theta, dr)

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the velocity; it is symmetric, so its columns are its rows."""
        return np.stack([self.jvp(theta, e) for e in np.eye(self.size, dtype=theta.dtype)])


class TwoLayerNetwork(NetworkSystem):
    """ŷ = w2ᵀ W1 z with W1 (width, D²), w2 (width,) ([L] Eq. 8).

    A state is w2, then W1 by rows.

    Examples
    --------
    >>> from numerics.moments import population_moments
    >>> from numerics.tasks import LinearTask
    >>> net = TwoLayerNetwork(population_moments(LinearTask(np.eye(2), 10)), width=3)
    >>> net.size, float(net.loss(np.zeros(net.size)))
    (15, 2.0)
    """

    def __init__(self, moments: AnyMoments, width: int) -> None:
        super().__init__(moments)
        self.width = _check.count("width", width)
        self.size = width * (1 + self.dimension**2)

    def pack(self, w2: ArrayLike, W1: ArrayLike) -> Array:
        """Flatten the two layers into a state."""
        shapes = ((self.width,), (self.width, self.dimension**2))
        return check_and_pack({"w2": (w2, shapes[0]), "W1": (W1, shapes[1])})

    def unpack(self, theta: Array) -> tuple[Array, Array]:
        """w2 (..., width) and W1 (..., width, D²)."""
        H = self.width
        return theta[..., :H], theta[..., H:].reshape(*theta.shape[:-1], H, -1)

    def filter(self, theta: Array) -> Array:
        """a = W1ᵀ w2."""
        w2, W1 = self.unpack(theta)
        return np.asarray((w2[..., None, :] @ W1)[..., 0, :])

    def backward(self, theta: Array, r: Array) -> Array:
        """(W1 r, w2 rᵀ)."""
        w2, W1 = self.unpack(theta)
        return np.concatenate([W1 @ r, np.outer(w2, r).ravel()])

    def backward_derivative(self, theta: Array, direction: Array, r: Array) -> Array:
        """The backward pass is linear in the weights."""
        return self.backward(direction, r)

    def forward_derivative(self, theta: Array, direction: Array) -> Array:
        """dW1ᵀ w2 + W1ᵀ dw2."""
        w2, W1 = self.unpack(theta)
        dw2, dW1 = self.unpack(direction)
        return np.asarray(w2 @ dW1 + dw2 @ W1)

    def invariants(self, theta: Array) -> Array:
        """W1 W1ᵀ − w2 w2ᵀ, flattened."""
        w2, W1 = self.unpack(theta)
        gram = W1 @ W1.swapaxes(-1, -2) - w2[..., :, None] * w2[..., None, :]
        return np.asarray(gram.reshape(*w2.shape[:-1], -1))


class ConvolutionalNetwork(NetworkSystem):
    """Sum of `width` three-layer convolutional linear networks on z ([L] Eq. 13).

    Layer 1 slides the kernel k (length D) over z with stride D, layer 2 applies the kernel q
    (length D) to the D outputs, layer 3 scales by v: ŷ = Σ_h v_h q_hᵀ (I ⊗ k_hᵀ) z.
    A state is all v, then all k, then all q.
    """

    def __init__(self, moments: AnyMoments, width: int) -> None:
        super().__init__(moments)
        self.width = _check.count("width", width)
        self.size = width * (1 + 2 * self.dimension)

    def pack(self, v: ArrayLike, k: ArrayLike, q: ArrayLike) -> Array:
        """Flatten the three layers into a state."""
        shape = (self.width, self.dimension)
        return check_and_pack({"v": (v, shape[:1]), "k": (k, shape), "q": (q, shape)})

    def unpack(self, theta: Array) -> tuple[Array, Array, Array]:
        """v (..., width), k and q (..., width, D)."""
        H, D = self.width, self.dimension
        shape = (*theta.shape[:-1], H, D)
        k, q = theta[..., H : H * (1 + D)], theta[..., H * (1 + D) :]
        return theta[..., :H], k.reshape(shape), q.reshape(shape)

    def _rows(self, *states: Array) -> Iterator[tuple[Array, ...]]:
        """The layers of each network in the sum, of one state after another."""
        return zip(*(part for state in states for part in self.unpack(state)), strict=True)

    def convolution(self, kernel: Array) -> Array:
        """Matrix (D, D²) of the stride-D convolution with a kernel of length D."""
        D = self.dimension
        out = np.zeros((D, D * D), kernel.dtype)
        for j in range(D):
            out[j, j * D : (j + 1) * D] = kernel
        return out

    def filter(self, theta: Array) -> Array:
        """a = Σ_h v_h Conv(k_h)ᵀ q_h."""
        if theta.ndim > 1:
            return np.stack([self.filter(row) for row in theta])
        return np.asarray(sum(v * (q @ self.convolution(k)) for v, k, q in self._rows(theta)))

    def backward(self, theta: Array, r: Array) -> Array:
        """Back-propagate r through each of the three layers."""
        blocks = r.reshape(self.dimension, self.dimension)
        values, keys, queries = [], [], []
        for v, k, q in self._rows(theta):
            first = self.convolution(k) @ r
            values.append(q @ first)
            queries.append(v * first)
            keys.append(v * (q @ blocks))
        return np.concatenate([np.array(values), *keys, *queries])

    def backward_derivative(self, theta: Array, direction: Array, r: Array) -> Array:
        """Derivative of the backward pass, by the product rule in each layer."""
        blocks = r.reshape(self.dimension, self.dimension)
        values, keys, queries = [], [], []
        for v, k, q, dv, dk, dq in self._rows(theta, direction):
            first, dfirst = self.convolution(k) @ r, self.convolution(dk) @ r
            values.append(dq @ first + q @ dfirst)
            queries.append(dv * first + v * dfirst)
            keys.append(dv * (q @ blocks) + v * (dq @ blocks))
        return np.concatenate([np.array(values), *keys, *queries])

    def forward_derivative(self, theta: Array, direction: Array) -> Array:
        """Derivative of the filter, by the product rule in each layer."""
        return np.asarray(sum(
            (dv * q + v * dq) @ self.convolution(k) + v * (q @ self.convolution(dk))
            for v, k, q, dv, dk, dq in self._rows(theta, direction)
        ))  # fmt: skip

    def invariants(self, theta: Array) -> Array:
        """‖k_h‖² − ‖q_h‖² and v_h² − ‖k_h‖²."""
        v, k, q = self.unpack(theta)
        key, query = np.sum(k * k, axis=-1), np.sum(q * q, axis=-1)
        return np.concatenate([key - query, v**2 - key], axis=-1)

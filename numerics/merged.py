"""ATTN_M: linear attention with key and query merged ([L] §3).

Weights of head h: value v_h (scalar), merged key-query U_h (D, D). Prediction
ŷ = Σ_h v_h βᵀ U_h x_q = βᵀ M x_q with M = Σ_h v_h U_h. The flow is τ dW/dt = −½ ∂L/∂W:
`τ v̇_h = ⟨U_h, G⟩`, `τ U̇_h = v_h G`, with the residual G = −½ ∂L/∂M ([L] Eq. 6–8).
A state θ is flat: all v_h, then all U_h by rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check

Array = NDArray[Any]


@dataclass(frozen=True)
class MergedAttention:
    """The map θ ↦ M of ATTN_M and its derivatives.

    Parameters
    ----------
    dimension : int
        D.
    heads : int
        H ≥ 1.

    Examples
    --------
    >>> model = MergedAttention(dimension=2, heads=3)
    >>> theta = model.initial_weights(1e-2, rng=0)
    >>> theta.shape, model.matrix(theta).shape
    ((15,), (2, 2))
    """

    dimension: int
    heads: int

    def __post_init__(self) -> None:
        _check.count("dimension", self.dimension)
        _check.count("heads", self.heads)

    @property
    def size(self) -> int:
        """Length of a state, H(1 + D²)."""
        return self.heads * (1 + self.dimension**2)

    def pack(self, v: ArrayLike, U: ArrayLike) -> Array:
        """Flatten v (H,) and U (H, D, D) into a state.

        Raises
        ------
        ValueError
            If a shape is not the model's.
        """
        H, D = self.heads, self.dimension
        return check_and_pack({"v": (v, (H,)), "U": (U, (H, D, D))})

    def unpack(self, theta: Array) -> tuple[Array, Array]:
        """V (..., H) and U (..., H, D, D) as views of a state (..., size)."""
        H, D = self.heads, self.dimension
        return theta[..., :H], theta[..., H:].reshape(*theta.shape[:-1], H, D, D)

    def initial_weights(self, scale: float, *, rng: Any = None) -> Array:
        """Every weight drawn from N(0, scale²)."""
        scale = _check.real("scale", scale, above=0.0)
        return scale * _check.generator("rng", rng).standard_normal(self.size)

    def matrix(self, theta: Array) -> Array:
        """M = Σ v_h U_h, (..., D, D) for states (..., size)."""
        H, D = self.heads, self.dimension
        U = theta[..., H:].reshape(*theta.shape[:-1], H, D * D)
        M = np.matmul(theta[..., None, :H], U)
        return np.asarray(M.reshape(*theta.shape[:-1], D, D))

    def pullback(self, theta: Array, G: Array) -> Array:
        """(∂M/∂θ)ᵀ G, which is −½ ∂L/∂θ when G is the residual."""
        H = self.heads
        out = np.empty(self.size, np.result_type(theta, G))
        flat = G.reshape(-1)
        np.dot(theta[H:].reshape(H, -1), flat, out=out[:H])
        np.multiply(theta[:H, None], flat, out=out[H:].reshape(H, -1))
        return out

    def workspace(self, dtype: Any) -> tuple[Array]:
        """Arrays in which `velocity` keeps what it does not return."""
        return (np.empty((self.dimension, self.dimension), dtype),)

    def velocity(
        self,
        theta: Array,
        residual: Callable[[Array, Array], Array],
        workspace: tuple[Array, ...],
    ) -> Array:
        """−½ ∂L/∂θ for a residual (M, out) ↦ G."""
        return self.pullback(theta, residual(self.matrix(theta), workspace[0]))

    def pushforward(self, theta: Array, direction: Array) -> Array:
        """(∂M/∂θ) direction, shape (D, D)."""
        v, U = self.unpack(theta)
        dv, dU = self.unpack(direction)
        return np.asarray(np.tensordot(dv, U, 1) + np.tensordot(v, dU, 1))

    def pullback_derivative(self, theta: Array, direction: Array, G: Array) -> Array:
        """Derivative of `pullback(θ, G)` along `direction` at fixed G (bilinear: θ drops out)."""
        return self.pullback(direction, G)

    def tangent(self, theta: Array) -> Array:
        """∂M/∂θ as a matrix (D², size), M by rows."""
        H, D = self.heads, self.dimension
        v, U = self.unpack(theta)
        B = np.zeros((D * D, self.size), theta.dtype)
        B[:, :H] = U.reshape(H, -1).T
        B[:, H:] = np.kron(v, np.eye(D * D))
        return B

    def curvature(self, theta: Array, G: Array) -> Array:
        """Σ_ij G_ij ∂²M_ij/∂θ², shape (size, size)."""
        H = self.heads
        out = np.zeros((self.size, self.size), np.result_type(theta, G))
        block = np.kron(np.eye(H), G.reshape(-1))
        out[:H, H:], out[H:, :H] = block, block.T
        return out

    def rotate(self, theta: Array, left: Array, right: Array) -> Array:
        """State whose M is leftᵀ M right (U_h ↦ leftᵀ U_h right), for states (..., size)."""
        v, U = self.unpack(theta)
        U = left.T @ U @ right
        return np.concatenate([v, U.reshape(*v.shape[:-1], -1)], axis=-1)

    def invariants(self, theta: Array) -> Array:
        """v_h v_h' − ⟨U_h, U_h'⟩ for all pairs of heads, conserved by the flow; (..., H²).

        Its diagonal is the balance of each head.
        """
        H = self.heads
        v, U = self.unpack(theta)
        flat = U.reshape(*v.shape[:-1], H, -1)
        gram = v[..., :, None] * v[..., None, :] - flat @ flat.swapaxes(-1, -2)
        return np.asarray(gram.reshape(*v.shape[:-1], -1))


def check_and_pack(fields: dict[str, tuple[ArrayLike, tuple[int, ...]]]) -> Array:
    """Flatten named weights, each checked against its shape, into one state."""
    parts = []
    for name, (value, shape) in fields.items():
        array = _check.floating_array(name, value, len(shape))
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
        parts.append(array.ravel())
    return np.concatenate(parts)

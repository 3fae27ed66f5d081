"""ATTN_S: linear attention with separate key and query of rank R ([L] §4, §5).

Weights of head h: value v_h (scalar), keys k_hr and queries q_hr (R each, in R^D). Prediction
ŷ = βᵀ M x_q with M = Σ_h v_h Σ_r k_hr q_hrᵀ. The flow is τ dW/dt = −½ ∂L/∂W ([L] Eq. 14 at
R=1): `τ v̇_h = Σ_r k_hrᵀ G q_hr`, `τ k̇_hr = v_h G q_hr`, `τ q̇_hr = v_h Gᵀ k_hr`.
A state θ is flat: all v_h, then all k_hr, then all q_hr.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics.merged import check_and_pack

Array = NDArray[Any]


@dataclass(frozen=True)
class SeparateAttention:
    """The map θ ↦ M of ATTN_S and its derivatives.

    Parameters
    ----------
    dimension : int
        D.
    heads : int
        H ≥ 1.
    rank : int
        R ≥ 1, the number of key-query pairs in each head.

    Examples
    --------
    >>> model = SeparateAttention(dimension=4, heads=3, rank=2)
    >>> theta = model.initial_weights(1e-2, rng=0)
    >>> [part.shape for part in model.unpack(theta)]
    [(3,), (3, 2, 4), (3, 2, 4)]
    """

    dimension: int
    heads: int
    rank: int = 1

    def __post_init__(self) -> None:
        _check.count("dimension", self.dimension)
        _check.count("heads", self.heads)
        _check.count("rank", self.rank)

    @cached_property
    def pairs(self) -> int:
        """H·R, the number of key-query pairs."""
        return self.heads * self.rank

    @cached_property
    def size(self) -> int:
        """Length of a state, H(1 + 2RD)."""
        return self.heads + 2 * self.pairs * self.dimension

    def pack(self, v: ArrayLike, k: ArrayLike, q: ArrayLike) -> Array:
        """Flatten v (H,), k and q (H, R, D), or (H, D) at R=1, into a state.

        Raises
        ------
        ValueError
            If a shape is not the model's.
        """
        shape = (self.heads, self.rank, self.dimension)
        if self.rank == 1:
            pairs = (_check.floating_array(n, a, (2, 3)) for n, a in (("k", k), ("q", q)))
            k, q = (a[:, None] if a.ndim == 2 else a for a in pairs)
        return check_and_pack({"v": (v, shape[:1]), "k": (k, shape), "q": (q, shape)})

    def unpack(self, theta: Array) -> tuple[Array, Array, Array]:
        """V (..., H), k and q (..., H, R, D) as views of a state (..., size)."""
        H, m = self.heads, self.pairs * self.dimension
        shape = (*theta.shape[:-1], H, self.rank, self.dimension)
        k, q = theta[..., H : H + m], theta[..., H + m :]
        return theta[..., :H], k.reshape(shape), q.reshape(shape)

    def initial_weights(self, scale: float, *, rng: Any = None) -> Array:
        """Every weight drawn from N(0, scale²)."""
        scale = _check.real("scale", scale, above=0.0)
        return scale * _check.generator("rng", rng).standard_normal(self.size)

    def _blocks(self, theta: Array) -> tuple[Array, Array, Array]:
        """V (H,), and keys and queries stacked over heads and ranks (HR, D)."""
        H, shape = self.heads, (self.pairs, self.dimension)
        end = H + shape[0] * shape[1]
        return theta[:H], theta[H:end].reshape(shape), theta[end:].reshape(shape)

    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where keys and queries stand in a state, (HR, D) each."""
        m = self.pairs * self.dimension
        keys = self.heads + np.arange(m).reshape(self.pairs, self.dimension)
        return keys, keys + m

    def _times_value(self, v: Array, rows: Array, out: Array | None = None) -> Array:
        """v_h times each of the head's rows; rows (HR, D)."""
        if self.rank == 1:
            single: Array = np.multiply(v[:, None], rows, out=out)
            return single
        shape = (self.heads, self.rank * self.dimension)
        target = None if out is None else out.reshape(shape)
        product: Array = np.multiply(v[:, None], rows.reshape(shape), out=target)
        return product.reshape(rows.shape)

    def matrix(self, theta: Array) -> Array:
        """M = Σ v_h k_hr q_hrᵀ, (..., D, D) for states (..., size)."""
        if theta.ndim == 1:
            v, K, Q = self._blocks(theta)
            return np.asarray(np.dot(self._times_value(v, K).T, Q))
        v, k, q = self.unpack(theta)
        flat = (*theta.shape[:-1], self.pairs, self.dimension)
        vk = (v[..., None, None] * k).reshape(flat)
        return np.asarray(vk.swapaxes(-1, -2) @ q.reshape(flat))

    def pullback(self, theta: Array, G: Array) -> Array:
        """(∂M/∂θ)ᵀ G, which is −½ ∂L/∂θ when G is the residual."""
        v, K, Q = self._blocks(theta)
        return self._pullback(v, K, Q, self._times_value(v, K), G)

    def workspace(self, dtype: Any) -> tuple[Array, Array]:
        """Arrays in which `velocity` keeps what it does not return."""
        D = self.dimension
        return np.empty((D, D), dtype), np.empty((self.pairs, D), dtype)

    def velocity(
        self,
        theta: Array,
        residual: Callable[[Array, Array], Array],
        workspace: tuple[Array, ...],
    ) -> Array:
        """−½ ∂L/∂θ for a residual (M, out) ↦ G; `pullback` that shares products with `matrix`."""
        v, K, Q = self._blocks(theta)
        vK = self._times_value(v, K, out=workspace[1])
        M = np.dot(vK.T, Q, out=workspace[0])
        return self._pullback(v, K, Q, vK, residual(M, M))

    def _pullback(self, v: Array, K: Array, Q: Array, vK: Array, G: Array) -> Array:
        H = self.heads
        out = np.empty(self.size, np.result_type(vK, G))
        dv, dK, dQ = self._blocks(out)
        GQ = np.dot(Q, G.T, out=dK)
        np.matmul(K.reshape(H, 1, -1), GQ.reshape(H, -1, 1), out=dv.reshape(H, 1, 1))
        self._times_value(v, GQ, out=dK)
        np.dot(vK, G, out=dQ)
        return out

    def pushforward(self, theta: Array, direction: Array) -> Array:
        """(∂M/∂θ) direction, shape (D, D)."""
        v, K, Q = self._blocks(theta)
        dv, dK, dQ = self._blocks(direction)
        dvk = self._times_value(dv, K) + self._times_value(v, dK)
        return np.asarray(dvk.T @ Q + self._times_value(v, K).T @ dQ)

    def pullback_derivative(self, theta: Array, direction: Array, G: Array) -> Array:
        """Derivative of `pullback(θ, G)` along `direction` at fixed G."""
        v, K, Q = self._blocks(theta)
        dv, dK, dQ = self._blocks(direction)
        GQ, GdQ = Q @ G.T, dQ @ G.T
        value = (dK * GQ + K * GdQ).reshape(self.heads, -1).sum(axis=1)
        key = self._times_value(dv, GQ) + self._times_value(v, GdQ)
        query = (self._times_value(dv, K) + self._times_value(v, dK)) @ G
        return np.concatenate([value, key.ravel(), query.ravel()])

    def tangent(self, theta: Array) -> Array:
        """∂M/∂θ as a matrix (D², size), M by rows."""
        D = self.dimension
        v, k, q = self.unpack(theta)
        _, K, Q = self._blocks(theta)
        keys, queries = self._places()
        i = np.arange(D)[:, None]
        B = np.zeros((D, D, self.size), theta.dtype)
        B[:, :, : self.heads] = np.matmul(k.transpose(0, 2, 1), q).transpose(1, 2, 0)
        B[i, :, keys.T] = self._times_value(v, Q)
        B[:, i, queries.T] = self._times_value(v, K).T[:, None]
        return B.reshape(D * D, self.size)

    def curvature(self, theta: Array, G: Array) -> Array:
        """Σ_ij G_ij ∂²M_ij/∂θ², shape (size, size)."""
        v, K, Q = self._blocks(theta)
        keys, queries = self._places()
        head = np.repeat(np.arange(self.heads), self.rank)[:, None]
        upper = np.zeros((self.size, self.size), np.result_type(theta, G))
        upper[head, keys] = Q @ G.T
        upper[head, queries] = K @ G
        upper[keys[:, :, None], queries[:, None]] = v[head, None] * G
        return upper + upper.T

    def rotate(self, theta: Array, left: Array, right: Array) -> Array:
        """State whose M is leftᵀ M right (k ↦ leftᵀk, q ↦ rightᵀq), for states (..., size)."""
        v, k, q = self.unpack(theta)
        k, q = (turned.reshape(*v.shape[:-1], -1) for turned in (k @ left, q @ right))
        return np.concatenate([v, k, q], axis=-1)

    def invariants(self, theta: Array) -> Array:
        """Quantities conserved by the flow, (..., H R² + H).

        `K_h K_hᵀ − Q_h Q_hᵀ` (R, R) of each head, whose diagonal is ‖k_hr‖² − ‖q_hr‖², and
        `v_h² − Σ_r ‖k_hr‖²`.
        """
        v, k, q = self.unpack(theta)
        gram = k @ k.swapaxes(-1, -2) - q @ q.swapaxes(-1, -2)
        balance = v**2 - np.sum(k * k, axis=(-2, -1))
        return np.concatenate([gram.reshape(*v.shape[:-1], -1), balance], axis=-1)

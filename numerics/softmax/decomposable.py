"""Decomposable weights of softmax heads: the map from individual to combined weights.

Notation ([S] Def. 1, arXiv:2402.19442): head h multiplies token entry j by ω_j^h = k q/√d_e in its
scores and label i by μ_i^h = o v in its output, entry by entry. A state θ is flat: all o, then v
(H, I), then k, then q (H, d); `numerics.MultiTaskLayer.embed` takes the same four.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics.merged import check_and_pack

Array = NDArray[Any]


@dataclass(frozen=True)
class SpectralAttention:
    """Decomposable weights of H softmax heads: the map θ ↦ (ω, μ).

    Parameters
    ----------
    block_dims : sequence of int
        d_i, one per task; d is their sum.
    heads : int
        H ≥ 1.
    embedding_dim : int
        d_e ≥ 1, the width of a head, which only divides the scores here.

    Raises
    ------
    ValueError, TypeError
        If a size is not an integer of at least 1, or there is no task.

    Examples
    --------
    >>> model = SpectralAttention(block_dims=(2, 2), heads=3, embedding_dim=4)
    >>> omega, mu = model.combined(model.leading_weights(0.1, 0.5, 1.0))
    >>> omega.shape, mu.round(12).tolist()
    ((3, 4), [[1.0, 0.5], [0.5, 1.0], [0.5, 0.5]])
    """

    block_dims: Sequence[int]
    heads: int
    embedding_dim: int

    def __post_init__(self) -> None:
        _check.count("heads", self.heads)
        _check.count("embedding_dim", self.embedding_dim)
        try:
            given = list(self.block_dims)
        except TypeError:
            raise TypeError(f"block_dims must be a sequence, got {self.block_dims!r}") from None
        if not given:
            raise ValueError("block_dims must name at least one task, got none")
        sizes = tuple(_check.count("each of block_dims", size) for size in given)
        object.__setattr__(self, "block_dims", sizes)

    @cached_property
    def dimension(self) -> int:
        """d, the sum of all d_i."""
        return sum(self.block_dims)

    @cached_property
    def tasks(self) -> int:
        """I."""
        return len(self.block_dims)

    @cached_property
    def owner(self) -> Array:
        """Task of each token entry, (d,)."""
        return np.repeat(np.arange(self.tasks), self.block_dims)

    @cached_property
    def combined_size(self) -> int:
        """Number of μ and ω together, H (I + d)."""
        return self.heads * (self.tasks + self.dimension)

    @cached_property
    def size(self) -> int:
        """Length of a state, 2H (I + d)."""
        return 2 * self.combined_size

    @cached_property
    def cuts(self) -> tuple[int, int, int]:
        """Where v, k and q begin in a state."""
        small, large = self.heads * self.tasks, self.heads * self.dimension
        return small, 2 * small, 2 * small + large

    def pack(self, o: ArrayLike, v: ArrayLike, k: ArrayLike, q: ArrayLike) -> Array:
        """Flatten o, v (H, I), k and q (H, d) into a state.

        Raises
        ------
        ValueError
            If a shape is not the model's.
        """
        small, large = (self.heads, self.tasks), (self.heads, self.dimension)
        return check_and_pack({"o": (o, small), "v": (v, small), "k": (k, large), "q": (q, large)})

    def unpack(self, theta: Array) -> tuple[Array, Array, Array, Array]:
        """O, v (..., H, I), k and q (..., H, d) as views of a state (..., size)."""
        batch, (a, b, c) = theta.shape[:-1], self.cuts
        small = (*batch, self.heads, self.tasks)
        large = (*batch, self.heads, self.dimension)
        o, v, k, q = theta[..., :a], theta[..., a:b], theta[..., b:c], theta[..., c:]
        return o.reshape(small), v.reshape(small), k.reshape(large), q.reshape(large)

    def combined(self, theta: Array) -> tuple[Array, Array]:
        """Ω = k q/√d_e (..., H, d) and μ = o v (..., H, I) of states (..., size)."""
        o, v, k, q = self.unpack(theta)
        return k * q / math.sqrt(self.embedding_dim), o * v

    def balanced(self, omega: ArrayLike, mu: ArrayLike) -> Array:
        """State with |o| = |v| and |k| = |q| at given ω (H, d) and μ (H, I).

        o and k are not negative, so that o = v and k = q where μ and ω are not negative.

        Raises
        ------
        ValueError
            If a shape is not the model's.
        """
        H, d, tasks = self.heads, self.dimension, self.tasks
        w = check_and_pack({"omega": (omega, (H, d))}).reshape(H, d) * math.sqrt(self.embedding_dim)
        m = check_and_pack({"mu": (mu, (H, tasks))}).reshape(H, tasks)
        k, o = np.sqrt(np.abs(w)), np.sqrt(np.abs(m))
        return self.pack(o, np.copysign(o, m), k, np.copysign(k, w))

    def leading_weights(
        self,
        omega_bar: float,
        other: float,
        leading: float,
        *,
        leaders: Sequence[int] | None = None,
    ) -> Array:
        """Symmetric balanced start: one ω, μ = `leading` where a head leads a task, else `other`.

        [S]'s theorems need a largest μ_i^h for each task i, in another head each; `leaders` names
        that head h_i* for each task, by default 0, 1, 2, …

        Raises
        ------
        ValueError, TypeError
            If there are fewer heads than tasks, leaders repeat or do not exist, or other < 0,
            leading <= other.
        """
        other = _check.real("other", other, at_least=0.0)
        leading = _check.real("leading", leading, above=other)
        mu = np.full((self.heads, self.tasks), other)
        mu[self.checked_leaders(leaders), np.arange(self.tasks)] = leading
        w = _check.real("omega_bar", omega_bar, at_least=0.0)
        return self.balanced(np.full((self.heads, self.dimension), w), mu)

    def checked_leaders(self, leaders: Sequence[int] | None) -> list[int]:
        """A head of its own for each task; 0, 1, 2, … if left out."""
        if leaders is None and self.heads < self.tasks:
            raise ValueError(f"heads must be >= {self.tasks}, one per task, got {self.heads}")
        given: Any = range(self.tasks) if leaders is None else leaders
        try:
            chosen = [_check.count("each of leaders", head, 0) for head in given]
        except TypeError as error:
            if "leaders" in str(error):
                raise
            raise TypeError(f"leaders must be a sequence, got {_check.shown(given)}") from None
        if len(chosen) != self.tasks or len(set(chosen)) < self.tasks or max(chosen) >= self.heads:
            raise ValueError(
                f"leaders must be {self.tasks} different heads below {self.heads}, got {chosen}"
            )
        return chosen

    def block_means(self, omega: Array) -> Array:
        """ω̄_i^h, the mean of ω^h over J_i: (..., H, I) of ω (..., H, d)."""
        starts = np.cumsum([0, *self.block_dims[:-1]])
        return np.asarray(np.add.reduceat(omega, starts, axis=-1) / np.array(self.block_dims))


__all__ = ["SpectralAttention"]

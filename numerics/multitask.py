"""Multi-task regression: several tasks on disjoint blocks of the same tokens.

Notation ([S], arXiv:2402.19442): tokens x ~ N(0, 1) in R^d; task i sees the d_i entries J_i of x,
consecutive and disjoint, with weights g_i ~ N(0, λ_i 1) drawn for each sequence. Context labels
are y_i = g_iᵀ x_{J_i} + σ ε, ε ~ N(0, 1), for L pairs; the target g_iᵀ q_{J_i} of the query q
carries no noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics._repr import OneLine

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False, repr=False)
class MultiTask(OneLine):
    """Tasks on disjoint blocks of Gaussian tokens.

    Parameters
    ----------
    block_dims : sequence of int
        d_i, one per task, at least 1 each; d is their sum.
    signal : float or (I,)
        λ_i > 0, the variance of each entry of g_i; stored as (I,).
    context_length : int
        L, the number of context pairs, at least 1.
    noise : float
        σ, the standard deviation of the noise on the context's labels.

    Raises
    ------
    ValueError, TypeError
        If there is no task, a size is below 1, some λ_i is not positive or σ < 0.

    Examples
    --------
    >>> task = MultiTask(block_dims=(2, 4), signal=0.5, context_length=100, noise=1.0)
    >>> task.dimension, task.outputs, task.noise_factor.tolist()
    (6, 2, [2.0, 1.5])
    """

    block_dims: Sequence[int]
    signal: ArrayLike
    context_length: int
    noise: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        try:
            given = list(self.block_dims)
        except TypeError:
            raise TypeError(f"block_dims must be a sequence, got {self.block_dims!r}") from None
        if not given:
            raise ValueError("block_dims must name at least one task, got none")
        sizes = tuple(_check.count("each of block_dims", size) for size in given)
        signal = _check.floating_array("signal", self.signal, (0, 1)).astype(np.float64)
        if signal.ndim:
            _check.same_length("the length of signal", len(signal), "block_dims", len(sizes))
        if not (signal > 0).all():
            raise ValueError(f"signal must be > 0, got a smallest of {signal.min():.3g}")
        settled = {
            "block_dims": sizes,
            "signal": np.broadcast_to(signal, len(sizes)).copy(),
            "context_length": _check.count("context_length", self.context_length),
            "noise": _check.real("noise", self.noise, at_least=0.0),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    @property
    def dimension(self) -> int:
        """d, the sum of all d_i."""
        return sum(self.block_dims)

    @property
    def outputs(self) -> int:
        """I, the number of tasks."""
        return len(self.block_dims)

    @property
    def blocks(self) -> list[slice]:
        """J_i as slices of x."""
        ends = np.cumsum(self.block_dims).tolist()
        return [slice(end - size, end) for end, size in zip(ends, self.block_dims, strict=True)]

    @property
    def noise_factor(self) -> Array:
        """φ_i = 1 + σ²/(λ_i d_i), shape (I,): a label's variance over its signal's."""
        return np.asarray(
            1 + self.noise**2 / (np.asarray(self.signal) * np.asarray(self.block_dims))
        )


@guarded
def sample_multitask(task: MultiTask, count: int, *, rng: Any = None) -> tuple[Array, Array]:
    """Draw `count` sequences: tokens (P, L+1, d+I), the query (q, 0) last, and targets (P, I).

    Raises
    ------
    ValueError, TypeError
        If `count` is not an integer of at least 1.

    Examples
    --------
    >>> tokens, target = sample_multitask(MultiTask((2, 1), 1.0, context_length=5), 4, rng=0)
    >>> tokens.shape, target.shape, tokens[:, -1, 3:].any().item()
    ((4, 6, 5), (4, 2), False)
    """
    count = _check.count("count", count)
    generator = _check.generator("rng", rng)
    d, L = task.dimension, task.context_length
    tokens = np.zeros((count, L + 1, d + task.outputs))
    tokens[:, :, :d] = generator.standard_normal((count, L + 1, d))
    g = generator.standard_normal((count, d)) * np.sqrt(np.repeat(task.signal, task.block_dims))
    for i, block in enumerate(task.blocks):
        tokens[:, :, d + i] = np.matmul(tokens[:, :, block], g[:, block, None])[:, :, 0]
    target = tokens[:, -1, d:].copy()
    tokens[:, -1, d:] = 0
    if task.noise:
        labels = tokens[:, :-1, d:]
        labels += task.noise * generator.standard_normal(labels.shape)
    return tokens, target

"""In-context loss of any softmax heads by Monte Carlo, averaged exactly over tasks and noise.

Notation of `numerics.softmax.exact`: head h scores s_l = Σ_j ω^h_j q_j x_{l,j}, p_h = softmax(s)
over the L context tokens, ŷ_i = Σ_h μ_i^h Σ_l p_{h,l} y_{i,l}. Given tokens and query,

    E(ŷ_i − g_iᵀq_{J_i})² = λ_i ‖Σ_h μ_i^h X_iᵀp_h − q_{J_i}‖² + σ² ‖Σ_h μ_i^h p_h‖².
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.multitask import MultiTask

Array = NDArray[np.float64]

_NUMBERS = 2**21  # held at a time


class LossEstimate(NamedTuple):
    """A Monte Carlo loss and its standard error: of each task, (I,), and of their sum."""

    task_mean: Array
    task_error: Array
    mean: float
    error: float


@guarded
def icl_loss_monte_carlo(
    omega: ArrayLike,
    mu: ArrayLike,
    task: MultiTask,
    count: int,
    *,
    rng: Any = None,
    chunk: int | None = None,
) -> LossEstimate:
    """Estimate the in-context loss of given heads (the formula at the top of the module).

    Tokens are drawn a slice at a time and never kept, so that memory does not grow with L.

    Parameters
    ----------
    omega : (H, d)
        ω^h, diagonal of the query-key weights of each head.
    mu : (H, I)
        μ_i^h, output weight of head h for task i.
    task : MultiTask
        Block sizes d_i, L, λ_i and σ.
    count : int
        Number of sequences, at least 2.
    rng
        Seed or generator.
    chunk : int, optional
        Sequences drawn together; chosen to fit a few tens of MB if not given. It changes the
        order of the draws, and so the estimate.

    Raises
    ------
    ValueError, TypeError
        If a shape does not fit the task, a weight is not finite, or a count is too small.

    Examples
    --------
    No head: the loss of each task is its signal energy λ_i d_i.

    >>> task = MultiTask((10, 20), signal=0.5, context_length=5)
    >>> estimate = icl_loss_monte_carlo(np.ones((1, 30)), [[0.0, 0.0]], task, 1000, rng=0)
    >>> bool(abs(estimate.mean - 15.0) < 5 * estimate.error)
    True
    """
    omega = _check.floating_array("omega", omega, 2).astype(np.float64)
    mu = _check.floating_array("mu", mu, 2).astype(np.float64)
    heads = len(omega)
    _check.same_length("the width of omega", omega.shape[1], "task", task.dimension)
    _check.same_length("the number of heads in mu", len(mu), "omega", heads)
    _check.same_length("the number of tasks in mu", mu.shape[1], "task", task.outputs)
    count = _check.count("count", count, at_least=2)
    width = task.dimension + 2 * heads
    if chunk is None:
        chunk = max(1, _NUMBERS // (width * min(task.context_length, 256)))
    chunk = _check.count("chunk", chunk)
    generator = _check.generator("rng", rng)
    total, square, cross, done = np.zeros(task.outputs), np.zeros(task.outputs), 0.0, 0
    shift = np.asarray(task.signal) * np.asarray(task.block_dims)  # keeps the variance's digits
    while done < count:
        size = min(chunk, count - done)
        losses = _losses(omega, mu, task, size, generator) - shift
        total += losses.sum(axis=0)
        square += (losses**2).sum(axis=0)
        cross += float((losses.sum(axis=1) ** 2).sum())
        done += size
    mean = total / count
    variance = np.maximum(square / count - mean**2, 0.0) / (count - 1)
    whole = max(cross / count - float(mean.sum()) ** 2, 0.0) / (count - 1)
    mean = mean + shift
    return LossEstimate(mean, np.sqrt(variance), float(mean.sum()), float(np.sqrt(whole)))


def _losses(omega: Array, mu: Array, task: MultiTask, count: int, generator: Any) -> Array:
    """Loss of each sequence and task given tokens and query, (count, I)."""
    q = generator.standard_normal((count, task.dimension))
    retrieved, overlap = attend(omega * q[:, None, :], task.context_length, generator)
    owner = np.repeat(np.arange(task.outputs), task.block_dims)
    prediction = (mu[:, owner] * retrieved).sum(axis=1)
    starts = [block.start for block in task.blocks]
    loss = np.asarray(task.signal) * np.add.reduceat((prediction - q) ** 2, starts, axis=1)
    if task.noise:
        loss += task.noise**2 * ((overlap @ mu) * mu).sum(axis=1)
    return np.asarray(loss)


def attend(keys: Array, context_length: int, generator: Any) -> tuple[Array, Array]:
    """Draw tokens x_l ~ N(0, I) and attend by s_{h,l} = k_hᵀ x_l: Σ_l p_{h,l} x_l and p_h·p_h'.

    Keys (P, H, d) give (P, H, d) and (P, H, H). Sums run over slices of tokens, relative to the
    largest score so far.
    """
    count, heads, dimension = keys.shape
    length = min(context_length, max(1, _NUMBERS // (count * (dimension + 2 * heads))))
    largest = np.full((count, heads), -np.inf)
    weight = np.zeros((count, heads))
    retrieved = np.zeros(keys.shape)
    overlap = np.zeros((count, heads, heads))
    for begin in range(0, context_length, length):
        size = min(length, context_length - begin)
        x = generator.standard_normal((count, size, dimension))
        scores = keys @ x.swapaxes(1, 2)
        now = np.maximum(largest, scores.max(axis=2))
        kept = np.exp(largest - now)
        e = np.exp(scores - now[:, :, None])
        weight = kept * weight + e.sum(axis=2)
        retrieved = kept[:, :, None] * retrieved + e @ x
        overlap = kept[:, :, None] * kept[:, None, :] * overlap + e @ e.swapaxes(1, 2)
        largest = now
    overlap /= weight[:, :, None] * weight[:, None, :]
    return retrieved / weight[:, :, None], overlap

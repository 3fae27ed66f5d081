"""Heads that share the tasks out among them, and how far several heads beat one.

Head h serves the tasks assigned to it as the best single head would, and no others. Such heads do
not interact in `spectral_loss`, so the losses add up. Symbols as in `analytic.softmax.limit`.
[S] is arXiv 2402.19442; its forms are derived here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check
from .._generic import Number, sqrt
from .._guard import guarded
from ._tasks import Tasks, tasks
from .single_head import single_head_optimum


@guarded
def allocated_loss(
    assignment: Any,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return the loss of heads that each serve their own tasks at their best.

    Parameters
    ----------
    assignment
        (I,) integers, the head that serves each task. All distinct: `limit_loss`. All equal:
        `single_head_optimum(...).loss`.
    block_dims, signal
        d_i > 0 and λ_i > 0; at least one of shape (..., I).
    context_length
        L >= 1, over the batch dimensions.
    noise
        σ >= 0, over the batch dimensions.

    Returns
    -------
    (...), in units of y².

    Raises
    ------
    ValueError
        If an argument is out of its range or the numbers of tasks differ.
    TypeError
        If the assignment is not of integers.

    Notes
    -----
    A stationary point of the balanced spectral flow. Derived here, from [S] Theorem 3.
    Accuracy: 8 eps.

    Examples
    --------
    >>> round(float(allocated_loss([0, 0, 1], [10, 10, 10], 1.0, 100)), 4)
    9.1811
    """
    world, groups = _grouped(assignment, block_dims, signal, context_length, noise)
    losses = [
        single_head_optimum(dims, lam, context_length, noise=noise).loss
        for dims, lam in (_part(world, group) for group in groups)
    ]
    return sum(losses[1:], losses[0])


@guarded
def separation(
    assignment: Any,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return the loss of the best single head over `allocated_loss`.

    For I equal tasks shared out evenly among H heads, c small, about H ∧ I: see
    `separation_limit`. With H = I it is I(1 + ec)/(1 + eIc) where every task gets water.

    Arguments, range and errors as in `allocated_loss`; (...). [S], multi-head against single-head;
    form derived here.

    Accuracy: 12 eps.

    Examples
    --------
    >>> round(float(separation([0, 1, 2], [10, 10, 10], 1.0, 10**6)), 3)
    3.0
    """
    alone = single_head_optimum(block_dims, signal, context_length, noise=noise).loss
    return alone / allocated_loss(assignment, block_dims, signal, context_length, noise=noise)


@guarded
def separation_limit(
    assignment: Any, block_dims: Number, signal: Number, *, noise: Number = 0
) -> Number:
    """Return the limit of `separation` as L → ∞: (Σ_i w_i)²/Σ_h (Σ_{i of h} w_i)².

    Here w_i = √(d_i(λ_i d_i + σ²)). By the Cauchy–Schwarz inequality at most the number of heads in
    use, and H ∧ I exactly where each of H ∧ I heads carries the same Σw.

    Arguments, range and errors as in `allocated_loss`; (...). [S] states H ∧ I; form derived here.

    Accuracy: 12 eps.

    Examples
    --------
    >>> float(separation_limit([0, 1, 0, 1], [10, 10, 10, 10], 1.0))
    2.0
    """
    world, groups = _grouped(assignment, block_dims, signal, 1, noise)
    weight = sqrt(world.dims * world.power)
    sums = [weight[..., group].sum(axis=-1) for group in groups]
    squares = [value * value for value in sums]
    return sum(sums[1:], sums[0]) ** 2 / sum(squares[1:], squares[0])


def _grouped(
    assignment: Any,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    noise: Number,
) -> tuple[Tasks, list[Any]]:
    (world,) = tasks(block_dims, signal, context_length, noise)
    if not world.listed:
        raise ValueError("block_dims or signal must have shape (..., I), got two scalars")
    heads = _check.indices("assignment", assignment, "(I,)")
    count = max(np.shape(value)[-1] for value in (world.dims, world.signal) if np.ndim(value))
    if heads.shape != (count,):
        raise ValueError(f"assignment must have shape ({count},), got {heads.shape}")
    return world, [np.flatnonzero(heads == head) for head in np.unique(heads)]


def _part(world: Tasks, group: Any) -> tuple[Number, Number]:
    dims, lam = (
        value[..., group] if np.ndim(value) else value for value in (world.dims, world.signal)
    )
    return dims, lam

"""The best single head: water-filling of ‖ω‖² = 1 over the tasks, [S] Theorem 3.

A head with squared weight b_i on block i, B = Σ b_i, and its best read-out leaves
λ_i d_i c_i/(c_i + ν_i) of task i, where ν_i = b_i e^{−B} is its allocation. Σν_i = B e^{−B} is
largest, 1/e, at B = 1, so that the optimum has ‖ω‖² = 1 exactly and shares 1/e out over the tasks.
Symbols as in `analytic.softmax.limit`. [S] is arXiv 2402.19442; its forms are derived here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import _check
from .._generic import Number, concat, harmonise, is_array, is_symbolic, sqrt, total
from .._generic import entries as _entries
from .._guard import guarded
from ._tasks import Tasks, euler, tasks


class SingleHead(NamedTuple):
    """b_i = d_i ω̄_i², ω̄_i, μ_i (..., I) and the loss (...) of the best single head."""

    squared_weights: Number
    omega_bar: Number
    mu: Number
    loss: Number


@guarded
def allocation_loss(
    allocation: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return Σ_i λ_i d_i c_i/(c_i + ν_i), the loss that allocations ν_i of attention leave.

    Parameters
    ----------
    allocation
        ν_i >= 0, scalar or (..., I).
    block_dims, signal
        d_i > 0 and λ_i > 0, scalars or (..., I).
    context_length
        L >= 1, number of context pairs; inf is allowed where ν_i > 0.
    noise
        σ >= 0.

    Returns
    -------
    (...), in units of y².

    Raises
    ------
    ValueError
        If an argument is out of its range or the numbers of tasks differ.

    Notes
    -----
    [S] Theorems 3 and 4; form derived here.
    Accuracy: 6 eps.

    Examples
    --------
    >>> allocation_loss([1.0, 0.0], [10, 10], 1.0, 10).tolist()
    15.0
    """
    allocation = _check.non_negative("allocation", allocation)
    world, allocation = tasks(block_dims, signal, context_length, noise, allocation)
    if is_array(allocation) and allocation.ndim and not world.listed:
        raise ValueError(
            f"allocation must be a scalar where block_dims and signal are, "
            f"got shape {allocation.shape}"
        )
    return world.sum(world.energy * world.ratio / (world.ratio + allocation))


@guarded
def water_filling(
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
    budget: Number | None = None,
    cap: Number | None = None,
) -> Number:
    """Return the allocation ν_i that minimises Σ λ_i d_i c_i/(c_i + ν_i) within a budget.

    Minimised over 0 <= ν_i <= cap, Σν_i <= budget. With the water level w, the largest that fits::

        ν_i = min(cap, max(0, w √(d_i(λ_i d_i + σ²)) − c_i))

    found exactly among the at most 2I levels at which a task enters or reaches the cap.

    Parameters
    ----------
    block_dims, signal, context_length, noise
        As in `allocation_loss`; at least one of d and λ is (..., I), scalars are one task.
    budget
        Positive; 1/e if not given, that of a single head.
    cap
        Positive, or none.

    Returns
    -------
    ν (..., I), adding up to min(budget, I · cap); of the shape of L for one task.

    Raises
    ------
    ValueError
        If an argument is out of its range, the numbers of tasks differ, or there are symbols,
        which have no order.

    Notes
    -----
    The root turns `Fraction` into float; mpmath keeps its digits. Convex, so that its conditions of
    stationarity suffice. [S] Theorem 3; form derived here.
    Accuracy: 8 eps of Σ (c_i + ν_i).

    Examples
    --------
    >>> water_filling([10, 10], [1.0, 4.0], 100, budget=1.0).round(3).tolist()
    [0.3, 0.7]
    """
    world, budget, cap = _budgeted(block_dims, signal, context_length, noise, budget, cap)
    return _filled(world, budget, cap)


@guarded
def single_head_optimum(
    block_dims: Number, signal: Number, context_length: Number, *, noise: Number = 0
) -> SingleHead:
    """Return the weights and the loss of the best single head.

    With ν of `water_filling` at budget 1/e: b_i = eν_i, Σb_i = 1, ω̄_i = √(b_i/d_i) and
    μ_i = √(b_i d_i)/(b_i + e c_i).

    Parameters
    ----------
    block_dims, signal, context_length, noise
        As in `water_filling`.

    Returns
    -------
    `SingleHead`: ``squared_weights``, ``omega_bar``, ``mu`` (..., I), and ``loss`` (...) in y².

    Raises
    ------
    ValueError
        As `water_filling`.

    Notes
    -----
    The global minimum of `spectral_loss` at H = 1, up to the sign of (ω, μ) on each block.
    [S] Theorem 3; form derived here.
    Accuracy: 8 eps; of b against e Σ (c_i + ν_i) = β, of ω̄ and μ times β/b.

    Examples
    --------
    >>> best = single_head_optimum([10, 10, 10], 1.0, 100)
    >>> round(float(sum(best.squared_weights)), 12), round(float(best.loss), 4)
    (1.0, 13.4755)
    """
    world, budget, _ = _budgeted(block_dims, signal, context_length, noise, None, None)
    nu = _filled(world, budget, None)
    e = euler(*world.numbers)
    b = e * nu  # of the kind of every number, as e is
    omega_bar = sqrt(b / world.dims)
    mu = sqrt(b * world.dims) / (b + e * world.ratio)
    losses = world.energy * world.ratio / (world.ratio + nu)
    return SingleHead(b, omega_bar, mu, world.sum(losses))


def _budgeted(
    block_dims: Number,
    signal: Number,
    context_length: Number,
    noise: Number,
    budget: Number | None,
    cap: Number | None,
) -> tuple[Tasks, Number, Number | None]:
    for name, value in (("budget", budget), ("cap", cap)):
        if value is not None and np.ndim(_check.positive(name, value)):
            raise ValueError(f"{name} must be one number, got shape {np.shape(value)}")
    given = [number for number in (budget, cap) if number is not None]
    world, *given = tasks(block_dims, signal, context_length, noise, *given)
    if any(is_symbolic(entry) for entry in _entries(*world.numbers, *given)):
        raise ValueError(
            "block_dims, signal, context_length, noise (budget and cap) must be numbers, "
            "not symbols"
        )
    e = euler(*world.numbers, *given)
    return world, 1 / e if budget is None else given[0], None if cap is None else given[-1]


def _filled(world: Tasks, budget: Number, cap: Number | None) -> Number:
    if not world.listed:
        # One task takes all that it may; a zero of c gives it the shape of the batch.
        nu = budget if cap is None else min(budget, cap)
        return nu + 0 * world.ratio
    weight = sqrt(world.dims * world.power, *world.numbers, budget, cap)
    weight, ratio = np.broadcast_arrays(*harmonise(weight, world.ratio))
    level = _level(weight, ratio, budget, cap)
    return _allocated(level, weight, ratio, cap)


def _level(weight: Any, ratio: Any, budget: Number, cap: Number | None) -> Any:
    """Return the water level (..., 1), exactly, from the sorted levels at which tasks come and go.

    The filled amount is piecewise linear and increasing in the level; on the piece that holds the
    budget, Σ_active (w·weight − ratio) + cap·(number at the cap) = budget is solved for w.
    """
    enter = ratio / weight
    leave = None if cap is None else (ratio + cap) / weight
    breaks = np.sort(enter if leave is None else concat([enter, leave]))
    amounts = total(
        _allocated(breaks[..., :, None], weight[..., None, :], ratio[..., None, :], cap)
    )
    last = np.maximum(np.sum((amounts <= budget).astype(int), axis=-1, keepdims=True) - 1, 0)
    start = np.take_along_axis(breaks, last, axis=-1)
    active = (enter <= start).astype(bool)
    need = budget
    if leave is not None:
        full = (leave <= start).astype(bool)
        active &= ~full
        need = budget - cap * np.sum(full, axis=-1, keepdims=True)
    slope = total(np.where(active, weight, 0 * weight), keepdims=True)
    need = need + total(np.where(active, ratio, 0 * ratio), keepdims=True)
    some = np.any(active, axis=-1, keepdims=True)
    return np.where(some, need / np.where(some, slope, slope + 1), start)


def _allocated(level: Any, weight: Any, ratio: Any, cap: Number | None) -> Any:
    nu = np.maximum(level * weight - ratio, 0 * ratio)
    return nu if cap is None else np.minimum(nu, cap)

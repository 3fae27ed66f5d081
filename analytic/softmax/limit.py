"""Where the gradient flow of [S] ends with as many heads as tasks: one head for each task.

At the limit head i has ω_j = d_i^{−1/2} on its own block and zero elsewhere, so that ‖ω‖² = 1, and
reads out its own task alone: tasks decouple. d_i `block_dims`, λ_i `signal` per coordinate, L
`context_length`, σ `noise`, c_i = φ_i d_i/L with φ_i = 1 + σ²/(λ_i d_i); loss without ½ and without
the query's label noise. Scalars d, λ are one task; arrays (..., I) have the task as last axis, and
L and σ are then over the batch dimensions. [S] is arXiv 2402.19442; its forms are derived here.
"""

from __future__ import annotations

from typing import NamedTuple

from .. import _check
from .._generic import Number, column, over_length, sqrt
from .._guard import guarded
from ._tasks import euler, tasks


class LimitWeights(NamedTuple):
    """Weights of the head that serves task i, on that task."""

    omega_bar: Number
    mu: Number


@guarded
def limit_weights(
    block_dims: Number, signal: Number, context_length: Number, *, noise: Number = 0
) -> LimitWeights:
    """Return (ω̄*_i, μ*_i) = (d_i^{−1/2}, √d_i/(1 + e c_i)).

    Parameters
    ----------
    block_dims, signal
        d_i > 0 and λ_i > 0, scalars or (..., I).
    context_length
        L >= 1, number of context pairs; inf is allowed.
    noise
        σ >= 0.

    Returns
    -------
    `LimitWeights` with fields ``omega_bar`` and ``mu``, of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If an argument is out of its range or the numbers of tasks differ.

    Notes
    -----
    The stationary point of `spectral_loss` in one task's (ω̄, μ), μ ≠ 0. [S] Theorem 2; form
    derived here.
    Accuracy: 4 eps.

    Examples
    --------
    >>> limit_weights(4, 1.0, float("inf"))
    LimitWeights(omega_bar=0.5, mu=2.0)
    """
    (world,) = tasks(block_dims, signal, context_length, noise)
    root, cost = sqrt(world.dims, *world.numbers), world.ratio
    e = euler(*world.numbers)
    return LimitWeights(1 / root + 0 * cost, root / (1 + e * cost))


@guarded
def task_limit_losses(
    block_dims: Number, signal: Number, context_length: Number, *, noise: Number = 0
) -> Number:
    """Return λ_i d_i · e c_i/(1 + e c_i), the loss of each task at the limit.

    Arguments, range, errors and source as in `limit_weights`; shape (..., I), or that of L for
    scalar d and λ; units of y².

    Accuracy: 6 eps.

    Examples
    --------
    >>> task_limit_losses([10, 10, 10], 1.0, 100).round(4).tolist()
    [2.1373, 2.1373, 2.1373]
    """
    (world,) = tasks(block_dims, signal, context_length, noise)
    cost = euler(*world.numbers) * world.ratio
    return world.energy * cost / (1 + cost)


@guarded
def limit_loss(
    block_dims: Number, signal: Number, context_length: Number, *, noise: Number = 0
) -> Number:
    """Return Σ_i λ_i d_i · e c_i/(1 + e c_i), the loss at the limit, summed over tasks.

    Arguments, range, errors and source as in `limit_weights`; shape (...).

    Accuracy: 8 eps.

    Examples
    --------
    >>> round(float(limit_loss([10, 10, 10], 1.0, 100)), 4)
    6.4119
    """
    (world,) = tasks(block_dims, signal, context_length, noise)
    cost = euler(*world.numbers) * world.ratio
    return world.sum(world.energy * cost / (1 + cost))


@guarded
def generalised_loss(
    block_dims: Number,
    signal: Number,
    context_length: Number,
    test_length: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return the loss at L' = `test_length` of the limit trained at L, summed over tasks.

    Only the noise term sees L'. With c_i at L and c'_i at L'::

        Σ_i λ_i d_i · e (e c_i² + c'_i)/(1 + e c_i)²

    Parameters
    ----------
    block_dims, signal, context_length, noise
        As in `limit_weights`.
    test_length
        L' >= 1, broadcasting like L; inf is allowed, and leaves Σ λ_i d_i (e c_i/(1 + e c_i))².

    Returns
    -------
    (...), `limit_loss` where L' = L.

    Raises
    ------
    ValueError
        If an argument is out of its range or the numbers of tasks differ.

    Notes
    -----
    [S] Proposition 1; form derived here.
    Accuracy: 8 eps.

    Examples
    --------
    >>> round(generalised_loss(10, 1.0, 100, 100), 4), round(generalised_loss(10, 1.0, 100, 200), 4)
    (2.1373, 1.2971)
    """
    length = _check.context_length(test_length, "test_length")
    world, length = tasks(block_dims, signal, context_length, noise, length)
    length = column(length) if world.listed else length
    e = euler(*world.numbers, length)
    cost, tested = world.ratio, over_length(world.power / world.signal, length)
    return world.sum(world.energy * e * (e * cost * cost + tested) / (1 + e * cost) ** 2)


@guarded
def optimality_factor(
    block_dims: Number, signal: Number, context_length: Number, *, noise: Number = 0
) -> Number:
    """Return e(1 + c_i)/(1 + e c_i), by how much the limit may exceed the lower bound of task i.

    No head weights bring task i below λ_i d_i c_i/(1 + c_i) (`lower_bound` with enough heads). The
    factor falls from e at c = 0 to 1 at c = ∞, so the limit is within a factor e of any optimum.

    Arguments, range and errors as in `limit_weights`. [S] Corollary 1; form derived here.

    Accuracy: 6 eps.

    Examples
    --------
    >>> round(optimality_factor(10, 1.0, float("inf")), 6)
    2.718282
    >>> round(optimality_factor(10, 1.0, 100), 6)
    2.351033
    """
    (world,) = tasks(block_dims, signal, context_length, noise)
    e, cost = euler(*world.numbers), world.ratio
    return e * (1 + cost) / (1 + e * cost)


@guarded
def limit_escape_rate(
    block_dims: Number, signal: Number, context_length: Number, *, noise: Number = 0
) -> Number:
    """Return 2 λ_i c_i μ*_i, the rate at which the limit is left off the balanced manifold.

    The read-out μ_i^h = o v of a head h that serves another task has gradient g = 2λ_i c_i μ*_i at
    the limit: o + v decays and o − v grows at rate g, so μ_i^h turns negative unless o = v exactly.
    From |o − v| = δ the escape takes about ln(1/δ)/g.

    Arguments, range and errors as in `limit_weights`. Per unit of time of the flow
    dθ/dt = −∂ℓ/∂θ on the individual weights. Derived here; not in [S], whose limit is that of a
    balanced start, o = v.

    Accuracy: 6 eps.

    Examples
    --------
    >>> round(limit_escape_rate(10, 1.0, 100), 4)
    0.4973
    """
    (world,) = tasks(block_dims, signal, context_length, noise)
    root = sqrt(world.dims, *world.numbers)
    cost = world.ratio
    return 2 * world.signal * cost * root / (1 + euler(*world.numbers) * cost)

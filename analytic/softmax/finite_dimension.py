"""One head on one task at long contexts and any dimension: first order in 1/L, exact in d.

A head with equal weights ω̄ on the d_i coordinates of its task, read-out μ. [S] Lemma 2 is leading
order in 1/L and in 1/d; its error in 1/d stays as L → ∞, and with it moves the best norm, which is
‖ω‖² = d ω̄² = 1 for d → ∞ only. d_i `block_dims`, λ_i `signal` per coordinate, L `context_length`,
σ `noise`, φ_i = 1 + σ²/(λ_i d_i); loss without ½ and without the query's label noise. Scalars d, λ
are one task; arrays (..., I) have the task as last axis, and L and σ are then over the batch
dimensions. Derived in `analytic.derivations.softmax_finite_dimension`; in neither paper.
"""

from __future__ import annotations

from .. import _check
from .._generic import (
    Number,
    column,
    exp,
    log1p,
    over_length,
    sqrt,
)
from .._guard import guarded
from ._tasks import Tasks, euler, tasks


@guarded
def long_context_loss(
    omega_bar: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return the loss of each task to first order in 1/L, at any d.

    With m = μω̄, and P, A the leading orders of E Σp² and E ‖q‖² Σp²::

        loss/λ = d (1 − m)² + A (μ² + 2m − 3m²) + μ² P σ²/λ,
        P = (1 − 2ω̄²)^{−d/2}/L,   A = (d/L) (1 − 2ω̄²)^{−d/2−1}

    The exact loss has the same form with one more term, 2m² E ‖q‖² Σp³ = O(1/L²).

    Parameters
    ----------
    omega_bar, mu
        ω̄ and μ of the head of each task, scalars or (..., I); 2ω̄² < 1, beyond which
        E e^{ω̄²‖q‖²}, the leading order of L E Σp², is infinite.
    block_dims, signal
        d_i > 0 and λ_i > 0, scalars or (..., I).
    context_length
        L >= 1, number of context pairs; inf is allowed.
    noise
        σ >= 0, standard deviation of the label noise in the context.

    Returns
    -------
    (..., I), or of the shape the arguments broadcast to; units of y².

    Raises
    ------
    ValueError
        If 2ω̄² >= 1, an argument is out of its range or the numbers of tasks differ.

    Notes
    -----
    The error is O(1/L²) at fixed d and weights where 6ω̄² < 1: E Σp² then falls short of P by
    [2κ_6 − 3κ_4 + κ_2]/(κ_2 L) of it, κ_n = (1 − nω̄²)^{−d/2}: 52/L at d = 10, ω̄² = 1/d, and
    (2e² − 3e + 1)/L for d → ∞. It is `first_order_loss` of such a head. Derived here.
    Accuracy: 8 eps of the sum of the absolute values of its terms, A and P times 1 + (d + 2) ω̄²/(1
    − 2ω̄²).

    Examples
    --------
    >>> round(long_context_loss(10**-0.5, 2.0, 10, 1.0, 1000), 4)
    1.506
    """
    omega_bar = _check.require(
        "omega_bar", omega_bar, lambda w: abs(w) < 0.5**0.5, "below 1/√2 in absolute value"
    )
    mu = _check.finite("mu", mu)
    world, mu, w = tasks(block_dims, signal, context_length, noise, mu, omega_bar)
    free = log1p(-2 * w * w, *world.numbers, mu)
    kappa = exp(-world.dims / 2 * free)
    gain = mu * w
    share = world.dims * kappa * exp(-free)
    spread = share * (mu * mu + 2 * gain - 3 * gain * gain) * world.signal
    noisy = mu * mu * kappa * world.noise**2
    return world.energy * (1 - gain) ** 2 + over_length(spread + noisy, world.length)


@guarded
def long_context_squared_norm(block_dims: Number, signal: Number, *, noise: Number = 0) -> Number:
    """Return ‖ω‖² = d w of the best head as L → ∞ at fixed d.

    w = ω̄² is the root below ½ of::

        (d + 2)(2 − 1/φ) w² − (d + 4) w + 1 = 0

    that is w = 2/(d + 4 + R), R = √(d² + 4(d + 2)/φ), and its read-out is μ = 1/ω̄.

    Parameters
    ----------
    block_dims, signal
        d_i > 0 and λ_i > 0, scalars or (..., I).
    noise
        σ >= 0, over the batch dimensions.

    Returns
    -------
    ‖ω‖² of the shape the arguments broadcast to: 1 − (2 + 1/φ)/d + O(1/d²).

    Raises
    ------
    ValueError
        If an argument is out of its range or the numbers of tasks differ.

    Notes
    -----
    Found at the loss's order 1/L; the error is O(1/L). [S] has ‖ω‖² = 1, for d → ∞. Derived here.
    Accuracy: 4 eps.

    Examples
    --------
    >>> round(long_context_squared_norm(10, 1.0), 4)
    0.7644
    >>> round(long_context_squared_norm(1000, 1.0), 4)
    0.997
    """
    (world,) = tasks(block_dims, signal, 1, noise)
    return 2 * world.dims / (world.dims + 4 + _root(world))


@guarded
def long_context_optimum_loss(
    block_dims: Number, signal: Number, context_length: Number, *, noise: Number = 0
) -> Number:
    """Return the least loss of one head for each task, to leading order in 1/L at any d.

    ::

        (λd/L) (1 − 2w)^{−d/2−1} (φ − (2φ − 1) w)/w,   w = ω̄² of `long_context_squared_norm`
        = (λd/L) (1 + 4/(d + R))^{d/2+1} (1 + φ (d + R)/2)

    Parameters
    ----------
    block_dims, signal, context_length, noise
        As in `long_context_loss`.

    Returns
    -------
    (..., I), or of the shape of L for scalar d and λ; units of y².

    Raises
    ------
    ValueError
        If an argument is out of its range or the numbers of tasks differ.

    Notes
    -----
    The error is O(1/L²). For d → ∞ it is e φ λ d²/L, the leading order of `limit_loss`.
    Derived here.
    Accuracy: 6 eps times 1 − (d/2 + 1) ln(1 − 2w).

    Examples
    --------
    >>> round(long_context_optimum_loss(10, 1.0, 1000), 4)
    0.3269
    """
    (world,) = tasks(block_dims, signal, context_length, noise)
    reach = world.dims + _root(world)
    steep = exp((world.dims / 2 + 1) * log1p(4 / reach))
    return over_length(world.energy * steep * (1 + world.factor * reach / 2), world.length)


@guarded
def dimension_correction(block_dims: Number, signal: Number, *, noise: Number = 0) -> Number:
    """Return what [S]'s loss at the limit weights is short of as L → ∞, exact loss over formula.

    ::

        (1 − (2 − 1/φ)/d) (1 − 2/d)^{−d/2−1}/e  =  1 + (1 + 1/φ)/d + O(1/d²)

    Parameters
    ----------
    block_dims, signal
        d_i > 2 and λ_i > 0, scalars or (..., I).
    noise
        σ >= 0, over the batch dimensions.

    Returns
    -------
    Of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If d <= 2, where the exact loss is not of order 1/L, or as `long_context_squared_norm`.

    Notes
    -----
    lim of `long_context_loss` over `task_limit_losses` at `limit_weights`. Derived here.
    Accuracy: 6 eps times 1 − (d/2 + 1) ln(1 − 2/d).

    Examples
    --------
    >>> round(dimension_correction(10, 1.0), 4), round(dimension_correction(1000, 1.0), 5)
    (1.263, 1.002)
    """
    (world,) = tasks(block_dims, signal, 1, noise)
    d, phi = _check.require("block_dims", world.dims, lambda d: d > 2, "above 2"), world.factor
    # d − 2 is exact, so that nothing is lost as d → 2.
    steep = exp((d / 2 + 1) * log1p(2 / (d - 2), phi))
    return (d - 2 + 1 / phi) / d * steep / euler(steep)


@guarded
def dimension_coefficient(
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
    test_length: Number | None = None,
) -> Number:
    """Return K: exact loss over [S]'s is 1 + K/d + O(1/d²) at the limit, for d → ∞ at d/L and φ.

    For weights trained at L and used at L', with c at L and c' at L'::

        K = c' [2(1 + ec) + φ − 1 − (2e² − 3e + 1) c'] / (φ (c' + ec²))

    Parameters
    ----------
    block_dims, signal, context_length, noise
        As in `long_context_loss`.
    test_length
        L' >= 1 and finite, broadcasting like L; L if not given.

    Returns
    -------
    (..., I), or of the shape of L for scalar d and λ. At L' = L it falls from 1 + 1/φ at c = 0, the
    1/d of `dimension_correction`, through 0 at c = 0.91 without noise, where [S]'s loss starts to
    be too high.

    Raises
    ------
    ValueError
        If an argument is out of its range or the numbers of tasks differ.

    Notes
    -----
    At fixed d/L the next order of E Σp², −(2e² − 3e + 1)e/L², counts as well. Derived here.
    Accuracy: 8 eps of the sum of the absolute values of its terms.

    Examples
    --------
    >>> round(dimension_coefficient(10, 1.0, float("inf")), 12)
    2.0
    >>> round(dimension_coefficient(10, 1.0, 100), 4), round(dimension_coefficient(10, 1.0, 10), 4)
    (1.4006, -0.0502)
    """
    if test_length is not None:
        test_length = _check.context_length(test_length, "test_length")
        _check.positive("test_length", test_length)
    others = () if test_length is None else (test_length,)
    world, *length = tasks(block_dims, signal, context_length, noise, *others)
    e, c, phi = euler(*world.numbers, *length), world.ratio, world.factor
    if not length:
        tested, share = c, 1 / (1 + e * c)
    else:
        tested = world.power / world.signal / (column(length[0]) if world.listed else length[0])
        share = tested / (tested + e * c * c)
    return share * (2 * (1 + e * c) + phi - 1 - (2 * e * e - 3 * e + 1) * tested) / phi


def _root(world: Tasks) -> Number:
    """Return R, the root of the discriminant (d + 4)² − 4(d + 2)(2 − 1/φ) as a sum."""
    d = world.dims
    return sqrt(d * d + 4 * (d + 2) / world.factor, world.length)

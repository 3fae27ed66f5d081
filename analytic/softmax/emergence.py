"""Emergence and convergence: the read-out μ follows ω̄ on a slow manifold.

As in `analytic.softmax.phases`, whose `balanced_velocity` is reduced here: one head on one task,
time of dθ/dt = −∂ℓ/∂θ on the individual weights, balanced. For √d_e large the read-out μ relaxes at
rate 4λdω̄, faster than ω̄ moves, to its equilibrium. With b = dω̄² and c = φd/L

    db/dt = 8λ √(d/d_e) b^{3/2} c e^b (1 − b)/(b + c e^b)²,

whose duration is no elementary function (it has ∫ √b e^{−b}/(1 − b) db): integrate it numerically.
[S] is arXiv 2402.19442; its forms are derived here.
"""

from __future__ import annotations

from .. import _check
from .._generic import Number, exp, harmonise, over_length, sqrt
from .._guard import guarded
from ._tasks import euler


@guarded
def equilibrium_value(
    omega_bar: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return μ_eq(ω̄) = ω̄/(ω̄² + (φ/L) e^{dω̄²}), the best read-out of scores of weight ω̄.

    Parameters
    ----------
    omega_bar
        ω̄ >= 0, equal weights on the block; ω̄ > 0 where L is infinite.
    block_dims, signal
        d > 0 and λ > 0.
    context_length
        L >= 1, number of context pairs; inf is allowed.
    noise
        σ >= 0.

    Returns
    -------
    Of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Where ∂ℓ/∂μ = 0. [S], emergence; form derived here.
    Accuracy: 8 eps where dω̄² <= 3.

    Examples
    --------
    >>> equilibrium_value(0.5, 4, 1.0, float("inf"))
    2.0
    """
    w, _, _, noisy = _reduced(omega_bar, block_dims, signal, context_length, noise)
    return w / (w * w + noisy)


@guarded
def emergence_velocity(
    omega_bar: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    embedding_dim: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return dω̄/dt with μ at its equilibrium.

    With E = (φ/L) e^{dω̄²}::

        dω̄/dt = (4λ/√d_e) ω̄² E (1 − dω̄²)/(ω̄² + E)²

    Parameters
    ----------
    omega_bar, block_dims, signal, context_length, noise
        As in `equilibrium_value`; L finite.
    embedding_dim
        d_e > 0; scores are divided by √d_e.

    Returns
    -------
    Of the shape the arguments broadcast to; zero at dω̄² = 1, the limit of [S] Theorem 2.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Leading order where μ relaxes faster than ω̄ moves. [S], emergence; form derived here.
    Accuracy: 8 eps of the same with (1 + dω̄²)² for 1 − dω̄².

    Examples
    --------
    >>> emergence_velocity(0.5, 4, 1.0, 100, 30)
    0.0
    """
    width = _check.positive("embedding_dim", embedding_dim)
    w, d, lam, noisy, width = _reduced(omega_bar, block_dims, signal, context_length, noise, width)
    drive = w * w * noisy * (1 - d * w * w) / (w * w + noisy) ** 2
    return 4 * lam * drive / sqrt(width, noisy)


@guarded
def convergence_rate(
    block_dims: Number,
    signal: Number,
    context_length: Number,
    embedding_dim: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return 8λ√(d/d_e) · ec/(1 + ec)², the rate at which 1 − dω̄² decays at the end.

    Arguments, range and errors as in `emergence_velocity`, whose linearisation it is. The excess of
    the loss over the limit decays twice as fast. [S], convergence; form derived here.

    Accuracy: 8 eps.

    Examples
    --------
    >>> round(convergence_rate(10, 1.0, 100, 30), 4)
    0.7762
    """
    d, lam, length, sigma, width = harmonise(
        _check.positive("block_dims", block_dims),
        _check.positive("signal", signal),
        _check.context_length(context_length),
        _check.non_negative("noise", noise),
        _check.positive("embedding_dim", embedding_dim),
    )
    ratio = over_length(d + sigma**2 / lam, length)
    cost = euler(ratio, width) * ratio
    return 8 * lam * sqrt(d / width, ratio) * cost / (1 + cost) ** 2


def _reduced(
    omega_bar: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    noise: Number,
    *others: Number,
) -> tuple[Number, ...]:
    """Return ω̄, d, λ and E = (φ/L)e^{dω̄²}, followed by `others` promoted together with them."""
    w, d, lam, length, sigma, *rest = harmonise(
        _check.non_negative("omega_bar", omega_bar),
        _check.positive("block_dims", block_dims),
        _check.positive("signal", signal),
        _check.context_length(context_length),
        _check.non_negative("noise", noise),
        *others,
    )
    factor = 1 + sigma**2 / (lam * d)
    return (w, d, lam, over_length(factor * exp(d * w * w, factor, length, *rest), length), *rest)

"""Warm-up: the small weights of a head and its task grow together, in closed form.

As in `analytic.softmax.phases`, of whose `balanced_velocity` the leading terms are kept:

    dμ/dt = 4λd μω̄,    dω̄/dt = (4λ/√d_e) μω̄

for small μω̄, and Lω̄ large against φμ. d `block_dims`, λ `signal`, d_e `embedding_dim`, κ = d√d_e,
C = μ(0) − κω̄(0); time of dθ/dt = −∂ℓ/∂θ on the individual weights, balanced. Arguments broadcast
elementwise. [S] is arXiv 2402.19442; its forms are derived here.
"""

from __future__ import annotations

from typing import NamedTuple

from .. import _check
from .._generic import Number, exp, harmonise, over_length, sqrt
from .._guard import guarded
from ._quotients import growth, inverse_log_mean, positive_root
from ._state import require_between, require_positive, state


class WarmUp(NamedTuple):
    """ω̄ and μ at the times asked for."""

    omega_bar: Number
    mu: Number


class WarmUpEnd(NamedTuple):
    """Time, ω̄ and μ at which the warm-up ends."""

    time: Number
    omega_bar: Number
    mu: Number


@guarded
def warmup_invariant(
    omega_bar: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    embedding_dim: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return ω̄^p [μ − κω̄/(1 + p)], p = κφ/L, which the warm-up conserves; μ − κω̄ for long contexts.

    Parameters
    ----------
    omega_bar, mu
        ω̄ > 0 and μ >= 0.
    block_dims, signal, embedding_dim
        d, λ, d_e > 0; κ = d√d_e, and λ matters beside noise only.
    context_length
        L >= 1; inf gives [S]'s invariant.
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
    Exact for dω̄/dt = 4λμω̄/√d_e and dμ/dt = 4λdμ(ω̄ − φμ/L): the terms of second order in small
    (ω̄, μ), context noise among them. At finite L and φμ/L near ω̄ that noise counts from the start,
    as in [S] Fig. 3. [S], warm-up, for p = 0; derived here.
    Accuracy: 8 eps of ω̄^p (μ + κω̄/(1 + p)) (1 + p |ln ω̄|).

    Examples
    --------
    >>> warmup_invariant(0.01, 1.0, 10, 1.0, float("inf"), 25)
    0.5
    """
    numbers = state(omega_bar, mu, block_dims, signal, context_length, embedding_dim, noise)
    w, m, d, lam, length, width, sigma = numbers
    kappa = d * sqrt(width, *numbers)
    power = over_length(kappa * (1 + sigma**2 / (lam * d)), length)
    return w**power * (m - kappa * w / (1 + power))


@guarded
def warmup_time_course(
    t: Number,
    initial_omega_bar: Number,
    initial_mu: Number,
    block_dims: Number,
    signal: Number,
    embedding_dim: Number,
) -> WarmUp:
    """Return (ω̄(t), μ(t)) of the warm-up, a logistic that blows up at `blow_up_time`.

    With C = μ(0) − κω̄(0) and r = 4λC/√d_e::

        ω̄(t) = C ω̄(0) e^{rt}/(μ(0) − κω̄(0) e^{rt}),    μ(t) = C + κ ω̄(t)

    Parameters
    ----------
    t
        Time >= 0, before the blow-up.
    initial_omega_bar, initial_mu
        ω̄(0) > 0 and μ(0) > 0.
    block_dims, signal, embedding_dim
        d, λ, d_e > 0.

    Returns
    -------
    `WarmUp` with fields ``omega_bar`` and ``mu``.

    Raises
    ------
    ValueError
        If an argument is out of its range or t is at or beyond the blow-up.

    Notes
    -----
    Solves dμ/dt = 4λd μω̄, dω̄/dt = (4λ/√d_e) μω̄, the limit of small μω̄ and of Lω̄ large against
    φμ; `neglected_share` measures both. [S], warm-up; derived here.
    Accuracy: 8 eps times (1 + (4λ/√d_e)(μ(0) + κω̄(0)) t)(1 + 1/q), q what is left of 1 at the
    blow-up.

    Examples
    --------
    >>> start = warmup_time_course(0.0, 0.01, 1.0, 10, 1.0, 30)
    >>> start == WarmUp(0.01, 1.0)
    True
    """
    t = _check.time("t", t)
    w0, m0, d, lam, root, t = _init(
        initial_omega_bar, initial_mu, block_dims, signal, embedding_dim, t
    )
    # Far beyond the blow-up e^{rt} overflows.
    require_positive(2 * _blow_up(w0, m0, d, lam, root) - t, "t must be before the blow-up")
    slope, kappa = 4 * lam / root, d * root
    x = slope * (m0 - kappa * w0) * t
    # μ(0) − κω̄(0)e^{rt} over C: one minus a term that has no pole at C = 0.
    left = 1 - kappa * w0 * slope * t * growth(x)
    require_positive(left, "t must be before the blow-up")
    return WarmUp(w0 * exp(x) / left, m0 / left)


@guarded
def warmup_time(
    omega_bar: Number,
    initial_omega_bar: Number,
    initial_mu: Number,
    block_dims: Number,
    signal: Number,
    embedding_dim: Number,
) -> Number:
    """Return the time at which the warm-up reaches ω̄ = `omega_bar`, the inverse of the time course.

    t = (√d_e/(4λC)) ln[ω̄ μ(0)/(ω̄(0) μ)], μ = C + κω̄, evaluated as (ω̄ − ω̄(0)) over a logarithmic
    mean, which has no pole at C = 0.

    Parameters
    ----------
    omega_bar
        ω̄ > 0 to reach, with C + κω̄ > 0.
    initial_omega_bar, initial_mu, block_dims, signal, embedding_dim
        As in `warmup_time_course`.

    Returns
    -------
    Time, of the shape the arguments broadcast to; negative for ω̄ < ω̄(0).

    Raises
    ------
    ValueError
        If an argument is out of its range or ω̄ lies below the values that the warm-up takes.

    Notes
    -----
    The run is later than this by √d_e (ω̄ − ω̄(0))/(4λ), times a factor between 1 and 1/(1 − s), s
    the neglected share μω̄ at the end, where c and φμ/(Lω̄) are small. [S], warm-up; derived here.
    Accuracy: 8 eps; times 1 + μ(0)/μ before the start.

    Examples
    --------
    >>> round(warmup_time(0.1, 0.01, 1.0, 10, 1.0, 30), 6)
    1.582349
    """
    w = _check.positive("omega_bar", omega_bar)
    w0, m0, d, lam, root, w = _init(
        initial_omega_bar, initial_mu, block_dims, signal, embedding_dim, w
    )
    step = w - w0
    m = m0 + d * root * step
    require_positive(m, "omega_bar must be above the infimum of the warm-up")
    # ω̄μ(0) − ω̄(0)μ = C(ω̄ − ω̄(0)).
    slow = inverse_log_mean(w * m0, w0 * m, (m0 - d * root * w0) * step)
    return root / (4 * lam) * step * slow


@guarded
def blow_up_time(
    initial_omega_bar: Number,
    initial_mu: Number,
    block_dims: Number,
    signal: Number,
    embedding_dim: Number,
) -> Number:
    """Return √d_e ln[μ(0)/(κω̄(0))]/(4λC), at which the warm-up's solution diverges.

    √d_e/(4λμ(0)) at C = 0. Arguments, range and errors as in `warmup_time_course`. It bounds the
    duration of the warm-up, whose neglected terms grow first. [S], warm-up; derived here.

    Accuracy: 6 eps.

    Examples
    --------
    >>> round(blow_up_time(0.01, 1.0, 10, 1.0, 30), 6)
    1.822562
    """
    return _blow_up(*_init(initial_omega_bar, initial_mu, block_dims, signal, embedding_dim))


def _blow_up(w0: Number, m0: Number, d: Number, lam: Number, root: Number) -> Number:
    kappa = d * root
    return root / (4 * lam) * inverse_log_mean(m0, kappa * w0, m0 - kappa * w0)


@guarded
def warmup_end(
    initial_omega_bar: Number,
    initial_mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    embedding_dim: Number,
    *,
    noise: Number = 0,
    share: Number = 0.5,
) -> WarmUpEnd:
    """Return where the warm-up predicts its own end: μω̄ (1 + c) = `share`.

    The bracket of dω̄/dt is 1 − μω̄ (1 + c e^{dω̄²}); it falls from 1 in the warm-up to 0 at the
    limit, and dω̄² is small still. On μ = C + κω̄ the condition is quadratic, and the time is
    `warmup_time`.

    Parameters
    ----------
    initial_omega_bar, initial_mu, block_dims, signal, embedding_dim
        As in `warmup_time_course`.
    context_length, noise
        L >= 1 and σ >= 0, for c = φd/L.
    share
        Above ω̄(0)μ(0)(1 + c) and below 1; the `share` of `training_phase`.

    Returns
    -------
    `WarmUpEnd` with fields ``time``, ``omega_bar`` and ``mu``.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    The boundary is a choice; [S] states orders of magnitude. Derived here.
    Accuracy: 12 eps.

    Examples
    --------
    >>> end = warmup_end(0.001, 0.1, 10, 1.0, 1000, 30)
    >>> round(end.omega_bar * end.mu * 1.01, 12)
    0.5
    """
    others = (
        _check.context_length(context_length),
        _check.non_negative("noise", noise),
        _check.positive("share", share),
    )
    start, value, d, lam, root, length, sigma, share = _init(
        initial_omega_bar, initial_mu, block_dims, signal, embedding_dim, *others
    )
    ratio = over_length((1 + sigma**2 / (lam * d)) * d, length)
    require_between("share", share, start * value * (1 + ratio), 1)
    kappa, product = d * root, share / (1 + ratio)
    gap = value - kappa * start
    mu = positive_root(gap, sqrt(gap * gap + 4 * kappa * product), kappa * product)
    omega_bar = product / mu
    try:
        time = warmup_time(
            omega_bar, initial_omega_bar, initial_mu, block_dims, signal, embedding_dim
        )
    except ValueError:  # ω at the end rounds to the infimum
        raise OverflowError("warmup_end: initial_omega_bar and initial_mu are too far apart in "
                            "size for floating point") from None  # fmt: skip
    return WarmUpEnd(time, omega_bar, mu)


def _init(
    initial_omega_bar: Number,
    initial_mu: Number,
    block_dims: Number,
    signal: Number,
    embedding_dim: Number,
    *others: Number,
) -> tuple[Number, ...]:
    """Return ω̄(0), μ(0), d, λ and √d_e, followed by `others` promoted together with them."""
    numbers = harmonise(
        _check.positive("initial_omega_bar", initial_omega_bar),
        _check.positive("initial_mu", initial_mu),
        _check.positive("block_dims", block_dims),
        _check.positive("signal", signal),
        _check.positive("embedding_dim", embedding_dim),
        *others,
    )
    w0, m0, d, lam, width, *rest = numbers
    return (w0, m0, d, lam, sqrt(width, *numbers), *rest)

"""ATTN_M, linear attention with merged key and query: time course and escape from zero.

Notation: M = Σ_h v_h U_h, flow τ dW/dt = −½ ∂L/∂W of the loss L = E(ŷ − y_q)² ([L] Eq. 5), Λ = λI
and Ω = ωI where an argument is called `eigenvalue`, N context pairs, σ the label noise. The initial
weights are small and balanced: ‖v‖ = ‖U‖_F = w_init over all heads. [L] is arXiv 2501.16265v2.
"""

from __future__ import annotations

from . import _check
from ._generic import (
    Number,
    column,
    exp,
    expm1,
    harmonise,
    is_array,
    log,
    over_length,
    sqrt,
    total,
)
from ._guard import guarded
from ._spectrum import signal, spectrum


@guarded
def white_time_course(
    t: Number,
    initial_norm: Number,
    dimension: Number,
    context_length: Number,
    *,
    eigenvalue: Number = 1,
    task_eigenvalue: Number = 1,
    noise: Number = 0,
    tau: Number = 1,
) -> Number:
    """Return m(t) with M(t) = m(t) I for white tokens: τ ṁ = 2√D m (λ²ω − sλ m).

    With r = 2√D λ²ω/τ and ρ = m(0) s/(λω), m(0) = w_init²/√D::

        m(t) = m(0) / (e^{−rt} + ρ (1 − e^{−rt}))

    Parameters
    ----------
    t
        Time >= 0 in units of τ; inf is the end of training.
    initial_norm
        w_init > 0, Frobenius norm of the value weights and of the key-query weights over heads.
    dimension
        D >= 1.
    context_length
        N >= 1, number of context pairs; inf is allowed.
    eigenvalue
        λ > 0, Λ = λI.
    task_eigenvalue
        ω > 0, Ω = ωI.
    noise
        σ >= 0, standard deviation of the label noise.
    tau
        τ > 0.

    Returns
    -------
    m(t), of the shape the arguments broadcast to; it ends at λω/s.

    Raises
    ------
    ValueError
        If t < 0, N < 1, or another argument is out of its range.

    Notes
    -----
    Exact from weights already aligned, U_h ∝ I; from random small weights the alignment itself
    costs O(1) time. [L] Eq. 10 at λ = ω = 1, σ = 0; the general form is derived here.
    Accuracy: 12 eps times 1 + rt.

    Examples
    --------
    >>> white_time_course(0.0, 0.1, 4, 31) == 0.1**2 / 2
    True
    >>> round(white_time_course(1e3, 0.1, 4, 31), 6) == round(31 / 36, 6)
    True
    """
    start, rate, ratio, _, _ = _white(
        initial_norm, dimension, context_length, eigenvalue, task_eigenvalue, noise, tau, t
    )
    (t,) = harmonise(_check.time("t", t))
    return start / (exp(-rate * t) - ratio * expm1(-rate * t))


@guarded
def white_loss_curve(
    t: Number,
    initial_norm: Number,
    dimension: Number,
    context_length: Number,
    *,
    eigenvalue: Number = 1,
    task_eigenvalue: Number = 1,
    noise: Number = 0,
    tau: Number = 1,
) -> Number:
    """Return the loss D(λω − 2λ²ω m + sλ m²) along `white_time_course`, without a ½.

    Evaluated as its end value plus a square, so that the last digits of the approach are kept::

        L(t) = L_end + D (λω)² (λ/s) [e^{−rt}(1 − ρ) / (e^{−rt} + ρ(1 − e^{−rt}))]²

    Arguments, range, errors and source as in `white_time_course`; units of y².

    Accuracy: 12 eps of L_end + D sλ g (g (1 + rt) + m), g = |m − m(∞)|.

    Examples
    --------
    >>> round(white_loss_curve(1e3, 0.1, 4, 31), 6) == round(4 * 5 / 36, 6)
    True
    """
    _, rate, ratio, gain, remaining = _white(
        initial_norm, dimension, context_length, eigenvalue, task_eigenvalue, noise, tau, t
    )
    (t,) = harmonise(_check.time("t", t))
    decay = exp(-rate * t)
    gap = decay * (1 - ratio) / (decay - ratio * expm1(-rate * t))
    return remaining + gain * gap**2


def _white(
    initial_norm: Number,
    dimension: Number,
    context_length: Number,
    eigenvalue: Number,
    task_eigenvalue: Number,
    noise: Number,
    tau: Number,
    t: Number,
) -> tuple[Number, Number, Number, Number, Number]:
    """Return m(0), r, ρ = m(0)/m(∞), and the total gain and remaining loss of the D modes."""
    size = _check.context_length(_check.positive("dimension", dimension), "dimension")
    length = _check.context_length(context_length)
    norm = _check.positive("initial_norm", initial_norm)
    lam = _check.positive("eigenvalue", eigenvalue)
    omega = _check.positive("task_eigenvalue", task_eigenvalue)
    sigma = _check.non_negative("noise", noise)
    tau = _check.positive("tau", tau)
    size, length, norm, lam, omega, sigma, tau, _ = harmonise(
        size, length, norm, lam, omega, sigma, tau, _check.as_number("t", t)
    )
    own = lam * omega
    excess = over_length(own + size * own + sigma**2, length)
    root = sqrt(size, length, norm, lam, omega, sigma, tau, t)
    start = norm**2 / root
    rate = 2 * root * lam * own / tau
    ratio = start * lam * (own + excess) / own
    gain = size * own * own / (own + excess)
    return start, rate, ratio, gain, size * own * excess / (own + excess)


@guarded
def escape_rate(eigenvalues: Number, *, task_eigenvalues: Number = 1, tau: Number = 1) -> Number:
    """Return ‖ΛΩΛ‖_F/τ = √(Σ (λ_d²ω_d)²)/τ, the growth rate of small ATTN_M weights.

    Parameters
    ----------
    eigenvalues
        λ (..., D) > 0.
    task_eigenvalues
        ω >= 0, scalar or (..., D).
    tau
        τ > 0.

    Returns
    -------
    (...), per unit of time.

    Raises
    ------
    ValueError
        If an eigenvalue or τ is not positive and finite, or ω < 0.

    Notes
    -----
    Linearisation at zero, any N and σ. [L] (time to escape zero) at Ω = I; general Ω derived here.
    Accuracy: 6 eps.

    Examples
    --------
    >>> float(escape_rate([1.0, 1.0, 1.0, 1.0]))
    2.0
    """
    lam, own = signal(eigenvalues, task_eigenvalues)
    lam, own, tau = harmonise(lam, own, _check.positive("tau", tau))
    return sqrt(total((lam * own) ** 2), lam, own) / tau


@guarded
def escape_time(
    initial_norm: Number,
    eigenvalues: Number,
    *,
    task_eigenvalues: Number = 1,
    tau: Number = 1,
) -> Number:
    """Return ln(1/w_init) τ/‖ΛΩΛ‖_F, the time ATTN_M spends near zero.

    Parameters
    ----------
    initial_norm
        0 < w_init, small; scalar or broadcasting against the batch dimensions.
    eigenvalues
        λ (..., D) > 0.
    task_eigenvalues
        ω >= 0, scalar or (..., D), not all zero.
    tau
        τ > 0.

    Returns
    -------
    (...), in units of t.

    Raises
    ------
    ValueError
        If an eigenvalue, w_init or τ is not positive and finite, or ω < 0.

    Notes
    -----
    Leading order as w_init → 0; the correction is O(1) in w_init. [L]; Ω derived here.
    Accuracy: 8 eps.

    Examples
    --------
    >>> round(float(escape_time(1e-3, [1.0, 1.0, 1.0, 1.0])), 3)
    3.454
    """
    rate = escape_rate(eigenvalues, task_eigenvalues=task_eigenvalues, tau=tau)
    rate, norm = harmonise(rate, _check.positive("initial_norm", initial_norm))
    return -log(norm, rate) / rate


@guarded
def aligned_velocity(
    v: Number,
    u: Number,
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
    tau: Number = 1,
) -> tuple[Number, Number]:
    """Return (dv/dt, du/dt) of ATTN_M whose key-query matrix is diag(u) in the eigenbasis of Λ.

    With M = v diag(u) and g_d = λ_d²ω_d − s_dλ_d v u_d::

        τ v̇ = Σ_d u_d g_d,    τ u̇_d = v g_d

    Parameters
    ----------
    v
        (...), value weight.
    u
        (..., D), diagonal of the key-query matrix in the eigenbasis.
    eigenvalues, context_length, task_eigenvalues, noise
        λ (..., D), N, ω, σ as in `feature_eigenvalues`.
    tau
        τ > 0.

    Returns
    -------
    dv/dt (...) and du/dt (..., D).

    Raises
    ------
    ValueError
        If an argument is out of its range or the number of modes differs.

    Notes
    -----
    An invariant manifold of the flow, exact at every N. H aligned heads of equal direction reduce
    to it with v = ‖(v_1 … v_H)‖. Derived here from [L] Eq. 5.
    Accuracy: 12 eps of the sum of the absolute values of its terms.

    Examples
    --------
    >>> dv, du = aligned_velocity(0.5, [0.5, 0.0], [2.0, 1.0], 31)
    >>> round(float(dv), 4), du.round(4).tolist()
    (0.9194, [0.9194, 0.5])
    """
    modes = spectrum(eigenvalues, context_length, task_eigenvalues, noise)
    value = _check.finite("v", v)
    keys = _check.finite("u", _check.vector("u", u))
    if keys.shape[-1] != modes.eigenvalues.shape[-1]:
        raise ValueError(
            f"u must have one entry per eigenvalue, {modes.eigenvalues.shape[-1]}, "
            f"got {keys.shape[-1]}"
        )
    lam, own, excess, value, keys, tau = harmonise(
        modes.eigenvalues, modes.signal, modes.excess, value, keys, _check.positive("tau", tau)
    )
    modes = modes._replace(eigenvalues=lam, signal=own, excess=excess)
    wide = column(value) if is_array(value) else value
    force = modes.growth - modes.curvature * wide * keys
    return total(keys * force) / tau, wide * force / tau

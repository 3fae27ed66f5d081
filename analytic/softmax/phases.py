"""The three phases of training on the balanced manifold: warm-up, emergence, convergence.

The flow dθ/dt = −∂ℓ/∂θ acts on the individual weights o, v, k, q, with μ = ov and ω = kq/√d_e, and
ℓ is `spectral_loss`: no ½, summed over tasks. Balanced weights, o = v and k = q, stay so. Then, for
the head that serves a task, with equal weights ω̄ > 0 on its block and zero elsewhere,

    dμ/dt = 4λd μ [ω̄ − μω̄² − (φ/L) μ e^{dω̄²}]
    dω̄/dt = (4λ/√d_e) ω̄μ [1 − μω̄ − (dφ/L) μω̄ e^{dω̄²}]                     `balanced_velocity`

Warm-up keeps the first term of each bracket, `analytic.softmax.warmup`; emergence keeps μ at its
equilibrium, `analytic.softmax.emergence`. d `block_dims`, λ `signal`, d_e `embedding_dim`, the
scaling of the scores. All arguments broadcast elementwise, one head and task per entry. [S] is
arXiv 2402.19442; its forms are derived here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check
from .._generic import Number, exp, over_length, sqrt
from .._guard import guarded
from ._state import require_between, state


@guarded
def balanced_velocity(
    omega_bar: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    embedding_dim: Number,
    *,
    noise: Number = 0,
) -> tuple[Number, Number]:
    """Return (dω̄/dt, dμ/dt) of one head on one task, as in the module's equations.

    Parameters
    ----------
    omega_bar, mu
        ω̄ >= 0 and μ >= 0.
    block_dims, signal
        d > 0 and λ > 0.
    context_length
        L >= 1, number of context pairs; inf is allowed.
    embedding_dim
        d_e > 0; scores are divided by √d_e.
    noise
        σ >= 0.

    Returns
    -------
    Two arrays of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    An invariant manifold of the spectral flow. [S] Theorems 1 and 2; form derived here.
    Accuracy: 6 eps of the sum of the absolute values of its terms, times 1 + dω̄².

    Examples
    --------
    >>> balanced_velocity(0.5, 1.0, 4, 1.0, float("inf"), 16)
    (0.25, 4.0)
    """
    numbers = state(omega_bar, mu, block_dims, signal, context_length, embedding_dim, noise)
    w, m, d, lam, length, width, sigma = numbers
    clutter = over_length(m * (1 + sigma**2 / (lam * d)) * exp(d * w * w, *numbers), length)
    rate_w = 4 * lam * w * m * (1 - m * w - d * w * clutter) / sqrt(width, *numbers)
    return rate_w, 4 * lam * d * m * (w - m * w * w - clutter)


@guarded
def neglected_share(
    omega_bar: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> tuple[Number, Number]:
    """Return the shares of dω̄/dt and of dμ/dt that the warm-up neglects.

    ::

        μω̄ (1 + (dφ/L) e^{dω̄²})    and    μω̄ + (φ/L) (μ/ω̄) e^{dω̄²}

    Small shares are the regime of the warm-up; at 1 the bracket of `balanced_velocity` is zero. The
    second is not small at a start with ω̄ below φμ/L: context noise then shrinks μ first.

    Arguments, range and errors as in `balanced_velocity`, with ω̄ > 0. Derived here.

    Accuracy: 8 eps where dω̄² <= 3.

    Examples
    --------
    >>> neglected_share(0.5, 0.5, 4, 1.0, float("inf"))
    (0.25, 0.25)
    """
    numbers = state(omega_bar, mu, block_dims, signal, context_length, 1, noise, positive=True)
    w, m, d, lam, length, _, sigma = numbers
    clutter = over_length(m * (1 + sigma**2 / (lam * d)) * exp(d * w * w, *numbers), length)
    return w * (m + d * clutter), m * w + clutter / w


@guarded
def training_phase(
    omega_bar: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
    share: float = 0.5,
    closeness: float = 0.1,
) -> Any:
    """Return the phase of the weights: 0 warm-up, 1 emergence, 2 convergence.

    Warm-up while μω̄ (1 + c e^{dω̄²}), the neglected share of dω̄/dt, is below `share`; convergence
    once |1 − dω̄²| <= `closeness`; emergence between.

    Parameters
    ----------
    omega_bar, mu, block_dims, signal, context_length, noise
        As in `neglected_share`; numbers, not symbols.
    share, closeness
        Between 0 and 1, both excluded.

    Returns
    -------
    Integers of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    The boundaries are a choice; [S] states orders of magnitude. Derived here.
    Accuracy: exact, but for weights within rounding of a boundary.

    Examples
    --------
    >>> training_phase([0.01, 0.1, 0.316], [0.2, 5.0, 2.486], 10, 1.0, 100).tolist()
    [0, 1, 2]
    """
    require_between("share", _check.positive("share", share), 0, 1)
    require_between("closeness", _check.positive("closeness", closeness), 0, 1)
    slow, _ = neglected_share(omega_bar, mu, block_dims, signal, context_length, noise=noise)
    weight, dims = np.asarray(omega_bar), np.asarray(block_dims)
    begun = np.asarray(slow >= share)
    return np.where(begun & (abs(1 - dims * weight * weight) <= closeness), 2, begun)

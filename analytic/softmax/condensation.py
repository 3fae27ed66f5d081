"""Attention beyond the exponential regime: first in rare contexts, then in all, few tokens take it.

L scores N(0, ‖ω‖²), p = softmax, u = ‖ω‖²/ln L. For ⅔ < u < 2 the mean of Σp² is that of contexts
in which one score reaches ln Σ e^s, far above the others. For u > 2 the weights e^s near the
largest form a Poisson process of density x v^{−x−1}, x = √(2/u), and E Σp² has a limit. Derived in
`analytic.derivations.softmax_condensation`; in neither paper.
"""

from __future__ import annotations

import math

import numpy as np

from .. import _check
from .._generic import (
    Number,
    exp,
    harmonise,
    is_array,
    is_object,
    is_symbolic,
    log,
    namespace,
    sin,
    sqrt,
)
from .._guard import guarded


@guarded
def condensed_participation(load: Number) -> Number:
    """Return lim E Σp² = 1 − √(2/u) at ‖ω‖² = u ln L, u >= 2, as L → ∞.

    Σp² does not become 1 at once where attention condenses, at u = 2: it leaves 0 there, is ½ at
    u = 8 and tends to 1 as u^{−1/2}. Its exponent, `participation_exponent`, is 0 from u = 2 on.

    Parameters
    ----------
    load
        u >= 2, finite.

    Returns
    -------
    Of the shape of u.

    Raises
    ------
    ValueError
        If u < 2 or not finite.

    Notes
    -----
    For scores of equal variance, that is d → ∞. Corrections are of order ln ln L/ln L, and larger
    near u = 2. The weights of a random energy model below its freezing temperature. Derived here.
    Accuracy: 4 eps.

    Examples
    --------
    >>> condensed_participation([2.0, 8.0, 32.0]).tolist()
    [0.0, 0.5, 0.75]
    """
    (u,) = harmonise(
        _check.require("load", load, lambda u: (u >= 2) & (u < math.inf), ">= 2 and finite")
    )
    # 1 − √(2/u) without the difference of near numbers at u = 2.
    return (u - 2) / (u + sqrt(2 * u))


@guarded
def rare_participation(load: Number, context_length: Number) -> Number:
    """Return E Σp² at ‖ω‖² = u ln L, ⅔ < u < 2, to leading order in 1/ln L.

    With κ = 1/u + ½::

        E Σp² = L^{−(2 − u)²/(8u)} Γ(κ) Γ(2 − κ)/√(2π u ln L)

    Parameters
    ----------
    load
        u, numbers between ⅔ and 2.
    context_length
        L > 1, finite.

    Returns
    -------
    Of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If u or L is out of its range.

    Notes
    -----
    For scores of equal variance. The relative error is O(1/ln L), large near u = ⅔, where the
    exponential branch e^{‖ω‖²}/L is as large, and near 2, where Σ e^s fluctuates. Derived here.
    Accuracy: 8 eps times 1 + (2 − u)² ln L/(8u).

    Examples
    --------
    >>> round(float(rare_participation(1.0, 10**6)), 5)
    0.02998
    """
    u, length = harmonise(
        _check.require("load", load, lambda u: (3 * u > 2) & (u < 2), "between 2/3 and 2"),
        _check.require(
            "context_length",
            context_length,
            lambda n: (n > 1) & (n < math.inf),
            "above 1 and finite",
        ),
    )
    scale = log(length, u)
    # Γ(κ)Γ(2 − κ) by reflection, πx/sin πx with x = κ − 1 = (2 − u)/(2u) between 0 and 1; at x > ½
    # the sine is that of π − πx, in which u + 2(u − 1) keeps the digits of u near ⅔.
    pi = +namespace(scale).pi  # mpmath's is a constant without digits of its own
    angle, rest = pi * (2 - u) / (2 * u), pi * (u + 2 * (u - 1)) / (2 * u)
    gammas = angle / sin(_smaller(angle, rest))
    rare = exp(-((2 - u) ** 2) * scale / (8 * u))
    return rare * gammas / sqrt(2 * pi * u * scale)


def _smaller(angle: Number, other: Number) -> Number:
    if is_object(angle):
        return np.frompyfunc(_smaller, 2, 1)(angle, other)
    if is_array(angle):
        return angle.__array_namespace__().minimum(angle, other)
    return angle if is_symbolic(angle) else min(angle, other)

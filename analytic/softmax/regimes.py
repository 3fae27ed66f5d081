"""What a softmax head can represent, and where its exponential law ends.

Hermite picture. As L → ∞ a head returns E[f(x) e^{x·Wq}]/E[e^{x·Wq}] = E f(x + Wq), x ~ N(0, I):
the labels f smoothed around Wq. In one coordinate He_k ↦ (ωq)^k, probabilists' polynomials.

Saturation. Given the query the scores are L draws of N(0, B), B = ‖Wq‖², which is ‖ω‖² up to a
share of order d^{−1/2}: a random energy model. With weights p, Σp² = e^B/L as long as typical
tokens carry the attention. L counts context pairs. [S] is arXiv 2402.19442; its forms are derived
here.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from .. import _check
from .._generic import Number, harmonise, is_object, is_symbolic, log, map_entries, sqrt
from .._guard import guarded

_LARGEST = 10_000  # degree; factorials of larger numbers take too long


class SaturationScale(NamedTuple):
    """‖ω‖² up to which typical and mean Σp² are e^{‖ω‖²}/L, and that of condensation."""

    typical: Number
    mean: Number
    condensation: Number


class ParticipationBranches(NamedTuple):
    """Exponents of Σp² below saturation, and beyond it for typical and for mean values."""

    exponential: Number
    typical: Number
    mean: Number


@guarded
def hermite_response(degree: int, omega: Number, query: Number) -> Number:
    """Return (ωq)^k, what a head returns for labels He_k(x) as L → ∞.

    Parameters
    ----------
    degree
        k in 0 … 10,000.
    omega, query
        ω and q of the coordinate, finite.

    Returns
    -------
    Of the shape ω and q broadcast to.

    Raises
    ------
    ValueError
        If k is out of its range or a number is not finite.
    TypeError
        If k is not an integer.

    Notes
    -----
    E He_k(x + a) = a^k; in several coordinates He_α ↦ Π (ω_j q_j)^{α_j}. Nonlinear tasks in [S];
    form derived here.
    Accuracy: 6 eps where k <= 9.

    Examples
    --------
    >>> hermite_response(3, 0.5, 2.0)
    1.0
    """
    k = _degree(degree)
    omega, query = harmonise(_check.finite("omega", omega), _check.finite("query", query))
    return (omega * query) ** k


@guarded
def hermite_gain(degree: int) -> float:
    """Return k!/(2k − 1)!!, the gain m of the response m q^k that fits He_k(q) best.

    Raises `TypeError` if k is not an integer, `ValueError` outside 0 … 10,000. 1 at k = 0 and 1,
    then decreasing. With read-out μ the gain is μω^k: large ω or large μ, and μ costs context
    noise. Derived here.

    Accuracy: 1 eps.

    Examples
    --------
    >>> [round(hermite_gain(k), 4) for k in range(4)]
    [1.0, 1.0, 0.6667, 0.4]
    """
    k = _degree(degree)
    return math.factorial(k) / _odd_factorial(k)


@guarded
def hermite_error(degree: int, gain: Number | None = None) -> Number:
    """Return E(He_k(q) − m q^k)²/k!, the share of a task of degree k left unexplained as L → ∞.

    1 − 2m + m² (2k − 1)!!/k!; at the best gain 1 − k!/(2k − 1)!!: 0 for a linear task, 1/3 for a
    quadratic one, and towards 1. Weights trained on linear tasks have m = μω^k, far below the best
    gain, since ω̄ = d^{−1/2}.

    Parameters
    ----------
    degree
        k in 0 … 10,000.
    gain
        m = μω^k, finite; the best, `hermite_gain`, if not given.

    Returns
    -------
    Of the shape of m.

    Raises
    ------
    ValueError
        If k is out of its range or m is not finite.
    TypeError
        If k is not an integer.

    Notes
    -----
    Nonlinear tasks in [S]; form derived here.
    Accuracy: 4 eps.

    Examples
    --------
    >>> [round(hermite_error(k), 4) for k in (1, 2, 3)]
    [0.0, 0.3333, 0.6]
    >>> hermite_error(1, 0.5)
    0.25
    """
    k = _degree(degree)
    if gain is None:
        return 1 - hermite_gain(k)
    (m,) = harmonise(_check.finite("gain", gain))
    best = Fraction(math.factorial(k), _odd_factorial(k))
    m, best = harmonise(float(m) if isinstance(m, int) else m, best)
    # The least error and a square, so that a gain near the best keeps the digits of the error.
    return (1 - best) + (m - best) ** 2 / best


@guarded
def saturation_scale(context_length: Number) -> SaturationScale:
    """Return the ‖ω‖² at which a head leaves the exponential regime, in leading order of ln L.

    ½ ln L: beyond, Σp² of a typical context is below e^{‖ω‖²}/L, carried by its largest scores.
    ⅔ ln L: beyond, the mean of Σp² is, carried by rare contexts in which one token takes all.
    2 ln L: condensation; beyond, Σp² is of order one, and a few tokens share the attention.

    Parameters
    ----------
    context_length
        L >= 1.

    Returns
    -------
    `SaturationScale` with fields ``typical``, ``mean`` and ``condensation``.

    Raises
    ------
    ValueError
        If L < 1.

    Notes
    -----
    Extreme values of L Gaussian scores. Corrections are of order ln ln L and, from the queries'
    norm, d^{−1/2}. Exponential and saturation regime in [S]; scales derived here.
    Accuracy: 2 eps.

    Examples
    --------
    >>> [round(scale, 3) for scale in saturation_scale(1000)]
    [3.454, 4.605, 13.816]
    """
    (length,) = harmonise(_check.context_length(context_length))
    scale = log(length)
    return SaturationScale(scale / 2, 2 * scale / 3, 2 * scale)


@guarded
def participation_exponent(load: Number, *, mean: bool = True) -> Number:
    """Return lim ln(Σp²)/ln L at ‖ω‖² = `load` · ln L, of the mean of Σp² or of its typical value.

    ::

        mean:     u − 1 (u <= ⅔),   −(2 − u)²/(8u) (⅔ <= u <= 2),   0 (u >= 2)
        typical:  u − 1 (u <= ½),   −(√2 − √u)²    (½ <= u <= 2),   0 (u >= 2)

    Parameters
    ----------
    load
        u >= 0, numbers.
    mean
        The exponent of E Σp² if true, that of Σp² in a typical context if false.

    Returns
    -------
    Of the shape of u, between −1 and 0, increasing.

    Raises
    ------
    ValueError
        If u is negative or a symbol.

    Notes
    -----
    The first branch is the exponential regime. Laplace's method over one score against the sum of
    the others. Derived here; in neither paper.
    Accuracy: 6 eps.

    Examples
    --------
    >>> participation_exponent([0.5, 1.0, 2.0]).tolist()
    [-0.5, -0.125, 0.0]
    """
    load = _check.non_negative("load", load)
    if not isinstance(mean, bool | np.bool_):
        raise TypeError(f"mean must be True or False, got {mean!r}")
    (u,) = harmonise(load)
    if is_object(u):
        return map_entries(lambda entry: _exponent(entry, mean), u)
    if hasattr(u, "shape") and u.shape:
        return _exponent_array(u, mean)
    return _exponent(u, mean)


@guarded
def participation_branches(load: Number) -> ParticipationBranches:
    """Return the three branches u − 1, −(√2 − √u)² and −(2 − u)²/(8u) of `participation_exponent`.

    Raises `ValueError` if u <= 0. The third is lim ln(L·Pr)/ln L, Pr the probability that e^s of
    a given token exceeds the sum of the others'. Generic over symbols, since it needs no order.
    Derived here.

    Accuracy: 6 eps.

    Examples
    --------
    >>> branches = participation_branches(0.5)
    >>> round(abs(branches.exponential - branches.typical), 12)
    0.0
    """
    (u,) = harmonise(_check.positive("load", load))
    # √2 − √u without the difference of near roots at u = 2.
    gap = (2 - u) / (sqrt(2, u) + sqrt(u))
    return ParticipationBranches(u - 1, -gap * gap, -((2 - u) ** 2) / (8 * u))


def _degree(value: Any) -> int:
    return _check.integer("degree", value, 0, _LARGEST)


def _exponent(u: Number, mean: bool) -> Number:
    if is_symbolic(u):
        raise ValueError(f"load must be a number, which has an order, got {u}")
    if u >= 2:
        return 0 * u
    if (3 * u <= 2) if mean else (2 * u <= 1):
        return u - 1
    branches = participation_branches(u)
    return branches.mean if mean else branches.typical


def _exponent_array(u: Any, mean: bool) -> Any:
    xp = u.__array_namespace__()
    below = (3 * u <= 2) if mean else (2 * u <= 1)
    inside = ~below & (u < 2)
    # The branches overflow at the least and largest u, where they do not count.
    branches = participation_branches(xp.where(inside, u, xp.ones_like(u)))
    middle = branches.mean if mean else branches.typical
    return xp.where(inside, middle, xp.where(below, u - 1, xp.zeros_like(u)))


def _odd_factorial(k: int) -> int:
    """Return (2k − 1)!!."""
    return math.prod(range(1, 2 * k, 2))

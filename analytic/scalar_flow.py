"""The scalar ODE of one head on one mode, and its solution.

Notation: a head aligned to mode d has k = q = v e_d; τ v̇ = growth v² − curvature v⁵, where
growth = λ²ω and curvature = sλ (`mode_growth`, `mode_curvature`) hold all that the data say. The
head stops at 1/a = (growth/curvature)^{1/3}, a the name used in the formulas. Time in units of τ,
flow τ dW/dt = −½ ∂L/∂W. [L] is arXiv 2501.16265v2.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from . import _check
from ._generic import (
    Number,
    atan,
    cbrt,
    entries,
    harmonise,
    is_array,
    is_object,
    is_symbolic,
    log1p,
    map_entries,
    sqrt,
)
from ._guard import guarded

_ROUNDING = 16  # operations between the arguments and curvature v³/growth, in units of eps


@guarded
def value_velocity(v: Number, growth: Number, curvature: Number, *, tau: Number = 1) -> Number:
    """Return dv/dt = (growth v² − curvature v⁵)/τ.

    Parameters
    ----------
    v
        Value weight of the aligned head, any finite number.
    growth
        λ²ω > 0.
    curvature
        sλ > 0.
    tau
        τ > 0.

    Returns
    -------
    dv/dt, of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If growth, curvature or τ is not positive and finite, or v is not finite.

    Notes
    -----
    Exact on the invariant manifold k = q = v e_d. [L] Eq. 21; Ω and σ derived here.
    Accuracy: 3 eps of the sum of the absolute values of its terms.

    Examples
    --------
    >>> value_velocity(0.5, 4.0, 8.0)
    0.75
    """
    value = _check.finite("v", v)
    growth, curvature, tau = _rates(growth, curvature, tau)
    value, growth, curvature, tau = harmonise(value, growth, curvature, tau)
    return value * value * (growth - curvature * value**3) / tau


@guarded
def learning_time(initial_value: Number, growth: Number, *, tau: Number = 1) -> Number:
    """Return τ/(growth v0), the leading-order time to learn a mode from a small v0.

    Parameters
    ----------
    initial_value
        v0 > 0, small against 1/a.
    growth
        λ²ω > 0.
    tau
        τ > 0.

    Returns
    -------
    Time, of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If an argument is not positive and finite.

    Notes
    -----
    Differs from `time_to_reach` by O(a τ/growth) as v0 → 0. [L]; Ω derived here.
    Accuracy: 1 eps.

    Examples
    --------
    >>> learning_time(0.01, 4.0)
    25.0
    """
    start = _check.positive("initial_value", initial_value)
    growth = _check.positive("growth", growth)
    start, growth, tau = harmonise(start, growth, _check.positive("tau", tau))
    return tau / (growth * start)


@guarded
def time_to_reach(
    value: Number,
    initial_value: Number,
    growth: Number,
    curvature: Number,
    *,
    tau: Number = 1,
) -> Number:
    """Return the time at which the head reaches `value`, started at `initial_value`.

    With a = (curvature/growth)^{1/3}, t = (τ/growth) [F(v) − F(v0)]::

        F(v) = −1/v − (a/3) ln(1 − av) + (a/6) ln(1 + av + a²v²) − (a/√3) arctan((1 + 2av)/√3)

    Each difference is taken in closed form, so that v ≈ v0 keeps its digits.

    Parameters
    ----------
    value
        v, with 0 < v <= 1/a; negative times follow for v < v0.
    initial_value
        v0, with 0 < v0 < 1/a.
    growth
        λ²ω > 0.
    curvature
        sλ > 0.
    tau
        τ > 0.

    Returns
    -------
    Time, of the shape the arguments broadcast to; inf at v = 1/a, within the rounding of a³v³.

    Raises
    ------
    ValueError
        If growth, curvature or τ is not positive and finite, or v or v0 leaves its range.

    Notes
    -----
    Near 1/a the answer inherits the condition of 1 − av: a relative error ε of an argument moves
    it by about ε a τ/(3 growth (1 − av)). [L] Eq. 21 integrated; closed form derived here.
    Accuracy: 12 eps over 1 − a³v³, v the larger of the two.

    Examples
    --------
    >>> time_to_reach(0.1, 0.1, 4.0, 8.0)
    0.0
    >>> round(time_to_reach(0.5, 0.01, 4.0, 8.0), 6)
    24.569923
    """
    end = _check.positive("value", value)
    start = _check.positive("initial_value", initial_value)
    growth, curvature, tau = _rates(growth, curvature, tau)
    end, start, growth, curvature, tau = harmonise(end, start, growth, curvature, tau)
    _below_limit("initial_value", start, growth, curvature, closed=False)
    _below_limit("value", end, growth, curvature, closed=True)
    a = cbrt(curvature / growth, end, start)
    # end − start is exact where they are close; a·end − a·start would not be.
    return tau * a / growth * _scaled_time(a * end, a * start, a * (end - start))


def _scaled_time(x: Number, y: Number, step: Number) -> Number:
    """Return Φ(x) − Φ(y), Φ(x) = F(x/a)/a, each difference rewritten to hold `step` = x − y."""
    mixed = x * x + x * y + y * y
    # −⅓ ln(1 − x) + (1/6) ln(1 + x + x²) = −⅓ ln(1 − x³) + ½ ln(1 + x + x²)
    fall = _log1p_or_end(-step * mixed / (1 - y**3))
    rise = log1p(step * (1 + x + y) / (1 + y + y * y))
    root = sqrt(_three(x, y), x, y)
    turn = atan(2 * root * step / (3 + (1 + 2 * x) * (1 + 2 * y)))
    return step / (x * y) - fall / 3 + rise / 2 - turn / root


def _three(*values: Number) -> Number:
    # An exact 3 where the others are exact, so that √3 is exact as well.
    return harmonise(3, *values)[0]


def _log1p_or_end(x: Number) -> Number:
    """Return ln(1 + x), −inf where the argument has come down to −1 within rounding."""
    if is_object(x):
        return map_entries(_log1p_or_end, x)
    if is_array(x):
        xp = x.__array_namespace__()
        ended = x <= -1 + _ROUNDING * xp.finfo(x.dtype).eps
        return xp.where(ended, -xp.ones_like(x) * math.inf, log1p(xp.where(ended, 0 * x, x)))
    if not is_symbolic(x) and x <= -1 + _ROUNDING * _eps(x):
        return -math.inf
    return log1p(x)


def _eps(*values: Number) -> Any:
    sizes = [np.finfo(v.dtype).eps for v in values if isinstance(v, np.floating)]
    if sizes:
        return float(max(sizes))
    if any(type(v).__module__.startswith("mpmath") for v in values):
        return sys.modules["mpmath"].mp.eps
    return sys.float_info.epsilon


def _below_limit(
    name: str, value: Number, growth: Number, curvature: Number, *, closed: bool
) -> None:
    if any(is_symbolic(entry) for entry in entries(value, growth, curvature)):
        return
    cube = curvature * value**3 / growth
    if is_array(cube) and not is_object(cube):
        xp = cube.__array_namespace__()
        slack = _ROUNDING * float(xp.finfo(cube.dtype).eps)
        good = bool(xp.all(cube <= 1 + slack if closed else cube < 1))
    else:
        good = all(c <= 1 + _ROUNDING * _eps(c) if closed else c < 1 for c in entries(cube))
    if not good:
        bound = "at most" if closed else "below"
        raise ValueError(
            f"{name} must be {bound} the limit (growth/curvature)^(1/3) of the head, got {value} "
            f"with growth {growth} and curvature {curvature}"
        )


def _rates(growth: Number, curvature: Number, tau: Number) -> tuple[Number, Number, Number]:
    return (
        _check.positive("growth", growth),
        _check.positive("curvature", curvature),
        _check.positive("tau", tau),
    )

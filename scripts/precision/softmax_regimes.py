"""Oracles of nonlinear tasks, of saturation and of regression."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from mpmath import mp, mpf

from precision import points
from precision.exact import Sized, oracle
from precision.modes import inverse
from precision.points import Case, Source


def odd(k: int) -> int:
    """(2k − 1)!! = E q^{2k}."""
    return math.factorial(2 * k) // (2**k * math.factorial(k))


@oracle(
    "softmax.hermite_response",
    lambda s: Case((s.integer(0, 9), points.signed(s), points.signed(s))),
)
def hermite_response(k: Any, omega: Any, query: Any) -> Any:
    """(ωq)^k."""
    return (omega * query) ** int(k)


@oracle("softmax.hermite_gain", lambda s: Case((s.integer(0, 60),)))
def hermite_gain(k: Any) -> Any:
    """E q^k He_k/E q^{2k}."""
    return Fraction(math.factorial(int(k)), odd(int(k)))


def _gain(s: Source) -> Case:
    k = s.integer(0, 20)
    near = math.factorial(k) / odd(k)
    m = s.pick([None, points.signed(s), near, near * (1 + 1e-12), near * (1 - 1e-6)])
    return Case((k,), {"gain": m})


@oracle("softmax.hermite_error", _gain)
def hermite_error(k: Any, gain: Any) -> Any:
    """E(He_k − m q^k)²/k!, at the best m if none is given."""
    m = hermite_gain(k) if gain is None else gain
    return 1 - 2 * m + m * m * odd(int(k)) / math.factorial(int(k))


@oracle("softmax.saturation_scale", lambda s: Case((points.length(s, infinite=False),)), mpf)
def saturation_scale(length: Any) -> Any:
    """½, ⅔ and 2 ln L."""
    return [mpf(p) / q * mp.log(length) for p, q in ((1, 2), (2, 3), (2, 1))]


def _load(s: Source) -> Case:
    edges = [0.5, 2 / 3, 1.0, 2.0, 2 - 2.0**-40, 2 + 2.0**-40, s.uniform(0.01, 3)]
    return Case((s.pick([*edges, points.positive(s, -6, 3)]),))


def branches(u: Any) -> tuple[Any, Any, Any]:
    """The three branches."""
    return u - 1, -((mp.sqrt(2) - mp.sqrt(u)) ** 2), -((2 - u) ** 2) / (8 * u)


@oracle("softmax.participation_branches", _load, mpf)
def participation_branches(u: Any) -> Any:
    """All of them."""
    return branches(u)


def _mean_or_typical(s: Source) -> Case:
    return Case(_load(s).arguments, {"mean": bool(s.integer(0, 1))})


@oracle("softmax.participation_exponent", _mean_or_typical, mpf)
def participation_exponent(u: Any, mean: bool) -> Any:
    """The branch that holds; they meet at ⅔, ½ and 2."""
    if u >= 2:
        return mpf(0)
    if u <= (mpf(2) / 3 if mean else mpf(1) / 2):
        return u - 1
    return branches(u)[2 if mean else 1]


def _rare(s: Source) -> Case:
    near = 2 - 10.0 ** s.uniform(-9, -1), 2 / 3 + 10.0 ** -s.integer(2, 9)
    u = s.pick([s.uniform(0.67, 1.99), *near])
    return Case((u, s.pick([points.NEXT, 2.0, 1e9, points.positive(s, 0.1, 9)])))


@oracle("softmax.rare_participation", _rare, mpf)
def rare_participation(u: Any, length: Any) -> Any:
    """L^{−(2−u)²/(8u)} Γ(κ)Γ(2 − κ)/√(2πu ln L)."""
    kappa, scale = 1 / u + mpf(1) / 2, mp.log(length)
    power = mp.exp(-((2 - u) ** 2) * scale / (8 * u))
    value = power * mp.gamma(kappa) * mp.gamma(2 - kappa) / mp.sqrt(2 * mp.pi * u * scale)
    return Sized(value, value * (1 + (2 - u) ** 2 * scale / (8 * u)))


@oracle(
    "softmax.condensed_participation",
    lambda s: Case((s.pick([2.0, 2 + 2.0**-40, 8.0, 2 + points.positive(s, -12, 6)]),)),
    mpf,
)
def condensed_participation(u: Any) -> Any:
    """1 − √(2/u)."""
    return 1 - mp.sqrt(2 / u)


def _gamma(s: Source) -> float:
    drawn = points.positive(s), points.positive(s, -1, 1)
    return float(s.pick([1.0, points.NEXT, 1 - 1e-9, 1 + 1e-9, *drawn]))


def _penalty(s: Source) -> float:
    return s.pick([points.positive(s, -12, 8), points.positive(s, -2, 1)])


def resolvent(gamma: Any, rho: Any) -> tuple[Any, Any]:
    """J_1, the positive root of γρJ² + (1 − γ + ρ)J = 1, and J_2 = −dJ_1/dρ by differentiation."""
    slack = 1 - gamma + rho
    first = (mp.sqrt(slack**2 + 4 * gamma * rho) - slack) / (2 * gamma * rho)
    second = (gamma * first**2 + first) / (2 * gamma * rho * first + slack)
    return first, second


@oracle("softmax.marchenko_pastur_moments", lambda s: Case((_gamma(s), _penalty(s))), mpf)
def marchenko_pastur_moments(gamma: Any, rho: Any) -> Any:
    """Both."""
    return resolvent(gamma, rho)


def _snr(s: Source) -> float:
    return s.pick([math.inf, points.positive(s, -3, 12)])


def _ridge(s: Source) -> Case:
    gamma = _gamma(s)
    return Case((gamma, _snr(s), s.pick([0.0, _penalty(s)]) if gamma != 1 else _penalty(s)))


@oracle("softmax.ridge_risk", _ridge, mpf)
def ridge_risk(gamma: Any, snr: Any, rho: Any) -> Any:
    """ρ²J_2 + (γ/s)(J_1 − ρJ_2), at ρ = 0 by its limits on either side of γ = 1."""
    noise = gamma * inverse(snr)
    if rho == 0:
        if gamma < 1:
            return noise / (1 - gamma)
        return 1 - 1 / gamma + noise / (gamma * (gamma - 1))
    first, second = resolvent(gamma, rho)
    return rho**2 * second + noise * (first - rho * second)


@oracle("softmax.bayes_risk", lambda s: Case((_gamma(s), _snr(s))), mpf)
def bayes_risk(gamma: Any, snr: Any) -> Any:
    """Ridge regression at ρ = γ/s."""
    if isinstance(snr, float):
        return max(mpf(0), 1 - 1 / gamma)
    return ridge_risk(gamma, snr, gamma / snr)

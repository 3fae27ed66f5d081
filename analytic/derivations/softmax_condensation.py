"""Σp² beyond the exponential regime: one score against the sum, then a Poisson process of weights.

L scores √B z, B = u ln L, Λ = ln L. For u < 2 the sum of all e^s is that of typical contexts,
ln Z = Λ + B/2. One score at ln Z + v, of density e^{−(ln Z + v)²/(2B)}/√(2πB) = the one at v = 0
times e^{−κv} to leading order (`tail`), has p = 1/(1 + e^{−v}), so that

    E Σ p² = L ∫ density · p² dv,  finite for 0 < κ < 2 (`rare_participation`): u > ⅔.

Beyond u = 2: near the largest score, at z = √(2 ln L), the density of scores falls as
e^{−x s} with x = √(2 ln L/B) = √(2/u) (`score_decay`), so that up to a common factor the weights
v = e^s are a Poisson process of density x v^{−x−1}; for x < 1 their sum is finite and is carried by
the largest. With 1/Z² = ∫ t e^{−tZ} dt and the Laplace functional of the process (Campbell),

    E Σ p² = ∫ t · ∫ v² e^{−tv} x v^{−x−1} dv · e^{−∫ (1 − e^{−tv}) x v^{−x−1} dv} dt.
"""

from __future__ import annotations

import sympy as sp

x, t, v, u, scale, s = sp.symbols("x t v u Lambda s", positive=True)


def tail() -> tuple[sp.Expr, sp.Expr]:
    """Return ln of L times the density of a score at ln Z, and κ, minus its slope there."""
    log_density = -(s**2) / (2 * u * scale) - sp.log(2 * sp.pi * u * scale) / 2
    at = {s: scale + u * scale / 2}
    slope = sp.simplify(-sp.diff(log_density, s).subs(at))
    return sp.expand(scale + log_density.subs(at)), slope


def rare_participation() -> sp.Expr:
    """Return E Σp², by ∫ e^{−κv} (1 + e^{−v})^{−2} dv = ∫ y^{κ−1} (1 + y)^{−2} dy, y = e^{−v}."""
    kappa, y = sp.symbols("kappa y", positive=True)
    integral = sp.integrate(y ** (kappa - 1) / (1 + y) ** 2, (y, 0, sp.oo), conds="none")
    height, slope = tail()
    return sp.exp(height) * sp.gammasimp(integral).subs(kappa, slope)


def score_decay() -> sp.Expr:
    """Return −d/ds of the log-density of a score at the largest of L, √(2Λ) standard deviations."""
    variance = u * scale
    return sp.simplify((s / variance).subs(s, sp.sqrt(2 * scale) * sp.sqrt(variance)))


def gained() -> sp.Expr:
    """Return ∫ v² e^{−tv} x v^{−x−1} dv, x < 1."""
    return x * _gamma_integral(2 - x)


def exponent() -> sp.Expr:
    """Return ∫ (1 − e^{−tv}) x v^{−x−1} dv, 0 < x < 1, by parts ∫ t e^{−tv} v^{−x} dv."""
    return t * _gamma_integral(1 - x)


def participation() -> sp.Expr:
    """Return E Σp², with y = t^x in the outer integral: the exponent is then a multiple of y."""
    y, rate = sp.symbols("y c", positive=True)
    at = {t: y ** (1 / x)}
    factor = sp.powsimp((exponent() / t**x).subs(at))
    integrand = sp.powsimp((t * gained() * t ** (1 - x) / x).subs(at))  # dt = t^{1−x} dy/x
    integral = sp.integrate(integrand * sp.exp(-rate * y), (y, 0, sp.oo))
    return sp.gammasimp(integral.subs(rate, factor))


def _gamma_integral(order: sp.Expr) -> sp.Expr:
    """Return ∫ v^{order − 1} e^{−tv} dv, order > 0."""
    positive = sp.Symbol("n", positive=True)
    whole = sp.integrate(v ** (positive - 1) * sp.exp(-t * v), (v, 0, sp.oo))
    return whole.subs(positive, order)

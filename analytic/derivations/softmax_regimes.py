"""Hermite responses and the saturation of attention, by Gaussian moments and Laplace's method.

Saturation. L scores √B z, z ~ N(0, 1), B = u ln L. Exponents are of ln L; z = y √(ln L) has
density exponent −y²/2, and a typical context holds L^{1 − y²/2} scores at y <= √2. One weight
against the sum of the others, Z = L^{1 + u/2} for u <= 2, is p = min(1, L^{√u y − 1 − u/2}). So

    typical Σp²:  max over y <= √2 of 1 − y²/2 + 2(√u y − 1 − u/2)
    mean Σp²:     1 + max over y of −y²/2 + 2 min(0, √u y − 1 − u/2).
"""

from __future__ import annotations

import sympy as sp

from .isserlis import expectation, gaussian

x, q, shift, gain, u, y = sp.symbols("x q a m u y", positive=True)


def hermite(degree: int, variable: sp.Expr) -> sp.Expr:
    """Return the probabilists' polynomial (−1)^k e^{x²/2} d^k/dx^k e^{−x²/2}, by its definition."""
    weight = sp.exp(-(x**2) / 2)
    return sp.expand(sp.simplify((-1) ** degree * sp.diff(weight, x, degree) / weight)).subs(
        x, variable
    )


def hermite_response(degree: int) -> sp.Expr:
    """Return E He_k(x + a) over x ~ N(0, 1)."""
    return expectation(hermite(degree, x + shift), [x], gaussian(sp.eye(1)))


def hermite_error(degree: int) -> sp.Expr:
    """Return E(He_k(q) − m q^k)²/k!."""
    error = (hermite(degree, q) - gain * q**degree) ** 2
    return expectation(error, [q], gaussian(sp.eye(1))) / sp.factorial(degree)


def log_normal_mean() -> sp.Expr:
    """Return the exponent of Z, max over y of 1 − y²/2 + √u y, whose maximiser must be below √2."""
    value = 1 - y**2 / 2 + sp.sqrt(u) * y
    return sp.simplify(value.subs(y, sp.solve(sp.diff(value, y), y)[0]))


def bulk_exponent() -> tuple[sp.Expr, sp.Expr]:
    """Return the unconstrained maximum of 1 − y²/2 + 2(√u y − Z) and the maximiser."""
    value = 1 - y**2 / 2 + 2 * (sp.sqrt(u) * y - log_normal_mean())
    (best,) = sp.solve(sp.diff(value, y), y)
    return sp.simplify(value.subs(y, best)), best


def edge_exponent() -> sp.Expr:
    """Return the typical exponent where the maximum sits at the largest score, y = √2."""
    return sp.simplify(2 * (sp.sqrt(2 * u) - log_normal_mean()))


def rare_exponent() -> tuple[sp.Expr, sp.Expr]:
    """Return 1 − y²/2 at the y where one weight reaches 1, and that y."""
    (threshold,) = sp.solve(sp.sqrt(u) * y - log_normal_mean(), y)
    return sp.simplify(1 - threshold**2 / 2), threshold

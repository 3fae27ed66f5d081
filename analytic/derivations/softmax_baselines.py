"""Ridge risk in the proportional limit, from the resolvent's self-consistent equation.

J = (1/d) tr (Σ̂ + ρ)⁻¹, Σ̂ = XᵀX/L. 1 = ρJ + (1/d) tr Σ̂(Σ̂ + ρ)⁻¹, and leaving out token l,
x_lᵀ(Σ̂ + ρ)⁻¹x_l/L = t/(1 + t) with t = x_lᵀ(Σ̂_{−l} + ρ)⁻¹x_l/L → γJ. With L/d = 1/γ:

    1 = ρJ + J/(1 + γJ).

Ridge: ĝ − g = −ρ(Σ̂ + ρ)⁻¹g + (Σ̂ + ρ)⁻¹Xᵀε/L. Over g and ε, divided by λd, its mean square is
ρ²J_2 + (γ/s)(J_1 − ρJ_2). The posterior mean of g is ridge at penalty σ²/(λL) = γ/s.
"""

from __future__ import annotations

import sympy as sp

gamma, rho, snr, J = sp.symbols("gamma rho s J", positive=True)


def first_moment() -> sp.Expr:
    """Return J_1, the root that tends to 1/ρ as γ → 0 (Σ̂ vanishes relative to ρ as ρ → ∞)."""
    roots = sp.solve(sp.Eq(1, rho * J + J / (1 + gamma * J)), J)
    good = [root for root in roots if sp.limit(rho * root, rho, sp.oo) == 1]
    if len(good) != 1:
        raise ArithmeticError(f"expected one resolvent, got {good}")
    return good[0]


def second_moment() -> sp.Expr:
    """Return J_2 = −dJ_1/dρ."""
    return -sp.diff(first_moment(), rho)


def ridge_risk() -> sp.Expr:
    """Return the risk of ridge regression over the signal energy."""
    first, second = first_moment(), second_moment()
    return rho**2 * second + gamma / snr * (first - rho * second)


def best_penalty_slope() -> sp.Expr:
    """Return the derivative of the risk by ρ at ρ = γ/s, which must vanish."""
    return sp.diff(ridge_risk(), rho).subs(rho, gamma / snr)


def bayes_risk() -> sp.Expr:
    """Return the risk at ρ = γ/s."""
    return ridge_risk().subs(rho, gamma / snr)

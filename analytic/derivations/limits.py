"""The limits N → ∞ of what the other derivations obtain."""

from __future__ import annotations

import sympy as sp

from . import merged, moments, separate
from . import symbols as sy


def long_context(expression: sp.Expr) -> sp.Expr:
    """Return the limit N → ∞."""
    return sp.limit(expression, sy.N, sp.oo)


def feature_eigenvalues(dimension: int) -> list[sp.Expr]:
    """Return lim s_d."""
    return [long_context(value) for value in moments.feature_eigenvalues(dimension)]


def mode_coefficients(dimension: int) -> list[sp.Expr]:
    """Return lim m_d."""
    return [long_context(separate.learned_value(dimension, d)) for d in range(dimension)]


def plateau_losses(dimension: int) -> list[sp.Expr]:
    """Return lim L(M_m), m = 0 … D, modes in the order of their symbols."""
    return [
        long_context(sp.together(separate.fixed_point_loss(dimension, tuple(range(m)))))
        for m in range(dimension + 1)
    ]


def white_velocity(dimension: int) -> sp.Expr:
    """Return lim dm/dt of ATTN_M on white tokens."""
    return long_context(merged.white_velocity(dimension))


def second_moment() -> sp.Matrix:
    """Return lim S at general Λ, Ω."""
    return moments.gaussian_second_moment(sy.Lambda, sy.Omega).applyfunc(long_context)

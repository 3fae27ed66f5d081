"""The symbols every derivation shares.

λ, ω eigenvalues of Λ and Ω in their common basis, N context pairs, σ label noise, τ time constant;
general symmetric Λ, Ω, S and a general M at D = 2.
"""

from __future__ import annotations

import sympy as sp

N, tau = sp.symbols("N tau", positive=True)
sigma = sp.Symbol("sigma", nonnegative=True)
lam = sp.symbols("lambda1:4", positive=True)
omega = sp.symbols("omega1:4", positive=True)

Lambda = sp.Matrix(2, 2, sp.symbols("Lambda11 Lambda12 Lambda12 Lambda22", real=True))
Omega = sp.Matrix(2, 2, sp.symbols("Omega11 Omega12 Omega12 Omega22", real=True))
S = sp.Matrix(2, 2, sp.symbols("S11 S12 S12 S22", real=True))
M = sp.Matrix(2, 2, sp.symbols("M11 M12 M21 M22", real=True))


def diagonal(values: tuple[sp.Expr, ...], dimension: int) -> sp.Matrix:
    """Return the D×D diagonal matrix of the first D symbols."""
    return sp.diag(*values[:dimension])

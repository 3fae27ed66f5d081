"""ATTN_M: the flow τ dW/dt = −½ ∂L/∂W of M = Σ_h v_h U_h, reduced by differentiation."""

from __future__ import annotations

import sympy as sp

from . import moments
from . import symbols as sy

m, u, v, w_init = sp.symbols("m u v w_init", positive=True)
t = sp.Symbol("t", nonnegative=True)
white_lambda, white_omega = sp.symbols("lambda omega", positive=True)


def _weights(dimension: int, heads: int) -> tuple[list[sp.Symbol], list[sp.Matrix]]:
    values = list(sp.symbols(f"v1:{heads + 1}", real=True))
    keys = [
        sp.Matrix(dimension, dimension, lambda i, j, h=h: sp.Symbol(f"U{h}{i}{j}", real=True))
        for h in range(heads)
    ]
    return values, keys


def _flow(loss: sp.Expr, weight: sp.Symbol) -> sp.Expr:
    return -sp.diff(loss, weight) / (2 * sy.tau)


def _loss(dimension: int, heads: int) -> tuple[sp.Expr, list[sp.Symbol], list[sp.Matrix]]:
    values, keys = _weights(dimension, heads)
    product = sum((a * b for a, b in zip(values, keys, strict=True)), sp.zeros(dimension))
    return moments.eigenbasis_loss(product, moments.feature_eigenvalues(dimension)), values, keys


def aligned_velocity(dimension: int) -> tuple[sp.Expr, list[sp.Expr], list[sp.Expr]]:
    """Return dv/dt, the diagonal of dU/dt and its off-diagonal part at U = diag(u1 … uD)."""
    loss, (value,), (keys,) = _loss(dimension, 1)
    diag = sp.symbols(f"u1:{dimension + 1}", real=True)
    point = {
        keys[i, j]: (diag[i] if i == j else 0) for i in range(dimension) for j in range(dimension)
    }
    point[value] = v
    velocity = keys.applyfunc(lambda entry: _flow(loss, entry).subs(point))
    off = [velocity[i, j] for i in range(dimension) for j in range(dimension) if i != j]
    return _flow(loss, value).subs(point), list(velocity.diagonal()), off


def white_velocity(dimension: int, heads: int = 1) -> sp.Expr:
    """Return dm/dt for white tokens and balanced aligned heads U_h = u_h I, v_h = √D u_h.

    Head h carries the share c_h of m, Σ c_h² = 1; every head then grows at the same relative rate,
    which is checked here, and so is balance.
    """
    loss, values, keys = _loss(dimension, heads)
    white = {s: white_lambda for s in sy.lam} | {s: white_omega for s in sy.omega}
    angle = sp.Symbol("theta", real=True)
    share = [sp.Integer(1)] if heads == 1 else [sp.cos(angle), sp.sin(angle)]
    point: dict[sp.Symbol, sp.Expr] = {}
    for c, value, key in zip(share, values, keys, strict=True):
        point[value] = sp.sqrt(dimension) * c * u
        point |= {
            key[i, j]: (c * u if i == j else 0) for i in range(dimension) for j in range(dimension)
        }
    loss = loss.subs(white)
    rates = []
    for c, value, key in zip(share, values, keys, strict=True):
        rates.append(sp.simplify(_flow(loss, value).subs(point) / (sp.sqrt(dimension) * c)))
        rates.append(sp.simplify(_flow(loss, key[0, 0]).subs(point) / c))
    if any(sp.simplify(rate - rates[0]) != 0 for rate in rates):
        raise ArithmeticError("balanced aligned heads do not stay balanced and aligned")
    # M = Σ_h v_h U_h = √D u² I
    return sp.expand(2 * sp.sqrt(dimension) * u * rates[0]).subs(u, sp.sqrt(m / sp.sqrt(dimension)))


def white_start(dimension: int) -> sp.Expr:
    """Return m(0) for ‖v‖ = ‖U‖_F = w_init."""
    u0 = sp.solve(sp.Eq(sp.sqrt(dimension) * u, w_init), u)[0]
    return w_init * u0


def white_duration(dimension: int) -> sp.Expr:
    """Return t(m), by integrating dt = dm/ṁ from m(0)."""
    velocity = sp.factor(white_velocity(dimension))
    antiderivative = sp.integrate(sp.apart(1 / velocity, m), m)
    return antiderivative - antiderivative.subs(m, white_start(dimension))


def white_loss(dimension: int) -> sp.Expr:
    """Return the loss at M = m I."""
    second = moments.feature_eigenvalues(dimension)
    white = {s: white_lambda for s in sy.lam} | {s: white_omega for s in sy.omega}
    return moments.eigenbasis_loss(m * sp.eye(dimension), second).subs(white)


def zero_hessian(dimension: int, heads: int) -> sp.Matrix:
    """Return the Hessian of L at zero weights, by differentiation."""
    loss, values, keys = _loss(dimension, heads)
    weights = [*values, *(entry for key in keys for entry in key)]
    return sp.hessian(loss, weights).subs(dict.fromkeys(weights, 0))


def growth_rates(dimension: int, heads: int) -> dict[sp.Expr, int]:
    """Return the eigenvalues of the flow linearised at zero, with multiplicities."""
    matrix = -zero_hessian(dimension, heads) / (2 * sy.tau)
    return {sp.simplify(value): count for value, count in matrix.eigenvals().items()}

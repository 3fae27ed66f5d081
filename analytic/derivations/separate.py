"""ATTN_S of rank one: flow, fixed points and the scalar ODE, from L(M) by differentiation."""

from __future__ import annotations

from functools import lru_cache

import sympy as sp

from . import moments

v, v0, a, growth, curvature = sp.symbols("v v0 a growth curvature", positive=True)

Weights = tuple[list[sp.Symbol], list[sp.Matrix], list[sp.Matrix]]


def weights(dimension: int, heads: int) -> Weights:
    """Return symbols for v_h, k_h and q_h."""
    value = list(sp.symbols(f"v1:{heads + 1}", real=True))
    key, query = (
        [sp.Matrix(sp.symbols(f"{name}{h}_1:{dimension + 1}", real=True)) for h in range(heads)]
        for name in ("k", "q")
    )
    return value, key, query


def flatten(value: list, key: list, query: list) -> list:
    """List all weights, heads of v first, then of k, then of q."""
    return [*value, *(e for k in key for e in k), *(e for q in query for e in q)]


def loss(dimension: int, heads: int) -> tuple[sp.Expr, Weights]:
    """Return L(Σ_h v_h k_h q_hᵀ) in the eigenbasis."""
    value, key, query = weights(dimension, heads)
    product = sum(
        (x * k * q.T for x, k, q in zip(value, key, query, strict=True)), sp.zeros(dimension)
    )
    second = moments.feature_eigenvalues(dimension)
    return moments.eigenbasis_loss(product, second), (value, key, query)


def velocity(dimension: int, heads: int) -> tuple[list[sp.Expr], Weights]:
    """Return τ dW/dt = −½ ∂L/∂W for every weight ([L] Eq. 14)."""
    value, symbols = loss(dimension, heads)
    return [sp.expand(-sp.diff(value, weight) / 2) for weight in flatten(*symbols)], symbols


def aligned_velocity(dimension: int, mode: int) -> tuple[list[sp.Expr], list[sp.Expr]]:
    """Return the τ-velocities of the head v = v, k = q = v e_d, and those of all other weights."""
    rates, (value, key, query) = velocity(dimension, 2)
    names = flatten(value, key, query)
    moving = [value[0], key[0][mode], query[0][mode]]
    point = {name: (v if name in moving else 0) for name in names}
    at = {name: rate.subs(point) for name, rate in zip(names, rates, strict=True)}
    return [at[name] for name in moving], [at[name] for name in names if name not in moving]


@lru_cache(maxsize=8)
def learned_value(dimension: int, mode: int) -> sp.Expr:
    """Return m_d = v³ at which the aligned head stops, by solving for stationarity."""
    cube = sp.Symbol("m", positive=True)
    rate = aligned_velocity(dimension, mode)[0][0]
    return sp.solve(sp.expand(rate / v**2).subs(v, cube ** sp.Rational(1, 3)), cube)[0]


def ansatz_point(dimension: int, learned: tuple[int, ...]) -> dict[sp.Symbol, sp.Expr]:
    """Return the weights where head h has learned mode learned[h]; u_d³ = m_d."""
    value, key, query = weights(dimension, dimension)
    point = dict.fromkeys(flatten(value, key, query), sp.Integer(0))
    for head, mode in enumerate(learned):
        root = scale(mode)
        point |= {value[head]: root, key[head][mode]: root, query[head][mode]: root}
    return point


def scale(mode: int) -> sp.Symbol:
    """Return the symbol u_d."""
    return sp.Symbol(f"u{mode + 1}", positive=True)


def gradient_at_ansatz(dimension: int, learned: tuple[int, ...]) -> list[sp.Expr]:
    """Return every component of the velocity at the ansatz, which must vanish."""
    rates, _ = velocity(dimension, dimension)
    point = ansatz_point(dimension, learned)
    found = []
    for rate in rates:
        at = sp.expand(rate.subs(point))
        for mode in learned:
            at = sp.rem(at, scale(mode) ** 3 - learned_value(dimension, mode), scale(mode))
        found.append(sp.simplify(at))
    return found


def fixed_point_loss(dimension: int, learned: tuple[int, ...]) -> sp.Expr:
    """Return L at M = Σ m_d e_d e_dᵀ over the learned modes."""
    level = sp.symbols(f"m1:{dimension + 1}", nonnegative=True)
    second = moments.feature_eigenvalues(dimension)
    value = moments.eigenbasis_loss(sp.diag(*level), second)
    # Collected before substitution: an expanded quotient of trinomials is too long to compare.
    value = sp.collect(value, level)
    return value.subs(
        {level[d]: learned_value(dimension, d) if d in learned else 0 for d in range(dimension)}
    )


def scaled_duration() -> sp.Expr:
    """Return growth/τ times t(v) − t(v0), by integrating dv/(v²(1 − a³v³)) by partial fractions."""
    integrand = sp.apart(1 / (v**2 * (1 - a**3 * v**3)), v)
    antiderivative = sp.integrate(integrand, v)
    return antiderivative - antiderivative.subs(v, v0)


def least_norm() -> tuple[sp.Expr, sp.Symbol]:
    """Return the least v² + ‖k‖² + ‖q‖² with vkq = c³ in one head, and c.

    By stationarity in v² and k², with ‖q‖² = c⁶/(v²k²); the only stationary point of a function
    that grows without bound at the edges of the quadrant.
    """
    first, second, c = sp.symbols("A B c", positive=True)
    norm = first + second + c**6 / (first * second)
    points = sp.solve([sp.diff(norm, first), sp.diff(norm, second)], [first, second], dict=True)
    values = {sp.simplify(norm.subs(point)) for point in points}
    if len(values) != 1:
        raise ArithmeticError(f"expected one stationary point, got {points}")
    return values.pop(), c

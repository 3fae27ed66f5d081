"""One head on one task: limit, phases and instability, from `softmax_loss.leading_loss`.

The flow dθ/dt = −∂ℓ/∂θ acts on o, v, k, q with μ = ov and ω_j = k_j q_j/√d_e.
"""

from __future__ import annotations

import sympy as sp

from . import softmax_loss as base
from . import symbols as sy

w, mu, d, d_e, lam, phi, L, L_test = sp.symbols("w mu d d_e lambda phi L L_test", positive=True)
w0, mu0, t = sp.symbols("w0 mu0 t", positive=True)


def reduced_loss(length: sp.Expr = L) -> sp.Expr:
    """Return ℓ for equal weights ω̄ on the block of one task and read-out μ."""
    return lam * d * ((1 - mu * w) ** 2 + phi * mu**2 * sp.exp(d * w**2) / length)


def equilibrium() -> sp.Expr:
    """Return μ where ∂ℓ/∂μ = 0."""
    return sp.solve(sp.diff(reduced_loss(), mu), mu)[0]


def limit_point() -> tuple[sp.Expr, sp.Expr]:
    """Return (ω̄, μ) where both derivatives vanish, μ ≠ 0: ∂ℓ/∂ω̄ at μ_eq has one positive root."""
    slope = sp.factor(sp.simplify(sp.diff(reduced_loss(), w).subs(mu, equilibrium())))
    vanishing = [factor for factor in sp.Mul.make_args(slope) if factor.has(d * w**2)]
    roots = {
        root
        for factor in vanishing
        if factor.is_polynomial(w)
        for root in sp.solve(factor, w)
        if root.is_positive
    }
    if len(roots) != 1:
        raise ArithmeticError(f"expected one positive root, got {roots}")
    root = roots.pop()
    return root, sp.simplify(equilibrium().subs(w, root))


def limit_loss(length: sp.Expr = L) -> sp.Expr:
    """Return the loss at the limit trained at L, in a context of the given length."""
    root, value = limit_point()
    return reduced_loss(length).subs({w: root, mu: value})


def individual_rates(dims: tuple[int, ...], heads: int) -> tuple[dict, dict]:
    """Return −∂ℓ/∂θ of every individual weight, and the weights by name (o, v, k, q)."""
    size, tasks = sum(dims), len(dims)
    names = {
        name: sp.Matrix(
            heads,
            size if name in "kq" else tasks,
            lambda h, j, name=name: sp.Symbol(f"{name}{h + 1}_{j + 1}", real=True),
        )
        for name in "ovkq"
    }
    loss = base.leading_loss(dims, heads)
    combined = {
        base.omega(heads, size)[h, j]: names["k"][h, j] * names["q"][h, j] / sp.sqrt(d_e)
        for h in range(heads)
        for j in range(size)
    }
    combined |= {
        base.mu(heads, tasks)[h, i]: names["o"][h, i] * names["v"][h, i]
        for h in range(heads)
        for i in range(tasks)
    }
    loss = loss.subs(combined, simultaneous=True)
    return {s: -sp.diff(loss, s) for matrix in names.values() for s in matrix}, names


def balanced_velocity(dims: tuple[int, ...]) -> tuple[list[sp.Expr], list[sp.Expr], list[sp.Expr]]:
    """Return dω_j/dt on block 1, [dμ_1/dt], and the rates of all weights that are zero.

    One head; o = v = √μ and k = q = (√d_e ω̄)^{1/2} on the first task, zero elsewhere.
    """
    rates, names = individual_rates(dims, 1)
    score, read = sp.sqrt(sp.sqrt(d_e) * w), sp.sqrt(mu)
    point = {s: sp.Integer(0) for s in rates}
    for j in range(dims[0]):
        point |= {names["k"][0, j]: score, names["q"][0, j]: score}
    point |= {names["o"][0, 0]: read, names["v"][0, 0]: read}
    at = {s: rate.subs(point) for s, rate in rates.items()}
    d_omega = [
        (names["q"][0, j] * at[names["k"][0, j]] + names["k"][0, j] * at[names["q"][0, j]]).subs(
            point
        )
        / sp.sqrt(d_e)
        for j in range(dims[0])
    ]
    o, v = names["o"][0, 0], names["v"][0, 0]
    d_mu = (v * at[o] + o * at[v]).subs(point)
    return d_omega, [d_mu], [at[s] for s, value in point.items() if value == 0]


def conserved_rates(dims: tuple[int, ...], heads: int) -> list[sp.Expr]:
    """Return d/dt of o² − v² and k² − q² of every entry."""
    rates, names = individual_rates(dims, heads)
    return [
        2 * a * rates[a] - 2 * z * rates[z]
        for left, right in ("ov", "kq")
        for a, z in zip(names[left], names[right], strict=True)
    ]


def second_order(rate: sp.Expr) -> sp.Expr:
    """Return the terms of a rate that are of second order in small (ω̄, μ), at fixed L."""
    scale = sp.Symbol("scale", positive=True)
    small = rate.subs({w: scale * w, mu: scale * mu}, simultaneous=True)
    return sp.simplify(sp.diff(small, scale, 2).subs(scale, 0) / 2)


def warmup_velocity(rate: sp.Expr) -> sp.Expr:
    """Return those of them that stay as L → ∞: the terms in μω̄."""
    return sp.limit(second_order(rate), L, sp.oo)


def escape_block() -> sp.Matrix:
    """Return the Hessian of ℓ over (o, v) of head 1 on task 2, at the limit of two tasks, d_i = 1.

    Head i serves task i; raises `ArithmeticError` if the block couples to any other weight.
    """
    rates, names = individual_rates((1, 1), 2)
    order = list(rates)
    point = {s: sp.Integer(0) for s in order}
    for i in range(2):
        value = 1 / (1 + sp.E * (1 + sy.sigma**2 / sy.lam[i]) / base.L)
        point |= dict.fromkeys((names["o"][i, i], names["v"][i, i]), sp.sqrt(value))
        point |= dict.fromkeys((names["k"][i, i], names["q"][i, i]), d_e ** sp.Rational(1, 4))
    rows = [order.index(names["o"][0, 1]), order.index(names["v"][0, 1])]
    hessian = sp.Matrix(
        2, len(order), lambda a, j: -sp.diff(rates[order[rows[a]]], order[j]).subs(point)
    )
    rest = [j for j in range(len(order)) if j not in rows]
    if any(sp.simplify(entry) != 0 for entry in hessian[:, rest]):
        raise ArithmeticError("the block is coupled to other weights")
    return hessian[:, rows]

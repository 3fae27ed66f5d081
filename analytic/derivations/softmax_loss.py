"""The in-context loss of softmax heads, from its definition, to first order in 1/L.

Head h returns for each coordinate the ratio of means over the L tokens

    m_j^h = N_j^h/Z^h,   N_j^h = mean x_j e^{s_h},   Z^h = mean e^{s_h},   s_h = Σ_j ω_j^h q_j x_j.

1. Given q, the delta method: E f(means) = f + (1/2L) Σ_ab f_ab Cov_ab + O(1/L²), the covariances
   of one token from Gaussian moments with an exponential weight. Σ_l p_l p'_l is
   mean e^{s+s'}/(L Z Z').
2. Over q, exactly: E q^{2k} e^{Dq²} = ∂_D^k (1 − 2D)^{−1/2}, for 2D < 1.
3. Leading order in 1/d, [S] Lemma 2: for d → ∞ at fixed dω², μ/√d and φd/L, `uniform_limit`. Only
   the noise and the tokens' own norm, λ_i d_i φ_i/L e^{⟨ω, ω'⟩}, survive of the terms in 1/L.
"""

from __future__ import annotations

from functools import lru_cache

import sympy as sp

from . import moments
from . import symbols as sy

L, d_count = sp.symbols("L d", positive=True)
ONE = sp.Integer(1)
b, m, c, phi, epsilon = sp.symbols("b m c phi epsilon", positive=True)


def omega(heads: int, dimension: int) -> sp.Matrix:
    """Return the symbols ω_j^h."""
    return sp.Matrix(
        heads, dimension, lambda h, j: sp.Symbol(f"omega{h + 1}_{j + 1}", positive=True)
    )


def mu(heads: int, tasks: int) -> sp.Matrix:
    """Return the symbols μ_i^h."""
    return sp.Matrix(heads, tasks, lambda h, i: sp.Symbol(f"mu{h + 1}_{i + 1}", real=True))


def query(dimension: int) -> list[sp.Symbol]:
    """Return the symbols q_j."""
    return list(sp.symbols(f"q1:{dimension + 1}", real=True))


def task_of(dims: tuple[int, ...]) -> list[int]:
    """Return the task of each coordinate."""
    return [task for task, size in enumerate(dims) for _ in range(size)]


def tilted_moment(power: int, tilt: sp.Expr) -> sp.Expr:
    """Return E x^n e^{tx}, the n-th derivative of the moment generating function e^{t²/2}."""
    t = sp.Symbol("t")
    return sp.diff(sp.exp(t**2 / 2), t, power).subs(t, tilt)


def _token(power: int, coordinate: int, tilts: list[sp.Expr]) -> sp.Expr:
    """Return E x_j^n e^{Σ t_k x_k} of one token."""
    out = sp.Integer(1)
    for k, tilt in enumerate(tilts):
        out *= tilted_moment(power if k == coordinate else 0, tilt)
    return out


def _tilts(weights: sp.Matrix, heads: list[int]) -> list[sp.Expr]:
    q = query(weights.shape[1])
    return [sum(weights[h, j] for h in heads) * q[j] for j in range(weights.shape[1])]


def product_of_means(weights: sp.Matrix, coordinate: int, heads: list[int]) -> sp.Expr:
    """Return E Π_{h in heads} m_j^h given q, to first order in 1/L, by the delta method."""
    distinct = sorted(set(heads))
    numerator = {h: sp.Symbol(f"N{h}", positive=True) for h in distinct}
    divisor = {h: sp.Symbol(f"Z{h}", positive=True) for h in distinct}
    statistics = [(numerator[h], 1, h) for h in distinct] + [(divisor[h], 0, h) for h in distinct]
    value = sp.prod([numerator[h] / divisor[h] for h in heads])
    means = {name: _token(power, coordinate, _tilts(weights, [h])) for name, power, h in statistics}
    first = sp.Integer(0)
    for left, left_power, g in statistics:
        for right, right_power, h in statistics:
            joint = _token(left_power + right_power, coordinate, _tilts(weights, [g, h]))
            covariance = joint - means[left] * means[right]
            first += sp.diff(value, left, right) * covariance / 2
    return _tidy((value + first / L).subs(means))


def attention_overlap(weights: sp.Matrix, g: int, h: int) -> sp.Expr:
    """Return E Σ_l p_l^g p_l^h given q, to first order in 1/L."""
    mean = [_token(0, 0, _tilts(weights, [head])) for head in (g, h)]
    return _tidy(_token(0, 0, _tilts(weights, [g, h])) / (L * mean[0] * mean[1]))


def _tidy(expression: sp.Expr) -> sp.Expr:
    """Expand into a sum of products of powers with a single exponential each."""
    terms = sp.Add.make_args(sp.expand(sp.expand(expression), power_exp=False))
    return sp.Add(*(sp.powsimp(term, combine="exp") for term in terms))


def average_query(expression: sp.Expr, dimension: int, copies: sp.Expr = ONE) -> sp.Expr:
    """Return the expectation over q ~ N(0, I) of a sum of monomials times e^{Σ D_j q_j²}.

    With `copies` the one coordinate stands for that many, of which it is one: the others contribute
    (1 − 2D)^{−1/2} each.
    """
    q, rate = query(dimension), sp.Symbol("D")
    out = sp.Integer(0)
    for term in sp.Add.make_args(sp.expand(expression)):
        exponent = sum((f.exp for f in sp.Mul.make_args(term) if isinstance(f, sp.exp)), sp.S.Zero)
        poly = sp.Poly(sp.powsimp(term * sp.exp(-exponent)), *q)
        ((powers, value),) = poly.terms()
        for j, power in enumerate(powers):
            if power % 2:
                value = sp.Integer(0)
                break
            generating = (1 - 2 * rate) ** sp.Rational(-1, 2)
            moment = sp.diff(generating, rate, power // 2) * generating ** (copies - 1)
            value *= moment.subs(rate, sp.expand(exponent).coeff(q[j], 2))
        out += value
    return out


@lru_cache(maxsize=8)
def first_order_loss(dims: tuple[int, ...], heads: int, copies: sp.Expr = ONE) -> sp.Expr:
    """Return the loss Σ_i E(ŷ_i − g_iᵀq)², to first order in 1/L.

    Over g: λ_i Σ_j (Σ_h μ_i^h m_j^h − q_j)²; over ε: σ² Σ_{hh'} μ_i^h μ_i^{h'} Σ_l p_l^h p_l^{h'}.
    """
    size = sum(dims)
    weights, read, q = omega(heads, size), mu(heads, len(dims)), query(size)
    loss = sp.Integer(0)
    for j, task in enumerate(task_of(dims)):
        lam = sy.lam[task]
        loss += lam * q[j] ** 2
        for g in range(heads):
            loss -= 2 * lam * read[g, task] * q[j] * product_of_means(weights, j, [g])
            for h in range(heads):
                pair = read[g, task] * read[h, task]
                loss += lam * pair * product_of_means(weights, j, [g, h])
    for task in range(len(dims)):
        for g in range(heads):
            for h in range(heads):
                pair = read[g, task] * read[h, task] / copies
                loss += sy.sigma**2 * pair * attention_overlap(weights, g, h)
    return average_query(loss, size, copies)


def uniform_limit() -> sp.Expr:
    """Return lim ℓ₁/(λd) as d → ∞ of one head on one block of d equal weights.

    ω = √(b/d), μ = m√d, L = φd/c and σ² = (φ − 1)λd with b, m, c, φ fixed.
    """
    loss = first_order_loss((1,), 1, d_count)
    point = {
        omega(1, 1)[0]: sp.sqrt(b / d_count),
        mu(1, 1)[0]: m * sp.sqrt(d_count),
        L: phi * d_count / c,
        sy.sigma: sp.sqrt((phi - 1) * sy.lam[0] * d_count),
    }
    # d equal coordinates, each with a share 1/d of the noise, over λd.
    terms = sp.Add.make_args(sp.expand((loss / sy.lam[0]).subs(point)))
    return sp.simplify(sum(sp.limit(term, d_count, sp.oo) for term in terms))


def leading_loss(dims: tuple[int, ...], heads: int) -> sp.Expr:
    """Return [S] Lemma 2: of the terms in 1/L those that `uniform_limit` keeps."""
    weights, read = omega(heads, sum(dims)), mu(heads, len(dims))
    owner, loss = task_of(dims), sp.Integer(0)
    for j, task in enumerate(owner):
        fitted = sum(read[h, task] * weights[h, j] for h in range(heads))
        loss += sy.lam[task] * (1 - fitted) ** 2
    for task, size in enumerate(dims):
        power = sy.lam[task] * size + sy.sigma**2
        for g in range(heads):
            for h in range(heads):
                overlap = sum(weights[g, j] * weights[h, j] for j in range(sum(dims)))
                loss += power / L * read[g, task] * read[h, task] * sp.exp(overlap)
    return loss


def linear_attention_loss(dims: tuple[int, ...], heads: int) -> sp.Expr:
    """Return Σ_i of [L]'s loss at M_i = Σ_h μ_i^h diag(ω^h), tokens N(0, I), tasks on blocks."""
    size = sum(dims)
    weights, read = omega(heads, size), mu(heads, len(dims))
    out = sp.Integer(0)
    for task in range(len(dims)):
        signal = sp.diag(*(sy.lam[task] if i == task else 0 for i in task_of(dims)))
        matrix = sp.diag(
            *(sum(read[h, task] * weights[h, j] for h in range(heads)) for j in range(size))
        )
        second = moments.gaussian_second_moment(sp.eye(size), signal)
        out += moments.loss(matrix, sp.eye(size), signal, second)
    return out.subs(sy.N, L)


def small_score_attention(tokens: int) -> tuple[list[sp.Expr], list[sp.Symbol]]:
    """Return softmax(εs) up to first order in ε, and the scores s."""
    scores = list(sp.symbols(f"s1:{tokens + 1}", real=True))
    norm = sum(sp.exp(epsilon * s) for s in scores)
    weights = [sp.exp(epsilon * s) / norm for s in scores]
    return [
        (w.subs(epsilon, 0) + epsilon * sp.diff(w, epsilon).subs(epsilon, 0)) for w in weights
    ], scores

"""The best single head, and the bound over several heads.

One head, ω on block i with b_i = ‖ω_{J_i}‖², B = Σ b_i, S_i = Σ_{J_i} ω_j: minimising the loss over
μ_i leaves λ_i [d_i − S_i²/(b_i + c_i e^B)]. S_i² <= d_i b_i, with equality for equal weights
(`spread_identity`), so that task i leaves λ_i d_i c_i/(c_i + b_i e^{−B}).

H heads, B_i the (H, d_i) weights on block i, Ω_i = B_i B_iᵀ, E = exp of the entries of ΣΩ_i. Over
μ_i the loss is λ_i [d_i − 1ᵀ B_iᵀ (Ω_i + c_i E)⁻¹ B_i 1], and B_iᵀ(Ω_i + c_i E)⁻¹B_i has the
eigenvalues ν/(ν + c_i), ν those of E⁻¹Ω_i: at least λ_i d_i c_i/(c_i + ν_i), ν_i = λ_max(E⁻¹Ω_i).

For any weights of distinct heads, ν_i <= 1, and Σν_i <= tr E⁻¹Ω < H − 1 at H >= 2. Work in the
space of functions with kernel e^{⟨x, y⟩} = Σ_n ⟨x, y⟩ⁿ/n!, an orthogonal sum over the degree n in
which the coordinates x_j are orthonormal; Q projects on their span. With P the projection on the
span of the kernels at the ω^h, ‖P x_j‖² = Σ_{hh'} ω_j^h (E⁻¹)_{hh'} ω_j^{h'}. So

    ν_i = max ‖Pf‖² over unit f in the span of block i <= 1,    tr E⁻¹Ω = tr PQ.

1. H = 2, ω¹ and ω² on one line: Ω = ffᵀ for one linear f, so that tr PQ = ‖Pf‖² < 1; a linear f is
   no sum of finitely many kernels.
2. H = 2, squared norms a_1, a_2 and overlap b: tr PQ < 1 reads F(a_1, a_2) > G(b), `pair_margin`.
   G increases, and at the largest b, √(a_1 a_2), F > G is step 1 (F = G if a_1 = a_2).
3. H > 2: P is the projection of step 2 for two of the heads, plus one of rank H − 2, and each of
   its H − 2 unit vectors adds at most 1.

Heads that coincide count as one. `small_weights_limit` approaches H − 1.
"""

from __future__ import annotations

import sympy as sp

energy, c, nu, theta, B, share = sp.symbols("energy c nu theta B b", positive=True)
a, overlap, eps = sp.symbols("a b epsilon", real=True)
first_norm, second_norm = sp.symbols("a1 a2", positive=True)


def best_loss() -> sp.Expr:
    """Return min over μ of λd[1 − 2μω̄ + μ²(ω̄² + (c/d)e^B)], b = dω̄²."""
    mu, d = sp.symbols("mu d", positive=True)
    w = sp.sqrt(share / d)
    loss = energy * (1 - 2 * mu * w + mu**2 * (w**2 + c / d * sp.exp(B)))
    return sp.simplify(loss.subs(mu, sp.solve(sp.diff(loss, mu), mu)[0]))


def spread_identity(dimension: int) -> sp.Expr:
    """Return d Σω² − (Σω)² − Σ_{j<k} (ω_j − ω_k)², which vanishes."""
    w = sp.symbols(f"w1:{dimension + 1}", real=True)
    squares = sum(s**2 for s in w)
    pairs = sum((w[j] - w[k]) ** 2 for k in range(dimension) for j in range(k))
    return sp.expand(dimension * squares - sum(w) ** 2 - pairs)


def best_squared_norm() -> tuple[sp.Expr, sp.Expr]:
    """Return the B that maximises Σν = B e^{−B}, and the maximum."""
    total = B * sp.exp(-B)
    (best,) = sp.solve(sp.diff(total, B), B)
    if not sp.diff(total, B, 2).subs(B, best) < 0:
        raise ArithmeticError("the stationary point is not a maximum")
    return best, total.subs(B, best)


def stationary_allocation() -> sp.Expr:
    """Return water-filling: ν at which −∂/∂ν of λdc/(c + ν) equals the multiplier θ."""
    loss = energy * c / (c + nu)
    roots = sp.solve(sp.Eq(-sp.diff(loss, nu), theta), nu)
    return next(root for root in roots if not root.could_extract_minus_sign())


def equiangular_trace(heads: int) -> sp.Expr:
    """Return tr E⁻¹Ω for the Gram matrix with a on the diagonal and b off it."""
    ones = sp.ones(heads)
    gram = overlap * ones + (a - overlap) * sp.eye(heads)
    kernel = gram.applyfunc(sp.exp)
    return sp.simplify((kernel.inv() * gram).trace())


def pair_trace() -> sp.Expr:
    """Return tr E⁻¹Ω of two heads with squared norms a_1, a_2 and overlap b."""
    gram = sp.Matrix([[first_norm, overlap], [overlap, second_norm]])
    return sp.simplify((gram.applyfunc(sp.exp).inv() * gram).trace())


def pair_margin() -> tuple[sp.Expr, sp.Expr]:
    """Return F(a_1, a_2) and G(b): 1 − tr E⁻¹Ω = (F − G)/det E."""
    free = sp.exp(first_norm + second_norm)
    free -= first_norm * sp.exp(second_norm) + second_norm * sp.exp(first_norm)
    return free, sp.exp(2 * overlap) - 2 * overlap * sp.exp(overlap)


def small_weights_limit(heads: int) -> sp.Expr:
    """Return the limit of the trace as a = ε, b = ε/2 → 0."""
    return sp.limit(equiangular_trace(heads).subs({a: eps, overlap: eps / 2}), eps, 0)

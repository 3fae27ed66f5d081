"""One head on one task, at any d: the exact loss by parts, its first order in 1/L, the best norm.

Equal weights ω̄ on the d coordinates of the task, r = ‖q‖, scores s_l ~ N(0, a²) with a = ω̄ r.

1. By parts over the tokens, E s_l f = a² E ∂_l f for p = softmax(s), `by_parts`; by parts over r,
   with E[f | r] a function of a alone: r d/dr E f = a² E Σ_l ∂_l² f and E r f'(r) = E (r² − d) f.
   So q·Σpx and ‖Σpx‖² become Σp² and Σp³, at any L, `exact_loss`.
2. First order in 1/L: given q, Σp² → E e^{2s}/(L (E e^s)²) = e^{a²}/L and Σp³ = O(1/L²), averaged
   over r by the Gamma integral, `radial_mean`.
3. To second order in 1/L, `second_order_loss`, by the delta method for mean e^{2s}/(mean e^s)²:
   what is of relative order 1/d for d → ∞ at d/L fixed.
4. At order 1/L the read-out is 1/ω̄; what is left is a function of w = ω̄² alone, `optimum_slope`.
"""

from __future__ import annotations

import sympy as sp

L, d, w, phi, a, omega, mu = sp.symbols("L d w phi a omegabar mu", positive=True)
P, A, B, ratio = sp.symbols("P A B rho", nonnegative=True)


def radial_mean(power: int) -> sp.Expr:
    """Return E r^{2k} e^{w r²} over r ~ χ_d, 2w < 1, t = r² having density t^{d/2−1} e^{−t/2}."""
    t, free = sp.symbols("t beta", positive=True)  # free = 1 − 2w

    def integral(shift: int) -> sp.Expr:
        return sp.integrate(t ** (d / 2 - 1 + shift) * sp.exp(-free * t / 2), (t, 0, sp.oo))

    return sp.simplify(integral(power) / integral(0).subs(free, 1)).subs(free, 1 - 2 * w)


def softmax(tokens: int) -> tuple[list[sp.Expr], list[sp.Symbol], list[sp.Symbol]]:
    """Return p, the scores s, and the symbols that stand for e^s in p."""
    scores = list(sp.symbols(f"s1:{tokens + 1}", real=True))
    powers = list(sp.symbols(f"e1:{tokens + 1}", positive=True))
    return [e / sum(powers) for e in powers], scores, powers


def by_parts(expression: sp.Expr, scores: list[sp.Symbol], powers: list[sp.Symbol]) -> sp.Expr:
    """Remove the scores from a polynomial in them by E s_l f = a² E ∂_l f, until none is left."""
    total = sp.Integer(0)
    for degrees, value in sp.Poly(expression, *scores).terms():
        chosen = next((k for k, degree in enumerate(degrees) if degree), None)
        if chosen is None:
            total += value
            continue
        rest = value * sp.prod(
            s ** (n - (k == chosen)) for k, (s, n) in enumerate(zip(scores, degrees, strict=True))
        )
        total += by_parts(a**2 * along(rest, chosen, scores, powers), scores, powers)
    return total


def along(expression: sp.Expr, k: int, scores: list[sp.Symbol], powers: list[sp.Symbol]) -> sp.Expr:
    """Return ∂_k of a function of the scores and their exponentials."""
    return sp.diff(expression, scores[k]) + powers[k] * sp.diff(expression, powers[k])


def parts_gaps(tokens: int) -> tuple[sp.Expr, sp.Expr]:
    """Return what must vanish for E q·Σpx = ω̄(d − A) and E‖Σpx‖² = A + ω̄²(d − 3A + 2B).

    Given r, q·Σpx = (r/a) Σps, and ‖Σpx‖² = (Σps/a)² + (d − 1)Σp² on average over what is
    orthogonal to q. With E(Σps)² = a² E[Σp² + a² Q], the second needs, given r,
    d Σp² + a² Q = r² Σp² + a²(1 − 3Σp² + 2Σp³) on average over r, where (r² − d) Σp² may be
    replaced by Σ_l ∂_l² Σp² a²: so Q − Σ_l ∂_l² Σp² = 1 − 3Σp² + 2Σp³.
    """
    p, s, e = softmax(tokens)
    square, cube = sum(x**2 for x in p), sum(x**3 for x in p)
    mean = sum(x * y for x, y in zip(p, s, strict=True))
    first = by_parts(mean, s, e) / a**2 - (1 - square)
    quotient = (by_parts(sp.expand(mean**2), s, e) / a**2 - square) / a**2
    laplacian = sum(along(along(square, k, s, e), k, s, e) for k in range(tokens))
    return first, quotient - laplacian - (1 - 3 * square + 2 * cube)


def exact_loss() -> sp.Expr:
    """Return loss/λ = E‖μΣpx − q‖² + ρμ²Σp² from the two averages of `parts_gaps`, ρ = σ²/λ."""
    overlap = omega * (d - A)
    square = A + omega**2 * (d - 3 * A + 2 * B)
    return d - 2 * mu * overlap + mu**2 * square + ratio * mu**2 * P


def first_order_loss() -> sp.Expr:
    """Return loss/λ with P, A to first order in 1/L and B dropped."""
    at = {w: omega**2}
    leading = {P: radial_mean(0).subs(at) / L, A: radial_mean(1).subs(at) / L, B: 0}
    return exact_loss().subs(leading)


def optimum_coefficient() -> sp.Expr:
    """Return lim L·loss/(λd) as L → ∞ at w = ω̄², at the best read-out, ρ = (φ − 1)d.

    loss/λ = d(1 − m)² + V(m)/L + O(1/L²) is best at m = 1 + O(1/L), which leaves V(1)/L.
    """
    at = {omega: sp.sqrt(w), mu: 1 / sp.sqrt(w), ratio: (phi - 1) * d}
    return sp.simplify((L * first_order_loss() / d).subs(at))


def optimum_slope() -> sp.Expr:
    """Return w(1 − 2w)(φ − (2φ − 1)w)/φ times the derivative of ln `optimum_coefficient` by w."""
    slope = sp.diff(sp.log(optimum_coefficient()), w)
    return sp.simplify(slope * w * (1 - 2 * w) * (phi - (2 * phi - 1) * w) / phi)


def participation_given_query() -> sp.Expr:
    """Return L E[Σp² | a] to first order in 1/L: f = N/Z², N = mean e^{2s}, Z = mean e^s."""
    N, Z = sp.symbols("N Z", positive=True)
    value, orders = N / Z**2, {N: 2, Z: 1}
    means = {name: sp.exp(k**2 * a**2 / 2) for name, k in orders.items()}
    first = sp.Integer(0)
    for left, j in orders.items():
        for right, k in orders.items():
            covariance = sp.exp((j + k) ** 2 * a**2 / 2) - means[left] * means[right]
            first += sp.diff(value, left, right) * covariance / 2
    return sp.expand(sp.powsimp(sp.expand((value + first / L).subs(means))))


def second_order_loss() -> sp.Expr:
    """Return loss/λ with P, A and B = E r² Σp³ = E r² e^{3a²}/L² to order 1/L²."""

    def averaged(expression: sp.Expr, power: int) -> sp.Expr:
        out = sp.Integer(0)
        for term in sp.Add.make_args(expression):
            rest, exponential = term.as_independent(a)
            rate = sp.log(exponential).expand(force=True) / a**2
            out += rest * radial_mean(power).subs(w, rate * omega**2)
        return out

    square = participation_given_query() / L
    orders = {P: averaged(sp.expand(square), 0), A: averaged(sp.expand(square), 1)}
    return exact_loss().subs({**orders, B: averaged(sp.exp(3 * a**2) / L**2, 1)})


def dimension_coefficient() -> tuple[sp.Expr, sp.Expr]:
    """Return the limits of (exact − formula)/(λd), 0, and of d(exact/formula − 1), as d → ∞.

    Fixed are m = μ/√d, dω̄² = 1, φ and c' = φd/L', here `c`; formula/(λd) = (1 − m)² + ec'm².
    """
    m, c, x = sp.symbols("m c x", positive=True)
    at = {mu: m / sp.sqrt(x), omega: sp.sqrt(x), ratio: (phi - 1) / x, L: phi / (c * x), d: 1 / x}
    formula = (1 - m) ** 2 + sp.E * c * m**2

    def smooth(power: sp.Expr) -> sp.Expr:
        """(1 − 2kx)^{−1/(2x)−n}, by its logarithm to first order."""
        return sp.exp(sp.series(power.exp * sp.log(power.base), x, 0, 2).removeO())

    exact = (x * second_order_loss()).subs(at)
    exact = exact.replace(lambda part: part.is_Pow and part.exp.has(x), smooth)
    gap = sp.expand(exact) - formula
    first = sp.diff(gap, x).subs(x, 0) / formula
    return sp.simplify(gap.subs(x, 0)), sp.simplify(first)

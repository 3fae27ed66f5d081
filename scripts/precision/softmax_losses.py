"""Oracles of the losses of softmax attention, of the limit of its flow, and of long contexts.

With R_i = (λ_i d_i + σ²)/L the spectral loss is Σ_i λ_i Σ_j (1 − A_j)² + R_i μᵀ e^{ΩΩᵀ} μ
([S] Lemma 2), and c_i = R_i/λ_i.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
from mpmath import mp, mpf

from precision import points
from precision import softmax_points as draw
from precision.exact import Sized, oracle
from precision.modes import inverse
from precision.points import Case, Source


def by_task(dims: Any, lam: Any) -> list[tuple[Any, Any]]:
    """(d_i, λ_i) of every task."""
    if not isinstance(dims, list) and not isinstance(lam, list):
        return [(dims, lam)]
    count = len(dims) if isinstance(dims, list) else len(lam)
    d, a = (v if isinstance(v, list) else [v] * count for v in (dims, lam))
    return list(zip(d, a, strict=True))


def ratios(dims: Any, lam: Any, length: Any, noise: Any) -> list[tuple[Any, Any, Any]]:
    """(d_i, λ_i, c_i) of every task."""
    n = inverse(length)
    return [(d, a, n * (a * d + noise**2) / a) for d, a in by_task(dims, lam)]


def e() -> Any:
    """Euler's number."""
    return mpmath.e


def _two(s: Source) -> Case:
    case = draw.tasks(s)
    return Case(case.arguments[:2], case.keywords)


@oracle("softmax.noise_factor", _two)
def noise_factor(dims: Any, lam: Any, noise: Any) -> Any:
    """φ."""
    return [1 + noise**2 / (a * d) for d, a in by_task(dims, lam)]


def _kernel_terms(
    weights: Any, noise: Any, kernel: Callable[[Any], Any], slope: Callable[[Any], Any]
) -> Sized:
    omega, mu, dims, lam, length = weights
    loss, scale, start = 0, 0, 0
    for i, (d, a, c) in enumerate(ratios(dims, lam, length, noise)):
        for j in range(start, start + int(d)):
            terms = [row[i] * w[j] for row, w in zip(mu, omega, strict=True)]
            loss += a * (1 - sum(terms)) ** 2
            scale += a * (1 + sum(map(abs, terms))) ** 2
        start += int(d)
        for w, row in zip(omega, mu, strict=True):
            for v, other in zip(omega, mu, strict=True):
                overlap = sum(x * y for x, y in zip(w, v, strict=True))
                reach = sum(abs(x * y) for x, y in zip(w, v, strict=True))
                loss += a * c * row[i] * other[i] * kernel(overlap)
                scale += a * c * abs(row[i] * other[i]) * (abs(kernel(overlap))
                                                           + slope(overlap) * reach)  # fmt: skip
    return Sized(loss, scale)


@oracle("softmax.spectral_loss", draw.weights, mpf)
def spectral_loss(*weights: Any, noise: Any) -> Any:
    """With the kernel e^{⟨ω, ω'⟩}."""
    return _kernel_terms(weights, noise, mp.exp, mp.exp)


@oracle("softmax.linear_attention_loss", draw.weights)
def linear_attention_loss(*weights: Any, noise: Any) -> Any:
    """With the kernel 1 + ⟨ω, ω'⟩."""
    return _kernel_terms(weights, noise, lambda x: 1 + x, lambda _: 1)


@oracle("softmax.spectral_gradient", draw.weights, mpf)
def spectral_gradient(omega: Any, mu: Any, dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """Every term of the derivatives by ω_j^h and μ_i^h, by itself."""
    heads, known = range(len(omega)), ratios(dims, lam, length, noise)
    owner = [i for i, (d, _, _) in enumerate(known) for _ in range(int(d))]
    answer = []
    for size in (lambda x: x, abs):
        sign = -1 if size is not abs else 1
        w, m = ([[size(x) for x in row] for row in table] for table in (omega, mu))
        gram = [[sum(x * y for x, y in zip(omega[g], omega[h], strict=True)) for h in heads]
                for g in heads]  # fmt: skip
        reach = [[sum(x * y for x, y in zip(w[g], w[h], strict=True)) for h in heads]
                 for g in heads]  # fmt: skip
        K = [[mp.exp(gram[g][h]) * (1 if sign < 0 else 1 + reach[g][h]) for h in heads]
             for g in heads]  # fmt: skip
        gap = [1 + sign * sum(m[g][i] * w[g][j] for g in heads) for j, i in enumerate(owner)]
        both = [[K[g][h] * sum(a * c * m[g][i] * m[h][i] for i, (_, a, c) in enumerate(known))
                 for h in heads] for g in heads]  # fmt: skip
        d_omega = [[sign * 2 * known[i][1] * m[h][i] * gap[j]
                    + 2 * sum(both[h][g] * w[g][j] for g in heads)
                    for j, i in enumerate(owner)] for h in heads]  # fmt: skip
        d_mu = [[sign * 2 * a * sum(w[h][j] * gap[j] for j, k in enumerate(owner) if k == i)
                 + 2 * a * c * sum(K[h][g] * m[g][i] for g in heads)
                 for i, (_, a, c) in enumerate(known)] for h in heads]  # fmt: skip
        answer.append((d_omega, d_mu))
    return Sized(*answer)


@oracle("softmax.first_order_loss", lambda s: draw.weights(s, 0.6), mpf)
def first_order_loss(omega: Any, mu: Any, dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """The delta method: moments of a Gaussian token tilted by two scores."""
    heads, n, answer, start = range(len(omega)), inverse(length), [mpf(0), mpf(0)], 0

    def kappa(g: int, h: int) -> Any:
        return mp.fprod(1 / mp.sqrt(1 - 2 * x * y)
                        for x, y in zip(omega[g], omega[h], strict=True))  # fmt: skip

    for i, (d, a, c) in enumerate(ratios(dims, lam, length, noise)):
        block = range(start, start + int(d))
        start += int(d)
        for place, size in enumerate((lambda x: x, abs)):
            sign = 1 if place else -1
            A = {j: sum(size(mu[h][i] * omega[h][j]) for h in heads) for j in block}
            answer[place] += a * sum((1 + sign * A[j]) ** 2 for j in block)
            for g in heads:
                for h in heads:
                    free = {j: 1 - 2 * omega[g][j] * omega[h][j] for j in block}
                    R = sum(size(omega[g][j] * omega[h][j]) / free[j] for j in block)
                    pair = size(mu[g][i] * mu[h][i]) * kappa(g, h) * a
                    answer[place] += pair * (c + n * R)
                own = sum(size(omega[g][j]) * (1 + sign * A[j]) / (1 - 2 * omega[g][j] ** 2)
                          for j in block)  # fmt: skip
                answer[place] += 2 * n * a * size(mu[g][i]) * kappa(g, g) * own
    return Sized(*answer)


@oracle("softmax.limit_weights", draw.tasks, mpf)
def limit_weights(dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """(d^{−1/2}, √d/(1 + ec))."""
    known = ratios(dims, lam, length, noise)
    count = len({d for d, _, _ in known}) if not isinstance(dims, list) else len(known)
    omega = [1 / mp.sqrt(d) for d, _, _ in known][: max(count, 1)]
    return omega, [mp.sqrt(d) / (1 + e() * c) for d, _, c in known]


@oracle("softmax.task_limit_losses", draw.tasks, mpf)
def task_limit_losses(dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """λd − λd/(1 + ec)."""
    return [a * d - a * d / (1 + e() * c) for d, a, c in ratios(dims, lam, length, noise)]


@oracle("softmax.limit_loss", draw.tasks, mpf)
def limit_loss(dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """Their sum."""
    return sum(task_limit_losses(dims, lam, length, noise))


def _two_lengths(s: Source) -> Case:
    case = draw.tasks(s)
    return Case((*case.arguments, points.length(s)), case.keywords)


@oracle("softmax.generalised_loss", _two_lengths, mpf)
def generalised_loss(dims: Any, lam: Any, length: Any, other: Any, noise: Any) -> Any:
    """λd(1 − m)² + λ c' e μ², at μ = √d/(1 + ec), m = 1/(1 + ec)."""
    loss, tested = mpf(0), ratios(dims, lam, other, noise)
    for (d, a, c), (_, _, later) in zip(ratios(dims, lam, length, noise), tested, strict=True):
        m = 1 / (1 + e() * c)
        loss += a * d * (1 - m) ** 2 + a * later * e() * d * m**2
    return loss


@oracle("softmax.optimality_factor", draw.tasks, mpf)
def optimality_factor(dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """The loss at the limit over that at ν = 1."""
    return [e() * (1 + c) / (1 + e() * c) for _, _, c in ratios(dims, lam, length, noise)]


@oracle("softmax.limit_escape_rate", draw.tasks, mpf)
def limit_escape_rate(dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """∂ℓ/∂μ of another head at the limit: 2 λ c μ*."""
    return [2 * a * c * mp.sqrt(d) / (1 + e() * c) for d, a, c in ratios(dims, lam, length, noise)]


def _long(s: Source) -> Case:
    case = draw.one_task(s)
    d = case.arguments[0]
    w = s.pick([d**-0.5 * s.uniform(0, 1), s.uniform(0, 0.7) * min(1, 30 / d) ** 0.5])
    w = min(w, 0.7)
    return Case((w, points.signed(s), *case.arguments), case.keywords)


@oracle("softmax.long_context_loss", _long, mpf)
def long_context_loss(w: Any, mu: Any, d: Any, lam: Any, length: Any, noise: Any) -> Any:
    """P and A by the tilted Gaussian; the exponent d ln(1 − 2w²)/2 multiplies rounding."""
    free, n, m = 1 - 2 * w * w, inverse(length), mu * w
    P = n * free ** (-d / 2)
    A = d * P / free
    loss = lam * (d * (1 - m) ** 2 + A * (mu**2 + 2 * m - 3 * m * m)) + mu**2 * P * noise**2
    terms = A * (mu**2 + 2 * abs(m) + 3 * m * m) * lam + mu**2 * P * noise**2
    scale = lam * d * (1 + abs(m)) ** 2 + terms * (1 + (d / 2 + 1) * (1 / free - 1))
    return Sized(loss, scale)


def _pair(s: Source) -> Case:
    dims = s.pick([1.0, 2.0, 10.0, 1e3, 1e9, points.positive(s, -9, 3)])
    return Case((dims, points.positive(s, -3, 3)), {"noise": points.noise(s)})


def best_square(d: Any, lam: Any, noise: Any) -> Any:
    """The smaller root of (d + 2)(2 − 1/φ)w² − (d + 4)w + 1."""
    a = (d + 2) * (2 - 1 / (1 + noise**2 / (lam * d)))
    return (d + 4 - mp.sqrt((d + 4) ** 2 - 4 * a)) / (2 * a)


@oracle("softmax.long_context_squared_norm", _pair, mpf)
def long_context_squared_norm(d: Any, lam: Any, noise: Any) -> Any:
    """D times the root."""
    return d * best_square(d, lam, noise)


def _triple(s: Source) -> Case:
    case = _pair(s)
    return Case((*case.arguments, points.length(s)), case.keywords)


@oracle("softmax.long_context_optimum_loss", _triple, mpf)
def long_context_optimum_loss(d: Any, lam: Any, length: Any, noise: Any) -> Any:
    """`long_context_loss` at μ = 1/ω̄, ω̄² the root."""
    w = mp.sqrt(best_square(d, lam, noise))
    at_one = long_context_loss(w, 1 / w, d, lam, mpf(1), noise).values
    loss = inverse(length) * at_one
    return Sized(loss, loss * (1 - (d / 2 + 1) * mp.log(1 - 2 * w * w)))


def _above_two(s: Source) -> Case:
    case = _pair(s)
    dims = s.pick([2 + 2.0**-40, 2.5, 3.0, 10.0, 1e3, 1e9, 2 + points.positive(s, -9, 3)])
    return Case((dims, case.arguments[1]), case.keywords)


@oracle("softmax.dimension_correction", _above_two, mpf)
def dimension_correction(d: Any, lam: Any, noise: Any) -> Any:
    """The loss of order 1/L at ω̄² = 1/d and μ = √d, over e φ λ d²/L."""
    w = 1 / mp.sqrt(d)
    loss = long_context_loss(w, 1 / w, d, lam, mpf(1), noise).values
    value = loss / (e() * (lam * d + noise**2) * d)
    return Sized(value, value * (1 - (d / 2 + 1) * mp.log(1 - 2 / d)))


def _coefficient(s: Source) -> Case:
    case = draw.one_task(s)
    later = s.pick([None, points.length(s, infinite=False)])
    length = case.arguments[2] if later is not None else min(case.arguments[2], 1e9)
    return Case((*case.arguments[:2], length), {**case.keywords, "test_length": later})


@oracle("softmax.dimension_coefficient", _coefficient, mpf)
def dimension_coefficient(d: Any, lam: Any, length: Any, noise: Any, test_length: Any) -> Any:
    """The formula, in 120 digits; its proof is in `analytic.derivations`."""
    c, x, phi = ratios(d, lam, length, noise)[0][2], e(), 1 + noise**2 / (lam * d)
    later = c if test_length is None else ratios(d, lam, test_length, noise)[0][2]
    share = later / (phi * (later + x * c * c))
    terms = 2 * (1 + x * c) + phi - 1, (2 * x * x - 3 * x + 1) * later
    return Sized(share * (terms[0] - terms[1]), share * (terms[0] + terms[1]))

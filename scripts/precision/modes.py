"""Oracles of the forms in eigenvalues: plateaus, fixed points, their stability and order.

With n = 1/N the eigenvalues of S = E[ββᵀ] are s = (1 + n)λ²ω + n(T + σ²)λ, T = Σ λω ([L] Eq. 15);
everything else is defined by the loss L(m) = T − 2 Σ λ²ω m + Σ sλ m² on diagonal M.
"""

from __future__ import annotations

import math
from typing import Any

import mpmath

from precision import points
from precision.exact import Sized, oracle
from precision.points import Case, Source

TIE = 2.0**-46  # 64 eps, within which the documentation calls two gains equal


def inverse(length: Any) -> Any:
    """1/N, 0 at infinity."""
    return 0 if isinstance(length, float) and math.isinf(length) else 1 / length


def listed(value: Any, size: int) -> list[Any]:
    """D numbers from one or D."""
    return value if isinstance(value, list) else [value] * size


def world(
    lam: Any, length: Any, task_eigenvalues: Any, noise: Any
) -> tuple[list[Any], list[Any], list[Any]]:
    """Λω, λ²ω and s of each mode."""
    omega, n = listed(task_eigenvalues, len(lam)), inverse(length)
    own = [a * b for a, b in zip(lam, omega, strict=True)]
    growth = [a * b for a, b in zip(lam, own, strict=True)]
    rest = n * (sum(own) + noise**2)
    return own, growth, [(1 + n) * g + rest * a for g, a in zip(growth, lam, strict=True)]


def best(lam: Any, growth: Any, s: Any) -> list[Any]:
    """The minimisers m = λ²ω/(sλ), 0 where a mode has neither signal nor features."""
    return [g / (a * b) if g else 0 * g for a, g, b in zip(lam, growth, s, strict=True)]


def gains(lam: Any, length: Any, **rest: Any) -> list[Any]:
    """What each mode takes off the loss."""
    _, growth, s = world(lam, length, **rest)
    return [g * m for g, m in zip(growth, best(lam, growth, s), strict=True)]


def order(growth: Any) -> list[int]:
    """Descending, ties as given."""
    return sorted(range(len(growth)), key=lambda d: -growth[d])


def remaining(mask: Any, lam: Any, length: Any, **rest: Any) -> Any:
    """T less the gains of a subset."""
    own, _, _ = world(lam, length, **rest)
    return sum(own) - sum(g for g, on in zip(gains(lam, length, **rest), mask, strict=True) if on)


@oracle("feature_eigenvalues", points.spectral)
def feature_eigenvalues(lam: Any, length: Any, **rest: Any) -> Any:
    """s."""
    return world(lam, length, **rest)[2]


@oracle("mode_curvature", points.spectral)
def mode_curvature(lam: Any, length: Any, **rest: Any) -> Any:
    """sλ, half the second derivative of L."""
    return [a * b for a, b in zip(lam, world(lam, length, **rest)[2], strict=True)]


@oracle("mode_coefficients", points.spectral)
def mode_coefficients(lam: Any, length: Any, **rest: Any) -> Any:
    """The minimiser of L."""
    _, growth, s = world(lam, length, **rest)
    return best(lam, growth, s)


oracle("mode_gains", points.spectral)(gains)


def _growth(s: Source) -> Case:
    case = points.spectral(s)
    return Case(case.arguments[:1], {"task_eigenvalues": case.keywords["task_eigenvalues"]})


@oracle("mode_growth", _growth)
def mode_growth(lam: Any, task_eigenvalues: Any) -> Any:
    """λ²ω."""
    return [a * a * w for a, w in zip(lam, listed(task_eigenvalues, len(lam)), strict=True)]


def _inversions(visit_order: Any, case: Case) -> list[float]:
    """The growths of the modes in the order answered; a permutation is checked by their sum."""
    answer = visit_order(*case.arguments, **case.keywords).tolist()
    if sorted(answer) != list(range(len(answer))):
        return [math.inf]
    lam, omega = case.arguments[0], listed(case.keywords["task_eigenvalues"], len(answer))
    return [lam[d] * lam[d] * omega[d] for d in answer]


@oracle("visit_order", _growth, call=_inversions)
def visit_order(lam: Any, task_eigenvalues: Any) -> Any:
    """The growths in descending order."""
    return sorted(mode_growth(lam, task_eigenvalues), reverse=True)


@oracle("plateau_losses", points.spectral)
def plateau_losses(lam: Any, length: Any, **rest: Any) -> Any:
    """The trace, less one gain after the other in order of growth."""
    own, growth, _ = world(lam, length, **rest)
    gain, losses = gains(lam, length, **rest), [sum(own)]
    for d in order(growth):
        losses.append(losses[-1] - gain[d])
    return losses


@oracle("fixed_point_subsets", lambda s: Case((s.integer(1, 6),)))
def fixed_point_subsets(size: Any) -> Any:
    """The bits of 0 … 2^D − 1."""
    return [bool(row >> d & 1) for row in range(2 ** int(size)) for d in range(int(size))]


@oracle("fixed_point_coefficients", points.with_subset)
def fixed_point_coefficients(mask: Any, lam: Any, length: Any, **rest: Any) -> Any:
    """The minimiser on the subset."""
    _, growth, s = world(lam, length, **rest)
    return [m if on else 0 * m for m, on in zip(best(lam, growth, s), mask, strict=True)]


oracle("fixed_point_loss", points.with_subset)(remaining)


def _ansatz(s: Source) -> Case:
    case = points.with_subset(s, 5)
    size = len(case.arguments[0])
    basis = [None, [list(map(float, row)) for row in points.rotation(s, size)]]
    return Case(case.arguments, {**case.keywords, "eigenvectors": s.pick(basis)})


@oracle("ansatz_weights", _ansatz, mpmath.mpf)
def ansatz_weights(mask: Any, lam: Any, length: Any, eigenvectors: Any, **rest: Any) -> Any:
    """Roots of m in the first heads, in order of growth; k = q = v e."""
    _, growth, s = world(lam, length, **rest)
    m, size = best(lam, growth, s), len(lam)
    learned = [d for d in order(growth) if mask[d]]
    v = [mpmath.cbrt(m[d]) for d in learned] + [mpmath.mpf(0)] * (size - len(learned))
    place = [*learned, *[None] * (size - len(learned))]

    def entry(j: int, d: int | None) -> Any:
        if d is None:
            return 0
        return eigenvectors[j][d] if eigenvectors else int(j == d)

    k = [[value * entry(j, d) for j in range(size)] for value, d in zip(v, place, strict=True)]
    return v, k, k


@oracle("least_norm", points.with_subset, mpmath.mpf)
def least_norm(mask: Any, lam: Any, length: Any, **rest: Any) -> Any:
    """3 Σ m^{2/3}, of v² + ‖k‖² + ‖q‖² at v³ = m."""
    m = fixed_point_coefficients(mask, lam, length, **rest)
    return 3 * sum(mpmath.cbrt(value) ** 2 for value in m)


def exceeds(a: Any, b: Any) -> bool:
    """Whether gain a is above gain b by more than 64 eps of it."""
    return bool(a - b > TIE * a)


@oracle("stability_index", lambda s: points.with_subset(s, 8), mpmath.mpf)
def stability_index(mask: Any, lam: Any, length: Any, **rest: Any) -> int:
    """Pairs of a learned mode and a better one that is not."""
    gain = gains(lam, length, **rest)
    inside = [g for g, on in zip(gain, mask, strict=True) if on]
    outside = [g for g, on in zip(gain, mask, strict=True) if not on]
    return sum(exceeds(b, a) for a in inside for b in outside)


def _pair(s: Source) -> Case:
    case = points.spectral(s, 5, 2)
    size = len(case.arguments[0])
    omega = listed(case.keywords["task_eigenvalues"], size)
    named = {**case.keywords, "task_eigenvalues": [omega[0] or 1.0, *omega[1:]]}
    return Case((0, s.integer(1, size - 1), *case.arguments), named)


@oracle("rotation_eigenvalues", _pair, mpmath.mpf)
def rotation_eigenvalues(i: int, d: int, lam: Any, length: Any, **rest: Any) -> Any:
    """Eigenvalues of the block of (k_d, q_d) in the Hessian of L at v = u, k = q = u e_i."""
    _, growth, s = world(lam, length, **rest)
    m = best(lam, growth, s)
    u = mpmath.cbrt(m[i])
    a, b, c = 2 * u**4 * s[d] * lam[i], 2 * u**4 * s[i] * lam[d], 2 * u * growth[d]
    root = mpmath.sqrt((a - b) ** 2 / 4 + c**2)
    lower, upper = (a + b) / 2 - root, (a + b) / 2 + root
    gain = [g * x for g, x in zip(growth, m, strict=True)]
    size = 4 * u * u * s[d] * lam[d] * (gain[i] + gain[d]) / upper
    return Sized((lower, upper), (size, upper))


@oracle("saddle_path", lambda s: points.spectral(s, 5), mpmath.mpf)
def saddle_path(lam: Any, length: Any, **rest: Any) -> Any:
    """Exchange the most unstable pair if there is one, else learn what grows fastest."""
    _, growth, _ = world(lam, length, **rest)
    gain, mask = gains(lam, length, **rest), [False] * len(lam)
    path = list(mask)
    while True:
        pairs = [(rotation_eigenvalues(i, d, lam, length, **rest).values[0], i, d)
                 for i in range(len(lam)) for d in range(len(lam))
                 if mask[i] and not mask[d] and exceeds(gain[d], gain[i])]  # fmt: skip
        idle = [d for d in order(growth) if not mask[d] and growth[d] > 0]
        if pairs:
            _, i, d = min(pairs)
            mask[i], mask[d] = False, True
        elif idle:
            mask[idle[0]] = True
        else:
            return path
        path += mask


@oracle("merged_zero_index", lambda s: Case((s.integer(1, 20),)))
def merged_zero_index(heads: Any) -> Any:
    """One for each head."""
    return heads


@oracle("escape_rate", _growth, mpmath.mpf)
def escape_rate(lam: Any, task_eigenvalues: Any) -> Any:
    """The Frobenius norm of ΛΩΛ."""
    return mpmath.sqrt(sum(g * g for g in mode_growth(lam, task_eigenvalues)))


def _escape(s: Source) -> Case:
    case = points.spectral(s)
    omega = case.keywords["task_eigenvalues"]
    omega = [w or 1.0 for w in omega] if isinstance(omega, list) else omega
    start = points.positive(s, -12, 0) if s.integer(0, 3) else 2 - points.NEXT
    named = {"task_eigenvalues": omega, "tau": points.positive(s, -2, 2)}
    return Case((start, case.arguments[0]), named)


@oracle("escape_time", _escape, mpmath.mpf)
def escape_time(start: Any, lam: Any, task_eigenvalues: Any, tau: Any) -> Any:
    """ln(1/w) over the rate."""
    return -mpmath.log(start) * tau / escape_rate(lam, task_eigenvalues)

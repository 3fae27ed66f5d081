"""Points of the closed forms of softmax attention: tasks, weights of heads, states of training."""

from __future__ import annotations

from typing import Any

from precision import points
from precision.points import Case, Source


def tasks(s: Source, infinite: bool = True, listed: bool | None = None) -> Case:
    """d, λ, L, σ: one task as scalars, or several."""
    many = s.integer(0, 1) if listed is None else listed
    count = s.integer(1, 6)
    dims: Any = [s.integer(1, 40) for _ in range(count)]
    lam: Any = points.many(s, count, -3, 3)
    if s.integer(0, 3) == 0:
        dims, lam = [dims[0]] * count, [lam[0]] * count
    if not many:
        dims, lam = float(s.pick([1, 2, 3, 10, 1000, 10**9])), lam[0]
    return Case((dims, lam, points.length(s, infinite)), {"noise": points.noise(s)})


def one_task(s: Source, infinite: bool = True) -> Case:
    """Scalars d, λ, L, σ."""
    return tasks(s, infinite, listed=False)


def weights(s: Source, bound: float = 1.0) -> Case:
    """ω (H, d), μ (H, I), d_i, λ_i, L, σ; |ω| <= `bound`."""
    heads, dims = s.integer(1, 4), [s.integer(1, 4) for _ in range(s.integer(1, 3))]
    omega = [[s.uniform(-bound, bound) for _ in range(sum(dims))] for _ in range(heads)]
    if s.integer(0, 4) == 0:
        omega = [[0.0] * sum(dims) for _ in range(heads)]
    mu, lam = points.rows(s, heads, len(dims)), points.many(s, len(dims), -3, 3)
    return Case((omega, mu, dims, lam, points.length(s)), {"noise": points.noise(s)})


def embedding(s: Source) -> float:
    """d_e."""
    return float(s.integer(1, 100))


def small_weight(s: Source, dims: float) -> float:
    """ω̄ with dω̄² from tiny to somewhat above 1, which is its limit."""
    share = s.pick([1.0, points.NEXT, 10.0 ** s.uniform(-12, 0), s.uniform(0.1, 3.0)])
    return float((share / dims) ** 0.5)


def training(s: Source, positive: bool = False) -> Case:
    """ω̄, μ, d, λ, L, d_e, σ of one head on one task."""
    case = one_task(s)
    dims, lam, length = case.arguments
    omega = small_weight(s, dims)
    mu = s.pick([1 / omega, points.positive(s, -6, 0) / omega])
    if not positive and s.integer(0, 6) == 0:
        omega = 0.0
    return Case((omega, mu, dims, lam, length, embedding(s)), case.keywords)


def warmup(s: Source) -> Case:
    """ω̄(0), μ(0), d, λ, d_e with κω̄(0) above, below and near μ(0)."""
    dims, width = float(s.integer(1, 50)), embedding(s)
    omega = points.positive(s, -6, -1)
    kappa = dims * width**0.5
    ratio = s.pick([1.0, 1 + 1e-9, 10.0 ** s.uniform(-6, 6), s.uniform(0.5, 2.0)])
    return Case((omega, kappa * omega * ratio, dims, points.positive(s, -2, 2), width))

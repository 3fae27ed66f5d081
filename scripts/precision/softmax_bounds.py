"""Oracles of what heads can reach."""

from __future__ import annotations

from typing import Any

from mpmath import mp, mpf

from precision import points
from precision import softmax_points as draw
from precision.exact import Sized, oracle
from precision.points import Case, Source
from precision.softmax_losses import e, limit_loss, ratios


def _allocation(s: Source) -> Case:
    case = draw.tasks(s, infinite=False, listed=True)
    count = len(case.arguments[0])
    nu = [s.pick([0.0, 1.0, s.uniform(0, 1)]) for _ in range(count)]
    return Case((nu, *case.arguments), case.keywords)


@oracle("softmax.allocation_loss", _allocation)
def allocation_loss(nu: Any, dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """Σ λdc/(c + ν)."""
    known = ratios(dims, lam, length, noise)
    return sum(a * d * c / (c + v) for (d, a, c), v in zip(known, nu, strict=True))


def filled(known: Any, budget: Any, cap: Any = None) -> list[Any]:
    """Water-filling by its definition: the level at which Σν = budget, on its linear piece."""
    weight = [mp.sqrt(d * a * (d + x)) for d, a, _, x in known]

    def amounts(level: Any) -> list[Any]:
        raw = [max(level * w - c, mpf(0)) for w, (_, _, c, _) in zip(weight, known, strict=True)]
        return raw if cap is None else [min(r, cap) for r in raw]

    if cap is not None and budget >= cap * len(known):
        return [mpf(cap)] * len(known)
    breaks = [c / w for w, (_, _, c, _) in zip(weight, known, strict=True)]
    if cap is not None:
        breaks += [(c + cap) / w for w, (_, _, c, _) in zip(weight, known, strict=True)]
    low = max(b for b in breaks if sum(amounts(b)) <= budget)
    step = 1 + low
    slope = sum(amounts(low + step)) - sum(amounts(low))
    above = [b for b in breaks if b > low]
    if above:
        step = min(above) - low
        slope = sum(amounts(min(above))) - sum(amounts(low))
    return amounts(low + step * (budget - sum(amounts(low))) / slope)


def world(dims: Any, lam: Any, length: Any, noise: Any) -> list[tuple[Any, Any, Any, Any]]:
    """(d, λ, c, σ²/λ) of every task."""
    return [(d, a, c, noise**2 / a) for d, a, c in ratios(dims, lam, length, noise)]


def _water(s: Source) -> Case:
    case = draw.tasks(s, listed=True)
    budget = s.pick([None, 1.0, s.uniform(0.01, 6)])
    return Case(case.arguments, {**case.keywords, "budget": budget, "cap": s.pick([None, 1.0])})


@oracle("softmax.water_filling", _water, mpf)
def water_filling(dims: Any, lam: Any, length: Any, noise: Any, budget: Any, cap: Any) -> Any:
    """ν; the size is the level times its weight, the larger of ν + c and of all that flows."""
    known = world(dims, lam, length, noise)
    nu = filled(known, 1 / e() if budget is None else budget, cap)
    total = sum(nu) + sum(c for _, _, c, _ in known)
    return Sized(nu, [total] * len(nu))


def _listed(s: Source) -> Case:
    return draw.tasks(s, listed=True)


def single_loss(dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """Σ λdc/(c + ν) of the best single head."""
    known = world(dims, lam, length, noise)
    nu = filled(known, 1 / e())
    return sum(a * d * c / (c + v) if c else mpf(0)
               for (d, a, c, _), v in zip(known, nu, strict=True))  # fmt: skip


@oracle("softmax.single_head_optimum", _listed, mpf)
def single_head_optimum(dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """b = eν, ω̄ = √(b/d), μ = √(bd)/(b + ec); a small b has the error of c, ω̄ its root."""
    known = world(dims, lam, length, noise)
    nu = filled(known, 1 / e())
    b = [e() * v for v in nu]
    omega = [mp.sqrt(x / d) for x, (d, *_) in zip(b, known, strict=True)]
    mu = [mp.sqrt(x * d) / (x + e() * c) for x, (d, _, c, _) in zip(b, known, strict=True)]
    total = e() * (sum(nu) + sum(c for _, _, c, _ in known))
    # δ√b = δb/(√b + √(b + δb)): relative to b where b is large, √δb where it is small.
    lift = [total / x if x > 0 else total for x in b]
    sizes = [[total] * len(b), [w * f or 1 for w, f in zip(omega, lift, strict=True)],
             [m * f or 1 for m, f in zip(mu, lift, strict=True)]]  # fmt: skip
    loss = single_loss(dims, lam, length, noise)
    return Sized((b, omega, mu, loss), (*sizes, loss))


def _assigned(s: Source, lengths: bool = True) -> Case:
    case = draw.tasks(s, listed=True, infinite=False)
    count = len(case.arguments[0])
    heads = [s.integer(0, count - 1) for _ in range(count)]
    kept = case.arguments if lengths else case.arguments[:2]
    return Case((heads, *kept), case.keywords)


def groups(heads: Any) -> list[list[int]]:
    """Tasks by head."""
    return [[i for i, h in enumerate(heads) if h == head] for head in sorted(set(heads))]


@oracle("softmax.allocated_loss", _assigned, mpf)
def allocated_loss(heads: Any, dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """The best single heads of the groups."""
    return sum(
        single_loss([dims[i] for i in part], [lam[i] for i in part], length, noise=noise)
        for part in groups(heads)
    )


@oracle("softmax.separation", _assigned, mpf)
def separation(heads: Any, dims: Any, lam: Any, length: Any, noise: Any) -> Any:
    """One head over many."""
    return single_loss(dims, lam, length, noise) / allocated_loss(heads, dims, lam, length, noise)


@oracle("softmax.separation_limit", lambda s: _assigned(s, lengths=False), mpf)
def separation_limit(heads: Any, dims: Any, lam: Any, noise: Any) -> Any:
    """(Σw)² over Σ (Σw)² by head."""
    w = [mp.sqrt(d * (a * d + noise**2)) for d, a in zip(dims, lam, strict=True)]
    return sum(w) ** 2 / sum(sum(w[i] for i in part) ** 2 for part in groups(heads))


def _angles(s: Source) -> Case:
    heads, a = s.integer(1, 6), s.pick([0.0, points.positive(s, -9, 1)])
    low = -a / (heads - 1) if heads > 1 else 0.0
    b = s.pick([0.0, a, a * (1 - 1e-9), low, s.uniform(low, a)])
    return Case((heads, a, b))


@oracle("softmax.equiangular_allocation", _angles, mpf)
def equiangular_allocation(heads: int, a: Any, b: Any) -> Any:
    """Tr(E⁻¹Ω) by the eigenvalues of E and Ω; the size has |b| in place of b."""
    if heads == 1:
        return Sized(a * mp.exp(-a), a * mp.exp(-a) * (1 + a))
    across = mp.exp(-a) if a == b else (a - b) / (mp.exp(a) - mp.exp(b))
    total = mp.exp(a) + (heads - 1) * mp.exp(b)
    along, size = (a + (heads - 1) * b) / total, (a + (heads - 1) * abs(b)) / total
    return Sized((heads - 1) * across + along, ((heads - 1) * across + size) * (1 + a))


@oracle("softmax.equiangular_budget", lambda s: Case((s.integer(1, 50),)), mpf)
def equiangular_budget(heads: int) -> Any:
    """1/e, or H − 1."""
    return 1 / e() if heads == 1 else mpf(heads - 1)


def _bounded(s: Source) -> Case:
    case = draw.tasks(s, listed=True, infinite=False)
    return Case((*case.arguments, s.integer(1, 6)), case.keywords)


@oracle("softmax.lower_bound", _bounded, mpf)
def lower_bound(dims: Any, lam: Any, length: Any, heads: int, noise: Any) -> Any:
    """Water-filling of 1/e, or of H − 1 with at most 1 for each task."""
    known = world(dims, lam, length, noise)
    nu = filled(known, 1 / e()) if heads == 1 else filled(known, mpf(heads - 1), mpf(1))
    return sum(a * d * c / (c + v) for (d, a, c, _), v in zip(known, nu, strict=True))


@oracle("softmax.optimality_ratio", _bounded, mpf)
def optimality_ratio(dims: Any, lam: Any, length: Any, heads: int, noise: Any) -> Any:
    """The limit over the bound."""
    return limit_loss(dims, lam, length, noise) / lower_bound(dims, lam, length, heads, noise)

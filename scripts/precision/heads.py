"""Oracles of one head on one mode, heads of rank R, white tokens, and units.

The velocities are −½ ∂L/∂W of the loss; times and time courses solve τ v̇ = g v² − c v⁵ and
τ ṁ = 2√D m (λ²ω − sλm).
"""

from __future__ import annotations

import math
from typing import Any

import mpmath

from precision import points
from precision.exact import Sized, oracle
from precision.modes import inverse, world
from precision.points import Case, Source


def _scalar(s: Source) -> Case:
    growth, curvature = points.positive(s), points.positive(s)
    v = points.signed(s) * (growth / curvature) ** (1 / 3)
    return Case((v, growth, curvature), {"tau": points.positive(s, -2, 2)})


@oracle("value_velocity", _scalar)
def value_velocity(v: Any, growth: Any, curvature: Any, tau: Any) -> Any:
    """G v² − c v⁵."""
    sizes = (growth * v**2 + curvature * abs(v) ** 5) / tau
    return Sized((growth * v**2 - curvature * v**5) / tau, sizes)


@oracle(
    "learning_time",
    lambda s: Case((points.positive(s, -9, 0), points.positive(s)), {"tau": points.positive(s)}),
)
def learning_time(start: Any, growth: Any, tau: Any) -> Any:
    """τ/(g v₀)."""
    return tau / (growth * start)


def _reach(s: Source) -> Case:
    growth, curvature = points.positive(s), points.positive(s)
    limit = (growth / curvature) ** (1 / 3)
    shares = [10.0 ** s.uniform(-6, -0.01), 1 - 10.0 ** s.uniform(-9, -1)]
    start = limit * s.pick(shares)
    end = s.pick([limit * s.pick(shares), start * (1 + s.pick([-1.0, 1.0, 64.0]) * 2.0**-52)])
    return Case((min(end, limit * (1 - 1e-10)), start, growth, curvature), {"tau": 1.5})


@oracle("time_to_reach", _reach, mpmath.mpf)
def time_to_reach(v: Any, start: Any, growth: Any, curvature: Any, tau: Any) -> Any:
    """∫ dv/(g v² − c v⁵) by partial fractions over the cube roots of g/c."""
    b = mpmath.cbrt(growth / curvature)
    roots = [b, b * mpmath.expjpi(mpmath.mpf(2) / 3), b * mpmath.expjpi(-mpmath.mpf(2) / 3)]

    def primitive(x: Any) -> Any:
        # 1/(v²(b³ − v³)) = b⁻³/v² + Σ_r A_r/(v − r), A_r = 1/(r² · (−3r²)).
        return -1 / (b**3 * x) - sum(mpmath.log(x - r) / (3 * r**4) for r in roots)

    t = tau / curvature * (primitive(v) - primitive(start)).real
    left = 1 - (max(v, start) / b) ** 3
    return Sized(t, abs(t) / left)


def _ranked(s: Source) -> Case:
    heads, rank, size = s.integer(1, 3), s.integer(1, 3), s.integer(1, 5)
    modes = [[s.integer(0, size - 1) for _ in range(rank)] for _ in range(heads)]
    v, kappa = points.rows(s, 1, heads)[0], points.rows(s, heads, rank)
    growth, curvature = points.many(s, size, -3, 3), points.many(s, size, -3, 3)
    return Case((v, kappa, modes, growth, curvature), {"tau": points.positive(s, -2, 2)})


@oracle("low_rank_velocity", _ranked)
def low_rank_velocity(v: Any, kappa: Any, modes: Any, growth: Any, curvature: Any, tau: Any) -> Any:
    """Derivatives of ½(2 Σ g m − Σ c m²), m_d = Σ v κ², by v, and by k and q, one each."""
    pairs = [(h, r, int(d)) for h, row in enumerate(modes) for r, d in enumerate(row)]
    answer = []
    for sign in (-1, 1):
        m = [sum((abs(v[h]) if sign > 0 else v[h]) * kappa[h][r] ** 2
                 for h, r, e in pairs if e == d) for d in range(len(growth))]  # fmt: skip
        force = [g + sign * c * x for g, c, x in zip(growth, curvature, m, strict=True)]
        by_v = [sum(kappa[h][r] ** 2 * force[d] for k, r, d in pairs if k == h) / tau
                for h in range(len(v))]  # fmt: skip
        answer.append((by_v, [v[h] * kappa[h][r] * force[d] / tau for h, r, d in pairs]))
    return Sized(*answer)


def _aligned(s: Source) -> Case:
    case = points.spectral(s)
    u = points.rows(s, 1, len(case.arguments[0]))[0]
    named = {**case.keywords, "tau": points.positive(s, -2, 2)}
    return Case((points.signed(s), u, *case.arguments), named)


@oracle("aligned_velocity", _aligned)
def aligned_velocity(v: Any, u: Any, lam: Any, length: Any, tau: Any, **rest: Any) -> Any:
    """Derivatives of Σ λ²ω m − ½ Σ sλ m² at m = v u."""
    _, growth, s = world(lam, length, **rest)
    answer = []
    for sign in (-1, 1):
        f = [g + sign * b * a * (v * x if sign < 0 else abs(v * x))
             for g, a, b, x in zip(growth, lam, s, u, strict=True)]  # fmt: skip
        weight = u if sign < 0 else [abs(x) for x in u]
        total = sum(a * b for a, b in zip(weight, f, strict=True))
        answer.append((total / tau, [v * x / tau for x in f]))
    return Sized(*answer)


def _white(s: Source) -> Case:
    size, n = float(points.dimension(s)), points.length(s)
    lam, omega = points.positive(s), points.positive(s, -3, 3)
    norm, tau = points.positive(s, -6, 0), points.positive(s, -2, 2)
    rate = 2 * size**0.5 * lam * lam * omega / tau
    times = [0.0, math.inf, s.uniform(0, 60) / rate, 10.0 ** s.uniform(-9, 3) / rate]
    named = {"eigenvalue": lam, "task_eigenvalue": omega, "noise": points.noise(s), "tau": tau}
    return Case((s.pick(times), norm, size, n), named)


def _course(
    t: Any, norm: Any, size: Any, length: Any,
    eigenvalue: Any, task_eigenvalue: Any, noise: Any, tau: Any,
) -> tuple[Any, Any, Any, Any, Any]:  # fmt: skip
    """m(t), m(∞), rt, and growth and s of each mode."""
    lam, omega, n = eigenvalue, task_eigenvalue, inverse(length)
    growth = lam * lam * omega
    s = growth + n * (growth + (size * lam * omega + noise**2) * lam)
    start, end, power = norm**2 / mpmath.sqrt(size), lam * omega / s, mpmath.inf
    if isinstance(t, float) and math.isinf(t):
        return end, end, mpmath.mpf(0), growth, s
    power = 2 * mpmath.sqrt(size) * growth / tau * t
    grown = mpmath.exp(power)
    return end * start * grown / (end + start * (grown - 1)), end, power, growth, s


@oracle("white_time_course", _white, mpmath.mpf)
def white_time_course(t: Any, *arguments: Any, **named: Any) -> Any:
    """The logistic."""
    m, _, power, _, _ = _course(t, *arguments, **named)
    return Sized(m, m * (1 + power))


@oracle("white_loss_curve", _white, mpmath.mpf)
def white_loss_curve(t: Any, norm: Any, size: Any, length: Any, **named: Any) -> Any:
    """D(λω − 2λ²ω m + sλ m²), sized by its end and |m − m(∞)|(|m − m(∞)|(1 + rt) + m)."""
    m, end, power, growth, s = _course(t, norm, size, length, **named)
    lam = named["eigenvalue"]
    loss = size * (growth / lam - 2 * growth * m + s * lam * m * m)
    least, gap = size * growth / lam * (s - growth) / s, abs(m - end)
    if gap == 0:
        loss = least
    return Sized(loss, least + size * s * lam * gap * (gap * (1 + power) + m))


def _units(s: Source) -> Case:
    named = {"loss_factor": points.positive(s, -3, 3), "context_scale": points.positive(s, 0, 9),
             "factors": s.integer(1, 3), "tau": points.positive(s, -2, 2)}  # fmt: skip
    return Case((float(s.integer(1, 10**6)), points.positive(s, -6, 0)), named)


def _converted(convention: Any, case: Case) -> list[float]:
    run, (steps, rate) = convention(**case.keywords), case.arguments
    return [run.flow_time(steps, rate), run.steps(steps, rate), run.loss(rate), run.weights(rate)]


@oracle("Convention", _units, mpmath.mpf, call=_converted)
def convention(
    steps: Any, rate: Any, loss_factor: Any, context_scale: Any, factors: Any, tau: Any
) -> Any:
    """Time of steps, steps of a time, loss and weights."""
    root = mpmath.mpf(context_scale) ** (mpmath.mpf(1) / factors)
    each = 2 * rate * loss_factor * root**2 * tau
    return steps * each, steps / each, rate / loss_factor, rate * root

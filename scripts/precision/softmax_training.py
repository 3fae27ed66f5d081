"""Oracles of the phases of training of one head on one task.

dμ/dt = 4λd μ [ω̄ − μω̄² − E μ] and dω̄/dt = (4λ/√d_e) ω̄μ [1 − μω̄ − dE μω̄ ], E = (φ/L)e^{dω̄²}.
"""

from __future__ import annotations

from typing import Any

from mpmath import mp, mpf

from precision import points
from precision import softmax_points as draw
from precision.exact import Sized, oracle
from precision.modes import inverse
from precision.points import Case, Source


def clutter(w: Any, d: Any, lam: Any, length: Any, noise: Any) -> Any:
    """E."""
    return inverse(length) * (1 + noise**2 / (lam * d)) * mp.exp(d * w * w)


def velocity(
    w: Any, mu: Any, d: Any, lam: Any, length: Any, width: Any, noise: Any, sign: int = -1
) -> tuple[Any, Any]:
    """Dω̄/dt and dμ/dt; with `sign` 1 the sums of the sizes of their terms."""
    E, root = clutter(w, d, lam, length, noise), mp.sqrt(width)
    by_w = 4 * lam / root * w * mu * (1 + sign * mu * w + sign * d * E * mu * w)
    return by_w, 4 * lam * d * mu * (w + sign * mu * w * w + sign * E * mu)


@oracle("softmax.balanced_velocity", draw.training, mpf)
def balanced_velocity(
    w: Any, mu: Any, d: Any, lam: Any, length: Any, width: Any, noise: Any
) -> Any:
    """Both."""
    given, steep = (w, mu, d, lam, length, width, noise), 1 + d * w * w
    return Sized(velocity(*given), [steep * x for x in velocity(*given, sign=1)])


def _shares(s: Source) -> Case:
    case = draw.training(s, positive=True)
    return Case(case.arguments[:5], case.keywords)


@oracle("softmax.neglected_share", _shares, mpf)
def neglected_share(w: Any, mu: Any, d: Any, lam: Any, length: Any, noise: Any) -> Any:
    """1 less each bracket over its first term."""
    E = clutter(w, d, lam, length, noise)
    return mu * w * (1 + d * E), mu * w + E * mu / w


def _phase(s: Source) -> Case:
    case = _shares(s)
    named = {"share": s.uniform(0.1, 0.9), "closeness": s.uniform(0.01, 0.9)}
    return Case(case.arguments, {**case.keywords, **named})


@oracle("softmax.training_phase", _phase, mpf)
def training_phase(*given: Any, noise: Any, share: Any, closeness: Any) -> Any:
    """0 while the share is below, 2 once dω̄² is near 1."""
    if neglected_share(*given, noise=noise)[0] < share:
        return 0
    return 2 if abs(1 - given[2] * given[0] ** 2) <= closeness else 1


def _equilibrium(s: Source) -> Case:
    case = draw.one_task(s)
    return Case((draw.small_weight(s, case.arguments[0]), *case.arguments), case.keywords)


@oracle("softmax.equilibrium_value", _equilibrium, mpf)
def equilibrium_value(w: Any, d: Any, lam: Any, length: Any, noise: Any) -> Any:
    """The zero of dμ/dt in μ."""
    return w / (w * w + clutter(w, d, lam, length, noise))


def _emergence(s: Source) -> Case:
    case = draw.one_task(s, infinite=False)
    w = draw.small_weight(s, case.arguments[0])
    return Case((w, *case.arguments, draw.embedding(s)), case.keywords)


@oracle("softmax.emergence_velocity", _emergence, mpf)
def emergence_velocity(w: Any, d: Any, lam: Any, length: Any, width: Any, noise: Any) -> Any:
    """Dω̄/dt at that μ; the size has 1 + dω̄² for 1 − dω̄²."""
    mu = equilibrium_value(w, d, lam, length, noise)
    value = velocity(w, mu, d, lam, length, width, noise)[0]
    E = clutter(w, d, lam, length, noise)
    scale = 4 * lam / mp.sqrt(width) * w * w * E * (1 + d * w * w) ** 2 / (w * w + E) ** 2
    return Sized(value, scale)


def _rate(s: Source) -> Case:
    case = draw.one_task(s)
    return Case((*case.arguments, draw.embedding(s)), case.keywords)


@oracle("softmax.convergence_rate", _rate, mpf)
def convergence_rate(d: Any, lam: Any, length: Any, width: Any, noise: Any) -> Any:
    """−2dω̄ · d(dω̄/dt)/d(dω̄²) at dω̄² = 1."""
    E, w2 = clutter(1 / mp.sqrt(d), d, lam, length, noise), 1 / d
    return 8 * lam / mp.sqrt(width) * mp.sqrt(d) * w2 * E / (w2 + E) ** 2


def _invariant(s: Source) -> Case:
    case = draw.training(s, positive=True)
    w, mu, d, lam, length, width = case.arguments
    sigma = (lam * d) ** 0.5 * s.pick([0.0, s.uniform(0, 2)])
    long = max(length, d * width**0.5 * s.pick([0.1, 1.0, 10.0]), 1.0)
    return Case((w, mu, d, lam, long, width), {"noise": sigma})


@oracle("softmax.warmup_invariant", _invariant, mpf)
def warmup_invariant(w: Any, mu: Any, d: Any, lam: Any, length: Any, width: Any, noise: Any) -> Any:
    """ω̄^p (μ − κω̄/(1 + p)); the power multiplies the rounding of p by |ln ω̄|."""
    kappa = d * mp.sqrt(width)
    p = kappa * (1 + noise**2 / (lam * d)) * inverse(length)
    drop = kappa * w / (1 + p)
    return Sized(w**p * (mu - drop), w**p * (mu + drop) * (1 + p * abs(mp.log(w))))


def course(t: Any, w0: Any, m0: Any, d: Any, lam: Any, width: Any) -> tuple[Any, Any, Any]:
    """ω̄, μ and what is left of the denominator, 1 at t = 0 and 0 at the blow-up."""
    root = mp.sqrt(width)
    kappa = d * root
    C = m0 - kappa * w0
    if C == 0:
        left = 1 - 4 * lam / root * m0 * t
        return w0 / left, m0 / left, left
    grown = mp.exp(4 * lam * C / root * t)
    w = C * w0 * grown / (m0 - kappa * w0 * grown)
    return w, C + kappa * w, (m0 - kappa * w0 * grown) / C


def _timed(s: Source) -> Case:
    case = draw.warmup(s)
    end = float(blow_up_time(*map(mpf, case.arguments)))
    share = s.pick([0.0, s.uniform(0, 0.9), 1 - 10.0 ** s.uniform(-6, -1)])
    return Case((end * share, *case.arguments))


def blow_up_time(w0: Any, m0: Any, d: Any, lam: Any, width: Any) -> Any:
    """The zero of the denominator."""
    root = mp.sqrt(width)
    C = m0 - d * root * w0
    if C == 0:
        return root / (4 * lam * m0)
    return root / (4 * lam * C) * mp.log(m0 / (d * root * w0))


oracle("softmax.blow_up_time", draw.warmup, mpf)(blow_up_time)


@oracle("softmax.warmup_time_course", _timed, mpf)
def warmup_time_course(t: Any, *start: Any) -> Any:
    """ω̄ and μ; the size grows with the exponent, and as the blow-up is approached."""
    w, mu, left = course(t, *start)
    w0, m0, d, lam, width = start
    power = 4 * lam / mp.sqrt(width) * t * (m0 + d * mp.sqrt(width) * w0)
    stretch = (1 + power) * (1 + 1 / left)
    return Sized((w, mu), (w * stretch, mu * stretch))


def time_of(w: Any, w0: Any, m0: Any, d: Any, lam: Any, width: Any) -> Any:
    """∫ dω̄ √d_e/(4λ μω̄) along μ = C + κω̄."""
    root = mp.sqrt(width)
    C = m0 - d * root * w0
    if C == 0:
        return root / (4 * lam) * (1 / w0 - 1 / w) / (d * root)
    return root / (4 * lam * C) * mp.log(w * m0 / (w0 * (C + d * root * w)))


def _reach(s: Source) -> Case:
    case = draw.warmup(s)
    w0, m0, d, _, width = case.arguments
    factor = s.pick([10.0 ** s.uniform(0, 6), points.NEXT, 1 + 10.0 ** s.uniform(-9, 0)])
    if s.integer(0, 3) == 0:  # an earlier value, above the infimum −C/κ
        factor = 1 - s.uniform(0.01, 0.9) * min(1.0, m0 / (d * width**0.5 * w0))
    return Case((w0 * factor, *case.arguments))


@oracle("softmax.warmup_time", _reach, mpf)
def warmup_time(w: Any, w0: Any, m0: Any, d: Any, lam: Any, width: Any) -> Any:
    """The time; before the start μ = m0 − κ(ω̄₀ − ω̄) cancels, and the size has m0/μ."""
    t = time_of(w, w0, m0, d, lam, width)
    mu = m0 + d * mp.sqrt(width) * (w - w0)
    return Sized(t, abs(t) * (1 + m0 / mu) if w < w0 else t)


def _ended(s: Source) -> Case:
    case = draw.warmup(s)
    w0, m0, d, lam, width = case.arguments
    scale = min(1.0, (0.01 / (w0 * m0)) ** 0.5)
    length, sigma = 10 * d * s.uniform(1, 1e3), s.pick([0.0, lam**0.5 * s.uniform(0, 1)])
    arguments = (w0 * scale, m0 * scale, d, lam, length, width)
    return Case(arguments, {"noise": sigma, "share": s.uniform(0.3, 0.9)})


@oracle("softmax.warmup_end", _ended, mpf)
def warmup_end(
    w0: Any, m0: Any, d: Any, lam: Any, length: Any, width: Any, noise: Any, share: Any
) -> Any:
    """Where μω̄(1 + c) = share on μ = C + κω̄."""
    kappa = d * mp.sqrt(width)
    C = m0 - kappa * w0
    product = share / (1 + (d + noise**2 / lam) / length)
    w = (-C + mp.sqrt(C * C + 4 * kappa * product)) / (2 * kappa)
    return time_of(w, w0, m0, d, lam, width), w, C + kappa * w

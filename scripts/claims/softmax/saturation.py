"""S12: attention from uniform over exponential to condensed, by E Σp² of L Gaussian scores.

Scores are N(0, ‖ω‖²) at d → ∞; at finite d the query's norm spreads their variance. What follows is
for the mean of Σp² over contexts: from ⅔ ln L on it is carried by rare ones, in which one token
takes all. As ln ln L/ln L has to become small, ln L runs from 14 to 166.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, claim, shrinks
from numerics.softmax._quadrature import power_sums
from numerics.softmax.exact import attention_moments

Array = np.ndarray
_STEP = 0.2  # of trapezoidal rules, whose error at it is below 1e-8


def participation(squared_norm: float, length: int, dim: int | None = None) -> float:
    """E Σp² at ‖ω‖² and L, of a head on d equal coordinates or, at d → ∞, of N(0, ‖ω‖²) scores."""
    if dim is None:
        return float(power_sums(np.sqrt([squared_norm]), length, _STEP)[0][0])
    return attention_moments(math.sqrt(squared_norm / dim), dim, length).participation


def half_point(length: int) -> float:
    """The ‖ω‖² at which L E Σp² has fallen to half of e^{‖ω‖²}, d → ∞."""
    from scipy.optimize import brentq

    scale = math.log(length)

    def gap(norm: float) -> float:
        return math.log(participation(norm, length)) + scale - norm + math.log(2)

    return float(brentq(gap, 0.1 * scale, 1.2 * scale, xtol=1e-6))


@claim(
    "S12",
    source="[S] (two regimes); derived",
    kind="asymptotic",
    statement="L·EΣp² = exp ‖ω‖² up to ⅔ ln L; beyond 2 ln L EΣp² = 1 − √(2 ln L/‖ω‖²), not yet 1",
    regime="L → ∞, scores of equal variance, mean over contexts; at finite d (1 − 2‖ω‖²/d)^(−d/2)",
)
def exponential_and_saturated(settings: Settings) -> Evidence:
    """Fixed ‖ω‖², where the exponential ends, exponents between, and shares beyond."""
    lengths = [10**n for n in settings.choose((24, 48, 72), (12, 24, 48, 72))]
    scales = np.log([float(L) for L in lengths])
    ends = np.array([half_point(L) for L in lengths])
    checks = [
        *_exponential(settings),
        shrinks("‖ω‖²/ln L where L·EΣp² is half of exp ‖ω‖², ⅔", scales, [2 / 3] * len(scales),
                ends / scales, -1.0, "at u = ⅔ both branches are of one size: ‖ω‖² is off by O(1)",
                wrong=[0.5] * len(scales)),
        *_between(lengths, scales),
        _condensed(lengths, scales),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        u = np.linspace(0.02, 6, 40)
        for L, colour in zip((10**3, 10**6, 10**24), style.shades(3), strict=True):
            scale = math.log(L)
            ax.plot(u, [math.log(participation(x * scale, L)) / scale for x in u], color=colour,
                    lw=2.4, label=f"L = $10^{{{round(math.log10(L))}}}$")  # fmt: skip
        style.predicted(ax, u, closed.participation_exponent(u), label="L → ∞")
        ax.set_xlabel("‖ω‖²/ln L")
        ax.set_ylabel("ln(EΣp²)/ln L")
        ax.legend()

    powers = ", ".join(str(len(str(L)) - 1) for L in lengths)
    offsets = ", ".join(f"{end - 2 / 3 * s:.3f}" for end, s in zip(ends, scales, strict=True))
    halves = closed.condensed_participation(8.0)
    return Evidence(
        checks, draw,
        f"L·EΣp² is half of exp ‖ω‖² at ‖ω‖² = ⅔ ln L plus {offsets} for log10 L = {powers}; "
        f"EΣp² is {halves:g} only at ‖ω‖² = 8 ln L",
    )  # fmt: skip


def _exponential(settings: Settings) -> list[Check]:
    lengths = [10**n for n in settings.choose((4, 5, 6), (3, 4, 5, 6, 7, 8))]
    because = "the delta method's next order, of 1/L"
    checks = []
    for dim, norm in ((None, 0.5), (None, 1.5), (10, 0.5), (10, 1.0)):
        measured = [L * participation(norm, L, dim) for L in lengths]
        growth = math.exp(norm) if dim is None else (1 - 2 * norm / dim) ** (-dim / 2)
        wrong = 1 + norm if dim is None else math.exp(norm)
        size = "∞" if dim is None else str(dim)
        checks.append(shrinks(f"L·EΣp² at ‖ω‖² = {norm:g}, d = {size}", lengths,
                              [growth] * len(lengths), measured, -1.0, because,
                              wrong=[wrong] * len(lengths)))  # fmt: skip
    return checks


def _between(lengths: list[int], scales: Array) -> list[Check]:
    """Where rare contexts carry the mean: its exponent in L, and itself in the middle."""
    wide, middle = np.array([0.8, 1.0, 1.3, 1.7]), np.array([0.9, 1.0, 1.1])

    def logs(loads: Array) -> Array:
        return np.array([[math.log(participation(u * s, L)) for u in loads]
                         for L, s in zip(lengths, scales, strict=True)])  # fmt: skip

    typical = closed.participation_exponent(middle, mean=False)
    return [
        shrinks("ln(EΣp²)/ln L at ‖ω‖²/ln L = 0.8, 1, 1.3, 1.7", scales,
                [closed.participation_exponent(wide)] * len(scales),
                logs(wide) / scales[:, None], -1.0, "factors that are powers of ln L",
                wrong=[np.minimum(wide - 1, -0.01)] * len(scales)),
        shrinks("EΣp² at ‖ω‖²/ln L = 0.9, 1, 1.1", scales,
                [closed.rare_participation(middle, float(L)) for L in lengths],
                np.exp(logs(middle)), -1.0, "the next order in 1/ln L",
                wrong=[np.exp(typical * s) for s in scales]),
    ]  # fmt: skip


def _condensed(lengths: list[int], scales: Array) -> Check:
    loads = np.array([4.0, 8.0, 16.0, 32.0])
    measured = [[participation(u * s, L) for u in loads]
                for L, s in zip(lengths, scales, strict=True)]  # fmt: skip
    return shrinks("EΣp² at ‖ω‖²/ln L = 4, 8, 16, 32", scales,
                   [closed.condensed_participation(loads)] * len(scales), measured, -1.0,
                   "the largest of L scores is below √(2 ln L) by a relative ln ln L/ln L",
                   wrong=np.ones((len(scales), len(loads))))  # fmt: skip

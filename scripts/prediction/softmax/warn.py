"""What a reader of a softmax prediction has to know before trusting it."""

from __future__ import annotations

import math

import numpy as np

from .phases import Phases
from .theory import CONVERGED, Prediction, together

FAR = 0.2  # relative error of the formula from which it is said
NEGLECTED = 0.5


def find_warnings(prediction: Prediction, phases: list[Phases] | None) -> list[str]:
    """Return one sentence for each reservation."""
    return [*_length(prediction), *_limit(prediction), *_saddle(prediction), *_status(prediction),
            *_phases(phases)]  # fmt: skip


def _length(prediction: Prediction) -> list[str]:
    if prediction.length > 1:
        return []
    return ["with one context pair attention has nothing to choose: the best head is none"]


def _limit(prediction: Prediction) -> list[str]:
    limit = prediction.limit
    if limit is None:
        return [f"no limit of the flow, nor exact losses: {prediction.missing}"]
    off = float(limit.losses.sum()) / together(limit.exact).value - 1
    if abs(off) < FAR:
        return []
    return [f"the formula of the limit is {100 * off:+.3g} % off at its own weights: this (d, L) "
            "is far from the regime of the formulas"]  # fmt: skip


def _saddle(prediction: Prediction) -> list[str]:
    limit, heads = prediction.limit, prediction.tasks.heads
    if limit is None or heads == 1:
        return []
    ways, rates = prediction.tasks.count * (heads - 1), limit.escape_rates
    low, high = (f"{float(x):.4g}" for x in (rates.min(), rates.max()))
    span = f"at rate {high}" if low == high else f"at rates {low} to {high}"
    rounding = -math.log(np.finfo(float).eps) / float(rates.max())
    return [f"the limit is a saddle off the balanced manifold: {ways} unstable directions {span}; "
            f"from |o − v| = δ the flow leaves it after ln(1/δ)/{high}, from rounding alone after "
            f"{rounding:.2g}"]  # fmt: skip


def _status(prediction: Prediction) -> list[str]:
    found = []
    if prediction.limit is not None:
        found += [("at the limit", loss.status) for loss in prediction.limit.exact]
        found += [("of the best heads", best.status) for best in prediction.limit.optima]
    if prediction.generalisation is not None:
        both = prediction.generalisation.exact + prediction.generalisation.exact_optimum
        found += [("at the test length", loss.status) for loss in both]
    failed = dict.fromkeys(entry for entry in found if entry[1] != CONVERGED)
    return [f"the exact loss {where}: {status}" for where, status in failed]


def _phases(phases: list[Phases] | None) -> list[str]:
    if phases is None:
        return []
    found = []
    if any(p.warmup_time is None for p in phases):
        found.append("--init lies beyond the warm-up of some tasks: its duration is not predicted")
    if any(p.mu_share > NEGLECTED for p in phases if p.warmup_time is not None):
        found.append("--init has ω0 small against φμ0/L: context noise shrinks μ first, and the "
                     "warm-up takes longer than predicted")  # fmt: skip
    return found

"""What a reader of a prediction has to know before trusting it."""

from __future__ import annotations

import numpy as np

from .theory import TIE, Prediction

NOT_SMALL = 0.1


def find_warnings(prediction: Prediction, scale: float | None) -> list[str]:
    """Return one sentence for each reservation about a prediction.

    `scale` is that of weights that were drawn, None for somebody's own.
    """
    found = [
        *_order(prediction),
        *_rotation(prediction),
        *_weights(prediction, scale),
        *_tokens(prediction),
        *_pairs(prediction),
    ]
    dead = np.flatnonzero(prediction.gains[: prediction.count] == 0)
    if len(dead):
        found.append(f"never learned, because ω = 0: mode {_names(dead)}")
    if prediction.cascade is None:
        found.append("drop times are not predicted for as many modes and heads as here")
    elif np.isnan(prediction.drop_times).any():  # type: ignore[arg-type]
        found.append(f"not all drop times could be predicted ({prediction.cascade.status})")
    return found


def _names(modes: object) -> str:
    return ", ".join(str(d + 1) for d in modes)  # type: ignore[attr-defined]


def _short(prediction: Prediction) -> bool:
    return prediction.model.pairs < len(prediction.growth)


def _order(prediction: Prediction) -> list[str]:
    if prediction.cascade is None:
        return []
    drawn = [d for d in prediction.cascade.learned if d < prediction.count]
    growth = prediction.growth[drawn]
    if (growth[1:] <= growth[:-1] * (1 + TIE)).all():
        return []
    return [f"these initial weights learn the modes in the order {_names(drawn)}: they are not "
            "small enough, or not even enough, for the order of growth λ²ω"]  # fmt: skip


def _rotation(prediction: Prediction) -> list[str]:
    unstable = [m for m, index in enumerate(prediction.stability) if index]
    if not unstable:
        return []
    names = _names(m - 1 for m in unstable)
    return [f"stability index > 0 at M_{names.replace(', ', ', M_')}: a mode not yet learned "
            "lowers the loss by more than one already learned, although it grows more slowly. A "
            "head turns to it: an extra drop, to a plateau beyond M_0 … M_D (see the path), after "
            "which the predicted drop times do not hold"]  # fmt: skip


def _weights(prediction: Prediction, scale: float | None) -> list[str]:
    alive = prediction.gains[: prediction.count] > 0
    growth = prediction.growth[: prediction.count][alive]
    gains = prediction.gains[: prediction.count][alive]
    # A head stops at v = (growth/curvature)^{1/3}, curvature = growth²/gain ([L] Eq. 20).
    least = float(np.min(gains / growth) ** (1 / 3))
    size = float(np.sqrt(np.mean(prediction.initial**2))) if scale is None else scale
    if size < NOT_SMALL * least:
        return []
    advice = "" if scale is None else "; lower --init"
    return [f"initial weights of {size:.4g} are not small against {least:.3g}, what a head learns: "
            f"plateaus are short and drop times rough{advice}"]  # fmt: skip


def _tokens(prediction: Prediction) -> list[str]:
    if prediction.commuting:
        return []
    return ["S does not commute with Λ: plateaus are exact, drop times after the first rough: "
            "measure them with --flow"]  # fmt: skip


def _pairs(prediction: Prediction) -> list[str]:
    if not _short(prediction):
        return []
    return [f"{prediction.model.heads} heads of rank {prediction.model.rank} hold "
            f"{prediction.model.pairs} of the {len(prediction.growth)} modes: training cannot "
            "reach the minimum loss"]  # fmt: skip

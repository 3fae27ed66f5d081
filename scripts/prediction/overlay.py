"""Somebody's run in our units, of whichever model: its steps and losses, its start and its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytic import Convention
from results import note

Array = NDArray[Any]
NAME, COLOUR = "your run", "#CC79A7"
STRANGE = 0.25  # beyond the noise of a batch of some hundred sequences: another unit


@dataclass(frozen=True, eq=False)
class Curve:
    """A loss curve in our units, (T,) each, and the facts of its conversion."""

    t: Array
    loss: Array
    facts: dict[str, Any]


def convert(convention: Convention, rate: float, curve: tuple[Array, Array]) -> Curve:
    """Steps and losses as they were reported, in our units."""
    steps, reported = curve
    loss = np.asarray(convention.loss(reported))
    facts = {
        "time_per_step": float(convention.flow_time(1, rate)),
        "final_loss": float(loss[-1]),
        "loss_factor": convention.loss_factor,
    }
    return Curve(np.asarray(convention.flow_time(steps, rate)), loss, facts)


def settled(loss: Array) -> float:
    """The median of the last tenth of a curve that may be noisy, and may still settle."""
    return float(np.median(loss[-(len(loss) // 10) - 1 :]))


def start_note(start: float, expected: float, shown: str, factor: float) -> list[str]:
    """A line where a run does not start at the loss before learning: its unit may be another."""
    ratio = start / expected
    if abs(ratio - 1) <= STRANGE:
        return []
    return [
        note(f"your run starts at {ratio:.3g} times the loss before learning, {shown}: "
             f"--loss-factor {ratio * factor:.2g}, another task or a target with noise?")
    ]  # fmt: skip

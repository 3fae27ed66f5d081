"""What a run shows of the plateaus: when it drops, where it rests, and how well that is known."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numerics
from prediction.linear.measured import DIVERGED

from .engine import HELD_OUT, MOST_NUMBERS, Plan, drawn

Array = NDArray[Any]

TEST = "held out"
FEW = 10_000  # sequences from which the error of a held-out loss is estimated


@dataclass(frozen=True, eq=False)
class Measured:
    """A run beside the predicted plateaus, one entry for each; all empty where there are none.

    Attributes
    ----------
    drops : list of float
        The steps at which the held-out loss passes midway between plateaus, inf for never.
    own, held_out : list of float
        Losses on the sample or the batches and on fresh sequences, NaN where not reached.
    errors : list of float
        Standard errors of `held_out`: of a sample of so many sequences.
    """

    drops: list[float]
    own: list[float]
    held_out: list[float]
    errors: list[float]


def measure(plan: Plan, run: numerics.TrainingRun) -> Measured:
    """Read a run at the predicted plateaus.

    A plateau is the median of the recorded losses in the middle half between two drops; where the
    run ends, and still settles, that of the last tenth. What comes when a run has diverged is not
    read.
    """
    losses = plan.theory.losses
    if not losses or not len(run.step):
        return Measured([], [], [], [])
    test = run.tests[TEST]
    sane = _sane(test)
    step = run.step[:sane]
    drops = numerics.drop_times(step, test[:sane], losses).tolist()
    rests = [_rest(step, *ends) for ends in itertools.pairwise([0.0, *drops, math.inf])]
    middles = [run.states[rest[len(rest) // 2]] if len(rest) else None for rest in rests]
    return Measured(drops, _medians(run.loss, rests), _medians(test, rests), _errors(plan, middles))


def _sane(test: Array) -> int:
    """How many recorded losses there are before a run that diverges climbs beyond its start."""
    beyond = np.flatnonzero(test > DIVERGED * test[0])
    return max(1, int(beyond[0])) if len(beyond) else len(test)


def _rest(step: Array, start: float, end: float) -> Array:
    """The rows of a plateau that are far from both of its drops."""
    inside = np.flatnonzero((step >= start) & (step <= end))
    quarter, tenth = len(inside) // 4, len(inside) // 10
    return inside[-tenth - 1 :] if math.isinf(end) else inside[quarter : len(inside) - quarter]


def _medians(curve: Array, rests: list[Array]) -> list[float]:
    return [float(np.median(curve[rest])) if len(rest) else math.nan for rest in rests]


def _errors(plan: Plan, states: list[Array | None]) -> list[float]:
    """Standard deviation of a sequence's square error at each state, over √Q."""
    count = plan.settings["held_out"]
    each = (max(plan.settings["context_length"]) + 1) * (plan.layer.dimension + 1)
    few = max(2, min(count, FEW, int(MOST_NUMBERS // each)))
    blocks = numerics.token_blocks(drawn(plan, few, HELD_OUT))
    errors = []
    for state in states:
        if state is None:
            errors.append(math.nan)
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # from weights at the edge of numbers
            squares = [(plan.layer.predict(state, X) - y) ** 2 for X, y in blocks]
            errors.append(float(np.std(np.concatenate(squares), ddof=1)) / math.sqrt(count))
    return errors

"""Learning rates as functions of the step: rate(i) is that of update i, counted from 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from numerics import _check

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """One rate η for all steps.

    >>> Constant(0.1)(7)
    0.1
    """

    rate: float

    def __post_init__(self) -> None:
        _check.settle(self, rate=_check.real("learning_rate", self.rate, above=0.0))

    def __call__(self, step: int) -> float:
        """η."""
        return self.rate


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up to the peak, then half a cosine down to the floor at the last step.

    rate(i) = peak (i+1)/warmup for i < warmup, then floor + (peak − floor)(1 + cos πs)/2, where s
    runs from 0 at i = warmup to 1 at i = steps − 1; the floor from there on.

    Raises
    ------
    ValueError, TypeError
        If peak ≤ 0, floor < 0 or above the peak, steps < 1, or warmup not in [0, steps].

    Examples
    --------
    >>> rate = Cosine(peak=1.0, steps=6, warmup=2)
    >>> [round(rate(i), 3) for i in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.25, 0.0]
    """

    peak: float
    steps: int
    warmup: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        peak = _check.real("peak", self.peak, above=0.0)
        _check.settle(self, peak=peak, floor=_check.real("floor", self.floor, at_least=0.0))
        if self.floor > peak:
            raise ValueError(f"floor must be <= peak, got {self.floor:g} and {self.peak:g}")
        _check.count("steps", self.steps)
        if _check.count("warmup", self.warmup, 0) > self.steps:
            raise ValueError(f"warmup must be <= steps, got {self.warmup} and {self.steps}")

    def __call__(self, step: int) -> float:
        """Rate of update `step`."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        share = min(1.0, (step - self.warmup) / max(1, self.steps - 1 - self.warmup))
        return self.floor + (self.peak - self.floor) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class StepDecay:
    """Start at `rate`, and multiply it by `factor` after every `every` steps.

    >>> rate = StepDecay(0.1, factor=0.5, every=10)
    >>> rate(9), rate(10), rate(25)
    (0.1, 0.05, 0.025)
    """

    rate: float
    factor: float
    every: int

    def __post_init__(self) -> None:
        rate = _check.real("rate", self.rate, above=0.0)
        _check.settle(self, rate=rate, factor=_check.real("factor", self.factor, above=0.0))
        _check.count("every", self.every)

    def __call__(self, step: int) -> float:
        """Rate of update `step`."""
        return float(self.rate * self.factor ** (step // self.every))


def as_schedule(learning_rate: float | Schedule) -> Schedule:
    """A schedule; a number is a constant one.

    Raises
    ------
    ValueError, TypeError
        If the number is not positive and finite.
    """
    if callable(learning_rate) and not isinstance(learning_rate, type):
        return learning_rate
    return Constant(learning_rate)  # type: ignore[arg-type]

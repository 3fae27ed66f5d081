"""A replayed loss curve beside the one that was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TOLERANCE = 1e-9  # what "the same run" means; linear runs agree far better
DECISIVE = 0.1  # a shift must agree this much better before we believe it


@dataclass(frozen=True, eq=False)
class Comparison:
    """Their loss minus ours, over the steps that both have and where both are finite.

    Attributes
    ----------
    shift : int
        Their entry i is our loss before update i + shift: 0 as documented, 1 if they recorded
        after each update.
    steps : Array of int
        Our steps that were compared.
    given, difference : Array
        Their loss there, and theirs minus ours.
    """

    shift: int
    steps: NDArray[np.integer]
    given: Array
    difference: Array

    @property
    def max_abs(self) -> float:
        """Largest |difference|."""
        return float(np.abs(self.difference).max())

    @property
    def max_relative(self) -> float:
        """Largest |difference| over the loss where it occurs."""
        scale = np.maximum(np.abs(self.given), np.finfo(float).tiny)
        return float((np.abs(self.difference) / scale).max())

    @property
    def first_exceeding(self) -> int | None:
        """Our first step at which |difference| > TOLERANCE."""
        beyond = np.flatnonzero(np.abs(self.difference) > TOLERANCE)
        return int(self.steps[beyond[0]]) if len(beyond) else None


def first_not_finite(given: Array) -> int | None:
    """The first entry that is infinite or NaN."""
    bad = np.flatnonzero(~np.isfinite(given))
    return int(bad[0]) if len(bad) else None


def compare(given: Array, replayed: Array) -> Comparison:
    """Lay theirs over ours, shifted by one if that fits far better."""
    plain, later = _at(given, replayed, 0), _at(given, replayed, 1)
    if len(later.steps) and later.max_abs < DECISIVE * plain.max_abs:
        return later
    return plain


def _at(given: Array, replayed: Array, shift: int) -> Comparison:
    steps = np.arange(len(given)) + shift
    inside = steps < len(replayed)
    steps, theirs = steps[inside], given[inside]
    ours = replayed[steps]
    good = np.isfinite(theirs) & np.isfinite(ours)
    steps, theirs, ours = steps[good], theirs[good], ours[good]
    return Comparison(shift, steps, theirs, theirs - ours)

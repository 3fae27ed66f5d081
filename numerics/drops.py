"""Reading a loss curve: when it drops, and how high its plateaus are.

The definitions here use the measured curve alone, or plateau values that the caller supplies;
nothing is borrowed from the theory that they serve to test.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check, _plot
from numerics._guard import guarded
from numerics._repr import OneLine
from numerics.trajectory import Trajectory

Array = NDArray[Any]


@guarded
def crossing_times(
    t: ArrayLike, loss: ArrayLike, levels: ArrayLike, *, loss_rate: ArrayLike | None = None
) -> Array:
    """First time at which the loss falls to each level; inf if never.

    Between two points the curve is a straight line or, where `loss_rate` = −dL/dt is given, the
    cubic with the right slopes at both ends (fourth-order accurate in the step).

    >>> crossing_times([0, 1, 2], [4.0, 2.0, 1.0], [3.0, 1.5, 0.5]).tolist()
    [0.5, 1.5, inf]
    """
    time = _check.floating_array("t", t, 1)
    curve = _check.floating_array("loss", loss, 1)
    _check.same_length("the length of loss", len(curve), "t", len(time))
    wanted = _check.floating_array("levels", levels, 1)
    slope = None if loss_rate is None else -_check.floating_array("loss_rate", loss_rate, 1)
    if slope is not None:
        _check.same_length("the length of loss_rate", len(slope), "t", len(time))
    found = np.full(len(wanted), np.inf)
    for index, level in enumerate(wanted):
        below = np.flatnonzero(curve <= level)
        if not below.size:
            continue
        i = int(below[0])
        found[index] = time[i]
        if i:
            ends = slice(i - 1, i + 1)
            slopes = None if slope is None else slope[ends] * (time[i] - time[i - 1])
            share = _crossing_share(curve[ends], slopes, level)
            found[index] = time[i - 1] + share * (time[i] - time[i - 1])
    return found


def _crossing_share(values: Array, slopes: Array | None, level: float) -> float:
    """Where in [0, 1] a line, or the cubic Hermite polynomial, first falls to the level."""
    start, end = (float(x) for x in values)
    if slopes is None:
        return (start - level) / (start - end)
    at_start, at_end = (float(x) for x in slopes)
    cubic = 2 * start - 2 * end + at_start + at_end
    square = 3 * (end - start) - 2 * at_start - at_end
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        value = ((cubic * middle + square) * middle + at_start) * middle + start
        low, high = (low, middle) if value <= level else (middle, high)
    return high


def _plateaus(value: ArrayLike) -> Array:
    heights = _check.floating_array("plateaus", value, 1)
    if len(heights) < 2:
        raise ValueError(f"plateaus must be at least 2, with a drop between, got {len(heights)}")
    return heights


@guarded
def drop_times(
    t: ArrayLike, loss: ArrayLike, plateaus: ArrayLike, *, loss_rate: ArrayLike | None = None
) -> Array:
    """Time of each drop: when the loss first crosses midway between consecutive plateaus.

    >>> drop_times([0, 1, 2, 3], [4.0, 2.0, 2.0, 1.0], [4.0, 2.0, 1.0]).tolist()
    [0.5, 2.5]
    """
    heights = _plateaus(plateaus)
    return crossing_times(t, loss, (heights[:-1] + heights[1:]) / 2, loss_rate=loss_rate)


# Weights are right to about rtol = 1e-8, so at rest ‖∂L/∂θ‖² is about 1e-16 of its scale.
_FLOOR = 1e-10


@dataclass(frozen=True, eq=False, repr=False)
class MeasuredPlateaus(OneLine):
    """Drops and plateaus found in a trajectory without being told where to look.

    Attributes
    ----------
    drops : (n,)
        Times of the n peaks of the rate at which the loss falls.
    heights : (n+1,)
        Loss where the trajectory is flattest before the first drop and between consecutive
        drops, and at the end; a run without a drop has the loss of its start alone.
    times : (n+1,)
        When that is.
    indices : (n+1,)
        Where in the trajectory that is.
    """

    drops: Array
    heights: Array
    times: Array
    indices: NDArray[np.integer]

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Mark plateaus by dots and drops by dotted lines, in `ax` or new axes; return the axes.

        Over the run itself: ``find_plateaus(run).plot(run.plot())``.

        >>> from matplotlib.figure import Figure
        >>> found = MeasuredPlateaus(
        ...     np.array([1.0]), np.array([3.0, 2.0]), np.array([0.5, 4.0]), np.array([1, 5])
        ... )
        >>> len(found.plot(Figure().subplots()).lines)
        2
        """
        ax = _plot.axes(ax, "time t")
        for drop in self.drops:
            ax.axvline(float(drop), color=_plot.QUIET, lw=0.9, ls=":", zorder=0)
        _plot.curve(ax, self.times, self.heights, {"ls": "none", "marker": "o", **style})
        return ax


@guarded
def find_plateaus(run: Trajectory, *, contrast: float = 10.0) -> MeasuredPlateaus:
    """Find the drops of a run and the plateaus between them.

    A drop is a peak of −dL/dt that stands out from the valleys on both sides by a factor of at
    least `contrast` (a prominence of ln `contrast` in ln(−dL/dt)). Rates below 1e-10 of the
    largest count as flat: there the integrator's own error moves the loss.

    Raises
    ------
    ValueError
        If `contrast` is not greater than 1.
    """
    from scipy.signal import find_peaks

    contrast = _check.real("contrast", contrast, above=1.0)
    peak = float(run.loss_rate.max())
    log_rate = np.log(np.maximum(run.loss_rate, _FLOOR * peak if peak else 1.0))
    # One more point at each end, as low as the lowest, gives a drop that the run cuts off there
    # a valley on that side too. A fall from the very first point on is no drop.
    padded = np.concatenate([[log_rate.min()], log_rate, [log_rate.min()]])
    peaks = find_peaks(padded, prominence=np.log(contrast))[0] - 1
    peaks = peaks[peaks > 0]
    flattest = [
        start + int(run.loss_rate[start:stop].argmin())
        for start, stop in itertools.pairwise([0, *peaks.tolist()])
    ]
    indices = np.array([*flattest, len(run.t) - 1] if len(peaks) else [0])
    return MeasuredPlateaus(run.t[peaks], run.loss[indices], run.t[indices], indices)


@guarded
def dwell_times(t: ArrayLike, loss: ArrayLike, plateaus: ArrayLike, *, band: float) -> Array:
    """Time spent within ±band·(gap to the nearer neighbouring plateau) of each plateau.

    >>> dwell_times([0, 1, 2, 3], [4.0, 2.0, 2.0, 1.0], [4.0, 2.0, 1.0], band=0.5).tolist()[1]
    1.75
    """
    heights = _plateaus(plateaus)
    band = _check.real("band", band, above=0.0)
    gaps = -np.diff(heights)
    reach = band * np.minimum(np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0]))
    end = float(_check.floating_array("t", t, 1)[-1])
    enter = np.minimum(crossing_times(t, loss, heights + reach), end)
    leave = np.minimum(crossing_times(t, loss, heights - reach), end)
    return np.asarray(leave - enter)

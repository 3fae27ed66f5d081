"""When each run's loss drops: `numerics.crossing_times` and `drop_times` over rows."""

from __future__ import annotations

import math

from gpu import _arrays
from gpu._arrays import Array, namespace

_BISECTIONS = 60


def crossing_times(
    t: Array, loss: Array, levels: Array, *, loss_rate: Array | None = None
) -> Array:
    """First time at which each row's loss falls to each level, (rows, n); inf if never.

    Parameters
    ----------
    t : (T,)
        Increasing times.
    loss : (rows, T)
        Loss at these times.
    levels : (n,) or (rows, n)
        Levels for all rows, or for each.
    loss_rate : (rows, T), optional
        −dL/dt: between two points the curve is then the cubic with the right slopes at both ends,
        fourth-order accurate in the step, and a straight line otherwise.

    Raises
    ------
    ValueError, TypeError
        If the arrays do not fit each other or are not of one kind.

    Examples
    --------
    >>> import numpy as np
    >>> loss = np.array([[4.0, 2.0, 1.0], [4.0, 4.0, 2.0]])
    >>> crossing_times(np.array([0.0, 1.0, 2.0]), loss, np.array([3.0, 0.5])).tolist()
    [[0.5, inf], [1.5, inf]]
    """
    _checked(t, loss, levels, loss_rate)
    xp = namespace(loss)
    wanted = xp.broadcast_to(levels, (loss.shape[0], levels.shape[-1]))
    below = loss[:, None, :] <= wanted[:, :, None]
    first = xp.argmax(xp.astype(below, xp.int8), axis=-1)
    before = xp.where(first > 0, first - 1, first)
    start, end = (xp.take_along_axis(loss, place, axis=1) for place in (before, first))
    step = xp.take(t, xp.reshape(first, (-1,))) - xp.take(t, xp.reshape(before, (-1,)))
    step = xp.reshape(step, wanted.shape)
    if loss_rate is None:
        fall = xp.where(start > end, start - end, xp.ones_like(start))
        share = (start - wanted) / fall
    else:
        falling = [xp.take_along_axis(loss_rate, place, axis=1) for place in (before, first)]
        share = _cubic_share(start, end, -step * falling[0], -step * falling[1], wanted)
    begin = xp.reshape(xp.take(t, xp.reshape(before, (-1,))), wanted.shape)
    return xp.where(xp.any(below, axis=-1), begin + share * step, xp.full_like(step, math.inf))


def _cubic_share(start: Array, end: Array, at_start: Array, at_end: Array, level: Array) -> Array:
    """Where in [0, 1] the cubic Hermite polynomial first falls to the level, by bisection."""
    xp = namespace(start)
    cubic = 2.0 * start - 2.0 * end + at_start + at_end
    square = 3.0 * (end - start) - 2.0 * at_start - at_end
    low, high = xp.zeros_like(start), xp.ones_like(start)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        value = ((cubic * middle + square) * middle + at_start) * middle + start
        low, high = xp.where(value <= level, low, middle), xp.where(value <= level, middle, high)
    return high


def drop_times(t: Array, loss: Array, plateaus: Array, *, loss_rate: Array | None = None) -> Array:
    """Time of each row's drops, (rows, n−1): its loss crosses midway between n plateaus.

    >>> import numpy as np
    >>> loss = np.array([[4.0, 2.0, 2.0, 1.0]])
    >>> drop_times(np.array([0.0, 1.0, 2.0, 3.0]), loss, np.array([4.0, 2.0, 1.0])).tolist()
    [[0.5, 2.5]]
    """
    if getattr(plateaus, "ndim", 0) not in (1, 2) or plateaus.shape[-1] < 2:
        raise ValueError("plateaus must be (n,) or (rows, n) with n >= 2, a drop between two")
    levels = 0.5 * (plateaus[..., :-1] + plateaus[..., 1:])
    return crossing_times(t, loss, levels, loss_rate=loss_rate)


def _checked(t: Array, loss: Array, levels: Array, loss_rate: Array | None) -> None:
    _arrays.floating("t", t, 1)
    _arrays.floating("loss", loss, 2)
    _arrays.floating("levels", levels, 2 if getattr(levels, "ndim", 1) == 2 else 1)
    others = {"t": t, "levels": levels}
    if loss_rate is not None:
        others["loss_rate"] = _arrays.floating("loss_rate", loss_rate, 2)
        if tuple(loss_rate.shape) != tuple(loss.shape):
            raise ValueError(
                f"loss_rate has shape {tuple(loss_rate.shape)}, but loss has {tuple(loss.shape)}"
            )
    for name, value in others.items():
        _arrays.same_kind(name, value, "loss", loss)
    if t.shape[0] != loss.shape[1]:
        raise ValueError(f"t has {t.shape[0]} times, but loss has {loss.shape[1]} in each row")
    if levels.ndim == 2:
        _arrays.same_rows("loss", loss.shape[0], "levels", levels.shape[0])


__all__ = ["crossing_times", "drop_times"]

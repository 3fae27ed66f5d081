"""How records draw themselves: loss against time, plateaus dashed, labels where there are none.

Matplotlib is imported when something is drawn, its settings are left alone and nothing is shown.
New axes come from pyplot, so that a notebook or ``pyplot.show()`` displays them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUIET = "0.6"
DASHES = (0, (4, 3))
LOSS = "loss  E(ŷ − y)²"
PAPER_TIME = "dθ/dt = −∂ℓ/∂θ"
SEEN = 1e-3  # of the range of the loss: a tenth of a line's width in axes of three inches
EARLY = 1e-4  # of the duration, no more in linear time either


def time_label(unit: str) -> str:
    """Name the time axis: steps of an optimiser, or a time in units of τ or of a flow.

    >>> time_label("steps"), time_label("τ")
    ('step', 'time t  [τ]')
    """
    if unit == "steps":
        return "step"
    return f"time t  [{unit}]" if unit == "τ" else f"time t  ({unit})"


def axes(ax: Axes | None, xlabel: str, ylabel: str = LOSS) -> Axes:
    """The axes given or new ones, with labels where they have none."""
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots(layout="constrained")[1]
        ax.spines[["top", "right"]].set_visible(False)
    elif not hasattr(ax, "axhline"):
        raise TypeError(f"ax must be matplotlib Axes or None, got {ax!r}")
    if not ax.get_xlabel():
        ax.set_xlabel(xlabel)
    if not ax.get_ylabel():
        ax.set_ylabel(ylabel)
    return ax


def visible(t: ArrayLike, loss: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """A record (T,) without its first steps, which a logarithmic axis would give most of its room.

    A solver's first step may be 1e-8 of the duration. Left out are times after 0 and before 1e-4 of
    the last one, if the loss still is within 1e-3 of its range of where it started.

    >>> visible([0, 1e-8, 1e-7, 1, 2e3, 1e4], [1, 1, 1, 1, 0.5, 0])[0].tolist()
    [0.0, 1.0, 2000.0, 10000.0]
    """
    time, losses = np.asarray(t, float), np.asarray(loss, float)
    finite = losses[np.isfinite(losses)]
    with np.errstate(invalid="ignore"):  # inf − inf
        still = np.abs(losses - losses[0]) <= SEEN * (np.ptp(finite) if len(finite) else 0.0)
    changed = np.flatnonzero(~still)
    last = changed[0] - 1 if len(changed) else len(time) - 1
    begin = min(EARLY * time[-1], time[max(last, 0)])
    kept = (time == 0) | (time >= begin)
    return time[kept], losses[kept]


def curve(ax: Axes, t: ArrayLike, loss: ArrayLike, style: Mapping[str, Any]) -> None:
    """One curve, or one for each row, all of one colour."""
    rows = np.atleast_2d(np.asarray(loss))
    given: dict[str, Any] = {"lw": 1.4 if len(rows) == 1 else 0.7, **_long(style)}
    for row in rows:
        (line,) = ax.plot(np.asarray(t), row, **given)
        given = {**given, "color": line.get_color(), "label": None}


def plateaus(ax: Axes, heights: ArrayLike) -> None:
    """Dashed lines behind the curves."""
    for height in np.asarray(heights, float):
        ax.axhline(float(height), color=QUIET, lw=0.9, ls=DASHES, zorder=0)


def _long(style: Mapping[str, Any]) -> dict[str, Any]:
    """Matplotlib's short names of what is set here, so that no name is given twice."""
    names = {"linewidth": "lw", "c": "color"}
    return {names.get(name, name): value for name, value in style.items()}

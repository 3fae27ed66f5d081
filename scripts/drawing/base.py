"""What every figure is made of: settings, a table of numbers, and the three functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]
Row = tuple[str, str, str, str, float, str, float]
HEADER = ("panel", "series", "kind", "x_name", "x", "y_name", "y")


@dataclass(frozen=True)
class Settings:
    """The first seed, and whether to make a smaller figure in a second or two."""

    seed: int = 0
    quick: bool = False

    def seeds(self, count: int = 6) -> tuple[int, ...]:
        """The seeds of the runs of one panel."""
        return tuple(range(self.seed, self.seed + (2 if self.quick else count)))


@dataclass(frozen=True)
class Drawing:
    """A figure: `compute` runs it, `draw` pictures the result, `table` lists what is plotted."""

    compute: Callable[[Settings], Any]
    draw: Callable[[Any], Figure]
    table: Callable[[Any], Iterator[Row]]


@dataclass(frozen=True)
class Names:
    """Names of the two columns of numbers, unit included."""

    x: str = "time_tau"
    y: str = "loss"


def rows(
    panel: str, series: str, kind: str, x: ArrayLike, y: ArrayLike, names: Names | None = None
) -> Iterator[Row]:
    """One row for each point of a curve."""
    names = names or Names()
    for a, b in zip(np.ravel(x), np.ravel(y), strict=True):
        yield panel, series, kind, names.x, float(a), names.y, float(b)


def level_rows(
    panel: str, levels: ArrayLike, label: str = "plateau {}", y_name: str = "loss"
) -> Iterator[Row]:
    """One row for each horizontal line; its x is the number of the line."""
    for i, level in enumerate(np.ravel(levels)):
        yield panel, label.format(i), "predicted", "number", float(i), y_name, float(level)


def thin(x: Array, *curves: Array, count: int = 300, log_x: bool = False) -> Array:
    """Indices of about `count` points that draw the curves as all points would.

    Points are kept at equal steps of arc length in the unit square, so that jumps stay sharp.

    >>> thin(np.linspace(0, 1, 1001), np.linspace(0, 1, 1001), count=3).tolist()
    [0, 500, 1000]
    """
    if len(x) <= count:
        return np.arange(len(x))
    across = np.log(np.maximum(x, x[x > 0].min())) if log_x else x
    steps = np.diff(across) / np.ptp(across)
    for curve in curves:
        steps = steps + np.abs(np.diff(curve)) / (np.ptp(curve) or 1.0)
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0.0, arc[-1], count)
    return np.unique(np.concatenate([np.searchsorted(arc, wanted[:-1]), [len(x) - 1]]))

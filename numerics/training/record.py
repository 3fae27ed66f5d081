"""What is kept of a training run, and at which steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check, _plot

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A training run at its recorded steps.

    Attributes
    ----------
    step : (T,)
        Updates made before the record was taken.
    time : (T,)
        Flow time 2·loss_factor·Σ η of these updates, in units of τ; for plain gradient descent the
        t of `gradient_flow`.
    states : (T, size)
        Weights; ``model.unpack`` splits them.
    loss : (T,)
        L of the batch that the next update sees; no factor ½.
    tests : dict of (T,)
        Losses on the test systems, by name.
    status : str
        ``"finished"``, or at which step the run diverged; what is before that is valid.
    model
        What was trained, where the batches say so.
    """

    step: NDArray[np.integer]
    time: Array
    states: Array
    loss: Array
    tests: dict[str, Array]
    status: str
    model: Any

    def __repr__(self) -> str:
        tests = "".join(
            f", {name} {curve[0]:.6g} → {curve[-1]:.6g}" for name, curve in self.tests.items()
        )
        return (
            f"TrainingRun({self.status}, {self.step[-1]} steps, {len(self.step)} recorded, "
            f"loss {self.loss[0]:.6g} → {self.loss[-1]:.6g}{tests})"
        )

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw the batch's loss and those on the tests over the step; return the axes.

        Into `ax`, or into new axes; `style` goes to ``Axes.plot`` of every curve.

        >>> from matplotlib.figure import Figure
        >>> loss = np.array([1.0, 0.5])
        >>> run = TrainingRun(np.arange(2), loss, loss, loss, {"new": loss}, "finished", None)
        >>> run.plot(Figure().subplots()).get_xlabel()
        'step'
        """
        ax = _plot.axes(ax, _plot.time_label("steps"))
        _plot.curve(ax, self.step, self.loss, {"label": "batch", **style})
        for name, curve in self.tests.items():
            _plot.curve(ax, self.step, curve, {**style, "label": name})
        if self.tests:
            ax.legend(frameon=False)
        return ax


def linear_grid(steps: int, count: int = 200) -> NDArray[np.integer]:
    """About `count` steps from 0 to `steps` at equal distances, both ends included.

    >>> linear_grid(100, 5).tolist()
    [0, 25, 50, 75, 100]
    """
    steps, count = _check.count("steps", steps), _check.count("count", count, 2)
    return np.unique(np.linspace(0, steps, count).round().astype(np.int64))


def log_grid(steps: int, count: int = 200) -> NDArray[np.integer]:
    """Step 0 and about `count` steps from 1 to `steps` at equal ratios, each once.

    >>> log_grid(1000, 4).tolist()
    [0, 1, 10, 100, 1000]
    """
    steps, count = _check.count("steps", steps), _check.count("count", count, 2)
    return np.unique(np.append(0, np.geomspace(1, steps, count).round().astype(np.int64)))


def checked_grid(record: ArrayLike | None, steps: int) -> NDArray[np.integer]:
    """The steps to record: those given, or a linear grid; the first and the last in any case.

    Raises
    ------
    ValueError, TypeError
        If they are not whole numbers that rise strictly from 0 or more to at most `steps`.
    """
    if record is None:
        return linear_grid(steps)
    try:
        grid = np.asarray(record)
    except ValueError:
        raise TypeError(f"record must be a list of steps, got {_check.shown(record)}") from None
    if grid.dtype.kind not in "iu":
        raise TypeError(f"record must hold whole numbers, got dtype {grid.dtype}")
    if grid.ndim != 1 or not grid.size:
        raise ValueError(f"record must be a list of steps, got shape {grid.shape}")
    if grid[0] < 0 or grid[-1] > steps or (np.diff(grid) <= 0).any():
        raise ValueError(
            f"record must rise strictly within 0 … {steps}, got {grid[0]} … {grid[-1]}"
        )
    return np.union1d(grid.astype(np.int64), [0, steps])


class Row(NamedTuple):
    """The record of one step."""

    step: int
    time: float
    state: Array
    loss: float
    tests: tuple[float, ...]


def assemble(rows: list[Row], names: list[str], status: str, model: Any) -> TrainingRun:
    """The record as arrays."""
    step, time, states, loss, tests = zip(*rows, strict=True)
    columns = np.array(tests, float).reshape(len(rows), len(names)).T
    return TrainingRun(
        step=np.array(step, np.int64),
        time=np.array(time, float),
        states=np.array(states),
        loss=np.array(loss, float),
        tests=dict(zip(names, columns, strict=True)),
        status=status,
        model=model,
    )

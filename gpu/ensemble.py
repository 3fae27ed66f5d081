"""The record of many runs at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu import drops
from gpu._arrays import Array, namespace, to_host
from numerics import _plot


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Runs of gradient flow or of an optimiser, one row each, on one grid of times.

    Attributes
    ----------
    t : (T,)
        Flow time in units of τ·(time unit of the caller), or the step number of an optimiser.
    states : (rows, T, size)
        Weights, flat; ``model.unpack`` splits those of a NumPy array.
    loss : (rows, T)
        L = E(ŷ − y_q)², no factor ½.
    loss_rate : (rows, T)
        −dL/dt along the flow, = 2‖½ ∂L/∂θ‖²/τ; for an optimiser η‖∂L/∂θ‖² per step.
    invariant_drift : (rows, T)
        Largest change since t = 0 of any conserved quantity.
    energy_gap : (rows, T)
        L(0) − L(t) minus the integrated dissipation; zero without integration error.
    status : tuple of str
        ``"finished"``, or why the row stopped early; from there on an optimiser repeats its last
        state and a flow has NaN.
    evaluations : (rows,)
        Evaluations of each row's velocity, of the host.
    model
        What the states are weights of.
    unit : str
        Of `t`: ``"τ"``, or ``"steps"`` of an optimiser.
    """

    t: Array
    states: Array
    loss: Array
    loss_rate: Array
    invariant_drift: Array
    energy_gap: Array
    status: tuple[str, ...]
    evaluations: NDArray[np.integer]
    model: Any
    unit: str = "τ"

    def __repr__(self) -> str:
        done = sum(status == "finished" for status in self.status)
        return f"Ensemble({done} of {self.rows} rows finished, {self.t.shape[0]} points each)"

    @property
    def rows(self) -> int:
        """Number of runs."""
        return len(self.status)

    def crossing_times(self, levels: Array) -> Array:
        """First time at which each row's loss falls to each level, (rows, n); see `drops`."""
        return drops.crossing_times(self.t, self.loss, levels, loss_rate=self.loss_rate)

    def drop_times(self, plateaus: Array) -> Array:
        """Time of each drop, (rows, n−1), for plateaus (n,) or (rows, n)."""
        return drops.drop_times(self.t, self.loss, plateaus, loss_rate=self.loss_rate)

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw the loss of every row over time into `ax` or new axes; return the axes.

        `style` goes to ``Axes.plot``; a label is given to the first row. Early times, but t = 0,
        are left out as `numerics.Trajectory.plot` does, if they are for every row.

        >>> import gpu, numerics
        >>> from matplotlib.figure import Figure
        >>> model = numerics.SeparateAttention(dimension=1, heads=1)
        >>> moments = gpu.stack_moments([numerics.LinearTask([[1.0]], 10)])
        >>> initial = gpu.initial_weights(model, 0.1, seeds=[0, 1])
        >>> run = gpu.gradient_flow(model, moments, initial, 10.0)
        >>> len(run.plot(Figure().subplots()).lines)
        2
        """
        ax = _plot.axes(ax, _plot.time_label(self.unit))
        t, loss = to_host(self.t), to_host(self.loss)
        kept = np.isin(t, np.concatenate([_plot.visible(t, row)[0] for row in loss]))
        _plot.curve(ax, t[kept], loss[:, kept], {"alpha": 0.7, **style})
        return ax


def assemble(
    problem: Any,
    initial: Array,
    t: Array,
    states: list[Array],
    *,
    loss_rate: list[Array],
    dissipated: list[Array],
    status: tuple[str, ...],
    evaluations: NDArray[np.integer],
) -> Ensemble:
    """Evaluate losses and error bars of recorded states (size, rows)."""
    xp = namespace(initial)
    start, conserved = problem.loss(initial), problem.invariants(initial)
    losses = [problem.loss(state) for state in states]
    moved = [xp.max(xp.abs(problem.invariants(state) - conserved), axis=0) for state in states]
    gaps = [start - loss - lost for loss, lost in zip(losses, dissipated, strict=True)]
    columns = {"loss": losses, "loss_rate": loss_rate, "invariant_drift": moved, "energy_gap": gaps}
    return Ensemble(
        t=t,
        states=xp.permute_dims(xp.stack(states, axis=0), (2, 0, 1)),
        status=status,
        evaluations=evaluations,
        model=problem.model,
        **{name: xp.stack(column, axis=1) for name, column in columns.items()},
    )


__all__ = ["Ensemble", "assemble"]

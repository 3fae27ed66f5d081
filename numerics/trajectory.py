"""The record of a run, whatever made it: weights, losses and error bars at recorded times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check, _plot
from numerics.systems import Trainable

Array = NDArray[Any]

_PART = 2**22  # numbers


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A run of gradient flow or of an optimiser.

    Attributes
    ----------
    t : (T,)
        Flow time in units of τ·(time unit of the caller), or the step number of an optimiser.
    states : (T, size)
        Weights, flat; ``model.unpack`` splits them.
    loss : (T,)
        L = E(ŷ − y_q)², no factor ½.
    loss_rate : (T,)
        −dL/dt along the flow, = 2‖½ ∂L/∂θ‖²/τ.
    invariant_drift : (T,)
        Largest change since t = 0 of any conserved quantity, whether or not t = 0 is recorded.
    energy_gap : (T,)
        L(0) − L(t) minus the integrated dissipation; zero without integration error.
    status : str
        ``"finished"``, or why the run stopped early; what is before that is valid.
    evaluations : int
        Calls of the right-hand side.
    unit : str
        Of `t`: ``"τ"``, ``"steps"`` of an optimiser, or the flow whose time it is.
    """

    t: Array
    states: Array
    loss: Array
    loss_rate: Array
    invariant_drift: Array
    energy_gap: Array
    status: str
    evaluations: int
    model: Any
    unit: str = "τ"

    def __repr__(self) -> str:
        return (
            f"Trajectory({self.status}, t={self.t[0]:g}…{self.t[-1]:g}, {len(self.t)} points, "
            f"loss {self.loss[0]:.6g} → {self.loss[-1]:.6g})"
        )

    @property
    def matrices(self) -> Array:
        """M(t), shape (T, D, D)."""
        return np.asarray(self.model.matrix(self.states))

    def at(self, times: ArrayLike) -> Array:
        """States at the recorded times nearest to `times`."""
        wanted = _check.floating_array("times", times, tuple(range(9)))
        nearest = np.abs(self.t - wanted[..., None]).argmin(axis=-1)
        return self.states[nearest]

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw the loss over time into `ax`, or into new axes, and return the axes.

        `style` goes to ``Axes.plot``. Dashed lines at predicted plateaus: ``ax.axhline``. In
        logarithmic time, ``run.plot().set_xscale("log")``, the axis begins where the loss begins to
        change, or at 1e-4 of the end if that is sooner: earlier points, but t = 0, are not drawn.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from numerics import AttentionSystem, LinearTask, SeparateAttention, system_flow
        >>> from numerics import population_moments
        >>> model = SeparateAttention(dimension=1, heads=1)
        >>> system = AttentionSystem(model, population_moments(LinearTask([[1.0]], 10)))
        >>> run = system_flow(system, model.pack([0.1], [[0.1]], [[0.1]]), 60.0)
        >>> run.plot(Figure().subplots(), label="flow").get_xlabel()
        'time t  [τ]'
        """
        ax = _plot.axes(ax, _plot.time_label(self.unit))
        _plot.curve(ax, *_plot.visible(self.t, self.loss), style)
        return ax


def assemble(
    system: Trainable,
    initial: Array,
    t: Array,
    states: Array,
    *,
    loss_rate: Array,
    dissipated: Array,
    status: str,
    evaluations: int,
) -> Trajectory:
    """Evaluate losses and error bars, both counted from the initial weights at t = 0."""
    # Weights that overflowed the solver may overflow the loss as well: inf says so.
    with np.errstate(over="ignore", invalid="ignore"):
        loss, start = _by_parts(system.loss, states), system.invariants(initial)
        return Trajectory(
            t=t,
            states=states,
            loss=loss,
            loss_rate=loss_rate,
            invariant_drift=_by_parts(
                lambda part: np.abs(system.invariants(part) - start).max(axis=-1), states
            ),
            energy_gap=system.loss(initial) - loss - dissipated,
            status=status,
            evaluations=evaluations,
            model=getattr(system, "model", system),
        )


def _by_parts(function: Callable[[Array], Array], states: Array) -> Array:
    """`function` of all states, without an array of all their matrices (gigabytes at D = 256)."""
    rows = max(1, _PART // max(1, states.shape[1]))
    parts = [function(states[i : i + rows]) for i in range(0, max(1, len(states)), rows)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)

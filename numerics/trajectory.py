"""The record of a run, whatever made it: weights, losses and error bars at recorded times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics.systems import Trainable

Array = NDArray[Any]


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
        loss, conserved = system.loss(states), system.invariants(states)
        return Trajectory(
            t=t,
            states=states,
            loss=loss,
            loss_rate=loss_rate,
            invariant_drift=np.abs(conserved - system.invariants(initial)).max(axis=-1),
            energy_gap=system.loss(initial) - loss - dissipated,
            status=status,
            evaluations=evaluations,
            model=getattr(system, "model", system),
        )

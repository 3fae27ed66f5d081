"""From somebody else's gradient-descent run to the units of this package.

Ours: attention output with the 1/N, loss L = E(ŷ − y_q)² without a ½, flow τ dW/dt = −½ ∂L/∂W.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import _check
from ._generic import Number
from ._guard import guarded


@dataclass(frozen=True)
class Convention:
    """How a run's loss, attention and step relate to ours.

    Let their training loss be ℓ times the mean square error, their output c times ours at equal
    weights, and p the number of weight matrices multiplied in it. Ours at weights W = c^{1/p} W' is
    theirs at W'. One step of theirs, ΔW' = −η ∂(ℓL)/∂W' with ∂/∂W' = c^{1/p} ∂/∂W, is

        ΔW = c^{1/p} ΔW' = −η ℓ c^{2/p} ∂L/∂W,

    and our flow has dW = −½ (dt/τ) ∂L/∂W, so that n steps last t = 2 η ℓ c^{2/p} n τ.

    Attributes
    ----------
    loss_factor
        ℓ > 0: 1 for a mean square error, ½ for half of it.
    context_scale
        c > 0: N if they leave out the 1/N of the attention, 1 if they keep it, 1/√D if they divide
        by that too; N/(N + 1) for a mean that counts the query.
    factors
        p: 2 for merged, 3 for separate key and query.
    tau
        Our τ > 0.

    Raises
    ------
    ValueError
        If a factor is not positive and finite.

    Notes
    -----
    Gradient descent follows the flow up to an error of the order of the learning rate; momentum and
    adaptive steps do not. Derived here.
    Accuracy: 8 eps.

    Examples
    --------
    >>> run = Convention(loss_factor=0.5, context_scale=8.0, factors=3)
    >>> run.flow_time(100, 0.01), run.loss(1.0), run.weights(1.0)
    (4.0, 2.0, 2.0)
    """

    loss_factor: float = 1.0
    context_scale: float = 1.0
    factors: int = 3
    tau: float = 1.0

    def __post_init__(self) -> None:
        """Validate the four numbers."""
        _check.positive("loss_factor", self.loss_factor)
        _check.positive("context_scale", self.context_scale)
        _check.integer("factors", self.factors, 1)
        _check.positive("tau", self.tau)

    def _time_per_step(self, learning_rate: Number) -> Number:
        rate = _check.positive("learning_rate", learning_rate)
        return 2 * rate * self.loss_factor * self.weights(1) ** 2 * self.tau

    @guarded
    def flow_time(self, steps: Number, learning_rate: Number) -> Number:
        """Return our time t after their `steps` at `learning_rate`."""
        return _check.non_negative("steps", steps) * self._time_per_step(learning_rate)

    @guarded
    def steps(self, time: Number, learning_rate: Number) -> Number:
        """Return the (fractional) number of their steps at our `time`."""
        return _check.non_negative("time", time) / self._time_per_step(learning_rate)

    @guarded
    def loss(self, reported: Number) -> Number:
        """Return our loss, the mean square error, from theirs."""
        return _check.finite("reported", reported) / self.loss_factor

    @guarded
    def weights(self, theirs: Number) -> Number:
        """Return our weights c^{1/p} W' from theirs, the same for every factor."""
        root = self.context_scale ** (1 / self.factors)
        return _check.finite("theirs", theirs) * root

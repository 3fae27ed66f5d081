"""Training somebody's run again: plain gradient descent on the mean square, in float64."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import console
from numerics import TwoLayerNetwork
from numerics.layers.attention import AttentionLayer
from numerics.layers.moments import LayerMomentsSystem
from numerics.layers.system import LayerSystem

from .compare import first_not_finite
from .gather import Gathered
from .inputs import Run

Array = NDArray[Any]

BLOCK = 256  # states whose losses are evaluated together…
BLOCK_NUMBERS = 2**20  # …if they hold no more numbers than this


@dataclass(frozen=True, eq=False)
class Replay:
    """A run made again.

    Attributes
    ----------
    loss : (steps + 1,)
        loss[i] before update i, the last one after all; only those that are finite.
    status : str
        ``"finished"``, or at which step the run diverged.
    diverged_at : int, optional
        First i for which the loss before update i is not finite.
    seconds, seconds_moments : float
        For the whole, and for reading the sample in it.
    source : str
        What the steps were computed from: ``"moments"`` or ``"sequences"``.
    """

    loss: Array
    status: str
    diverged_at: int | None
    seconds: float
    seconds_moments: float
    source: str


System = LayerSystem | LayerMomentsSystem | TwoLayerNetwork


def replay(run: Run, attention: str, gathered: Gathered, steps: int) -> Replay:
    """Train `steps` updates from the run's initial weights.

    Raises
    ------
    console.InputError
        If the loss is not finite at the initial weights.
    """
    begin = time.perf_counter()
    system, theta = bind(run, attention, gathered)
    bound = time.perf_counter()
    losses = descend(system, theta, run.rate, steps)
    end = time.perf_counter()
    if not len(losses):
        raise console.InputError("lr, weights, x: the loss overflows at the initial weights")
    diverged = len(losses) if len(losses) <= steps else None
    status = "finished"
    if diverged is not None:
        status = f"diverged: the loss before update {diverged} is not finite at rate {run.rate:g}"
    source = "sequences" if isinstance(system, LayerSystem) else "moments"
    before = gathered.seconds + bound - begin
    return Replay(losses, status, diverged, before + end - bound, before, source)


def descend(system: System, theta: Array, rate: float, steps: int) -> Array:
    """The loss before each update and after the last, up to the first that is not finite."""
    block = max(1, min(BLOCK, BLOCK_NUMBERS // len(theta)))
    losses: list[Array] = []
    with np.errstate(all="ignore"):
        for start in range(0, steps + 1, block):
            part, theta = _advance(system, theta, rate, min(block, steps + 1 - start))
            losses.append(part)
            if not np.isfinite(part).all():
                break
    curve = np.concatenate(losses)
    stop = first_not_finite(curve)
    return curve if stop is None else curve[:stop]


def _advance(system: System, theta: Array, rate: float, count: int) -> tuple[Array, Array]:
    """`count` updates θ ← θ − η ∂L/∂θ, and the loss before each."""
    if isinstance(system, LayerSystem):
        losses = np.full(count, np.nan)
        for i in range(count):
            losses[i], gradient = system.loss_and_gradient(theta)
            if not math.isfinite(losses[i]):
                break
            theta = theta - rate * gradient
        return losses, theta
    # A loss by itself would cost as much as the step; of many states at once it costs little.
    states = np.empty((count, len(theta)))
    for state in states:
        state[:] = theta
        theta = theta + 2.0 * rate * system.velocity(theta)
    return np.asarray(system.loss(states)), theta


def bind(run: Run, attention: str, gathered: Gathered) -> tuple[System, Array]:
    """The run's model bound to its data, and its initial weights."""
    if run.design == "network":
        assert gathered.reduced is not None
        network = TwoLayerNetwork(gathered.reduced, run.heads)
        first, second = run.weights
        return network, network.pack(second[0], first)
    layer = AttentionLayer(run.dimension, run.heads, run.rank, attention)
    value, *rest = (weight.reshape(run.heads, -1, run.dimension + 1) for weight in run.weights)
    theta = layer.pack(value[:, -1], *rest)
    if gathered.sequences is not None:
        return LayerSystem(layer, *gathered.sequences), theta
    assert gathered.layer is not None
    return LayerMomentsSystem(layer, gathered.layer), theta

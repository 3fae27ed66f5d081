"""Discrete optimisers on a gradient system: full-batch gradient descent and its relatives.

Here the optimiser sees `loss_factor · L` with L = E(ŷ − y_q)², as a training loop does; with
plain gradient descent a step of rate η is 2·η·loss_factor units of flow time (τ = 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.systems import Trainable
from numerics.training.optimisers import Optimiser, as_optimiser
from numerics.training.schedules import Schedule, as_schedule
from numerics.trajectory import Trajectory, assemble

Array = NDArray[Any]


@guarded
def gradient_descent(
    system: Trainable,
    initial: ArrayLike,
    steps: int,
    learning_rate: float | Schedule,
    *,
    optimiser: str | Optimiser = "gradient-descent",
    loss_factor: float = 1.0,
    every: int = 1,
) -> Trajectory:
    """Run `steps` full-batch steps and record every `every`-th state, the first and the last.

    Parameters
    ----------
    system
        What is trained, e.g. ``AttentionSystem(model, moments)`` or a network.
    initial : (size,)
        θ(0).
    steps : int
        Number of updates, ≥ 1.
    learning_rate : float or callable
        η > 0: θ ← θ − η · loss_factor · ∂L/∂θ for plain gradient descent; or η as a function of
        the update, counted from 0.
    optimiser : str or Optimiser
        ``"gradient-descent"``, ``"momentum"`` (0.9), ``"adam"``, or one with other constants.

    Returns
    -------
    Trajectory
        `t` counts steps. A run that diverges ends before its gradient stops being finite and
        says so in `status`. `energy_gap` is L(0) − L minus the first-order dissipation; it measures
        how far the discrete steps are from the flow.

    Raises
    ------
    ValueError, TypeError
        For an unknown optimiser or a number out of range.

    Examples
    --------
    >>> from numerics import AttentionSystem, LinearTask, SeparateAttention, population_moments
    >>> model = SeparateAttention(dimension=1, heads=1)
    >>> system = AttentionSystem(model, population_moments(LinearTask([[1.0]], 10)))
    >>> run = gradient_descent(system, model.pack([0.3], [[0.3]], [[0.3]]), 200, 0.05, every=50)
    >>> run.t.tolist(), round(float(run.loss[-1]), 6)
    ([0.0, 50.0, 100.0, 150.0, 200.0], 0.166667)
    """
    steps, every = _check.count("steps", steps), _check.count("every", every)
    schedule, chosen = as_schedule(learning_rate), as_optimiser(optimiser)
    factor = _check.real("loss_factor", loss_factor, above=0.0)
    theta = _check.state("initial", initial, system.size)

    rows = list(_iterate(system, theta, steps, chosen, schedule, factor, every))
    t, states, loss_rate, dissipated = (np.array(column) for column in zip(*rows, strict=True))
    last = int(t[-1])
    run = assemble(
        system,
        theta,
        t.astype(float),
        states,
        loss_rate=loss_rate,
        dissipated=dissipated,
        status="finished" if last == steps else f"stopped: diverged after step {last}",
        evaluations=last,
    )
    return replace(run, unit="steps")


def _iterate(
    system: Trainable,
    theta: Array,
    steps: int,
    optimiser: Optimiser,
    schedule: Schedule,
    factor: float,
    every: int,
) -> Iterator[tuple[int, Array, float, float]]:
    """Yield (step, θ, −dL per step, dissipated so far), ending before the gradient overflows.

    θ(0) is a row even if its own gradient does.
    """
    memory = np.zeros((optimiser.slots, len(theta)), theta.dtype)
    dissipated = 0.0
    last: tuple[int, Array, float, float] | None = None
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(steps + 1):
            gradient = -2.0 * system.velocity(theta)
            square = float(np.dot(gradient, gradient))
            if step and not math.isfinite(square):
                break
            rate = schedule(step)
            last = (step, theta, rate * factor * square, dissipated)
            if step % every == 0:
                yield last
                last = None
            dissipated += rate * factor * square
            theta = theta + optimiser.change(factor * gradient, memory, rate, step + 1)
    if last is not None:
        yield last

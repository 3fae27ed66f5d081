"""Gradient descent, momentum and Adam on many runs at once; `numerics.training.optimisers` defines.

The optimiser sees `loss_factor · L` with L = E(ŷ − y_q)²; with plain gradient descent a step of
rate η is 2·η·loss_factor units of flow time (τ = 1). Nothing waits for the device until the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpu import _arrays
from gpu._arrays import Array, like, namespace, rows_last, to_host
from gpu.ensemble import Ensemble, assemble
from gpu.systems import System
from numerics import _check
from numerics.training.optimisers import Adam, GradientDescent, Momentum, Optimiser, as_optimiser
from numerics.training.schedules import Schedule, as_schedule

Memory = tuple[Array, ...]


def gradient_descent(
    system: System,
    initial: Array,
    steps: int,
    learning_rate: float | Sequence[float] | Schedule,
    *,
    optimiser: str | Optimiser = "gradient-descent",
    loss_factor: float = 1.0,
    every: int = 1,
) -> Ensemble:
    """Run `steps` full-batch steps of every row; `numerics.gradient_descent` row by row.

    Parameters
    ----------
    system
        `AttentionSystem`, `LayerMomentsSystem`, `LayerSystem` or `SpectralSystem` of this package.
    initial : (rows, size)
        θ(0) of each row.
    steps : int
        Number of updates, ≥ 1.
    learning_rate : float, (rows,) or callable
        η > 0 for all rows or for each, or η as a function of the update, counted from 0.
    optimiser : str or Optimiser
        ``"gradient-descent"``, ``"momentum"`` (0.9), ``"adam"``, or one of these three of
        `numerics` with other constants.
    loss_factor : float
        What multiplies L in the optimised loss.
    every : int
        Record every so many steps, with the first and the last.

    Returns
    -------
    Ensemble
        `t` counts steps. A row that diverges keeps the last state whose gradient was finite and
        says so in its status; the others go on.

    Raises
    ------
    ValueError, TypeError
        For an unknown optimiser, a number out of range, or initial weights that do not fit.

    Examples
    --------
    >>> from gpu import AttentionSystem, initial_weights, stack_moments
    >>> from numerics import LinearTask, SeparateAttention
    >>> model = SeparateAttention(dimension=1, heads=1)
    >>> system = AttentionSystem(model, stack_moments([LinearTask([[1.0]], 10)]))
    >>> run = gradient_descent(system, np.full((2, 3), 0.3), 200, [0.05, 0.1], every=50)
    >>> run.t.tolist(), run.loss[:, -1].round(6).tolist()
    ([0.0, 50.0, 100.0, 150.0, 200.0], [0.166667, 0.166667])
    """
    steps, every = _check.count("steps", steps), _check.count("every", every)
    factor = _check.real("loss_factor", loss_factor, above=0.0)
    state = rows_last(_arrays.finite("initial", system.checked("initial", initial)))
    loop = _Loop(system.problem, _rule(optimiser), _rates(learning_rate, state), factor)
    return loop.run(state, steps, every)


def _rates(given: Any, state: Array) -> Callable[[int], Any]:
    """η of an update: a float, or (rows,) on the device."""
    if callable(given) or np.ndim(given) == 0:
        return as_schedule(given)
    values = _check.floating_array("learning_rate", given, 1)
    _check.same_length("the length of learning_rate", len(values), "initial", state.shape[1])
    if not (values > 0).all():
        raise ValueError(f"learning_rate must be > 0, got a smallest of {values.min():.3g}")
    rates = like(state, values)
    return lambda step: rates


def _rule(optimiser: str | Optimiser) -> Optimiser:
    chosen = as_optimiser(optimiser)
    if not isinstance(chosen, GradientDescent | Momentum | Adam):
        raise TypeError(
            f"optimiser must be GradientDescent, Momentum or Adam, got {type(chosen).__name__}"
        )
    return chosen


def change(
    optimiser: Optimiser, gradient: Array, memory: Memory, rate: Any, step: int
) -> tuple[Array, Memory]:
    """θ_step − θ_(step−1) and the memory after it, as `optimiser.change` on NumPy arrays.

    >>> moved, memory = change(Momentum(0.5), np.ones(2), (np.ones(2),), 0.1, 1)
    >>> moved.round(12).tolist(), memory[0].tolist()
    ([-0.15, -0.15], [1.5, 1.5])
    """
    if isinstance(optimiser, Momentum):
        speed = optimiser.decay * memory[0] + gradient
        return -rate * speed, (speed,)
    if isinstance(optimiser, Adam):
        b1, b2 = optimiser.first_decay, optimiser.second_decay
        first = b1 * memory[0] + (1 - b1) * gradient
        second = b2 * memory[1] + (1 - b2) * gradient**2
        scale = namespace(gradient).sqrt(second / (1 - b2**step)) + optimiser.epsilon
        return -rate * (first / (1 - b1**step)) / scale, (first, second)
    return -rate * gradient, memory


class _Loop:
    """A run of an optimiser on a problem, states (size, rows)."""

    def __init__(
        self, problem: Any, optimiser: Optimiser, rates: Callable[[int], Any], factor: float
    ) -> None:
        self._problem, self._optimiser = problem, optimiser
        self._rates, self._factor = rates, factor

    def run(self, initial: Array, steps: int, every: int) -> Ensemble:
        """Step, record, and let rows rest once their gradient would not be finite."""
        xp, state, before = namespace(initial), initial, initial
        memory = tuple(xp.zeros_like(initial) for _ in range(self._optimiser.slots))
        dissipated = fall = xp.zeros_like(initial[0, :])
        alive, last = dissipated == 0.0, xp.zeros_like(dissipated)
        times, states, falls, lost = [], [], [], []
        # Rows that diverge overflow here until they are put to rest.
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps + 1):
                gradient = -2.0 * self._problem.velocity(state)
                square = xp.sum(gradient * gradient, axis=0)
                if step:
                    alive = alive & xp.isfinite(square)
                state = xp.where(alive, state, before)
                gradient = xp.where(alive, gradient, xp.zeros_like(gradient))
                rate = self._rates(step)
                last = xp.where(alive, xp.full_like(last, float(step)), last)
                fall = xp.where(alive, rate * self._factor * square, fall)
                if step % every == 0 or step == steps:
                    times.append(float(step))
                    states.append(state)
                    falls.append(fall)
                    lost.append(dissipated)
                dissipated = xp.where(alive, dissipated + fall, dissipated)
                moved, memory = change(
                    self._optimiser, self._factor * gradient, memory, rate, step + 1
                )
                before, state = state, xp.where(alive, state + moved, state)
            run = assemble(
                self._problem,
                initial,
                like(initial, times),
                states,
                loss_rate=falls,
                dissipated=lost,
                status=_status(last, steps),
                evaluations=np.full(initial.shape[1], steps + 1),
            )
        return replace(run, unit="steps")


def _status(last: Array, steps: int) -> tuple[str, ...]:
    reached = to_host(last).astype(int).tolist()
    return tuple(
        "finished" if step == steps else f"stopped: diverged after step {step}" for step in reached
    )


__all__ = ["change", "gradient_descent"]

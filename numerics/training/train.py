"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.systems import Trainable
from numerics.training import checkpoint as files
from numerics.training.batches import (
    Batches,
    Entropy,
    as_batches,
    keyed_entropy,
    loss_and_gradient,
)
from numerics.training.checkpoint import FINISHED, RUNNING, Checkpoint, Progress
from numerics.training.optimisers import Optimiser, as_optimiser
from numerics.training.record import Row, TrainingRun, assemble, checked_grid
from numerics.training.schedules import Schedule, as_schedule

Array = NDArray[Any]
Watch = Callable[[int, float], None]


@guarded
def train(
    batches: Batches | Trainable,
    initial: ArrayLike,
    steps: int,
    learning_rate: float | Schedule,
    *,
    optimiser: str | Optimiser = "gradient-descent",
    loss_factor: float = 1.0,
    record: ArrayLike | None = None,
    tests: Mapping[str, Trainable] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 30.0,
    rng: Any = None,
    watch: Watch | None = None,
) -> TrainingRun:
    """Train on batches of sequences, and record weights, loss and test losses on a grid of steps.

    Update i is θ ← θ − η_i · loss_factor · ∂L_i/∂θ for plain gradient descent, L_i the mean square
    over batch i without ½; it lasts 2·η_i·loss_factor units of flow time (τ = 1).

    Parameters
    ----------
    batches
        `FreshBatches`, `Minibatches`, or a system (`LayerSystem`, `LayerMomentsSystem`,
        `AttentionSystem`, …), which then is the full batch of every step.
    initial : (size,)
        θ(0); float32 weights stay float32.
    steps : int
        Number of updates, ≥ 1.
    learning_rate : float or callable
        η, or η_i as a function of i, counted from 0 (`Cosine`, `StepDecay`, …).
    optimiser : str or Optimiser
        ``"gradient-descent"``, ``"momentum"``, ``"adam"``, or one with other constants.
    record : list of int, optional
        Steps to record, e.g. `linear_grid` or `log_grid`; about 200 at equal distances if left
        out.
    tests : dict, optional
        Systems whose loss is recorded too, by name.
    checkpoint : path, optional
        A .npz file to write while training. If it is there already, the run goes on from it and
        ends bit for bit as it would have without the interruption.
    checkpoint_every : float
        Seconds between two checkpoints at least; also written at the end and on Ctrl-C.
    rng
        Of the batches; a resumed run uses the checkpoint's if it is left out.
    watch : callable, optional
        Called as ``watch(step, loss)`` before each update, for a progress bar.

    Raises
    ------
    ValueError, TypeError
        For an unknown optimiser, a number out of range, initial weights at which the loss
        overflows, or a checkpoint that is damaged or of another run.

    Examples
    --------
    >>> from numerics import AttentionLayer, FreshBatches, LinearTask
    >>> layer = AttentionLayer(dimension=1, heads=2, attention="softmax")
    >>> batches = FreshBatches(layer, LinearTask([[1.0]], 9), 100)
    >>> run = train(batches, layer.initial_weights(0.3, rng=0), 300, 0.02, optimiser="adam", rng=0)
    >>> run.status, bool(run.loss[-1] < 0.5 * run.loss[0])
    ('finished', True)
    """
    steps = _check.count("steps", steps)
    if tests is not None and not isinstance(tests, Mapping):
        raise TypeError(f"tests must be a mapping of systems, got {_check.shown(tests)}")
    for name, system in (tests or {}).items():
        if isinstance(system, type) or not hasattr(system, "loss"):
            raise TypeError(f"tests must hold systems, got {_check.shown(system)} as {name!r}")
    if watch is not None and (isinstance(watch, type) or not callable(watch)):
        raise TypeError(f"watch must be a function, got {_check.shown(watch)}")
    if checkpoint is not None and not isinstance(checkpoint, str | Path):
        raise TypeError(f"checkpoint must be a path, got {_check.shown(checkpoint)}")
    loop = _Loop(
        as_batches(batches), as_schedule(learning_rate), as_optimiser(optimiser),
        _check.real("loss_factor", loss_factor, above=0.0), checked_grid(record, steps),
        dict(tests or {}), watch,
    )  # fmt: skip
    theta = _check.state("initial", initial, loop.batches.model.size)
    every = _check.real("checkpoint_every", checkpoint_every, at_least=0.0)
    state = None if checkpoint is None else files.load(checkpoint)
    if state is None:
        state = loop.begin(theta, keyed_entropy(rng))
    else:
        loop.refuse_another_run(state, theta, rng, checkpoint)
    return loop.run(state, steps, checkpoint, every)


@dataclass(frozen=True, eq=False)
class _Loop:
    """Everything about a run that does not change while it runs."""

    batches: Batches
    schedule: Schedule
    optimiser: Optimiser
    factor: float
    grid: NDArray[np.integer]
    tests: dict[str, Trainable]
    watch: Watch | None

    def begin(self, theta: Array, entropy: Entropy) -> Checkpoint:
        memory = np.zeros((self.optimiser.slots, len(theta)), theta.dtype)
        progress = Progress(0, 0.0, theta, memory)
        return Checkpoint(progress, [], repr(self.optimiser), list(self.tests), entropy)

    def run(
        self, state: Checkpoint, steps: int, path: str | Path | None, every: float
    ) -> TrainingRun:
        progress, saved = state.progress, time.monotonic()
        if progress.status == FINISHED and progress.step < steps:
            progress = replace(progress, status=RUNNING)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                while progress.status == RUNNING:
                    progress = self._advance(state, progress, steps)
                    if path is not None and time.monotonic() - saved >= every:
                        files.save(path, replace(state, progress=progress))
                        saved = time.monotonic()
        finally:
            # Also after Ctrl-C, or an error in `watch`: what is finished is kept.
            if path is not None:
                files.save(path, replace(state, progress=progress))
        return assemble(state.rows, list(self.tests), progress.status, self.batches.model)

    def _advance(self, state: Checkpoint, now: Progress, steps: int) -> Progress:
        """Record the step if that is wanted, and make one update."""
        system = self.batches.system(now.step, state.entropy, now.theta.dtype)
        loss, gradient = loss_and_gradient(system, now.theta)
        if not (math.isfinite(loss) and np.isfinite(gradient).all()):
            if not state.rows:
                raise ValueError("initial must have a finite loss and gradient, got an overflow")
            return replace(now, status=f"diverged: the loss before update {now.step} overflows")
        if now.step == steps or now.step in self.grid:
            self._record(state.rows, now, loss)
        if self.watch is not None:
            self.watch(now.step, loss)
        if now.step == steps:
            return replace(now, status=FINISHED)
        # A copy, so that an interruption finds weights and memory of one step.
        rate, memory = self.schedule(now.step), now.memory.copy()
        change = self.optimiser.change(self.factor * gradient, memory, rate, now.step + 1)
        theta = now.theta + change.astype(now.theta.dtype, copy=False)
        return Progress(now.step + 1, self._later(now.time, rate), theta, memory)

    def _later(self, time: float, rate: float) -> float:
        return time + 2 * rate * self.factor

    def _record(self, rows: list[Row], now: Progress, loss: float) -> None:
        if rows and rows[-1].step == now.step:
            return  # made before the interruption
        tests = tuple(float(test.loss(now.theta)) for test in self.tests.values())
        rows.append(Row(now.step, now.time, now.theta, loss, tests))

    def refuse_another_run(
        self, state: Checkpoint, theta: Array, rng: Any, path: str | Path | None
    ) -> None:
        """Raise unless a checkpoint is of this very run."""

        def refuse(what: str) -> NoReturn:
            raise ValueError(f"checkpoint {path} is of another run: {what}")

        now, rows = state.progress, state.rows
        if state.optimiser != repr(self.optimiser):
            refuse(f"its optimiser is {state.optimiser}, not {self.optimiser!r}")
        if state.names != list(self.tests):
            refuse(f"its tests are {state.names}, not {list(self.tests)}")
        if rng is not None and state.entropy != keyed_entropy(rng):
            refuse("its rng is another")
        if not rows:
            return
        if not np.array_equal(rows[0].state, theta) or rows[0].state.dtype != theta.dtype:
            refuse("its initial weights are others")
        if [row.step for row in rows] != [s for s in self.grid if s <= rows[-1].step]:
            refuse("its recorded steps are others")
        time = 0.0
        for step in range(now.step):
            time = self._later(time, self.schedule(step))
        if time != now.time:
            refuse("its learning rates are others")
        system = self.batches.system(0, state.entropy, theta.dtype)
        losses = [test.loss(theta) for test in self.tests.values()]
        # Another machine may round otherwise.
        near = math.sqrt(float(np.finfo(theta.dtype).eps))
        if not np.allclose([system.loss(theta), *losses], [rows[0].loss, *rows[0].tests], near, 0):
            refuse("its sequences are others")

"""Steps until every row of a chunk has ended.

A row that has ended stays as it is while the others go on; once more than a quarter of the rows
have ended, the rest are copied together, so that stragglers do not carry them along. The loop asks
the device how many rows still run once every `SYNCHRONISE` steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import device

from gpu._arrays import Array, namespace
from gpu.integrate.controller import Controller, first_step, rms
from gpu.integrate.record import Record
from gpu.integrate.status import Status

SYNCHRONISE = 8
_CROWDED = 0.75


@dataclass(frozen=True)
class Settings:
    """Options of a run; the tolerances are no smaller than 10 roundings of the dtype."""

    rtol: float
    atol: float
    max_steps: int


_BY_ROW = (
    "index",
    "t",
    "end",
    "dt",
    "previous",
    "held",
    "status",
    "steps",
    "refused",
    "evaluations",
    "start",
)


class Run:
    """A chunk on its way: arrays (rows,) of time, next step, status and counts beside the states.

    Time is float64 whatever the state, and so is the error of a step.
    """

    def __init__(
        self, method: Any, problem: Any, state: Array, end: Array, times: Any, settings: Settings
    ) -> None:
        xp = namespace(state)
        self.xp, self.settings = xp, settings
        # In rows of C order whatever the caller's: methods work on flat views of it.
        self.y = xp.empty(state.shape, dtype=state.dtype, device=device(state))
        self.y[...] = state
        velocity = xp.asarray(problem.velocity(self.y), copy=True)
        self.method = method(problem, self.y, velocity)
        self.control = Controller(self.method.order)
        self.record = Record(times, self.y)
        rows, at = state.shape[1], device(state)
        self.index = xp.arange(rows, dtype=xp.int64, device=at)
        self.t = xp.zeros(rows, dtype=xp.float64, device=at)
        self.end = end
        scale = settings.atol + settings.rtol * xp.abs(self.y)
        dt = first_step(xp, problem, self.y, velocity, scale, end, self.method.order)
        self.dt = self.method.limited(dt, settings.rtol)
        self.previous = xp.full((rows,), 1e-4, dtype=xp.float64, device=at)
        self.held = xp.zeros(rows, dtype=xp.bool, device=at)
        self.steps = xp.zeros(rows, dtype=xp.int64, device=at)
        self.refused = xp.zeros(rows, dtype=xp.int64, device=at)
        spent = 2 + self.method.first_evaluations
        self.evaluations = xp.full((rows,), spent, dtype=xp.int64, device=at)
        self.start = xp.max(xp.abs(self.y), axis=0)
        sound = xp.all(xp.isfinite(velocity) & xp.isfinite(self.y), axis=0)
        running = xp.full((rows,), int(Status.RUNNING), dtype=xp.int32, device=at)
        self.status = xp.where(sound, running, int(Status.BAD_START))
        self._ended: list[tuple[Array, ...]] = []

    def step(self) -> None:
        """One attempt of every row that runs; what follows is for those that end a step by it."""
        xp, y = self.xp, self.y
        running = self.status == int(Status.RUNNING)
        left = self.end - self.t
        last = self.dt * (1 + 1e-10) >= left
        tried = xp.where(running & last, left, self.dt)
        short = xp.astype(tried, y.dtype)
        y_new, error = self.method.attempt(y, short)
        size = self._error(y, y_new, error)
        made = self.method.evaluations * xp.astype(running, xp.int64)
        self.evaluations = self.evaluations + made
        if self.method.ready is not None:
            running = running & self.method.ready
        accepted = running & (size <= 1.0)
        t_new = xp.where(last, self.end, self.t + tried)
        self.record.update(self.method, accepted, self.t, t_new, short, y, y_new)
        factor = self.control.factor(xp, size, self.previous, self.held)
        self.previous = self.control.remember(xp, size, self.previous, accepted)
        refused = running & ~accepted
        self.held = (self.held & ~accepted) | refused
        following = self.method.limited(tried * factor, self.settings.rtol)
        self.dt = xp.where(running, following, self.dt)
        self.steps = self.steps + xp.astype(running, xp.int64)
        self.refused = self.refused + xp.astype(refused, xp.int64)
        self.t = xp.where(accepted, t_new, self.t)
        self.y = self.method.commit(accepted, y, y_new)
        self._judge(running, accepted & last, size)

    def _error(self, y: Array, y_new: Array, error: Array) -> Array:
        """Norm of the error over the tolerance, (rows,) float64; overwrites the error."""
        xp, settings = self.xp, self.settings
        scale = xp.maximum(xp.abs(y), xp.abs(y_new))
        scale *= settings.rtol
        scale += settings.atol
        error /= scale
        norm = getattr(self.method.problem, "norm", None)
        return xp.astype(rms(xp, error) if norm is None else norm(error), xp.float64)

    def _judge(self, running: Array, finished: Array, size: Array) -> None:
        """The status of the rows that ran."""
        xp = self.xp
        eps = float(np.finfo(np.float64).eps)
        stuck = running & ~finished & (self.dt <= 4 * eps * (self.t + eps * self.end))
        status = xp.where(finished, int(Status.FINISHED), self.status)
        out = running & ~finished & (self.steps >= self.settings.max_steps)
        status = xp.where(out, int(Status.OUT_OF_STEPS), status)
        status = xp.where(stuck, int(Status.STEP_TOO_SMALL), status)
        largest = xp.max(xp.abs(self.y), axis=0)
        room = float(xp.finfo(self.y.dtype).eps) ** -0.5
        grown = ~xp.isfinite(size) | (largest > room * xp.maximum(self.start, 1.0))
        self.status = xp.where(stuck & grown, int(Status.DIVERGED), status)

    def _put_away(self, rows: Array) -> None:
        xp = self.xp
        by_row = [self.index, self.t, self.status, self.steps, self.refused, self.evaluations]
        self._ended.append((xp.take(self.y, rows, axis=1), *(xp.take(x, rows) for x in by_row)))

    def _compact(self, running: Array) -> None:
        xp = self.xp
        rows, ended = xp.nonzero(running)[0], xp.nonzero(~running)[0]
        self._put_away(ended)
        self.record.take(rows, ended)
        if not rows.shape[0]:
            return
        self.y = xp.take(self.y, rows, axis=1)
        for name in _BY_ROW:
            setattr(self, name, xp.take(getattr(self, name), rows))
        self.method.take(rows)

    def finish(self) -> tuple[Array, ...]:
        """Run to the end: states (size, rows), t, status, steps and refused steps, in order."""
        xp = self.xp
        while True:
            running = self.status == int(Status.RUNNING)
            count = int(xp.sum(xp.astype(running, xp.int64)))
            if not count or count < _CROWDED * self.y.shape[1]:
                self._compact(running)
            if not count:
                break
            for _ in range(SYNCHRONISE):
                self.step()
        columns = list(zip(*self._ended, strict=True))
        order = xp.argsort(xp.concat(columns[1]))
        states = xp.take(xp.concat(columns[0], axis=1), order, axis=1)
        return states, *(xp.take(xp.concat(column), order) for column in columns[2:])

"""Driving a SciPy solver step by step, and what is kept of its way.

`scipy.integrate.solve_ivp` would do but for three things: what was recorded has to survive a
failure; an early end is itself recorded; and an explicit method steps onto the times of a grid.
The polynomial between the ends of a long step of DOP853 errs up to 3,000 times as much as the
steps (5e-5 against 1.5e-8 at rtol = 1e-8, measured on a cascade of four drops), while those of
LSODA, BDF and Radau are as good as their steps, and that of RK45 within a factor two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Solvers square the first right-hand side over the tolerance, then divide by the root of that.
_LARGEST_START = 1e150

# Some ten minutes. An explicit method would need far more for stiff weights of order 1,000.
_MOST_STEPS = 10**7


class OverflowedError(ArithmeticError):
    """The right-hand side or its Jacobian is not finite where the solver cannot do without."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What was recorded of an integration."""

    t: Array
    states: Array
    dissipated: Array
    status: str
    evaluations: int


class March:
    """A run of a solver, with the times and states that it leaves on record.

    Recorded are all its steps or, with a grid, the points of that: stepped onto if `landing`,
    interpolated otherwise. A run that ends early leaves the point where it ended as well.
    """

    def __init__(self, y: Array, end: float, grid: Array | None, landing: bool) -> None:
        self.t, self.y, self.end = 0.0, y, end
        self.grid, self.passed, self.landing = grid, 0, landing
        self.times: list[float] = []
        self.states: list[Array] = []
        self.evaluations = 1
        self.status = "finished"
        self._move(0.0, y)

    def run(
        self,
        velocity: Callable[[float, Array], Array],
        build: Callable[[float, Array, float], Any],
        excess: Callable[[Array], float],
        atol: float,
    ) -> None:
        """Step until the end, until `excess` has vanished, or until the solver fails."""
        fastest = float(np.abs(velocity(0.0, self.y)).max())
        if not math.isfinite(fastest):
            raise OverflowedError
        if fastest > _LARGEST_START * atol:
            self.status = f"stopped: at {fastest:.3g} the start is too fast for atol = {atol:.3g}"
            return
        if excess(self.y) <= 0:
            return
        solver = build(0.0, self.y, self.end)
        for _ in range(_MOST_STEPS):
            if self.t == self.end:
                return
            if self.landing:
                solver.t_bound, solver.status = self._next(), "running"
            message = solver.step()
            self.evaluations = solver.nfev
            # LSODA goes on when its steps no longer move the time, and then invents.
            if solver.status == "failed" or solver.t == self.t:
                self.status = f"stopped: {message or 'the step became too small'}"
                return
            if excess(solver.y) <= 0:
                between = self._again(build) if self.landing else solver.dense_output()
                self._stop_at_level(excess, between, solver)
                return
            self._move(solver.t, solver.y, solver)
        self.status = f"stopped: {_MOST_STEPS:,} steps did not suffice"

    def _next(self) -> float:
        """The next point of the grid, or the end."""
        past = self.grid is None or self.passed == len(self.grid)
        return self.end if past else float(self.grid[self.passed])  # type: ignore[index]

    def _again(self, build: Callable[[float, Array, float], Any]) -> Callable[[float], Array]:
        """The state at a time within the next step, integrated once more from here."""

        def between(t: float) -> Array:
            solver = build(self.t, self.y, t)
            while solver.status == "running":
                solver.step()
            return np.asarray(solver.y)

        return between

    def _stop_at_level(
        self, excess: Callable[[Array], float], between: Callable[[float], Array], solver: Any
    ) -> None:
        """Go to where `excess` vanishes; to an end of the step if rounding hides its sign."""
        from scipy.optimize import brentq

        def above(t: float) -> float:
            return excess(between(t))

        if above(solver.t) >= 0:
            root = solver.t
        elif above(self.t) <= 0:
            root = self.t
        else:
            root = float(brentq(above, self.t, solver.t, xtol=1e-300, rtol=1e-14))
        self._move(root, between(root), solver)

    def _move(self, t: float, y: Array, solver: Any = None) -> None:
        """Go to (t, y) and record what is due up to there."""
        self.t, self.y = float(t), y
        if self.grid is None:
            due = np.array([t])
        else:
            due = self.grid[self.passed : np.searchsorted(self.grid, t, side="right")]
            self.passed += len(due)
        if len(due) and due[0] == t:
            self.times.append(self.t)
            self.states.append(y)
        elif len(due):
            self.times.extend(due.tolist())
            self.states.extend(solver.dense_output()(due).T)

    def solution(self) -> Solution:
        """The record, with the last point if the run did not reach its end."""
        t, y = list(self.times), list(self.states)
        if self.t < self.end and t[-1:] != [self.t]:
            t.append(self.t)
            y.append(self.y)
        states = np.array(y)
        return Solution(np.array(t), states[:, :-1], states[:, -1], self.status, self.evaluations)

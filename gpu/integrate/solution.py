"""Integrate a batch of systems: the options checked, the rows cut into chunks, the parts joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import device

from gpu import _arrays
from gpu._arrays import Array, namespace
from gpu.integrate.choose import choose_method
from gpu.integrate.chunks import rows_at_once, spans
from gpu.integrate.implicit import ImplicitStep
from gpu.integrate.loop import Run, Settings
from gpu.integrate.problem import Problem, jacobian_of
from gpu.integrate.stabilised import StabilisedStep
from gpu.integrate.status import Status
from gpu.integrate.step import ExplicitStep
from numerics import _check
from numerics._repr import OneLine

METHODS: dict[str, Any] = {
    "explicit": ExplicitStep,
    "implicit": ImplicitStep,
    "Chebyshev": StabilisedStep,
}

# What a chunk gives, in this order.
_COLUMNS = ("state", "t", "status", "steps", "refused", "evaluations", "record")


@dataclass(frozen=True, eq=False, repr=False)
class Solution(OneLine):
    """Where each row came to.

    Attributes
    ----------
    state : (size, rows)
        At `t`, the end or where the row stopped.
    t : (rows,)
        float64.
    status : (rows,)
        Integers of `Status`.
    steps, refused : (rows,)
        Steps tried, and how many of them were refused.
    evaluations : (rows,)
        Evaluations of the velocity, those before the first step too.
    record : (T, size, rows) or None
        States at the times asked for; NaN at those that a row did not reach.
    method : str
        ``"explicit"``, ``"implicit"`` or ``"Chebyshev"``.
    chunks : int
        In how many parts the rows were integrated, one after another.
    """

    state: Array
    t: Array
    status: Array
    steps: Array
    refused: Array
    evaluations: Array
    record: Array | None
    method: str
    chunks: int

    def texts(self) -> list[str]:
        """The status of each row in words; waits for the device."""
        return [Status(int(code)).text for code in _arrays.to_host(self.status)]


def integrate(
    problem: Problem,
    initial: Array,
    duration: float | Array,
    *,
    times: Any = None,
    method: str = "auto",
    rtol: float = 1e-8,
    atol: float = 1e-12,
    max_steps: int = 10**7,
    memory: int | None = None,
) -> Solution:
    """Integrate dy/dt = f(y) for every row over [0, duration], each with its own steps.

    Parameters
    ----------
    problem
        `velocity` and `take`, perhaps `jacobian` and `norm`; see `gpu.integrate.problem`.
    initial : (size, rows)
        float32 or float64, of any array library; it is not written to.
    duration : float or (rows,)
        > 0, in the problem's unit of time.
    times : (T,) or (rows, T), optional
        Increasing times in [0, duration] to record, the same for all rows or each its own. The
        states there come from the polynomial of the step, of order 4 (Chebyshev: 3).
    method : str
        ``"explicit"``, Dormand and Prince's 5(4); ``"implicit"``, Rodas5P, which needs the
        Jacobian; ``"Chebyshev"``, a stabilised method of order 4 that walks long plateaus without
        it where the Jacobian's eigenvalues are real, as in gradient flows; ``"auto"``, whichever a
        pilot of a few rows finds cheapest.
    rtol, atol : float
        The root mean square over a row's state of error/(atol + rtol·|y|) is held below 1. rtol
        is raised to 10 roundings of the dtype.
    max_steps : int
        Steps that a row may try.
    memory : int, optional
        Bytes for the run; by default half of what is free. Rows that do not fit, or on a host
        gain nothing from being together, go one chunk after another; `Solution.chunks` says how
        many.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range. A row that fails is told by its status; the others go on.

    Examples
    --------
    >>> from gpu.integrate.problem import FunctionProblem
    >>> decay = FunctionProblem(lambda y, rate: -rate * y, [np.array([1.0, 2.0])])
    >>> run = integrate(decay, np.ones((1, 2)), 1.0)
    >>> run.texts(), run.state.round(6).tolist()
    (['finished', 'finished'], [[0.367879, 0.135335]])
    """
    state = _arrays.floating("initial", initial, 2)
    xp, rows = namespace(state), state.shape[1]
    settings = _settings(xp, state, rtol, atol, max_steps)
    end = _ends(state, duration)
    grid = _grid(state, times, end)
    if method not in ("auto", *METHODS):
        raise ValueError(f"method must be auto or one of {tuple(METHODS)}, got {method!r}")
    if method == "implicit" and jacobian_of(problem) is None:
        raise ValueError(
            "method must be explicit or Chebyshev for a problem without Jacobian, got 'implicit'"
        )
    with np.errstate(all="ignore"):
        if method == "auto":
            method = choose_method(problem, state, end, settings.rtol, settings.atol)
        at_once = rows_at_once(state, 0 if grid is None else grid.shape[-1], method, memory)
        parts = [
            _chunk(problem, state, end, grid, METHODS[method], settings, span)
            for span in spans(rows, at_once)
        ]
    joined = {
        name: _join(xp, column)
        for name, column in zip(_COLUMNS, zip(*parts, strict=True), strict=True)
    }
    return Solution(**joined, method=method, chunks=len(parts))


def _chunk(
    problem: Any,
    state: Array,
    end: Array,
    grid: Array | None,
    method: Any,
    settings: Settings,
    span: tuple[int, int],
) -> tuple[Array, ...]:
    low, high = span
    if high - low < state.shape[1]:
        xp = namespace(state)
        problem = problem.take(xp.arange(low, high, dtype=xp.int64, device=device(state)))
        state, end = state[:, low:high], end[low:high]
        grid = grid[low:high, :] if grid is not None and grid.ndim == 2 else grid
    run = Run(method, problem, state, end, grid, settings)
    made = run.finish()
    return *made, run.record.states(state)


def _join(xp: Any, parts: tuple[Array, ...]) -> Array:
    if parts[0] is None or len(parts) == 1:
        return parts[0]
    return xp.concat(parts, axis=parts[0].ndim - 1)


def _settings(xp: Any, state: Array, rtol: Any, atol: Any, max_steps: Any) -> Settings:
    eps = float(xp.finfo(state.dtype).eps)
    return Settings(
        max(_check.real("rtol", rtol, above=0.0), 10 * eps),
        _check.real("atol", atol, above=0.0),
        _check.count("max_steps", max_steps),
    )


def _host(name: str, value: Any, ndim: tuple[int, ...], rows: int) -> np.ndarray:
    if hasattr(value, "__array_namespace__"):
        value = _arrays.to_host(value)
    array = _check.floating_array(name, value, ndim).astype(np.float64)
    if array.ndim == max(ndim):
        _check.same_length(f"the length of {name}", array.shape[0], "the batch", rows)
    return array


def _device(state: Array, value: np.ndarray) -> Array:
    return namespace(state).asarray(value, dtype=namespace(state).float64, device=device(state))


def _ends(state: Array, duration: Any) -> Array:
    rows = state.shape[1]
    ends = _host("duration", duration, (0, 1), rows)
    if not (ends > 0).all():
        raise ValueError(f"duration must be > 0, got {ends.min():g}")
    return _device(state, np.broadcast_to(ends, (rows,)).copy())


def _grid(state: Array, times: Any, end: Array) -> Array | None:
    if times is None:
        return None
    grid = _host("times", times, (1, 2), state.shape[1])
    ends = _arrays.to_host(end)
    increasing = bool((np.diff(grid, axis=-1) > 0).all() and (grid >= 0).all())
    last = grid[..., -1]
    if not (increasing and (last <= ends).all()):
        raise ValueError(f"times must increase within [0, duration] in every row, got {grid}")
    return _device(state, grid)

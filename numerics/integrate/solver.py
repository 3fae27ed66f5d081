"""Integrating a gradient system: the choice of a solver, its right-hand side and its options."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics import _check
from numerics.integrate.krylov import Krylov
from numerics.integrate.linearised import preconditioned
from numerics.integrate.march import March, OverflowedError, Solution
from numerics.systems import Trainable

Array = NDArray[Any]

METHODS = ("LSODA", "DOP853", "RK45", "RK23", "BDF", "Radau", "Krylov")
IMPLICIT = ("LSODA", "BDF", "Radau", "Krylov")

# Fits to what `benchmarks/solvers.py` measures. An implicit run takes a few thousand steps
# whatever its duration; an explicit one is held by stability to steps of about 6 over the
# largest rate on the way, so that its cost grows with the duration.
_EXPLICIT_STABILITY = 6.0
_IMPLICIT_STEPS = 8000
_LARGEST_RECORD = 2**28


@dataclass(frozen=True, eq=False)
class Settings:
    """A caller's options, checked."""

    duration: float
    times: Any
    tau: float
    method: str
    rtol: float
    atol: float
    until_loss: float | None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            name: _check.real(name, getattr(self, name), above=0.0)
            for name in ("duration", "tau", "rtol", "atol")
        }
        if self.until_loss is not None:
            checked["until_loss"] = _check.real("until_loss", self.until_loss)
        if not isinstance(self.method, str) or self.method not in ("auto", *METHODS):
            raise ValueError(
                f"method must be auto or one of {METHODS}, got {_check.shown(self.method)}"
            )
        # SciPy does the same, with a warning.
        checked["rtol"] = max(checked["rtol"], 100 * float(np.finfo(float).eps))
        if self.times is not None:
            grid = _check.floating_array("times", self.times, 1)
            end = checked["duration"]
            if grid[0] < 0 or grid[-1] > end or not (np.diff(grid) > 0).all():
                raise ValueError(f"times must increase within [0, {end:g}], got {grid}")
            checked["times"] = grid
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def cheapest_method(size: int, explicit_steps: float, preconditioned: bool = False) -> str:
    """Choose between LSODA with its dense Jacobian, DOP853 and Krylov by their estimated seconds.

    Krylov is considered where its linear systems have a preconditioner: at rank one, where whole
    cascades take LSODA as well far more steps (fits to `benchmarks/large.py`).

    >>> cheapest_method(36, 2e3), cheapest_method(1161, 2e3), cheapest_method(1161, 1e5)
    ('LSODA', 'DOP853', 'LSODA')
    >>> cheapest_method(136, 1e6, preconditioned=True), cheapest_method(8256, 1e6, True)
    ('LSODA', 'Krylov')
    """
    thousand = size / 1000
    seconds = {
        "LSODA": 0.2 + 0.2 * thousand + 0.6 * thousand**3,
        "DOP853": explicit_steps * (1.7e-4 + 1e-4 * thousand),
    }
    if preconditioned:
        seconds["LSODA"] = 0.2 + 2 * thousand + 55 * thousand**3
        seconds["Krylov"] = 1.3 + 0.9 * thousand + 0.02 * thousand**2
    return "LSODA" if size < 100 else min(seconds, key=seconds.__getitem__)


def integrate(system: Trainable, theta: Array, settings: Settings) -> Solution:
    """Integrate the flow from θ; whatever happens on the way is told by the status."""
    import scipy.integrate

    # Overflow is met within a step, or told by the status; so is what LSODA warns of.
    with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lsoda: ")
        method, grid = _plan(system, theta, settings)
        velocity, jacobian = augmented(system, settings.tau, raising=method == "LSODA")
        options: dict[str, Any] = {"rtol": settings.rtol, "atol": settings.atol}
        if method == "Krylov":
            solver: Any = Krylov
            options.update(system=system, tau=settings.tau)
        else:
            solver = getattr(scipy.integrate, method)
            options.update({"jac": jacobian} if method in IMPLICIT else {})
        build = partial(solver, velocity, **options)
        march = March(np.append(theta, 0.0), settings.duration, grid, method not in IMPLICIT)
        try:
            march.run(velocity, build, _excess(system, settings.until_loss), settings.atol)
        except OverflowedError:
            march.status = "stopped: the weights overflowed"
    return march.solution()


def _plan(system: Any, theta: Array, settings: Settings) -> tuple[str, Array | None]:
    """Solver and times to record, if not all its steps."""
    method, grid = settings.method, settings.times
    products = hasattr(system, "jvp")
    smooth = products and hasattr(system, "jacobian")
    if method in IMPLICIT and not (products if method == "Krylov" else smooth):
        raise ValueError(
            "method must be auto, DOP853, RK45 or RK23 for a system without a Jacobian, "
            f"got {method}"
        )
    rate = _largest_rate(system, theta)
    steps = settings.duration / settings.tau * rate / _EXPLICIT_STABILITY
    if method == "auto" and not smooth:
        method = "DOP853"
    if method == "auto":
        landings = 0 if grid is None else len(grid)
        method = cheapest_method(system.size, steps + landings, preconditioned(system))
    recorded = _IMPLICIT_STEPS if method in IMPLICIT else steps
    if grid is None and 8 * recorded * system.size > _LARGEST_RECORD:
        grid = np.concatenate([[0.0], np.geomspace(1e-6, 1.0, 2000) * settings.duration])
    return method, grid


def _largest_rate(system: Any, theta: Array) -> float:
    """Estimate the largest |eigenvalue| of the flow's Jacobian on the way.

    At the start it is at least that along the velocity. Once the first mode is learned it is
    3 growth·(growth/curvature)^{1/3} of the fastest mode for ATTN_S, and of that scale for the
    other models.
    """
    g = system.velocity(theta)
    speed = float(np.linalg.norm(g))
    rate = _rate_along(system, theta, g, speed) if 0 < speed < np.inf else 0.0
    moments = getattr(system, "moments", None)
    if moments is None:
        return rate or 1.0
    left, values, right = np.linalg.svd(moments.correlation)
    growth, mode = float(values[0]), np.outer(left[:, 0], right[0])
    curvature = float(np.sum(mode * moments.quadratic(mode)))
    return max(rate, 3.0 * growth * (growth / curvature) ** (1 / 3) if curvature > 0 else growth)


def _rate_along(system: Any, theta: Array, g: Array, speed: float) -> float:
    """|Jacobian · g|/|g|, by a difference of velocities where there is no `jvp`."""
    if hasattr(system, "jvp"):
        return float(np.linalg.norm(system.jvp(theta, g / speed)))
    step = 1e-6 * (1.0 + float(np.linalg.norm(theta)))
    return float(np.linalg.norm(system.velocity(theta + step * g / speed) - g)) / step


def augmented(
    system: Any, tau: float, raising: bool = False
) -> tuple[Callable[[float, Array], Array], Callable[[float, Array], Array]]:
    """Right-hand side and Jacobian of (θ, dissipated energy).

    Most solvers reject a step on which they meet infinity or NaN. LSODA goes on with it or never
    returns, and none can factorise a Jacobian with it: there an exception has to end the step.
    """
    n = system.size

    def velocity(_t: float, y: Array) -> Array:
        out = np.empty(n + 1)
        g = system.velocity(y[:n])
        out[:n] = g
        out[n] = 2.0 * np.dot(g, g)  # infinite or NaN if any entry of g is
        if raising and not out[n] < np.inf:
            raise OverflowedError
        return out if tau == 1.0 else out / tau

    def jacobian(_t: float, y: Array) -> Array:
        J = np.zeros((n + 1, n + 1))
        J[:n, :n] = system.jacobian(y[:n])
        J[n, :n] = 4.0 * system.velocity(y[:n]) @ J[:n, :n]
        if not np.isfinite(J).all():
            raise OverflowedError
        return J / tau

    return velocity, jacobian


def _excess(system: Trainable, level: float | None) -> Callable[[Array], float]:
    """How far the loss is above the level at which the run ends."""
    if level is None:
        return lambda y: 1.0
    return lambda y: float(system.loss(y[:-1])) - level

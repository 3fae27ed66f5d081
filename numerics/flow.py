"""Gradient flow: τ dθ/dt = −½ ∂L/∂θ, integrated by `scipy.integrate.solve_ivp`.

Every run carries two error bars of its own: how far the conserved quantities drift, and the gap
in the energy identity L(0) − L(t) = (2/τ) ∫ ‖½ ∂L/∂θ‖² dt, whose right-hand side is one more
component of the integrated state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics.moments import AnyMoments
from numerics.systems import Attention, AttentionSystem, GradientSystem

if TYPE_CHECKING:
    from numerics.networks import NetworkSystem

Array = NDArray[Any]

# Fits to what `benchmarks/solvers.py` measures. An implicit run takes a few thousand steps
# whatever its duration; an explicit one is held by stability to steps of about 6 over the
# largest rate of the converged state, so that its cost grows with the duration.
_EXPLICIT_STABILITY = 6.0
_LARGEST_RECORD = 2**28


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
        Largest change since t = 0 of any conserved quantity.
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
        nearest = np.abs(self.t - np.asarray(times, float)[..., None]).argmin(axis=-1)
        return self.states[nearest]


def gradient_flow(
    model: Attention,
    moments: AnyMoments,
    initial: ArrayLike,
    duration: float,
    *,
    times: ArrayLike | None = None,
    tau: float = 1.0,
    method: str = "auto",
    rtol: float = 1e-8,
    atol: float = 1e-12,
    until_loss: float | None = None,
) -> Trajectory:
    """Integrate τ dθ/dt = −½ ∂L/∂θ from `initial` over [0, duration].

    Parameters
    ----------
    model, moments
        What is trained and on what; the run takes place in the eigenbases of the moments, where
        the right-hand side is cheapest, and comes back in the caller's coordinates.
    initial : (size,)
        θ(0), from ``model.pack`` or ``model.initial_weights``.
    duration : float
        Flow time, > 0; a unit of time is τ divided by the square of the loss' units per weight:
        a mode λ_d is learned at t ≈ τ/(λ_d² v_0).
    times : (T,), optional
        Increasing times in [0, duration] to record; by default the solver's own steps, which
        are dense where the loss moves, or 2,001 log-spaced times where those would take more
        than 256 MiB.
    method : str
        ``"auto"``, or a method of `scipy.integrate.solve_ivp`. Plateaus make the flow stiff:
        auto takes LSODA with the exact Jacobian or, where that is estimated to be cheaper
        (many weights, short duration), DOP853; see `cheapest_method`.
    rtol, atol : float
        Tolerances on the weights.
    until_loss : float, optional
        End the run as soon as the loss has fallen to this.

    Raises
    ------
    ValueError, TypeError
        If a size, a tolerance or a time is out of range; a flow that fails on its way is not an
        error but a `Trajectory` whose status says so.

    Examples
    --------
    >>> from numerics.separate import SeparateAttention
    >>> from numerics.moments import population_moments
    >>> from numerics.tasks import LinearTask
    >>> model = SeparateAttention(dimension=1, heads=1)
    >>> moments = population_moments(LinearTask([[1.0]], context_length=10))
    >>> run = gradient_flow(model, moments, model.pack([0.1], [[0.1]], [[0.1]]), 60.0)
    >>> run.status, round(float(run.loss[-1]), 6)
    ('finished', 0.166667)
    """
    system = AttentionSystem(model, moments)
    theta = _initial_state(initial, system.size)
    settings = _Settings(duration, times, tau, method, rtol, atol, until_loss)
    form, left, right = moments.eigenform()
    if left is None or right is None:
        return _trajectory(system, model, settings, _integrate(system, theta, settings))
    raw = _integrate(AttentionSystem(model, form), model.rotate(theta, left, right), settings)
    raw = replace(raw, states=model.rotate(raw.states, left.T, right.T))
    return _trajectory(system, model, settings, raw)


def system_flow(
    system: GradientSystem | NetworkSystem,
    initial: ArrayLike,
    duration: float,
    *,
    times: ArrayLike | None = None,
    tau: float = 1.0,
    method: str = "auto",
    rtol: float = 1e-8,
    atol: float = 1e-12,
    until_loss: float | None = None,
) -> Trajectory:
    """`gradient_flow` for any gradient system, in its own coordinates."""
    theta = _initial_state(initial, system.size)
    settings = _Settings(duration, times, tau, method, rtol, atol, until_loss)
    model = getattr(system, "model", system)
    return _trajectory(system, model, settings, _integrate(system, theta, settings))


def _initial_state(initial: ArrayLike, size: int) -> Array:
    theta = _check.floating_array("initial", initial, 1)
    _check.same_length("the length of initial", len(theta), "the model", size)
    return theta


@dataclass(frozen=True, eq=False)
class _Settings:
    """A caller's options, checked."""

    duration: float
    times: Any
    tau: float
    method: str
    rtol: float
    atol: float
    until_loss: float | None

    def __post_init__(self) -> None:
        for name in ("duration", "tau", "rtol", "atol"):
            value = _check.real(name, getattr(self, name), above=0.0)
            object.__setattr__(self, name, value)
        if self.until_loss is not None:
            _check.real("until_loss", self.until_loss)
        if self.method != "auto" and self.method not in _METHODS:
            raise ValueError(f"method must be auto or one of {_METHODS}, got {self.method!r}")
        if self.times is None:
            return
        grid = _check.floating_array("times", self.times, 1)
        if grid[0] < 0 or grid[-1] > self.duration or not (np.diff(grid) > 0).all():
            raise ValueError(f"times must increase within [0, {self.duration:g}], got {grid}")
        object.__setattr__(self, "times", grid)


@dataclass(frozen=True, eq=False)
class _Raw:
    """What the solver returns."""

    t: Array
    states: Array
    dissipated: Array
    status: str
    evaluations: int


def _augmented(
    system: GradientSystem, tau: float
) -> tuple[Callable[[float, Array], Array], Callable[[float, Array], Array]]:
    """Right-hand side and Jacobian of (θ, dissipated energy)."""
    n = system.size

    def velocity(_t: float, y: Array) -> Array:
        out = np.empty(n + 1)
        g = system.velocity(y[:n])
        out[:n] = g
        out[n] = 2.0 * np.dot(g, g)
        return out if tau == 1.0 else out / tau

    def jacobian(_t: float, y: Array) -> Array:
        J = np.zeros((n + 1, n + 1))
        J[:n, :n] = system.jacobian(y[:n])
        J[n, :n] = 4.0 * system.velocity(y[:n]) @ J[:n, :n]
        return J / tau

    return velocity, jacobian


def cheapest_method(size: int, explicit_steps: float) -> str:
    """Choose between LSODA with its dense Jacobian and DOP853 by their estimated seconds.

    >>> cheapest_method(36, 2e3), cheapest_method(1161, 2e3), cheapest_method(1161, 1e5)
    ('LSODA', 'DOP853', 'LSODA')
    """
    thousand = size / 1000
    implicit = 0.2 + 0.2 * thousand + 0.6 * thousand**3
    explicit = explicit_steps * (1.7e-4 + 1e-4 * thousand)
    return "LSODA" if implicit < explicit or size < 100 else "DOP853"


def _largest_rate(system: GradientSystem) -> float:
    """Estimate the largest |eigenvalue| of the flow's Jacobian once the first mode is learned.

    For ATTN_S that is 3 growth·(growth/curvature)^{1/3} of the fastest mode; the same scale
    serves for the other models.
    """
    moments = getattr(system, "moments", None)
    if moments is None:
        return 1.0
    left, values, right = np.linalg.svd(moments.correlation)
    growth, mode = float(values[0]), np.outer(left[:, 0], right[0])
    curvature = float(np.sum(mode * moments.quadratic(mode)))
    return 3.0 * growth * (growth / curvature) ** (1 / 3) if curvature > 0 else growth


def _integrate(system: GradientSystem, theta: Array, settings: _Settings) -> _Raw:
    from scipy.integrate import solve_ivp

    method, grid = settings.method, settings.times
    rate = _largest_rate(system) / _EXPLICIT_STABILITY
    steps = settings.duration / settings.tau * rate
    if method == "auto":
        method = cheapest_method(system.size, steps)
    if grid is None and method not in _IMPLICIT and 8 * steps * system.size > _LARGEST_RECORD:
        grid = np.concatenate([[0.0], np.geomspace(1e-6, 1.0, 2000) * settings.duration])
    velocity, jacobian = _augmented(system, settings.tau)
    options: dict[str, Any] = {"jac": jacobian} if method in _IMPLICIT else {}
    if settings.until_loss is not None:
        options["events"] = _loss_event(system, settings.until_loss)
    with np.errstate(over="ignore", invalid="ignore"):
        solution = solve_ivp(
            velocity,
            (0.0, settings.duration),
            np.append(theta, 0.0),
            method=method,
            t_eval=grid,
            rtol=settings.rtol,
            atol=settings.atol,
            **options,
        )
    y = solution.y.T
    status = "finished" if solution.success else f"stopped: {solution.message}"
    finite = np.isfinite(y).all(axis=1)
    if not finite.all():
        y, status = y[: int(finite.argmin())], "stopped: the weights overflowed"
    return _Raw(solution.t[: len(y)], y[:, :-1], y[:, -1], status, int(solution.nfev))


def _loss_event(system: GradientSystem, level: float) -> Callable[[float, Array], float]:
    """Terminal event of `solve_ivp`: the loss has fallen to `level`."""

    def event(_t: float, y: Array) -> float:
        return float(system.loss(y[:-1])) - level

    event.terminal = True  # type: ignore[attr-defined]
    event.direction = -1.0  # type: ignore[attr-defined]
    return event


_METHODS = ("LSODA", "DOP853", "RK45", "RK23", "BDF", "Radau")
_IMPLICIT = ("LSODA", "BDF", "Radau")


def _trajectory(system: GradientSystem, model: Any, settings: _Settings, raw: _Raw) -> Trajectory:
    loss = system.loss(raw.states)
    velocities = [system.velocity(theta) for theta in raw.states]
    rate = np.array([2.0 * float(np.dot(g, g)) / settings.tau for g in velocities])
    conserved = system.invariants(raw.states)
    return Trajectory(
        t=raw.t,
        states=raw.states,
        loss=loss,
        loss_rate=rate,
        invariant_drift=np.abs(conserved - conserved[:1]).max(axis=-1),
        energy_gap=loss[0] - loss - raw.dissipated,
        status=raw.status,
        evaluations=raw.evaluations,
        model=model,
    )

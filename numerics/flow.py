"""Gradient flow: τ dθ/dt = −½ ∂L/∂θ, integrated by `scipy.integrate.solve_ivp`.

Every run carries two error bars of its own: how far the conserved quantities drift, and the gap
in the energy identity L(0) − L(t) = (2/τ) ∫ ‖½ ∂L/∂θ‖² dt, whose right-hand side is one more
component of the integrated state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics.moments import AnyMoments
from numerics.systems import Attention, AttentionSystem, GradientSystem

if TYPE_CHECKING:
    from numerics.networks import NetworkSystem

Array = NDArray[Any]

# Measured by `benchmarks/solvers.py`: up to about this many weights an implicit step with the
# exact Jacobian is cheaper than the steps that stability forces on an explicit pair.
STIFF_SIZE = 400


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
        are dense where the loss moves.
    method : str
        ``"auto"``, or a method of `scipy.integrate.solve_ivp`. Plateaus make the flow stiff:
        auto takes LSODA with the exact Jacobian for small models, DOP853 for large ones.
    rtol, atol : float
        Tolerances on the weights.

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
    form, left, right = moments.eigenform()
    rotated = AttentionSystem(model, form)
    if left is None or right is None:
        states, t, status, count, dissipated = _integrate(
            rotated, theta, duration, times, tau, method, rtol, atol
        )
    else:
        states, t, status, count, dissipated = _integrate(
            rotated, model.rotate(theta, left, right), duration, times, tau, method, rtol, atol
        )
        states = model.rotate(states, left.T, right.T)
    return _trajectory(system, model, t, states, dissipated, tau, status, count)


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
) -> Trajectory:
    """`gradient_flow` for any gradient system, in its own coordinates."""
    theta = _initial_state(initial, system.size)
    states, t, status, count, dissipated = _integrate(
        system, theta, duration, times, tau, method, rtol, atol
    )
    model = getattr(system, "model", system)
    return _trajectory(system, model, t, states, dissipated, tau, status, count)


def _initial_state(initial: ArrayLike, size: int) -> Array:
    theta = _check.floating_array("initial", initial, 1)
    _check.same_length("the length of initial", len(theta), "the model", size)
    return theta


def _recorded_times(times: ArrayLike | None, duration: float) -> Array | None:
    if times is None:
        return None
    grid = _check.floating_array("times", times, 1)
    if grid[0] < 0 or grid[-1] > duration or not (np.diff(grid) > 0).all():
        raise ValueError(f"times must increase within [0, {duration:g}], got {grid}")
    return grid


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


def _integrate(
    system: GradientSystem,
    theta: Array,
    duration: float,
    times: ArrayLike | None,
    tau: float,
    method: str,
    rtol: float,
    atol: float,
) -> tuple[Array, Array, str, int, Array]:
    from scipy.integrate import solve_ivp

    duration = _check.real("duration", duration, above=0.0)
    tau = _check.real("tau", tau, above=0.0)
    rtol = _check.real("rtol", rtol, above=0.0)
    atol = _check.real("atol", atol, above=0.0)
    grid = _recorded_times(times, duration)
    if method == "auto":
        method = "LSODA" if system.size <= STIFF_SIZE else "DOP853"
    velocity, jacobian = _augmented(system, tau)
    options: dict[str, Any] = {"jac": jacobian} if method in _IMPLICIT else {}
    with np.errstate(over="ignore", invalid="ignore"):
        solution = solve_ivp(
            velocity,
            (0.0, duration),
            np.append(theta, 0.0),
            method=method,
            t_eval=grid,
            rtol=rtol,
            atol=atol,
            **options,
        )
    y = solution.y.T
    finite = np.isfinite(y).all(axis=1)
    if not finite.all():
        y = y[: int(finite.argmin())]
        status = "stopped: the weights overflowed"
    else:
        status = "finished" if solution.success else f"stopped: {solution.message}"
    return y[:, :-1].copy(), solution.t[: len(y)], status, int(solution.nfev), y[:, -1]


_IMPLICIT = ("LSODA", "BDF", "Radau")


def _trajectory(
    system: GradientSystem,
    model: Any,
    t: Array,
    states: Array,
    dissipated: Array,
    tau: float,
    status: str,
    count: int,
) -> Trajectory:
    loss = system.loss(states)
    velocities = [system.velocity(theta) for theta in states]
    rate = np.array([2.0 * float(np.dot(g, g)) / tau for g in velocities])
    conserved = system.invariants(states)
    return Trajectory(
        t=t,
        states=states,
        loss=loss,
        loss_rate=rate,
        invariant_drift=np.abs(conserved - conserved[:1]).max(axis=-1),
        energy_gap=loss[0] - loss - dissipated,
        status=status,
        evaluations=count,
        model=model,
    )

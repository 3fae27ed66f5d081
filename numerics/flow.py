"""Gradient flow: τ dθ/dt = −½ ∂L/∂θ, integrated by SciPy's solvers or, at large D, by our own.

Every run carries two error bars of its own: how far the conserved quantities drift, and the gap
in the energy identity L(0) − L(t) = (2/τ) ∫ ‖½ ∂L/∂θ‖² dt, whose right-hand side is one more
component of the integrated state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.integrate.march import Solution
from numerics.integrate.solver import Settings, integrate
from numerics.moments import AnyMoments
from numerics.systems import Attention, AttentionSystem, Trainable
from numerics.trajectory import Trajectory, assemble

Array = NDArray[Any]


@guarded
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
        Flow time, > 0, in the unit of τ: ATTN_S learns a mode λ_d at t ≈ τ/(λ_d² v_0).
    times : (T,), optional
        Increasing times in [0, duration] to record; by default the solver's own steps, which
        are dense where the loss moves, or 2,001 log-spaced times where those would take more
        than 256 MiB. The states there are as accurate as at the steps: explicit methods step
        onto these times, which costs them up to a dozen evaluations for each; implicit ones
        interpolate. A run that ends early records the point where it ended as well.
    method : str
        ``"auto"``, a method of `scipy.integrate.solve_ivp`, or ``"Krylov"``, implicit and
        matrix-free (`numerics.integrate.krylov`). Plateaus make the flow stiff: auto takes LSODA
        with the exact Jacobian or, where `numerics.integrate.solver.cheapest_method` estimates that
        to be cheaper, DOP853 (many weights, short duration) or Krylov (many weights, rank one).
    rtol, atol : float
        Tolerances on the weights.
    until_loss : float, optional
        End the run as soon as the loss has fallen to this; at t = 0 if it starts there.

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
    theta = _check.state("initial", initial, system.size)
    settings = Settings(duration, times, tau, method, rtol, atol, until_loss)
    form, left, right = moments.eigenform()
    if left is None or right is None:
        return _trajectory(system, theta, settings.tau, integrate(system, theta, settings))
    turned = AttentionSystem(model, form)
    solution = integrate(turned, model.rotate(theta, left, right), settings)
    solution = replace(solution, states=model.rotate(solution.states, left.T, right.T))
    return _trajectory(system, theta, settings.tau, solution)


@guarded
def system_flow(
    system: Trainable,
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
    """`gradient_flow` for any gradient system, in its own coordinates.

    A system without a Jacobian, such as a `LayerSystem`, takes the explicit methods alone; auto is
    DOP853 then, and plateaus cost it as many steps as they are long.

    Examples
    --------
    >>> from numerics import AttentionLayer, LayerSystem, LinearTask, sample_sequences
    >>> layer = AttentionLayer(dimension=1, heads=1, attention="softmax")
    >>> system = LayerSystem.of(layer, sample_sequences(LinearTask([[1.0]], 9), 50, rng=0))
    >>> system_flow(system, layer.initial_weights(0.3, rng=0), 5.0).status
    'finished'
    >>> system_flow(system, layer.initial_weights(0.3, rng=0), 5.0, method="LSODA")
    Traceback (most recent call last):
        ...
    ValueError: method must be auto, DOP853, RK45 or RK23 for a system without a Jacobian, got LSODA
    """
    theta = _check.state("initial", initial, system.size)
    settings = Settings(duration, times, tau, method, rtol, atol, until_loss)
    return _trajectory(system, theta, settings.tau, integrate(system, theta, settings))


def _trajectory(system: Trainable, initial: Array, tau: float, solution: Solution) -> Trajectory:
    with np.errstate(over="ignore", invalid="ignore"):
        rate = np.array(
            [2.0 * float(np.dot(g, g)) / tau for g in map(system.velocity, solution.states)]
        )
    return assemble(
        system,
        initial,
        solution.t,
        solution.states,
        loss_rate=rate,
        dissipated=solution.dissipated,
        status=solution.status,
        evaluations=solution.evaluations,
    )

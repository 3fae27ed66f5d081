"""Gradient flow of many runs at once: τ dθ/dt = −½ ∂L/∂θ, each row with its own steps and errors.

As in `numerics.flow`, a run carries two error bars: the drift of the conserved quantities, and the
gap in L(0) − L(t) = (2/τ) ∫ ‖½ ∂L/∂θ‖² dt, whose right-hand side is one more component.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpu import _arrays
from gpu._arrays import Array, like, namespace, rows_first, rows_last, to_host
from gpu.ensemble import Ensemble, assemble
from gpu.integrate import integrate
from gpu.moments import BatchedMoments
from gpu.systems import Attention, AttentionSystem, System
from numerics import _check


def gradient_flow(
    model: Attention,
    moments: BatchedMoments,
    initial: Array,
    duration: float,
    *,
    times: ArrayLike | None = None,
    tau: float = 1.0,
    method: str = "auto",
    rtol: float = 1e-8,
    atol: float = 1e-12,
    max_steps: int = 10**7,
    memory: int | None = None,
) -> Ensemble:
    """Integrate τ dθ/dt = −½ ∂L/∂θ of every row; `numerics.gradient_flow` row by row.

    There is no `until_loss`: every row runs to `duration`.

    Parameters
    ----------
    model : MergedAttention or SeparateAttention
        Of `numerics`.
    moments
        From `stack_moments`, one row for each run or one for all. The runs take place in the
        eigenbases of the moments, where the right-hand side is cheapest.
    initial : (rows, size)
        θ(0) of each row, e.g. from `initial_weights`.
    duration : float
        Flow time, > 0, in the unit of τ: ATTN_S learns a mode λ_d at t ≈ τ/(λ_d² v_0).
    times : (T,), optional
        Increasing times in [0, duration] to record, of the host; 201 at equal distances if left
        out. Rows interpolate between steps of their own.
    tau : float
        τ > 0.
    method : str
        ``"explicit"`` (Dormand and Prince's 5(4)), ``"implicit"`` (with the Jacobian: walks
        plateaus), ``"Chebyshev"`` (stabilised, of order 4: walks plateaus without a Jacobian,
        whatever the size), or ``"auto"``, which a pilot of a few rows chooses.
    rtol, atol : float
        Tolerances on the weights of each row.
    max_steps : int
        Steps after which a row gives up.
    memory : int, optional
        Bytes for the integration; by default half of what is free. Rows that do not fit go one
        chunk after another.

    Returns
    -------
    Ensemble
        A row that stopped early has NaN from there on and a status that says why.

    Raises
    ------
    ValueError, TypeError
        If a size, a tolerance or a time is out of range, or arrays are not of one kind.

    Examples
    --------
    >>> from gpu import initial_weights, stack_moments
    >>> from numerics import LinearTask, SeparateAttention
    >>> model = SeparateAttention(dimension=1, heads=1)
    >>> moments = stack_moments([LinearTask([[1.0]], N) for N in (10, 50)])
    >>> run = gradient_flow(model, moments, np.full((2, 3), 0.1), 80.0)
    >>> run.status, run.loss[:, -1].round(4).tolist()
    (('finished', 'finished'), [0.1667, 0.0385])
    """
    system = AttentionSystem(model, moments)
    state = rows_last(_arrays.finite("initial", system.checked("initial", initial)))
    options = {"method": method, "rtol": rtol, "atol": atol, "max_steps": max_steps}
    form, left, right = moments.eigenform()
    if left is None or right is None:
        return _flow(system, state, duration, times, tau, memory=memory, **options)
    turned = AttentionSystem(model, form)
    start = system.problem.rotate(state, left, right)
    run = _flow(turned, start, duration, times, tau, memory=memory, **options)
    return _turned_back(run, system, left, right)


def system_flow(
    system: System,
    initial: Array,
    duration: float,
    *,
    times: ArrayLike | None = None,
    tau: float = 1.0,
    method: str = "auto",
    rtol: float = 1e-8,
    atol: float = 1e-12,
    max_steps: int = 10**7,
    memory: int | None = None,
) -> Ensemble:
    """`gradient_flow` of any system of this package, in its own coordinates.

    [S]'s spectral flow has τ = 1/2 (`numerics.softmax.spectral.PAPER_TAU`). A system without a
    Jacobian cannot take the implicit method.
    """
    state = rows_last(_arrays.finite("initial", system.checked("initial", initial)))
    options = {"method": method, "rtol": rtol, "atol": atol, "max_steps": max_steps}
    return _flow(system, state, duration, times, tau, memory=memory, **options)


class Dissipating:
    """A problem with the dissipated energy 2∫‖½ ∂L/∂θ‖²/τ as one more component."""

    def __init__(self, problem: Any, tau: float) -> None:
        self.inner, self.tau, self.size = problem, tau, problem.size + 1
        if hasattr(problem, "jacobian"):
            self.jacobian = self._jacobian

    def velocity(self, state: Array) -> Array:
        """(g, 2‖g‖²)/τ."""
        xp, g = namespace(state), self.inner.velocity(state[:-1, :])
        fall = 2.0 * xp.sum(g * g, axis=0, keepdims=True)
        whole = xp.concat([g, fall], axis=0)
        return whole if self.tau == 1.0 else whole / self.tau

    def _jacobian(self, state: Array) -> Array:
        """Derivative of the velocity, (size, size, rows)."""
        xp, theta = namespace(state), state[:-1, :]
        J, g = self.inner.jacobian(theta), self.inner.velocity(theta)
        last = 4.0 * xp.sum(g[:, None, :] * J, axis=0, keepdims=True)
        whole = xp.concat([J, last], axis=0)
        return xp.concat([whole, xp.zeros_like(whole[:, :1, :])], axis=1) / self.tau

    def take(self, rows: Array) -> Dissipating:
        """The problem of some rows."""
        return Dissipating(self.inner.take(rows), self.tau)


def _flow(
    system: System, initial: Array, duration: float, times: Any, tau: float, **options: Any
) -> Ensemble:
    """The flow from states (size, rows) in a system's own coordinates."""
    xp, problem = namespace(initial), system.problem
    duration = _check.real("duration", duration, above=0.0)
    tau = _check.real("tau", tau, above=0.0)
    grid = np.linspace(0.0, duration, 201) if times is None else times
    grid = _check.floating_array("times", grid, 1)
    whole = xp.concat([initial, xp.zeros_like(initial[:1, :])], axis=0)
    solution = integrate(Dissipating(problem, tau), whole, duration, times=grid, **options)
    record: Array = solution.record
    states = [record[i, :-1, :] for i in range(len(grid))]
    with np.errstate(over="ignore", invalid="ignore"):
        rates = [xp.sum(g * g, axis=0) for g in (problem.velocity(state) for state in states)]
        return assemble(
            problem,
            initial,
            like(initial, grid),
            states,
            loss_rate=[(2.0 / tau) * rate for rate in rates],
            dissipated=[record[i, -1, :] for i in range(len(grid))],
            status=tuple(solution.texts()),
            evaluations=to_host(solution.evaluations),
        )


def _turned_back(run: Ensemble, system: AttentionSystem, left: Array, right: Array) -> Ensemble:
    """The same run in the caller's coordinates."""
    xp = namespace(left)
    back = tuple(xp.permute_dims(basis, (0, 2, 1)) for basis in (left, right))
    states = [
        rows_first(system.problem.rotate(rows_last(run.states[:, i, :]), *back))
        for i in range(run.states.shape[1])
    ]
    return replace(run, states=xp.stack(states, axis=1))


__all__ = ["gradient_flow", "system_flow"]

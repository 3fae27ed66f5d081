"""How far flows and quadratures are from their references, beside the tolerance asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp, mpf

from precision import integrals

SAFETY = 30.0  # times rtol: some thirty steps, each of which may err by rtol


class Flow(NamedTuple):
    """One reference: its name, the error found and the error allowed."""

    name: str
    point: str
    error: float
    allowed: float


@cache
def separate_reference(
    heads: int, lam: tuple[float, ...], omega: tuple[float, ...], start: tuple[float, ...],
    duration: float,
) -> list[Any]:  # fmt: skip
    """The state of ATTN_S at the end, N = 7 and σ = 0.2, in 30 digits."""
    with mp.workdps(integrals.DIGITS):
        spectra = [mpf(a) for a in lam], [mpf(w) for w in omega]
        velocity = integrals.separate_velocity(*spectra, 7, mpf(0.2), heads)
        return integrals.integrate(velocity, [mpf(x) for x in start], mpf(duration), 16)


@cache
def spectral_reference(start: tuple[float, ...], duration: float) -> list[Any]:
    """The state of two softmax heads at the end, λ = (1, 0.6), L = 9 and σ = 0.3, in 30 digits."""
    with mp.workdps(integrals.DIGITS):
        velocity = integrals.spectral_velocity((2, 3), [mpf(1), mpf(0.6)], 9, mpf(0.3), 2, 4)
        return integrals.integrate(velocity, [mpf(x) for x in start], mpf(duration), 10)


def gradient_flows(tolerances: Iterable[float]) -> list[Flow]:
    """ATTN_S at D = 2, from random weights, past the escape from zero."""
    from numerics import LinearTask, SeparateAttention, gradient_flow, population_moments

    found = []
    for heads, lam, omega, seed in ((1, [1.3, 0.6], [1.0, 1.0], 0), (2, [1.1, 0.4], [0.7, 2.0], 1)):
        task = LinearTask.from_eigenvalues(lam, 7, task_eigenvalues=omega, noise=0.2)
        model = SeparateAttention(2, heads)
        start, duration = model.initial_weights(0.5, rng=seed), 6.0
        exact = separate_reference(heads, tuple(lam), tuple(omega), tuple(start.tolist()), duration)
        for rtol in tolerances:
            moments = population_moments(task)
            run = gradient_flow(model, moments, start, duration, rtol=rtol, atol=1e-3 * rtol)
            found.append(_flow("gradient_flow", f"D = 2, H = {heads}, rtol = {rtol:g}",
                               run.states[-1], exact, SAFETY * rtol))  # fmt: skip
    return found


def spectral_flows(tolerances: Iterable[float]) -> list[Flow]:
    """[S]'s flow of two heads on two tasks, in warm-up, emergence and convergence."""
    from numerics import MultiTask, SpectralAttention, SpectralSystem, spectral_flow

    model = SpectralAttention(block_dims=(2, 3), heads=2, embedding_dim=4)
    start = np.random.default_rng(2).uniform(0.1, 0.6, model.size)
    system = SpectralSystem(model, MultiTask((2, 3), (1.0, 0.6), 9, noise=0.3))
    found, duration = [], 1.5
    exact = spectral_reference(tuple(start.tolist()), duration)
    for rtol in tolerances:
        run = spectral_flow(system, start, duration, rtol=rtol, atol=1e-3 * rtol)
        found.append(_flow("spectral_flow", f"H = 2, d = (2, 3), rtol = {rtol:g}",
                           run.states[-1], exact, SAFETY * rtol))  # fmt: skip
    return found


def exact_losses() -> list[Flow]:
    """`exact_task_loss` at L = 2 and 3 from narrow to saturated scores."""
    from numerics import exact_task_loss

    sums: tuple[tuple[int, Callable[..., Any]], ...] = (
        (2, integrals.two_token_loss),
        (3, integrals.three_token_loss),
    )
    found = []
    for length, reference in sums:
        for mu, omega, d, lam, noise in ((1.2, 0.3, 1, 1.0, 0.0), (0.7, 0.8, 3, 2.0, 0.5),
                                         (2.0, 1.0, 4, 0.3, 0.1)):  # fmt: skip
            value = float(reference(mu, omega, d, lam, noise))
            got = exact_task_loss(omega, mu, d, lam, length, noise=noise)
            # Asked for: rtol = 1e-9 of the loss.
            found.append(Flow("exact_task_loss", f"L = {length}, d = {d}, ω̄ = {omega:g}",
                              abs(got.value / value - 1), 1e-9))  # fmt: skip
    return found


def _flow(name: str, point: str, got: Any, exact: Any, allowed: float) -> Flow:
    reference = np.array([float(x) for x in exact])
    error = float(np.abs(np.asarray(got) - reference).max() / np.abs(reference).max())
    return Flow(name, point, error, allowed)


def all_flows(full: bool = False) -> list[Flow]:
    """Every flow and quadrature."""
    tolerances = (1e-4, 1e-6, 1e-8, 1e-10) if full else (1e-6, 1e-8, 1e-10)
    return [*gradient_flows(tolerances), *spectral_flows(tolerances), *exact_losses()]

"""How long each phase of training lasts, from given balanced weights, in the time of [S]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytic import softmax as closed

from .theory import Tasks

SHARE = 0.5  # of the warm-up's velocity that is neglected where it ends
CLOSE = 0.1  # |1 − dω̄²| at which convergence begins
POINTS = 2001


@dataclass(frozen=True)
class Phases:
    """Of the head that leads one task; None where the start lies beyond the warm-up.

    `mu_share` is the share of dμ/dt that the warm-up neglects at the start.
    """

    invariant: float
    blow_up_time: float
    mu_share: float
    warmup_time: float | None
    warmup_omega: float | None
    warmup_mu: float | None
    emergence_time: float | None


def find_phases(tasks: Tasks, length: int, omega: float, mu: float) -> list[Phases]:
    """The phases of each task's leading head."""
    kinds = list(zip(tasks.sizes.tolist(), tasks.signal.tolist(), strict=True))
    known = {kind: _phases(*kind, tasks, length, omega, mu) for kind in set(kinds)}
    return [known[kind] for kind in kinds]


def _phases(
    d: float, signal: float, tasks: Tasks, length: int, omega: float, mu: float
) -> Phases:  # fmt: skip
    world = (d, signal, length, tasks.embedding_dim)
    noise: Any = {"noise": tasks.noise}
    start = (omega, mu, d, signal, tasks.embedding_dim)
    cost = float(closed.noise_factor(d, signal, **noise)) * d / length
    small = d * omega**2 < 1 - CLOSE
    share = closed.neglected_share(omega, mu, d, signal, length, **noise)[1] if small else math.inf
    # What `warmup_end` asks of a start.
    begins = small and omega * mu * (1 + cost) < SHARE
    end = closed.warmup_end(omega, mu, *world, **noise, share=SHARE) if begins else None
    return Phases(
        float(closed.warmup_invariant(omega, mu, d, 1.0, math.inf, tasks.embedding_dim)),
        float(closed.blow_up_time(*start)),
        float(share),
        None if end is None else float(end.time),
        None if end is None else float(end.omega_bar),
        None if end is None else float(end.mu),
        None if end is None else _emergence(float(end.omega_bar), world, tasks.noise),
    )


def _emergence(omega: float, world: tuple[float, float, int, int], noise: float) -> float:
    """∫ dω̄/(dω̄/dt) from the end of the warm-up until |1 − dω̄²| = `CLOSE`, on a grid of ln ω̄."""
    last = float(np.sqrt((1 - CLOSE) / world[0]))
    if omega >= last:
        return 0.0
    grid: NDArray[Any] = np.geomspace(omega, last, POINTS)
    rate = closed.emergence_velocity(grid, *world, noise=noise) / grid
    return float(np.trapezoid(1 / rate, np.log(grid)))

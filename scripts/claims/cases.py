"""The cases that several claims share: tasks, seeds and runs, each computed once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from numerics import (
    LinearTask,
    SeparateAttention,
    Trajectory,
    gradient_flow,
    population_moments,
)

# [L] Fig. 3.
EIGENVALUES = np.array([0.4, 0.3, 0.2, 0.1])
CONTEXT = 31
SEEDS = (0, 1, 2, 3, 4, 5)
EPS = float(np.finfo(float).eps)


@lru_cache
def reference_task(rotation_seed: int = 0) -> LinearTask:
    """[L] Fig. 3's task, D=4, N=31, in a random orthonormal basis."""
    return LinearTask.from_eigenvalues(EIGENVALUES, CONTEXT, rng=rotation_seed)


def eigenbasis(task: Any) -> np.ndarray:
    """Eigenvectors of Λ as columns, in descending order of the eigenvalues."""
    return np.asarray(np.linalg.eigh(task.covariance)[1][:, ::-1])


@lru_cache
def cascade_run(scale: float, seed: int, rtol: float = 1e-9) -> Trajectory:
    """Gradient flow of ATTN_S, D=H=4, R=1, from N(0, scale²) weights through all four drops."""
    task = reference_task()
    model = SeparateAttention(dimension=4, heads=4)
    start = model.initial_weights(scale, rng=seed)
    # The slowest mode needs about τ/(λ_4² v_0), v_0 of the order of the scale; 6 leaves room.
    duration = 6.0 / (EIGENVALUES[-1] ** 2 * scale)
    return gradient_flow(model, population_moments(task), start, duration, rtol=rtol)

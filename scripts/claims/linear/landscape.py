"""Searching the set of fixed points in function space, for any rank."""

from __future__ import annotations

import numpy as np

import analytic
from claims.cases import eigenbasis
from numerics import AttentionSystem, LinearTask, find_fixed_point
from numerics.moments import AnyMoments
from numerics.systems import Attention

# A degenerate root with |gradient| < 1e-10 leaves M uncertain by about its square root; the
# controls move the predicted points by 1 %.
TOLERANCE = 1e-3


def set_of_functions(task: LinearTask) -> np.ndarray:
    """The 2^D predicted matrices M_S, (2^D, D, D)."""
    basis, spectrum = eigenbasis(task), np.sort(np.linalg.eigvalsh(task.covariance))[::-1]
    subsets = analytic.fixed_point_subsets(task.dimension)
    N = 1 / task.inverse_context_length
    m = analytic.fixed_point_coefficients(subsets, spectrum, N, noise=task.noise)
    return np.asarray((basis * m[:, None, :]) @ basis.T)


def find_functions(
    model: Attention,
    moments: AnyMoments,
    starts: int,
    seed: int,
    *,
    sizes: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0),
    gradient: float = 1e-10,
) -> np.ndarray:
    """Matrices M of the roots of the gradient reached from random starts of several sizes.

    What ends with |∂L/∂θ|/2 of `gradient` or more is no root and is left out.
    """
    system = AttentionSystem(model, moments)
    rng, found = np.random.default_rng(seed), []
    for i in range(starts):
        start = rng.standard_normal(system.size) * sizes[i % len(sizes)]
        root = find_fixed_point(system, start)
        if np.linalg.norm(system.velocity(root)) < gradient:
            found.append(model.matrix(root))
    return np.array(found).reshape(-1, model.dimension, model.dimension)


def nearest(found: np.ndarray, points: np.ndarray) -> list[int]:
    """For each matrix the index of the point that it equals, or −1."""
    scale = np.linalg.norm(points, axis=(1, 2)).max()
    distances = np.linalg.norm(found[:, None] - points[None], axis=(2, 3)) / scale
    best = distances.argmin(axis=1)
    return [int(i) if distances[row, i] < TOLERANCE else -1 for row, i in enumerate(best)]


def mismatch(found: np.ndarray, points: np.ndarray) -> int:
    """How many matrices equal none of the points."""
    return nearest(found, points).count(-1)


def distinct(found: np.ndarray, points: np.ndarray) -> int:
    """How many of the points are among the matrices."""
    return len({i for i in nearest(found, points) if i >= 0})

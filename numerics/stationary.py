"""Stationary points of low rank on the moments of a finite sample.

There E[zzᵀ] has no product structure, so that the closed forms of the population do not apply; but
L(K Qᵀ) is quadratic in each of its two factors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.moments import DenseMoments, matrix_loss

Array = NDArray[Any]

_ROUNDS = 300
_SETTLED = 1e-13  # of E y_q²


@guarded
def stationary_loss(moments: DenseMoments, start: Array, rank: int) -> float:
    """L at the stationary point of matrices K Qᵀ of a rank that is nearest downhill from `start`.

    L is quadratic in K at fixed Q and the other way round: alternate until neither falls.

    >>> from numerics import LinearTask, dense_moments, population_moments
    >>> moments = dense_moments(population_moments(LinearTask(np.diag([0.4, 0.3]), 31)))
    >>> plateau = 0.7 - 0.4 / (1 + (1 + 0.7 / 0.4) / 31)  # [L] Eq. 19
    >>> bool(np.isclose(stationary_loss(moments, np.diag([2.0, 0.0]), 1), plateau, rtol=1e-12))
    True
    """
    start = _check.floating_array("start", start, 2)
    size = len(moments.correlation)
    if start.shape != (size, size):
        raise ValueError(f"start must have shape {(size, size)}, got {start.shape}")
    if _check.count("rank", rank) > size:
        raise ValueError(f"rank must be <= {size}, got {rank}")
    left, values, right = np.linalg.svd(start)
    keys = left[:, :rank] * np.sqrt(values[:rank])
    queries = right[:rank].T * np.sqrt(values[:rank])
    quadratic = moments.feature_moment.reshape(size, size, size, size)  # [j, i, l, k], M[i, j]
    mirrored = quadratic.transpose(1, 0, 3, 2)
    before = moments.energy
    for _ in range(_ROUNDS):
        keys = _best(quadratic, moments.correlation, np.linalg.qr(queries)[0])
        queries = _best(mirrored, moments.correlation.T, np.linalg.qr(keys)[0])
        after = float(matrix_loss(moments, np.linalg.qr(keys)[0] @ queries.T))
        if before - after <= _SETTLED * moments.energy:
            break
        before = after
    return after


def _best(quadratic: Array, correlation: Array, queries: Array) -> Array:
    """K that minimises L(K Qᵀ) at fixed Q: E[(Qᵀx_q ⊗ β)(…)ᵀ] K = C Q."""
    size, rank = queries.shape
    half = np.tensordot(queries, quadratic, axes=(0, 0))  # [r, i, l, k]
    normal = np.tensordot(half, queries, axes=(2, 0))  # [r, i, k, s]
    normal = normal.transpose(1, 0, 2, 3).reshape(size * rank, size * rank)
    right = (correlation @ queries).ravel()
    try:
        np.linalg.cholesky(normal)
        solution = np.linalg.solve(normal, right)
    except np.linalg.LinAlgError:  # fewer sequences than numbers in K
        solution = np.linalg.lstsq(normal, right, rcond=None)[0]
    return np.asarray(solution.reshape(size, rank))

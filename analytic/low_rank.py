"""ATTN_S of rank R reduced to scalars: every pair of a head follows one eigenvector.

Notation: head h has value weight v_h and R pairs k_hr = q_hr = κ_hr e_d with d = modes[h, r]. Then
M = Σ_d m_d e_d e_dᵀ with m_d = Σ v_h κ_hr² over the pairs on mode d. growth = λ²ω, curvature = sλ
(`mode_growth`, `mode_curvature`). Flow τ dW/dt = −½ ∂L/∂W. [L] is arXiv 2501.16265v2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _check
from ._generic import Number, column, harmonise, is_object, total
from ._guard import guarded


@guarded
def low_rank_velocity(
    v: Number,
    kappa: Number,
    modes: Any,
    growth: Number,
    curvature: Number,
    *,
    tau: Number = 1,
) -> tuple[Number, Number]:
    """Return (dv/dt, dκ/dt) of aligned heads of rank R.

    With g_d = growth_d − curvature_d m_d and d the mode of the pair::

        τ v̇_h = Σ_r κ_hr² g_d,    τ κ̇_hr = v_h κ_hr g_d

    Parameters
    ----------
    v
        (..., H), value weights.
    kappa
        (..., H, R), amplitudes of the pairs, key and query alike.
    modes
        Integers (H, R) in 0 … D − 1, the mode of each pair.
    growth
        λ²ω (..., D) >= 0.
    curvature
        sλ (..., D) > 0.
    tau
        τ > 0.

    Returns
    -------
    dv/dt (..., H) and dκ/dt (..., H, R).

    Raises
    ------
    ValueError
        If shapes disagree, a mode is out of range, or a rate is out of its range.

    Notes
    -----
    An invariant manifold of [L] Eq. 14 at rank R, exact at every N. Derived here; R = 1, H = 1,
    κ = v is [L] Eq. 21.
    Accuracy: 8 eps of the sum of the absolute values of its terms.

    Examples
    --------
    >>> dv, dk = low_rank_velocity([0.5], [[0.5, 0.1]], [[0, 1]], [4.0, 1.0], [8.0, 2.0])
    >>> dv.round(4).tolist(), dk.round(4).tolist()
    ([0.7599], [[0.75, 0.0495]])
    """
    value = _check.finite("v", _check.vector("v", v))
    pairs = _check.finite("kappa", _check.vector("kappa", kappa))
    rise = _check.non_negative("growth", _check.vector("growth", growth))
    bend = _check.positive("curvature", _check.vector("curvature", curvature))
    tau = _check.positive("tau", tau)
    value, pairs, rise, bend, tau = harmonise(value, pairs, rise, bend, tau)
    size = rise.shape[-1]
    table = _modes(modes, size, pairs.shape, value.shape)
    weight = column(value) * pairs * pairs
    one_hot = _one_hot(table, size, weight)
    flat = weight.__array_namespace__().reshape(weight, (*weight.shape[:-2], table.size))
    force = rise - bend * (flat @ one_hot)
    xp = force.__array_namespace__()
    drive = xp.take(force, xp.asarray(table.reshape(-1)), axis=-1)
    drive = xp.reshape(drive, (*drive.shape[:-1], *table.shape))
    return total(pairs * pairs * drive) / tau, column(value) * pairs * drive / tau


def _modes(modes: Any, size: int, pairs: tuple[int, ...], value: tuple[int, ...]) -> np.ndarray:
    table = _check.indices("modes", modes, "(H, R)")
    if len(pairs) < 2 or table.shape != pairs[-2:] or value[-1] != pairs[-2]:
        raise ValueError(
            f"v (..., H), kappa (..., H, R) and modes (H, R) must agree, "
            f"got {value}, {pairs} and {table.shape}"
        )
    if table.size and not (table.min() >= 0 and table.max() < size):
        raise ValueError(f"modes must be in 0 … {size - 1}, got {table.min()} … {table.max()}")
    return table


def _one_hot(table: np.ndarray, size: int, like: Number) -> Number:
    hot = table.reshape(-1)[:, None] == np.arange(size)
    if is_object(like):
        return hot.astype(int).astype(object)
    xp = like.__array_namespace__()
    return xp.asarray(hot.astype(np.float64), dtype=like.dtype)

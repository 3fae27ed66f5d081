"""The 2^D fixed points of ATTN_S and their weights of least norm.

Notation: M = Σ_h v_h k_h q_hᵀ. λ (..., D) eigenvalues of Λ, ω of Ω, s of S, N context pairs, σ the
label noise, T = tr(ΩΛ). A fixed point in function space is one subset of the D eigenvectors, the
modes it has learned: M = Σ m_d e_d e_dᵀ over the subset, m_d from `mode_coefficients`. A subset is
a boolean mask (..., D). Loss L = E(ŷ − y_q)². [L] is arXiv 2501.16265v2, where Ω = I, σ = 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _check
from ._generic import Number, cbrt, harmonise, is_array, total
from ._guard import guarded
from ._spectrum import Spectrum, descending, spectrum

_LARGEST_ENUMERATION = 20


@guarded
def fixed_point_subsets(dimension: int) -> np.ndarray:
    """Return all subsets of D modes as a boolean array (2^D, D); row r holds the bits of r.

    Raises `ValueError` unless 1 <= D <= 20 and `TypeError` for a non-integer. [L] Eq. 16.

    Accuracy: exact.

    Examples
    --------
    >>> fixed_point_subsets(2).tolist()
    [[False, False], [True, False], [False, True], [True, True]]
    """
    size = _check.integer("dimension", dimension, 1, _LARGEST_ENUMERATION)
    return (np.arange(2**size)[:, None] >> np.arange(size)) % 2 == 1


@guarded
def fixed_point_coefficients(
    subset: Any,
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Number:
    """Return the eigenvalues of M at a fixed point: m_d on the subset, 0 elsewhere (..., D).

    `subset` is a boolean mask (..., D), which broadcasts with the spectrum: with
    ``fixed_point_subsets(D)`` the answer holds all fixed points. Other arguments, range and errors
    as in `mode_curvature`; a subset that is not boolean raises `TypeError`. [L] Eq. 18; Ω and σ
    derived here.

    Accuracy: 8 eps.

    Examples
    --------
    >>> fixed_point_coefficients([True, False], [2.0, 1.0], float("inf")).tolist()
    [0.5, 0.0]
    """
    chosen, modes = _subset(subset, eigenvalues, context_length, task_eigenvalues, noise)
    return _select(chosen, modes.coefficient, 0 * modes.coefficient)


@guarded
def fixed_point_loss(
    subset: Any,
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Number:
    """Return L = tr(ΩΛ) − Σ of the gains in the subset (...), at a fixed point of ATTN_S.

    Arguments and errors as in `fixed_point_coefficients`; the sum is that of `plateau_losses`, in
    units of y². [L] Eq. 19; Ω and σ derived here.

    Accuracy: 16 eps.

    Examples
    --------
    >>> float(fixed_point_loss([True, False], [2.0, 1.0], float("inf")))
    1.0
    """
    chosen, modes = _subset(subset, eigenvalues, context_length, task_eigenvalues, noise)
    return total(_select(chosen, modes.remaining, modes.signal))


@guarded
def ansatz_weights(
    subset: Any,
    eigenvalues: Number,
    context_length: Number,
    *,
    heads: int | None = None,
    eigenvectors: Number | None = None,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> tuple[Number, Number, Number]:
    """Return weights (v, k, q) at a fixed point: k = q = v e_i in the head that learned mode i.

    v = m_i^{1/3}; the learned modes fill the first heads in visit order, the other heads are zero.

    Parameters
    ----------
    subset
        Boolean mask (D,).
    eigenvalues
        λ (D,) > 0.
    context_length, task_eigenvalues, noise
        As in `mode_curvature`.
    heads
        H, at least the number of learned modes; None is D.
    eigenvectors
        (D, D), eigenvectors of Λ as columns, like `numpy.linalg.eigh`; None is the identity.

    Returns
    -------
    v (H,), k (H, D), q (H, D).

    Raises
    ------
    ValueError
        If there are fewer heads than learned modes, or as in `fixed_point_coefficients`.

    Notes
    -----
    [L] Eq. 20; Ω and σ derived here.
    Accuracy: 5 eps.

    Examples
    --------
    >>> v, k, q = ansatz_weights([False, True], [1.0, 0.125], float("inf"), heads=2)
    >>> v.tolist(), k.tolist()
    ([2.0, 0.0], [[0.0, 2.0], [0.0, 0.0]])
    """
    chosen, modes = _subset(subset, eigenvalues, context_length, task_eigenvalues, noise)
    coefficient = _select(chosen, modes.coefficient, 0 * modes.coefficient)
    if coefficient.ndim != 1:
        raise ValueError(
            f"subset and eigenvalues must describe one fixed point, shape (D,), "
            f"got {coefficient.shape}"
        )
    size = coefficient.shape[0]
    learned = [int(d) for d in descending(modes.growth) if bool(chosen[int(d)])]
    count = size if heads is None else _check.integer("heads", heads, 0, 10**6)
    if count < len(learned):
        raise ValueError(f"heads must be at least {len(learned)}, the learned modes, got {count}")
    place = _placement(learned, count, coefficient)
    scale = cbrt(coefficient)
    key = place * scale
    if eigenvectors is not None:
        basis = _check.matrix("eigenvectors", eigenvectors, size)
        key, basis = harmonise(key, basis)
        key = key @ basis.__array_namespace__().matrix_transpose(basis)
    return place @ scale, key, key + 0 * key


def _placement(learned: list[int], heads: int, like: Number) -> Number:
    table = [[int(learned[h : h + 1] == [d]) for d in range(like.shape[0])] for h in range(heads)]
    xp = like.__array_namespace__()
    return xp.reshape(xp.asarray(table, dtype=like.dtype), (heads, like.shape[0]))


@guarded
def least_norm(
    subset: Any,
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Number:
    """Return 3 Σ m_d^{2/3} over the subset, the least Σ_h (v_h² + ‖k_h‖² + ‖q_h‖²) of any weights.

    `ansatz_weights` attains it. Arguments and errors as in `fixed_point_coefficients`. [L] Eq. 20
    at Ω = I, σ = 0; Ω and σ derived here.

    Accuracy: 12 eps.

    Examples
    --------
    >>> float(least_norm([True, False], [0.125, 1.0], float("inf")))
    12.0
    """
    chosen, modes = _subset(subset, eigenvalues, context_length, task_eigenvalues, noise)
    root = cbrt(_select(chosen, modes.coefficient, 0 * modes.coefficient))
    return 3 * total(root * root)


def _subset(
    subset: Any,
    eigenvalues: Number,
    context_length: Number,
    task_eigenvalues: Number,
    noise: Number,
) -> tuple[Any, Spectrum]:
    modes = spectrum(eigenvalues, context_length, task_eigenvalues, noise)
    return _check.mask("subset", subset, modes.eigenvalues.shape[-1]), modes


def _select(chosen: Any, inside: Number, outside: Number) -> Number:
    xp = inside.__array_namespace__()
    if is_array(chosen) and chosen.__array_namespace__() is not xp:
        chosen = xp.asarray(chosen)
    return xp.where(chosen, inside, outside)

"""ATTN_S, linear attention with separate key and query of rank one: its modes and plateaus.

Notation: M = Σ_h v_h k_h q_hᵀ, flow τ dW/dt = −½ ∂L/∂W of L = E(ŷ − y_q)² ([L] Eq. 14).
λ (..., D) eigenvalues of Λ, ω of Ω, s of S, N context pairs, σ label noise, T = tr(ΩΛ). Two
numbers per mode carry the dynamics,

    growth = λ²ω,    curvature = sλ,

and the "visit order" is that of descending growth. [L] is arXiv 2501.16265v2, where Ω = I, σ = 0.
"""

from __future__ import annotations

from typing import Any

from ._generic import (
    Number,
    concat,
    cumulative,
)
from ._guard import guarded
from ._spectrum import descending, signal, spectrum


@guarded
def mode_growth(eigenvalues: Number, *, task_eigenvalues: Number = 1) -> Number:
    """Return λ_d²ω_d (..., D), the rate (times τ) at which an aligned head grows on mode d.

    Raises `ValueError` if an eigenvalue is not positive and finite or ω < 0. Independent of N and
    σ. [L] Eq. 21; Ω derived here.

    Accuracy: 1 eps.

    Examples
    --------
    >>> mode_growth([3.0, 2.0]).tolist()
    [9.0, 4.0]
    """
    lam, own = signal(eigenvalues, task_eigenvalues)
    return lam * own


@guarded
def mode_curvature(
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Number:
    """Return s_dλ_d (..., D), half the second derivative of the loss in m_d.

    Parameters
    ----------
    eigenvalues
        λ (..., D) > 0; of a matrix Λ: ``numpy.linalg.eigvalsh(Λ)``. Two axes are many spectra.
    context_length
        N >= 1, number of context pairs, broadcasting against the batch dimensions; inf is allowed.
    task_eigenvalues
        ω >= 0, scalar or (..., D), eigenvalues of Ω in the same basis.
    noise
        σ >= 0, standard deviation of the label noise.

    Returns
    -------
    (..., D); λ³(1 + (1 + T/λ)/N) at Ω = I, σ = 0.

    Raises
    ------
    ValueError
        If an eigenvalue is not positive and finite, N < 1, ω < 0 or σ < 0.

    Notes
    -----
    Gaussian tokens. [L] Eq. 21; Ω and σ derived here.
    Accuracy: 8 eps.

    Examples
    --------
    >>> mode_curvature([2.0, 1.0], 1).tolist()
    [28.0, 5.0]
    """
    return spectrum(eigenvalues, context_length, task_eigenvalues, noise).curvature


@guarded
def mode_coefficients(
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Number:
    """Return m_d = λ_d²ω_d/(s_dλ_d) (..., D), the eigenvalues of M* on the learned modes.

    Arguments, range and errors as in `mode_curvature`. m_d → 1/λ_d as N → ∞ (0 where ω_d = 0).
    [L] Eq. 17–18; Ω and σ derived here.

    Accuracy: 8 eps.

    Examples
    --------
    >>> mode_coefficients([2.0], float("inf")).tolist()
    [0.5]
    """
    return spectrum(eigenvalues, context_length, task_eigenvalues, noise).coefficient


@guarded
def mode_gains(
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Number:
    """Return (λ_d²ω_d)²/(s_dλ_d) (..., D), by how much the loss falls when mode d is learned.

    Arguments, range and errors as in `mode_curvature`; units of y². [L] Eq. 19; Ω and σ derived
    here.

    Accuracy: 10 eps.

    Examples
    --------
    >>> mode_gains([2.0, 1.0], float("inf")).tolist()
    [2.0, 1.0]
    """
    return spectrum(eigenvalues, context_length, task_eigenvalues, noise).gain


@guarded
def visit_order(eigenvalues: Number, *, task_eigenvalues: Number = 1) -> Any:
    """Return the indices (..., D) of the modes in the order they are learned: descending λ²ω.

    Ties keep the order given. Symbols have no order: an array that holds any answers with the
    identity, so symbolic spectra are to be given in visit order. Raises as `mode_growth`.
    [L] for small weights; Ω derived here.

    Accuracy: 1 eps of the growths that it orders.

    Examples
    --------
    >>> visit_order([1.0, 3.0, 2.0]).tolist()
    [1, 2, 0]
    """
    return descending(mode_growth(eigenvalues, task_eigenvalues=task_eigenvalues))


@guarded
def plateau_losses(
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Number:
    """Return the D + 1 losses L(M_0) > … > L(M_D) at which a run from small weights pauses.

    L(M_m) = tr(ΩΛ) − Σ of the first m gains in visit order, evaluated as the loss of the unlearned
    modes Σ λω plus what the learned ones leave, Σ λω (λω + T + σ²)/(N s/λ): sums of non-negative
    terms, so that a small last plateau keeps its digits.

    Parameters
    ----------
    eigenvalues, context_length, task_eigenvalues, noise
        As in `mode_curvature`.

    Returns
    -------
    (..., D + 1), M_0 = 0 first, in units of y², without a ½.

    Raises
    ------
    ValueError
        If an eigenvalue is not positive and finite, N < 1, ω < 0 or σ < 0.

    Notes
    -----
    Gaussian tokens, commuting Λ and Ω. [L] Eq. 19; Ω and σ derived here.
    Accuracy: 16 eps.

    Examples
    --------
    >>> plateau_losses([1.0, 2.0], float("inf")).tolist()
    [3.0, 1.0, 0.0]
    >>> plateau_losses([2.0], 1).round(4).tolist()
    [2.0, 1.3333]
    """
    modes = spectrum(eigenvalues, context_length, task_eigenvalues, noise)
    xp = modes.excess.__array_namespace__()
    order = descending(modes.growth)
    unlearned, left, order = xp.broadcast_arrays(modes.signal, modes.remaining, order)
    unlearned = xp.take_along_axis(unlearned, order, axis=-1)
    left = xp.take_along_axis(left, order, axis=-1)
    none = xp.zeros_like(left[..., :1])
    above = xp.flip(cumulative(xp.flip(unlearned, axis=-1)), axis=-1)
    return concat([none, cumulative(left)]) + concat([above, none])

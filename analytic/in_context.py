"""What the trained network computes in context.

Notation: β = (1/N) Σ y_n x_n over N context pairs, query x_q, prediction ŷ = βᵀM x_q. After m modes
M_m = Σ_{d≤m} m_d e_d e_dᵀ in visit order: principal component regression with m components. Λ token
covariance, Ω task second moment, σ label noise, T = tr(ΩΛ). [L] is arXiv 2501.16265v2.
"""

from __future__ import annotations

import numpy as np

from . import _check
from ._generic import Number, harmonise, total
from ._guard import guarded
from .fixed_points import fixed_point_coefficients
from .general import general_modes
from .moments import feature_second_moment
from .population import optimal_weights
from .separate import visit_order


@guarded
def in_context_weights(
    components: int,
    eigenvalues: Number,
    eigenvectors: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Number:
    """Return M_m = Σ m_d e_d e_dᵀ over the first m modes in visit order.

    Parameters
    ----------
    components
        m in 0 … D.
    eigenvalues
        λ (D,) > 0.
    eigenvectors
        (D, D), e_d as columns, like `numpy.linalg.eigh`.
    context_length
        N >= 1, number of context pairs; inf is allowed.
    task_eigenvalues
        ω >= 0, scalar or (D,).
    noise
        σ >= 0.

    Returns
    -------
    (D, D); M_D = M*.

    Raises
    ------
    ValueError
        If m > D or another argument is out of its range.

    Notes
    -----
    [L] Eq. 18, 22; Ω and σ derived here.
    Accuracy: 12 eps of Σ m_d |e_d||e_d|ᵀ, entry by entry.

    Examples
    --------
    >>> in_context_weights(1, [1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]], float("inf")).tolist()
    [[0.0, 0.0], [0.0, 0.5]]
    """
    order = visit_order(eigenvalues, task_eigenvalues=task_eigenvalues)
    if order.ndim != 1:
        raise ValueError(f"eigenvalues must have shape (D,), got {order.shape}")
    size = order.shape[0]
    count = _check.integer("components", components, 0, size)
    learned = {int(order[i]) for i in range(count)}
    diagonal = fixed_point_coefficients(
        [d in learned for d in range(size)],
        eigenvalues,
        context_length,
        task_eigenvalues=task_eigenvalues,
        noise=noise,
    )
    basis = _check.matrix("eigenvectors", eigenvectors, size)
    basis, diagonal = harmonise(basis, diagonal)
    return (basis * diagonal) @ basis.__array_namespace__().matrix_transpose(basis)


@guarded
def predict(weights: Number, beta: Number, query: Number) -> Number:
    """Return ŷ = βᵀM x_q.

    Parameters
    ----------
    weights
        M (..., D, D).
    beta
        β (..., D).
    query
        x_q (..., D).

    Returns
    -------
    (...), the leading dimensions broadcast.

    Raises
    ------
    ValueError
        If the sizes disagree or an entry is not finite.

    Notes
    -----
    The most general predictor linear in βx_qᵀ. [L].
    Accuracy: 12 eps of |β|ᵀ|M||x_q|.

    Examples
    --------
    >>> float(predict([[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0], [3.0, 4.0]))
    11.0
    """
    left = _check.finite("beta", _check.vector("beta", beta))
    right = _check.finite("query", _check.vector("query", query))
    matrix = _check.matrix("weights", weights, left.shape[-1])
    if right.shape[-1] != left.shape[-1]:
        raise ValueError(f"query must have {left.shape[-1]} entries like beta, got {right.shape}")
    left, right, matrix = harmonise(left, right, matrix)
    return total((left[..., None, :] @ matrix)[..., 0, :] * right)


@guarded
def principal_component_prediction(
    components: int,
    beta: Number,
    query: Number,
    covariance: Number,
    context_length: Number,
    *,
    task_covariance: Number | None = None,
    noise: Number = 0,
) -> Number:
    """Return the prediction after m modes are learned: regression on m principal components.

    At N = ∞ and Ω = I it is βᵀ Σ_{d≤m} λ_d⁻¹ e_d e_dᵀ x_q, e_d the eigenvectors of Λ.

    Parameters
    ----------
    components
        m in 0 … D.
    beta, query
        β, x_q (..., D).
    covariance
        Λ (D, D), symmetric positive definite.
    context_length
        N >= 1; inf is allowed.
    task_covariance
        Ω (D, D), positive definite if N is infinite; None is the identity.
    noise
        σ >= 0.

    Returns
    -------
    (...), the leading dimensions broadcast.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Modes are those of `general_modes`, which are the eigenvectors of Λ where Ω commutes with it;
    equal eigenvalues leave their basis open. [L] Eq. 22; Ω and σ derived here.
    Accuracy: 16 eps κ(Λ)κ(S) max|M_ij| Σ|β| Σ|x_q|, κ and M those of `general_modes`.

    Examples
    --------
    >>> cov = [[4.0, 0.0], [0.0, 1.0]]
    >>> round(float(principal_component_prediction(1, [8.0, 5.0], [1.0, 1.0], cov, 1e12)), 6)
    2.0
    """
    for name, value in (("context_length", context_length), ("noise", noise)):
        if np.ndim(_check.as_number(name, value)):
            raise ValueError(f"{name} must be one number, got shape {np.shape(value)}")
    for name, value in (("covariance", covariance), ("task_covariance", task_covariance)):
        if value is not None:
            matrix = np.asarray(_check.as_number(name, value))
            if matrix.ndim != 2 or matrix.dtype == object:
                raise ValueError(
                    f"{name} must be one matrix (D, D) of floats, got {matrix.shape}, "
                    f"{matrix.dtype}"
                )
    second = feature_second_moment(
        covariance, context_length, task_covariance=task_covariance, noise=noise
    )
    modes = general_modes(covariance, second, task_covariance=task_covariance)
    count = _check.integer("components", components, 0, modes.gains.shape[0])
    _fits(beta, modes.gains.shape[0])
    return predict(modes.matrices[:count].sum(axis=0), beta, query)


@guarded
def converged_prediction(
    beta: Number,
    query: Number,
    covariance: Number,
    context_length: Number,
    *,
    task_covariance: Number | None = None,
    noise: Number = 0,
) -> Number:
    """Return the prediction at the global minimum, βᵀM* x_q with M* = S⁻¹ΛΩ.

    At Ω = I, σ = 0 it is βᵀ[Λ + (Λ + tr(Λ) I)/N]⁻¹ x_q; as N → ∞ it is βᵀΛ⁻¹x_q.

    Parameters
    ----------
    beta, query
        β, x_q (..., D).
    covariance
        Λ (..., D, D), symmetric positive definite.
    context_length
        N >= 1, number of context pairs in training; inf is allowed.
    task_covariance
        Ω (..., D, D); None is the identity.
    noise
        σ >= 0.

    Returns
    -------
    (...), the leading dimensions broadcast.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    [L] Eq. 11; Ω and σ derived here.
    Accuracy: 12 eps of |β|ᵀ|S⁻¹|(S̄|M*| + |Λ||Ω|)|x_q|, S̄ the sum of the absolute values of the
    terms of S.

    Examples
    --------
    >>> float(converged_prediction([3.0], [1.0], [[2.0]], 2))
    0.75
    """
    second = feature_second_moment(
        covariance, context_length, task_covariance=task_covariance, noise=noise
    )
    weights = optimal_weights(covariance, second, task_covariance=task_covariance)
    _fits(beta, weights.shape[-1])
    return predict(weights, beta, query)


def _fits(beta: Number, size: int) -> None:
    if (given := _check.vector("beta", beta).shape[-1]) != size:
        raise ValueError(f"beta must have {size} entries, as covariance has rows, got {given}")

"""The loss that the moments determine, and its minimum.

Notation: a predictor linear in βx_qᵀ is ŷ = βᵀM x_q; L = E(ŷ − y_q)², without a factor ½,
y_q without noise. Λ, Ω second moments of tokens and tasks, S = E[ββᵀ] (`analytic.moments`). [L] is
arXiv 2501.16265v2.
"""

from __future__ import annotations

from . import _check
from ._generic import Number, harmonise, total
from ._guard import guarded
from ._matrix import data, solve, trace_of_product


@guarded
def population_loss(
    weights: Number,
    covariance: Number,
    second_moment: Number,
    *,
    task_covariance: Number | None = None,
) -> Number:
    """Return L(M) = tr(ΩΛ) − 2 tr(MᵀΛΩΛ) + tr(MᵀSMΛ) = E(βᵀMx_q − y_q)², without a ½.

    Parameters
    ----------
    weights
        M (..., D, D), any matrix.
    covariance
        Λ (..., D, D), symmetric positive definite.
    second_moment
        S (..., D, D) from `feature_second_moment` or `token_second_moment`.
    task_covariance
        Ω (..., D, D); None is the identity.

    Returns
    -------
    (...), in units of y². A noisy target y_q adds σ² to it.

    Raises
    ------
    ValueError
        If a matrix has the wrong shape, is not symmetric or not positive.

    Notes
    -----
    Exact for every M. Derived here.
    Accuracy: 16 eps of the same with |M|, |Λ|, |S|, |Ω| and a plus for the minus.

    Examples
    --------
    >>> float(population_loss([[0.0]], [[2.0]], [[5.0]]))
    2.0
    """
    cov, task = data(covariance, task_covariance)
    size = cov.shape[-1]
    second = _check.symmetric("second_moment", second_moment, size)
    matrix = _check.matrix("weights", weights, size)
    cov, task, second, matrix = harmonise(cov, task, second, matrix)
    fit = trace_of_product(cov @ task @ cov, matrix)
    return trace_of_product(task, cov) - 2 * fit + total(total(matrix * (second @ matrix @ cov)))


@guarded
def optimal_weights(
    covariance: Number,
    second_moment: Number,
    *,
    task_covariance: Number | None = None,
) -> Number:
    """Return the minimiser M* = S⁻¹ΛΩ of `population_loss`.

    Shapes and errors as in `population_loss`; S must be positive definite. [L] Eq. 9 at Ω = I.

    Accuracy: 12 eps of |S⁻¹|(|S||M*| + |Λ||Ω|), entry by entry, whatever the sizes of the
    directions.

    Examples
    --------
    >>> optimal_weights([[2.0]], [[8.0]]).tolist()
    [[0.25]]
    """
    cov, task = data(covariance, task_covariance)
    second = _check.covariance("second_moment", second_moment, cov.shape[-1])
    cov, task, second = harmonise(cov, task, second)
    return solve(second, cov @ task)


@guarded
def minimum_loss(
    covariance: Number,
    second_moment: Number,
    *,
    task_covariance: Number | None = None,
) -> Number:
    """Return L(M*) = tr(ΩΛ) − tr(ΛΩΛM*) = tr(S⁻¹(S − ΛΩΛ)ΩΛ), the least `population_loss`.

    The last form subtracts before it sums, so that the loss of a long context keeps its digits.
    Shapes and errors as in `optimal_weights`; units of y². Derived here.

    Accuracy: 12 eps of tr |S⁻¹|(|S| + |Λ||Ω||Λ| + |S||X|)|Ω||Λ|, X = S⁻¹(S − ΛΩΛ): the rounding of
    S itself counts as much.

    Examples
    --------
    >>> float(minimum_loss([[2.0]], [[8.0]]))
    1.0
    """
    cov, task = data(covariance, task_covariance)
    second = _check.covariance("second_moment", second_moment, cov.shape[-1])
    cov, task, second = harmonise(cov, task, second)
    return trace_of_product(solve(second, second - cov @ task @ cov), task @ cov)

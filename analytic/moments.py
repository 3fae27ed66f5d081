"""Moments of the data.

Notation: tokens x ~ N(0, Λ) in R^D, task w of mean 0 and second moment Ω, labels y_n = wᵀx_n + σε_n
and y_q = wᵀx_q. β = (1/N) Σ y_n x_n over the N context pairs, S = E[ββᵀ], T = tr(ΩΛ). A predictor
linear in βx_qᵀ is ŷ = βᵀM x_q; its loss is L = E(ŷ − y_q)², without a factor ½. Ours = [L]'s,
whose Ω is the identity and whose σ is 0.

λ (..., D) are the eigenvalues of Λ, ω those of Ω in the same basis, s those of S. [L] is
arXiv 2501.16265v2.
"""

from __future__ import annotations

import math

from . import _check
from ._generic import (
    Number,
    entries,
    harmonise,
    is_array,
    is_object,
    is_symbolic,
    over_length,
    total,
)
from ._guard import guarded
from ._matrix import block, data, trace_of_product
from ._spectrum import spectrum


@guarded
def input_target_moment(covariance: Number, task_covariance: Number | None = None) -> Number:
    """Return E[βwᵀ] = ΛΩ.

    Parameters
    ----------
    covariance
        Λ (..., D, D), symmetric positive definite.
    task_covariance
        Ω (..., D, D), symmetric positive semi-definite; None is the identity.

    Returns
    -------
    (..., D, D), in units of x² w².

    Raises
    ------
    ValueError
        If a matrix has the wrong shape, is not symmetric or not positive.

    Notes
    -----
    Holds for any token and task law with these second moments, and at every N. Derived here.
    Accuracy: 8 eps of |Λ||Ω|, entry by entry.

    Examples
    --------
    >>> input_target_moment([[2.0, 0.0], [0.0, 1.0]], [[3.0, 1.0], [1.0, 1.0]]).tolist()
    [[6.0, 2.0], [1.0, 1.0]]
    """
    cov, task = data(covariance, task_covariance)
    return cov @ task


@guarded
def gaussian_fourth_moment(covariance: Number, task_covariance: Number | None = None) -> Number:
    """Return E[x xᵀ Ω x xᵀ] = 2ΛΩΛ + tr(ΩΛ)Λ for Gaussian tokens.

    Shapes and errors as in `input_target_moment`; units of x⁴ w². Derived here (Isserlis).

    Accuracy: 12 eps of the same with |Λ| and |Ω|, entry by entry.

    Examples
    --------
    >>> gaussian_fourth_moment([[1.0]]).tolist()
    [[3.0]]
    """
    cov, task = data(covariance, task_covariance)
    return 2 * (cov @ task @ cov) + block(trace_of_product(task, cov)) * cov


@guarded
def token_second_moment(
    covariance: Number,
    fourth_moment: Number,
    context_length: Number,
    *,
    task_covariance: Number | None = None,
    noise: Number = 0,
) -> Number:
    """Return S = ((N−1)/N) ΛΩΛ + (1/N) E[x xᵀ Ω x xᵀ] + σ²Λ/N for tokens of any law.

    Parameters
    ----------
    covariance
        Λ (..., D, D), symmetric positive definite.
    fourth_moment
        E[x xᵀ Ω x xᵀ] (..., D, D), symmetric, for the Ω given below.
    context_length
        N >= 1, number of context pairs; an array broadcasts against the batch dimensions; the
        value 1/E[1/N] stands for a varying length (`effective_context_length`).
    task_covariance
        Ω (..., D, D); None is the identity.
    noise
        σ >= 0, standard deviation of the label noise.

    Returns
    -------
    (..., D, D).

    Raises
    ------
    ValueError
        If a matrix is not symmetric or not positive, N < 1, or σ < 0.

    Notes
    -----
    Needs tokens independent of each other and of the noise. Derived here; Gaussian tokens give
    [L] Eq. 15.
    Accuracy: 12 eps of the sum of the absolute values of its terms, entry by entry.

    Examples
    --------
    >>> token_second_moment([[1.0]], [[3.0]], 2).tolist()
    [[2.0]]
    """
    cov, task = data(covariance, task_covariance)
    fourth = _check.symmetric("fourth_moment", fourth_moment, cov.shape[-1])
    length = _check.context_length(context_length)
    sigma = _check.non_negative("noise", noise)
    cov, task, fourth, length, sigma = harmonise(cov, task, fourth, length, sigma)
    growth = cov @ task @ cov
    # (N − 1)/N is split so that N = inf needs no special case.
    return growth + over_length(fourth - growth + block(sigma) ** 2 * cov, block(length))


@guarded
def feature_second_moment(
    covariance: Number,
    context_length: Number,
    *,
    task_covariance: Number | None = None,
    noise: Number = 0,
) -> Number:
    """Return S = E[ββᵀ] = (1 + 1/N) ΛΩΛ + (tr(ΩΛ) + σ²) Λ/N for Gaussian tokens.

    Parameters
    ----------
    covariance
        Λ (..., D, D), symmetric positive definite; symbols are accepted in an object array.
    context_length
        N >= 1, number of context pairs; inf is the limit of long contexts.
    task_covariance
        Ω (..., D, D); None is the identity.
    noise
        σ >= 0, standard deviation of the label noise.

    Returns
    -------
    (..., D, D).

    Raises
    ------
    ValueError
        If a matrix is not symmetric or not positive, N < 1, or σ < 0.

    Notes
    -----
    [L] Eq. 15 at Ω = I, σ = 0; the general form is derived here.
    Accuracy: 12 eps of the sum of the absolute values of its terms, entry by entry.

    Examples
    --------
    >>> feature_second_moment([[2.0, 0.0], [0.0, 1.0]], 1).tolist()
    [[14.0, 0.0], [0.0, 5.0]]
    """
    cov, task = data(covariance, task_covariance)
    length = _check.context_length(context_length)
    sigma = _check.non_negative("noise", noise)
    cov, task, length, sigma = harmonise(cov, task, length, sigma)
    growth = cov @ task @ cov
    trace = block(trace_of_product(task, cov))
    return growth + over_length(growth + (trace + block(sigma) ** 2) * cov, block(length))


@guarded
def feature_eigenvalues(
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Number:
    """Return the eigenvalues s_d = λ_d²ω_d + λ_d (λ_dω_d + T + σ²)/N of S, T = Σ λ_dω_d.

    Parameters
    ----------
    eigenvalues
        λ (..., D) > 0, eigenvalues of Λ.
    context_length
        N >= 1, scalar or broadcasting against the batch dimensions (...); inf is allowed.
    task_eigenvalues
        ω >= 0, scalar or (..., D), eigenvalues of Ω in the same basis.
    noise
        σ >= 0, standard deviation of the label noise.

    Returns
    -------
    (..., D), in the order of `eigenvalues`.

    Raises
    ------
    ValueError
        If an eigenvalue is not positive and finite, N < 1, ω < 0 or σ < 0.

    Notes
    -----
    Gaussian tokens, commuting Λ and Ω. [L] Eq. 15; with Ω and σ derived here.
    Accuracy: 8 eps.

    Examples
    --------
    >>> feature_eigenvalues([2.0, 1.0], 1).tolist()
    [14.0, 5.0]
    """
    return spectrum(eigenvalues, context_length, task_eigenvalues, noise).feature


@guarded
def effective_context_length(lengths: Number, probabilities: Number | None = None) -> Number:
    """Return 1/E[1/N], the length at which every formula here holds for varying contexts.

    Parameters
    ----------
    lengths
        N (..., K) >= 1, the possible numbers of context pairs.
    probabilities
        (..., K) >= 0 with sum 1; None is uniform.

    Returns
    -------
    (...), the harmonic mean.

    Raises
    ------
    ValueError
        If a length is below 1, or the probabilities are negative or do not sum to 1.

    Notes
    -----
    S is affine in 1/N, and β is drawn after N. Derived here.
    Accuracy: 8 eps.

    Examples
    --------
    >>> float(effective_context_length([2, 6]))
    3.0
    """
    sizes = _check.context_length(_check.vector("lengths", lengths), "lengths")
    if probabilities is None:
        (sizes,) = harmonise(sizes)
        return _reciprocal(total(1 / sizes) / sizes.shape[-1])
    weights = _check.non_negative("probabilities", _check.vector("probabilities", probabilities))
    sizes, weights = harmonise(sizes, weights)
    mass = total(weights)
    if not _is_one(mass):
        raise ValueError(f"probabilities must sum to 1, got {mass}")
    return _reciprocal(total(weights / sizes))


def _is_one(mass: Number) -> bool:
    # K additions of numbers below 1 err by less than K units in the last place.
    if is_array(mass) and not is_object(mass):
        return bool(mass.__array_namespace__().all(abs(mass - 1) < 1e-6))
    return all(is_symbolic(entry) or abs(entry - 1) < 1e-6 for entry in entries(mass))


def _reciprocal(mean: Number) -> Number:
    if not is_array(mean):
        return mean + math.inf if mean == 0 else 1 / mean
    zero = mean == 0
    xp = mean.__array_namespace__()
    return xp.where(zero, mean + math.inf, 1 / xp.where(zero, mean + 1, mean))

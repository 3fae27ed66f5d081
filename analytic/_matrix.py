"""Matrix helpers that also work on object arrays (symbols, fractions, mpmath numbers)."""

from __future__ import annotations

import numpy as np

from . import _check
from ._generic import Number, harmonise, is_array, is_object, total


def identity_like(matrix: Number) -> Number:
    """Return the D×D identity of the kind of `matrix`."""
    return matrix.__array_namespace__().eye(matrix.shape[-1], dtype=matrix.dtype)


def block(value: Number) -> Number:
    """Give an array over batch dimensions two trailing axes of length 1; leave scalars alone."""
    return value[..., None, None] if is_array(value) and value.ndim else value


def trace_of_product(left: Number, right: Number) -> Number:
    """Return tr(AB) as the sum of A ∘ Bᵀ."""
    xp = right.__array_namespace__()
    return total(total(left * xp.matrix_transpose(right)))


def solve(matrix: Number, right: Number) -> Number:
    """Return A⁻¹B for a symmetric positive definite A.

    Solved as R(RAR)⁻¹RB with R the inverse roots of the diagonal: what counts is the condition of
    RAR, so that directions of very different size (λ over 12 decades) keep their digits.
    """
    if is_object(matrix) or is_object(right):
        return _eliminate(matrix, right)
    xp = matrix.__array_namespace__()
    scale = 1 / xp.sqrt(xp.linalg.diagonal(matrix))[..., None]
    scaled = scale * matrix * xp.matrix_transpose(scale)
    return scale * xp.linalg.solve(scaled, scale * right)


def _eliminate(matrix: Number, right: Number) -> Number:
    # Gauss–Jordan without pivoting: the pivots of a positive definite matrix are positive, which
    # also holds for symbols, whose size nobody can compare.
    a, b = np.array(matrix), np.array(right, dtype=object)
    for i in range(a.shape[-1]):
        pivot = a[..., i, i : i + 1]
        a[..., i, :], b[..., i, :] = a[..., i, :] / pivot, b[..., i, :] / pivot
        for j in range(a.shape[-1]):
            if j != i:
                factor = a[..., j, i : i + 1].copy()
                a[..., j, :] -= factor * a[..., i, :]
                b[..., j, :] -= factor * b[..., i, :]
    return b


def data(covariance: Number, task_covariance: Number | None) -> tuple[Number, Number]:
    """Return validated Λ and Ω, the identity for None."""
    cov = _check.covariance("covariance", covariance)
    if task_covariance is None:
        (cov,) = harmonise(cov)
        return cov, identity_like(cov)
    task = _check.task_covariance(task_covariance, cov.shape[-1])
    cov, task = harmonise(cov, task)
    return cov, task

"""Oracles of the modes of tokens and tasks that do not commute, by 120-digit singular values.

With R Rᵀ = S and C Cᵀ = Λ any square roots, B = R⁻¹ ΛΩΛ C⁻ᵀ has singular values σ_d; mode d adds
σ_d (R⁻ᵀa)(C⁻ᵀb)ᵀ to M. Sizes are relative to the largest mode and to the condition
κ = κ(S) of the matrices scaled to a unit diagonal.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

from precision import points
from precision.exact import Sized, oracle
from precision.matrices import inverted, moment, size, task_of, times, trace, turned
from precision.points import Case, Source

Matrix = list[list[Any]]


def _case(s: Source) -> Case:
    """Well separated singular values: equal ones leave their basis open."""
    count = s.integer(1, 4)
    basis = points.rotation(s, count)
    lam = [2.0**d * s.uniform(1.0, 1.2) * 10.0 ** s.pick([0, 0, 3]) for d in range(count)]
    cov = (basis * lam) @ basis.T
    cov = (cov + cov.T) / 2
    task = s.pick([None, [[float(i == j) * (1 + 0.1 * i) for j in range(count)]
                          for i in range(count)]])  # fmt: skip
    return Case((cov.tolist(), points.positive(s, 0, 4)), {"task_covariance": task})


def _modes_case(s: Source) -> Case:
    case = _case(s)
    cov, length = case.arguments
    second: np.ndarray = np.array(moment(cov, length, case.keywords["task_covariance"], 0.0))
    return Case((cov, ((second + second.T) / 2).tolist()), case.keywords)


def singular(cov: Matrix, second: Matrix, task: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """σ_d², growth_d and the matrices of the modes, in order of growth."""
    growth = times(cov, task_of(task, cov), cov)
    left = (mpmath.cholesky(mpmath.matrix(second)) ** -1).tolist()
    right = (mpmath.cholesky(mpmath.matrix(cov)) ** -1).tolist()
    product = mpmath.matrix(times(left, growth, turned(right)))
    U, sigma, V = mpmath.svd_r(product)
    found = []
    for d in range(len(cov)):
        k = times(turned(left), [[U[i, d]] for i in range(len(cov))])
        q = times(turned(right), [[V[d, i]] for i in range(len(cov))])
        norms = [mpmath.sqrt(sum(x[0] ** 2 for x in vector)) for vector in (k, q)]
        rate = sigma[d] / (norms[0] * norms[1])
        matrix = [[sigma[d] * a[0] * b[0] for b in q] for a in k]
        found.append((sigma[d] ** 2, rate, matrix))
    found.sort(key=lambda mode: -mode[1])
    return tuple(list(part) for part in zip(*found, strict=True))  # type: ignore[return-value]


def condition(matrix: Matrix) -> Any:
    """‖|A⁻¹||A|‖_∞."""
    product = times(size(inverted(matrix)), size(matrix))
    return max(sum(row) for row in product)


def _sizes(cov: Matrix, second: Matrix, modes: Any) -> tuple[Any, Any, Any]:
    gains, growth, matrices = modes
    kappa = condition(cov) * condition(second)
    largest = max(abs(x) for matrix in matrices for row in matrix for x in row)
    count = len(gains)
    return (
        [kappa * max(gains)] * count,
        [kappa * max(growth)] * count,
        [[[kappa * largest] * count] * count] * count,
    )


@oracle("general_modes", _modes_case, mpmath.mpf)
def general_modes(cov: Matrix, second: Matrix, task_covariance: Any) -> Any:
    """Gains, growth and matrices."""
    modes = singular(cov, second, task_covariance)
    return Sized(modes, _sizes(cov, second, modes))


@oracle("general_plateau_losses", _modes_case, mpmath.mpf)
def general_plateau_losses(cov: Matrix, second: Matrix, task_covariance: Any) -> Any:
    """The trace, less one gain after the other."""
    modes = singular(cov, second, task_covariance)
    losses = [trace(times(task_of(task_covariance, cov), cov))]
    for gain in modes[0]:
        losses.append(losses[-1] - gain)
    kappa = condition(cov) * condition(second)
    return Sized(losses, [kappa * losses[0]] * len(losses))


def _prediction_case(s: Source) -> Case:
    case = _case(s)
    cov, length = case.arguments
    vectors = points.rows(s, 2, len(cov))
    arguments = (s.integer(0, len(cov)), *vectors, cov, length)
    return Case(arguments, {**case.keywords, "noise": s.pick([0.0, 0.3])})


@oracle("principal_component_prediction", _prediction_case, mpmath.mpf)
def principal_component_prediction(
    count: int, beta: Any, query: Any, cov: Matrix, length: Any, task_covariance: Any, noise: Any
) -> Any:
    """βᵀ of the first modes of M times x."""
    second = moment(cov, length, task_covariance, noise)
    modes = singular(cov, second, task_covariance)
    value, x = mpmath.mpf(0), turned([query])
    for matrix in modes[2][:count]:
        value += times([beta], matrix, x)[0][0]
    largest = _sizes(cov, second, modes)[2][0][0][0]
    return Sized(value, largest * sum(map(abs, beta)) * sum(map(abs, query)))

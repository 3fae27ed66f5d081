"""Oracles of the forms in matrices: moments, the loss they determine, what is predicted.

Notation of `analytic.moments`. Sizes are those of the terms with absolute values: |Λ||Ω| for ΛΩ.
"""

from __future__ import annotations

import math
from typing import Any

import mpmath

from precision import points
from precision.exact import Sized, oracle
from precision.modes import best, inverse, order, world
from precision.points import Case, Source

Matrix = list[list[Any]]


def times(*factors: Matrix) -> Matrix:
    """The product."""
    left = factors[0]
    for right in factors[1:]:
        left = [[sum(a * b for a, b in zip(row, column, strict=True))
                 for column in zip(*right, strict=True)] for row in left]  # fmt: skip
    return left


def plus(left: Matrix, right: Matrix, scale: Any = 1) -> Matrix:
    """A + cB."""
    return [[a + scale * b for a, b in zip(p, q, strict=True)]
            for p, q in zip(left, right, strict=True)]  # fmt: skip


def size(matrix: Matrix) -> Matrix:
    """|A|, entry by entry."""
    return [[abs(a) for a in row] for row in matrix]


def turned(matrix: Matrix) -> Matrix:
    """Aᵀ."""
    return [list(column) for column in zip(*matrix, strict=True)]


def trace(matrix: Matrix) -> Any:
    """The sum of the diagonal."""
    return sum(matrix[i][i] for i in range(len(matrix)))


def identity(count: int) -> Matrix:
    """I."""
    return [[int(i == j) for j in range(count)] for i in range(count)]


def inverted(matrix: Matrix) -> Matrix:
    """A⁻¹, in exact or 120-digit arithmetic."""
    return [list(row) for row in (mpmath.matrix(matrix) ** -1).tolist()]


def task_of(task: Any, cov: Matrix) -> Matrix:
    """Ω, the identity where none is given."""
    return identity(len(cov)) if task is None else task


def moment(cov: Matrix, length: Any, task: Any, noise: Any, sign: Any = None) -> Matrix:
    """S of Gaussian tokens; with `sign` = `size` the sum of the sizes of its terms."""
    n, omega = inverse(length), task_of(task, cov)
    if sign is not None:
        cov, omega = size(cov), size(omega)
    growth = times(cov, omega, cov)
    return plus([[(1 + n) * g for g in row] for row in growth], cov,
                n * (trace(times(omega, cov)) + noise**2))  # fmt: skip


@oracle("input_target_moment", points.matrices)
def input_target_moment(cov: Matrix, task_covariance: Any) -> Any:
    """ΛΩ."""
    task = task_of(task_covariance, cov)
    return Sized(times(cov, task), times(size(cov), size(task)))


@oracle("gaussian_fourth_moment", points.matrices)
def gaussian_fourth_moment(cov: Matrix, task_covariance: Any) -> Any:
    """Isserlis: each entry Σ_kl Ω_kl (Λ_ik Λ_lj + Λ_il Λ_kj + Λ_ij Λ_kl)."""
    task, answer = task_of(task_covariance, cov), []
    for c, w in ((cov, task), (size(cov), size(task))):
        double = times(c, w, c)
        answer.append(plus(plus(double, turned(double)), c, trace(times(w, c))))
    return Sized(*answer)


def _tokens(s: Source) -> Case:
    case = points.matrices(s)
    fourth = points.symmetric(s, len(case.arguments[0]))
    arguments = (*case.arguments, fourth, points.length(s))
    return Case(arguments, {**case.keywords, "noise": points.noise(s)})


@oracle("token_second_moment", _tokens)
def token_second_moment(
    cov: Matrix, fourth: Matrix, length: Any, task_covariance: Any, noise: Any
) -> Any:
    """Σ_{n≠m} and Σ_{n=m} of E[y_n y_m x_n x_mᵀ]/N²."""
    n, task, answer = inverse(length), task_of(task_covariance, cov), []
    for c, w, f, less in ((cov, task, fourth, 1 - n), (*map(size, (cov, task, fourth)), 1 + n)):
        answer.append(plus(plus(times(c, w, c), f, n / less if less else 0), c,
                           n * noise**2 / less if less else 0))  # fmt: skip
        answer[-1] = [[less * entry for entry in row] for row in answer[-1]]
        if not less:  # N = 1
            answer[-1] = plus(f, c, noise**2)
    return Sized(*answer)


def _gaussian(s: Source, largest: int = 12) -> Case:
    case = points.matrices(s, largest)
    arguments = (*case.arguments, points.length(s))
    return Case(arguments, {**case.keywords, "noise": points.noise(s)})


@oracle("feature_second_moment", _gaussian)
def feature_second_moment(cov: Matrix, length: Any, task_covariance: Any, noise: Any) -> Any:
    """(1 + 1/N)ΛΩΛ + (T + σ²)Λ/N."""
    return Sized(
        moment(cov, length, task_covariance, noise),
        moment(cov, length, task_covariance, noise, size),
    )


def _lengths(s: Source) -> Case:
    count = s.integer(1, 12)
    sizes = [points.length(s) for _ in range(count)]
    if s.integer(0, 1):
        return Case((sizes,))
    # Multiples of 1/64 add up to 1 exactly.
    cuts = sorted(s.integer(0, 64) for _ in range(count - 1))
    shares = [(b - a) / 64 for a, b in zip([0, *cuts], [*cuts, 64], strict=True)]
    return Case((sizes, shares))


@oracle("effective_context_length", _lengths)
def effective_context_length(lengths: Any, shares: Any = None) -> Any:
    """1/E[1/N]."""
    weights = shares or [1] * len(lengths)
    mean = sum(w * inverse(n) for w, n in zip(weights, lengths, strict=True))
    return sum(weights) / mean if mean else math.inf


def _with_moment(s: Source, largest: int = 12) -> Case:
    """Λ and an S that belongs to it, Ω or none."""
    case = points.matrices(s, largest)
    cov, task = case.arguments[0], case.keywords["task_covariance"]
    length = points.positive(s, 0, 3)
    second = moment(cov, length, task, s.pick([0.0, 0.3]))
    second = [[(a + b) / 2 for a, b in zip(p, q, strict=True)]
              for p, q in zip(second, turned(second), strict=True)]  # fmt: skip
    return Case((cov, second), case.keywords)


def _with_weights(s: Source) -> Case:
    case = _with_moment(s)
    count = len(case.arguments[0])
    return Case((points.rows(s, count, count), *case.arguments), case.keywords)


@oracle("population_loss", _with_weights)
def population_loss(weights: Matrix, cov: Matrix, second: Matrix, task_covariance: Any) -> Any:
    """Tr(ΩΛ) − 2 tr(MᵀΛΩΛ) + tr(MᵀSMΛ)."""
    task, answer = task_of(task_covariance, cov), []
    signed = (weights, cov, second, task)
    for sign, (m, c, sec, w) in ((-2, signed), (2, tuple(map(size, signed)))):
        fit = trace(times(turned(m), c, w, c))
        answer.append(trace(times(w, c)) + sign * fit + trace(times(turned(m), sec, m, c)))
    return Sized(*answer)


@oracle("optimal_weights", _with_moment, mpmath.mpf)
def optimal_weights(cov: Matrix, second: Matrix, task_covariance: Any) -> Any:
    """S⁻¹ΛΩ; the size is |S⁻¹|(|S||M*| + |Λ||Ω|)."""
    task, root = task_of(task_covariance, cov), inverted(second)
    weights = times(root, cov, task)
    inner = plus(times(size(second), size(weights)), times(size(cov), size(task)))
    return Sized(weights, times(size(root), inner))


@oracle("minimum_loss", _with_moment, mpmath.mpf)
def minimum_loss(cov: Matrix, second: Matrix, task_covariance: Any) -> Any:
    """Tr(ΩΛ) − tr(ΛΩΛM*); the size is tr(|S⁻¹|(|S| + |Λ||Ω||Λ| + |S||X|)|Ω||Λ|)."""
    task, root = task_of(task_covariance, cov), inverted(second)
    growth = times(cov, task, cov)
    loss = trace(times(task, cov)) - trace(times(growth, root, cov, task))
    solved = times(root, plus(second, growth, -1))
    terms = times(*map(size, (cov, task, cov)))
    inner = plus(plus(size(second), terms), times(size(second), size(solved)))
    return Sized(loss, trace(times(size(root), inner, size(task), size(cov))))


def _in_context(s: Source) -> Case:
    case = points.spectral(s, 5)
    count = len(case.arguments[0])
    basis = [list(map(float, row)) for row in points.rotation(s, count)]
    return Case((s.integer(0, count), case.arguments[0], basis, case.arguments[1]), case.keywords)


@oracle("in_context_weights", _in_context)
def in_context_weights(count: Any, lam: Any, basis: Matrix, length: Any, **rest: Any) -> Any:
    """Σ m_d e_d e_dᵀ over the first modes."""
    _, growth, s = world(lam, length, **rest)
    learned, m = order(growth)[: int(count)], best(lam, growth, s)
    keep = [m[d] if d in learned else 0 for d in range(len(lam))]
    table = [[a * b for a, b in zip(row, keep, strict=True)] for row in basis]
    return Sized(times(table, turned(basis)), times(size(table), size(turned(basis))))


def _vectors(s: Source) -> Case:
    count = points.dimension(s)
    return Case((points.rows(s, count, count), *points.rows(s, 2, count)))


@oracle("predict", _vectors)
def predict(weights: Matrix, beta: Any, query: Any) -> Any:
    """βᵀMx."""
    x = turned([query])
    value, scale = times([beta], weights, x), times(size([beta]), size(weights), size(x))
    return Sized(value, scale)


def _converged(s: Source) -> Case:
    case = _gaussian(s)
    # Where Ω is singular S is as well at N = ∞.
    cov = case.arguments[0]
    finite = min(case.arguments[1], 1e9)
    return Case((*points.rows(s, 2, len(cov)), cov, min(finite, 1e3)), case.keywords)


@oracle("converged_prediction", _converged, mpmath.mpf)
def converged_prediction(
    beta: Any, query: Any, cov: Matrix, length: Any, task_covariance: Any, noise: Any
) -> Any:
    """βᵀS⁻¹ΛΩx; the size is |β|ᵀ|S⁻¹|(S̄|M*| + |Λ||Ω|)|x|, S̄ the sizes of the terms of S."""
    second = moment(cov, length, task_covariance, noise)
    bar = moment(cov, length, task_covariance, noise, size)
    task, root = task_of(task_covariance, cov), inverted(second)
    weights, x = times(root, cov, task), turned([query])
    inner = plus(times(bar, size(weights)), times(size(cov), size(task)))
    return Sized(
        times([beta], weights, x),
        times(size([beta]), size(root), inner, size(x)),
    )

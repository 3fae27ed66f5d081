"""The moments of β and the loss L(M), from β = (1/N) Σ (wᵀx_n + σε_n) x_n."""

from __future__ import annotations

from functools import lru_cache

import sympy as sp

from . import symbols as sy
from .isserlis import Moment, expectation, gaussian, second_order


def _variables(name: str, dimension: int) -> sp.Matrix:
    return sp.Matrix(sp.symbols(f"{name}1:{dimension + 1}", real=True))


def any_token(covariance: sp.Matrix) -> Moment:
    """Return token moments with the given second and free fourth moments F_ijkl."""

    def moment(indices: tuple[int, ...]) -> sp.Expr:
        if len(indices) == 4:
            return fourth_symbol(*indices)
        return second_order(covariance)(indices)

    return moment


def fourth_symbol(*indices: int) -> sp.Symbol:
    """Return the symbol of E[x_i x_j x_k x_l], symmetric in its indices."""
    return sp.Symbol("F" + "".join(str(i + 1) for i in sorted(indices)), real=True)


def free_fourth_moment(task: sp.Matrix) -> sp.Matrix:
    """Return E[x xᵀ Ω x xᵀ] in the symbols of `fourth_symbol`."""
    size = task.shape[0]
    return sp.Matrix(
        size,
        size,
        lambda i, j: sum(
            task[k, m] * fourth_symbol(i, j, k, m) for k in range(size) for m in range(size)
        ),
    )


def gaussian_fourth_moment(covariance: sp.Matrix, task: sp.Matrix) -> sp.Matrix:
    """Return E[x xᵀ Ω x xᵀ] for Gaussian tokens."""
    x = _variables("x", covariance.shape[0])
    integrand = (x.T * task * x)[0] * x * x.T
    return integrand.applyfunc(lambda entry: expectation(entry, list(x), gaussian(covariance)))


def _summand(dimension: int) -> tuple[sp.Matrix, sp.Matrix, sp.Symbol, sp.Matrix]:
    """Return one term (wᵀx + σε) x of Nβ with its variables x, ε, w."""
    x, w = _variables("x", dimension), _variables("w", dimension)
    eps = sp.Symbol("epsilon", real=True)
    return ((w.T * x)[0] + sy.sigma * eps) * x, x, eps, w


def _average(entry: sp.Expr, x: sp.Matrix, eps: sp.Symbol, token: Moment) -> sp.Expr:
    over_noise = expectation(entry, [eps], gaussian(sp.eye(1)))
    return expectation(over_noise, list(x), token)


def input_target_moment(covariance: sp.Matrix, task: sp.Matrix) -> sp.Matrix:
    """Return E[βwᵀ]: N equal terms, divided by N."""
    term, x, eps, w = _summand(covariance.shape[0])
    token = gaussian(covariance)
    mean = term.applyfunc(lambda entry: _average(entry, x, eps, token))
    return (mean * w.T).applyfunc(lambda entry: expectation(entry, list(w), second_order(task)))


def second_moment(covariance: sp.Matrix, task: sp.Matrix, token: Moment) -> sp.Matrix:
    """Return S = E[ββᵀ] from N pairs n = n' and N(N − 1) pairs n ≠ n' of the double sum.

    Given w the tokens are independent, so a pair n ≠ n' contributes a product of means.
    """
    term, x, eps, w = _summand(covariance.shape[0])
    mean = term.applyfunc(lambda entry: _average(entry, x, eps, token))
    same = (term * term.T).applyfunc(lambda entry: _average(entry, x, eps, token))
    double_sum = sy.N * same + sy.N * (sy.N - 1) * mean * mean.T
    return (double_sum / sy.N**2).applyfunc(
        lambda entry: expectation(entry, list(w), second_order(task))
    )


def gaussian_second_moment(covariance: sp.Matrix, task: sp.Matrix) -> sp.Matrix:
    """Return S for Gaussian tokens."""
    return second_moment(covariance, task, gaussian(covariance))


@lru_cache(maxsize=8)
def feature_eigenvalues(dimension: int) -> tuple[sp.Expr, ...]:
    """Return the diagonal of S in the common eigenbasis of Λ and Ω, where S is diagonal."""
    matrix = gaussian_second_moment(
        sy.diagonal(sy.lam, dimension), sy.diagonal(sy.omega, dimension)
    )
    if not matrix.is_diagonal():
        raise ArithmeticError("S is not diagonal in the common eigenbasis")
    return tuple(matrix.diagonal())


def loss(weights: sp.Matrix, covariance: sp.Matrix, task: sp.Matrix, second: sp.Matrix) -> sp.Expr:
    """Return E[(βᵀMx_q − wᵀx_q)²], over x_q first and then over (β, w) of known moments."""
    size = covariance.shape[0]
    beta, w, query = (_variables(name, size) for name in ("beta", "w", "q"))
    error = (beta.T * weights * query - w.T * query)[0]
    over_query = expectation(error**2, list(query), gaussian(covariance))
    cross = input_target_moment(covariance, task)
    joint = sp.Matrix(sp.BlockMatrix([[second, cross], [cross.T, task]]))
    return expectation(over_query, [*beta, *w], second_order(joint))


def optimal_weights(covariance: sp.Matrix, task: sp.Matrix, second: sp.Matrix) -> sp.Matrix:
    """Return the solution of ∂L/∂M = 0 at D = 2."""
    unknowns = list(sy.M)
    value = loss(sy.M, covariance, task, second)
    solution = sp.linsolve([sp.diff(value, entry) for entry in unknowns], unknowns)
    return sp.Matrix(2, 2, next(iter(solution)))


def eigenbasis_loss(weights: sp.Matrix, second: tuple[sp.Expr, ...]) -> sp.Expr:
    """Return L(M) in the eigenbasis, where Λ, Ω and S are diagonal."""
    size = weights.shape[0]
    return loss(weights, sy.diagonal(sy.lam, size), sy.diagonal(sy.omega, size), sp.diag(*second))

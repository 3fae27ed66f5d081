"""Closed forms called with symbols equal what the derivations obtain from the definitions."""

import math

import numpy as np
import pytest
import sympy as sp

import analytic
from analytic.derivations import isserlis, limits, moments
from analytic.derivations import symbols as sy


def as_array(matrix):
    return np.array(matrix.tolist(), dtype=object)


def is_zero(expression):
    return sp.simplify(sp.sympify(expression)) == 0


def assert_equal(closed, derived):
    derived = sp.Matrix(derived)
    closed = sp.Matrix(np.asarray(closed).reshape(derived.shape))
    gap = (closed - derived).applyfunc(lambda e: sp.cancel(sp.together(sp.expand(e))))
    assert gap == sp.zeros(*derived.shape)


COV, TASK, SECOND = as_array(sy.Lambda), as_array(sy.Omega), as_array(sy.S)


def test_pairing_sum_gives_double_factorials():
    moment = isserlis.gaussian(sp.Matrix([[1]]))
    assert [moment((0,) * n) for n in range(9)] == [1, 0, 1, 0, 3, 0, 15, 0, 105]


def test_pairing_sum_of_four_is_wicks_theorem():
    c = sp.Matrix(4, 4, lambda i, j: sp.Symbol(f"c{min(i, j)}{max(i, j)}"))
    wick = c[0, 1] * c[2, 3] + c[0, 2] * c[1, 3] + c[0, 3] * c[1, 2]
    assert sp.expand(isserlis.gaussian(c)((0, 1, 2, 3)) - wick) == 0


def test_second_order_moments_refuse_degree_four():
    with pytest.raises(ValueError, match="degree 4"):
        isserlis.second_order(sp.eye(2))((0, 0, 1, 1))


def test_input_target_moment():
    assert_equal(
        analytic.input_target_moment(COV, TASK), moments.input_target_moment(sy.Lambda, sy.Omega)
    )


def test_gaussian_fourth_moment():
    assert_equal(
        analytic.gaussian_fourth_moment(COV, TASK),
        moments.gaussian_fourth_moment(sy.Lambda, sy.Omega),
    )


def test_feature_second_moment():
    assert_equal(
        analytic.feature_second_moment(COV, sy.N, task_covariance=TASK, noise=sy.sigma),
        moments.gaussian_second_moment(sy.Lambda, sy.Omega),
    )


def test_isotropic_task_is_the_default():
    assert_equal(
        analytic.feature_second_moment(COV, sy.N),
        moments.gaussian_second_moment(sy.Lambda, sp.eye(2)).subs(sy.sigma, 0),
    )


def test_token_second_moment_of_any_law():
    fourth = as_array(moments.free_fourth_moment(sy.Omega))
    closed = analytic.token_second_moment(COV, fourth, sy.N, task_covariance=TASK, noise=sy.sigma)
    derived = moments.second_moment(sy.Lambda, sy.Omega, moments.any_token(sy.Lambda))
    assert_equal(closed, derived)


def test_token_form_with_gaussian_fourth_moment_is_the_gaussian_form():
    fourth = analytic.gaussian_fourth_moment(COV, TASK)
    assert_equal(
        analytic.token_second_moment(COV, fourth, sy.N, task_covariance=TASK, noise=sy.sigma),
        analytic.feature_second_moment(COV, sy.N, task_covariance=TASK, noise=sy.sigma),
    )


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_feature_eigenvalues(dimension):
    closed = analytic.feature_eigenvalues(
        sy.lam[:dimension], sy.N, task_eigenvalues=sy.omega[:dimension], noise=sy.sigma
    )
    assert_equal(closed, moments.feature_eigenvalues(dimension))


@pytest.mark.parametrize("length", [math.inf, sp.oo])
def test_long_context_limits(length):
    closed = analytic.feature_second_moment(COV, length, task_covariance=TASK, noise=sy.sigma)
    assert_equal(closed, limits.second_moment())
    closed = analytic.feature_eigenvalues(
        sy.lam[:2], length, task_eigenvalues=sy.omega[:2], noise=sy.sigma
    )
    assert_equal(closed, limits.feature_eigenvalues(2))
    fourth = as_array(moments.free_fourth_moment(sy.Omega))
    closed = analytic.token_second_moment(COV, fourth, length, task_covariance=TASK)
    assert_equal(closed, limits.second_moment())


def test_population_loss_of_any_weights():
    closed = analytic.population_loss(as_array(sy.M), COV, SECOND, task_covariance=TASK)
    assert is_zero(sp.expand(closed - moments.loss(sy.M, sy.Lambda, sy.Omega, sy.S)))


def test_optimal_weights_solve_stationarity():
    assert_equal(
        analytic.optimal_weights(COV, SECOND, task_covariance=TASK),
        moments.optimal_weights(sy.Lambda, sy.Omega, sy.S),
    )


def test_minimum_loss_is_the_loss_of_the_optimal_weights():
    best = moments.optimal_weights(sy.Lambda, sy.Omega, sy.S)
    derived = moments.loss(best, sy.Lambda, sy.Omega, sy.S)
    closed = analytic.minimum_loss(COV, SECOND, task_covariance=TASK)
    assert sp.cancel(sp.together(closed - derived)) == 0


def test_effective_length_reproduces_the_average_second_moment():
    # S is what enters the loss; averaging it over N must be the same as using one length.
    lengths, p = sp.symbols("n1 n2", positive=True), sp.Symbol("p", positive=True)
    one = analytic.effective_context_length(lengths, [p, 1 - p])
    averaged = p * analytic.feature_second_moment(COV, lengths[0], task_covariance=TASK) + (
        1 - p
    ) * analytic.feature_second_moment(COV, lengths[1], task_covariance=TASK)
    assert_equal(
        analytic.feature_second_moment(COV, one, task_covariance=TASK), sp.Matrix(averaged)
    )

"""Tests of the example: proof with symbols, gradient by complex step, control that flips."""
# ruff: noqa: D103 - a test is described by its name

import diagonal
import numpy as np
import pytest
import sympy as sp

from analytic.derivations import moments as derived
from analytic.derivations import symbols as sy
from claims.base import Settings
from numerics import LinearTask, matrix_loss, population_moments
from verifying.record import run_claim

TASK = LinearTask([[1.0, 0.4], [0.4, 0.7]], 12, [[1.3, -0.2], [-0.2, 0.6]], noise=0.3)
EPS = np.finfo(float).eps


def test_optimum_solves_the_differentiated_loss():
    m = sp.symbols("m1:3")
    second = derived.gaussian_second_moment(sy.Lambda, sy.Omega)
    loss = derived.loss(sp.diag(*m), sy.Lambda, sy.Omega, second)
    point = sp.solve([sp.diff(loss, s) for s in m], m)
    matrices = population_moments(TASK)
    at = {sy.N: TASK.context_length, sy.sigma: TASK.noise}
    for i, j in ((0, 0), (0, 1), (1, 1)):
        at |= {sy.Lambda[i, j]: TASK.covariance[i, j], sy.Omega[i, j]: TASK.task_covariance[i, j]}
    data = (TASK.covariance, TASK.task_covariance, matrices.second_moment)
    expected = [float(point[s].subs(at)) for s in m]
    # A 2×2 system of condition number below 100.
    np.testing.assert_allclose(diagonal.diagonal_optimum(*data), expected, rtol=1000 * EPS)
    least = float(loss.subs(at).subs(dict(zip(m, expected, strict=True))))
    assert diagonal.diagonal_minimum(*data) == pytest.approx(least, rel=1000 * EPS)


def test_gradient_is_the_complex_step_of_the_loss():
    system = diagonal.DiagonalSystem(population_moments(TASK))
    theta = np.random.default_rng(0).standard_normal(3)
    steps = theta + 1e-40j * np.eye(3)  # no difference is taken, so the step may be this small
    np.testing.assert_allclose(
        system.loss(theta), matrix_loss(system.moments, system.matrix(theta)), rtol=200 * EPS
    )
    gradient = np.array([system.loss(step).imag for step in steps]) / 1e-40
    np.testing.assert_allclose(system.velocity(theta), -gradient / 2, rtol=200 * EPS)


def test_second_derivative_is_the_complex_step_of_the_first():
    system = diagonal.DiagonalSystem(population_moments(TASK))
    theta = np.random.default_rng(1).standard_normal(3)
    jacobian = system.jacobian(theta)
    for column, direction in zip(jacobian.T, np.eye(3), strict=True):
        along = system.velocity(theta + 1e-40j * direction).imag / 1e-40
        np.testing.assert_allclose(column, along, rtol=200 * EPS, atol=100 * EPS)
        np.testing.assert_allclose(system.jvp(theta, direction), along, rtol=200 * EPS)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_claim_holds_and_every_control_flips(seed):
    record = run_claim(diagonal.diagonal_head, Settings(seed=seed), controls=True)
    assert record.verdict == "holds", record
    assert record.controls_flip

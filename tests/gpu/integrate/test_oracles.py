"""Against other integrators: SciPy on linear and stiff problems, `numerics` on the flow itself."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gpu.integrate import FunctionProblem, integrate
from gpu.integrate.choose import Pilot
from gpu.integrate.implicit import ImplicitStep
from gpu.integrate.loop import Settings
from gpu.integrate.tableau import DORMAND_PRINCE
from numerics import AttentionSystem, drop_times, gradient_flow
from tests.gpu.integrate.support import ATTENTION, MODEL, MOMENTS, linear, logistic, seeds


def robertson(y):
    """The rates of Robertson's reactions."""
    first, second, third = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return np.stack([second - first, first - second - third, third])


def robertson_jacobian(y):
    J = np.zeros((3, 3, y.shape[1]))
    J[0, 0], J[0, 1], J[0, 2] = -0.04, 1e4 * y[2], 1e4 * y[1]
    J[1, 0], J[1, 1], J[1, 2] = 0.04, -1e4 * y[2] - 6e7 * y[1], -1e4 * y[1]
    J[2, 1] = 6e7 * y[1]
    return J


@pytest.mark.parametrize("method", ["explicit", "implicit"])
def test_linear_systems(method):
    A = np.array([[-1.0, 2.0, 0.0], [-2.0, -1.0, 0.5], [0.0, 0.0, -3.0]])
    y, times = np.random.default_rng(0).standard_normal((3, 4)), np.array([0.5, 1.3])
    run = integrate(linear(A), y, 2.0, times=times, method=method, rtol=1e-9)
    for row in range(4):
        oracle = solve_ivp(
            lambda _t, x: A @ x, (0, 2), y[:, row], "DOP853", times, rtol=1e-12, atol=1e-13
        )
        # Tens of steps of 1e-9 each, and the oracle's own polynomials.
        np.testing.assert_allclose(run.record[..., row], oracle.y.T, rtol=0, atol=1e-7)


def test_stiff_reactions():
    y = np.array([[1.0, 0.5], [0.0, 0.0], [0.0, 0.5]])
    problem = FunctionProblem(robertson, (), robertson_jacobian)
    run = integrate(problem, y, 40.0, method="implicit", rtol=1e-8, atol=1e-12)
    for row in range(2):
        oracle = solve_ivp(
            lambda _t, x: robertson(x[:, None])[:, 0],
            (0, 40),
            y[:, row],
            "Radau",
            jac=lambda _t, x: robertson_jacobian(x[:, None])[:, :, 0],
            rtol=1e-10,
            atol=1e-14,
        )
        np.testing.assert_allclose(run.state[:, row], oracle.y[:, -1], rtol=1e-6)
    assert run.steps.max() < 300
    assert run.state.sum(axis=0) == pytest.approx(1.0, abs=1e-9)  # conserved


@pytest.mark.parametrize("method", ["explicit", "implicit", "Chebyshev"])
def test_losses_and_drops_of_the_flow(method):
    duration, y = 400.0, seeds(3)
    times = np.linspace(0.0, duration, 400)
    run = integrate(ATTENTION, y, duration, times=times, method=method)
    assert set(run.texts()) == {"finished"}
    system = AttentionSystem(MODEL, MOMENTS)
    for row in range(3):
        oracle = gradient_flow(MODEL, MOMENTS, y[:, row], duration, times=times, rtol=1e-10)
        loss = system.loss(np.ascontiguousarray(run.record[..., row]))
        # Errors of 1e-8 per step in the weights, grown by the escape, and LSODA's 1e-7.
        np.testing.assert_allclose(loss, oracle.loss, rtol=0, atol=2e-6)
        levels = [oracle.loss[0], 0.5 * oracle.loss[0], oracle.loss[-1]]
        ours, theirs = (drop_times(times, curve, levels) for curve in (loss, oracle.loss))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_auto_walks_plateaus_implicitly():
    stiff = integrate(logistic(np.array([1e4, 2e4])), np.full((1, 2), 0.5), 50.0)
    mild = integrate(logistic(np.array([1.0, 2.0])), np.full((1, 2), 0.5), 5.0)
    bare = integrate(FunctionProblem(lambda y: -y), np.ones((1, 1)), 1.0)
    assert (stiff.method, mild.method, bare.method) == ("implicit", "explicit", "explicit")
    assert stiff.steps.max() < 500


def test_the_choice_foresees_the_explicit_steps():
    rates = np.array([1e3, 2e3])
    problem, y, end = logistic(rates), np.full((1, 2), 0.5), np.full(2, 5.0)
    pilot = Pilot(ImplicitStep, problem, y, end, None, Settings(1e-3, 1e-7, 2000))
    pilot.walk()
    run = integrate(problem, y, 5.0, method="explicit")
    # At rest |λ| is the rate; what comes before takes some ten time units of 5,000.
    np.testing.assert_allclose(pilot.length, rates * 5.0, rtol=1e-2)
    # The controller hovers about the edge of stability.
    np.testing.assert_allclose(run.steps, pilot.length / DORMAND_PRINCE.stability, rtol=0.15)

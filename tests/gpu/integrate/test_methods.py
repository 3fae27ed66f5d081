"""One step at a time: constants, order of the steps and of the polynomials between, LU."""

import numpy as np
import pytest

from gpu._arrays import to_host
from gpu.integrate import integrate, lu
from gpu.integrate.implicit import ImplicitStep
from gpu.integrate.stabilised import StabilisedStep
from gpu.integrate.step import ExplicitStep
from gpu.integrate.tableau import DORMAND_PRINCE, RODAS5P
from numerics import AttentionSystem
from tests.gpu.integrate.support import ATTENTION, MODEL, MOMENTS, logistic, seeds
from tests.gpu.support import PLACES, assert_close

METHODS = [(ExplicitStep, 5), (ImplicitStep, 5), (StabilisedStep, 4)]
RATES = np.array([1.0, 1.7])
START = np.array([[0.1, 0.3]])


def exact(t):
    return 1 / (1 + (1 / START - 1) * np.exp(-RATES * t))


def walk(method, steps, end=2.0):
    """Largest error at the ends of equal steps, of their estimates, and in between."""
    problem, y, dt = logistic(RATES), START.copy(), np.full(2, end / steps)
    made = method(problem, y, problem.velocity(y))
    all_rows, every = np.arange(2), np.ones(2, bool)
    worst, estimate, between = 0.0, 0.0, 0.0
    for i in range(steps):
        y_new, error = made.attempt(y, dt)
        while made.ready is not None and not made.ready.all():
            y_new, error = made.attempt(y, dt)
        estimate = max(estimate, np.abs(error).max())
        for share in (0.25, 0.6):
            inside = made.interpolate(all_rows, np.full(2, share), y, y_new, dt)
            between = max(between, np.abs(inside - exact((i + share) * end / steps)).max())
        y = made.commit(every, y, y_new)
        worst = max(worst, np.abs(y - exact((i + 1) * end / steps)).max())
    return worst, estimate, between


def rate(coarse, fine):
    return np.log2(coarse / fine)


@pytest.mark.parametrize(("method", "order"), METHODS)
def test_steps_errors_and_polynomials_have_their_order(method, order):
    # Rates differ from the order by O(h); h is 1/20 of the time unit of the faster row.
    coarse, fine = walk(method, 32), walk(method, 64)
    assert rate(coarse[0], fine[0]) > order - 1 / 3
    assert rate(coarse[1], fine[1]) == pytest.approx(order, abs=1 / 2)  # one less is embedded
    assert rate(coarse[2], fine[2]) > order - 2 / 3  # a polynomial of one less errs by h^order


def test_explicit_constants_are_exact():
    defects = DORMAND_PRINCE.order_defects()
    assert len(defects) == 17 + 8 + 4 * 8 + 7
    assert not any(defects.values())


def test_implicit_constants_hold_to_rounding():
    # The constants have 16 digits, and their products reach 10³.
    defects = RODAS5P.order_defects()
    assert len(defects) == 17 + 4 * 8
    assert max(abs(x) for x in defects.values()) < 1e3 * np.finfo(float).eps


@pytest.mark.parametrize("tableau", [DORMAND_PRINCE, RODAS5P])
def test_a_wrong_constant_is_noticed(tableau):
    from dataclasses import replace

    name = "stages" if tableau is DORMAND_PRINCE else "a"
    rows = list(getattr(tableau, name))
    rows[1] = (rows[1][0] * (1 + type(rows[1][0])(1) / 1000), *rows[1][1:])
    broken = replace(tableau, **{name: tuple(rows)})
    assert max(abs(x) for x in broken.order_defects().values()) > 1e-6


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("n", [1, 2, 6])
def test_lu_solves(n, place):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, n, 5)) + 8 * np.eye(n)[:, :, None]
    b = rng.standard_normal((n, 5))
    over, x = place.put(A) + 0.0, place.put(b) + 0.0
    LU = to_host(lu.factor(place.xp, over))
    by_row = LU.transpose(2, 0, 1)
    L, U = np.tril(by_row, -1) + np.eye(n), np.triu(by_row)
    assert_close((L @ U).transpose(1, 2, 0), A)
    wanted = np.linalg.solve(A.transpose(2, 0, 1), b.T[:, :, None])[:, :, 0].T
    # Diagonally dominant: backward error of a few roundings, condition number of about 10.
    assert_close(lu.solve(place.xp, over, x), wanted)


def test_the_helper_problem_is_numerics_flow():
    system, y = AttentionSystem(MODEL, MOMENTS), seeds(3, scale=0.7)
    velocity, jacobian = ATTENTION.velocity(y), ATTENTION.jacobian(y)
    for row in range(3):
        # A few dozen products of order 1.
        np.testing.assert_allclose(velocity[:, row], system.velocity(y[:, row]), atol=1e-14)
        np.testing.assert_allclose(jacobian[..., row], system.jacobian(y[:, row]), atol=1e-14)


@pytest.mark.parametrize("method", ["explicit", "implicit", "Chebyshev"])
def test_error_follows_the_tolerance(method):
    errors = []
    for rtol in (1e-5, 1e-9):
        run = integrate(logistic(RATES), START, 5.0, method=method, rtol=rtol, atol=1e-14)
        errors.append(np.abs(run.state - exact(5.0)).max())
        # Errors at rest die out as e^{−rt}; the sum over some ten steps is below ten tolerances.
        assert errors[-1] < 10 * rtol
    assert errors[1] < errors[0] / 100

"""How a run ends before its time: at a loss, by overflow, by a solution that blows up."""

import signal

import numpy as np
import pytest

from numerics import (
    LinearTask,
    MergedAttention,
    SeparateAttention,
    gradient_flow,
    minimiser,
    population_moments,
    system_flow,
)
from tests.numerics.support import EPS, TASKS, state

GENERIC = population_moments(TASKS["generic"])
SCALAR = population_moments(LinearTask([[1.0]], 10))
MERGED, ONE = MergedAttention(3, 2), MergedAttention(1, 1)
METHODS = ["LSODA", "DOP853", "RK45", "RK23", "Radau", "BDF", "Krylov"]


@pytest.fixture(autouse=True)
def _watchdog():
    """Stop a test that hangs."""

    def stop(*_):
        raise TimeoutError("the call did not return")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 10.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


def test_until_loss_ends_the_run_at_that_loss():
    theta = state(MERGED.size, 1, 0.3)
    whole = gradient_flow(MERGED, GENERIC, theta, 20.0)
    level = float((whole.loss[0] + whole.loss[-1]) / 2)
    run = gradient_flow(MERGED, GENERIC, theta, 20.0, until_loss=level)
    # brentq on the interpolant, whose error is of the order of the tolerance.
    assert run.loss[-1] == pytest.approx(level, abs=1e-6)
    assert 0 < run.t[-1] < 20.0
    assert run.status == "finished"
    never = gradient_flow(MERGED, GENERIC, theta, 20.0, until_loss=float(whole.loss[-1]) - 0.1)
    assert never.t[-1] == 20.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("times", [None, [15.0, 20.0], [0.0, 0.5, 15.0, 20.0]])
def test_the_point_where_the_loss_is_reached_is_recorded(method, times):
    run = gradient_flow(ONE, SCALAR, [0.3, 0.3], 20.0, times=times, until_loss=0.5, method=method)
    assert run.loss[-1] == pytest.approx(0.5, abs=1e-14)
    assert 0.5 < run.t[-1] < 15.0
    if times is not None:
        assert run.t[:-1].tolist() == [t for t in times if t < run.t[-1]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share", [0.5, 0.97, 0.999])
def test_that_point_is_on_the_curve(method, share):
    """An interpolant of DOP853 would be off by 8e-7 at a share of 0.97 of the way down."""
    model = SeparateAttention(3, 2)
    theta = state(model.size, 5, 0.3)
    loss = gradient_flow(model, GENERIC, theta, 8.0, rtol=1e-12, atol=1e-14).loss
    level = float(loss[0] + share * (loss[-1] - loss[0]))
    run = gradient_flow(model, GENERIC, theta, 8.0, method=method, until_loss=level)
    assert run.loss[-1] == pytest.approx(level, abs=1e-14)
    exact = gradient_flow(model, GENERIC, theta, float(run.t[-1]), rtol=1e-12, atol=1e-14)
    assert np.abs(run.states[-1] - exact.states[-1]).max() < 1e-7


@pytest.mark.parametrize("method", METHODS)
def test_a_level_that_a_step_meets_to_the_last_bit(method):
    """The interpolant need not change sign in a step whose ends do."""
    whole = gradient_flow(MERGED, GENERIC, state(20, 1, 0.3), 2.0, method=method)
    for index in range(1, len(whole.t), len(whole.t) // 12 + 1):
        for level in (whole.loss[index], np.nextafter(whole.loss[index], 0.0)):
            run = gradient_flow(
                MERGED, GENERIC, state(20, 1, 0.3), 2.0, method=method, until_loss=float(level)
            )
            assert run.t[-1] == pytest.approx(whole.t[index], rel=1e-7)
            assert run.status == "finished"


@pytest.mark.parametrize("times", [None, [0.0, 20.0], [15.0, 20.0]])
def test_a_loss_already_reached_ends_the_run_at_once(times):
    run = gradient_flow(ONE, SCALAR, [0.3, 0.3], 20.0, times=times, until_loss=5.0)
    assert run.t.tolist() == [0.0]
    assert run.status == "finished"
    assert run.states[0] == pytest.approx([0.3, 0.3])
    assert run.energy_gap.tolist() == run.invariant_drift.tolist() == [0.0]


@pytest.mark.parametrize("method", ["DOP853", "LSODA", "Krylov"])
def test_large_weights_are_integrated(method):
    """Steep but finite: 10⁵ times the optimum, and the flow comes down all the same."""
    run = gradient_flow(ONE, SCALAR, [1e5, 1e5], 20.0, method=method)
    assert run.status == "finished"
    assert run.loss[-1] == pytest.approx(run.loss.min(), rel=1e-9)
    assert run.matrices[-1, 0, 0] == pytest.approx(float(minimiser(SCALAR)[0, 0]), rel=1e-6)


@pytest.mark.parametrize("times", [None, [10.0], [0.0, 10.0]])
@pytest.mark.parametrize("method", ["auto", *METHODS])
@pytest.mark.parametrize(("scale", "reason"), [
    (1e30, "the start is too fast for atol"), (1e50, "the start is too fast for atol"),
    (1e100, "the weights overflowed"), (1e300, "the weights overflowed"),
])  # fmt: skip
def test_weights_too_large_to_start_from_are_told_by_the_status(method, times, scale, reason):
    run = gradient_flow(ONE, SCALAR, [scale, scale], 10.0, method=method, times=times)
    assert run.status.startswith("stopped: ")
    assert reason in run.status
    assert run.t.tolist() == [0.0]
    assert run.states.tolist() == [[scale, scale]]
    assert not np.isnan(run.loss).any()


class BlowUp:
    """θ̇ = θ², whose solution 1/(1 − t) leaves every bound before t = 1."""

    size = 1

    def loss(self, theta):
        return -2 / 3 * theta[..., 0] ** 3

    def velocity(self, theta):
        return theta**2

    def jvp(self, theta, direction):
        return 2 * theta * direction

    def jacobian(self, theta):
        return np.diag(2 * theta)

    def invariants(self, theta):
        return 0 * theta


@pytest.mark.parametrize("times", [None, [0.25, 0.5, 1.5]])
@pytest.mark.parametrize("method", METHODS)
def test_what_was_recorded_before_a_failure_is_kept(method, times):
    run = system_flow(BlowUp(), [1.0], 2.0, method=method, times=times)
    assert run.status.startswith("stopped: ")
    assert 0.9 < run.t[-1] < 1 + 1e-6
    if times is not None:
        assert run.t[:-1].tolist() == [0.25, 0.5]
    early = run.t < 0.8
    assert early.sum() >= 2
    assert run.states[early, 0] == pytest.approx(1 / (1 - run.t[early]), rel=1e-6)
    assert np.isfinite(run.states).all()
    assert (np.diff(run.t) > 0).all()


class Wall(BlowUp):
    """θ̇ = 1 as far as θ = 2, and nothing beyond."""

    def velocity(self, theta):
        return np.where(theta > 2, np.nan, 1.0)

    def jacobian(self, theta):
        return np.zeros((1, 1))


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_recorded_beyond_where_the_flow_is_defined(method):
    run = system_flow(Wall(), [1.0], 5.0, method=method)
    assert run.status.startswith("stopped: ")
    assert run.states[:, 0] == pytest.approx(1 + run.t)
    assert run.t[-1] <= 1 + 1e-12


class Kink(BlowUp):
    def jacobian(self, theta):
        return np.full((1, 1), np.inf)


@pytest.mark.parametrize("method", ["Radau", "BDF"])
def test_an_infinite_jacobian_ends_the_run(method):
    run = system_flow(Kink(), [1.0], 0.5, method=method)
    assert run.status == "stopped: the weights overflowed"
    assert run.t.tolist() == [0.0]


def test_a_tolerance_that_a_solver_refuses_is_told_by_the_status():
    """LSODA stops, with a warning, at the least rtol that SciPy lets through."""
    run = gradient_flow(
        MERGED, GENERIC, state(20, 1, 0.3), 10.0, method="LSODA", rtol=100 * EPS, atol=1e-40
    )
    assert run.status.startswith("stopped: ")
    assert run.t[-1] < 10.0
    assert np.isfinite(run.states).all()


@pytest.mark.parametrize("times", [None, [0.01, 10.0]])
def test_an_explicit_method_gives_up_on_stiff_weights(monkeypatch, times):
    """v² − U² is conserved, so that the rates stay of the order of 10⁶."""
    monkeypatch.setattr("numerics.integrate.march._MOST_STEPS", 50)
    run = gradient_flow(ONE, SCALAR, [1e3, 9e2], 10.0, method="RK45", times=times)
    assert run.status == "stopped: 50 steps did not suffice"
    assert 0 < run.t[-1] < 0.01
    assert len(run.t) == (51 if times is None else 1)

"""Many rows at once: statuses, independence of the batch, grids, chunks, libraries."""

import array_api_strict
import numpy as np
import pytest

from gpu.integrate import FunctionProblem, Status, integrate
from gpu.integrate.chunks import rows_at_once
from gpu.integrate.implicit import ImplicitStep
from gpu.integrate.loop import Run, Settings
from gpu.integrate.stabilised import StabilisedStep
from gpu.integrate.step import ExplicitStep
from tests.gpu.integrate.support import ATTENTION, logistic, powers, seeds

METHODS = ["explicit", "implicit", "Chebyshev"]
HOST = array_api_strict.Device("CPU_DEVICE")


@pytest.mark.parametrize("method", METHODS)
def test_a_row_that_diverges_leaves_the_others_alone(method):
    exponents = np.array([0.0, 2.0, 1.0, 0.0])
    start = np.array([[1.0, 1.0, 1.0, np.nan]])
    run = integrate(powers(exponents), start, 2.0, method=method)
    wanted = [Status.FINISHED, Status.DIVERGED, Status.FINISHED, Status.BAD_START]
    assert run.status.tolist() == wanted
    assert run.t[1] == pytest.approx(1.0, abs=1e-6)  # y = 1/(1−t)
    assert run.t[3] == 0.0
    alone = integrate(powers(exponents[[0, 2]]), start[:, [0, 2]], 2.0, method=method)
    # The same arithmetic in other vector lanes.
    np.testing.assert_allclose(run.state[:, [0, 2]], alone.state, rtol=1e-13)
    assert run.steps[[0, 2]].tolist() == alone.steps.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_a_singular_velocity_makes_the_step_too_small(method):
    # y² = 1 − 2t ends at t = 1/2; y² = 9 − 2t goes on.
    run = integrate(powers(np.array([-1.0])), -np.array([[1.0]]), 0.25, method=method)
    assert run.texts() == ["finished"]
    falling = FunctionProblem(lambda y: -1.0 / y, (), lambda y: (1.0 / y**2)[None, ...])
    run = integrate(falling, np.array([[1.0, 3.0]]), 2.0, method=method)
    assert run.status.tolist() == [Status.STEP_TOO_SMALL, Status.FINISHED]
    assert run.texts() == ["stopped: the step became too small", "finished"]
    assert run.t[0] == pytest.approx(0.5, abs=1e-6)
    assert run.state[0, 1] == pytest.approx(5**0.5, rel=1e-7)


def test_exponential_growth_overflows():
    run = integrate(powers(np.array([1.0])), np.array([[1.0]]), 1000.0)
    assert run.status.tolist() == [Status.DIVERGED]
    assert run.t[0] == pytest.approx(np.log(np.finfo(float).max), rel=1e-2)


def test_steps_run_out_row_by_row():
    fast = np.array([1.0, 1e4])
    run = integrate(logistic(fast), np.array([[0.5, 0.5]]), 20.0, method="explicit", max_steps=200)
    assert run.status.tolist() == [Status.FINISHED, Status.OUT_OF_STEPS]
    assert run.steps[1] == 200
    assert run.evaluations[1] == 2 + 6 * 200
    assert 0 < run.t[1] < 20


def test_every_status_has_a_text():
    assert len({status.text for status in Status}) == len(Status)


@pytest.mark.parametrize("method", METHODS)
def test_results_do_not_depend_on_the_batch(method):
    y, times = seeds(9), np.array([0.0, 40.0, 90.0])
    whole = integrate(ATTENTION, y, 100.0, times=times, method=method)
    order = np.random.default_rng(0).permutation(9)
    turned = integrate(ATTENTION, y[:, order], 100.0, times=times, method=method)
    parts = [
        integrate(ATTENTION, y[:, part], 100.0, times=times, method=method)
        for part in (slice(0, 4), slice(4, 9))
    ]
    split = np.concatenate([part.state for part in parts], axis=1)
    # Sums of another order differ by roundings, which the escape from 0.05 to order one grows
    # by some 20 in each weight: 1e-16 · 20 · √(100 steps) is 2e-14.
    np.testing.assert_allclose(turned.state, whole.state[:, order], rtol=0, atol=1e-12)
    np.testing.assert_allclose(turned.record, whole.record[:, :, order], rtol=0, atol=1e-12)
    np.testing.assert_allclose(split, whole.state, rtol=0, atol=1e-12)
    assert np.abs(np.diff(whole.state, axis=1)).max() > 0.1


def test_too_little_memory_cuts_chunks_and_says_so():
    y, times = seeds(7), np.array([10.0, 30.0])
    whole = integrate(ATTENTION, y, 60.0, times=times, method="explicit")
    cut = integrate(
        ATTENTION, y, 60.0, times=times, method="explicit", memory=10 * 8 * (16 + 2 * 2) * 3
    )
    assert (whole.chunks, cut.chunks) == (1, 3)
    assert rows_at_once(y, 2, "explicit", 1) == 1
    np.testing.assert_allclose(cut.state, whole.state, rtol=0, atol=1e-12)
    np.testing.assert_allclose(cut.record, whole.record, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_grids_of_each_row(method):
    rates, start = np.array([1.0, 2.0, 3.0]), np.array([[0.1, 0.1, 0.2]])
    ends = np.array([3.0, 4.0, 5.0])
    own = ends[:, None] * np.array([0.0, 0.1, 0.15, 0.8, 1.0])
    run = integrate(logistic(rates), start, ends, times=own, method=method)
    exact = 1 / (1 + (1 / start[0][:, None] - 1) * np.exp(-rates[:, None] * own))
    assert run.record.shape == (5, 1, 3)
    # Interpolated and stepped errors of some ten steps at rtol = 1e-8.
    np.testing.assert_allclose(run.record[:, 0].T, exact, rtol=0, atol=2e-7)
    shared = integrate(logistic(rates), start, ends, times=own[0], method=method)
    np.testing.assert_allclose(shared.record[:, :, 0], run.record[:, :, 0], rtol=1e-13)
    np.testing.assert_allclose(run.record[-1], run.state, rtol=1e-14)


def test_a_row_that_stops_leaves_nan_in_its_record():
    times = np.array([0.0, 0.5, 1.5])
    run = integrate(powers(np.array([2.0, 0.0])), np.ones((1, 2)), 2.0, times=times)
    np.testing.assert_allclose(run.record[:, 0].T, [[1, 2, np.nan], [1, 1.5, 2.5]], rtol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_a_problem_may_return_its_own_buffer(method):
    buffers = {}

    def velocity(y):
        buffer = buffers.setdefault(y.shape, np.empty(y.shape))
        buffer[...] = ATTENTION.velocity(y)
        return buffer

    y = np.asfortranarray(seeds(5))
    own = integrate(FunctionProblem(velocity, (), ATTENTION.derivative), y, 90.0, method=method)
    fresh = integrate(ATTENTION, seeds(5), 90.0, method=method)
    np.testing.assert_allclose(own.state, fresh.state, rtol=0, atol=1e-12)


def test_the_caller_s_arrays_stay():
    y = seeds(3)
    y.setflags(write=False)
    before = y.copy()
    integrate(ATTENTION, y, 20.0, times=np.array([5.0]))
    assert (y == before).all()


@pytest.mark.parametrize("device", ["device1", "device2"])
@pytest.mark.parametrize("method", METHODS)
def test_strict_namespace_on_devices(device, method):
    y, times = seeds(3), np.array([10.0, 30.0])
    at = array_api_strict.Device(device)
    strict = integrate(
        ATTENTION, array_api_strict.asarray(y, device=at), 40.0, times=times, method=method
    )
    wanted = integrate(ATTENTION, y, 40.0, times=times, method=method)
    assert strict.state.device == strict.record.device == strict.t.device == at
    for name in ("state", "record", "t", "status"):
        host = np.asarray(getattr(strict, name).to_device(HOST))
        np.testing.assert_allclose(host, getattr(wanted, name), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_single_precision(method):
    y = seeds(3)
    run = integrate(ATTENTION, y.astype(np.float32), 100.0, times=np.array([50.0]), method=method)
    wanted = integrate(ATTENTION, y, 100.0, times=np.array([50.0]), method=method)
    assert run.state.dtype == run.record.dtype == np.float32
    assert set(run.texts()) == {"finished"}
    # rtol is 10 roundings, 1.2e-6, and the escape grows errors by some 20.
    np.testing.assert_allclose(run.state, wanted.state, rtol=0, atol=1e-4)
    np.testing.assert_allclose(run.record, wanted.record, rtol=0, atol=1e-4)


def test_a_norm_of_the_problem_is_used():
    class Tight(FunctionProblem):
        def norm(self, scaled):
            return 1e4 * np.abs(scaled).max(axis=0)

        def take(self, rows):
            return Tight(self.function, [p[rows] for p in self.parameters])

    y, rates = np.array([[0.1, 0.2]]), np.ones(2)
    loose, tight = (
        integrate(kind(logistic(rates).function, [rates]), y, 5.0)
        for kind in (FunctionProblem, Tight)
    )
    # Order 5: a tolerance 10⁴ times as tight takes up to 10^{4/5} = 6 times the steps.
    assert tight.steps.min() > 3 * loose.steps.max()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"initial": [[1.0]]}, TypeError, "initial must be an array"),
        ({"initial": np.ones((1, 2), int)}, TypeError, "initial must hold real floats"),
        ({"initial": np.ones(2)}, ValueError, "initial must have 2 axes"),
        ({"duration": 0.0}, ValueError, "duration must be > 0"),
        ({"duration": np.ones(3)}, ValueError, "duration"),
        ({"times": [0.5, 0.2]}, ValueError, "times must increase"),
        ({"times": [0.5, 2.0]}, ValueError, "times must increase"),
        ({"times": np.ones((3, 1))}, ValueError, "times"),
        ({"method": "Euler"}, ValueError, "method must be"),
        ({"rtol": 0.0}, ValueError, "rtol must be > 0"),
        ({"max_steps": 0}, ValueError, "max_steps must be >= 1"),
    ],
)
def test_misuse_is_refused(change, error, words):
    given = {"initial": np.ones((1, 2)), "duration": 1.0} | change
    with pytest.raises(error, match=words):
        integrate(logistic(np.ones(2)), given.pop("initial"), given.pop("duration"), **given)


def test_implicit_needs_a_jacobian():
    with pytest.raises(ValueError, match="without Jacobian"):
        integrate(FunctionProblem(lambda y: -y), np.ones((1, 1)), 1.0, method="implicit")


@pytest.mark.parametrize("method", [ExplicitStep, ImplicitStep, StabilisedStep])
def test_a_step_never_waits_for_the_device(method, monkeypatch):
    y = array_api_strict.asarray(seeds(3), device=array_api_strict.Device("device1"))
    end = array_api_strict.full((3,), 40.0, device=y.device, dtype=array_api_strict.float64)
    run = Run(method, ATTENTION, y, end, None, Settings(1e-8, 1e-12, 100))

    def wait(self):
        raise AssertionError("a step waited for the device")

    for name in ("__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(type(y), name, wait)
    for _ in range(8):
        run.step()
    with pytest.raises(AssertionError, match="waited"):
        run.finish()
    monkeypatch.undo()
    assert run.steps.to_device(HOST)[0] >= 3

"""Gradient flow: exact solutions, identities, and what a run records."""

import math

import numpy as np
import pytest

from numerics import (
    AttentionSystem,
    MergedAttention,
    SeparateAttention,
    Trajectory,
    extra_blocks,
    gradient_flow,
    minimiser,
    moments_of_sequences,
    population_moments,
    sample_moments,
    sample_sequences,
    system_flow,
)
from tests.numerics.support import TASKS, assert_same, state, whole_layer

SCALAR = population_moments(TASKS["scalar"])
GENERIC = population_moments(TASKS["generic"])
MERGED, SEPARATE = MergedAttention(3, 2), SeparateAttention(3, 3, rank=2)
METHODS = ["LSODA", "DOP853", "Radau", "BDF", "RK45", "Krylov"]

# The tolerance on a step is rtol = 1e-8 of the weights. Over a run that starts at order one and
# only relaxes, errors do not grow, and some hundred steps add up to less than 1e-6: measured
# against rtol = 1e-12, LSODA is off by 4e-9, Radau by 5e-10, BDF by 2e-8.
RELAXING = 1e-6


def growth_and_curvature(moments):
    """C and W of the scalar flow v̇ = … (C − W m)."""
    return float(moments.correlation[0, 0]), float(moments.quadratic(np.ones((1, 1)))[0, 0])


def logistic(t, start, C, W):
    """m(t) with ṁ = 2m(C − Wm): what balanced heads v = U at D = 1 obey, m = Σ v_h²."""
    return (C / W) / (1 + (C / W / start - 1) * np.exp(-2 * C * t))


@pytest.mark.parametrize("method", ["auto", *METHODS])
@pytest.mark.parametrize("signs", [[1.0], [1.0, -1.0, 2.0]])
def test_balanced_merged_attention_in_one_dimension_is_logistic(method, signs):
    C, W = growth_and_curvature(SCALAR)
    v = 0.1 * np.array(signs)
    model = MergedAttention(1, len(v))
    t = np.linspace(0, 15 / C, 40)
    run = gradient_flow(
        model, SCALAR, model.pack(v, v[:, None, None]), t[-1], times=t, method=method
    )
    exact = logistic(t, float(v @ v), C, W)
    # While m grows from m_0 the error grows with it, by (m*/m_0)^{1/2} ≤ 6 in the weights.
    assert np.abs(run.matrices[:, 0, 0] - exact).max() < 10 * RELAXING
    assert run.status == "finished"
    assert (run.t == t).all()
    assert run.matrices[-1, 0, 0] == pytest.approx(float(minimiser(SCALAR)[0, 0]), rel=1e-6)


@pytest.mark.parametrize("start", [0.15, 0.3])
def test_balanced_separate_attention_in_one_dimension_takes_its_time(start):
    """v = k = q obeys v̇ = v²(C − Wv³), so t(v) = ∫ du / (u²(C − Wu³)); [L] Eq. 21."""
    from scipy.integrate import quad

    C, W = growth_and_curvature(SCALAR)
    model = SeparateAttention(1, 1)
    t = np.linspace(0, 1.2 / (C * start), 12)[1:]
    run = gradient_flow(model, SCALAR, np.full(3, start), t[-1], times=t, rtol=1e-10)
    top = (C / W) ** (1 / 3)
    moving = run.states[:, 0] < 0.99 * top  # beyond, t(v) is too steep to compare
    assert moving.sum() > 3
    for time, v in zip(t[moving], run.states[moving, 0], strict=True):
        passed = quad(lambda u: 1 / (u**2 * (C - W * u**3)), start, v, epsabs=1e-12)[0]
        assert passed == pytest.approx(time, rel=1e-6)
    # v = k = q is preserved exactly in exact arithmetic; the run keeps it to its tolerance.
    assert np.abs(run.states - run.states[:, :1]).max() < 1e-8


RUNS = {
    "merged": (MERGED, GENERIC),
    "separate": (SEPARATE, GENERIC),
    "sample": (SEPARATE, sample_moments(TASKS["generic"], 50, rng=1)),
    "tokens": (SeparateAttention(3, 2), population_moments(TASKS["tokens"])),
    "diagonal": (MERGED, GENERIC.eigenform()[0]),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("method", ["LSODA", "DOP853", "Krylov"])
def test_energy_identity_and_conservation(name, method):
    model, moments = RUNS[name]
    run = gradient_flow(model, moments, state(model.size, 1, 0.3), 20.0, method=method)
    assert run.status == "finished"
    assert run.t[0] == 0
    assert run.t[-1] == 20.0
    assert (np.diff(run.t) > 0).all()
    assert run.evaluations > len(run.t) / 4
    # Both error bars are integrals of local errors: the tolerance times some hundred steps.
    assert run.invariant_drift.max() < 1e-6
    assert np.abs(run.energy_gap).max() < 1e-6
    assert run.loss[0] - run.loss[-1] > 0.1
    assert np.diff(run.loss).max() < 1e-9  # falls at every step, up to the error at rest


@pytest.mark.parametrize("name", RUNS)
def test_recorded_quantities_are_those_of_the_states(name):
    model, moments = RUNS[name]
    theta = state(model.size, 1, 0.3)
    run = gradient_flow(model, moments, theta, 3.0, tau=0.5, times=[0.0, 1.0, 3.0])
    system = AttentionSystem(model, moments)
    assert_same(run.states[0], theta)  # rotated there and back
    for i in range(3):
        assert_same(run.loss[i], system.loss(run.states[i]))
        g = system.velocity(run.states[i])
        assert_same(run.loss_rate[i], 2 * float(g @ g) / 0.5)
        change = system.invariants(run.states[i]) - system.invariants(run.states[0])
        assert run.invariant_drift[i] == pytest.approx(np.abs(change).max(), abs=1e-14)
        assert_same(run.matrices[i], model.matrix(run.states[i]))
    assert run.model is model
    assert "finished" in repr(run)
    assert "3 points" in repr(run)


def test_error_bars_count_from_time_zero_when_the_grid_does_not():
    model = MergedAttention(1, 1)
    whole = gradient_flow(model, SCALAR, [0.3, 0.4], 10.0, times=[0.0, 5.0, 10.0], rtol=1e-6)
    late = gradient_flow(model, SCALAR, [0.3, 0.4], 10.0, times=[5.0, 10.0], rtol=1e-6)
    assert (late.states == whole.states[1:]).all()
    assert_same(late.energy_gap, whole.energy_gap[1:])
    assert_same(late.invariant_drift, whole.invariant_drift[1:])


@pytest.mark.parametrize("name", RUNS)
def test_the_loss_rate_is_the_slope_of_the_loss(name):
    model, moments = RUNS[name]
    t = 1.0 + np.array([-3e-4, 0, 3e-4])
    run = gradient_flow(
        model, moments, state(model.size, 1, 0.3), 2.0, tau=1.7, times=t, rtol=1e-11
    )
    slope = -(run.loss[2] - run.loss[0]) / 6e-4
    # Central difference: h² L'''/6 ~ 1e-6 of L'; integration error 1e-11/3e-4 = 3e-8.
    assert run.loss_rate[1] == pytest.approx(slope, rel=2e-5)


@pytest.mark.parametrize("name", RUNS)
def test_restart_from_the_middle(name):
    model, moments = RUNS[name]
    theta = state(model.size, 2, 0.3)
    whole = gradient_flow(model, moments, theta, 6.0, times=[2.5, 6.0])
    first = gradient_flow(model, moments, theta, 2.5)
    second = gradient_flow(model, moments, first.states[-1], 3.5)
    assert np.abs(whole.states[0] - first.states[-1]).max() < RELAXING
    assert np.abs(whole.states[1] - second.states[-1]).max() < RELAXING


@pytest.mark.parametrize("tau", [0.01, 3.0])
@pytest.mark.parametrize("method", ["LSODA", "RK45", "Krylov"])
def test_tau_only_stretches_time(tau, method):
    t = np.linspace(0, 5, 7)
    theta = state(SEPARATE.size, 3, 0.3)
    plain = gradient_flow(SEPARATE, GENERIC, theta, 5.0, times=t, method=method)
    slow = gradient_flow(SEPARATE, GENERIC, theta, 5.0 * tau, times=t * tau, tau=tau, method=method)
    assert np.abs(slow.states - plain.states).max() < RELAXING
    assert np.abs(slow.energy_gap).max() < RELAXING
    assert slow.loss_rate == pytest.approx(plain.loss_rate / tau, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", RUNS)
def test_a_grid_of_times_samples_the_same_curve(name):
    model, moments = RUNS[name]
    theta = state(model.size, 4, 0.3)
    t = np.array([0.0, 0.3, 1.0, 4.0])
    run = gradient_flow(model, moments, theta, 4.0, times=t)
    assert run.t.tolist() == t.tolist()
    for time, expected in zip(t[1:], run.states[1:], strict=True):
        single = gradient_flow(model, moments, theta, time).states[-1]
        assert np.abs(single - expected).max() < RELAXING
    assert (run.at([0.1, 3.9]) == run.states[[0, 3]]).all()
    assert (run.at(0.9) == run.states[2]).all()


def test_the_whole_layer_flows_and_conserves_its_balance():
    sequences = sample_sequences(TASKS["generic"], 40, rng=4)
    system = whole_layer(sequences, heads=2)
    theta = system.layer.embed(*MERGED.unpack(state(MERGED.size, 1, 0.3)))
    run = system_flow(system, theta, 3.0, method="DOP853")
    assert np.abs(run.energy_gap).max() < RELAXING
    assert run.invariant_drift.max() < RELAXING
    assert np.diff(run.loss).max() < 1e-9
    assert np.abs(extra_blocks(system.layer, run.states[-1])).max() > 1e-3  # drift on a sample
    reduced = gradient_flow(MERGED, moments_of_sequences(sequences), MERGED.pack(
        *MERGED.unpack(state(MERGED.size, 1, 0.3))), 3.0)  # fmt: skip
    assert run.loss[-1] < reduced.loss[-1]  # and they help


@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("method", ["auto", "BDF", "Krylov"])
def test_the_whole_layer_flows_with_implicit_solvers(method, rank):
    system = whole_layer(sample_sequences(TASKS["generic"], 20, rng=0), 1, rank)
    run = system_flow(system, np.full(system.size, 0.1), 300.0, method=method)
    assert run.status == "finished"
    assert np.abs(run.energy_gap).max() < RELAXING


def test_fixed_points_stay_where_they_are():
    M = minimiser(GENERIC)
    for theta in (np.zeros(MERGED.size), MERGED.pack([1.0, 0.0], [M, 0 * M])):
        run = gradient_flow(MERGED, GENERIC, theta, 5.0)
        # M* is solved for to ~1e-14; a step may err by atol = 1e-12 and rtol times its length.
        assert np.abs(run.states - theta).max() < 1e-9
        assert run.loss_rate.max() < 1e-16  # the square of that, times Hessian entries of order ten


BAD = [
    ({"duration": 0.0}, ValueError, "duration must be > 0"),
    ({"duration": math.inf}, ValueError, "duration must be finite"),
    ({"duration": "long"}, TypeError, "duration must be a real number"),
    ({"tau": -1.0}, ValueError, "tau must be > 0"),
    ({"tau": math.nan}, ValueError, "tau must be finite"),
    ({"rtol": 0.0}, ValueError, "rtol must be > 0"),
    ({"atol": -1e-9}, ValueError, "atol must be > 0"),
    ({"times": [0.0, 2.0]}, ValueError, "times must increase"),
    ({"times": [-0.1, 0.5]}, ValueError, "times must increase"),
    ({"times": [0.0, 0.5, 0.5]}, ValueError, "times must increase"),
    ({"times": []}, ValueError, "times must not be empty"),
    ({"times": [0.0, math.nan]}, ValueError, "times must be finite"),
    ({"method": "Euler"}, ValueError, "method must be auto or one of"),
    ({"until_loss": math.nan}, ValueError, "until_loss must be finite"),
    ({"until_loss": "0.5"}, TypeError, "until_loss must be a real number"),
    ({"tau": True}, TypeError, "tau must be a real number"),
    ({"initial": np.ones(4)}, ValueError, "length of initial is 4.*makes it 20"),
    ({"initial": np.full(20, np.nan)}, ValueError, "initial must be finite"),
    ({"initial": np.ones((2, 10))}, ValueError, "initial must have 1 axes"),
    ({"initial": np.ones(20) * 1j}, TypeError, "initial must hold real numbers"),
]


@pytest.mark.parametrize(("change", "error", "text"), BAD)
def test_bad_options_are_named(change, error, text):
    options = {"initial": np.ones(20), "duration": 1.0, **change}
    with pytest.raises(error, match=text):
        gradient_flow(MERGED, GENERIC, **options)
    with pytest.raises(error, match=text):
        system_flow(AttentionSystem(MERGED, GENERIC), **options)


def test_moments_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match="model has dimension 3, but the moments have 1"):
        gradient_flow(MERGED, SCALAR, np.ones(20), 1.0)


def test_a_trajectory_is_a_plain_record():
    run = Trajectory(t=np.array([0.0, 1.0]), states=np.zeros((2, 20)), loss=np.array([2.0, 1.0]),
                     loss_rate=np.zeros(2), invariant_drift=np.zeros(2), energy_gap=np.zeros(2),
                     status="finished", evaluations=1, model=MERGED)  # fmt: skip
    assert run.matrices.shape == (2, 3, 3)
    assert run.at([[0.2], [0.8]]).shape == (2, 1, 20)

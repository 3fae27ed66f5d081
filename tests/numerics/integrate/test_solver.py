"""The solvers behind a flow: they agree, obey their tolerance on any grid, and are well chosen."""

import numpy as np
import pytest

from numerics import (
    AttentionLayer,
    AttentionSystem,
    LayerSystem,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    gradient_flow,
    population_moments,
    sample_sequences,
    stability,
    system_flow,
)
from numerics.integrate.solver import augmented, cheapest_method
from tests.numerics.support import TASKS, state

GENERIC = population_moments(TASKS["generic"])
MERGED, SEPARATE = MergedAttention(3, 2), SeparateAttention(3, 2)
METHODS = ["LSODA", "DOP853", "RK45", "RK23", "Radau", "BDF", "Krylov"]


@pytest.mark.parametrize("model", [MERGED, SEPARATE])
@pytest.mark.parametrize("points", [2, 9, 100])
def test_states_on_a_grid_are_as_accurate_as_the_tolerance(model, points):
    """The interpolant of a long step must not lose what the step has."""
    theta, t = state(model.size, 5, 0.3), np.linspace(0, 8, points)
    exact = gradient_flow(model, GENERIC, theta, 8.0, times=t, rtol=1e-13, atol=1e-15)
    assert exact.t.tolist() == t.tolist()
    for method in METHODS:
        run = gradient_flow(model, GENERIC, theta, 8.0, times=t, method=method)
        assert run.t.tolist() == t.tolist()
        # Measured: at most 5e-8 (DOP853, few points); its interpolant errs by 9e-7.
        assert np.abs(run.states - exact.states).max() < 2e-7


def test_the_tolerance_is_obeyed():
    theta, t = state(MERGED.size, 5, 0.3), np.linspace(0, 8, 9)

    def run(rtol):
        return gradient_flow(MERGED, GENERIC, theta, 8.0, times=t, method="Radau", rtol=rtol,
                             atol=rtol / 100).states  # fmt: skip

    exact = run(1e-12)
    errors = [np.abs(run(rtol) - exact).max() for rtol in (1e-4, 1e-6, 1e-8)]
    # Local error control: error ∝ rtol to within the safety factors.
    assert errors[0] / errors[1] > 10
    assert errors[1] / errors[2] > 10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("times", [[0.5], [0.0, 1e-9, 2e-9, 3.0], [np.nextafter(1.0, 2), 2.0, 3.0]])
def test_grids_that_begin_late_crowd_or_end_early(method, times):
    theta = state(MERGED.size, 5, 0.3)
    run = gradient_flow(MERGED, GENERIC, theta, 3.0, times=times, method=method)
    assert run.t.tolist() == times
    assert run.status == "finished"
    single = gradient_flow(MERGED, GENERIC, theta, times[-1], rtol=1e-12, atol=1e-14)
    assert np.abs(run.states[-1] - single.states[-1]).max() < 2e-7


def test_a_record_too_large_to_keep_becomes_a_grid(monkeypatch):
    monkeypatch.setattr("numerics.integrate.solver._LARGEST_RECORD", 100)
    run = gradient_flow(MERGED, GENERIC, state(MERGED.size, 5, 0.3), 4.0, method="RK45")
    assert len(run.t) == 2001
    assert run.t[[0, 1, -1]] == pytest.approx([0.0, 4e-6, 4.0], rel=1e-12)
    assert np.abs(run.energy_gap).max() < 1e-6


def test_a_large_model_takes_the_explicit_solver_only_where_the_flow_is_not_stiff():
    assert cheapest_method(200, 100) == "DOP853"
    model = SeparateAttention(3, 20)
    system = AttentionSystem(model, GENERIC)
    calls = []
    system.jacobian = lambda theta: calls.append(1) or AttentionSystem.jacobian(system, theta)
    assert system_flow(system, state(model.size, 1, 0.1), 1.0).status == "finished"
    assert not calls
    # Head by head the conserved v² − k² keeps the weights, and with them the rates, large.
    assert system_flow(system, state(model.size, 1, 30.0), 1.0).status == "finished"
    assert calls


@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_the_jacobian_given_to_implicit_solvers(tau):
    """A wrong one costs steps, not accuracy, so that no trajectory would show it."""
    system = AttentionSystem(SEPARATE, GENERIC)
    velocity, jacobian = augmented(system, tau)
    y = np.append(state(SEPARATE.size, 1), 0.4)
    h = 1e-5
    columns = [(velocity(0.0, y + h * e) - velocity(0.0, y - h * e)) / (2 * h)
               for e in np.eye(len(y))]  # fmt: skip
    J = jacobian(0.0, y)
    # Central difference: h² = 1e-10 times third derivatives within a factor 100 of the first.
    assert np.abs(J - np.array(columns).T).max() < 1e-7 * np.abs(J).max()


def without_a_jacobian():
    """The softmax layer on sequences of its own, with a start."""
    layer = AttentionLayer(dimension=1, heads=2, attention="softmax")
    sequences = sample_sequences(LinearTask([[1.0]], 6), 40, rng=0)
    return LayerSystem.of(layer, sequences), layer.initial_weights(0.3, rng=1)


def test_a_system_without_a_jacobian_takes_explicit_methods():
    system, theta = without_a_jacobian()
    exact = system_flow(system, theta, 5.0, times=[5.0], method="RK45", rtol=1e-11, atol=1e-13)
    for options in ({}, {"method": "DOP853"}, {"method": "RK45"}):
        run = system_flow(system, theta, 5.0, times=[5.0], **options)
        assert run.status == "finished"
        # rtol = 1e-8 of weights of order 1, over some tens of steps.
        assert np.abs(run.states[-1] - exact.states[-1]).max() < 1e-6
    assert run.loss[-1] < system.loss(theta)
    assert len(system_flow(system, theta, 5.0).t) > 2


def test_what_needs_a_jacobian_names_what_lacks_it():
    system, theta = without_a_jacobian()
    for method in ("LSODA", "BDF", "Radau", "Krylov"):
        with pytest.raises(ValueError, match=f"method must be .* without a Jacobian, got {method}"):
            system_flow(system, theta, 1.0, method=method)
    with pytest.raises(TypeError, match="system must be a system with a Jacobian, got "):
        stability(system, theta)

"""Discrete optimisers: single steps by hand, raw sequences, order of convergence to the flow."""

import math

import numpy as np
import pytest

from numerics import (
    AttentionSystem,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    TwoLayerNetwork,
    gradient_descent,
    gradient_flow,
    moments_of_sequences,
    population_moments,
    sample_sequences,
)
from tests.numerics.support import EPS, TASKS, assert_same, complex_gradient, state, whole_layer

GENERIC = population_moments(TASKS["generic"])
MERGED, SEPARATE = MergedAttention(3, 2), SeparateAttention(3, 2, rank=2)
SYSTEM = AttentionSystem(SEPARATE, GENERIC)
START = state(SEPARATE.size, 1, 0.3)


def slope(theta, factor=1.0):
    return factor * complex_gradient(SYSTEM.loss, theta)


def test_plain_steps_by_hand():
    run = gradient_descent(SYSTEM, START, 3, 0.05, loss_factor=0.7)
    theta = START
    for row in run.states[1:]:
        theta = theta - 0.05 * slope(theta, 0.7)
        assert_same(row, theta, 2000)
    assert run.t.tolist() == [0, 1, 2, 3]
    assert run.status == "finished"
    assert run.evaluations == 3


def test_momentum_steps_by_hand():
    run = gradient_descent(SYSTEM, START, 3, 0.05, optimiser="momentum", loss_factor=0.7)
    g0 = slope(START, 0.7)
    one = START - 0.05 * g0
    g1 = slope(one, 0.7)
    two = one - 0.05 * (g1 + 0.9 * g0)
    three = two - 0.05 * (slope(two, 0.7) + 0.9 * g1 + 0.81 * g0)
    assert_same(run.states[1:], np.array([one, two, three]), 2000)


def test_adam_steps_by_hand():
    """Kingma & Ba 2015, Algorithm 1; the bias corrections make the first step η·sign."""
    run = gradient_descent(SYSTEM, START, 2, 0.05, optimiser="adam", loss_factor=0.7)
    g0 = slope(START, 0.7)
    one = START - 0.05 * g0 / (np.abs(g0) + 1e-8)
    g1 = slope(one, 0.7)
    first = (0.1 * 0.9 * g0 + 0.1 * g1) / (1 - 0.81)
    second = (0.001 * 0.999 * g0**2 + 0.001 * g1**2) / (1 - 0.999**2)
    two = one - 0.05 * first / (np.sqrt(second) + 1e-8)
    # 1 − 0.999² has lost log2(500) bits: a thousand roundings more than usual.
    assert_same(run.states[1:], np.array([one, two]), 1e5)


def test_each_run_starts_with_a_fresh_optimiser():
    for name in ("momentum", "adam"):
        a, b = (gradient_descent(SYSTEM, START, 4, 0.02, optimiser=name) for _ in range(2))
        assert (a.states == b.states).all()


def test_loss_factor_only_rescales_the_rate():
    a = gradient_descent(SYSTEM, START, 10, 0.02, loss_factor=0.5)
    b = gradient_descent(SYSTEM, START, 10, 0.01)
    assert_same(a.states, b.states)
    assert_same(a.loss, b.loss)  # the recorded loss is L, whatever the factor


def test_recorded_quantities_are_those_of_the_states():
    run = gradient_descent(SYSTEM, START, 6, 0.02, every=2, loss_factor=0.5)
    dissipated = 0.0
    theta, rows = START, []
    for step in range(7):
        g = slope(theta)
        if step % 2 == 0:
            rows.append((SYSTEM.loss(theta), 0.01 * g @ g, run.loss[0] - dissipated))
        dissipated += 0.01 * float(g @ g)
        theta = theta - 0.01 * g
    loss, rate, unspent = np.array(rows, float).T
    assert_same(run.loss, loss, 5000)
    assert_same(run.loss_rate, rate, 5000)
    assert_same(run.energy_gap, unspent - loss, 5000 / np.abs(run.energy_gap).max())
    drift = np.abs(SYSTEM.invariants(run.states) - SYSTEM.invariants(START)).max(axis=1)
    assert_same(run.invariant_drift, drift)
    assert run.model is SEPARATE


def naive_merged_descent(sequences, v, U, steps, rate):
    """Every sequence, head and step in a loop, from the layer's definition."""
    history = []
    for _ in range(steps):
        dv, dU = np.zeros_like(v), np.zeros_like(U)
        for p in range(len(sequences)):
            N = int(sequences.lengths[p])
            beta = sum(sequences.y[p, n] * sequences.x[p, n] for n in range(N)) / N
            query = sequences.query[p]
            prediction = sum(v[h] * beta @ U[h] @ query for h in range(len(v)))
            error = prediction - sequences.target[p]
            for h in range(len(v)):
                dv[h] += 2 * error * (beta @ U[h] @ query) / len(sequences)
                dU[h] += 2 * error * v[h] * np.outer(beta, query) / len(sequences)
        v, U = v - rate * dv, U - rate * dU
        history.append(np.concatenate([v, U.ravel()]))
    return np.array(history)


@pytest.mark.parametrize("name", ["generic", "tokens"])
def test_descent_on_moments_is_descent_on_the_raw_sequences(name):
    sequences = sample_sequences(TASKS[name], 15, rng=2)
    theta = state(MERGED.size, 3, 0.3)
    naive = naive_merged_descent(sequences, *MERGED.unpack(theta), 40, 0.02)
    system = AttentionSystem(MERGED, moments_of_sequences(sequences))
    run = gradient_descent(system, theta, 40, 0.02)
    # 40 steps of a few hundred roundings each, in a run that relaxes: 2e4 eps.
    assert_same(run.states[1:], naive, 2e4)


@pytest.mark.parametrize("optimiser", ["gradient-descent", "momentum", "adam"])
def test_attention_and_its_network_stay_together_under_any_optimiser(optimiser):
    """[L] Eq. 6–8. Adam acts entrywise, so the layout of the entries does not matter."""
    theta, network = state(MERGED.size, 4, 0.3), TwoLayerNetwork(GENERIC, width=2)
    v, U = MERGED.unpack(theta)
    start = network.pack(v, U.swapaxes(1, 2).reshape(2, 9))
    a = gradient_descent(AttentionSystem(MERGED, GENERIC), theta, 50, 0.01, optimiser=optimiser)
    b = gradient_descent(network, start, 50, 0.01, optimiser=optimiser)
    assert_same(a.loss, b.loss, 1e5)
    assert b.model is network


@pytest.mark.parametrize("model", [MERGED, SEPARATE])
def test_descent_approaches_the_flow_at_first_order(model):
    """Euler's method at step 2η: halving η halves the error at a fixed time."""
    theta, time = state(model.size, 5, 0.3), 1.0
    exact = gradient_flow(model, GENERIC, theta, time, rtol=1e-12, atol=1e-14).states[-1]
    system = AttentionSystem(model, GENERIC)

    def error(steps):
        rate = time / (2 * steps)  # 2·η·loss_factor units of flow time per step
        return np.abs(gradient_descent(system, theta, steps, rate, every=steps).states[-1] - exact)

    errors = [error(steps).max() for steps in (100, 200, 400)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    # The next term of the expansion is relatively O(η · rates) ~ 1/100.
    assert np.abs(orders - 1).max() < 0.05
    gaps = [
        np.abs(gradient_descent(system, theta, n, time / (2 * n)).energy_gap[-1])
        for n in (100, 200, 400)
    ]
    assert np.abs(np.log2(np.array(gaps[:-1]) / gaps[1:]) - 1).max() < 0.05


@pytest.mark.parametrize(("steps", "every", "expected"), [
    (10, 4, [0, 4, 8, 10]), (8, 4, [0, 4, 8]), (3, 10, [0, 3]), (1, 1, [0, 1]), (2, 1, [0, 1, 2]),
])  # fmt: skip
def test_every_keeps_the_first_and_the_last_state(steps, every, expected):
    dense = gradient_descent(SYSTEM, START, steps, 0.02)
    run = gradient_descent(SYSTEM, START, steps, 0.02, every=every)
    assert run.t.tolist() == expected
    assert (run.states == dense.states[expected]).all()
    assert_same(run.energy_gap, dense.energy_gap[expected])


@pytest.mark.parametrize("every", [1, 2, 7, 1000])
def test_divergence_keeps_what_came_before(every):
    system = AttentionSystem(MergedAttention(1, 1), population_moments(LinearTask([[1.0]], 10)))
    run = gradient_descent(system, [3.0, 3.0], 1000, 1.0, every=every)
    last = int(run.t[-1])
    assert run.status == f"stopped: diverged after step {last}"
    assert 1 <= last < 20
    assert run.evaluations == last
    expected = sorted({*range(0, last + 1, every), last})
    assert run.t.tolist() == expected
    for field in (run.states, run.loss, run.loss_rate, run.energy_gap, run.invariant_drift):
        assert np.isfinite(field).all()
    assert run.loss[-1] > run.loss[0]


@pytest.mark.parametrize("optimiser", ["gradient-descent", "momentum", "adam"])
@pytest.mark.parametrize("every", [1, 3])
def test_weights_too_large_to_differentiate_are_a_record_of_one_row(optimiser, every):
    system = AttentionSystem(MergedAttention(1, 1), population_moments(LinearTask([[1.0]], 10)))
    run = gradient_descent(system, [1e200, 1e200], 3, 0.1, optimiser=optimiser, every=every)
    assert run.status == "stopped: diverged after step 0"
    assert run.t.tolist() == [0.0]
    assert run.states.tolist() == [[1e200, 1e200]]


def test_the_whole_layer_can_be_trained():
    sequences = sample_sequences(TASKS["generic"], 20, rng=6)
    system = whole_layer(sequences, heads=2)
    theta = state(system.size, 1, 0.1)
    run = gradient_descent(system, theta, 50, 0.01, every=10)
    assert (np.diff(run.loss) < 0).all()
    step = theta - 0.01 * complex_gradient(system.loss, theta)
    assert_same(gradient_descent(system, theta, 1, 0.01).states[1], step, 2000)


def test_descent_comes_to_rest_at_the_optimum():
    """D = 1, σ = 0: the least loss is 1 − 1/(1 + 2/N) = 1/6 at N = 10."""
    system = AttentionSystem(MergedAttention(1, 1), population_moments(LinearTask([[1.0]], 10)))
    run = gradient_descent(system, [0.5, 0.5], 400, 0.05, every=400)
    assert run.loss[-1] == pytest.approx(1 / 6, abs=20 * EPS)


@pytest.mark.parametrize(("change", "error", "text"), [
    ({"steps": 0}, ValueError, "steps must be >= 1"),
    ({"steps": 2.0}, TypeError, "steps must be an integer"),
    ({"every": 0}, ValueError, "every must be >= 1"),
    ({"learning_rate": 0.0}, ValueError, "learning_rate must be > 0"),
    ({"learning_rate": math.nan}, ValueError, "learning_rate must be finite"),
    ({"learning_rate": "fast"}, TypeError, "learning_rate must be a real number"),
    ({"loss_factor": -1.0}, ValueError, "loss_factor must be > 0"),
    ({"optimiser": "sgd"}, ValueError, "optimiser must be one of .*adam, got 'sgd'"),
    ({"initial": np.ones(3)}, ValueError, "length of initial is 3.*makes it 26"),
    ({"initial": np.full(26, math.inf)}, ValueError, "initial must be finite"),
])  # fmt: skip
def test_bad_options_are_named(change, error, text):
    options = {"initial": START, "steps": 3, "learning_rate": 0.1, **change}
    with pytest.raises(error, match=text):
        gradient_descent(SYSTEM, **options)

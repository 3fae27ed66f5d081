"""Rows of a batch are runs of their own, on any array library, in any order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpu
import numerics
from numerics import strategies

from .support import RELAXING, assert_same, rejects, share

ROWS = 3


def namespace(library):
    if library == "numpy":
        return np
    return pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")


@st.composite
def batches(draw):
    """Linear attention: a model, tasks and states of ROWS runs."""
    size = draw(strategies.dimensions(3))
    each = [
        numerics.LinearTask(draw(strategies.covariances(size)), draw(st.integers(1, 50)),
                            draw(strategies.covariances(size)), draw(strategies.noises()))
        for _ in range(ROWS)
    ]  # fmt: skip
    model = draw(strategies.linear_models(size))
    return model, each, np.stack([draw(strategies.weights(model)) for _ in each])


@st.composite
def systems(draw):
    """A function of the array library that makes the batch, its runs one by one, and states."""
    kind = draw(st.sampled_from(["attention", "spectral", "layer moments", "layer"]))
    if kind == "attention":
        model, each, theta = draw(batches())
        alone = [numerics.AttentionSystem(model, numerics.population_moments(t)) for t in each]
        return lambda xp: gpu.AttentionSystem(model, gpu.stack_moments(each, xp=xp)), alone, theta
    if kind == "spectral":
        blocks = draw(strategies.multi_tasks(max_tasks=2)).block_dims
        each = [
            numerics.MultiTask(blocks, draw(strategies.spectra(len(blocks))),
                               draw(st.integers(1, 200)), noise=draw(strategies.noises()))
            for _ in range(ROWS)
        ]  # fmt: skip
        model = draw(strategies.softmax_models(blocks))
        theta = np.stack([draw(strategies.weights(model)) for _ in each])
        alone = [numerics.SpectralSystem(model, task) for task in each]
        return lambda xp: gpu.SpectralSystem(model, gpu.stack_moments(each, xp=xp)), alone, theta
    size, length = draw(strategies.dimensions(2)), draw(st.integers(1, 5))
    task, rank = numerics.LinearTask(np.eye(size), length), draw(st.sampled_from([None, 1, 2]))
    samples = [draw(strategies.sequences(task, max_count=6)) for _ in range(ROWS)]
    if kind == "layer moments":
        layer = numerics.AttentionLayer(size, 2, rank)
        theta = np.stack([draw(strategies.weights(layer)) for _ in samples])
        data = [numerics.linear_layer_moments(numerics.token_blocks(s)) for s in samples]
        alone = [numerics.LayerMomentsSystem(layer, one) for one in data]
        return (
            lambda xp: gpu.LayerMomentsSystem(layer, gpu.stack_moments(data, xp=xp)),
            alone,
            theta,
        )
    layer = numerics.AttentionLayer(size, 2, rank, draw(st.sampled_from(["linear", "softmax"])))
    theta = np.stack([draw(strategies.weights(layer)) for _ in samples])
    tokens, target = numerics.tokens_of(samples[0]), samples[0].target

    def make(xp):
        return gpu.LayerSystem(layer, xp.asarray(tokens), xp.asarray(target))

    return make, [numerics.LayerSystem(layer, tokens, target)] * ROWS, theta


def check_rows(make, alone, theta, xp=np):
    """Every function of the batch is that of its rows; the rows may stand in any order."""
    batch, states = make(xp), xp.asarray(theta)
    for name in ("loss", "velocity", "invariants", "jacobian"):
        if not hasattr(batch, name) or not hasattr(alone[0], name):
            continue
        whole = np.asarray(getattr(batch, name)(states))
        for one, row, result in zip(alone, theta, whole, strict=True):
            scale = float(one.loss(0 * row) + one.loss(row)) * (1 + np.abs(row).max()) ** 4
            assert_same(result, getattr(one, name)(row), 5000, scale=scale)


@pytest.mark.parametrize("library", ["numpy", "strict"])
@given(case=systems())
def test_rows_of_a_batch_are_runs_of_their_own(library, case):
    check_rows(*case, namespace(library))


def test_a_batch_of_one_task_for_all_is_rejected():
    def check(case):
        model, each, theta = case
        alone = [numerics.AttentionSystem(model, numerics.population_moments(t)) for t in each]
        check_rows(lambda xp: gpu.AttentionSystem(model, gpu.stack_moments(each[:1])), alone, theta)

    rejects(check, batches())


@given(batches(), strategies.permutations(ROWS))
def test_rows_stand_in_any_order(case, order):
    model, each, theta = case
    here = gpu.AttentionSystem(model, gpu.stack_moments(each))
    there = gpu.AttentionSystem(model, gpu.stack_moments([each[i] for i in order]))
    for name in ("loss", "velocity", "invariants", "jacobian"):
        assert_same(getattr(there, name)(theta[order]), getattr(here, name)(theta)[order], 100)


@given(strategies.linear_models(2), st.lists(strategies.seeds(), min_size=1, max_size=4))
def test_initial_weights_are_those_of_each_seed(model, seeds):
    rows = gpu.initial_weights(model, 0.3, seeds)
    for row, seed in zip(rows, seeds, strict=True):
        np.testing.assert_array_equal(row, model.initial_weights(0.3, rng=seed))


@share(0.3)
@given(batches(), st.floats(1e-3, 0.02))
def test_descents_and_flows_of_a_batch_are_runs_of_their_own(case, rate):
    model, each, theta = case
    moments = gpu.stack_moments(each)
    descent = gpu.gradient_descent(gpu.AttentionSystem(model, moments), theta, 20, rate)
    flow = gpu.gradient_flow(model, moments, 0.5 * theta, 1.0, times=[0.5, 1.0])
    for i, task in enumerate(each):
        alone = numerics.population_moments(task)
        system = numerics.AttentionSystem(model, alone)
        one = numerics.gradient_descent(system, theta[i], 20, rate)
        assert_same(descent.states[i], one.states, 1e5, scale=1.0)
        run = numerics.gradient_flow(model, alone, 0.5 * theta[i], 1.0, times=[0.5, 1.0])
        assert np.abs(flow.states[i] - run.states).max() < RELAXING

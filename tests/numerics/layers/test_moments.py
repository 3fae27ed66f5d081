"""The whole linear layer from moments against the same layer on its sequences."""

import numpy as np
import pytest

from numerics import (
    LinearTask,
    gradient_descent,
    moments_of_sequences,
    sample_chunks,
    sample_sequences,
    system_flow,
    token_blocks,
)
from numerics.layers.attention import AttentionLayer
from numerics.layers.moments import (
    LayerMomentsSystem,
    LinearLayerMoments,
    extra_blocks,
    layer_features,
    linear_layer_moments,
    pool_layer_moments,
    reduced_moments,
)
from numerics.layers.system import LayerSystem
from numerics.layers.tokens import tokens_of
from tests.numerics.support import (
    EPS,
    TASKS,
    assert_same,
    complex_directional,
    complex_gradient,
    spd,
    state,
)


def pair(dimension, rank, divide, count=60):
    """A layer with its two systems on the same sequences."""
    task = LinearTask(spd(dimension, 1), 5, noise=0.3)
    sequences = sample_sequences(task, count, rng=0)
    X, y = tokens_of(sequences), sequences.target
    layer = AttentionLayer(dimension, 3, rank, divide_by_context=divide)
    moments = linear_layer_moments([(X, y)], divide_by_context=divide)
    return layer, LayerSystem(layer, X, y), LayerMomentsSystem(layer, moments)


kinds = pytest.mark.parametrize(
    ("dimension", "rank", "divide"),
    [(1, None, True), (2, None, False), (3, None, True), (3, 1, False), (3, 2, True), (6, 1, True)],
)


@kinds
def test_loss_and_velocity_are_the_samples(dimension, rank, divide):
    layer, sampled, exact = pair(dimension, rank, divide)
    theta = state(layer.size, scale=0.3)
    assert_same(exact.velocity(theta), sampled.velocity(theta), 2000)
    assert_same(exact.loss(theta), sampled.loss(theta), 2000)
    assert_same(-0.5 * complex_gradient(exact.loss, theta), exact.velocity(theta), 2000)
    both = np.stack([theta, 0.5 * theta])
    assert_same(exact.loss(both), [exact.loss(row) for row in both], 2000)
    assert_same(exact.invariants(both), sampled.invariants(both))


@kinds
def test_jacobian_and_jvp_differentiate_the_velocity(dimension, rank, divide):
    layer, _, exact = pair(dimension, rank, divide)
    theta, direction = state(layer.size, 1, scale=0.3), state(layer.size, 2)
    numeric = complex_directional(exact.velocity, theta, direction)
    assert_same(exact.jvp(theta, direction), numeric, 2000)
    jacobian = exact.jacobian(theta)
    assert_same(jacobian @ direction, numeric, 2000)
    assert_same(jacobian, jacobian.T, 2000)


@pytest.mark.parametrize("rank", [None, 1, 2])
def test_derivatives_along_single_weights_are_columns(rank):
    """Such a direction is zero in all blocks but one; also of the derivative by the state."""
    layer, _, exact = pair(2, rank, True)
    theta, direction = state(layer.size, 1, scale=0.3), state(layer.size, 2)
    basis = np.eye(layer.size)
    by_column = np.stack([exact.jvp(theta, e) for e in basis], axis=1)
    assert_same(by_column, exact.jacobian(theta), 2000)
    curved = complex_directional(exact.jacobian, theta, direction)
    columns = [complex_directional(lambda w, e=e: exact.jvp(w, e), theta, direction) for e in basis]
    assert_same(curved, np.stack(columns, axis=1), 2000)


@pytest.mark.parametrize("rank", [None, 1, 3])
def test_extra_blocks_are_what_the_reduced_model_lacks(rank):
    layer = AttentionLayer(2, 3, rank)
    both = np.stack([state(layer.size, seed) for seed in (0, 1)])
    a, keys = layer.unpack(both)[:2]
    expected = [
        [a[s, h, i] for h in range(3) for i in range(2)]
        + [keys[s, h, r, 2] for h in range(3) for r in range(2 if rank is None else rank)]
        for s in range(2)
    ]
    assert extra_blocks(layer, both).tolist() == expected
    assert extra_blocks(layer, both[0]).tolist() == expected[0]
    reduced = {None: [(3, 2, 2)]}.get(rank, [(3, rank, 2)] * 2)
    embedded = layer.embed(np.ones(3), *(np.ones(shape) for shape in reduced))
    assert not extra_blocks(layer, embedded).any()
    with pytest.raises(ValueError, match="theta must have 1 or 2 axes"):
        extra_blocks(layer, both[None])


@pytest.mark.parametrize("rank", [None, 1, 2])
def test_an_implicit_flow_is_the_explicit_one(rank):
    layer, _, exact = pair(2, rank, True)
    theta = layer.initial_weights(0.3, rng=1)
    implicit, explicit = (
        system_flow(exact, theta, 20.0, times=[0.0, 2.0, 20.0], method=method, rtol=1e-10)
        for method in ("Radau", "DOP853")
    )
    assert explicit.loss[-1] < 0.9 * explicit.loss[0]
    # rtol a step, a few hundred steps, and growth by a factor of ten from the weights of 0.3.
    assert np.abs(implicit.states - explicit.states).max() < 1e-6


@kinds
def test_coefficients_predict(dimension, rank, divide):
    layer, sampled, exact = pair(dimension, rank, divide)
    theta = state(layer.size, scale=0.3)
    X = sampled._blocks[0][0]
    features = layer_features(X, divide_by_context=divide)
    assert features.shape[1] == (dimension + 1) * (dimension + 2) * dimension // 2
    assert_same(features @ exact.coefficients(theta), layer.predict(theta, X))


@pytest.mark.parametrize("rank", [None, 1, 2])
def test_a_run_on_moments_is_the_run_on_samples(rank):
    layer, sampled, exact = pair(3, rank, True, count=300)
    initial = layer.initial_weights(0.2, rng=1)
    nudged = initial * (1 + EPS)
    starts = [(sampled, initial), (exact, initial), (sampled, nudged)]
    samples, moments, perturbed = (
        gradient_descent(system, start, 200, 0.1, every=10) for system, start in starts
    )
    assert samples.loss[-1] < 0.5 * samples.loss[0]
    # Each step adds a few roundings, and leaving the saddle amplifies one as much as it does this.
    for name in ("states", "loss"):
        reference = getattr(samples, name)
        growth = np.abs(getattr(perturbed, name) - reference).max()
        assert np.abs(getattr(moments, name) - reference).max() <= 200 * max(growth, EPS)


def test_one_pass_is_chunk_independent_and_streams(monkeypatch):
    task = LinearTask(spd(2, 1), 5)
    chunks = [(tokens_of(s), s.target) for s in sample_chunks(task, 50, chunk=7, rng=3)]
    whole = (np.concatenate([X for X, _ in chunks]), np.concatenate([y for _, y in chunks]))
    one, many = linear_layer_moments([whole]), linear_layer_moments(iter(chunks))
    monkeypatch.setattr("numerics.layers.features.PIECE", 60)
    pieces = linear_layer_moments([whole])
    for other in (many, pieces):
        assert other.count == one.count == 50
        assert other.energy == pytest.approx(one.energy, rel=1e-13)
        assert_same(other.correlation, one.correlation)
        assert_same(other.feature_moment, one.feature_moment)


def test_chunks_may_differ_in_length():
    sets = [sample_sequences(LinearTask(spd(2, 1), n), 10, rng=n) for n in (3, 6)]
    chunks = [(tokens_of(s), s.target) for s in sets]
    layer = AttentionLayer(2, 2, divide_by_context=True)
    theta = state(layer.size, scale=0.4)
    exact = LayerMomentsSystem(layer, linear_layer_moments(chunks, divide_by_context=True))
    assert_same(exact.loss(theta), np.mean([layer.loss(theta, X, y) for X, y in chunks]), 2000)


def test_pooled_moments_are_those_of_all_sequences():
    task = LinearTask(spd(2, 1), 5)
    chunks = [(tokens_of(s), s.target) for s in sample_chunks(task, 50, chunk=20, rng=3)]
    whole = linear_layer_moments(chunks)
    pooled = pool_layer_moments(linear_layer_moments([chunk]) for chunk in chunks)
    assert pooled.count == whole.count
    assert pooled.dimension == 2
    assert_same(pooled.energy, whole.energy)
    assert_same(pooled.correlation, whole.correlation)
    assert_same(pooled.feature_moment, whole.feature_moment)
    with pytest.raises(ValueError, match="batches must hold moments of one dimension"):
        pool_layer_moments([])
    divided = linear_layer_moments(chunks, divide_by_context=True)
    with pytest.raises(ValueError, match=r"batches must .*got \[\(2, False\), \(2, True\)\]"):
        pool_layer_moments([whole, divided])
    with pytest.raises(ValueError, match="moments must be divided by the context"):
        reduced_moments(whole)


@pytest.mark.parametrize("name", ["scalar", "generic", "tokens"])
def test_the_reduced_models_moments_are_a_part(name):
    sequences = sample_sequences(TASKS[name], 30, rng=1)
    expected = moments_of_sequences(sequences)
    part = reduced_moments(linear_layer_moments(token_blocks(sequences), divide_by_context=True))
    for field in ("energy", "correlation", "feature_moment"):
        assert_same(getattr(part, field), getattr(expected, field))


def test_misuse_is_named():
    X, y = np.zeros((3, 4, 3)), np.zeros(3)
    moments = linear_layer_moments([(X, y)])
    assert isinstance(moments, LinearLayerMoments)
    with pytest.raises(ValueError, match="chunks must hold at least one sequence"):
        linear_layer_moments([])
    with pytest.raises(ValueError, match="tokens must have shape"):
        linear_layer_moments([(X, y), (np.zeros((3, 4, 4)), y)])
    with pytest.raises(ValueError, match="length of target is 2"):
        linear_layer_moments([(X, y[:2])])
    with pytest.raises(ValueError, match="tokens must have 3 axes"):
        layer_features(1.0)
    with pytest.raises(ValueError, match=r"tokens must have D\+1 >= 2"):
        layer_features(np.zeros((2, 2, 1)))
    with pytest.raises(ValueError, match="layer must be linear"):
        LayerMomentsSystem(AttentionLayer(2, 2, attention="softmax"), moments)
    with pytest.raises(ValueError, match="layer has dimension 3, but the moments have 2"):
        LayerMomentsSystem(AttentionLayer(3, 2), moments)
    with pytest.raises(ValueError, match="layer has divide_by_context True, but"):
        LayerMomentsSystem(AttentionLayer(2, 2, divide_by_context=True), moments)

"""Samples whose context lengths vary, against loops over their sequences and against moments."""

import numpy as np
import pytest

from numerics import (
    AttentionLayer,
    LayerMomentsSystem,
    LayerSystem,
    LinearTask,
    MultiTaskLayer,
    linear_layer_moments,
    sample_sequences,
    token_blocks,
    tokens_of,
)
from tests.numerics.layers.test_attention import each_layer, naive_prediction
from tests.numerics.layers.test_multitask import naive_prediction as naive_multitask
from tests.numerics.support import assert_same, complex_gradient, spd, state


def mixed_lengths(dimension):
    """A sample of context lengths 3 and 7, and each of its sequences as tokens of its own."""
    sample = sample_sequences(LinearTask(spd(dimension, 1), [3, 7], noise=0.2), 15, rng=0)
    assert set(sample.lengths) == {3, 7}
    assert np.count_nonzero(sample.lengths == 3) != np.count_nonzero(sample.lengths == 7)
    single = []
    for i, n in enumerate(sample.lengths):
        X = np.zeros((n + 1, dimension + 1))
        X[:-1, :-1], X[:-1, -1], X[-1, :-1] = sample.x[i, :n], sample.y[i, :n], sample.query[i]
        single.append(X)
    return sample, single


@each_layer
def test_lengths_may_vary(layer):
    sample, single = mixed_lengths(layer.dimension)
    theta = state(layer.size, scale=0.5)
    system = LayerSystem.of(layer, sample)
    predictions = np.array([naive_prediction(layer, theta, X) for X in single])
    assert_same(system.loss(theta), np.mean((predictions - sample.target) ** 2))
    loss, gradient = system.loss_and_gradient(theta)
    assert loss == pytest.approx(float(system.loss(theta)), rel=1e-13)
    assert_same(gradient, complex_gradient(system.loss, theta), 2000)
    assert_same(LayerSystem.of(layer, sample, chunk=2).velocity(theta), -0.5 * gradient)


@pytest.mark.parametrize("divide", [False, True])
def test_varying_lengths_are_the_moments_of_their_blocks(divide):
    sample, _ = mixed_lengths(3)
    layer = AttentionLayer(3, 2, divide_by_context=divide)
    theta = state(layer.size, scale=0.5)
    sampled = LayerSystem.of(layer, sample)
    moments = linear_layer_moments(token_blocks(sample), divide_by_context=divide)
    exact = LayerMomentsSystem(layer, moments)
    assert_same(sampled.velocity(theta), exact.velocity(theta), 2000)
    assert_same(sampled.loss(theta), exact.loss(theta), 2000)


@pytest.mark.parametrize("attention", ["softmax", "linear"])
def test_lengths_may_vary_for_the_other_layer(attention):
    sample, single = mixed_lengths(2)
    layer = MultiTaskLayer(2, 1, 2, 2, attention)
    theta = state(layer.size, scale=0.5)
    system = LayerSystem.of(layer, sample)
    predictions = np.array([naive_multitask(layer, theta, X)[0] for X in single])
    assert_same(system.loss(theta), np.mean((predictions - sample.target) ** 2))
    assert_same(system.velocity(theta), -0.5 * complex_gradient(system.loss, theta), 2000)


def test_one_length_is_the_plain_system():
    sample = sample_sequences(LinearTask(np.eye(2), 5), 9, rng=0)
    layer = AttentionLayer(2, 2, attention="softmax")
    theta = state(layer.size)
    plain = LayerSystem(layer, tokens_of(sample), sample.target)
    assert_same(LayerSystem.of(layer, sample).velocity(theta), plain.velocity(theta))

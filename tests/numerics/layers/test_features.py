"""The linear layer's features by their definition, and their averages' types, memory and misuse."""

import tracemalloc

import numpy as np
import pytest

from numerics import LinearLayerMoments, layer_features, linear_layer_moments, pool_layer_moments
from tests.numerics.support import assert_same


def data(D, count=5, context=4, dtype=np.float64):
    generator = np.random.default_rng(0)
    X = generator.standard_normal((count, context + 1, D + 1)).astype(dtype)
    X[:, -1, -1] = 0
    return X, generator.standard_normal(count).astype(dtype)


@pytest.mark.parametrize("D", [1, 3])
def test_features_are_products_of_moments_and_the_query(D):
    X, _ = data(D)
    expected = [
        [
            sum(token[i] * token[k] for token in x) * x[-1, d]
            for i in range(D + 1)
            for k in range(i, D + 1)
            for d in range(D)
        ]
        for x in X
    ]
    assert_same(layer_features(X), expected)
    assert_same(layer_features(X, divide_by_context=True), np.array(expected) / 4)


@pytest.mark.parametrize("divide", [False, True])
def test_moments_are_averages_in_double_precision(divide):
    X, y = data(2, dtype=np.float32)
    found = linear_layer_moments([(X, y)], divide_by_context=divide)
    X, y = X.astype(float), y.astype(float)
    f = layer_features(X, divide_by_context=divide)
    assert_same(found.energy, np.mean(y**2))
    assert_same(found.correlation, np.mean(y[:, None] * f, axis=0))
    assert_same(found.feature_moment, np.mean(f[:, :, None] * f[:, None, :], axis=0))
    assert not linear_layer_moments([(X, y)]).divide_by_context


def test_moments_hold_floating_numbers_whatever_is_given():
    moments = LinearLayerMoments(1, [1, 2, 3], np.eye(3, dtype=int), 1, 7, False)
    assert type(moments.energy) is float
    for array, shape in ((moments.correlation, (3,)), (moments.feature_moment, (3, 3))):
        assert isinstance(array, np.ndarray)
        assert array.dtype == np.float64
        assert array.shape == shape


def test_one_batch_pools_to_itself():
    one = linear_layer_moments([data(2)])
    pooled = pool_layer_moments([one])
    assert (pooled.energy, pooled.count, pooled.dimension) == (one.energy, 5, 2)
    assert (pooled.correlation == one.correlation).all()
    assert (pooled.feature_moment == one.feature_moment).all()


@pytest.mark.parametrize("pair", [(1.0,), (1.0, 2.0, 3.0), "ab", {"tokens": 1.0, "target": 2.0}])
def test_a_chunk_is_a_pair(pair):
    with pytest.raises(TypeError, match=r"chunks must hold \(tokens, target\), got"):
        linear_layer_moments([pair])


def test_a_chunks_features_are_formed_four_megabytes_at_a_time():
    X, y = data(8, count=6000, context=1)
    tracemalloc.start()
    linear_layer_moments([(X, y)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert layer_features(X).nbytes > 16e6
    # The piece before, this one and its copy by rows, and less than a piece of A and F × F sums.
    assert 8 * 2**19 < peak < 4 * 8 * 2**19

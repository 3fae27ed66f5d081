"""Attention as a linear network on z, and the whole layer with every block of its weights."""

import numpy as np
import pytest

from numerics import (
    AttentionSystem,
    ConvolutionalNetwork,
    MergedAttention,
    SeparateAttention,
    TwoLayerNetwork,
    antithetic,
    extra_blocks,
    moments_of_sequences,
    sample_sequences,
)
from tests.numerics.support import (
    TASKS,
    assert_same,
    complex_gradient,
    moment_kinds,
    state,
    whole_layer,
)


@pytest.mark.parametrize("kind", moment_kinds())
def test_merged_attention_is_a_two_layer_network_on_z(kind):
    """[L] Eq. 6–8: w2 = v, row h of W1 = vec(U_h), columns stacked."""
    moments = moment_kinds()[kind]
    model, network = MergedAttention(3, 2), TwoLayerNetwork(moments, width=2)
    system = AttentionSystem(model, moments)

    def layers(theta):
        v, U = model.unpack(theta)
        return network.pack(v, np.array([u.T.ravel() for u in U]))

    theta = state(model.size, 8)
    assert_same(network.loss(layers(theta)), system.loss(theta))
    assert_same(network.velocity(layers(theta)), layers(system.velocity(theta)), 2000)
    assert_same(np.sort(network.invariants(layers(theta))), np.sort(-model.invariants(theta)))


@pytest.mark.parametrize("kind", moment_kinds())
def test_rank_one_attention_is_a_convolutional_network_on_z(kind):
    """[L] Eq. 13: kernels k and q of length and stride D, then the value."""
    moments = moment_kinds()[kind]
    model, network = SeparateAttention(3, 3), ConvolutionalNetwork(moments, width=3)
    system = AttentionSystem(model, moments)
    theta = state(model.size, 9)

    def layers(flat):
        v, k, q = model.unpack(flat)
        return network.pack(v, k[:, 0], q[:, 0])

    assert_same(network.loss(layers(theta)), system.loss(theta))
    assert_same(network.velocity(layers(theta)), layers(system.velocity(theta)), 2000)


@pytest.mark.parametrize("name", ["scalar", "generic", "tokens"])
def test_networks_predict_what_their_layers_say(name):
    sequences = sample_sequences(TASKS[name], 9, rng=2)
    moments, D = moments_of_sequences(sequences), TASKS[name].dimension
    z = sequences.features
    two, conv = TwoLayerNetwork(moments, 3), ConvolutionalNetwork(moments, 2)
    theta = state(two.size, 1)
    w2, W1 = two.unpack(theta)
    assert_same(two.predict(theta, z), np.array([w2 @ (W1 @ row) for row in z]))
    assert_same(two.loss(theta), np.mean((two.predict(theta, z) - sequences.target) ** 2), 2000)
    theta = state(conv.size, 2)
    expected = np.zeros(9)
    for v, k, q in zip(*conv.unpack(theta), strict=True):
        for p, row in enumerate(z):
            first = [sum(k[i] * row[j * D + i] for i in range(D)) for j in range(D)]
            expected[p] += v * sum(q[j] * first[j] for j in range(D))
    assert_same(conv.predict(theta, z), expected)
    assert_same(conv.loss(theta), np.mean((expected - sequences.target) ** 2), 2000)
    with pytest.raises(ValueError, match=r"^W1 must have shape"):
        two.pack(np.ones(3), np.ones((3, D * D + 1)))
    with pytest.raises(ValueError, match=r"^k must have shape"):
        conv.pack(np.ones(2), np.ones((2, D + 1)), np.ones((2, D)))


@pytest.mark.parametrize("name", ["scalar", "generic", "tokens"])
def test_the_whole_layer_is_linear_attention_over_all_tokens(name):
    """ŷ = the last entry of W^V X (Xᵀ(W^{KQ})ᵀx)/N at the query token (x_q, 0), per sequence."""
    sequences = sample_sequences(TASKS[name], 6, rng=3)
    D, H = TASKS[name].dimension, 2
    system = whole_layer(sequences, heads=H)
    generator = np.random.default_rng(4)
    values, keys = generator.standard_normal((2, H, D + 1, D + 1))
    theta = system.layer.pack(values[:, -1], keys)
    expected = np.zeros(6)
    for p in range(6):
        N = int(sequences.lengths[p])
        context = np.column_stack([sequences.x[p, :N], sequences.y[p, :N]])
        query = np.append(sequences.query[p], 0.0)
        X = np.vstack([context, query]).T
        for h in range(H):
            expected[p] += (values[h] @ X @ (X.T @ keys[h].T @ query) / N)[-1]
    assert_same(system.loss(theta), np.mean((expected - sequences.target) ** 2), 2000)
    stack = np.array([theta, 2 * theta])
    assert_same(system.loss(stack), np.array([system.loss(row) for row in stack]))


@pytest.mark.parametrize("rank", [None, 1, 2])
def test_the_embedded_reduced_model_learns_as_it_does(rank):
    sequences = sample_sequences(TASKS["generic"], 30, rng=5)
    model = MergedAttention(3, 2) if rank is None else SeparateAttention(3, 2, rank)
    reduced = AttentionSystem(model, moments_of_sequences(sequences))
    system = whole_layer(sequences, 2, rank)
    weights = state(model.size, 1)
    theta = system.layer.embed(*model.unpack(weights))
    assert (extra_blocks(system.layer, theta) == 0).all()
    assert_same(system.loss(theta), reduced.loss(weights), 2000)
    a, *rest = system.layer.unpack(system.velocity(theta))
    if rank is None:
        blocks = [rest[0][:, :3, :3].swapaxes(1, 2)]
    else:
        blocks = [block[..., :3] for block in rest]
    assert_same(model.pack(a[:, 3], *blocks), reduced.velocity(weights), 2000)


@pytest.mark.parametrize(("rank", "count"), [(None, 2 * 2 * 3), (1, 2 * (3 + 1)), (2, 2 * (3 + 2))])
def test_extra_blocks_are_what_embedding_leaves_out_and_the_prediction_sees(rank, count):
    sequences = sample_sequences(TASKS["generic"], 12, rng=7)
    system = whole_layer(sequences, 2, rank)
    layer, model = system.layer, MergedAttention(3, 2)
    model = model if rank is None else SeparateAttention(3, 2, rank)
    inside = layer.embed(*model.unpack(np.ones(model.size))) != 0
    seen = complex_gradient(system.loss, state(system.size, 3)) != 0
    theta = np.arange(1.0, system.size + 1)
    extra = extra_blocks(layer, theta)
    assert sorted(extra) == sorted(theta[seen & ~inside])
    assert extra.shape == (count,)
    assert (extra_blocks(layer, np.stack([theta, -theta])) == [extra, -extra]).all()


@pytest.mark.parametrize("rank", [None, 1])
def test_extra_blocks_move_on_a_sample_and_rest_on_its_antithetic_double(rank):
    sequences = sample_sequences(TASKS["generic"], 30, rng=6)
    model = MergedAttention(3, 2) if rank is None else SeparateAttention(3, 2, rank)
    plain, double = whole_layer(sequences, 2, rank), whole_layer(antithetic(sequences), 2, rank)
    theta = plain.layer.embed(*model.unpack(state(model.size, 1)))
    moving = np.abs(extra_blocks(plain.layer, plain.velocity(theta))).max()
    assert moving > 1e-2
    # Terms cancel in pairs; what remains is the rounding of a mean of 60 of them.
    resting = np.abs(extra_blocks(double.layer, double.velocity(theta))).max()
    assert resting < 200 * np.finfo(float).eps * moving * 30
    assert_same(double.loss(theta), plain.loss(theta), 2000)

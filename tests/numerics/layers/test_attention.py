"""The whole layer on tokens: its gradient, its limits, its precision and its conserved quantities.

The reference computes the full (N+1)×(N+1) attention of full weight matrices, one token at a
time, and takes the last entry of the last column.
"""

import tracemalloc

import numpy as np
import pytest

from numerics import (
    LinearTask,
    MergedAttention,
    SeparateAttention,
    gradient_descent,
    moments_of_sequences,
    sample_sequences,
)
from numerics import loss as reduced_loss
from numerics.layers.attention import AttentionLayer
from numerics.layers.system import LayerSystem
from numerics.layers.tokens import tokens_of
from tests.numerics.support import assert_same, complex_gradient, spd, state, whole_layer

# D = 2 takes the narrow kernel, D = 5 the wide one.
LAYERS = {
    f"{attention}{'/N' if divide else ''}-{rank or 'merged'}-D{D}": AttentionLayer(
        D, 3, rank, attention, divide
    )
    for D in (1, 2, 5)
    for rank in (None, 1, 2)
    for attention, divide in (("linear", False), ("linear", True), ("softmax", False))
}
each_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def data(layer, count=7, context=4, seed=0):
    """Tokens of order one that are neither centred nor of one scale, and targets."""
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((count, context + 1, layer.dimension + 1)) + 0.3
    X[:, -1, -1] = 0
    return X, generator.standard_normal(count)


def naive_prediction(layer, theta, X):
    """One sequence, every output column of the layer, by loops over heads and tokens."""
    columns = len(X)
    K = layer.dimension + 1
    total = np.zeros((K, columns), np.result_type(theta, X))
    weights = layer.unpack(theta)
    for h in range(layer.heads):
        value = np.zeros((K, K), total.dtype)
        value[-1] = weights[0][h]
        for j in range(columns):  # the output at token j
            scores = np.zeros(columns, total.dtype)
            for n in range(columns):
                if layer.rank is None:
                    scores[n] = X[j] @ weights[1][h] @ X[n]
                else:
                    scores[n] = (weights[2][h] @ X[j]) @ (weights[1][h] @ X[n])
            if layer.attention == "softmax":
                scores = np.exp(scores)
                scores = scores / scores.sum()
            elif layer.divide_by_context:
                scores = scores / (columns - 1)
            total[:, j] += value @ (X.T @ scores)
    return total[-1, -1]


@each_layer
def test_predictions_are_the_full_attentions_last_entry(layer):
    X, y = data(layer)
    theta = state(layer.size, scale=0.5)
    expected = [naive_prediction(layer, theta, x) for x in X]
    assert_same(layer.predict(theta, X), expected)
    assert layer.loss(theta, X, y) == pytest.approx(np.mean((expected - y) ** 2), rel=1e-13)


@each_layer
def test_gradient_is_the_complex_step_of_the_naive_loss(layer):
    X, y = data(layer, count=4, context=3)
    theta = state(layer.size, seed=1, scale=0.5)
    loss, gradient = layer.loss_and_gradient(theta, X, y)

    def naive_loss(weights):
        return np.mean(
            [(naive_prediction(layer, weights, x) - t) ** 2 for x, t in zip(X, y, strict=True)]
        )

    if layer.dimension < 5:
        assert_same(gradient, complex_gradient(naive_loss, theta), 2000)
    system = LayerSystem(layer, X, y)
    assert_same(gradient, complex_gradient(system.loss, theta), 2000)
    assert_same(-0.5 * gradient, system.velocity(theta), 10)
    assert loss == pytest.approx(float(system.loss(theta)), rel=1e-13)


@each_layer
def test_results_do_not_depend_on_the_chunk(layer):
    X, y = data(layer, count=23)
    theta = state(layer.size, scale=0.5)
    loss, gradient = layer.loss_and_gradient(theta, X, y)
    for chunk in (1, 5, 23, 100):
        other, again = layer.loss_and_gradient(theta, X, y, chunk=chunk)
        assert other == pytest.approx(loss, rel=1e-13)
        assert_same(again, gradient)
        assert_same(layer.predict(theta, X, chunk=chunk), layer.predict(theta, X))
        assert layer.loss(theta, X, y, chunk=chunk) == pytest.approx(loss, rel=1e-13)


@each_layer
def test_single_precision_stays_single(layer):
    X, y = data(layer)
    theta = state(layer.size, scale=0.5)
    _, exact = layer.loss_and_gradient(theta, X, y)
    X32, y32, theta32 = (array.astype(np.float32) for array in (X, y, theta))
    _, gradient = layer.loss_and_gradient(theta32, X32, y32)
    assert gradient.dtype == np.float32
    assert layer.predict(theta32, X32).dtype == np.float32
    assert LayerSystem(layer, X32, y32).velocity(theta32).dtype == np.float32
    assert np.abs(gradient - exact).max() <= 200 * np.finfo(np.float32).eps * np.abs(exact).max()
    _, mixed = layer.loss_and_gradient(theta, X32, y32)
    assert mixed.dtype == np.float64


@each_layer
def test_conserved_quantities_do_not_move_along_the_velocity(layer):
    X, y = data(layer)
    theta = state(layer.size, scale=0.5)
    velocity = LayerSystem(layer, X, y).velocity(theta)
    # They are quadratic, so a central difference is their derivative.
    change = (layer.invariants(theta + velocity) - layer.invariants(theta - velocity)) / 2
    size = np.sum(velocity**2) + np.sum(np.abs(theta * velocity))
    assert np.abs(change).max() <= 1e-13 * size
    direction = state(layer.size, seed=5)
    moved = layer.invariants(theta + direction) - layer.invariants(theta - direction)
    assert np.all(moved != 0)
    assert layer.invariants(np.stack([theta, velocity])).shape == (2, moved.size)


@pytest.mark.parametrize("dimension", [2, 5])
@pytest.mark.parametrize("shift", [1e3, -1e3, 1e8])
@pytest.mark.parametrize("shifted_sequences", [2, 7])
def test_large_scores_do_not_overflow(dimension, shift, shifted_sequences):
    """A shift of all scores of a head in a sequence, through a token entry that never varies."""
    layer = AttentionLayer(dimension, 2, attention="softmax")
    X, y = data(layer)
    X[:, :, 0] = (np.arange(len(X)) < shifted_sequences)[:, None]
    theta = state(layer.size, scale=0.5)
    base = LayerSystem(layer, X, y).loss_and_gradient(theta)
    shifted = theta.copy()
    layer.unpack(shifted)[1][:, 0, 0] += shift
    loss, gradient = LayerSystem(layer, X, y).loss_and_gradient(shifted)
    lost = abs(shift)  # digits of the scores, which the shift rounds away
    assert loss == pytest.approx(base[0], rel=1e-13 * lost)
    assert np.abs(gradient - base[1]).max() <= 1e-14 * lost * np.abs(base[1]).max()
    assert_same(LayerSystem(layer, X, y).loss(shifted), loss)


def reduced_weights(model, rng):
    v, *rest = model.unpack(0.5 * np.random.default_rng(rng).standard_normal(model.size))
    return v, *rest


@pytest.mark.parametrize("rank", [None, 1, 2])
def test_zero_blocks_leave_the_reduced_model(rank):
    sequences = sample_sequences(LinearTask(spd(3, 1), 6, noise=0.2), 20, rng=0)
    X = tokens_of(sequences)
    layer = AttentionLayer(3, 4, rank, divide_by_context=True)
    model = MergedAttention(3, 4) if rank is None else SeparateAttention(3, 4, rank)
    weights = reduced_weights(model, 2)
    theta = layer.embed(*weights)
    expected = reduced_loss(model, moments_of_sequences(sequences), model.pack(*weights))
    assert layer.loss(theta, X, sequences.target) == pytest.approx(float(expected), rel=1e-12)


def test_merged_linear_layer_is_the_one_on_token_moments():
    sequences = sample_sequences(LinearTask(spd(3, 1), 6, noise=0.2), 20, rng=0)
    layer = AttentionLayer(3, 4, divide_by_context=True)
    theta = state(layer.size, scale=0.4)
    system = LayerSystem(layer, tokens_of(sequences), sequences.target)
    other = whole_layer(sequences, 4)
    # 20 squares of order one against averages of them.
    assert_same(system.loss(theta), other.loss(theta), 2000)
    assert_same(system.velocity(theta), other.velocity(theta), 2000)


@each_layer
def test_gradient_descent_trains_it(layer):
    X, y = data(layer, count=30)
    system = LayerSystem(layer, X, y, chunk=8)
    run = gradient_descent(system, layer.initial_weights(0.1, rng=0), 300, 1e-3, every=100)
    assert run.loss[-1] < run.loss[0]
    assert run.invariant_drift.max() < 1e-3


def test_sequences_too_large_to_keep_are_laid_out_in_each_step(monkeypatch):
    layer = AttentionLayer(2, 3, attention="softmax")
    X, y = data(layer, count=9)
    theta = state(layer.size)
    kept = LayerSystem(layer, X, y, chunk=4)
    monkeypatch.setattr("numerics.layers.system.KEPT_BYTES", 0)
    anew = LayerSystem(layer, X, y, chunk=4)
    assert (kept.velocity(theta) == anew.velocity(theta)).all()
    assert kept.loss(np.stack([theta, 2 * theta])).shape == (2,)


@pytest.mark.parametrize("dimension", [4, 5])
def test_memory_is_bounded_by_the_chunk(dimension):
    layer = AttentionLayer(dimension, 3, attention="softmax")
    X, y = data(layer, count=20_000, context=9)
    theta = state(layer.size)
    tracemalloc.start()
    layer.loss_and_gradient(theta, X, y, chunk=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The check for NaN takes a byte per number, an eighth of the tokens.
    assert peak < 0.25 * X.nbytes


def test_velocity_is_a_fresh_array():
    layer = AttentionLayer(2, 3, 1, "softmax")
    system = LayerSystem(layer, *data(layer))
    first = system.velocity(state(layer.size))
    copy = first.copy()
    system.velocity(state(layer.size, seed=1))
    assert (first == copy).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": np.zeros((3, 4, 4))}, r"tokens must have shape \(P, N\+1, 3\)"),
        ({"tokens": np.zeros((3, 3))}, "tokens must have 3 axes"),
        ({"tokens": np.zeros((0, 4, 3))}, "tokens must not be empty"),
        ({"tokens": np.zeros((3, 1, 3))}, "tokens must hold a context pair"),
        ({"tokens": np.full((3, 4, 3), np.nan)}, "tokens must be finite"),
        ({"tokens": np.ones((3, 4, 3))}, "label 0, but sequence 0 has the label 1"),
        ({"target": np.zeros(4)}, "target is 4, but the number of sequences in tokens"),
        ({"target": [0.0, np.inf, 0.0]}, "target must be finite"),
        ({"theta": np.zeros(5)}, "theta"),
        ({"theta": np.full(36, np.nan)}, "theta must be finite"),
        ({"chunk": 0}, "chunk must be >= 1"),
    ],
)
def test_misuse_is_named(change, message):
    layer = AttentionLayer(2, 3)
    inputs = {"theta": np.zeros(36), "tokens": np.zeros((3, 4, 3)), "target": np.zeros(3)}
    inputs |= change
    for call in (layer.loss_and_gradient, layer.loss):
        with pytest.raises(ValueError, match=message):
            call(**inputs)
    if "theta" not in change:
        without = {name: value for name, value in inputs.items() if name != "theta"}
        with pytest.raises(ValueError, match=message):
            LayerSystem(layer, **without)
    if "target" not in change:
        del inputs["target"]
        with pytest.raises(ValueError, match=message):
            layer.predict(**inputs)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 1), ValueError, "dimension"),
        ((1, 0), ValueError, "heads"),
        ((1, 1, 0), ValueError, "rank"),
        ((1, 1, 1.5), TypeError, "rank"),
        ((1, 1, None, "cubic"), ValueError, "attention must be one of linear, softmax"),
        ((1, 1, None, "softmax", True), ValueError, "divide_by_context"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        AttentionLayer(*arguments)


def test_initial_weights_are_the_scale_times_standard_normals():
    layer = AttentionLayer(1, 2, 3)
    weights = layer.initial_weights(0.25, rng=3)
    assert (weights == 0.25 * np.random.default_rng(3).standard_normal(layer.size)).all()
    for scale in (0.0, -1.0):
        with pytest.raises(ValueError, match="scale must be > 0"):
            layer.initial_weights(scale)


def test_weights_are_packed_by_name_and_shape():
    layer = AttentionLayer(1, 2, 3)
    weights = [np.random.default_rng(0).standard_normal(s) for s in layer.shapes.values()]
    for given, found in zip(weights, layer.unpack(layer.pack(*weights)), strict=True):
        assert (given == found).all()
    with pytest.raises(ValueError, match="W_k must have shape"):
        layer.pack(weights[0], weights[1][:1], weights[2])
    with pytest.raises(ValueError, match="weights must be a, W_k, W_q, got 2 arrays"):
        layer.pack(*weights[:2])


def test_tokens_hold_the_sequences():
    sequences = sample_sequences(LinearTask(np.eye(2), 5), 4, rng=0)
    X = tokens_of(sequences)
    assert (X[:, :-1, :-1] == sequences.x).all()
    assert (X[:, :-1, -1] == sequences.y).all()
    assert (X[:, -1, :-1] == sequences.query).all()
    assert not X[:, -1, -1].any()
    varied = sample_sequences(LinearTask(np.eye(2), [2, 5]), 40, rng=0)
    with pytest.raises(ValueError, match=r"sequences must all have one context length.*2 to 5"):
        tokens_of(varied)

"""[S]'s layer: definition, gradient, limits, precision and conserved quantities.

The reference follows the definition with full matrices and loops, one sequence and head at a time.
"""

import tracemalloc

import numpy as np
import pytest

from numerics import (
    AttentionLayer,
    Layer,
    LayerSystem,
    MultiTask,
    MultiTaskLayer,
    gradient_descent,
    sample_multitask,
)
from tests.numerics.support import assert_same, complex_gradient, state

LAYERS = {
    f"{attention}{'/L' if divide else ''}-d{d}-dy{outputs}-de{embedding}": MultiTaskLayer(
        d, outputs, 2, embedding, attention, divide
    )
    for d, outputs, embedding in ((3, 2, 3), (2, 3, 1), (4, 1, 6))
    for attention, divide in (("softmax", False), ("linear", False), ("linear", True))
}
each_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def data(layer, count=6, context=5, seed=0):
    """Tokens of order one that are neither centred nor of one scale, and targets."""
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((count, context + 1, layer.dimension + layer.outputs)) + 0.3
    X[:, -1, layer.dimension :] = 0
    return X, generator.standard_normal((count, layer.outputs))


def naive_prediction(layer, theta, sequence):
    """Σ_h O_h V_h Z softmax(Zᵀ K_hᵀ Q_h (q; 0)/√d_e), Z (d+d_y, L), one column at a time."""
    O, V, K, Q = layer.unpack(theta)  # noqa: E741
    Z, query = sequence[:-1].T, sequence[-1]
    total = np.zeros(layer.outputs, np.result_type(theta, sequence))
    for h in range(layer.heads):
        scores = np.zeros(Z.shape[1], total.dtype)
        for n in range(Z.shape[1]):
            scores[n] = (K[h] @ Z[:, n]) @ (Q[h] @ query) / np.sqrt(layer.embedding_dim)
        if layer.attention == "softmax":
            scores = np.exp(scores) / np.exp(scores).sum()
        elif layer.divide_by_context:
            scores = scores / Z.shape[1]
        for n in range(Z.shape[1]):
            total = total + scores[n] * (O[h] @ (V[h] @ Z[:, n]))
    return total


def naive_loss(layer, theta, X, y):
    errors = [naive_prediction(layer, theta, x) - t for x, t in zip(X, y, strict=True)]
    return sum(np.sum(error**2) for error in errors) / len(errors)


@each_layer
def test_predictions_follow_the_definition(layer):
    X, y = data(layer)
    theta = state(layer.size, scale=0.5)
    assert_same(layer.predict(theta, X), [naive_prediction(layer, theta, x) for x in X])
    assert layer.loss(theta, X, y) == pytest.approx(naive_loss(layer, theta, X, y), rel=1e-13)


@each_layer
def test_gradient_is_the_complex_step_of_the_naive_loss(layer):
    X, y = data(layer, count=3, context=4)
    theta = state(layer.size, seed=1, scale=0.5)
    loss, gradient = layer.loss_and_gradient(theta, X, y)
    expected = complex_gradient(lambda weights: naive_loss(layer, weights, X, y), theta)
    assert_same(gradient, expected, 2000)
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


@each_layer
def test_single_precision_stays_single(layer):
    X, y = data(layer)
    theta = state(layer.size, scale=0.5)
    _, exact = layer.loss_and_gradient(theta, X, y)
    X32, y32, theta32 = (array.astype(np.float32) for array in (X, y, theta))
    _, gradient = layer.loss_and_gradient(theta32, X32, y32)
    assert gradient.dtype == layer.predict(theta32, X32).dtype == np.float32
    assert np.abs(gradient - exact).max() <= 200 * np.finfo(np.float32).eps * np.abs(exact).max()
    assert layer.loss_and_gradient(theta, X32, y32)[1].dtype == np.float64


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


@pytest.mark.parametrize("attention", ["softmax", "linear"])
def test_descent_trains_and_drifts_by_the_order_of_its_step(attention):
    layer = MultiTaskLayer(3, 2, 2, 3, attention, attention == "linear")
    system = LayerSystem(layer, *sample_multitask(MultiTask((2, 1), 1.0, 8), 40, rng=0))
    initial = layer.initial_weights(0.3, rng=0)
    # Over one stretch of time Euler's step moves a quadratic invariant by its first power.
    coarse, fine = (
        gradient_descent(system, initial, steps, 0.8 / steps, every=steps) for steps in (100, 200)
    )
    assert coarse.loss[-1] < coarse.loss[0]
    ratio = fine.invariant_drift.max() / coarse.invariant_drift.max()
    assert ratio == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("shift", [1e3, -1e3, 1e8])
@pytest.mark.parametrize("shifted_sequences", [2, 6])
def test_large_scores_do_not_overflow(shift, shifted_sequences):
    """A shift of all scores of a sequence, through a token entry that never varies."""
    layer = MultiTaskLayer(3, 2, 2, 3)
    X, y = data(layer)
    X[:, :, 0] = (np.arange(len(X)) < shifted_sequences)[:, None]
    theta = state(layer.size, scale=0.5)
    K, Q = layer.unpack(theta)[2:]
    K[:, 0], Q[:, 0] = 0, 0
    K[:, 0, 0] = 1.0
    base = layer.loss_and_gradient(theta, X, y)
    Q[:, 0, 0] = shift
    loss, gradient = layer.loss_and_gradient(theta, X, y)
    lost = abs(shift)  # digits of the scores, which the shift rounds away
    assert loss == pytest.approx(base[0], rel=1e-13 * lost)
    for moved, still in zip(layer.unpack(gradient)[:2], layer.unpack(base[1])[:2], strict=True):
        assert np.abs(moved - still).max() <= 1e-14 * lost * np.abs(still).max()


@pytest.mark.parametrize(
    ("attention", "dimension"), [("softmax", 2), ("linear", 2), ("softmax", 6)]
)
def test_with_the_query_in_the_context_it_is_the_other_layer(attention, dimension):
    """[L]'s query attends to itself: for [S]'s one-output layer that is one more context token."""
    layer = MultiTaskLayer(dimension, 1, 3, 4, attention)
    other = AttentionLayer(dimension, 3, 4, attention)
    X, y = data(layer)
    theta = state(layer.size, scale=0.5)
    O, V, K, Q = layer.unpack(theta)  # noqa: E741
    same = other.pack((O @ V)[:, 0], K, Q / 2)
    repeated = np.concatenate([X, X[:, -1:]], axis=1)
    assert_same(layer.predict(theta, repeated)[:, 0], other.predict(same, X))
    loss, gradient = layer.loss_and_gradient(theta, repeated, y)
    expected, by_other = other.loss_and_gradient(same, X, y[:, 0])
    assert loss == pytest.approx(expected, rel=1e-13)
    da, dK, dQ = other.unpack(by_other)
    by_O, by_V, by_K, by_Q = layer.unpack(gradient)
    assert_same(by_O[:, 0], (V @ da[:, :, None])[:, :, 0], 2000)
    assert_same(by_V, O.swapaxes(1, 2) * da[:, None], 2000)
    assert_same(by_K, dK, 2000)
    assert_same(by_Q, dQ / 2, 2000)


def test_decomposable_weights_are_placed_and_read_back():
    layer = MultiTaskLayer(4, 2, 3, 5)
    o, v, k, q = (
        np.random.default_rng(i).standard_normal((3, n)) for i, n in enumerate((2, 2, 4, 4))
    )
    theta = layer.embed(o, v, k, q)
    omega, mu = layer.spectral(theta)
    assert_same(omega, k * q / np.sqrt(5), 4)
    assert_same(mu, o * v, 4)
    assert layer.leakage(theta) == 0
    X, _ = data(layer, count=1)
    # Definition 1: the scores see ⟨ω x_n, q⟩, the output μ y_n.
    x, labels, query = X[0, :-1, :4], X[0, :-1, 4:], X[0, -1, :4]
    weights = np.exp((omega * query) @ x.T)
    weights /= weights.sum(axis=1, keepdims=True)
    assert_same(layer.predict(theta, X)[0], np.sum(mu * (weights @ labels), axis=0))


def test_leakage_is_the_largest_entry_that_should_not_be_there():
    layer = MultiTaskLayer(3, 2, 2, 4)
    theta = layer.embed(np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 3)), np.ones((2, 3)))
    for block, entry, expected in (("V", (1, 0, 2), 0.3), ("V", (0, 0, 4), 0.3),
                                   ("K", (1, 0, 4), 0.15), ("K", (0, 1, 2), 0.15)):  # fmt: skip
        leaky = theta.copy()
        layer.unpack(leaky)[list(layer.shapes).index(block)][entry] = 0.3
        assert layer.leakage(leaky) == pytest.approx(expected, rel=1e-15)
    both = np.stack([theta, leaky])
    assert layer.leakage(both).tolist() == [0.0, layer.leakage(leaky)]
    assert [part.shape for part in layer.spectral(both)] == [(2, 2, 3), (2, 2, 2)]


def test_embedding_must_hold_the_diagonals():
    with pytest.raises(ValueError, match="embedding_dim must be >= 3"):
        MultiTaskLayer(3, 2, 1, 2).embed([[1, 1]], [[1, 1]], [[1, 1, 1]], [[1, 1, 1]])
    with pytest.raises(ValueError, match="k must have shape"):
        MultiTaskLayer(3, 2, 1, 3).embed([[1, 1]], [[1, 1]], [[1, 1]], [[1, 1, 1]])


FIRST_LABEL = np.zeros((3, 4, 5))
FIRST_LABEL[2, -1, 3] = 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": np.zeros((3, 4, 4))}, r"tokens must have shape \(P, N\+1, 5\).* 2 outputs"),
        ({"tokens": np.zeros((3, 1, 5))}, "tokens must hold a context pair"),
        ({"tokens": np.full((3, 4, 5), np.nan)}, "tokens must be finite"),
        ({"tokens": np.ones((3, 4, 5))}, "label 0, but sequence 0 has the label 1"),
        ({"tokens": FIRST_LABEL}, "label 0, but sequence 2 has the label 7"),
        ({"target": np.zeros((4, 2))}, "target is 4, but the number of sequences in tokens"),
        ({"target": np.zeros((3, 1))}, r"target must have shape \(P, 2\), got \(3, 1\)"),
        ({"target": np.zeros(3)}, "target must have 2 axes"),
        ({"theta": np.zeros(5)}, "theta"),
        ({"chunk": 0}, "chunk must be >= 1"),
    ],
)
def test_misuse_is_named(change, message):
    layer = MultiTaskLayer(3, 2, 1, 2)
    inputs = {"theta": np.zeros(34), "tokens": np.zeros((3, 4, 5)), "target": np.zeros((3, 2))}
    inputs |= change
    with pytest.raises(ValueError, match=message):
        layer.loss_and_gradient(**inputs)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 1, 1, 1), ValueError, "dimension"),
        ((1, 0, 1, 1), ValueError, "outputs"),
        ((1, 1, 0, 1), ValueError, "heads"),
        ((1, 1, 1, 1.5), TypeError, "embedding_dim"),
        ((1, 1, 1, 1, "cubic"), ValueError, "attention must be one of linear, softmax"),
        ((1, 1, 1, 1, "softmax", True), ValueError, "divide_by_context"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        MultiTaskLayer(*arguments)


def test_a_layer_without_weights_is_no_layer():
    with pytest.raises(TypeError, match="abstract"):
        Layer()


def test_memory_is_bounded_by_the_chunk():
    layer = MultiTaskLayer(4, 2, 3, 4)
    X, y = data(layer, count=20_000, context=9)
    theta = state(layer.size)
    tracemalloc.start()
    layer.loss_and_gradient(theta, X, y, chunk=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The check for NaN takes a byte per number, an eighth of the tokens.
    assert peak < 0.25 * X.nbytes

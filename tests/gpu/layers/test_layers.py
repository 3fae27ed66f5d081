"""Whole layers over rows against `numerics.LayerSystem` and `LayerMomentsSystem`, row by row."""

import numpy as np
import pytest

import gpu
from numerics import (
    AttentionLayer,
    LayerMomentsSystem,
    LayerSystem,
    LinearTask,
    linear_layer_moments,
    sample_sequences,
    tokens_of,
)
from tests.gpu.support import PLACES, Place, assert_close, twin

ROWS, D, P = 3, 3, 20
LAYERS = [
    AttentionLayer(D, 2, rank, attention, divide)
    for rank in (None, 1, 2)
    for attention, divide in (("linear", True), ("linear", False), ("softmax", False))
]
LINEAR = [layer for layer in LAYERS if layer.attention == "linear"]
FUNCTIONS = ["loss", "velocity", "invariants"]


def samples():
    """Tokens (rows, P, N+1, K) and targets (rows, P) of different sequences for each row."""
    task = LinearTask(np.diag([0.5, 1.0, 1.5]), 6)
    drawn = [sample_sequences(task, P, rng=i) for i in range(ROWS)]
    return np.array([tokens_of(s) for s in drawn]), np.array([s.target for s in drawn])


def weights(layer):
    return 0.5 * np.random.default_rng(2).standard_normal((ROWS, layer.size))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_layer_on_tokens_is_its_twin_in_every_row(layer, place):
    tokens, target = samples()
    theta = weights(layer)
    own = [LayerSystem(layer, X, y) for X, y in zip(tokens, target, strict=True)]
    one = [own[0]] * ROWS
    for X, y, twins in ((tokens, target, own), (tokens[0], target[0], one)):
        for chunk in (None, 7):
            system = gpu.LayerSystem(layer, place.put(X), place.put(y), chunk=chunk)
            for name in FUNCTIONS:
                found = getattr(system, name)(place.put(theta))
                assert place.holds(found), name
                assert_close(found, twin(name, twins, theta))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", LINEAR, ids=str)
def test_a_linear_layer_by_moments_is_its_twin_in_every_row(layer, place):
    theta = weights(layer)
    moments = [
        linear_layer_moments([part], divide_by_context=layer.divide_by_context)
        for part in zip(*samples(), strict=True)
    ]
    for given in (moments, moments[:1]):
        system = gpu.LayerMomentsSystem(layer, gpu.stack_moments(given, **place.options))
        twins = [LayerMomentsSystem(layer, m) for m in (given * ROWS)[:ROWS]]
        for name in (*FUNCTIONS, "jacobian"):
            found = getattr(system, name)(place.put(theta))
            assert place.holds(found), name
            assert_close(found, twin(name, twins, theta))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", [LAYERS[0], LAYERS[8]], ids=str)
def test_float32_stays_float32(layer, place):
    tokens, target = samples()
    theta = weights(layer)
    twins = [LayerSystem(layer, X, y) for X, y in zip(tokens, target, strict=True)]
    systems = [gpu.LayerSystem(layer, place.put(tokens, "float32"), place.put(target, "float32"))]
    if layer.attention == "linear":
        parts = zip(tokens, target, strict=True)
        moments = [linear_layer_moments([part], divide_by_context=True) for part in parts]
        stacked = gpu.stack_moments(moments, dtype=place.dtype("float32"), **place.options)
        systems.append(gpu.LayerMomentsSystem(layer, stacked))
        single = [LayerMomentsSystem(layer, m) for m in moments]
    for system in systems:
        for name in FUNCTIONS + ["jacobian"] * isinstance(system, gpu.LayerMomentsSystem):
            found = getattr(system, name)(place.put(theta, "float32"))
            assert place.holds(found, "float32"), name
            by = single if name == "jacobian" else twins
            assert_close(found, twin(name, by, theta))


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_softmax_survives_scores_far_from_zero(scale):
    # One token takes all the weight; in either code e^s alone would overflow.
    layer = LAYERS[2]
    tokens, target = samples()
    theta = weights(layer) * np.where(np.arange(layer.size) < 2 * (D + 1), 1.0, scale)
    found = gpu.LayerSystem(layer, tokens[0], target[0]).loss(theta)
    twins = [LayerSystem(layer, tokens[0], target[0])] * ROWS
    assert np.isfinite(found).all()
    # Scores of size s carry s·eps of error into a weight where two tokens nearly tie.
    assert_close(found, twin("loss", twins, theta), roundings=500 * scale)


@pytest.mark.parametrize("layer", [LAYERS[3], LAYERS[5]], ids=str)
def test_taken_rows_are_the_rows(layer):
    tokens, target = samples()
    problem = gpu.LayerSystem(layer, tokens, target).problem
    state, rows = weights(layer).T, np.array([2, 0])
    expected = problem.velocity(state)[:, rows]
    assert_close(problem.take(rows).velocity(state[:, rows]), expected)


@pytest.mark.parametrize("host", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_pieces_fill_the_room_and_hold_every_sequence(shared, host, monkeypatch):
    layer, (tokens, target) = LAYERS[0], samples()
    X, y = (tokens[0], target[0]) if shared else (tokens, target)
    problem = gpu.LayerSystem(layer, X, y).problem
    M, K = X.shape[-2:]
    S, heads_of_rows = (1, ROWS * layer.heads) if shared else (ROWS, layer.heads)
    # The tokens, and four arrays of scores and four of means, which a derivative holds at once.
    numbers = S * (M * K + 4 * heads_of_rows * (M + K))
    where = {id(problem.moments.tokens): host}  # of these alone is it known
    monkeypatch.setattr(gpu.layers.system, "on_host", lambda array: where[id(array)])
    for room, lengths in ((7 * numbers, [7, 7, 6]), (7 * numbers - 1, [6, 6, 6, 2]), (1, [1] * P)):
        monkeypatch.setattr(gpu.layers.system, "HOST_PIECE", room if host else 0)
        monkeypatch.setattr(gpu.layers.system, "DEVICE_PIECE", 0 if host else room)
        pieces = list(problem._pieces(ROWS))
        assert [piece.query.shape[1] for piece in pieces] == lengths
        assert (np.concatenate([p.tokens for p in pieces], axis=1) == X).all()
    for chunk, lengths in ((1, [1] * P), (7, [7, 7, 6])):
        chosen = gpu.LayerSystem(layer, X, y, chunk=chunk).problem
        for one in (chosen, chosen.take(np.arange(ROWS))):
            where[id(one.moments.tokens)] = host
            assert [piece.query.shape[1] for piece in one._pieces(ROWS)] == lengths


# A core's own cache holds 0.5 to 3 MiB; a device moves up to 30 MB in the 10 µs in which a call
# starts, and the smallest hold some GiB.
@pytest.mark.parametrize(
    ("host", "rows", "least", "most"), [(True, 300, 2**19, 2**22), (False, 90_000, 3e8, 2**31)]
)
def test_a_piece_suits_a_cores_cache_or_a_devices_calls(host, rows, least, most, monkeypatch):
    layer, (tokens, target) = LAYERS[0], samples()
    monkeypatch.setattr(gpu.layers.system, "on_host", lambda _: host)
    piece = next(gpu.LayerSystem(layer, tokens[0], target[0]).problem._pieces(rows))
    M, K = tokens.shape[-2:]
    count = piece.query.shape[1]
    assert count < P
    assert least <= 8 * count * (M * K + 4 * rows * layer.heads * (M + K)) <= most


def test_what_does_not_fit_is_refused_by_name():
    layer, softmax = LAYERS[0], LAYERS[2]
    tokens, target = samples()
    moments = gpu.stack_moments([linear_layer_moments([(tokens[0], target[0])])])
    with pytest.raises(ValueError, match="layer must be linear"):
        gpu.LayerMomentsSystem(softmax, moments)
    with pytest.raises(ValueError, match="layer has divide_by_context True, but the moments have"):
        gpu.LayerMomentsSystem(layer, moments)
    with pytest.raises(TypeError, match="moments must be stacked from LinearLayerMoments"):
        gpu.LayerMomentsSystem(layer, gpu.stack_moments([LinearTask(np.eye(D), 4)]))
    with pytest.raises(TypeError, match="layer must be an AttentionLayer"):
        gpu.LayerSystem("softmax", tokens, target)
    with pytest.raises(ValueError, match=r"tokens must have shape \(…, P, N\+1, 4\)"):
        gpu.LayerSystem(layer, tokens[..., :3], target)
    with pytest.raises(ValueError, match=r"target has rows and sequences \(3, 19\)"):
        gpu.LayerSystem(layer, tokens, target[:, 1:])
    with pytest.raises(ValueError, match="target must have 1 axes"):
        gpu.LayerSystem(layer, tokens[0], target)
    with pytest.raises(ValueError, match="tokens must end with the query and its label 0"):
        gpu.LayerSystem(layer, tokens[:, :, :-1], target)
    with pytest.raises(ValueError, match="tokens must be finite"):
        gpu.LayerSystem(layer, tokens * np.nan, target)
    for chunk in (0, 1.5, True):
        with pytest.raises(ValueError, match=f"chunk must be an integer >= 1, got {chunk}"):
            gpu.LayerSystem(layer, tokens, target, chunk=chunk)
    with pytest.raises(ValueError, match=r"tokens must have shape \(…, P, N\+1, 4\) with N >= 1"):
        gpu.LayerSystem(layer, tokens[:, :, -1:], target)
    with pytest.raises(TypeError, match="target has library"):
        gpu.LayerSystem(layer, Place("device1").put(tokens), target)
    with pytest.raises(TypeError, match="tokens must be an array"):
        gpu.LayerSystem(layer, tokens.tolist(), target)

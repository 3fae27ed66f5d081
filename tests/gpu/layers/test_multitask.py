"""[S]'s layer over rows, with several outputs, against `numerics.LayerSystem`, row by row."""

import numpy as np
import pytest

import gpu
import numerics
from gpu._arrays import to_host
from numerics import LayerSystem, MultiTask, MultiTaskLayer, sample_multitask
from tests.gpu.support import PLACES, Place, assert_close, twin

ROWS, P = 3, 20
TASK = MultiTask((2, 1), signal=[0.5, 1.5], context_length=5, noise=0.2)
# One output and two, embeddings below, at and above a token's length, every attention.
LAYERS = [
    MultiTaskLayer(3, 2, 2, 5),
    MultiTaskLayer(3, 2, 1, 2),
    MultiTaskLayer(3, 2, 3, 1, "linear"),
    MultiTaskLayer(3, 2, 2, 6, "linear", divide_by_context=True),
    MultiTaskLayer(4, 1, 2, 3),
]
FUNCTIONS = ["loss", "velocity", "invariants"]


def samples(layer):
    """Tokens (rows, P, L+1, d+d_y) and targets (rows, P, d_y), different in each row."""
    task = TASK if layer.outputs == 2 else MultiTask((4,), 1.0, 5)
    drawn = [sample_multitask(task, P, rng=i) for i in range(ROWS)]
    tokens, target = (np.array(part) for part in zip(*drawn, strict=True))
    return tokens, target


def weights(layer):
    return 0.6 * np.random.default_rng(2).standard_normal((ROWS, layer.size))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_layer_is_its_twin_in_every_row(layer, place):
    (tokens, target), theta = samples(layer), weights(layer)
    own = [LayerSystem(layer, X, y) for X, y in zip(tokens, target, strict=True)]
    for X, y, twins in ((tokens, target, own), (tokens[0], target[0], own[:1] * ROWS)):
        for chunk in (None, 7):
            system = gpu.LayerSystem(layer, place.put(X), place.put(y), chunk=chunk)
            for name in FUNCTIONS:
                found = getattr(system, name)(place.put(theta))
                assert place.holds(found), name
                assert_close(found, twin(name, twins, theta))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", [LAYERS[0], LAYERS[3]], ids=str)
def test_float32_stays_float32(layer, place):
    (tokens, target), theta = samples(layer), weights(layer)
    twins = [LayerSystem(layer, X, y) for X, y in zip(tokens, target, strict=True)]
    system = gpu.LayerSystem(layer, place.put(tokens, "float32"), place.put(target, "float32"))
    for name in FUNCTIONS:
        found = getattr(system, name)(place.put(theta, "float32"))
        assert place.holds(found, "float32"), name
        assert_close(found, twin(name, twins, theta))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("optimiser", ["gradient-descent", "adam"])
def test_training_runs_are_their_twins(optimiser, place):
    layer, steps, rates = LAYERS[0], 30, [0.05, 0.02, 0.01]
    tokens, target = samples(layer)
    theta = gpu.initial_weights(layer, 0.3, range(ROWS))
    system = gpu.LayerSystem(layer, place.put(tokens), place.put(target))
    options = {"optimiser": optimiser, "every": 10}
    run = gpu.gradient_descent(system, place.put(theta), steps, rates, **options)
    assert run.status == ("finished",) * ROWS
    for i, rate in enumerate(rates):
        one = numerics.gradient_descent(
            LayerSystem(layer, tokens[i], target[i]), theta[i], steps, rate, **options
        )
        # 500 roundings a gradient, over the steps.
        for name in ("states", "loss", "loss_rate"):
            assert_close(getattr(run, name)[i, ...], getattr(one, name), 500 * steps)
    assert (to_host(run.loss)[:, -1] < to_host(run.loss)[:, 0]).all()


def test_the_flow_conserves_what_it_should():
    layer = LAYERS[2]
    tokens, target = samples(layer)
    system, theta = gpu.LayerSystem(layer, tokens, target), 0.5 * weights(layer)
    drifts = []
    for rtol in (1e-4, 1e-8):
        run = gpu.system_flow(system, theta, 2.0, times=[0.0, 2.0], rtol=rtol, atol=rtol * 1e-3)
        assert (run.loss[:, -1] < 0.9 * run.loss[:, 0]).all()
        drifts.append(run.invariant_drift.max())
    # Ten thousand times the tolerance; errors per step to the power 4/5 would give 1,600.
    assert 0 < drifts[1] < drifts[0] / 100


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_softmax_survives_scores_far_from_zero(scale):
    layer = LAYERS[0]
    (tokens, target), theta = samples(layer), weights(layer)
    cut = layer.size // 2  # keys are the second half's beginning
    theta[:, cut:] *= np.sqrt(scale)
    found = gpu.LayerSystem(layer, tokens[0], target[0]).loss(theta)
    assert np.isfinite(found).all()
    expected = twin("loss", [LayerSystem(layer, tokens[0], target[0])] * ROWS, theta)
    # Scores of size s carry s·eps of error into a weight where two tokens nearly tie.
    assert_close(found, expected, roundings=500 * scale)


def test_taken_rows_are_the_rows():
    layer = LAYERS[0]
    problem = gpu.LayerSystem(layer, *samples(layer)).problem
    state, rows = weights(layer).T, np.array([2, 0])
    expected = problem.velocity(state)[:, rows]
    assert_close(problem.take(rows).velocity(state[:, rows]), expected)


def test_what_does_not_fit_is_refused_by_name():
    layer = LAYERS[0]
    tokens, target = samples(layer)
    with pytest.raises(ValueError, match=r"tokens must have shape \(…, P, N\+1, 5\)"):
        gpu.LayerSystem(layer, tokens[..., :4], target)
    with pytest.raises(ValueError, match="target must have 3 axes"):
        gpu.LayerSystem(layer, tokens, target[..., 0])
    with pytest.raises(ValueError, match="target must hold 2 outputs of each sequence, got 1"):
        gpu.LayerSystem(layer, tokens, target[..., :1])
    with pytest.raises(ValueError, match=r"target has rows and sequences \(3, 19\)"):
        gpu.LayerSystem(layer, tokens, target[:, 1:])
    with pytest.raises(ValueError, match="tokens must end with the query and its label 0"):
        gpu.LayerSystem(layer, tokens[:, :, :-1], target)
    with pytest.raises(TypeError, match="target has library"):
        gpu.LayerSystem(layer, Place("device1").put(tokens), target)
    with pytest.raises(TypeError, match="layer must be an AttentionLayer or a MultiTaskLayer"):
        gpu.LayerSystem(numerics.SeparateAttention(3, 2), tokens, target)
    moments = gpu.stack_moments([numerics.LinearTask(np.eye(3), 5)])
    with pytest.raises(TypeError, match="layer must be an AttentionLayer, got MultiTaskLayer"):
        gpu.LayerMomentsSystem(layer, moments)

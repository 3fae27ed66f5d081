"""Optimisers over rows against `numerics.gradient_descent`, row by row."""

import numpy as np
import pytest

import gpu
import numerics
from gpu._arrays import to_host
from tests.gpu.support import PLACES, assert_close

ROWS, STEPS = 3, 40
MODEL = numerics.SeparateAttention(2, 2)
OPTIMISERS = ["gradient-descent", "momentum", "adam", numerics.Adam(0.5, 0.9, 1e-3)]
COLUMNS = ["states", "loss", "loss_rate", "invariant_drift", "energy_gap"]
# The optimisers forget or shrink a rounding along the fall: errors stay some multiple of those of
# single evaluations, 500 roundings, over the number of steps.
ROUNDINGS = 500 * STEPS


def moments():
    lengths = (5, 20, 80)
    return [
        numerics.population_moments(numerics.LinearTask(np.diag([0.5, 1.0]), n)) for n in lengths
    ]


def weights():
    return gpu.initial_weights(MODEL, 0.3, range(ROWS))


def twins(rates, **options):
    rows = zip(moments(), weights(), rates, strict=True)
    return [
        numerics.gradient_descent(numerics.AttentionSystem(MODEL, m), row, STEPS, rate, **options)
        for m, row, rate in rows
    ]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=str)
def test_runs_are_their_twins(optimiser, place):
    system = gpu.AttentionSystem(MODEL, gpu.stack_moments(moments(), **place.options))
    options = {"optimiser": optimiser, "loss_factor": 0.7, "every": 7}
    rates = [0.05, 0.02, 0.01]
    run = gpu.gradient_descent(system, place.put(weights()), STEPS, rates, **options)
    expected = twins(rates, **options)
    assert_close(run.t, expected[0].t)
    assert run.status == ("finished",) * ROWS
    for name in COLUMNS:
        found = getattr(run, name)
        assert place.holds(found), name
        scale = max(1.0, float(np.abs(to_host(found)).max()))
        for row, one in zip(to_host(found), expected, strict=True):
            gap = np.abs(row - getattr(one, name)).max()
            # The last two columns are differences of numbers of size 1.
            assert gap <= ROUNDINGS * np.finfo(float).eps * scale, name


@pytest.mark.parametrize(
    "rate", [0.05, numerics.Cosine(0.05, 40), lambda step: 0.05 / (1 + step)], ids=str
)
def test_schedules_are_those_of_numerics(rate):
    system = gpu.AttentionSystem(MODEL, gpu.stack_moments(moments()))
    run = gpu.gradient_descent(system, weights(), STEPS, rate, every=STEPS)
    expected = np.array([one.states for one in twins([rate] * ROWS, every=STEPS)])
    assert_close(run.states, expected, ROUNDINGS)


@pytest.mark.parametrize("place", PLACES)
def test_float32_stays_float32(place):
    stacked = gpu.stack_moments(moments(), dtype=place.dtype("float32"), **place.options)
    system = gpu.AttentionSystem(MODEL, stacked)
    for optimiser in OPTIMISERS:
        theta = place.put(weights(), "float32")
        run = gpu.gradient_descent(system, theta, STEPS, 0.05, optimiser=optimiser)
        assert all(place.holds(getattr(run, name), "float32") for name in ("t", *COLUMNS))


@pytest.mark.parametrize("place", PLACES)
def test_a_row_that_diverges_rests_and_says_so(place):
    system = gpu.AttentionSystem(MODEL, gpu.stack_moments(moments(), **place.options))
    rates = [0.05, 5.0, 0.05]
    run = gpu.gradient_descent(system, place.put(weights()), STEPS, rates)
    expected = twins(rates)
    assert run.status == tuple(one.status for one in expected)
    assert run.status[1].startswith("stopped: diverged after step")
    last = int(expected[1].t[-1])
    states = to_host(run.states)[1]
    assert (states[last:] == states[last]).all()
    assert np.isfinite(states).all()
    # Overflow comes within a few steps of a polynomial's iteration: its roundings grow with it.
    np.testing.assert_allclose(states[:last], expected[1].states[:last], rtol=1e-6)


def test_a_row_does_not_depend_on_its_batch():
    whole = gpu.AttentionSystem(MODEL, gpu.stack_moments(moments()))
    together = gpu.gradient_descent(whole, weights(), STEPS, [0.1, 0.05, 0.02])
    for i, rate in enumerate([0.1, 0.05, 0.02]):
        alone = gpu.AttentionSystem(MODEL, gpu.stack_moments(moments()[i : i + 1]))
        run = gpu.gradient_descent(alone, weights()[i : i + 1], STEPS, rate)
        assert_close(run.states[0], together.states[i], ROUNDINGS)


@pytest.mark.parametrize("place", PLACES)
def test_a_softmax_layer_learns_on_rows_of_its_own(place):
    layer = numerics.AttentionLayer(1, 2, attention="softmax")
    drawn = [numerics.sample_sequences(numerics.LinearTask([[1.0]], 9), 30, rng=i) for i in (0, 1)]
    tokens, target = np.array([numerics.tokens_of(s) for s in drawn]), [s.target for s in drawn]
    theta = gpu.initial_weights(layer, 0.3, [0, 1])
    system = gpu.LayerSystem(layer, place.put(tokens), place.put(target))
    run = gpu.gradient_descent(system, place.put(theta), 20, 0.05, optimiser="adam", every=20)
    for i, s in enumerate(drawn):
        one = numerics.gradient_descent(
            numerics.LayerSystem(layer, tokens[i], s.target), theta[i], 20, 0.05, optimiser="adam"
        )
        assert_close(to_host(run.loss)[i, -1:], one.loss[-1:], ROUNDINGS)


class Custom:
    slots = 0

    def change(self, gradient, memory, rate, step):
        return -rate * gradient


def test_what_does_not_fit_is_refused_by_name():
    system = gpu.AttentionSystem(MODEL, gpu.stack_moments(moments()))
    with pytest.raises(ValueError, match="steps must be >= 1"):
        gpu.gradient_descent(system, weights(), 0, 0.1)
    with pytest.raises(ValueError, match="optimiser must be one of"):
        gpu.gradient_descent(system, weights(), 1, 0.1, optimiser="sgd")
    with pytest.raises(TypeError, match="optimiser must be GradientDescent, Momentum or Adam"):
        gpu.gradient_descent(system, weights(), 1, 0.1, optimiser=Custom())
    with pytest.raises(ValueError, match="length of learning_rate is 2"):
        gpu.gradient_descent(system, weights(), 1, [0.1, 0.2])
    with pytest.raises(ValueError, match="learning_rate must be > 0"):
        gpu.gradient_descent(system, weights(), 1, [0.1, 0.2, 0.0])
    with pytest.raises(ValueError, match="initial must be finite"):
        gpu.gradient_descent(system, weights() * np.inf, 1, 0.1)
    with pytest.raises(ValueError, match="initial has 2 rows"):
        gpu.gradient_descent(system, weights()[:2], 1, 0.1)

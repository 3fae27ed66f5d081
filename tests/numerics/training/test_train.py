"""Training: batches, schedules and records."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from numerics import (
    Adam,
    AttentionLayer,
    AttentionSystem,
    Constant,
    Cosine,
    FreshBatches,
    LayerSystem,
    LinearTask,
    MergedAttention,
    Minibatches,
    Momentum,
    MultiTask,
    MultiTaskLayer,
    SeparateAttention,
    StepDecay,
    gradient_descent,
    gradient_flow,
    linear_grid,
    log_grid,
    population_moments,
    sample_sequences,
    tokens_of,
    train,
)
from numerics.training.batches import bind, keyed_generator
from tests.numerics.training.cases import (
    LAYER,
    OPTIMISERS,
    SAMPLE,
    SOURCES,
    START,
    SYSTEM,
    TASK,
)

LINEAR = LayerSystem.of(AttentionLayer(dimension=2, heads=2, rank=1), SAMPLE)


# Batches


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_full_batch_is_gradient_descent_to_the_bit(optimiser):
    run = train(SYSTEM, START, 30, 0.05, optimiser=optimiser, loss_factor=0.7,
                record=range(0, 31, 5))  # fmt: skip
    reference = gradient_descent(SYSTEM, START, 30, 0.05, optimiser=optimiser, loss_factor=0.7,
                                 every=5)  # fmt: skip
    assert run.step.tolist() == reference.t.tolist()
    # −2·(−½ g) is g to the bit, and so is every step.
    assert run.states.tobytes() == reference.states.tobytes()
    assert np.abs(run.loss - reference.loss).max() < 100 * np.finfo(float).eps
    assert run.model is LAYER


@pytest.mark.parametrize("data", [SAMPLE, (tokens_of(SAMPLE), SAMPLE.target)])
def test_minibatches_visit_each_sequence_once_in_an_epoch(monkeypatch, data):
    """Seven of forty: five batches, five sequences left over, in another order each epoch."""
    batches = Minibatches(LAYER, data, 7)
    assert batches.steps_per_epoch == 5

    def target(model, part, dtype):
        return part[1] if isinstance(part, tuple) else part.target

    monkeypatch.setattr("numerics.training.batches.bind", target)
    targets = [[batches.system(5 * e + i, (3,), float) for i in range(5)] for e in range(2)]
    for epoch in targets:
        seen = np.concatenate(epoch)
        assert len(np.unique(seen)) == 35
        assert np.isin(seen, SAMPLE.target).all()
    assert not np.array_equal(targets[0][0], targets[1][0])


@pytest.mark.parametrize("name", ["minibatches", "fresh"])
def test_a_batch_is_known_by_entropy_and_step_alone(name):
    def loss(step, entropy=(1, 2)):
        return float(SOURCES[name].system(step, entropy, float).loss(START))

    forwards = [loss(step) for step in range(12)]
    assert [loss(step) for step in reversed(range(12))] == forwards[::-1]
    assert len(set(forwards)) == 12
    assert loss(0, (1, 3)) != loss(0)


def test_gradients_of_fresh_batches_average_to_that_of_the_population():
    """The reduced model on fresh sequences and on the population: 4.5 standard errors."""
    model = SeparateAttention(2, 2)
    theta = model.initial_weights(0.5, rng=0)
    batches = FreshBatches(model, TASK, 50)
    slopes = np.array([batches.system(i, (0,), float).velocity(theta) for i in range(400)])
    exact = AttentionSystem(model, population_moments(TASK)).velocity(theta)
    error = slopes.std(axis=0, ddof=1) / np.sqrt(len(slopes))
    assert (np.abs(slopes.mean(axis=0) - exact) < 4.5 * error).all()
    assert not (np.abs(slopes.mean(axis=0) - 1.2 * exact) < 4.5 * error).all()


def test_what_sequences_are_drawn_from():
    layer = MultiTaskLayer(4, 2, heads=1, embedding_dim=4)
    several = FreshBatches(layer, MultiTask((2, 2), 1.0, context_length=6), 5)
    assert np.isfinite(several.system(0, (0,), float).loss(np.zeros(layer.size)))
    own = FreshBatches(LAYER, lambda count, rng: sample_sequences(TASK, count, rng=rng), 16)
    assert own.system(4, (9,), float).loss(START) == SOURCES["fresh"].system(4, (9,), float).loss(
        START
    )
    lengths = LinearTask.from_eigenvalues([0.6, 0.4], [3, 6])
    assert np.isfinite(FreshBatches(LAYER, lengths, 20).system(0, (0,), float).loss(START))


def test_keys_give_streams_of_their_own():
    draws = {keyed_generator((5,), *key).random() for key in [(0, 1), (1, 0), (0, 0), (1, 1)]}
    assert len(draws) == 4


# Optimisers and schedules


def test_schedules():
    warm = Cosine(peak=0.4, steps=100, warmup=10, floor=0.1)
    assert [warm(0), warm(9), warm(10)] == [0.04, 0.4, 0.4]
    assert warm(99) == pytest.approx(0.1, abs=1e-15)
    assert warm(500) == pytest.approx(0.1, abs=1e-15)
    assert all(a >= b for a, b in pairwise(warm(i) for i in range(10, 120)))
    assert StepDecay(0.2, 0.1, 3)(7) == pytest.approx(0.002)
    assert Cosine(1.0, 1)(0) == 1.0


@pytest.mark.parametrize("schedule", [Cosine(0.1, 20, 5), StepDecay(0.1, 0.5, 7), lambda i: 0.1])
def test_a_rate_of_its_own_for_each_step(schedule):
    run = train(SYSTEM, START, 20, schedule, record=range(21))
    for i in range(20):
        step = run.states[i] - schedule(i) * SYSTEM.loss_and_gradient(run.states[i])[1]
        assert np.array_equal(run.states[i + 1], step)
    assert run.time[-1] == pytest.approx(2 * sum(schedule(i) for i in range(20)), rel=1e-14)


def test_time_is_that_of_the_flow():
    """Euler's method: halving the rate halves the distance from the flow at equal times."""
    model = MergedAttention(2, 2)
    theta, moments = model.initial_weights(0.3, rng=0), population_moments(TASK)
    exact = gradient_flow(model, moments, theta, 2.0, rtol=1e-11, atol=1e-13).states[-1]

    def distance(steps):
        run = train(AttentionSystem(model, moments), theta, steps, 1.0 / steps)
        assert run.time[-1] == pytest.approx(2.0)
        return np.abs(run.states[-1] - exact).max()

    # The next order is relatively O(η) ~ 1/100.
    assert distance(100) / distance(200) == pytest.approx(2.0, rel=0.05)


def test_optimisers_with_constants_of_their_own():
    heavy = train(SYSTEM, START, 5, 0.1, optimiser=Momentum(0.0))
    assert heavy.states[-1].tobytes() == train(SYSTEM, START, 5, 0.1).states[-1].tobytes()
    signs = train(SYSTEM, START, 1, 0.1, optimiser=Adam(0.0, 0.0, 1e-300)).states
    assert np.abs(signs[1] - signs[0]).max() == pytest.approx(0.1)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("name", SOURCES)
def test_float32_stays_float32(name, optimiser):
    source = SOURCES[name]
    if name == "full":
        X, y = tokens_of(SAMPLE).astype(np.float32), SAMPLE.target.astype(np.float32)
        source = LayerSystem(LAYER, X, y)
    narrow = train(source, START.astype(np.float32), 10, 0.05, optimiser=optimiser, rng=0)
    wide = train(SOURCES[name], START.astype(np.float32).astype(float), 10, 0.05,
                 optimiser=optimiser, rng=0)  # fmt: skip
    assert narrow.states.dtype == np.float32
    # Adam divides a gradient by its own size: near zero it doubles the relative error of rounding.
    assert np.abs(narrow.states - wide.states).max() < 1e-3


# The record


def test_the_record_is_that_of_the_states():
    tests = {"held out": LayerSystem.of(LAYER, sample_sequences(TASK, 30, rng=5)), "same": SYSTEM}
    run = train(SOURCES["fresh"], START, 40, 0.05, record=log_grid(40, 6), tests=tests, rng=3)
    assert run.step.tolist() == log_grid(40, 6).tolist()
    for name, system in tests.items():
        assert np.array_equal(run.tests[name], system.loss(run.states))
    for step, state, loss in zip(run.step, run.states, run.loss, strict=True):
        assert loss > 0
        dense = train(SOURCES["fresh"], START, max(1, step), 0.05, rng=3)
        assert np.array_equal(dense.states[-1 if step else 0], state)
    assert "held out" in repr(run)


def test_grids():
    assert linear_grid(10, 3).tolist() == [0, 5, 10]
    assert linear_grid(3).tolist() == [0, 1, 2, 3]
    grid = log_grid(10_000, 50)
    assert grid[[0, 1, -1]].tolist() == [0, 1, 10_000]
    assert (np.diff(grid) > 0).all()
    assert train(SYSTEM, START, 9, 0.01, record=[4]).step.tolist() == [0, 4, 9]


def test_a_run_that_diverges_keeps_what_came_before():
    linear = AttentionLayer(2, 2)
    system = LayerSystem.of(linear, SAMPLE)
    run = train(system, linear.initial_weights(1.0, rng=0), 1000, 10.0, record=range(1001))
    assert run.status.startswith("diverged: the loss before update ")
    stopped = int(run.status.split()[5])
    assert run.step.tolist() == list(range(stopped))
    assert np.isfinite(run.loss).all()
    assert run.loss[-1] > run.loss[0]


def test_watch_sees_every_step():
    seen = []
    train(SYSTEM, START, 5, 0.1, watch=lambda step, loss: seen.append((step, loss)))
    assert [step for step, _ in seen] == [0, 1, 2, 3, 4, 5]
    assert all(loss > 0 for _, loss in seen)


# Misuse


@pytest.mark.parametrize(("change", "error", "text"), [
    ({"optimiser": "sgd"}, ValueError, "optimiser must be one of gradient-descent, momentum, adam"),
    ({"steps": 0}, ValueError, "steps must be >= 1"),
    ({"learning_rate": -1.0}, ValueError, "learning_rate must be > 0"),
    ({"learning_rate": float("nan")}, ValueError, "learning_rate must be finite"),
    ({"loss_factor": 0.0}, ValueError, "loss_factor must be > 0"),
    ({"initial": [np.nan] * LAYER.size}, ValueError, "initial must be finite"),
    ({"initial": 1e200 * START, "batches": LINEAR}, ValueError,
     "initial must have a finite loss"),
    ({"initial": START[:-1]}, ValueError, "the length of initial is 17"),
    ({"record": [3, 2]}, ValueError, "record must rise"),
    ({"record": [0, 99]}, ValueError, "record must rise strictly within 0"),
    ({"record": [0.5]}, TypeError, "record must hold whole numbers"),
    ({"checkpoint_every": -1}, ValueError, "checkpoint_every must be >= 0"),
])  # fmt: skip
def test_misuse_of_train(change, error, text):
    options = {"batches": SYSTEM, "initial": START, "steps": 3, "learning_rate": 0.1, **change}
    with pytest.raises(error, match=text):
        train(**options)


@pytest.mark.parametrize(("make", "error", "text"), [
    (lambda: Minibatches(LAYER, SAMPLE, 41), ValueError, "size must be <= 40"),
    (lambda: Minibatches(LAYER, SAMPLE, 0), ValueError, "size must be >= 1"),
    (lambda: FreshBatches(LAYER, TASK, 0), ValueError, "size must be >= 1"),
    (lambda: FreshBatches(LAYER, LinearTask([[1.0]], 3), 4), ValueError, "dimension 2"),
    (lambda: FreshBatches(SeparateAttention(3, 1), TASK, 4), ValueError, "dimension 3"),
    (lambda: bind(MergedAttention(2, 1), (tokens_of(SAMPLE), SAMPLE.target)), TypeError,
     "data must be Sequences"),
    (lambda: Cosine(0.1, 10, 11), ValueError, "warmup must be <= steps"),
    (lambda: Cosine(0.1, 10, floor=0.2), ValueError, "floor must be <= peak"),
    (lambda: Constant(0.0), ValueError, "learning_rate must be > 0"),
    (lambda: StepDecay(0.1, -1, 3), ValueError, "factor must be > 0"),
    (lambda: Momentum(1.0), ValueError, "decay must be < 1"),
    (lambda: Adam(epsilon=0.0), ValueError, "epsilon must be > 0"),
    (lambda: log_grid(0), ValueError, "steps must be >= 1"),
])  # fmt: skip
def test_misuse_of_parts(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_the_weights_that_are_given_are_not_written_to():
    start = START.copy()
    start.setflags(write=False)
    train(SOURCES["fresh"], start, 3, 0.1, optimiser="adam")
    assert np.array_equal(start, START)
    varied = replace(SAMPLE, x=SAMPLE.x.copy())
    train(Minibatches(LAYER, varied, 5), START, 3, 0.1)
    assert np.array_equal(varied.x, SAMPLE.x)

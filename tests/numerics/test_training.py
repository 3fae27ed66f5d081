"""Training: batches, schedules, records; what resumes must end as if it had never stopped."""

import subprocess
import sys
import time
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

TASK = LinearTask.from_eigenvalues([0.6, 0.4], 5, noise=0.1, rng=0)
LAYER = AttentionLayer(dimension=2, heads=2, rank=1, attention="softmax")
SAMPLE = sample_sequences(TASK, 40, rng=1)
START = LAYER.initial_weights(0.3, rng=2)
SYSTEM = LayerSystem.of(LAYER, SAMPLE)
SOURCES = {
    "full": SYSTEM,
    "minibatches": Minibatches(LAYER, SAMPLE, 7),
    "fresh": FreshBatches(LAYER, TASK, 16),
}
LINEAR = LayerSystem.of(AttentionLayer(dimension=2, heads=2, rank=1), SAMPLE)
OPTIMISERS = ["gradient-descent", "momentum", "adam"]


def same_bits(a, b):
    for name in ("step", "time", "states", "loss"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert a.tests.keys() == b.tests.keys()
    assert all(a.tests[name].tobytes() == b.tests[name].tobytes() for name in a.tests)
    assert a.status == b.status


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


# Checkpoints


def interrupted_at(step):
    def watch(now, loss):
        if now == step:
            raise KeyboardInterrupt

    return watch


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path, name, optimiser, dtype):
    options = {
        "learning_rate": Cosine(0.05, 30, 5), "optimiser": optimiser, "rng": 4,
        "record": log_grid(30, 8), "tests": {"test": SYSTEM},
    }  # fmt: skip
    start, file = START.astype(dtype), tmp_path / "run.npz"
    whole = train(SOURCES[name], start, 30, **options)
    for step in (0, 1, 12, 30):
        with pytest.raises(KeyboardInterrupt):
            train(SOURCES[name], start, 30, checkpoint=file, watch=interrupted_at(step), **options)
    same_bits(train(SOURCES[name], start, 30, checkpoint=file, **options), whole)
    same_bits(train(SOURCES[name], start, 30, checkpoint=file, **options), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_the_batches_of_a_resumed_run_are_its_own_without_rng(tmp_path):
    file = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        train(SOURCES["fresh"], START, 20, 0.1, checkpoint=file, watch=interrupted_at(7))
    first = train(SOURCES["fresh"], START, 20, 0.1, checkpoint=file)
    assert np.array_equal(first.states, train(SOURCES["fresh"], START, 20, 0.1,
                                              checkpoint=file).states)  # fmt: skip
    other = train(SOURCES["fresh"], START, 20, 0.1)
    assert not np.array_equal(first.states[-1], other.states[-1])


def test_a_finished_run_can_go_on(tmp_path):
    file = tmp_path / "run.npz"
    train(SYSTEM, START, 10, 0.1, checkpoint=file, record=[0, 5, 10])
    longer = train(SYSTEM, START, 20, 0.1, checkpoint=file, record=[0, 5, 10, 15, 20])
    same_bits(longer, train(SYSTEM, START, 20, 0.1, record=[0, 5, 10, 15, 20]))


KILLED = """
import sys
import numpy as np
from numerics import AttentionLayer, FreshBatches, LinearTask, log_grid, train

layer = AttentionLayer(dimension=2, heads=2, rank=1, attention="softmax")
batches = FreshBatches(layer, LinearTask.from_eigenvalues([0.6, 0.4], 5), 200)
file = sys.argv[1] if len(sys.argv) > 1 else None
print("ready", flush=True)
run = train(batches, layer.initial_weights(0.3, rng=0), 300, 0.05, optimiser="adam", rng=0,
            record=log_grid(300, 20), checkpoint=file, checkpoint_every=0)
print(run.states.tobytes().hex(), run.loss.tobytes().hex())
"""


def test_a_killed_process_loses_nothing_that_was_saved(tmp_path):
    """SIGKILL at five moments, the file written in every step: the end is the same to the bit."""

    def start(*arguments):
        return subprocess.Popen([sys.executable, "-c", KILLED, *arguments],
                                stdout=subprocess.PIPE, text=True)  # fmt: skip

    whole = start().communicate()[0].splitlines()[1]
    file, ended = str(tmp_path / "run.npz"), 0
    for moment in (0.0, 0.02, 0.05, 0.1, 0.15):
        process = start(file)
        process.stdout.readline()
        time.sleep(moment)
        process.kill()
        ended += not process.communicate()[0]
    assert ended >= 1, "every process had finished before it was killed"
    assert start(file).communicate()[0].splitlines()[1] == whole


@pytest.mark.parametrize(("change", "text"), [
    ({"optimiser": "adam"}, "optimiser"),
    ({"learning_rate": 0.2}, "learning rates"),
    ({"loss_factor": 0.5}, "learning rates"),
    ({"rng": 8}, "rng"),
    ({"record": [0, 3, 20]}, "recorded steps"),
    ({"tests": {"test": SYSTEM}}, "tests"),
    ({"initial": 1.1 * START}, "initial weights"),
    ({"initial": START.astype(np.float32)}, "initial weights"),
    ({"batches": FreshBatches(LAYER, TASK, 15)}, "sequences"),
    ({"batches": FreshBatches(LAYER, LinearTask([[1, 0], [0, 1]], 5), 16)}, "sequences"),
])  # fmt: skip
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, text):
    file = tmp_path / "run.npz"
    options = {"batches": SOURCES["fresh"], "initial": START, "steps": 20, "learning_rate": 0.1,
               "rng": 7, "record": [0, 2, 20]}  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        train(**options, checkpoint=file, watch=interrupted_at(9))
    before = file.read_bytes()
    with pytest.raises(ValueError, match=f"is of another run.*{text}"):
        train(**{**options, **change}, checkpoint=file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", [
    lambda data: data[: len(data) // 2],
    lambda data: b"",
    lambda data: b"not a zip",
    lambda data: data[:200] + bytes(40) + data[240:],
])  # fmt: skip
def test_a_damaged_checkpoint_is_named_and_kept(tmp_path, damage):
    file = tmp_path / "run.npz"
    train(SYSTEM, START, 5, 0.1, checkpoint=file)
    broken = damage(file.read_bytes())
    file.write_bytes(broken)
    with pytest.raises(ValueError, match=r"checkpoint .*run\.npz is damaged"):
        train(SYSTEM, START, 5, 0.1, checkpoint=file)
    assert file.read_bytes() == broken
    np.savez(file, version=np.int64(99))
    with pytest.raises(ValueError, match="version 99"):
        train(SYSTEM, START, 5, 0.1, checkpoint=file)


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

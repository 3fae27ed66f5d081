"""Checkpoints: what resumes must end as if it had never stopped."""

import subprocess
import sys
import time

import numpy as np
import pytest

from numerics import Cosine, FreshBatches, LinearTask, log_grid, train
from tests.numerics.training.cases import (
    LAYER,
    OPTIMISERS,
    SOURCES,
    START,
    SYSTEM,
    TASK,
    same_bits,
)


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

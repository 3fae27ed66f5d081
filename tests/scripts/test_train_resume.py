"""Training a layer from the command line: resuming, refusing, diverging, and misuse."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import train
from tests.scripts import support_train
from tests.scripts.support_train import (
    FRESH,
    FULL,
    KINDS,
    ROOT,
    arrays,
    interrupt,
    read,
    trained,
)
from training import options

_in_empty_folder, quickly = support_train.in_empty_folder, support_train.quickly


# Resuming


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(("kind", "step"), [("full", 0), ("minibatches", 37), ("softmax", 37)])
def test_an_interrupted_run_ends_as_if_it_had_not_been(kind, step, monkeypatch, capsys):
    whole, expected = trained(*KINDS[kind], out="whole"), arrays("whole")
    with monkeypatch.context() as patch:
        interrupt(patch, step)
        assert train.main([*KINDS[kind], "--out", "out"]) == 130
    said = capsys.readouterr().err.strip().splitlines()
    steps = whole["settings"]["steps"]
    assert said == [f"train.py: interrupted at step {step} of {steps}; the same command goes on "
                    "from there"]  # fmt: skip
    assert read()["status"] == "interrupted"
    resumed = trained(*KINDS[kind])
    assert f"holds this run, up to step {step}" in capsys.readouterr().out
    assert resumed | {"seconds": 0} == whole | {"seconds": 0}
    assert Path("out/run.csv").read_bytes() == Path("whole/run.csv").read_bytes()
    for name, array in arrays().items():
        assert array.tobytes() == expected[name].tobytes(), name
    # Once more: nothing is left to do, and the time is the one it took.
    assert trained(*KINDS[kind]) == resumed
    assert "holds this run, finished" in capsys.readouterr().out


@pytest.mark.usefixtures("quickly")
def test_a_killed_run_goes_on():
    """SIGKILL after the first checkpoint, in a process of its own."""
    arguments = [*FRESH, "--steps", "2000", "--out", "killed"]
    process = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "train.py", *arguments, "--checkpoint-every", "0"],
        stdout=subprocess.DEVNULL,
    )
    while not Path("killed/run.npz").exists():
        assert process.poll() is None
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 0 < int(arrays("killed")["step"]) < 2000
    assert train.main(arguments) == 0
    trained(*FRESH, "--steps", "2000", out="whole")
    killed, whole = arrays("killed"), arrays("whole")
    assert killed["record_states"].tobytes() == whole["record_states"].tobytes()


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(("change", "says"), [
    (["--seed", "1"], "its --seed is 0, not 1;"),
    (["--learning-rate", "0.1"], "its --learning-rate is 0.2, not 0.1;"),
    (["--sequences", "301"], "its --sequences is 300, not 301;"),
    (["--batch", "10"], "its --batch is none, not 10"),
    (["--eigenvalues", "0.6", "0.5"], "its --eigenvalues is 0.6 0.4, not 0.6 0.5;"),
    (["--optimiser", "adam", "--seed", "3"], "--seed is 0, not 3 (and in --optimiser);"),
])  # fmt: skip
def test_another_run_is_refused(change, says, capsys):
    trained(*FULL)
    before = Path("out/run.npz").read_bytes()
    capsys.readouterr()
    for noted in (says, "is of another run"):
        assert train.main([*FULL, *change, "--out", "out"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("train.py: error: --out: ")
        assert noted in error
        assert error.count("\n") == 1
        assert Path("out/run.npz").read_bytes() == before
        Path("out/run.json").unlink(missing_ok=True)  # then the checkpoint itself tells


@pytest.mark.usefixtures("quickly")
def test_a_damaged_checkpoint_is_named(capsys):
    trained(*FULL)
    Path("out/run.npz").write_bytes(b"junk")
    assert train.main([*FULL, "--out", "out"]) == 2
    assert "run.npz is damaged" in capsys.readouterr().err
    Path("out/run.npz").unlink()
    assert trained(*FULL)["status"] == "finished"


# Endings


def test_a_run_that_diverges_keeps_its_curve(capsys):
    diverging = [*FULL, "--learning-rate", "20", "--init", "0.3", "--record", "linear"]
    result = trained(*diverging)
    at = result["diverged_at_step"]
    assert result["status"] == "diverged"
    assert 1 <= at < 200
    assert f"diverged: the loss before update {at}" in capsys.readouterr().out
    assert arrays()["record_step"].max() < at
    # Climbing away is not learning.
    assert not any(drop is not None and drop > at for drop in result["drop_steps"])
    assert trained(*diverging) == result


# Misuse

MISUSE = [
    (["--optimiser", "sgd"], "--optimiser", "invalid choice"),
    (["--attention", "cosine"], "--attention", "invalid choice"),
    (["--sequences", "0"], "--sequences", "must be >= 1"),
    (["--sequences", "10", "--batch", "11"], "--batch", "11 is more than the 10"),
    (["--batch", "0"], "--batch", "must be >= 1"),
    (["--steps", "0"], "--steps", "must be >= 1"),
    (["--steps", "999999999"], "--steps", "must be <= 100000000"),
    (["--learning-rate", "nan"], "--learning-rate", "must be finite"),
    (["--learning-rate", "-1"], "--learning-rate", "must be > 0"),
    (["--init", "0"], "--init", "must be > 0"),
    (["--noise", "-1"], "--noise", "must be >= 0"),
    (["--context-length", "0"], "--context-length", "must be >= 1"),
    (["--context-length", "2.5"], "--context-length", "whole number"),
    (["--eigenvalues", "0.4", "0"], "--eigenvalues", "must be > 0"),
    (["--eigenvalues", "1.6,1.0"], "--eigenvalues", "separate numbers by spaces"),
    (["--context-length", "7;31"], "--context-length", "separate numbers by spaces"),
    (["--eigenvalues", "0.4", "--tokens", "t.npy"], "--tokens", "not allowed with"),
    (["--tokens", ""], "--tokens", "must name a file"),
    (["--tokens", "none.npy"], "--tokens none.npy", "No such file"),
    (["--tokens", "nan.npy"], "--tokens nan.npy", "row 2, column 1"),
    (["--tokens", "flat.npy"], "--tokens flat.npy", "positive definite"),
    (["--tokens", "vector.npy"], "--tokens vector.npy", "must be a matrix"),
    (["--design", "merged", "--rank", "2"], "--rank", "needs --design separate"),
    (["--warmup", "5"], "--warmup", "needs --schedule cosine"),
    (["--schedule", "cosine", "--warmup", "99", "--steps", "9"], "--warmup", "must be <= --steps"),
    (["--points", "1"], "--points", "must be >= 2"),
    (["--points", "999999999"], "--points", "numbers recorded"),
    (["--heads", "999999999"], "--heads", "at most 1e+07"),
    (["--batch", "99999999"], "--batch", "held in memory"),
    (["--attention", "softmax", "--sequences", "99999999"], "--sequences", "held in memory"),
    (["--attention", "softmax", "--held-out", "99999999"], "--held-out", "held in memory"),
    (["--checkpoint-every", "-1"], "--checkpoint-every", "must be >= 0"),
    (["--seed", "-1"], "--seed", "must be >= 0"),
    (["--out", ""], "--out", "must name a folder"),
    (["--out", "nan.npy"], "--out", "nan.npy is a file, not a folder"),
    (["--out", "nan.npy/deeper"], "--out", "nan.npy is a file, not a folder"),
    (["--out", "/proc/nothing"], "--out", ""),
    (["--out", "taken"], "--out", "is a folder"),
    ([*FULL[3:], "--eigenvalues", "1e30", "--init", "1e30", "--noise", "1e30"], "--init",
     "overflows"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "name", "says"), MISUSE)
def test_misuse_is_one_line(arguments, name, says, capsys):
    np.save("nan.npy", [[1.0, 2.0], [np.nan, 1.0]])
    np.save("flat.npy", np.ones((9, 2)) * [1, 0])
    np.save("vector.npy", np.ones(3))
    Path("taken/run.npz").mkdir(parents=True)
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("train.py: error: ")
    assert name in error
    assert says in error
    assert error.count("\n") == 1
    assert not Path("training/run.npz").exists()


def test_help_is_quick_and_complete(capsys):
    assert train.main(["--help"]) == 0
    text = capsys.readouterr().out
    for action in options.make_parser("train.py")._actions:
        assert max(action.option_strings, key=len) in text
    code = "import sys, train; train.main(['--help']); assert 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts",
                          stdout=subprocess.DEVNULL).returncode == 0  # fmt: skip

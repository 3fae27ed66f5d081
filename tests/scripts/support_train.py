"""What tests of `scripts/train.py` share: small runs, and ways to make and to stop them."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import train
from training import engine, options, picture

ROOT = Path(__file__).parents[2]
SMALL = ["--eigenvalues", "0.6", "0.4", "--context-length", "6", "--held-out", "200"]
FULL = [*SMALL, "--sequences", "300", "--steps", "200", "--learning-rate", "0.2", "--points", "20"]
FRESH = [*SMALL, "--batch", "20", "--steps", "60", "--learning-rate", "0.1", "--points", "12"]
KINDS = {
    "full": FULL,
    "merged": [*FULL, "--design", "merged", "--learning-rate", "0.05"],
    "minibatches": [*FULL, "--batch", "50", "--optimiser", "momentum", "--learning-rate", "0.03"],
    "fresh": [*FRESH, "--schedule", "cosine", "--warmup", "10", "--record", "linear"],
    "softmax": [*FRESH, "--attention", "softmax", "--optimiser", "adam"],
    "softmax sample": [
        *FRESH,
        "--attention",
        "softmax",
        "--sequences",
        "200",
        "--batch",
        "200",
        "--learning-rate",
        "1",
    ],
    "lengths": [
        *FRESH,
        "--attention",
        "softmax",
        "--context-length",
        "3",
        "6",
        "--optimiser",
        "adam",
    ],
}


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quickly(monkeypatch):
    """Without the pictures, which take most of the time of a small run."""
    monkeypatch.setattr(picture, "save", lambda path, result: path.write_bytes(b""))


def trained(*arguments, out="out"):
    """Run `train.py`, and read what it wrote."""
    assert train.main([*arguments, "--out", out]) == 0
    return read(out)


def read(out="out"):
    return json.loads(Path(out, "run.json").read_text(encoding="utf-8"))


def arrays(out="out"):
    with np.load(Path(out, "run.npz")) as file:
        return {name: file[name] for name in file.files}


def planned(*arguments):
    parsed = options.make_parser("train.py").parse_args(list(arguments))
    options.check_together(parsed)
    return engine.plan(parsed)


def interrupt(monkeypatch, step):
    """A real SIGINT before update `step`."""
    watching = engine._lines

    def lines(steps):
        watch = watching(steps)

        def stop(now, loss):
            watch(now, loss)
            if now == step:
                os.kill(os.getpid(), signal.SIGINT)

        return stop

    monkeypatch.setattr(engine, "_lines", lines)

"""Checkpoints: a run in the middle, as one file that appears whole or not at all."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.files import written_atomically
from numerics.training.record import Row, assemble

Array = NDArray[Any]

VERSION = 1
RUNNING, FINISHED = "running", "finished"


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run stands before update `step`, counted from 0.

    Attributes
    ----------
    step : int
        Updates made.
    time : float
        Flow time passed.
    theta : (size,)
        Weights.
    memory : (slots, size)
        What the optimiser remembers.
    status : str
        ``"running"``, ``"finished"``, or how the run diverged.
    """

    step: int
    time: float
    theta: Array
    memory: Array
    status: str = RUNNING


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Progress, the record up to there, and what tells whether it is this run's.

    `optimiser` is its repr, `names` those of the test losses, `entropy` the key of the batches.
    """

    progress: Progress
    rows: list[Row]
    optimiser: str
    names: list[str]
    entropy: tuple[int, ...]


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint: to a temporary name, synced, renamed.

    Raises
    ------
    OSError
        If the file cannot be written; what was there before is untouched.
    """
    progress = checkpoint.progress
    # A row of a step whose update was cut short will be made again.
    rows = [row for row in checkpoint.rows if row.step < progress.step or _over(progress)]
    run = assemble(rows, checkpoint.names, progress.status, None) if rows else None
    record = {} if run is None else {
        "record_step": run.step, "record_time": run.time, "record_states": run.states,
        "record_loss": run.loss,
        "record_tests": np.array(list(run.tests.values())).reshape(len(run.tests), len(rows)),
    }  # fmt: skip
    with written_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file, version=np.int64(VERSION), step=np.int64(progress.step),
            time=np.float64(progress.time), theta=progress.theta, memory=progress.memory,
            status=np.str_(progress.status), optimiser=np.str_(checkpoint.optimiser),
            names=np.array(checkpoint.names, np.str_),
            entropy=np.array(checkpoint.entropy, np.uint64), allow_pickle=False, **record,
        )  # fmt: skip


def _over(progress: Progress) -> bool:
    return progress.status != RUNNING


def load(path: str | Path) -> Checkpoint | None:
    """Read a checkpoint; None if there is no file.

    Raises
    ------
    ValueError
        If the file is damaged, or not a checkpoint of this version.
    OSError
        If it cannot be read.
    """
    if not os.path.exists(path):
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            if int(arrays["version"]) != VERSION:
                raise ValueError(f"has version {arrays['version']}, not {VERSION}")
            return _read(arrays)
    except (ValueError, KeyError, EOFError, AttributeError, TypeError, NotImplementedError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise ValueError(f"checkpoint {path} is damaged or not a checkpoint: {error}") from error


def _read(arrays: Any) -> Checkpoint:
    progress = Progress(
        int(arrays["step"]), float(arrays["time"]), arrays["theta"], arrays["memory"],
        str(arrays["status"]),
    )  # fmt: skip
    rows: list[Row] = []
    if "record_step" in arrays:
        columns = (arrays["record_" + name] for name in ("step", "time", "states", "loss"))
        tests = arrays["record_tests"].T
        rows = [
            Row(int(step), float(time), state, float(loss), tuple(test.tolist()))
            for step, time, state, loss, test in zip(*columns, tests, strict=True)
        ]
    return Checkpoint(
        progress,
        rows,
        str(arrays["optimiser"]),
        [str(name) for name in arrays["names"]],
        tuple(int(number) for number in arrays["entropy"]),
    )

"""A sweep on a real Dask cluster on the loopback, of several processes, one of which is killed."""

import os
import signal
import sys
from importlib.util import find_spec

import pytest

import sweep as script
from sweeping import sweep
from tests.scripts import support_sweep
from tests.scripts.support_sweep import cluster, files, listed, started, wait_for_files

MANY = support_sweep.MANY[:9]
needs_dask = pytest.mark.skipif(
    find_spec("distributed") is None,
    reason="distributed is not installed: pip install 'iclflow[dask]'",
)
_in_empty_folder = support_sweep.in_empty_folder


@needs_dask
def test_a_worker_killed_in_the_middle_changes_nothing():
    with cluster() as (address, pids):
        assert len(pids) == 3
        process = started("--list", listed(MANY), "--out", "out", "--dask", address)
        wait_for_files(process, "out", 2)
        os.kill(pids[0], signal.SIGKILL)
        done = len(files("out"))
        out, error = process.communicate(timeout=120)
    assert done < len(MANY)
    assert process.returncode == 0, error
    assert out.startswith(f"{len(MANY)} of {len(MANY)} cases done\n")
    sweep(MANY, "whole")
    assert files("out") == files("whole")


def test_no_scheduler_and_no_distributed_are_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert script.main(["run", "--dask", "tcp://127.0.0.1:9"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sweep.py: error: --dask: needs the package distributed")
    assert error.count("\n") == 1


@needs_dask
@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_line():
    process = started("--dask", "tcp://127.0.0.1:9")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert error.startswith("sweep.py: error: --dask: ")
    assert error.count("\n") == 1

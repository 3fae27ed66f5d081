"""What tests of `scripts/sweep.py` share: small cases, ways to run and to stop, a Dask cluster."""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweeping.grid import expand
from sweeping.store import Store

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "sweep.py"
# Some 30 ms each, of all kinds; one context pair takes no quadrature.
LINEAR = {"eigenvalues": [0.6, 0.4], "context_length": 5, "rank": [1, 2], "init": 0.05}
CASES = [
    *expand({**LINEAR, "seeds": 2}),
    *expand({"kind": "merged", "eigenvalues": [0.6, 0.4], "context_length": 5, "init": 0.05}),
    *expand({"kind": "softmax", "block_dims": [[2], [3]], "context_length": 1}),
]
_SPECTRUM = {"eigenvalues": [0.4, 0.3, 0.2, 0.1], "context_length": 31, "init": 1e-2}
# Some 60 ms each, for what has to happen in the middle of a sweep: a busy test may come late.
MANY = [
    case for same_seed in zip(
        expand({**_SPECTRUM, "rank": [1, 2], "seeds": 5}),
        expand({**_SPECTRUM, "kind": "merged", "heads": [4, 8], "seeds": 5}),
        expand({"kind": "softmax", "block_dims": [5, 4, 3], "context_length": 30, "init": 0.1,
                "seeds": 10}), strict=True)
    for case in same_seed
]  # fmt: skip

CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=3, threads_per_worker=1, processes=True, host="127.0.0.1",
                      dashboard_address=None) as cluster:
        pids = [str(nanny.pid) for nanny in cluster.workers.values()]
        print(cluster.scheduler_address, *pids, flush=True)
        sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def files(folder):
    """The files of all cases, by name; half-written ones would be among them."""
    found = {path.name: path.read_bytes() for path in (Path(folder) / "cases").iterdir()}
    return {name: content for name, content in found.items() if not name.startswith(".")}


def listed(cases, path="cases.jsonl"):
    """A file for --list."""
    Path(path).write_text("".join(case.canonical + "\n" for case in cases), encoding="utf-8")
    return path


def started(*arguments, **options):
    """`sweep.py run` in a process, and a process group, of its own."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, "run", *arguments], start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def wait_for_files(process, folder, count):
    """Return when `count` cases are done; the process must not have ended before."""
    store = Store(folder)
    while len(store.keys()) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def living(group):
    """Processes of a group, zombies left out (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until_gone(group):
    """Return when no process of a group is left: workers of a dead driver end by themselves."""
    deadline = time.monotonic() + 20
    while living(group):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def cluster():
    """A Dask cluster of three worker processes on the loopback: its address and their numbers."""
    Path("cluster.py").write_text(CLUSTER, encoding="utf-8")
    process = subprocess.Popen([sys.executable, "cluster.py"], stdin=subprocess.PIPE, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        address, *pids = process.stdout.readline().split()
        yield address, [int(pid) for pid in pids]
        process.communicate("\n", timeout=30)
    finally:
        process.kill()
        process.communicate()

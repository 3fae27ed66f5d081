"""Files of a sweep: nothing is lost to SIGKILL, Ctrl-C, flipped bits or a full disk."""

import errno
import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import sweep as script
from numerics.files import temporary_beside
from sweeping import LinearCase, Record, Store, progress, sweep
from sweeping.store import DamagedError, packed, unpacked
from tests.scripts import support_sweep
from tests.scripts.support_sweep import (
    CASES,
    MANY,
    files,
    listed,
    started,
    wait_for_files,
    wait_until_gone,
)

_in_empty_folder = support_sweep.in_empty_folder
CASE = LinearCase([0.5], 9, init=0.1)
SMALL = Record(CASE, "finished", {"loss": np.array([1.0, 0.5]), "drift": np.float64(1e-9)}, "none")


# One file


def test_a_record_reads_back_and_is_a_plain_npz():
    store = Store("out")
    store.prepare()
    store.save(SMALL)
    found = store.load(CASE.key)
    assert (found.case, found.status, found.software) == (CASE, "finished", "none")
    assert found.values["loss"].tolist() == [1.0, 0.5]
    assert found.number("drift") == 1e-9
    assert packed(found) == packed(SMALL)
    with np.load(store.path(CASE.key), allow_pickle=False) as arrays:
        assert str(arrays["case"]) == CASE.canonical


def test_every_flipped_byte_and_every_cut_is_found():
    content = packed(SMALL)
    rng = np.random.default_rng(0)
    for place, bit in enumerate(rng.integers(8, size=len(content)).tolist()):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        with pytest.raises(DamagedError):
            unpacked(bytes(flipped))
    for length in (0, 1, 71, 72, 73, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(DamagedError):
            unpacked(content[:length])
    with pytest.raises(DamagedError):
        unpacked(content + b"\0")


def test_damaged_files_are_set_aside_and_computed_again(capsys):
    sweep(CASES[:4], "out")
    whole = files("out")
    paths = [Store("out").path(case.key) for case in CASES[:4]]
    flipped = bytearray(paths[0].read_bytes())
    flipped[len(flipped) // 2] ^= 4
    damaged = [bytes(flipped), paths[1].read_bytes()[:-30], paths[3].read_bytes()]
    for path, content in zip(paths, damaged, strict=False):  # the third holds another case
        path.write_bytes(content)
    arguments = ["run", "--list", listed(CASES[:4]), "--out", "out", "--workers", "1"]
    assert script.main(["report", "out", "--no-plots"]) == 0
    assert capsys.readouterr().out.count("not read: ") == 3
    assert script.main(arguments) == 0
    assert "4 of 4 cases done (1 found in the folder, 3 damaged and set aside)" in (
        capsys.readouterr().out
    )
    assert files("out") == whole
    aside = {path.name: path.read_bytes() for path in Path("out/damaged").iterdir()}
    assert aside == dict(zip((path.name for path in paths), damaged, strict=False))
    # A second time the same file goes beside the first.
    paths[0].write_bytes(b"")
    assert script.main(arguments) == 0
    assert Path(f"out/damaged/{CASES[0].key}.1.npz").read_bytes() == b""
    assert (Path("out/damaged") / paths[0].name).read_bytes() == damaged[0]


def test_what_a_dead_process_left_is_cleared_when_it_is_old():
    store = Store("out")
    store.prepare()
    old, young = (temporary_beside(store.path(case.key)) for case in CASES[:2])
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    store.prepare()
    assert young.exists()
    assert not old.exists()
    assert store.keys() == []


# Disks


def test_a_folder_that_cannot_be_written_is_named(capsys):
    Path("taken").write_text("", encoding="utf-8")
    for folder in ("/proc/nothing", "taken", "taken/deeper"):
        assert script.main(["run", "--out", folder]) == 2
        error = capsys.readouterr().err
        assert error.startswith("sweep.py: error: ")
        assert Path(folder).name in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_full_disk_stops_the_sweep_and_keeps_what_is_done(workers):
    """Files of more than 2 kB do not fit any more (RLIMIT_FSIZE); a record has some 10 kB."""
    sweep(CASES[:2], "out")
    before = files("out")

    def tighten():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    process = started("--list", listed(CASES[:4]), "--out", "out", "--workers", workers,
                      preexec_fn=tighten)  # fmt: skip
    out, error = process.communicate(timeout=60)
    assert process.returncode == 2, out + error
    assert "File too large; 2 of 4 cases done (2 found in the folder), and kept" in error
    assert error.count("\n") == 1
    assert files("out") == before
    assert sorted(os.listdir("out/cases")) == sorted(before)


def test_a_disk_that_fills_up_says_so(monkeypatch, capsys):
    saved = Store.save
    monkeypatch.setattr(Store, "save", lambda self, record: (
        saved(self, record) if record.case == CASES[0] else _raise(errno.ENOSPC)))  # fmt: skip
    assert script.main(["run", "--list", listed(CASES), "--out", "out", "--workers", "1"]) == 2
    assert (
        f"No space left on device; 1 of {len(CASES)} cases done, and kept"
        in capsys.readouterr().err
    )
    assert list(files("out")) == [f"{CASES[0].key}.npz"]


def _raise(number):
    raise OSError(number, os.strerror(number))


# Killing and interrupting


def test_killed_at_random_moments_it_ends_as_if_it_had_not_been():
    """SIGKILL to the driver alone, to all processes, and to the driver again; then to the end."""
    rng = np.random.default_rng()
    arguments = ["--list", listed(MANY), "--out", "killed", "--workers", "2"]
    done = 0
    for everyone in (False, True):
        process = started(*arguments)
        wait_for_files(process, "killed", done + 1 + int(rng.integers(3)))
        time.sleep(rng.uniform(0.0, 0.1))
        (os.killpg if everyone else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        wait_until_gone(process.pid)
        found = files("killed")
        for name, content in found.items():
            assert f"{unpacked(content).case.key}.npz" == name
        assert done < len(found) < len(MANY)
        done = len(found)
    outcome = sweep(MANY, "killed")
    assert (outcome.found, outcome.unfinished) == (done, {})
    sweep(MANY, "whole")
    assert files("killed") == files("whole")


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_ctrl_c_finishes_cleanly_and_goes_on(workers):
    process = started("--list", listed(MANY), "--out", "out", "--workers", workers)
    wait_for_files(process, "out", 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, error = process.communicate(timeout=30)
    assert process.returncode == 130
    kept = len(files("out"))
    assert 2 <= kept < len(MANY)
    assert error == (
        f"sweep.py: interrupted; {kept} of {len(MANY)} cases are kept, and the same command goes "
        "on from there\n"
    )
    assert out == ""
    wait_until_gone(process.pid)


def test_ctrl_c_at_the_start_is_one_line():
    """While modules are imported and workers start."""
    process = started("--list", listed(MANY), "--out", "out", "--workers", "2")
    deadline = time.monotonic() + 20
    while not Path("out/cases").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.count("\n") == 1


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET", 0.0)
    assert script.main(["run", "--list", listed(CASES[:4]), "--out", "out", "--workers", "1"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("1 of 4 cases, ")
    assert " a second, about " in lines[0]
    assert lines[3].startswith("4 of 4 cases, ")

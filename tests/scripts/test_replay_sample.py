"""The sample is read in pieces: the same numbers, the same errors, and memory for a piece alone."""

import tracemalloc
import zipfile
from collections import deque
from pathlib import Path

import numpy as np
import pytest

import console
from replaying import archive, engine, gather, inputs, theory
from replaying import sample as reading
from tests.scripts import support_replay
from tests.scripts.support_replay import (
    LINEAR,
    P,
    flags,
    naive,
    problem,
    read,
    refused,
    replayed,
    same_run,
)

EPS = np.finfo(float).eps

_in_empty_folder = support_replay.in_empty_folder


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of 7 sequences of the test problems, so that P = 150 makes 21 and a rest of 3."""
    monkeypatch.setattr(reading, "PIECE", 7 * 36 + 35)


def assert_pieces_are_the_arrays(run, rows):
    held = inputs.read_run("run.npz").sample
    parts = list(held.chunks(rows))
    assert [len(x) for x, _ in parts[:-1]] == [rows] * (len(parts) - 1)
    for i, name in enumerate(("x", "y_q")):
        joined = np.concatenate([part[i] for part in parts])
        assert joined.dtype == np.float64
        np.testing.assert_array_equal(joined, np.asarray(run[name], np.float64))
        np.testing.assert_array_equal(joined, held.whole()[i])


@pytest.mark.parametrize("rows", [1, 7, 150, 1000])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["merged linear", "two-layer network"])
def test_pieces_put_together_are_the_arrays(kind, save, rows):
    run = problem(kind)
    save("run.npz", **run)
    assert_pieces_are_the_arrays(run, rows)


@pytest.mark.parametrize(
    "store",
    [
        np.asfortranarray,
        lambda a: a.astype(np.float32),
        lambda a: a.astype(np.float16),
        lambda a: a.astype(">f8"),
        lambda a: a.astype(np.longdouble),
        lambda a: np.rint(a).astype(np.int8),
    ],
    ids=["Fortran order", "float32", "float16", "big-endian", "long double", "int8"],
)
def test_any_type_and_order_is_read(store):
    run = problem("merged linear")
    run |= {name: store(run[name]) for name in ("x", "y_q")}
    np.savez("run.npz", **run)
    assert_pieces_are_the_arrays(run, 40)


def test_any_format_that_numpy_reads_is_read():
    run = problem("merged linear")
    np.savez("run.npz", **{name: array for name, array in run.items() if name not in ("x", "y_q")})
    with zipfile.ZipFile("run.npz", "a") as opened:
        # The last is beyond what NumPy's public readers of headers know.
        for name, version in (("x", (2, 0)), ("y_q", (3, 0))):
            with opened.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, run[name], version=version)
    assert_pieces_are_the_arrays(run, 40)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", sorted(LINEAR))
def test_a_run_from_many_pieces_is_the_same_run(kind):
    run = problem(kind)
    run["loss"] = naive(kind, run, 400)
    result = replayed(run, *flags(kind))
    assert result["max_abs_difference"] < same_run(kind)


@pytest.mark.parametrize("kind", sorted(LINEAR))
def test_plateaus_do_not_depend_on_the_pieces(kind, monkeypatch):
    run = problem(kind)
    one = theory.predict(*read(run))
    monkeypatch.setattr(reading, "PIECE", 7 * 36)
    many = theory.predict(*read(run))
    # Sums in another order move the terms of the loss by roundings of its largest, E y_q², and a
    # stationary loss moves by no more than its terms, to first order in the weights.
    for name in ("losses", "formula", "floor"):
        ours, theirs = getattr(many, name), getattr(one, name)
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=100 * EPS * one.losses[0])


def test_few_sequences_are_cheaper_than_their_moments():
    run = problem("merged linear")
    run["x"], run["y_q"] = run["x"][:1], run["y_q"][:1]
    held, gathered = read(run)
    assert gathered.sequences is not None
    again = engine.replay(held, "linear", gathered, 50)
    assert again.source == "sequences"
    np.testing.assert_allclose(again.loss[:50], naive("merged linear", run, 50), rtol=1e-10)
    # The floor is that of the same sequences.
    assert theory.predict(held, gathered).floor == pytest.approx(0, abs=1e-9)


@pytest.mark.usefixtures("small_pieces")
def test_a_layer_too_large_for_its_moments_is_replayed_on_sequences(monkeypatch):
    run = problem("separate linear")
    usual = theory.predict(*read(run))
    monkeypatch.setattr(gather, "MOST_FEATURES", 29)  # D = 3 has 30
    monkeypatch.setattr(gather, "MOST_SOLVED", 29)
    held, gathered = read(run)
    assert gathered.layer is None
    again = engine.replay(held, "linear", gathered, 300)
    ours = naive("separate linear", run, 300)
    np.testing.assert_allclose(again.loss[:300], ours, rtol=0, atol=same_run("separate linear"))
    found = theory.predict(held, gathered)
    assert found.floor is None
    np.testing.assert_allclose(found.losses, usual.losses, rtol=0, atol=100 * EPS * usual.losses[0])


# Errors


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", ["merged linear", "merged softmax"])
def test_places_count_from_the_beginning_of_the_file(kind, capsys):
    for name, place, shown in (("x", (100, 2, 1), "[100, 2, 1]"), ("y_q", (149,), "[149]")):
        run = problem(kind)
        run[name][place] = np.inf
        np.savez("run.npz", **run)
        error = refused(capsys, "run.npz", "--steps", "3", *flags(kind))
        assert error.endswith(f"{name} must be finite, got inf at {shown}\n")
    run = problem(kind)
    run["x"][[99, 140], -1, -1] = 0.5
    np.savez("run.npz", **run)
    error = refused(capsys, "run.npz", "--steps", "3", *flags(kind))
    assert error.endswith("got 0.5 in sequence 99\n")


def hurt(name, offset, replacement):
    """Write over bytes of an array in run.npz, so that its checksum is wrong."""
    whole = Path("run.npz").read_bytes()
    with zipfile.ZipFile("run.npz") as opened:
        info = opened.getinfo(f"{name}.npy")
    place = info.header_offset + 200 + offset  # past the headers of the archive and the array
    changed = whole[:place] + replacement + whole[place + len(replacement) :]
    Path("run.npz").write_bytes(changed)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", ["merged linear", "merged softmax", "two-layer network"])
@pytest.mark.parametrize("name", ["x", "y_q"])
@pytest.mark.parametrize("replacement", [b"\xff" * 16, b"\x01" * 16], ids=["NaN", "numbers"])
def test_damage_is_told_from_bad_numbers(kind, name, replacement, capsys):
    np.savez("run.npz", **problem(kind))
    hurt(name, 304, replacement)
    error = refused(capsys, "run.npz", "--steps", "3", *flags(kind))
    assert f"{name} damaged: Bad CRC-32" in error


@pytest.mark.parametrize("name", ["x", "y_q"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_fewer_numbers_than_the_header_says_is_damage(name, compression, capsys):
    run = problem("merged linear")
    np.savez("run.npz", **run)
    with zipfile.ZipFile("run.npz") as opened:
        members = {info.filename: opened.read(info) for info in opened.infolist()}
    members[f"{name}.npy"] = members[f"{name}.npy"][:-8]
    with zipfile.ZipFile("run.npz", "w", compression) as opened:
        for member, data in members.items():
            opened.writestr(member, data)
    error = refused(capsys, "run.npz", "--steps", "3")
    assert f"{name} damaged: EOF" in error
    assert "8 bytes" in error


def test_a_member_that_is_no_array_is_named(capsys):
    run = problem("merged linear")
    del run["x"]
    np.savez("run.npz", **run)
    with zipfile.ZipFile("run.npz", "a") as opened:
        opened.writestr("x.npy", "1 2 3")
    assert "x is not an array" in refused(capsys, "run.npz", "--steps", "3")


def test_a_file_that_changes_between_header_and_numbers_is_noticed():
    run = problem("merged linear")
    np.savez("run.npz", **run)
    held = inputs.read_run("run.npz")
    np.savez("run.npz", **(run | {"x": run["x"][:-1]}))
    with pytest.raises(console.InputError, match="x damaged: changed while it was read"):
        gather.gather(held, "linear")


def test_a_bad_sample_leaves_no_folder_behind(capsys):
    run = problem("merged linear")
    run["y_q"][3] = np.nan
    np.savez("run.npz", **run)
    refused(capsys, "run.npz", "--steps", "3", "--out", "new/folder")


# Memory


def peak(work):
    """The most bytes held at once, beyond what was held before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def save_sample(count, dtype, network):
    """A run of `count` sequences, drawn with repetition from a few."""
    run = problem("two-layer network" if network else "separate linear")
    rows = np.arange(count) % P
    run["x"], run["y_q"] = run["x"].astype(dtype)[rows], run["y_q"].astype(dtype)[rows]
    np.savez("run.npz", **run)
    return inputs.read_run("run.npz"), run["x"].size * 8


@pytest.mark.parametrize("network", [False, True], ids=["layer", "network"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_is_that_of_pieces(dtype, network, monkeypatch):
    monkeypatch.setattr(reading, "PIECE", 2**16)
    piece = 8 * reading.PIECE
    count = 20_000 * (4 if network else 1)
    small, size = save_sample(count, dtype, network)
    assert size > 10 * piece
    held = [peak(lambda: gather.gather(small, "linear"))]
    large, size = save_sample(10 * count, dtype, network)
    reads = peak(lambda: deque(large.sample.chunks(), maxlen=0))
    # A piece is still held by who uses it while the next is read: two in float64, and two of half
    # the size in float32, with a mask of 1/8. A ZipFile copies what it reads a few times.
    assert reads < 4 * piece + 4 * archive.READ_BYTES
    held.append(peak(lambda: gather.gather(large, "linear")))
    # On top of that come features, as many at a time in both: nothing grows, a piece is to spare.
    assert held[1] < held[0] + piece
    assert held[1] < size / 10
    # The control: what holds the sequences grows with them.
    assert peak(large.sample.whole) > size

"""Wrong files and arguments: one line, and nothing left behind; and the help."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import replay
from tests.scripts import support_replay
from tests.scripts.support_replay import problem, refused

_in_empty_folder = support_replay.in_empty_folder


NAMES = {
    "merged linear": ["x", "y_q", "lr", "init_value_weight", "init_kq_weight"],
    "separate linear": ["init_value_weight", "init_key_weight", "init_query_weight"],
    "two-layer network": ["x", "y_q", "lr", "init_fc1_weight", "init_fc2_weight"],
}
EACH = [(kind, name) for kind, names in NAMES.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_missing_array_is_named(kind, name, capsys):
    run = problem(kind)
    del run[name]
    np.savez("run.npz", **run)
    assert name in refused(capsys, "run.npz", "--steps", "3")


@pytest.mark.parametrize(("kind", "name"), EACH)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_named(kind, name, bad, capsys):
    run = problem(kind)
    run[name] = np.array(run[name], float)
    run[name].flat[-1] = bad
    np.savez("run.npz", **run)
    error = refused(capsys, "run.npz", "--steps", "3")
    assert f" {name} must be finite" in error


@pytest.mark.parametrize(("kind", "name"), EACH)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: np.stack([a, a]),
        lambda a: np.append(a, a[:1], axis=0) if a.ndim else np.append(a, a),
        lambda a: a[..., :-1] if a.ndim else np.zeros((0,)),
        lambda a: a.astype(str),
        lambda a: a.astype(complex),
        lambda a: a.astype(object),
    ],
    ids=["axes", "longer", "shorter", "text", "complex", "objects"],
)
def test_wrong_shapes_and_types_are_named(kind, name, spoil, capsys):
    run = problem(kind)
    run[name] = spoil(np.asarray(run[name]))
    np.savez("run.npz", **run)
    error = refused(capsys, "run.npz", "--steps", "3")
    # A wrong x or value weight may show where the other arrays no longer fit it.
    assert any(other in error for other in NAMES[kind])
    if name not in ("x", "init_value_weight", "init_key_weight", "init_fc1_weight"):
        assert name in error


@pytest.mark.parametrize("lr", [0.0, -0.1, [0.1, 0.2]])
def test_wrong_rates_are_named(lr, capsys):
    np.savez("run.npz", **(problem("merged linear") | {"lr": lr}))
    assert " lr must be one number > 0" in refused(capsys, "run.npz", "--steps", "3")


def test_a_query_that_shows_its_label_is_refused(capsys):
    run = problem("merged linear")
    run["x"][3, -1, -1] = 0.5
    np.savez("run.npz", **run)
    error = refused(capsys, "run.npz", "--steps", "3")
    assert "query as the last token, its y set to 0; got 0.5 in sequence 3" in error


def test_both_kinds_of_key_query_weights_are_refused(capsys):
    np.savez("run.npz", **(problem("separate linear") | problem("merged linear")))
    assert "give one of the two" in refused(capsys, "run.npz", "--steps", "3")


@pytest.mark.parametrize(
    "loss", [[1.0, np.nan, 0.5], [1.0, 0.5, np.nan], [np.nan] * 3, [[1.0, 2.0]], [], 1.0]
)
def test_wrong_losses_are_named(loss, capsys):
    np.savez("run.npz", **(problem("merged linear") | {"loss": np.array(loss)}))
    assert " loss " in refused(capsys, "run.npz")


def test_weights_whose_loss_overflows_are_refused(capsys):
    run = problem("merged linear")
    run["init_value_weight"] = np.full_like(run["init_value_weight"], 1e300)
    np.savez("run.npz", **run)
    assert "overflow" in refused(capsys, "run.npz", "--steps", "3")


def test_files_that_are_no_runs_are_named(capsys):
    np.savez("run.npz", **problem("merged linear"))
    whole = Path("run.npz").read_bytes()
    Path("cut.npz").write_bytes(whole[: len(whole) // 2])
    middle = len(whole) // 3
    Path("hurt.npz").write_bytes(whole[:middle] + b"\xff" * 64 + whole[middle + 64 :])
    Path("empty.npz").write_bytes(b"")
    Path("text.npz").write_text("x, y\n", encoding="utf-8")
    np.save("array.npy", np.ones(3))
    np.savez("other.npz", something=np.ones(3))
    Path("folder.npz").mkdir()
    for name in ("cut.npz", "hurt.npz", "empty.npz", "text.npz", "array.npy", "other.npz",
                 "folder.npz", "absent.npz"):  # fmt: skip
        assert name in refused(capsys, name, "--steps", "3")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--attention", "cosine"], "--attention"),
        (["--steps", "0"], "--steps"),
        (["--steps", "1.5"], "--steps"),
        (["--steps", "1" + "0" * 12], "--steps"),
        ([], "--steps"),
        (["--steps", "3", "--json", "run.txt"], "--json"),
        (["--steps", "3", "--json", "nowhere/run.json"], "--json"),
        (["--steps", "3", "--csv", "run.npz"], "--csv"),
        (["--steps", "3", "--plot", "run.gif"], "--plot"),
        (["--steps", "3", "--out", "run.npz"], "--out"),
        (["--steps", "3", "--out", "run.npz/below"], "--out"),
        (["--steps", "3", "--out", "/proc/none"], "--out"),
        (["--step", "3"], "--step"),
    ],
)
def test_wrong_arguments_are_named(arguments, named, capsys):
    np.savez("run.npz", **problem("merged linear"))
    assert named in refused(capsys, "run.npz", *arguments)


@pytest.mark.parametrize("attention", ["linear", "softmax"])
def test_a_network_has_no_attention(attention, capsys):
    np.savez("run.npz", **problem("two-layer network"))
    error = refused(capsys, "run.npz", "--steps", "3", "--attention", attention)
    assert "--attention" in error


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs rights to be refused")
def test_a_protected_folder_is_named(capsys):
    Path("closed").mkdir(mode=0o500)
    np.savez("run.npz", **problem("merged linear"))
    assert "--out" in refused(capsys, "run.npz", "--steps", "3", "--out", "closed")


def test_help_is_instant_and_needs_no_numpy():
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import replay; replay.main(['--help'])\n"
        "assert 'numpy' not in sys.modules"
    )
    root = Path(replay.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert "example" in done.stdout
    assert "loss[i] is\nthe loss BEFORE update i" in done.stdout

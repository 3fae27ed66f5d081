"""Wrong arguments and files, full disks and interrupts."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import console
import predict
from tests.scripts import support_predict
from tests.scripts.support_predict import REFERENCE, linear

_in_empty_folder = support_predict.in_empty_folder


def _write_bad_files():
    texts = {
        "text.csv": "1 2\n3 x\n", "ragged.csv": "a,b\n1,2\n3\n", "one.csv": "1,2\n",
        "empty.csv": "", "skew.csv": "1 0.5\n0 1\n", "indefinite.csv": "1 2\n2 1\n",
        "nan.csv": "1,nan\nnan,1\n", "wide.csv": "2 0 0\n0 1 0\n", "huge.csv": "1e40 0\n0 1\n",
        "back.csv": "0,1\n5,0.5\n5,0.4\n", "loss.csv": "1\n0.5\n", "notes.md": "1\n",
        "tiny.csv": "1e-40 0\n0 1e-40\n",
    }  # fmt: skip
    for name, text in texts.items():
        Path(name).write_text(text)
    Path("latin.csv").write_bytes(b"1,2\n\xff\xfe,4\n")
    junk = np.random.default_rng(0).bytes(300)
    Path("junk.npy").write_bytes(junk)
    Path("junk.npz").write_bytes(junk)
    np.save("whole.npy", np.ones((100, 2)))
    Path("truncated.npy").write_bytes(Path("whole.npy").read_bytes()[:500])
    np.save("flat.npy", np.ones((100, 2)) * [1, 0])
    np.save("complex.npy", np.eye(2) + 1j)
    np.save("vector.npy", np.ones(3))
    np.save("norows.npy", np.ones((0, 3)))
    np.savez("two.npz", a=np.eye(2), b=np.eye(3))
    np.savez("none.npz")
    _write_bad_weights()


def _write_bad_weights():
    v, k, q = np.ones(4), np.ones((4, 1, 4)), np.ones((4, 4))
    hole, lame = k.copy(), v.copy()
    hole[2, 0, 3], lame[1] = np.nan, 0
    bad = {
        "good": {}, "scalar": {"v": 1.0}, "column": {"v": np.ones((4, 1))},
        "few": {"v": np.ones(3)}, "short": {"k": np.ones((4, 3))},
        "rank0": {"k": np.ones((4, 0, 4))}, "ranks": {"k": np.ones((4, 2, 4))},
        "hole": {"k": hole}, "words": {"q": "abc"},
        "giant": {"q": 1e40 * q}, "lame": {"v": lame, "k": k * lame[:, None, None]},
        "still": {"v": 0 * v, "k": 0 * k, "q": 0 * q}, "heavy": {"v": 1e9 * v},
    }  # fmt: skip
    for name, other in bad.items():
        np.savez(f"start-{name}.npz", **{"v": v, "k": k, "q": q, **other})
    np.savez("start-names.npz", value=v, k=k, q=q)
    np.savez("start-objects.npz", v=v, k=np.array([None, 1]), q=q)
    with zipfile.ZipFile("start-bytes.npz", "w") as archive:
        for name in "vkq":
            archive.writestr(f"{name}.npy", b"not an array")


MISUSE = [
    (["--covariance", "skew.csv"], "--covariance skew.csv", "symmetric"),
    (["--covariance", "indefinite.csv"], "--covariance indefinite.csv", "positive definite"),
    (["--covariance", "nan.csv"], "--covariance nan.csv", "row 1, column 2"),
    (["--covariance", "wide.csv"], "--covariance wide.csv", "square"),
    (["--covariance", "huge.csv"], "--covariance huge.csv", "at most"),
    (["--covariance", "tiny.csv"], "--covariance", "rescale"),
    (["--covariance", "two.npz"], "--covariance two.npz", "a, b"),
    (["--covariance", "none.npz"], "--covariance none.npz", "holds no arrays"),
    (["--covariance", "none.npz:a"], "--covariance none.npz:a", "holds no arrays"),
    (["--covariance", ""], "--covariance", "must name a file"),
    (["--tokens", ""], "--tokens", "must name a file"),
    ([*REFERENCE, "--overlay", ""], "--overlay", "must name a file"),
    ([*REFERENCE, "--json", ""], "--json", "must name a file"),
    ([*REFERENCE, "--plot", ""], "--plot", "must name a file"),
    ([*REFERENCE, "--heads", "1000000000"], "--heads:", "at most 1e+07"),
    ([*REFERENCE, "--rank", "9" * 23], "--rank:", "at most 1e+07"),
    ([*REFERENCE, "--rank", "2000", "--heads", "2000"], "--heads and --rank:", "at most"),
    ([*REFERENCE, "--context-length", "1e400"], "--context-length", "or inf, got 1e400"),
    (["--covariance", "start-bytes.npz:v"], "--covariance start-bytes.npz:v", "NumPy's format"),
    (["--covariance", "two.npz:c"], "--covariance two.npz:c", "'c'"),
    (["--tokens", "text.csv"], "--tokens text.csv", "line 2, column 2: 'x'"),
    (["--tokens", "ragged.csv"], "--tokens ragged.csv", "line 3"),
    (["--tokens", "one.csv"], "--tokens one.csv", "2 rows"),
    (["--tokens", "empty.csv"], "--tokens empty.csv", "no numbers"),
    (["--tokens", "latin.csv"], "--tokens latin.csv", "text file"),
    (["--tokens", "missing.npy"], "--tokens missing.npy", "No such file"),
    (["--tokens", "junk.npy"], "--tokens junk.npy", "format"),
    (["--tokens", "junk.npz"], "--tokens junk.npz", "format"),
    (["--tokens", "truncated.npy"], "--tokens truncated.npy", "damaged"),
    (["--tokens", "flat.npy"], "--tokens flat.npy", "positive definite"),
    (["--tokens", "complex.npy"], "--tokens complex.npy", "real"),
    (["--tokens", "vector.npy"], "--tokens vector.npy", "matrix"),
    (["--tokens", "norows.npy"], "--tokens norows.npy", "empty"),
    (["--tokens", "notes.md"], "--tokens notes.md", "kind of file"),
    (["--eigenvalues", "1", "-1"], "--eigenvalues", "> 0"),
    (["--eigenvalues", "1", "nan"], "--eigenvalues", "finite"),
    (["--eigenvalues", "1", "1e200"], "--eigenvalues", "<= 1e+30"),
    (["--eigenvalues"], "--eigenvalues", "at least one"),
    ([*REFERENCE, "--tokens", "whole.npy"], "--tokens", "not allowed"),
    ([*REFERENCE, "--context-length", "0.5"], "--context-length", ">= 1"),
    ([*REFERENCE, "--noise", "-1"], "--noise", ">= 0"),
    ([*REFERENCE, "--heads", "1.5"], "--heads", "whole"),
    ([*REFERENCE, "--init", "0"], "--init", "> 0"),
    ([*REFERENCE, "--frob"], "--frob", "unrecognized"),
    ([*REFERENCE, "--heads", "3"], "--heads", "heads × rank = 3 is less than the 4 modes"),
    ([*REFERENCE, "--modes", "5"], "--modes", "4 modes"),
    ([*REFERENCE, "--heads", "1", "--modes", "2"], "--modes", "heads × rank = 1"),
    ([*REFERENCE, "--task-eigenvalues", "1"], "--task-eigenvalues", "needs 4"),
    ([*REFERENCE, "--task-eigenvalues", *"0000"], "--task-eigenvalues", "all 0"),
    ([*REFERENCE, "--gradient-descent", "9"], "--gradient-descent", "--learning-rate"),
    ([*REFERENCE, "--sequences", "9"], "--sequences", "--gradient-descent"),
    ([*REFERENCE, "--gradient-descent", "9", "--learning-rate", "1", "--sequences", "9",
      "--context-length", "2.5"], "--sequences", "whole"),
    ([*REFERENCE, "--lr", "1"], "--lr", "--overlay"),
    ([*REFERENCE, "--overlay", "loss.csv", "--learning-rate", "1"], "--learning-rate", "is --lr"),
    ([*REFERENCE, "--overlay", "whole.npy"], "--overlay", "--lr"),
    ([*REFERENCE, "--overlay", "loss.csv", "--lr", "1"], "--overlay loss.csv", "--steps-per-row"),
    ([*REFERENCE, "--overlay", "back.csv", "--lr", "1"], "--overlay back.csv", "row 3"),
    ([*REFERENCE, "--overlay", "one.csv", "--lr", "1"], "--overlay one.csv", "2 rows"),
    ([*REFERENCE, "--overlay", "wide.csv", "--lr", "1"], "--overlay wide.csv", "3 columns"),
    ([*REFERENCE, "--overlay", "back.csv", "--lr", "1", "--steps-per-row", "2"],
     "--steps-per-row", "back.csv has a column of steps"),
    ([*REFERENCE, "--overlay", "loss.csv", "--lr", "1", "--steps-per-row", "2",
      "--no-context-scale", "--context-length", "inf"], "--no-context-scale", "finite"),
    ([*REFERENCE, "--context-scale", "2"], "--context-scale", "--overlay"),
    ([*REFERENCE, "--overlay", "loss.csv", "--lr", "1", "--no-context-scale",
      "--context-scale", "2"], "--context-scale", "not allowed with"),
    ([*REFERENCE, "--plot", "none/run.png"], "--plot", "no folder"),
    ([*REFERENCE, "--plot", "run.jpg"], "--plot", ".png"),
    ([*REFERENCE, "--plot", "folder.png"], "--plot", "is a folder"),
    ([*REFERENCE, "--json", "loss.csv"], "--json", ".json"),
    (["--tokens", "whole.json", "--json", "whole.json"], "--json", "inputs"),
    (["--eigenvalues", "1.6,1.0"], "--eigenvalues", "separate numbers by spaces"),
    ([*REFERENCE, "--heads", "1,5"], "--heads", "separate numbers by spaces"),
    *[([*REFERENCE, "--initial", file], f"--initial {file}", says) for file, says in {
        "missing.npz": "No such file", "junk.npz": "format", "none.npz": "holds no arrays",
        "loss.csv": "must be an .npz", "whole.npy": "must be an .npz",
        "start-names.npz": "has no array 'v', only value, k, q",
        "start-objects.npz": "format", "start-bytes.npz": "v is not in NumPy's format",
        "start-words.npz": "q: must hold real numbers",
        "start-scalar.npz": "v must be (H,)", "start-column.npz": "got shape (4, 1)",
        "start-few.npz": "k must be (3, 4) or (3, R, 4)", "start-short.npz": "got shape (4, 3)",
        "start-rank0.npz": "got shape (4, 0, 4)", "start-ranks.npz": "q must be (4, 2, 4)",
        "start-hole.npz": "k: nan in 3, 1, 4", "start-giant.npz": "q: 1e+40 in row 1, column 1",
        "start-lame.npz": "head 2 never learns", "start-still.npz": "head 1 never learns",
        "start-heavy.npz": "must be small",
    }.items()],
    *[([*REFERENCE, "--initial", "start-good.npz", name, "1"], name, "not allowed with --initial")
      for name in ("--init", "--seed", "--heads", "--rank")],
    ([*REFERENCE, "--initial", ""], "--initial", "must name a file"),
    (["--eigenvalues", "1", "2", "--initial", "start-good.npz"], "--initial", "D = 2"),
    ([*REFERENCE, "--initial", "start-good.npz", "--context-scale", "2"], "--context-scale",
     "--overlay"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "name", "says"), MISUSE)
def test_misuse_is_one_line_and_writes_nothing(arguments, name, says, capsys):
    _write_bad_files()
    Path("folder.png").mkdir()
    before = {path: path.stat().st_mtime_ns for path in Path().iterdir()}
    outputs = (
        [] if {"--json", "--plot"} & set(arguments) else ["--json", "o.json", "--plot", "o.png"]
    )
    assert predict.main(["linear", *arguments, *outputs]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("predict.py: error: ")
    assert name in captured.err
    assert says in captured.err
    assert {path: path.stat().st_mtime_ns for path in Path().iterdir()} == before


def test_a_merged_model_is_told_where_to_go(capsys):
    assert predict.main(["merged", "--eigenvalues", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "train.py --design merged" in error
    assert "sweep.py run --merged" in error


def test_without_data_it_predicts_the_run_of_the_paper():
    assert linear()["drop_times"] == linear(*REFERENCE)["drop_times"]


def test_failed_writing_leaves_the_old_file(monkeypatch, capsys):
    Path("out.json").write_text("old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(console.os, "fsync", full)
    assert predict.main(["linear", *REFERENCE, "--json", "out.json"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert Path("out.json").read_text() == "old"
    assert [path.name for path in Path().iterdir()] == ["out.json"]


def test_interrupt_is_130(monkeypatch, capsys):
    def interrupt(_argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "body", interrupt)
    assert predict.main([]) == 130
    assert capsys.readouterr().err == "predict.py: interrupted\n"


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    def bug(_argv):
        raise ValueError("not the user's")

    monkeypatch.setattr(predict, "body", bug)
    with pytest.raises(ValueError, match="not the user's"):
        predict.main([])


def test_a_link_is_followed_when_writing():
    Path("real.json").write_text("old")
    Path("link.json").symlink_to("real.json")
    assert predict.main(["linear", *REFERENCE, "--json", "link.json"]) == 0
    assert Path("link.json").is_symlink()
    assert json.loads(Path("real.json").read_text(encoding="utf-8"))["gaussian"]

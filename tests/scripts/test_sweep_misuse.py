"""What `sweep.py` refuses, and that it says so on one line."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

import sweep as script
from sweeping import LinearCase, MergedCase, SoftmaxCase, case_of, expand
from sweeping.options import make_parser
from tests.scripts import support_sweep
from tests.scripts.support_sweep import ROOT

_in_empty_folder = support_sweep.in_empty_folder

RUN = [
    (["--eigenvalues", "0"], "--eigenvalues", "must be > 0"),
    (["--context-length", "0"], "--context-length", "must be >= 1"),
    (["--rank", "0"], "--rank", "must be >= 1"),
    (["--init", "nan"], "--init", "must be finite"),
    (["--seeds", "0"], "--seeds", "must be >= 1"),
    (["--seeds", "2", "--seed", "1"], "--seed", "not allowed with"),
    (["--seeds", "999999999"], "the grid", "cut it into several"),
    (["--workers", "0"], "--workers", "must be >= 1"),
    (["--workers", "2", "--dask", "x"], "--dask", "not allowed with"),
    (["--shard", "3/2"], "--shard", "from 1/n to n/n"),
    (["--shard", "1"], "--shard", "must look like 2/8"),
    (["--time-limit", "0"], "--time-limit", "must be > 0"),
    (["--merged", "--softmax"], "--softmax", "not allowed with"),
    (["--merged", "--rank", "1"], "--rank", "without --merged"),
    (["--merged", "--dims", "3"], "--dims", "needs --softmax"),
    (["--spectrum", "white"], "--spectrum", "needs --dimension"),
    (["--dimension", "3"], "--dimension", "needs --spectrum"),
    (["--spectrum", "white", "--eigenvalues", "1"], "--spectrum", "not allowed with"),
    (["--spectrum", "cubic", "--dimension", "3"], "--spectrum", "must be power:a"),
    (["--spectrum", "power:-1", "--dimension", "3"], "--spectrum", "must be power:a"),
    (["--spectrum", "power:nan", "--dimension", "3"], "--spectrum", "must be power:a"),
    (["--spectrum", "power:900", "--dimension", "3"], "--spectrum", "eigenvalues > 0"),
    (["--spectrum", "white", "--dimension", "99999"], "--dimension", "at most 10000"),
    (["--softmax", "--spectrum", "white"], "--spectrum", "without --softmax"),
    (["--grid", "bad.toml", "--merged"], "--merged", "not allowed with --grid"),
    (["--grid", "shape.json"], "--grid shape.json", "dimension is missing"),
    (["--dims", "3"], "--dims", "needs --softmax"),
    (["--no-flow"], "--no-flow", "needs --softmax"),
    (["--softmax", "--rank", "1"], "--rank", "without --softmax"),
    (["--softmax", "--dims", "3", "--block-dims", "3"], "--dims", "not allowed with --block-dims"),
    (["--softmax", "--tasks", "3", "--block-dims", "3"], "--tasks", "needs --dims"),
    (["--softmax", "--context-length", "2.5"], "--context-length", "whole numbers"),
    (["--softmax", "--context-length", "inf"], "--context-length", "whole numbers"),
    (["--softmax", "--dims", "3", "--tasks", "2", "--heads", "1"], "--heads", "one for each task"),
    (["--softmax", "--block-dims", "3", "--signal", "1", "2"], "the length of signal", "is 2"),
    (["--softmax", "--no-flow", "--init", "1"], "--no-flow", "--init"),
    (["--grid", "none.toml"], "--grid none.toml", "No such file"),
    (["--grid", "bad.toml"], "--grid bad.toml", "eigenvalues is missing"),
    (["--grid", "bad.json"], "--grid bad.json", "colour is not a field"),
    (["--grid", "broken.json"], "--grid broken.json", "Expecting"),
    (["--grid", "cases.jsonl"], "--grid cases.jsonl", "must end in .toml or .json"),
    (["--grid", "empty.json"], "--grid empty.json", "must hold a table"),
    (["--grid", "bad.toml", "--rank", "2"], "--rank", "not allowed with --grid"),
    (["--grid", "bad.toml", "--list", "cases.jsonl"], "--list", "not allowed with --grid"),
    (["--list", "cases.jsonl"], "--list cases.jsonl", "line 2: init must be > 0"),
    (["--list", "kind.jsonl"], "--list kind.jsonl", "line 1: kind must be one of"),
    (["--list", "empty.jsonl"], "--list empty.jsonl", "holds no case"),
    (["--out", " "], "--out", "must name a folder"),
    (["--out", "bad.toml"], "--out bad.toml", "bad.toml is a file, not a folder"),
    (["--out", "bad.toml/deeper"], "--out bad.toml/deeper", "bad.toml is a file, not a folder"),
]


@pytest.mark.parametrize(("arguments", "name", "says"), RUN)
def test_misuse_is_one_line(arguments, name, says, capsys):
    good = '{"eigenvalues": [1], "context_length": 5}\n'
    for path, text in {
        "bad.toml": "rank = 2\n", "bad.json": '{"eigenvalues": [1], "colour": 3}',
        "shape.json": '{"spectrum": "white"}', "kind.jsonl": '{"kind": ["linear"]}',
        "broken.json": "{", "empty.json": "[]", "empty.jsonl": "\n",
        "cases.jsonl": good + good.replace("5", '5, "init": 0'),
    }.items():  # fmt: skip
        Path(path).write_text(text, encoding="utf-8")
    assert script.main(["run", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sweep.py: error: ")
    assert name in error
    assert says in error
    assert error.count("\n") == 1
    assert not Path("sweep").exists()


@pytest.mark.parametrize(("arguments", "says"), [
    ([], "required: run | report"),
    (["walk"], "invalid choice"),
    (["report"], "required: DIR"),
    (["report", "none"], "there is no folder none"),
    (["report", "."], "holds no cases"),
    (["report", "some.csv"], "DIR: some.csv is a file, not a folder"),
])  # fmt: skip
def test_commands_are_checked(arguments, says, capsys):
    Path("some.csv").touch()
    assert script.main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("make", "error", "says"), [
    (lambda: LinearCase([0.0], 5), ValueError, "eigenvalues must be > 0"),
    (lambda: LinearCase([], 5), ValueError, "eigenvalues must not be empty"),
    (lambda: LinearCase([1.0], 0.5), ValueError, "context_length must be >= 1"),
    (lambda: LinearCase([1.0], True), TypeError, "context_length must hold real numbers"),
    (lambda: LinearCase([1.0], 5, heads=0), ValueError, "heads must be >= 1"),
    (lambda: LinearCase([1.0], 5, rank=1.5), TypeError, "rank must be an integer"),
    (lambda: LinearCase([1.0], 5, init=0), ValueError, "init must be > 0"),
    (lambda: LinearCase([1.0], 5, seed=-1), ValueError, "seed must be >= 0"),
    (lambda: LinearCase([1.0], 5, noise="x"), TypeError, "noise must be a real number"),
    (lambda: LinearCase([1.0], 5, duration=0), ValueError, "duration must be > 0"),
    (lambda: MergedCase([1.0], 5, heads=0), ValueError, "heads must be >= 1"),
    (lambda: MergedCase([-1.0], 5), ValueError, "eigenvalues must be > 0"),
    (lambda: MergedCase([1.0], 5, init=math.nan), ValueError, "init must be finite"),
    (lambda: case_of({"kind": "merged", "rank": 1}), ValueError, "rank is not a field"),
    (lambda: expand({"spectrum": [], "dimension": 2}), ValueError, "spectrum must have a value"),
    (lambda: expand({"spectrum": 1, "dimension": 2}), ValueError, "spectrum must be power:a"),
    (lambda: expand({"spectrum": "white", "dimension": 2.5}), TypeError, "must be an integer"),
    (lambda: expand({"spectrum": "white", "eigenvalues": [1.0]}), ValueError, "given together"),
    (lambda: expand({"spectrum": "white", "kind": "softmax"}), ValueError, "not a field of a soft"),
    (lambda: SoftmaxCase([2, 2], 5, heads=1), ValueError, "heads must be >= 2"),
    (lambda: SoftmaxCase([], 5), ValueError, "at least one task"),
    (lambda: case_of({"kind": "cubic"}), ValueError, "kind must be one of"),
    (lambda: case_of({"eigenvalues": [1.0]}), ValueError, "context_length is missing"),
    (lambda: expand({"eigenvalues": [1.0], "context_length": []}), ValueError, "empty list"),
    (lambda: expand({"seeds": 1, "seed": 2}), ValueError, "seeds and seed"),
    (lambda: expand({"seeds": "many"}), ValueError, "seeds must be a whole number"),
])  # fmt: skip
def test_cases_name_what_is_wrong(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_help_is_quick_and_complete(capsys):
    for command in ("run", "report"):
        assert script.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    parser = make_parser("sweep.py")
    for command in parser._subparsers._group_actions[0].choices.values():
        for action in command._actions:
            if action.option_strings:
                assert max(action.option_strings, key=len) in text
    code = "import sys, sweep; sweep.main(['run', '--help']); assert 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts",
                          stdout=subprocess.DEVNULL).returncode == 0  # fmt: skip

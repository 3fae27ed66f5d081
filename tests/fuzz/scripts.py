"""Hostile command lines and files for the scripts, run in process through `main(argv)`.

A script may end with 0, 1, 2 or 130; with 2 it has said one line on stderr. A traceback, a warning,
another status or a hang is a finding.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.oracle import HangError, time_limit

LIMIT = 20.0  # seconds for one command
STATUSES = (0, 1, 2, 130)

WORDS = (
    "", " ", "nan", "inf", "-inf", "-1", "0", "1e400", "1e-400", "1e308", "-0", "abc", "1,2",
    "\x00", "a\nb", "☃", "\udcff", "-", "--", "9" * 60, "0x10", "1_0", "None", "[]", "2.5", "%s",
    "{0}", ".", "x" * 5000,
)  # fmt: skip

OUTPUTS = (
    "/dev/full", "/dev/null", "/proc/x", "folder", "missing/x", "folder/x", "closed/x", "\x00",
    "x" * 300, "loop", "/dev/full/x",
)  # fmt: skip

REFERENCE = ["--eigenvalues", "0.4", "0.3", "--init", "0.01"]
TRAIN = ["--eigenvalues", "0.6", "0.4", "--context-length", "3", "--held-out", "5", "--batch", "2",
         "--steps", "2", "--learning-rate", "0.1", "--points", "2", "--out", "trained"]  # fmt: skip
SOFTMAX = ["softmax", "--block-dims", "4", "6", "--context-length", "50"]

# By script: a short valid command, its options that take a value, and those that take a file.
COMMANDS: dict[str, tuple[list[str], tuple[str, ...], tuple[str, ...]]] = {
    "verify": (["--only", "L1"], ("--only", "--seed", "--out", "--json"), ()),
    "figures": ([], ("--out", "--seed"), ()),
    "photograph": (
        ["patches.npy", "--size", "3", "--stride", "40"],
        ("--size", "--components", "--stride"),
        (),
    ),
    "predict": (
        ["linear", *REFERENCE],
        ("--eigenvalues", "--context-length", "--noise", "--task-eigenvalues", "--rank",
         "--heads", "--modes", "--init", "--seed", "--tau", "--learning-rate", "--sequences",
         "--lr", "--loss-factor", "--steps-per-row", "--context-scale", "--plot", "--json"),
        ("--covariance", "--tokens", "--overlay", "--initial"),
    ),
    "predict softmax": (
        SOFTMAX,
        ("--block-dims", "--signal", "--noise", "--context-length", "--test-length", "--heads",
         "--embedding-dim", "--init", "--lr", "--loss-factor", "--steps-per-row", "--plot",
         "--json"),
        ("--overlay",),
    ),
    "replay": (["good.npz"], ("--attention", "--steps", "--out", "--plot", "--csv", "--json"),
               ("RUN",)),
    "train": (
        TRAIN,
        ("--context-length", "--noise", "--sequences", "--batch", "--held-out", "--design",
         "--attention", "--heads", "--rank", "--init", "--seed", "--optimiser",
         "--learning-rate", "--schedule", "--warmup", "--record", "--points", "--out",
         "--checkpoint-every"),
        ("--tokens",),
    ),
}  # fmt: skip
# What a source is not read without.
BESIDE = {"--overlay": ["--lr", "0.1"]}
WRITES = {"--out", "--json", "--plot", "--csv"}
ENDINGS = {"--json": ".json", "--plot": ".png", "--csv": ".csv"}


def header(shape: str, descr: str = "'<f8'", order: str = "False") -> bytes:
    """The beginning of an .npy file that claims a shape, and holds a few bytes."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    padded = text + " " * (63 - (len(text) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode() + b"\0" * 64


def write_files() -> list[str]:
    """Make every bad file in the working folder, and return their names."""
    rng = np.random.default_rng(0)
    plain = io.BytesIO()
    np.save(plain, rng.standard_normal((20, 2)))
    whole = plain.getvalue()
    contents: dict[str, bytes] = {
        "empty": b"", "junk": rng.bytes(400), "zeros": bytes(300), "text": b"1 2\n3 x\n",
        "ragged": b"1,2\n3\n", "nan": b"1,nan\n2,3\n", "nul": b"1,\x002\n3,4\n",
        "line": b"9" * 9999, "bom": b"\xff\xfe1\x00", "latin": b"\xe9,1\n",
        "huge": b"1e999,1\n2,3\n", "one": b"1\n", "wide": b"1," * 3000 + b"1\n",
        "deep": b"(" * 3000,
        "magic": b"\x93NUMPY",
        "pk": b"PK\x03\x04",
        "cut": whole[:150], "half": whole[: len(whole) // 2], "more": whole + b"rest",
        "vast": header("(1000000000000, 1000)"), "giant": header("(4611686018427387904, 4)"),
        "negative": header("(-1, 2)"), "object": header("(2, 2)", "'|O'"),
        "record": header("(2,)", "[('a', '<f8')]"), "words": header("(2, 2)", "'<U4'"),
        "nodtype": header("(2, 2)", "'bogus'"), "noshape": header("'x'"),
        "code": header("__import__"), "scalar": header("()"), "void": header("(0, 2)"),
        "fortran": header("(10**9, 2)"),
    }  # fmt: skip
    names = []
    for name, data in contents.items():
        for ending in (".npy", ".npz", ".csv"):
            Path(name + ending).write_bytes(data)
            names.append(name + ending)
    for name, weights in {"start": 0.1, "zero": 0.0, "heavy": 1e200, "many": np.nan}.items():
        keys = np.full((4, 2, 4), weights)
        np.savez(f"{name}.npz", v=keys[:, 0, 0], k=keys, q=keys[:, :1])
        np.savez(f"flat-{name}.npz", v=keys[:, 0, 0], k=keys[:, 0], q=keys[:, 0])
        names += [f"{name}.npz", f"flat-{name}.npz"]
    for name in ("vast", "giant", "object", "negative", "cut", "junk", "empty", "noshape", "words"):
        import zipfile

        with zipfile.ZipFile(f"zip-{name}.npz", "w") as archive:
            for member in ("x", "y_q", "lr", "init_value_weight", "init_kq_weight", "v", "k", "q"):
                archive.writestr(f"{member}.npy", contents[name])
        names.append(f"zip-{name}.npz")
    good = {"x": rng.standard_normal((6, 4, 3)), "y_q": rng.standard_normal(6), "lr": 0.01,
            "init_value_weight": np.ones((3, 3)), "init_kq_weight": np.ones((3, 3)),
            "loss": np.ones(3)}  # fmt: skip
    good["x"][:, -1, -1] = 0
    np.savez("good.npz", **good)
    for member in good:
        for value in (np.nan, np.array([]), "a", 1j, 1e300, -1, np.ones((2, 2, 2, 2)), True):
            name = f"bad-{member}-{len(names)}.npz"
            np.savez(name, **{**good, member: value})
            names.append(name)
        name = f"no-{member}.npz"
        np.savez(name, **{k: v for k, v in good.items() if k != member})
        names.append(name)
    whole = Path("good.npz").read_bytes()
    for cut in (1, 30, len(whole) // 2, len(whole) - 5):
        Path(f"truncated-{cut}.npz").write_bytes(whole[:cut])
        names.append(f"truncated-{cut}.npz")
    Path("folder").mkdir(exist_ok=True)
    for ending in (".npy", ".npz", ".csv", ".png", ".json"):
        Path("folder" + ending).mkdir(exist_ok=True)
        names.append("folder" + ending)
    Path("closed").mkdir(exist_ok=True)
    os.chmod("closed", 0o500)
    for ending in ("", ".npy", ".npz", ".csv"):
        with contextlib.suppress(FileExistsError):
            os.symlink("loop" + ending, "loop" + ending)
        names.append("loop" + ending)
    return [
        *names,
        "missing.npy",
        "missing.npz",
        "missing.csv",
        "/dev/null",
        "good.npz:x",
        "good.npz:nothing",
        "good.npz:",
        ":",
        "x\x00.npy",
        "\udcff.npz",
        "a" * 300 + ".npy",
    ]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line to try, as (script, argv); call it in the folder of the files."""
    files = write_files()
    for script, (base, options, sources) in COMMANDS.items():
        yield script, base
        for option in options:
            for word in WORDS:
                yield script, [*base, option, word]
            if option in WRITES:
                for path in OUTPUTS:
                    yield script, [*base, option, path + ENDINGS.get(option, "")]
            yield script, [*base, option]
        for word in (*WORDS, "--frob", "--help=1", "@file", "-x"):
            yield script, [word]
            yield script, [*base, word]
        for source in sources:
            rest = _without_source(script, base)
            for file in files:
                given = [*rest, *BESIDE.get(source, []), source, file]
                yield script, [file] if source == "RUN" else given


def _without_source(script: str, base: list[str]) -> list[str]:
    if script == "predict":
        return ["linear"]
    return base[3:] if script == "train" else base


@contextlib.contextmanager
def without_work(module: Any) -> Iterator[None]:
    """Leave out what takes minutes and is not fuzzed: claims and figures themselves."""
    idle = {"run_claims": lambda *_: ([], False), "make": lambda *_, **__: []}
    kept = {name: getattr(module, name) for name in idle if hasattr(module, name)}
    for name in kept:
        setattr(module, name, idle[name])
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


def run(script: str, argv: list[str]) -> str | None:
    """What is wrong with how a script takes a command line, or None."""
    module: Any = importlib.import_module(script.split()[0])
    out, err = io.StringIO(), io.StringIO()
    try:
        with (
            time_limit(LIMIT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
            warnings.catch_warnings(), without_work(module),
        ):  # fmt: skip
            warnings.simplefilter("error")
            status = module.main(argv)
    except HangError:
        return f"takes longer than {LIMIT:g} s"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:150]}"
    text = err.getvalue()
    if status not in STATUSES:
        return f"exit status {status}"
    if status == 2 and (text.count("\n") != 1 or ": error: " not in text):
        return f"status 2, but stderr is {text[:200]!r}"
    return None

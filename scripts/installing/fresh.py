"""A fresh environment, and programs run in it without this one's settings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import console

LAST = 15  # lines of a failed program's output that are shown
USAGE = 4  # pytest's status for wrong arguments
PLAIN = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
VERSIONS = """
import importlib.metadata, json, platform, sys
print(json.dumps({"Python": platform.python_version()}
                 | {name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


class StepError(Exception):
    """A step failed, and has said why."""


def clean_environment(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The settings for programs in a fresh environment: nothing of Python's from outside."""
    console.single_thread_blas()
    kept = {name: value for name, value in base.items()
            if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"}  # fmt: skip
    return kept | {"PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def workplace(kind: str, root: Path, *, keep: bool) -> Iterator[Path]:
    """A temporary folder outside the clone, removed at the end unless it is to be kept."""
    with console.blame("the temporary folder"):
        place = Path(tempfile.mkdtemp(prefix=f"iclflow-{kind}-")).resolve()
    try:
        if place.is_relative_to(root.resolve()):
            raise console.InputError(f"TMPDIR: must lie outside the clone {root}, got {place}")
        yield place
    finally:
        if keep:
            console.say(f"kept       {place}")
        else:
            shutil.rmtree(place, ignore_errors=True)


def version_of(python: str) -> tuple[int, ...]:
    """Major and minor version of an interpreter."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        raise console.InputError(f"--python: cannot run {python}: {error.strerror}") from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise console.InputError(f"--python: {python} does not run: {why}")
    return tuple(int(part) for part in done.stdout.split())


def interpreter(asked: str | None, oldest: str, *, at_floor: bool) -> str:
    """The interpreter asked for, or this one; at the floor the oldest one supported."""
    least = tuple(int(part) for part in oldest.split("."))
    if asked is None:
        if not at_floor or sys.version_info[:2] == least:
            return sys.executable
        asked = f"python{oldest}"
    path = shutil.which(asked)
    if path is None:
        raise console.InputError(f"--python: there is no {asked} on PATH")
    if version_of(path) < least:
        raise console.InputError(f"--python: must be Python {oldest} or newer, got {asked}")
    return path


@dataclass(frozen=True)
class Environment:
    """A virtual environment made for this run."""

    folder: Path

    @classmethod
    def made(cls, python: str, folder: Path) -> Environment:
        """Make one with an interpreter."""
        quietly([python, "-m", "venv", str(folder)], folder.parent)
        return cls(folder)

    @property
    def python(self) -> str:
        """Its interpreter."""
        return self.program("python")

    def program(self, name: str) -> str:
        """A command installed in it."""
        inside = ("Scripts", f"{name}.exe") if os.name == "nt" else ("bin", name)
        return str(self.folder.joinpath(*inside))

    def install(self, *what: str) -> None:
        """Install from the registry that pip is configured with."""
        quietly(
            [self.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *what],
            self.folder.parent,
        )

    def versions(self, names: Sequence[str]) -> dict[str, str]:
        """What was installed, Python first."""
        out = quietly([self.python, "-c", VERSIONS, *names], self.folder.parent)
        return dict(json.loads(out))

    def behind(self, names: Sequence[str]) -> dict[str, str]:
        """Which of the packages have a newer release than was installed, and which release."""
        command = [self.python, "-m", "pip", "list", "--outdated", "--format=json"]
        out = quietly([*command, "--disable-pip-version-check"], self.folder.parent)
        wanted = {normal(name) for name in names}
        return {row["name"]: row["latest_version"] for row in json.loads(out)
                if normal(row["name"]) in wanted}  # fmt: skip

    def tests(self, folder: Path, *arguments: str) -> int:
        """Run pytest in a folder, its output shown; return our exit status."""
        done = subprocess.run(
            [self.python, *PLAIN, *arguments], cwd=folder, env=clean_environment(), check=False
        )
        return {0: 0, USAGE: console.MISUSE}.get(done.returncode, 1)


def normal(name: str) -> str:
    """A package's name as registries compare it.

    >>> normal("Array_API.strict")
    'array-api-strict'
    """
    return name.lower().replace("_", "-").replace(".", "-")


def quietly(command: Sequence[str], folder: Path) -> str:
    """Run a program and return its output; if it fails, show the end of what it said and raise."""
    return both(command, folder)[0]


def both(command: Sequence[str], folder: Path) -> tuple[str, str]:
    """As `quietly`, with what went to stderr too."""
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        for line in (done.stdout + done.stderr).splitlines()[-LAST:]:
            print(f"  {line}", file=sys.stderr)
        shown = " ".join(part for part in command[1:4] if "\n" not in part)
        raise StepError(f"{Path(command[0]).name} {shown} ended with status {done.returncode}")
    return done.stdout, done.stderr

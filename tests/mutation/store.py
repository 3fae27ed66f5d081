"""What a run leaves for the next: verdicts, the tests' times, and the list of equivalent mutants.

Verdicts stand in a cache folder outside the project, one file for each module, so that a run that
was stopped goes on where it was. A kill is believed while the module and the killing test's file
are the same; a survival while all of the group's tests are.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import os
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.mutation import scope

EQUIVALENT = Path(__file__).parent / "equivalent"


class Verdict(enum.StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMEOUT = "timeout"
    SURVIVED = "survived"
    NO_TESTS = "no tests"
    UNDECIDED = "undecided"  # the machine stopped it


@dataclass(frozen=True)
class Judged:
    """A verdict on the mutant with this key; a kill names its test, with its file's digest."""

    key: str
    verdict: Verdict
    killer: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Seen:
    """A test without a mutation: whether it passes, its processor time, what it reaches."""

    passed: bool
    seconds: float
    reached: list[str]


def cache_folder() -> Path:
    """Where results are kept: below ``$XDG_CACHE_HOME``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "iclflow-mutation"


def digest(parts: Iterable[bytes]) -> str:
    """A short digest of some bytes."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]


@functools.cache
def file_digest(node: str) -> str:
    """The digest of the file in which a test stands, as it was when first asked."""
    path = scope.ROOT / node.split("::")[0]
    return digest([path.read_bytes()]) if path.is_file() else ""


def _python(paths: Iterable[str]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        at = scope.ROOT / path
        found += sorted(at.rglob("*.py")) if at.is_dir() else [at] if at.is_file() else []
    return found


@functools.cache
def suite_digest(group: scope.Group) -> str:
    """The digest of all of a group's tests and of the modules that they judge."""
    paths = [*_python([*group.tests, *group.modules]), Path(__file__).parents[1] / "conftest.py"]
    return digest(path.read_bytes() for path in paths)


class Results:
    """The verdicts on one module's mutants."""

    def __init__(self, module: str, group: scope.Group, folder: Path) -> None:
        self._path = folder / f"{module.removesuffix('.py').replace('/', '.')}.json"
        self._source = digest([(scope.ROOT / module).read_bytes()])
        self._suite = suite_digest(group)
        self._all: dict[str, dict[str, str]] = _read(self._path)

    def known(self) -> dict[str, Judged]:
        """Verdicts of earlier runs, to be believed or not."""
        return {
            key: Judged(key, Verdict(v["verdict"]), v["killer"], v["digest"])
            for key, v in self._all.items()
        }

    def believed(self) -> dict[str, Judged]:
        """Verdicts that still hold."""
        return {key: j for key, j in self.known().items() if self._holds(j, self._all[key])}

    def _holds(self, judged: Judged, stored: dict[str, str]) -> bool:
        if judged.verdict is Verdict.UNDECIDED or stored["source"] != self._source:
            return False
        if judged.killer and judged.digest:
            return judged.digest == file_digest(judged.killer)
        return stored["suite"] == self._suite

    def add(self, judged: Judged) -> None:
        """Keep a verdict."""
        self._all[judged.key] = asdict(judged) | {"suite": self._suite, "source": self._source}

    def save(self) -> None:
        """Write the verdicts."""
        _write(self._path, self._all)


class Baseline:
    """What the tests of each file do without a mutation.

    It holds while the file and the modules that its tests reach are the same.
    """

    def __init__(self, group: scope.Group, folder: Path) -> None:
        self._path = folder / f"baseline.{group.name}.json"
        self._all: dict[str, Any] = _read(self._path)

    def has(self, name: str) -> bool:
        """Whether a file was measured as it is."""
        files = self._all.get(name, {}).get("files")
        return bool(files) and all(file_digest(path) == was for path, was in files.items())

    def of(self, name: str) -> dict[str, Seen]:
        """The tests of a file."""
        return {node: Seen(*seen) for node, seen in self._all[name]["tests"].items()}

    def put(self, name: str, tests: dict[str, Seen]) -> None:
        """Keep what a file's tests do."""
        plain = {node: (s.passed, s.seconds, s.reached) for node, s in tests.items()}
        reached = {function.split(":")[0] for s in tests.values() for function in s.reached}
        files = {path: file_digest(path) for path in {name, *reached}}
        self._all[name] = {"files": files, "tests": plain}
        _write(self._path, self._all)


@dataclass(frozen=True)
class Equivalent:
    """A listed mutant that computes the same, with the reason."""

    function: str
    before: str
    after: str
    at: int
    reason: str

    @property
    def name(self) -> tuple[str, str, str, int]:
        """What identifies the mutant within its module."""
        return self.function, self.before, self.after, self.at


def equivalents(module: str, folder: Path | None = None) -> list[Equivalent]:
    """The equivalent mutants listed for a module.

    Raises
    ------
    ValueError
        If an entry has no reason, or a field that means nothing.
    """
    path = (folder or EQUIVALENT) / f"{module.removesuffix('.py').replace('/', '.')}.toml"
    if not path.exists():
        return []
    found = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", []):
        unknown = set(entry) - {"function", "before", "after", "at", "reason"}
        reason = str(entry.get("reason", "")).strip()
        if unknown or not {"function", "before", "after"} <= set(entry) or len(reason) < 20:
            raise ValueError(f"{path.name}: an entry must have function, before, after (and at, if "
                             f"not 1) and a reason in a sentence, got {entry}")  # fmt: skip
        before, after = entry["before"].strip("\n"), entry["after"].strip("\n")
        found.append(Equivalent(entry["function"], before, after, int(entry.get("at", 1)), reason))
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _write(path: Path, data: dict[str, Any]) -> None:
    from numerics.files import written_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as temporary:
        temporary.write_text(json.dumps(data), encoding="utf-8")

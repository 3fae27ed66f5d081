"""What is installed: a clean copy of the files that git has, and the floors in `pyproject.toml`."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import console

ROOT = Path(__file__).parents[2]
FLOOR = re.compile(r"(?P<name>[\w.-]+)(\[[\w,. -]+\])?\s*>=\s*(?P<version>\d+(\.\d+)*)")
PYTHON = re.compile(r">=\s*(?P<version>\d+\.\d+)")


@dataclass(frozen=True)
class Project:
    """What `pyproject.toml` states."""

    name: str
    version: str
    python: str  # the oldest, as "3.11"
    dependencies: tuple[str, ...]
    extras: dict[str, tuple[str, ...]]

    def requirements(self, extras: Iterable[str] = ()) -> list[str]:
        """Direct requirements with those of some extras, as written."""
        return [*self.dependencies, *(line for extra in extras for line in self.extras[extra])]


def project(root: Path = ROOT) -> Project:
    """Read `pyproject.toml`."""
    with (root / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)["project"]
    python = PYTHON.fullmatch(table["requires-python"])
    if python is None:
        raise console.InputError(
            f"pyproject.toml: requires-python must be a floor such as >=3.11, "
            f"got {table['requires-python']}"
        )
    extras = {name: tuple(lines) for name, lines in table["optional-dependencies"].items()}
    return Project(
        table["name"], table["version"], python["version"], tuple(table["dependencies"]), extras
    )


def floors(requirements: Iterable[str]) -> list[str]:
    """Pin each requirement to its floor.

    >>> floors(["numpy>=2.0", "jax[cpu]>=0.4.30"])
    ['numpy==2.0.*', 'jax==0.4.30.*']
    """
    pins = []
    for requirement in requirements:
        found = FLOOR.fullmatch(requirement.strip())
        if found is None:
            raise console.InputError(
                f"pyproject.toml: {requirement!r} states no floor; write it as name>=version"
            )
        pins.append(f"{found['name']}=={found['version']}.*")
    return pins


def names(requirements: Iterable[str]) -> list[str]:
    """What is required, without versions.

    >>> names(["numpy>=2.0", "types-tqdm"])
    ['numpy', 'types-tqdm']
    """
    return [re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]
            for requirement in requirements]  # fmt: skip


def git(root: Path, *arguments: str) -> bytes:
    """What a git command prints."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True)
    except FileNotFoundError:
        raise console.InputError("needs git to tell which files are tracked") from None
    except subprocess.CalledProcessError as error:
        raise console.InputError(
            f"needs a clone of the repository: git {arguments[0]}: "
            f"{console.one_line(error.stderr.decode(errors='replace'))}"
        ) from None
    return done.stdout


def copy_of_head(root: Path, target: Path) -> list[str]:
    """Copy what the last commit holds; return the files."""
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "HEAD"))) as archive:
        archive.extractall(target, filter="data")
    return files_in(target)


def copy_of_tree(root: Path, target: Path, *, untracked: bool = False) -> list[str]:
    """Copy the tracked files as they are now; with `untracked` also new ones not ignored."""
    new = ["--others", "--exclude-standard"] if untracked else []
    listed = git(root, "ls-files", "-z", "--cached", "--deduplicate", *new).decode()
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():  # not one deleted since
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    return files_in(target)


def files_in(folder: Path) -> list[str]:
    """All files below a folder, by their relative paths."""
    return sorted(path.relative_to(folder).as_posix()
                  for path in folder.rglob("*") if path.is_file())  # fmt: skip

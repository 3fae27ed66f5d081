"""From an sdist and the wheel built of it: what they hold, and what an installation gives."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import console
from installing.fresh import Environment, StepError, both, quietly
from installing.source import Project

PACKAGES = ("analytic", "gpu", "numerics")
PROPERTIES = "iclflow_properties"
TYPED = "py.typed"
GENERATED = re.compile(r"PKG-INFO|setup\.cfg|[\w-]+\.egg-info/.*")
WARNING = re.compile(r"^.*Warning\b.*$", re.MULTILINE)  # not "warning: no previously-included …"
FACTS = """
import importlib, importlib.metadata, json, pathlib, sys
folders = {name: str(pathlib.Path(importlib.import_module(name).__file__).parent)
           for name in sys.argv[2:]}
distribution = importlib.metadata.distribution(sys.argv[1])
print(json.dumps({
    "prefix": sys.prefix, "version": distribution.version, "folders": folders,
    "typed": [name for name in folders if pathlib.Path(folders[name], "py.typed").is_file()],
    "metadata": sorted(set(distribution.metadata)),
    "needless": sorted({"hypothesis", "pytest", "torch"} & set(sys.modules)),
}))
"""
METADATA = (
    "Author", "Classifier", "Description-Content-Type", "Keywords", "License-Expression",
    "License-File", "Project-URL", "Requires-Python", "Summary",
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """The two archives."""

    sdist: Path
    wheel: Path


def build(tools: Environment, source: Path, out: Path) -> Built:
    """Build the sdist, and the wheel from it; a warning fails."""
    said = both([tools.python, "-m", "build", "--outdir", str(out), str(source)], source.parent)
    refuse([f"the build warns: {console.one_line(line)}"
            for line in WARNING.findall("\n".join(said))])  # fmt: skip
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel)


def check_metadata(tools: Environment, source: Path, built: Built) -> None:
    """Let twine read both archives, and cffconvert `CITATION.cff`."""
    archives = [str(built.sdist), str(built.wheel)]
    quietly([tools.python, "-m", "twine", "check", "--strict", *archives], source)
    quietly([tools.program("cffconvert"), "--validate", "-i", "CITATION.cff"], source)


def check_archives(built: Built, tracked: Iterable[str]) -> None:
    """The sdist holds the tracked files, the wheel our packages and nothing beside them."""
    with tarfile.open(built.sdist) as archive:
        members = [name.partition("/")[2] for name in archive.getnames()
                   if archive.getmember(name).isfile()]  # fmt: skip
    with zipfile.ZipFile(built.wheel) as wheel:
        refuse([*sdist_problems(members, tracked), *wheel_problems(wheel.namelist())])


def sdist_problems(members: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """What an sdist lacks of the tracked files, and has besides.

    >>> sdist_problems(["PKG-INFO", "a.py", "a.pyc"], ["a.py", "tests/b.py"])
    ['the sdist lacks tests/b.py', 'the sdist has a.pyc, which git does not track']
    """
    held = {name for name in members if not GENERATED.fullmatch(name)}
    wanted = set(tracked)
    return [
        *(f"the sdist lacks {name}" for name in sorted(wanted - held)),
        *(f"the sdist has {name}, which git does not track" for name in sorted(held - wanted)),
    ]


def wheel_problems(members: Sequence[str]) -> list[str]:
    """Which top-level names a wheel lacks or should not have, and packages without types."""
    tops = {name.split("/")[0] for name in members}
    ours = {top for top in tops if not top.endswith(".dist-info")}
    wanted = {*PACKAGES, PROPERTIES}
    return [
        *(f"the wheel lacks {name}" for name in sorted(wanted - ours)),
        *(f"the wheel would install {name} at the top level" for name in sorted(ours - wanted)),
        *(f"the wheel lacks {name}/{TYPED}" for name in PACKAGES
          if name in ours and f"{name}/{TYPED}" not in members),
    ]  # fmt: skip


def check_installed(environment: Environment, project: Project, folder: Path) -> None:
    """Import the packages, warnings being errors, in a folder that is not the clone."""
    command = [environment.python, "-W", "error", "-c", FACTS, project.name, *PACKAGES]
    refuse(installed_problems(json.loads(quietly(command, folder)), project))


def installed_problems(facts: dict[str, Any], project: Project) -> list[str]:
    """What is wrong with an installation, from what it says of itself."""
    found = []
    if facts["version"] != project.version:
        found.append(f"installed is version {facts['version']}, not {project.version}")
    for name, folder in facts["folders"].items():
        if not Path(folder).is_relative_to(facts["prefix"]):
            found.append(f"{name} is imported from {folder}, not from the environment")
        if name not in facts["typed"]:
            found.append(f"{name} is installed without {TYPED}")
    found += [f"the import needs {name}" for name in facts["needless"]]
    return found + [
        f"the metadata has no {key}" for key in METADATA if key not in facts["metadata"]
    ]


def refuse(problems: Sequence[str]) -> None:
    """Say what is wrong, if something is."""
    for problem in problems:
        console.say(f"wrong      {problem}")
    if problems:
        raise StepError(f"{len(problems)} wrong")

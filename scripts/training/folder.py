"""The folder of a run: which run it holds, and how far that has come."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import console
from console import flag
from numerics.training.checkpoint import Checkpoint, load


@dataclass(frozen=True)
class Folder:
    """Where a run is kept.

    `step` is that of the checkpoint, None without one, and `seconds` the time trained up to it, as
    far as it was noted; `over` says that nothing is left to train.
    """

    path: Path
    step: int | None = None
    seconds: float = 0.0
    over: bool = False

    @property
    def checkpoint(self) -> Path:
        """Checkpoint and record."""
        return self.path / "run.npz"

    @property
    def csv(self) -> Path:
        """The curve."""
        return self.path / "run.csv"

    @property
    def json(self) -> Path:
        """All numbers, and the settings by which the run is known."""
        return self.path / "run.json"

    @property
    def picture(self) -> Path:
        """The picture."""
        return self.path / "run.png"

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [self.checkpoint, self.csv, self.json, self.picture]


def open_folder(name: str, settings: dict[str, Any]) -> Folder:
    """Make the folder, or find the same run in it.

    Raises
    ------
    console.InputError
        If it cannot be written, or holds another run or a damaged checkpoint.
    """
    folder = Folder(Path(name))
    console.make_folder(name, files=[file.name for file in folder.files])
    with console.blame("--out"):
        found = load(folder.checkpoint)
    if found is None:
        return folder
    noted = _noted(folder.json)
    _refuse_another(noted.get("settings"), settings, name)
    seconds = noted.get("seconds")
    return Folder(
        folder.path,
        found.progress.step,
        float(seconds) if isinstance(seconds, int | float) else 0.0,
        found.progress.status != "running",
    )


def reached(folder: Folder) -> Checkpoint | None:
    """The checkpoint as it is now."""
    with console.blame("--out"):
        return load(folder.checkpoint)


def _noted(path: Path) -> dict[str, Any]:
    """What was written beside the checkpoint; nothing where it is lost, as the library checks."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _refuse_another(theirs: Any, ours: dict[str, Any], name: str) -> None:
    if not isinstance(theirs, dict):
        return
    differing = [key for key in ours if key in theirs and theirs[key] != ours[key]]
    if not differing:
        return
    key = differing[0]
    others = f" (and in {', '.join(map(flag, differing[1:]))})" * (len(differing) > 1)
    raise console.InputError(
        f"--out: {name} holds another run: its {flag(key)} is {_text(theirs[key])}, not "
        f"{_text(ours[key])}{others}; choose another --out or remove its run.npz"
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return "none" if value is None else str(value)

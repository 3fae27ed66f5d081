"""The gallery: small copies of what `figures.py` drew."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import console
from documents.page import capital
from drawing import CATALOGUE

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "figures"
WIDTH = 800  # pixels
LIMIT = 60_000  # bytes
COLOURS = (256, 128, 64, 32, 16)  # tried in turn, until the picture is small enough
LEFT_OUT = ("cover",)  # it heads the README


def names() -> list[str]:
    """The figures of the gallery."""
    return [name for name in CATALOGUE if name not in LEFT_OUT]


def gallery(_: str, __: Any = None) -> str:
    """One heading, picture (where there is a copy of it) and command for each figure."""
    pieces = []
    for name in names():
        pieces.append(f"### {name}\n\n{capital(CATALOGUE[name][1])}.")
        if (FOLDER / f"{name}.png").is_file():
            pieces.append(f"![{name}](figures/{name}.png)")
        pieces.append(f"`python scripts/figures.py {name}`")
    return "\n\n".join(pieces)


def shrink(source: Path, target: Path) -> int:
    """Write a copy of a PNG in fewer pixels and colours; return its size in bytes."""
    from PIL import Image

    with Image.open(source) as image:
        picture = image.convert("RGB")
    height = round(picture.height * WIDTH / picture.width)
    picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    for colours in COLOURS:
        buffer = io.BytesIO()
        few = picture.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LIMIT:
            console.write_atomically(target, buffer.getvalue())
            return buffer.tell()
    raise console.InputError(f"--figures: {source.name} stays above {LIMIT} bytes")


def shrink_all(folder: str) -> None:
    """Take the figures of the gallery that the folder holds, which `figures.py` wrote."""
    found = [name for name in names() if (Path(folder) / f"{name}.png").is_file()]
    if not found:
        raise console.InputError(f"--figures: {folder} holds no figure; scripts/figures.py draws")
    FOLDER.mkdir(exist_ok=True)
    for name in found:
        size = shrink(Path(folder) / f"{name}.png", FOLDER / f"{name}.png")
        console.progress(f"{name} {size} bytes")

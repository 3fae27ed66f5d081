"""How results are written down: numbers, tables and notes for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import console


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned to the right under their heads."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))

    return "\n".join([console.paint(line(head), "1"), *(line(row) for row in rows)])


def number(value: float | None, digits: int = 6) -> str:
    """A number in few characters; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return "never" if math.isinf(value) else f"{value:#.{digits}g}".rstrip(".")


def note(text: str) -> str:
    """A reservation."""
    return console.paint("note: ", "33") + text


def json_text(content: Any) -> str:
    """JSON in which every number that is not finite is null; ASCII, for file names of any bytes."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """None in the place of every number that JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""What a run keeps: rows as they are finished, then RESULTS.json and RESULTS.md together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarking.page import markdown
from numerics.files import written_atomically

PARTIAL = ".benchmark.partial.json"


class Store:
    """The folder that RESULTS go into.

    Rows of an interrupted run are taken up again by the same command on the same machine with the
    same versions, for only such rows can stand in one table.
    """

    def __init__(self, folder: Path | None, head: dict[str, Any]) -> None:
        self.folder, self.head = folder, head
        self.rows: dict[str, dict[str, Any]] = {}
        self.ceilings: dict[str, float] | None = None
        if folder is not None and (folder / PARTIAL).exists():
            try:
                kept = json.loads((folder / PARTIAL).read_text(encoding="utf-8"))
                if kept["head"] == head:
                    self.ceilings = kept["ceilings"]
                    self.rows = {row["name"]: row for row in kept["rows"]}
            except (ValueError, KeyError, TypeError):
                pass  # not what we wrote: measured again, and written over

    def keep(self, row: dict[str, Any]) -> None:
        """Remember a finished row, on disk if there is a folder."""
        self.rows[row["name"]] = row
        if self.folder is not None:
            rows = list(self.rows.values())
            kept = {"head": self.head, "ceilings": self.ceilings, "rows": rows}
            _write(self.folder / PARTIAL, dumped(kept))

    def results(self, date: str, names: list[str]) -> dict[str, Any]:
        """All of it, rows in the order of the list."""
        rows = [self.rows[name] for name in names]
        return {**self.head, "date": date, "ceilings": self.ceilings, "rows": rows}

    def finish(self, results: dict[str, Any]) -> None:
        """Write the results and forget what was kept on the way."""
        if self.folder is None:
            return
        _write(self.folder / "RESULTS.json", dumped(results))
        _write(self.folder / "RESULTS.md", markdown(results))
        (self.folder / PARTIAL).unlink(missing_ok=True)


def dumped(value: Any) -> str:
    """JSON with a line for each item."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

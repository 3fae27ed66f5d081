"""Tables of claims from a report of `verify.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import console
from documents.page import capital, markdown_text
from verifying.text import number, short

MARKS = {"holds": "holds", "narrower": "**narrower**", "fails": "**FAILS**"}


class Report:
    """The folder that `verify.py` writes: its records, and what its run depended on."""

    def __init__(self, folder: str | Path) -> None:
        with console.blame("--report"):
            text = (Path(folder) / "report.json").read_text(encoding="utf-8")
            about = (Path(folder) / "report.md").read_text(encoding="utf-8")
            self.records: list[dict[str, Any]] = json.loads(text)
        self.facts = dict(re.findall(r"^- (run|seed|versions): (.*)$", about, re.MULTILINE))

    def origin(self) -> str:
        """The command that measured the numbers, and on what."""
        seed = self.facts.get("seed", "0")
        words = ["python scripts/verify.py"]
        words += ["--full"] if self.facts.get("run") == "full" else []
        words += ["--seed", seed] if seed != "0" else []
        return f"Measured by `{' '.join(words)}`, {self.facts.get('versions', '')}."

    def table(self, letter: str, _: Any = None) -> str:
        """One row for each claim of a letter, or for each claim."""
        rows = [r for r in self.records if r["id"].startswith(letter)]
        lines = [
            self.origin(),
            "",
            "| id | statement | verdict | predicted | measured | error | tolerance |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for r in rows:
            numbers = [number(r["predicted"]), number(r["measured"])]
            numbers += [short(r["error"]), short(r["tolerance"])]
            cells = [r["id"], markdown_text(r["statement"]), MARKS[r["verdict"]]]
            lines.append("| " + " | ".join(cells + [markdown_text(n) for n in numbers]) + " |")
        return "\n".join(lines)

    def checks(self, name: str, _: Any = None) -> str:
        """Statement, regime and note of one claim, and all its checks, folded away."""
        record = next((r for r in self.records if r["id"] == name), None)
        if record is None:
            raise console.InputError(f"--report: it holds no claim {name}")
        lines = [
            f"> **{name}, {record['verdict']}.** {markdown_text(capital(record['statement']))}.",
            f"> Regime: {markdown_text(capital(record['regime']))}.",
            "",
        ]
        if record["note"]:
            lines += [f"{markdown_text(capital(record['note']))}.", ""]
        count = len(record["checks"])
        lines += [
            f"<details><summary>{count} checks of {name}</summary>",
            "",
            self.origin(),
            "",
            "| check | predicted | measured | error | tolerance | |",
            "| --- | --- | --- | --- | --- | --- |",
            *map(check_row, record["checks"]),
            "",
            "</details>",
        ]
        return "\n".join(lines)


def check_row(check: dict[str, Any]) -> str:
    """One check as a row of a table."""
    word = "holds" if check["holds"] else "fails beyond the regime" if check["beyond"] else "FAILS"
    cells = [
        check["quantity"],
        number(check["predicted"]),
        number(check["measured"]),
        short(check["error"]),
        short(check["tolerance"]),
        word,
    ]
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"

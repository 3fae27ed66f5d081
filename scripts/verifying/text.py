"""Records as lines of a terminal and as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from verifying.record import CheckRecord, Record

ROOM = 24  # columns that a statement needs to stay on the line of its numbers
MARKS = {"holds": "holds", "narrower": "narrower", "fails": "FAILS"}


def number(value: Any) -> str:
    """A number, or a short list of them, for a reader."""
    if value is None:
        return "–"
    if isinstance(value, list):
        if len(value) > 1 and all(v == value[0] for v in value):
            return f"{len(value)} × {number(value[0])}"
        shown = ", ".join(number(v) for v in value[:8])
        return f"[{shown}{', …' if len(value) > 8 else ''}]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}"


def short(value: float | None) -> str:
    """An error or a tolerance in two digits."""
    if value is None:
        return "–"
    return "0" if value == 0 else f"{value:.1e}"


def figures_of(record: Record) -> tuple[str, str, str, str]:
    """Prediction, measurement, error and tolerance of the check that comes closest to failing."""
    main = record.decisive
    if main is None:
        return ("–",) * 4
    return number(main.predicted), number(main.measured), short(main.error), short(main.tolerance)


def terminal_row(record: Record, width: int) -> str:
    """A row of the live table: one line, or two on a narrow terminal."""
    predicted, measured, error, tolerance = figures_of(record)
    head = f"{record.id:<4} {MARKS[record.verdict]:<9}{predicted[:11]:>11} {measured[:11]:>11} "
    head += f"{error:>8} {tolerance:>9} {record.seconds:>5.1f}s  "
    if record.controls_flip is not None:
        count = sum(bool(check.flips) for check in record.checks)
        head += f"{count:>3}/{len(record.checks):<3} "
    text = record.statement if record.decisive else record.note
    room = width - len(head)
    if room < ROOM:
        head, room = head.rstrip() + "\n" + " " * 5, width - 5
    return head + (text if len(text) <= room else text[: room - 1] + "…")


def terminal_header(controls: bool) -> str:
    """The header of the live table."""
    flips = "flipped " if controls else ""
    return (
        f"{'id':<4} {'verdict':<9}{'predicted':>11} {'measured':>11} {'error':>8} "
        f"{'tolerance':>9} {'time':>6}  {flips}statement"
    )


def summary(records: Sequence[Record]) -> str:
    """How many claims hold, and how many controls flipped."""
    verdicts = Counter(record.verdict for record in records)
    parts = [f"{verdicts[v]} {word}" for v, word in
             (("holds", "hold"), ("narrower", "hold in a narrower regime"), ("fails", "fail"))
             if verdicts[v] or v != "narrower"]  # fmt: skip
    line = f"{len(records)} claim{'s' if len(records) != 1 else ''}: " + ", ".join(parts)
    checks = [c for r in records for c in r.checks if c.flips is not None]
    if checks:
        line += f"; {sum(bool(c.flips) for c in checks)} of {len(checks)} negative controls flip"
    return line


def markdown(records: Sequence[Record], settings: dict[str, str]) -> str:
    """The whole report as Markdown; pictures are files beside it."""
    lines = ["# Claims", "", summary(records) + ".", ""]
    lines += [f"- {key}: {value}" for key, value in settings.items()]
    lines += ["", "| id | source | kind | statement | predicted | measured | error | tolerance "
              "| verdict |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for r in records:
        lines.append(
            f"| [{r.id}](#{r.id.lower()}) | {cell(r.source)} | {r.kind} | {cell(r.statement)} "
            f"| {' | '.join(figures_of(r))} | {r.verdict} |"
        )
    for r in records:
        lines += _markdown_section(r)
    return "\n".join(lines) + "\n"


def _markdown_section(r: Record) -> list[str]:
    lines = ["", f"## {r.id}", "", f"{r.statement} ({r.source}; {r.kind}).", ""]
    lines += [f"Regime: {r.regime}.", ""] + ([r.note + ".", ""] if r.note else [])
    if r.picture:
        lines += [f"![{r.id}](pictures/{r.id}.svg)", ""]
    lines += ["| check | predicted | measured | error | tolerance | why this tolerance | |",
              "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for c in r.checks:
        lines.append(
            f"| {cell(c.quantity)} | {number(c.predicted)} | {number(c.measured)} "
            f"| {short(c.error)} | {short(c.tolerance)} | {cell(c.because)} | {outcome(c)} |"
        )
    return lines


def outcome(check: CheckRecord) -> str:
    """Whether a check holds and, where run, whether its control flips it."""
    word = "holds" if check.holds else ("fails beyond the regime" if check.beyond else "fails")
    if check.flips is None:
        return word
    return word + (", control flips" if check.flips else ", CONTROL DOES NOT FLIP")


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|")

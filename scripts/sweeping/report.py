"""What a sweep showed: a table over seeds, one row a case as CSV, and pictures."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import console
from results import number, table

from . import spectra
from .case import KINDS
from .rows import ARRAYS, NUMBERS, Row, rows_of
from .store import FINISHED

MOST_ROWS = 40  # of a table on the terminal


def write(folder: str, *, plots: bool = True) -> int:
    """Print the tables, write CSV and pictures into ``report`` within the folder."""
    rows, unread = rows_of(folder)
    target = Path(folder) / "report"
    with console.blame("DIR"):
        target.mkdir(exist_ok=True)
    written: list[Path] = []
    for kind in KINDS:
        chosen = [row for row in rows if row.kind == kind]
        if not chosen:
            continue
        console.say("\n".join(lines(chosen)) + "\n")
        console.write_atomically(target / f"{kind}.csv", to_csv(chosen))
        written.append(target / f"{kind}.csv")
        if plots:
            from . import picture

            written += picture.save(chosen, target)
    for text in unread:
        console.say(f"not read: {text}")
    if written:
        console.say("wrote " + ", ".join(str(path) for path in written))
    return 0


# The table

Column = tuple[str, Callable[[list[Row]], str]]


def lines(rows: list[Row]) -> list[str]:
    """One line for each setting, over its seeds; parameters that never vary stand on top."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.setting("seed"), []).append(row)
    names = [f.name for f in fields(rows[0].case) if f.name != "seed"]
    values = list(zip(*groups, strict=True))
    fixed = [f"{name} {_text(column[0], name)}" for name, column in zip(names, values, strict=True)
             if len(set(column)) == 1 and column[0] is not None]  # fmt: skip
    varied = [i for i, column in enumerate(values) if len(set(column)) > 1]
    columns = _columns(rows)
    head = [names[i] for i in varied] + ["cases", "finished"] + [name for name, _ in columns]
    body = [
        [_text(setting[i], names[i]) for i in varied]
        + [str(len(group)), str(sum(row.status == FINISHED for row in group))]
        + [show(group) for _, show in columns]
        for setting, group in groups.items()
    ]
    cut = [f"and {len(body) - MOST_ROWS} rows more, in the CSV"] * (len(body) > MOST_ROWS)
    kind = {"linear": "ATTN_S", "merged": "ATTN_M", "softmax": "softmax heads"}[rows[0].kind]
    return [f"{kind}: " + ", ".join(fixed) + "; medians over seeds",
            table(head, body[:MOST_ROWS]), *cut]  # fmt: skip


def _columns(rows: list[Row]) -> list[Column]:
    if rows[0].kind != "softmax":
        missed: Column = ("drops missed", _sum("missed_drops"))
        return [
            ("last drop", _median("last_drop")),
            ("drops off by", _percent("worst_drop_error")),
            *([missed] if any(row.numbers["missed_drops"] > 0 for row in rows) else []),
            ("plateaus off by", _percent("worst_plateau_error")),
            ("final over minimum", _percent("excess")),
            ("drift", _largest("drift")),
        ]
    columns: list[Column] = [
        ("limit, formula", _median("limit_loss")),
        ("exact", _median("exact_loss")),
        ("exact over formula", _percent("formula_gap")),
        ("over best heads", _percent("optimum_gap")),
    ]
    if any(math.isfinite(row.numbers["final_loss"]) for row in rows):
        columns += [("flow over formula", _percent("excess")), ("drift", _largest("drift"))]
    return columns


def _finite(name: str, group: Iterable[Row]) -> list[float]:
    return [x for row in group if math.isfinite(x := row.numbers[name])]


def _median(name: str) -> Callable[[list[Row]], str]:
    def show(group: list[Row]) -> str:
        values = _finite(name, group)
        return number(float(np.median(values)), 5) if values else "–"

    return show


def _percent(name: str) -> Callable[[list[Row]], str]:
    def show(group: list[Row]) -> str:
        values = np.abs(_finite(name, group)) if name.startswith("worst") else _finite(name, group)
        return f"{100 * float(np.median(values)):.2g} %" if len(values) else "–"

    return show


def _sum(name: str) -> Callable[[list[Row]], str]:
    return lambda group: f"{sum(_finite(name, group)):g}"


def _largest(name: str) -> Callable[[list[Row]], str]:
    def show(group: list[Row]) -> str:
        values = _finite(name, group)
        return f"{max(values):.1e}" if values else "–"

    return show


def _text(value: Any, name: str) -> str:
    if name == "eigenvalues":
        return spectra.text(value)
    if isinstance(value, tuple):
        same = len(value) > 1 and len(set(value)) == 1
        return f"{len(value)}×{value[0]:g}" if same else " ".join(f"{x:g}" for x in value)
    return "–" if value is None else f"{value:g}"


# CSV


def to_csv(rows: list[Row]) -> str:
    """One row for each case: its key, its parameters, status, numbers; lists within a cell."""
    kind = rows[0].kind
    names = [f.name for f in fields(rows[0].case)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    derived = [] if kind == "softmax" else ["dimension", "spectrum"]
    writer.writerow(["key", *names, *derived, "status", *NUMBERS[kind], *ARRAYS[kind]])
    for row in rows:
        writer.writerow([
            row.case.key, *(_cell(getattr(row.case, name)) for name in names),
            *(_shape(row.case) if derived else ()), row.status,
            *(_cell(row.numbers[name]) for name in NUMBERS[kind]),
            *(_cell(tuple(row.arrays.get(name, ()))) for name in ARRAYS[kind]),
        ])  # fmt: skip
    return text.getvalue()


def _shape(case: Any) -> list[str]:
    return [str(len(case.eigenvalues)), spectra.rule_of(case.eigenvalues) or ""]


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(_cell(x) for x in value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value)

"""What a sweep showed: a table over seeds, one row a case as CSV, and pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

import console
from prediction.report import number, table

from . import spectra
from .case import KINDS, AnyCase
from .store import FINISHED, Record, Store

MOST_ROWS = 40  # of a table on the terminal
# Numbers of a record in the CSV, and arrays, whose entries stand in one cell.
_LINEAR = ("final_loss", "minimum_loss", "excess", "worst_plateau_error", "worst_drop_error",
           "missed_drops", "last_drop", "drift", "energy_gap", "evaluations")  # fmt: skip
_LISTS = ("plateaus", "plateaus_predicted", "drops", "drops_predicted", "drops_found",
          "heights_found")  # fmt: skip
NUMBERS = {
    "linear": _LINEAR, "merged": _LINEAR,
    "softmax": ("limit_loss", "exact_loss", "optimum_loss", "formula_gap", "optimum_gap",
                "final_loss", "excess", "last_drop", "drift", "energy_gap", "evaluations"),
}  # fmt: skip
ARRAYS = {
    "linear": _LISTS, "merged": _LISTS,
    "softmax": ("squared_norms", "drops", "drops_found", "heights_found"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Row:
    """A record without its curve."""

    case: AnyCase
    status: str
    numbers: dict[str, float]
    arrays: dict[str, list[float]]

    @property
    def kind(self) -> str:
        """``"linear"``, ``"merged"`` or ``"softmax"``."""
        return self.case.kind

    def setting(self, *left_out: str) -> tuple[Any, ...]:
        """The case's fields but those left out; equal settings are one group."""
        names = [f.name for f in fields(self.case) if f.name not in left_out]
        return tuple(getattr(self.case, name) for name in names)


def row_of(record: Record) -> Row:
    """Keep what tables and pictures need, and draw the largest errors."""
    kind = record.case.kind
    numbers = {name: record.number(name) for name in NUMBERS[kind]}
    arrays = {name: record.values[name].tolist() for name in ARRAYS[kind] if name in record.values}
    for name, source in (("worst_plateau_error", "plateau_errors"),
                         ("worst_drop_error", "drop_errors")):  # fmt: skip
        numbers[name] = largest(record.values.get(source, np.array([])))
    drops = arrays.get("drops", [])
    if drops and kind != "softmax":
        # An error needs both times: that a drop did not come when it was due is told apart.
        due = np.asarray(arrays["drops_predicted"]) < record.values["t"][-1]
        numbers["missed_drops"] = float(np.sum(due & np.isinf(drops)))
    # Of a run that was cut short nobody knows whether a later drop was to come.
    numbers["last_drop"] = drops[-1] if drops and math.isfinite(drops[-1]) else math.nan
    return Row(record.case, record.status, numbers, arrays)


def largest(values: Any) -> float:
    """The entry that is largest in size, with its sign, of those that are finite.

    >>> largest(np.array([0.1, -0.3, np.inf, np.nan]))
    -0.3
    """
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite[np.abs(finite).argmax()]) if len(finite) else math.nan


def rows_of(folder: str | Path) -> tuple[list[Row], list[str]]:
    """The rows of a folder by kind and parameters, and what could not be read.

    Raises
    ------
    console.InputError
        If the folder is none, or holds no cases.
    """
    store = Store(folder)
    if not store.folder.is_dir():
        raise console.InputError(f"DIR: there is no folder {folder}")
    rows: list[Row] = []
    unread: list[str] = []
    for record in store.records():
        if isinstance(record, str):
            unread.append(record)
        else:
            rows.append(row_of(record))
    if not rows and not unread:
        raise console.InputError(f"DIR: {folder} holds no cases of a sweep")
    rows.sort(key=lambda row: (row.kind, json.dumps(_sortable(row.case))))
    return rows, unread


def _sortable(case: AnyCase) -> list[Any]:
    """Fields as JSON sorts them: numbers by size, up to 1e15; lists by length first."""
    return [
        "" if value is None else
        [f"{len(value):09}", *(f"{x:025.9f}" for x in value)] if isinstance(value, tuple)
        else f"{value:025.9f}"
        for value in (getattr(case, f.name) for f in fields(case))
    ]  # fmt: skip


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

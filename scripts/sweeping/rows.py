"""The rows of a sweep: what tables and pictures keep of each case that a folder holds."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

import console

from .case import AnyCase
from .store import Record, Store

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
        raise console.InputError(f"DIR: {console.no_folder(folder)}")
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

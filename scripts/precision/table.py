"""The table: the accuracy that every docstring states, beside the worst that was found."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import console
from precision import flows, points
from precision.exact import ORACLES, Oracle, flat, reference, worst
from precision.forms import CONTAINERS as CONTAINERS
from precision.points import Case

QUICK, FULL = 50, 400  # points of each form
STATED = re.compile(r"Accuracy: (?:(exact)|(\d+) eps)")


@dataclass(frozen=True)
class Row:
    """One form, or one flow at one point.

    Attributes
    ----------
    name : str
        Of the function.
    unit : str
        ``"eps"`` for closed forms, ``"relative"`` for flows and quadratures.
    stated, worst : float
        The error allowed and the largest found.
    points : int
        How many points were tried.
    where : str
        The point of the largest error.
    """

    name: str
    unit: str
    stated: float
    worst: float
    points: int
    where: str

    @property
    def holds(self) -> bool:
        """Whether the error is within what is stated."""
        return self.worst <= self.stated


def function_of(name: str) -> Callable[..., Any]:
    """The closed form of a name like ``"softmax.limit_loss"``."""
    import analytic

    found: Any = analytic
    for part in name.split("."):
        found = getattr(found, part)
    return found


def stated_accuracy(name: str) -> float:
    """The accuracy in the docstring, in eps; ``exact`` is 0.

    Raises
    ------
    ValueError
        If the docstring states none.
    """
    match = STATED.search(" ".join((function_of(name).__doc__ or "").split()))
    if match is None:
        raise ValueError(f"{name} must state its accuracy in its docstring: 'Accuracy: n eps'")
    return 0.0 if match[1] else float(match[2])


def error_of(form: Oracle, case: Case) -> float:
    """The largest error of a form at one point, in eps."""
    return worst(flat(form.call(function_of(form.name), case)), reference(form, case))


def measure(form: Oracle, count: int, seed: int) -> Row:
    """The worst of `count` points."""
    cases = points.batch(form.draw, count, [seed, *form.name.encode()])
    errors = [error_of(form, case) for case in cases]
    at = max(range(count), key=errors.__getitem__)
    return Row(form.name, "eps", stated_accuracy(form.name), errors[at], count, str(cases[at]))


def rows(count: int, seed: int, full: bool) -> Iterator[Row]:
    """Every closed form, then every flow."""
    for form in ORACLES.values():
        yield measure(form, count, seed)
    for flow in flows.all_flows(full):
        yield Row(flow.name, "relative", flow.allowed, flow.error, 1, flow.point)


def number(value: float, unit: str) -> str:
    """An error in its unit."""
    if value == 0:
        return "exact"
    return f"{value:.3g} eps" if unit == "eps" else f"{value:.1e}"


def line(row: Row, width: int) -> str:
    """One row on a terminal."""
    verdict = "holds" if row.holds else "FAILS"
    head = f"{row.name:<40} {number(row.stated, row.unit):>9} {number(row.worst, row.unit):>10} "
    head += f"{row.points:>6}  {verdict}  "
    room = max(20, width - len(head))
    return head + (row.where if len(row.where) <= room else row.where[: room - 1] + "…")


def markdown(table: list[Row], seed: int) -> str:
    """The table as a page."""
    bad = sum(not row.holds for row in table)
    lines = [
        "# Precision", "",
        f"{len(table)} rows, {bad} above what is stated; seed {seed}. eps is 2⁻⁵². Sizes other "
        "than the value itself are named in the docstrings.", "",
        "| function | stated | worst | points | worst at |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for row in table:
        where = row.where if len(row.where) <= 300 else row.where[:299] + "…"
        cells = (row.name, number(row.stated, row.unit), number(row.worst, row.unit),
                 str(row.points), f"`{where}`")  # fmt: skip
        lines.append("| " + " | ".join(cells).replace("\n", " ") + " |")
    return "\n".join(lines) + "\n"


def as_json(table: list[Row]) -> str:
    """The table as records; an infinite error is the string "inf"."""
    records = []
    for row in table:
        record = {**asdict(row), "holds": row.holds}
        record["worst"] = row.worst if math.isfinite(row.worst) else "inf"
        records.append(record)
    return json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def tabulate(args: argparse.Namespace, folder: Path, width: int) -> int:
    """Print the table, write it as precision.md and precision.json, and return the exit status."""
    console.say(console.paint(
        f"{'function':<40} {'stated':>9} {'worst':>10} {'points':>6}         worst at", "1"
    ))  # fmt: skip
    table, interrupted = [], False
    try:
        for row in rows(FULL if args.full else QUICK, args.seed, args.full):
            table.append(row)
            console.say(console.paint(line(row, width), "32" if row.holds else "31"))
    except KeyboardInterrupt:
        interrupted = True
    if table:
        console.write_atomically(folder / "precision.md", markdown(table, args.seed))
        console.write_atomically(folder / "precision.json", as_json(table))
        if args.json:
            console.write_atomically(args.json, as_json(table))
    failed = [row.name for row in table if not row.holds]
    console.say(f"{len(table)} rows, {len(failed)} above what is stated"
                + (f": {', '.join(failed)}" if failed else ""))  # fmt: skip
    if interrupted:
        print("verify.py: interrupted; the table holds what was finished", file=sys.stderr)
        return console.INTERRUPTED
    return 1 if failed else 0

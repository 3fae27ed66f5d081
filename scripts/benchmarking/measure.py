"""Timing: rounds over all entries in turn, core time and clock, medians."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from benchmarking.base import Array, Built, Entry, Growth, MissingError, Row, difference, library

TURN = 0.02  # seconds that a turn lasts at least, in as many calls as that takes
WARM = 1.0  # a first call that takes longer counts as a turn


def core_time() -> float:
    """Seconds of processor that this process and its finished children have used."""
    if resource is None:
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass
class Clocked:
    """The turns of one call."""

    call: Callable[[], Any]
    inner: int = 1
    core: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)

    def begin(self) -> Any:
        """Call once, return what it gave, and settle how many calls a turn has."""
        core, clock = core_time(), time.perf_counter()
        found = self.call()
        core, clock = core_time() - core, time.perf_counter() - clock
        if clock > WARM:
            self.core.append(core)
            self.clock.append(clock)
        else:
            self.inner = max(1, math.ceil(TURN / max(clock, 1e-7)))
        return found

    def turn(self) -> None:
        """Time a turn, after one call that is not timed if they are short.

        So a call finds in cache what the call before left there, as in a loop, and not what
        somebody else's did.
        """
        if self.inner > 1:
            self.call()
        core, clock = core_time(), time.perf_counter()
        for _ in range(self.inner):
            self.call()
        self.clock.append((time.perf_counter() - clock) / self.inner)
        self.core.append((core_time() - core) / self.inner)


def rounds(clocks: Sequence[Clocked], repeats: int, budget: float) -> None:
    """Give every one its turns in turn, fewer if they take longer than `budget` seconds.

    One that takes a third of that for itself is not asked twice.
    """
    began = time.perf_counter()
    for i in range(repeats):
        for clocked in clocks:
            if len(clocked.core) <= i and max(clocked.core, default=0.0) < budget / 3:
                clocked.turn()
        if time.perf_counter() - began > budget:
            break


def measured(row: Row, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """A row's results, ready for JSON."""
    began = core_time(), time.perf_counter()
    reference = None if row.reference is None else row.reference()
    found, skipped, clocks = [], [], []
    for entry in row.entries:
        say(f"{row.name}: {entry.label}")
        try:
            for name in entry.needs:
                library(name)
        except MissingError as missing:
            skipped.append({"label": entry.label, "reason": f"{missing} is not installed"})
            continue
        built = entry.build()
        clocked = Clocked(built.call)
        error = _error(clocked.begin(), reference)
        clocks.append(clocked)
        found.append(_described(entry, built, error, row.tolerance))
    say(f"{row.name}: rounds")
    rounds(clocks, 1 if quick else row.repeats, row.budget)
    for result, clocked in zip(found, clocks, strict=True):
        result.update(_times(clocked, result["share"]))
    for result in found:
        result["over_ours"] = result["core"] / found[0]["core"]
    skipped += [{"label": label, "reason": reason} for label, reason in row.not_run]
    return {
        "name": row.name,
        "title": row.title,
        "work": row.work,
        "tolerance": row.tolerance,
        "argument": row.argument,
        "entries": found,
        "skipped": skipped,
        "took": _since(began),
    }


def _since(began: tuple[float, float]) -> list[float]:
    """Core and clock time that a row took, preparations included."""
    return [core_time() - began[0], time.perf_counter() - began[1]]


def _error(values: Any, reference: Array | None) -> float | None:
    return None if reference is None or values is None else difference(values, reference)


def _described(entry: Entry, built: Built, error: float | None, tolerance: float) -> dict[str, Any]:
    return {
        "label": entry.label,
        "kind": entry.kind,
        "compile": built.compile_seconds,
        "share": built.share,
        "note": built.note,
        "error": error,
        "agrees": None if error is None else bool(error <= tolerance),
        "why": entry.why,
    }


def _times(clocked: Clocked, share: float) -> dict[str, Any]:
    core = [x / share for x in clocked.core]
    return {
        "core": statistics.median(core),
        "clock": statistics.median(clocked.clock) / share,
        "least": min(core),
        "most": max(core),
        "turns": len(core),
    }


def grown(growth: Growth, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """An axis's results, ready for JSON."""
    began = core_time(), time.perf_counter()
    result: dict[str, Any] = {
        "name": growth.name,
        "title": growth.title,
        "axis": growth.axis,
        "kind": growth.kind,
        "expected": list(growth.expected),
        "reason": growth.reason,
    }
    try:
        for name in growth.needs:
            library(name)
    except MissingError as missing:
        return {**result, "skipped": f"{missing} is not installed"}
    clocks = []
    for size in growth.sizes:
        say(f"{growth.name}: {growth.axis} = {size:g}")
        clocks.append(Clocked(growth.build(size)))
        clocks[-1].begin()
    rounds(clocks, 1 if quick else growth.repeats, growth.budget)
    core = [statistics.median(c.core) for c in clocks]
    exponent, error = fitted_exponent(growth.sizes, core)
    return {
        **result,
        "sizes": [float(size) for size in growth.sizes],
        "core": core,
        "turns": min(len(c.core) for c in clocks),
        "exponent": exponent,
        "standard_error": error,
        "took": _since(began),
    }


def fitted_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Slope of log seconds against log size by least squares, and its standard error.

    >>> exponent, error = fitted_exponent([1, 2, 4, 8], [3, 12, 48, 192])
    >>> round(exponent, 9), round(error, 9)
    (2.0, 0.0)
    """
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(seconds, float))
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    rest = y - slope * x
    return slope, float(np.sqrt(rest @ rest / (len(x) - 2) / (x @ x)))

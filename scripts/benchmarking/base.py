"""What a row of the benchmark is: some work, and who does it.

An entry is ours, theirs (an expert's use of another library, in float64, on one core, compiled
where it can be) or a floor (a part of the work that nobody can leave out). Each gives back numbers
that show it did the work, and its error is their largest difference from the reference, over the
largest number of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module, util
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KINDS = ("ours", "theirs", "floor")


class MissingError(Exception):
    """A library that an entry needs is not installed."""


@dataclass(frozen=True, eq=False)
class Built:
    """Work that is ready to be timed.

    Attributes
    ----------
    call
        Does it, and returns numbers to compare with the reference, or None.
    compile_seconds : float, optional
        Core time that tracing and compiling took, where there is any.
    share : float
        Part of the row's work that a call does; its time is divided by it.
    note : str
        What a reader of the table should know.
    """

    call: Callable[[], Any]
    compile_seconds: float | None = None
    share: float = 1.0
    note: str = ""


@dataclass(frozen=True, eq=False)
class Entry:
    """One who does the work; `why` says why it takes less than ours, where it does."""

    label: str
    kind: str
    build: Callable[[], Built]
    needs: Sequence[str] = ()
    why: str = ""


@dataclass(frozen=True, eq=False)
class Row:
    """Work that ours, the first entry, does beside others.

    Attributes
    ----------
    work : str
        All that is needed to do it again.
    reference : callable, optional
        Gives the numbers that all are compared with.
    tolerance : float
        An entry whose error exceeds it did not do the work.
    argument : str
        Where the tolerance comes from.
    repeats : int
        Rounds over all entries, fewer if they take longer than `budget` seconds.
    not_run : sequence of (label, reason)
        What was left out on purpose.
    """

    name: str
    title: str
    work: str
    entries: Sequence[Entry]
    reference: Callable[[], Array] | None = None
    tolerance: float = 0.0
    argument: str = ""
    repeats: int = 5
    budget: float = 10.0
    not_run: Sequence[tuple[str, str]] = field(default_factory=tuple)


@dataclass(frozen=True, eq=False)
class Growth:
    """Work whose time is fitted by a power of one of its sizes.

    Attributes
    ----------
    axis, unit : str
        The letter of the size, and in words what the sizes are.
    build
        Size to a call, with everything prepared.
    expected : (float, float)
        Least and largest exponent that the reason allows.
    """

    name: str
    title: str
    axis: str
    sizes: Sequence[float]
    build: Callable[[Any], Callable[[], Any]]
    expected: tuple[float, float]
    reason: str
    kind: str = "ours"
    needs: Sequence[str] = ()
    repeats: int = 5
    budget: float = 8.0


def library(name: str) -> Any:
    """A module that may be absent.

    Raises
    ------
    MissingError
        If it is.
    """
    if util.find_spec(name.partition(".")[0]) is None:
        raise MissingError(name)
    return import_module(name)


def difference(values: Any, reference: Any) -> float:
    """Largest difference over the largest number of the reference; of as many as both have.

    >>> difference([1.0, 2.5], [1.0, 2.0, 9.0])
    0.25
    """
    a, b = np.ravel(values), np.ravel(reference)
    n = min(len(a), len(b))
    return float(np.abs(a[:n] - b[:n]).max() / np.abs(b[:n]).max())

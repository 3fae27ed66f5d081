"""From a grid, a file or a list to cases."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .case import AnyCase, case_of
from .spectra import ruled

Cases = list[AnyCase]
LISTS = ("eigenvalues", "block_dims", "signal")  # one value is itself a list of numbers
MOST = 1_000_000


def expand(grid: Mapping[str, Any]) -> Cases:
    """Cross the values of every field: a list of them, or one.

    A list of numbers is one value of `eigenvalues`, `block_dims` and `signal`, a list of such
    lists several. ``seeds = n`` stands for the seeds 0 … n − 1; `spectrum`, `dimension` and
    `trace`, crossed, for the eigenvalues of `sweeping.spectra`. Cases that come twice count once.

    Raises
    ------
    ValueError, TypeError
        If a field is unknown or empty, or a value out of range.

    Examples
    --------
    >>> grid = {"eigenvalues": [0.4, 0.3], "context_length": [7, 31], "rank": [1, 2], "seeds": 3}
    >>> len(expand(grid))
    12
    >>> grid = {"spectrum": ["power:1", "white"], "dimension": [2, 4, 8], "context_length": 31}
    >>> [len(case.eigenvalues) for case in expand(grid)]
    [2, 4, 8, 2, 4, 8]
    """
    given = ruled(grid)
    if "seeds" in given:
        count = given.pop("seeds")
        if "seed" in given:
            raise ValueError("seeds and seed must not be given together")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"seeds must be a whole number >= 1, got {count!r}")
        given["seed"] = range(count)
    choices = [_choices(name, value) for name, value in given.items()]
    total = 1
    for values in choices:
        total *= len(values)
    if total > MOST:
        raise ValueError(f"the grid has {total} cases, more than {MOST}; cut it into several")
    return unique([
        case_of(dict(zip(given, values, strict=True))) for values in itertools.product(*choices)
    ])  # fmt: skip


def _choices(name: str, value: Any) -> Sequence[Any]:
    if name in LISTS and isinstance(value, list | tuple) and not any(
        isinstance(entry, list | tuple) for entry in value
    ):  # fmt: skip
        return [value]
    choices = value if isinstance(value, list | tuple | range) else [value]
    if not choices:
        raise ValueError(f"{name} must have a value, got an empty list")
    return choices


def unique(cases: Cases) -> Cases:
    """Each case once, in the order of first coming."""
    return list(dict.fromkeys(cases))


def read_grid(path: str | Path) -> Cases:
    """Cases of a TOML or JSON file: one grid, or several under ``grid``, or a list of them.

    Raises
    ------
    ValueError, TypeError, OSError
        If the file cannot be read, is not what its ending says, or a grid is wrong.
    """
    file = Path(path)
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix.lower() == ".toml":
        content: Any = tomllib.loads(text)
    elif file.suffix.lower() == ".json":
        content = json.loads(text)
    else:
        raise ValueError("must end in .toml or .json")
    if isinstance(content, dict) and set(content) == {"grid"}:
        content = content["grid"]
    grids = content if isinstance(content, list) else [content]
    if not grids or not all(isinstance(grid, dict) for grid in grids):
        raise ValueError("must hold a table of fields, or a list of such tables")
    return unique([case for grid in grids for case in expand(grid)])


def read_list(path: str | Path) -> Cases:
    """Cases of a file of JSON lines, one case in each.

    Raises
    ------
    ValueError, TypeError, OSError
        If the file cannot be read or a line is not a case; the line is named.
    """
    cases: Cases = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            if not isinstance(content, dict):
                raise ValueError("must be an object of fields")
            cases.append(case_of(content))
        except (ValueError, TypeError) as error:
            raise ValueError(f"line {number}: {error}") from None
    if not cases:
        raise ValueError("holds no case")
    return unique(cases)


def shard(cases: Cases, number: int, count: int) -> Cases:
    """Part `number` of `count`, counted from 1: every `count`-th case, so that neighbours spread.

    >>> cases = expand({"eigenvalues": [1.0], "context_length": 5, "seeds": 5})
    >>> [case.seed for case in shard(cases, 2, 3)]
    [1, 4]
    """
    return cases[number - 1 :: count]

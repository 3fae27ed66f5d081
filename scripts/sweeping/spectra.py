"""Spectra given by a rule, for sweeps over their shape and over D.

A rule is ``power:a`` for λ_d ∝ d^−a, ``geometric:r`` for λ_d ∝ r^d, or ``white``, all scaled to a
trace. A case holds the eigenvalues that follow, to 12 digits: a power is not the same to the last
bit on every machine, and the name of a case has to be. The report finds the rule again from them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from numerics import _check

RULES = ("spectrum", "dimension", "trace")
DIGITS = 12
_SAME = 1e-10  # relative, of eigenvalues and of their trace, both rounded to 12 digits
_SHORT = 6
MOST = 10_000  # of D: far more than a flow can follow


def eigenvalues_of(rule: str, dimension: int, trace: float = 1.0) -> tuple[float, ...]:
    """Eigenvalues λ_1 ≥ … ≥ λ_D > 0 of a rule, Σ λ_d = `trace`.

    Raises
    ------
    ValueError, TypeError
        If the rule is none of those above, or a number is out of its range or leaves it.

    Examples
    --------
    >>> eigenvalues_of("power:1", 2, 3.0), eigenvalues_of("white", 4)
    ((2.0, 1.0), (0.25, 0.25, 0.25, 0.25))
    """
    size = _check.count("dimension", dimension)
    if size > MOST:
        raise ValueError(f"dimension must be at most {MOST}, got {size}")
    total = _check.real("trace", trace, above=0.0)
    shape = _logarithms(rule, size)
    weight = math.fsum(math.exp(x) for x in shape)
    values = tuple(float(f"{total * math.exp(x) / weight:.{DIGITS}g}") for x in shape)
    if not values[-1] > 0.0:
        raise ValueError(f"spectrum must leave all eigenvalues > 0, got {rule!r} for D = {size}")
    return values


def _logarithms(rule: Any, size: int) -> list[float]:
    name, _, text = rule.partition(":") if isinstance(rule, str) else ("", "", "")
    try:
        number = 0.0 if rule == "white" else float(text)
    except ValueError:
        number = math.nan
    if name in ("power", "white") and 0.0 <= number < math.inf:
        return [-number * math.log(d) for d in range(1, size + 1)]
    if name == "geometric" and 0.0 < number <= 1.0:
        return [d * math.log(number) for d in range(size)]
    raise ValueError(
        f"spectrum must be power:a with a >= 0, geometric:r with 0 < r <= 1, or white, got {rule!r}"
    )


def ruled(grid: Mapping[str, Any]) -> dict[str, Any]:
    """A grid with the eigenvalues of its rules in their place; others as they are.

    Raises
    ------
    ValueError, TypeError
        If a part is missing or wrong, or eigenvalues are given too.

    Examples
    --------
    >>> ruled({"spectrum": "white", "dimension": [1, 2], "rank": 1})
    {'rank': 1, 'eigenvalues': [(1.0,), (0.5, 0.5)]}
    """
    if not any(name in grid for name in RULES):
        return dict(grid)
    if grid.get("kind") == "softmax":
        raise ValueError("spectrum is not a field of a softmax case")
    if "eigenvalues" in grid:
        raise ValueError("eigenvalues and spectrum must not be given together")
    for name in RULES[:2]:
        if name not in grid:
            raise ValueError(f"{name} is missing")
    given = {name: grid.get(name, 1.0) for name in RULES}
    axes = [value if isinstance(value, list | tuple) else [value] for value in given.values()]
    for name, values in zip(given, axes, strict=True):
        if not values:
            raise ValueError(f"{name} must have a value, got an empty list")
    left = {name: value for name, value in grid.items() if name not in RULES}
    return {**left, "eigenvalues": [eigenvalues_of(*each) for each in itertools.product(*axes)]}


@lru_cache(maxsize=10_000)
def rule_of(eigenvalues: tuple[float, ...]) -> str | None:
    """The rule that gives these eigenvalues, None if there is none or D = 1.

    >>> rule_of(eigenvalues_of("power:1.5", 8)), rule_of((0.4, 0.3, 0.2))
    ('power:1.5', None)
    """
    if len(eigenvalues) < 2 or eigenvalues[1] > eigenvalues[0]:
        return None
    if len(set(eigenvalues)) == 1:
        return "white"
    ratio = eigenvalues[1] / eigenvalues[0]
    for rule in (f"power:{-math.log2(ratio):.6g}", f"geometric:{ratio:.6g}"):
        again: tuple[float, ...] = ()
        with suppress(ValueError):  # far beyond any rule
            again = eigenvalues_of(rule, len(eigenvalues), math.fsum(eigenvalues))
        if again and all(map(_close, eigenvalues, again)):
            return rule
    return None


def _close(x: float, y: float) -> bool:
    return math.isclose(x, y, rel_tol=_SAME)


def exponent_of(eigenvalues: tuple[float, ...]) -> float:
    """The a of a power law, 0 if white, else NaN.

    >>> exponent_of((2.0, 1.0)), exponent_of((1.0, 1.0))
    (1.0, 0.0)
    """
    rule = rule_of(eigenvalues) or ""
    if rule == "white":
        return 0.0
    return float(rule.partition(":")[2]) if rule.startswith("power") else math.nan


def text(eigenvalues: tuple[float, ...]) -> str:
    """Eigenvalues in few words.

    >>> text((0.4, 0.3)), text(eigenvalues_of("power:1", 16)), text((1.0, 1.0))
    ('0.4 0.3', '16: power:1, trace 1', '2×1')
    """
    rule = rule_of(eigenvalues)
    if rule == "white":
        return f"{len(eigenvalues)}×{eigenvalues[0]:g}"
    if len(eigenvalues) <= (2 if rule else _SHORT):
        return " ".join(f"{x:g}" for x in eigenvalues)
    if rule:
        return f"{len(eigenvalues)}: {rule}, trace {math.fsum(eigenvalues):.6g}"
    first = " ".join(f"{x:.3g}" for x in eigenvalues[: _SHORT - 1])
    return f"{len(eigenvalues)}: {first} … {eigenvalues[-1]:.3g}"

"""What an oracle is, and the distance from it.

An oracle has the arguments of the closed form it judges, as exact numbers, and answers with exact
numbers. Errors are in units of eps = 2⁻⁵², relative to the exact value, or to the size that the
oracle gives beside it where terms of both signs cancel and the condition of the problem, not the
formula, sets the error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath
import numpy as np

from precision.points import Case, Source

EPS = 2.0**-52
WORKING_DIGITS = 120  # the oracles subtract freely: of numbers 60 decades apart, 50 digits are left


class Sized(NamedTuple):
    """Exact values, and the sizes that their errors are measured against."""

    values: Any
    sizes: Any


@dataclasses.dataclass(frozen=True)
class Oracle:
    """One closed form, the points at which it is tried, and its exact value there.

    Attributes
    ----------
    name : str
        Of the form in `analytic`; ``"softmax.limit_loss"`` is in `analytic.softmax`.
    draw : callable
        Draws a case from a source.
    exact : callable
        The form in exact numbers.
    number : callable
        Fraction or mpmath.mpf: what floats are turned into.
    call : callable
        Calls the form on a case, where that is not a plain call.
    """

    name: str
    draw: Callable[[Source], Case]
    exact: Callable[..., Any]
    number: Callable[[float], Any]
    call: Callable[..., Any]


ORACLES: dict[str, Oracle] = {}


def _plain(function: Callable[..., Any], case: Case) -> Any:
    return function(*case.arguments, **case.keywords)


def oracle(
    name: str,
    draw: Callable[[Source], Case],
    number: Callable[[float], Any] = Fraction,
    call: Callable[..., Any] = _plain,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the oracle of a closed form."""

    def register(exact: Callable[..., Any]) -> Callable[..., Any]:
        if name in ORACLES:
            raise ValueError(f"name must be new, got {name!r} again")
        ORACLES[name] = Oracle(name, draw, exact, number, call)
        return exact

    return register


def exactly(value: Any, number: Callable[[float], Any]) -> Any:
    """Turn the floats of nested lists into exact numbers; infinity stays."""
    if isinstance(value, list | tuple):
        return [exactly(entry, number) for entry in value]
    if isinstance(value, bool | str | None.__class__):
        return value
    if isinstance(value, int):
        return Fraction(value) if number is Fraction else value
    return value if math.isinf(value) else number(value)


def flat(value: Any) -> list[Any]:
    """The numbers of nested lists, tuples, arrays and result classes, in order."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, np.ndarray):
        return list(value.ravel().tolist())
    if isinstance(value, list | tuple):
        return [number for entry in value for number in flat(entry)]
    return [value.item() if isinstance(value, np.generic) else value]


def distance(got: float, exact: Any, size: Any) -> float:
    """|got − exact|/size in eps; infinite where only one of them is finite."""
    if isinstance(exact, float) and math.isinf(exact):
        return 0.0 if got == exact else math.inf
    if not math.isfinite(got):
        return math.inf
    gap = abs((Fraction(got) if isinstance(exact, int | Fraction) else mpmath.mpf(got)) - exact)
    if gap == 0:
        return 0.0
    try:
        return float(gap / abs(size)) / EPS if size != 0 else math.inf
    except OverflowError:
        return math.inf


def reference(form: Oracle, case: Case) -> tuple[list[Any], list[Any]]:
    """The exact values of a form at a case, and the sizes of its errors."""
    with mpmath.workdps(WORKING_DIGITS):
        given = [exactly(entry, form.number) for entry in case.arguments]
        named = {name: exactly(entry, form.number) for name, entry in case.keywords.items()}
        answer = form.exact(*given, **named)
    values, sizes = answer if isinstance(answer, Sized) else (answer, answer)
    return flat(values), flat(sizes)


def worst(results: Iterable[Any], exact: tuple[list[Any], list[Any]]) -> float:
    """The largest distance among the entries of a result."""
    got, (values, sizes) = list(results), exact
    if not len(got) == len(values) == len(sizes):
        return math.inf
    with mpmath.workdps(WORKING_DIGITS):
        distances = [distance(g, v, s) for g, v, s in zip(got, values, sizes, strict=True)]
    return max(distances, default=0.0)

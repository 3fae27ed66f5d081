"""Trying hostile arguments on targets, and counting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.fuzz import hostile, random_values
from tests.fuzz.oracle import Target, attempt, copied, judge


@dataclass
class Findings:
    """How many inputs were tried, and what was wrong, by target and kind."""

    tried: int = 0
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, target: Target, verdict: str | None, arguments: dict[str, Any]) -> None:
        self.tried += 1
        if verdict is not None:
            shown = ", ".join(f"{name}={short(value)}" for name, value in arguments.items())
            self.wrong[target.name].append(f"{verdict}  [{shown}]")

    def report(self) -> str:
        """One line for each target and the first of what is wrong with it."""
        return "\n".join(f"{name}: {len(w)}, {w[0]}" for name, w in sorted(self.wrong.items()))


def short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 90 else text[:89] + "…"


def huge(value: Any) -> bool:
    """Whether a number asks for more work than a test has time for."""
    try:
        return bool(np.size(value) == 1 and float(np.asarray(value).item()) > 1000)
    except (TypeError, ValueError, OverflowError):
        return isinstance(value, int)


def single_replacements(target: Target) -> Iterator[tuple[str, Any]]:
    """Each argument, and everything to put in its place."""
    for name, valid in target.arguments().items():
        if name in target.skip:
            continue
        for value in hostile.replacements(valid, target.kernel):
            if not (name in target.work and huge(value)):
                yield name, value


def other_forms(target: Target) -> Iterator[tuple[str, Any]]:
    """Each array argument, and the same numbers in another form."""
    for name, valid in target.arguments().items():
        if isinstance(valid, np.ndarray) and name not in target.skip:
            forms = hostile.forms(valid)
            yield from ((name, form) for form in forms if not target.kernel or form is not None)


def try_one(target: Target, draw: Callable[[Any], Any], findings: Findings) -> None:
    """Replace one or two arguments of a target by random values."""
    arguments = copied(target.arguments())
    names = [name for name in arguments if name not in target.skip]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    for name in chosen:
        value = draw(random_values.value(arguments[name], target.kernel))
        if name in target.work and huge(value):
            value = 3
        arguments[name] = value
    findings.add(target, judge(target, arguments), {name: arguments[name] for name in chosen})


def exhaust(targets: Iterable[Target], findings: Findings, every: int = 1) -> Findings:
    """Replace one argument of each target by each hostile value and by each other form.

    Of the hostile values only a share of 1/`every` is tried, a different one for each target.
    """
    for number, target in enumerate(targets):
        valid = target.arguments()
        expected, error = attempt(target, valid)
        if error is not None:
            findings.add(target, f"valid arguments: {type(error).__name__}: {error}", valid)
            continue
        for name, value in other_forms(target):
            if target.kernel and isinstance(value, list):
                continue
            arguments = {**copied(target.arguments()), name: value}
            findings.add(target, judge(target, arguments, expected), {name: value})
        replacements = single_replacements(target)
        for name, value in islice(replacements, number % every, None, every):
            arguments = {**copied(target.arguments()), name: value}
            findings.add(target, judge(target, arguments), {name: value})
    return findings

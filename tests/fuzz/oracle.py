"""What a call may do with hostile arguments: refuse them clearly, or answer rightly.

Anything else is a finding: an exception of a type that is not documented or whose message does not
say which argument is at fault, a NaN, a warning, a write into the caller's array, or a hang.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import resource
import signal
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LIMIT = 5.0  # seconds of work for one call
MEMORY = 6 * 2**30  # of address space while fuzzing, so that a size which is too large is refused
REFUSALS = (ValueError, TypeError, OverflowError)
# NumPy's own words for arrays that no machine holds.
TOO_BIG = ("too big", "Maximum allowed", "larger than the maximum", "too large")


@dataclass(frozen=True)
class Target:
    """A callable and how to make valid arguments for it.

    Attributes
    ----------
    name : str
        As a reader would write it: ``sample_moments``, ``LayerSystem.loss``.
    call : callable
        Takes the arguments by name.
    arguments : callable
        Makes fresh valid arguments, small enough that a call takes milliseconds.
    work : set of str
        Arguments that say how much to do: huge values are legitimate and skipped.
    infinite : bool
        Whether inf is among the documented results.
    kernel : bool
        Whether this is an inner loop, documented to take arrays and to check shapes alone:
        NaN goes in and out, and an overflow is NumPy's warning.
    aliases : tuple of str
        What else a message may call the arguments.
    """

    name: str
    call: Callable[..., Any]
    arguments: Callable[[], dict[str, Any]]
    work: frozenset[str] = frozenset()
    infinite: bool = False
    kernel: bool = False
    aliases: tuple[str, ...] = ()
    skip: frozenset[str] = field(default=frozenset())


class HangError(BaseException):
    """A call took longer than `LIMIT`; not an `Exception`, which the call might swallow."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `HangError` in the main thread after so many seconds of work, or ten times as many.

    Other processes on the machine do not count as work.
    """

    def ring(_signal: int, _frame: types.FrameType | None) -> None:
        raise HangError

    clocks = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 10))
    before = [signal.signal(number, ring) for number, _, _ in clocks]
    for _, clock, share in clocks:
        signal.setitimer(clock, share * seconds)
    try:
        yield
    finally:
        for (number, clock, _), handler in zip(clocks, before, strict=True):
            signal.setitimer(clock, 0)
            signal.signal(number, handler)


@contextmanager
def memory_limit(size: int = MEMORY) -> Iterator[None]:
    """Refuse allocations beyond `size` bytes of address space."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def attempt(target: Target, arguments: dict[str, Any]) -> tuple[Any, BaseException | None]:
    """Call the target, warnings as errors, and read a lazy answer to its end."""
    try:
        with time_limit(LIMIT), warnings.catch_warnings():
            warnings.simplefilter("ignore" if target.kernel else "error")
            result = target.call(**arguments)
            if isinstance(result, Iterator):
                result = list(result)
        return result, None
    except (Exception, HangError) as error:
        return None, error


def judge(target: Target, arguments: dict[str, Any], expected: Any = None) -> str | None:
    """What is wrong with what the target does, or None.

    Parameters
    ----------
    expected
        The right answer, where the arguments are another form of valid ones.
    """
    before = {name: fingerprint(value) for name, value in arguments.items()}
    result, error = attempt(target, arguments)
    changed = [name for name, value in arguments.items() if fingerprint(value) != before[name]]
    if changed:
        return f"writes into {', '.join(changed)}"
    if isinstance(error, HangError):
        return f"takes longer than {LIMIT:g} s"
    if error is not None:
        if expected is not None:
            return f"refuses a valid form: {type(error).__name__}: {error}"
        return _bad_refusal(target, arguments, error)
    if expected is not None and not same(result, expected):
        return "another answer for another form of the same arguments"
    if target.kernel or getattr(result, "status", "finished") not in ("finished", "converged"):
        return None  # a run that says why it stopped may hold what stopped it
    return _not_finite(result, target.infinite)


def _bad_refusal(target: Target, arguments: dict[str, Any], error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text for words in TOO_BIG):
        return None
    allowed = (*REFUSALS, IndexError) if target.kernel else REFUSALS
    if not isinstance(error, allowed) or isinstance(error, UnicodeError | np.linalg.LinAlgError):
        return f"{type(error).__name__}: {text[:120]}"
    if target.kernel or isinstance(error, OverflowError):
        return None
    names = "|".join(map(re.escape, (*arguments, *target.aliases)))
    if not re.search(rf"\b({names})\b", text):
        return f"message names no argument: {type(error).__name__}: {text[:120]}"
    return None


# Answers


def parts(value: Any) -> Iterator[Any]:
    """The numbers and arrays inside an answer."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for entry in dataclasses.fields(value):
            yield from parts(getattr(value, entry.name))
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from parts(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from parts(entry)
    elif isinstance(value, float | int | np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind in "fciub":
            yield array


def _not_finite(result: Any, infinite: bool) -> str | None:
    for array in parts(result):
        if array.dtype.kind not in "fc":
            continue
        if np.isnan(array).any():
            return "a silent NaN"
        if not infinite and not np.isfinite(array).all():
            return "a silent inf"
    return None


def same(result: Any, expected: Any) -> bool:
    """Whether two answers agree to the rounding of another memory layout."""
    ours, theirs = list(parts(result)), list(parts(expected))
    if len(ours) != len(theirs):
        return False
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
        for a, b in zip(ours, theirs, strict=True)
    )


def fingerprint(value: Any) -> Any:
    """Bytes by which a change of the caller's arrays shows."""
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.dtype == object else (value.shape, value.tobytes())
    if isinstance(value, list | tuple):
        return tuple(fingerprint(entry) for entry in value)
    if isinstance(value, dict):
        return tuple((name, fingerprint(entry)) for name, entry in value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return tuple(fingerprint(getattr(value, entry.name)) for entry in fields)
    return None


def copied(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments whose arrays may be replaced without touching the originals."""
    return {
        name: copy.deepcopy(value) if isinstance(value, np.ndarray | list | dict) else value
        for name, value in arguments.items()
    }

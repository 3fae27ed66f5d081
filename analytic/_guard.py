"""What every public function promises of its result: a number, or an exception that says why not.

Formulas are written for numbers of moderate size. Where a float overflows on the way, or underflows
into 0/0, a closed form would return NaN, or a finite number that is wrong; the guard raises
`OverflowError` instead. Exact and symbolic numbers pass through, and so do the infinities that a
function documents. A product of Python floats that overflows is inf, as it is in Python.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ._generic import dtype_kind, is_array

P = ParamSpec("P")
R = TypeVar("R")


def guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Let `function` raise where it would overflow, return NaN or fail to broadcast.

    Examples
    --------
    >>> @guarded
    ... def quotient(a, b):
    ...     return a / b
    >>> quotient(1.0, 4.0)
    0.25
    >>> quotient(1e-300 ** 2, 1e-300 ** 2)
    Traceback (most recent call last):
        ...
    OverflowError: quotient: a, b are too large or too small for floating point
    """
    names = ", ".join(name for name in inspect.signature(function).parameters if name != "self")

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with np.errstate(over="raise", divide="raise", invalid="raise"):
                result = function(*args, **kwargs)
        except (FloatingPointError, ZeroDivisionError):
            raise _overflow(function.__name__, names) from None
        except OverflowError as error:
            # Raised here for a function that this one calls, or by Python's own `**`.
            if "floating point" in str(error):
                raise
            raise _overflow(function.__name__, names) from None
        except ValueError as error:
            text = str(error)
            if "math domain error" in text:  # the logarithm of an underflow
                raise _overflow(function.__name__, names) from None
            if "broadcast" in text and "must" not in text:
                raise ValueError(f"{names} must have shapes that agree: {text}") from None
            raise
        except TypeError as error:
            if "unsupported in linalg" in str(error):  # float16, longdouble
                raise TypeError(f"{names} must be float32 or float64: {error}") from None
            raise
        if _has_nan(result):
            raise _overflow(function.__name__, names)
        return result

    return call


def _overflow(name: str, arguments: str) -> OverflowError:
    return OverflowError(f"{name}: {arguments} are too large or too small for floating point")


def _has_nan(value: Any) -> bool:
    if isinstance(value, float):
        return value != value
    if isinstance(value, tuple):
        return any(_has_nan(entry) for entry in value)
    if not is_array(value) or dtype_kind(value) != "f":
        return False
    xp = value.__array_namespace__()
    return bool(xp.any(xp.isnan(value)))

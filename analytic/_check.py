"""Validation at the public boundary, in one pass.

Every error names the argument, what it was and what it must be. Entries that hold free symbols
have no sign and pass.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from ._generic import Number, dtype_kind, is_array, is_object, is_symbolic

Predicate = Callable[[Any], Any]


def _positive(x: Any) -> Any:
    return (x > 0) & (x < math.inf)


def _non_negative(x: Any) -> Any:
    return (x >= 0) & (x < math.inf)


def _finite(x: Any) -> Any:
    return (x > -math.inf) & (x < math.inf)


def _at_least_one(x: Any) -> Any:
    return x >= 1


def _non_negative_or_inf(x: Any) -> Any:
    return x >= 0


def as_number(name: str, value: Number) -> Number:
    """Return `value` as a scalar or an array of real numbers, or raise `TypeError`."""
    if is_array(value) or isinstance(value, np.generic):
        _require_real_dtype(name, value)
    elif isinstance(value, list | tuple) or hasattr(value, "__array__"):
        value = _rectangular(name, value)
        _require_real_dtype(name, value)
    elif not _is_real_scalar(value):
        raise TypeError(f"{name} must be a real number or an array of them, got {value!r}")
    if is_object(value):
        for entry in value.flat:
            if not _is_real_scalar(entry):
                raise TypeError(f"{name} must hold real numbers, got {entry!r}")
    return value


def _rectangular(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array: {error}") from None


def _require_real_dtype(name: str, value: Number) -> None:
    if isinstance(value, np.ma.MaskedArray):  # arithmetic would fill in what is masked
        raise TypeError(f"{name} must not be a masked array; give the entries that count")
    if dtype_kind(value) not in "iufO":
        raise TypeError(f"{name} must be real numbers, got dtype {value.dtype}")


def _is_real_scalar(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, numbers.Real) or is_symbolic(value):
        return True
    module = type(value).__module__.partition(".")[0]
    if module == "sympy":
        return getattr(value, "is_extended_real", False) is not False or _is_nan(value)
    return module == "mpmath" and not hasattr(value, "_mpc_") and hasattr(value, "_mpf_")


def _is_nan(value: Any) -> bool:
    return bool(value != value) or str(value) == "nan"


def _holds(predicate: Predicate, entry: Any) -> bool:
    return is_symbolic(entry) or (not _is_nan(entry) and bool(predicate(entry)))


def require(name: str, value: Number, predicate: Predicate, wanted: str) -> Number:
    """Require numbers in an interval, that of the `predicate`."""
    value = as_number(name, value)
    if is_array(value) and 0 in value.shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(value.shape)}")
    if is_object(value):
        good = np.array([_holds(predicate, entry) for entry in value.flat], dtype=bool)
        good = good.reshape(value.shape)
    elif is_array(value):
        xp = value.__array_namespace__()
        # Every predicate is an interval, so two reductions decide, and a NaN reaches both.
        if bool(predicate(xp.min(value)) & predicate(xp.max(value))):
            return value
        good = xp.asarray(predicate(value))  # of no axes, NumPy gives a scalar
    else:
        if not _holds(predicate, value):
            raise ValueError(f"{name} must be {wanted}, got {value}")
        return value
    xp = good.__array_namespace__()
    if bool(xp.all(good)):
        return value
    index = tuple(int(axis[0]) for axis in xp.nonzero(~good)) if good.ndim else ()
    where = f" at index {index}" if index else ""
    raise ValueError(f"{name} must be {wanted}, got {value[index]}{where}")


def positive(name: str, value: Number) -> Number:
    """Require finite numbers > 0."""
    return require(name, value, _positive, "positive and finite")


def non_negative(name: str, value: Number) -> Number:
    """Require finite numbers >= 0."""
    return require(name, value, _non_negative, "non-negative and finite")


def finite(name: str, value: Number) -> Number:
    """Require finite numbers."""
    return require(name, value, _finite, "finite")


def time(name: str, value: Number) -> Number:
    """Require times >= 0; infinity is the end of training."""
    return require(name, value, _non_negative_or_inf, ">= 0")


def context_length(value: Number, name: str = "context_length") -> Number:
    """Require N >= 1; infinity is the limit of long contexts."""
    return require(name, value, _at_least_one, ">= 1 (number of context pairs N)")


def vector(name: str, value: Number) -> Number:
    """Require an array with at least one axis, that of the D modes, and D >= 1."""
    value = as_number(name, value)
    if not is_array(value) or value.ndim == 0 or value.shape[-1] == 0:
        shape = value.shape if is_array(value) else value
        raise ValueError(f"{name} must have shape (..., D) with D >= 1, got {shape}")
    return value


def matrix(name: str, value: Number, size: int | None = None) -> Number:
    """Require a square matrix (..., D, D) of finite numbers, D = `size` where given."""
    value = finite(name, value)
    shape: tuple[int, ...] = tuple(value.shape) if is_array(value) else ()
    expected = "(..., D, D)" if size is None else f"(..., {size}, {size})"
    if len(shape) < 2 or shape[-1] != shape[-2] or size not in (None, shape[-1]) or not shape[-1]:
        raise ValueError(f"{name} must have shape {expected}, got {shape}")
    return value


def symmetric(name: str, value: Number, size: int | None = None) -> Number:
    """Require a matrix equal to its transpose within rounding (exactly, for exact numbers)."""
    value = matrix(name, value, size)
    if is_object(value):
        return value
    probe = as_float(value)
    xp = probe.__array_namespace__()
    gap = xp.max(xp.abs(probe - xp.matrix_transpose(probe)))
    # Products of symmetric factors are symmetric up to the rounding of sums of D terms.
    if bool(gap > 16 * probe.shape[-1] * xp.finfo(probe.dtype).eps * xp.max(xp.abs(probe))):
        raise ValueError(f"{name} must be symmetric, got entries that differ by {float(gap):.3g}")
    return value


def covariance(name: str, value: Number, size: int | None = None) -> Number:
    """Require a symmetric positive definite matrix; exact or symbolic entries are not checked."""
    value = symmetric(name, value, size)
    if is_object(value):
        return value
    lowest = _lowest_eigenvalue(as_float(value))
    if not lowest > 0:
        raise ValueError(f"{name} must be positive definite, got smallest eigenvalue {lowest:.3g}")
    return value


def task_covariance(value: Number, size: int, name: str = "task_covariance") -> Number:
    """Require a symmetric positive semi-definite matrix, up to rounding."""
    value = symmetric(name, value, size)
    if is_object(value):
        return value
    probe = as_float(value)
    xp = probe.__array_namespace__()
    lowest = _lowest_eigenvalue(probe)
    slack = 16 * size * float(xp.finfo(probe.dtype).eps) * float(xp.max(xp.abs(probe)))
    if lowest < -slack:
        raise ValueError(
            f"{name} must be positive semi-definite, got smallest eigenvalue {lowest:.3g}"
        )
    return value


def as_float(value: Number) -> Number:
    """Return an integer NumPy array as float64, anything else unchanged."""
    integer = isinstance(value, np.ndarray) and value.dtype.kind in "iu"
    return value.astype(np.float64) if integer else value


def _lowest_eigenvalue(value: Number) -> float:
    xp = value.__array_namespace__()
    return float(xp.min(xp.linalg.eigvalsh(value)))


def mask(name: str, value: Any, size: int | None = None) -> Any:
    """Require a boolean array (..., D): True where a mode belongs to the subset."""
    value = value if is_array(value) else _rectangular(name, value)
    if dtype_kind(value) != "b":
        raise TypeError(f"{name} must be a boolean mask (..., D), got dtype {value.dtype}")
    if value.ndim == 0 or (size is not None and value.shape[-1] != size):
        expected = "(..., D)" if size is None else f"(..., {size})"
        raise ValueError(f"{name} must have shape {expected}, got {value.shape}")
    return value


def indices(name: str, value: Any, shape: str) -> np.ndarray:
    """Require a NumPy array of integers; `shape` says in words what it must be."""
    table = _rectangular(name, value)
    if dtype_kind(table) not in "iu":
        raise TypeError(f"{name} must be integers {shape}, got dtype {table.dtype}")
    return table


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Require an integer within ``low .. high``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    number = int(value)
    if number < low or (high is not None and number > high):
        bounds = f">= {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {bounds}, got {number}")
    return number

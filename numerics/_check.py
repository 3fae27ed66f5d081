"""Checks of a caller's input, made once where it enters; every message names the argument."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 10**15  # of a count: no machine holds or loops over as many


def floating_array(
    name: str, value: Any, ndim: int | tuple[int, ...], *, finite: bool = True
) -> NDArray[np.floating]:
    """Return `value` as a real float32 or float64 array with one of the given numbers of axes.

    Any other type of number, down to float16, becomes float64: LAPACK knows these two alone.
    """
    if isinstance(value, np.ma.MaskedArray):  # arithmetic would use what is masked
        raise TypeError(f"{name} must not be a masked array; give the entries that count")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a regular array of numbers: {error}") from None
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    # Of another byte order too.
    if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        array = array.astype(np.float64)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if array.ndim not in allowed:
        wanted = " or ".join(str(n) for n in allowed)
        raise ValueError(f"{name} must have {wanted} axes, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    return array


def state(
    name: str, value: Any, size: int, ndim: int | tuple[int, ...] = 1
) -> NDArray[np.floating]:
    """Return the weights of a model as a floating array (..., size)."""
    array = floating_array(name, value, ndim)
    same_length(f"the length of {name}", array.shape[-1], "the model", size)
    return array


def symmetric_matrix(name: str, value: Any) -> NDArray[np.floating]:
    """Return a square symmetric matrix, symmetrised to the last bit."""
    matrix = floating_array(name, value, 2)
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be a square matrix, got shape {matrix.shape}")
    gap = float(np.abs(matrix - matrix.T).max())
    # A product like A @ A.T is symmetric up to D roundings of its largest entry.
    allowed = 8 * len(matrix) * float(np.finfo(matrix.dtype).eps) * float(np.abs(matrix).max())
    if gap > allowed:
        raise ValueError(f"{name} must be symmetric, but |{name} - {name}.T| reaches {gap:.3g}")
    return (matrix + matrix.T) / 2


def positive_definite(name: str, value: Any) -> NDArray[np.floating]:
    """Return a symmetric positive definite matrix."""
    matrix = symmetric_matrix(name, value)
    smallest, largest = np.linalg.eigvalsh(matrix)[[0, -1]]
    if not smallest > len(matrix) * np.finfo(matrix.dtype).eps * max(largest, 0.0):
        raise ValueError(
            f"{name} must be positive definite, but its eigenvalues run "
            f"from {smallest:.3g} to {largest:.3g}"
        )
    return matrix


def positive_semidefinite(name: str, value: Any) -> NDArray[np.floating]:
    """Return a symmetric positive semidefinite matrix."""
    matrix = symmetric_matrix(name, value)
    smallest, largest = np.linalg.eigvalsh(matrix)[[0, -1]]
    if smallest < -len(matrix) * np.finfo(matrix.dtype).eps * max(abs(largest), abs(smallest)):
        raise ValueError(
            f"{name} must be positive semidefinite, but its smallest eigenvalue is {smallest:.3g}"
        )
    return matrix


def count(name: str, value: Any, at_least: int = 1) -> int:
    """Return an integer that is at least `at_least`."""
    try:
        if isinstance(value, bool | np.bool_ | np.ndarray):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {shown(value)}") from None
    if number < at_least:
        raise ValueError(f"{name} must be >= {at_least}, got {number}")
    if number > LARGEST:
        raise ValueError(f"{name} must be <= {LARGEST}, got {number:.3g}" if number < 10**300
                         else f"{name} must be <= {LARGEST}, got a number of "
                         f"{number.bit_length()} bits")  # fmt: skip
    return number


def real(name: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf) -> float:
    """Return a finite float that is greater than `above` and not less than `at_least`."""
    try:
        # float() would read the words, count True as 1, and drop an imaginary part.
        if isinstance(value, (str, bytes, bool, np.bool_, complex, np.ma.MaskedArray)):
            raise TypeError
        if getattr(value, "dtype", np.dtype(float)).kind not in "fiu" or np.ndim(value) != 0:
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a real number, got {shown(value)}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    if number <= above:
        raise ValueError(f"{name} must be > {above:g}, got {number:g}")
    if number < at_least:
        raise ValueError(f"{name} must be >= {at_least:g}, got {number:g}")
    return number


def flag(name: str, value: Any) -> bool:
    """Return True or False; anything else that Python would take for one is refused."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def choice(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return one of the allowed words."""
    allowed = list(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}")
    return value


def generator(name: str, value: Any) -> np.random.Generator:
    """Return the generator that NumPy makes of a seed, a generator or None."""
    try:
        return np.random.default_rng(value)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name} must be a seed >= 0 or a generator, got {shown(value)}"
        ) from None


def shown(value: Any) -> str:
    """A value on one short line, for a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:79] + "…"


def settle(instance: Any, **values: Any) -> None:
    """Store checked values in the fields of a frozen dataclass."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def same_length(name: str, value: int, other: str, expected: int) -> None:
    """Refuse two sizes that must agree and do not."""
    if value != expected:
        raise ValueError(f"{name} is {value}, but {other} makes it {expected}")

"""Checks of a caller's input, made once where it enters; every message names the argument."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def floating_array(
    name: str, value: Any, ndim: int | tuple[int, ...], *, finite: bool = True
) -> NDArray[np.floating]:
    """Return `value` as a real float32 or float64 array with one of the given numbers of axes.

    Any other type of number, down to float16, becomes float64: LAPACK knows these two alone.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a regular array of numbers: {error}") from None
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.dtype not in (np.float32, np.float64):
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
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < at_least:
        raise ValueError(f"{name} must be >= {at_least}, got {number}")
    return number


def real(name: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf) -> float:
    """Return a finite float that is greater than `above` and not less than `at_least`."""
    try:
        if isinstance(value, (str, bytes, bool, np.bool_)):
            raise TypeError  # float() would read the words and count True as 1
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a real number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    if number <= above:
        raise ValueError(f"{name} must be > {above:g}, got {number:g}")
    if number < at_least:
        raise ValueError(f"{name} must be >= {at_least:g}, got {number:g}")
    return number


def same_length(name: str, value: int, other: str, expected: int) -> None:
    """Refuse two sizes that must agree and do not."""
    if value != expected:
        raise ValueError(f"{name} is {value}, but {other} makes it {expected}")

"""Values that a caller may give by mistake, by malice, or in another form of the right one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

HUGE = 10**30
SCALARS: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 7, 0.5, -0.5, 1.0, 2.5, True, float("nan"), float("inf"), -float("inf"),
    1e300, -1e300, 1e155, 1e-300, 5e-324, -0.0, 2**31, 2**63, HUGE, -HUGE, 10**400,
    1j, None, "", "1", "nan", b"1", Decimal(1),
    np.float64(np.nan), np.float32(0.5), np.float16(6e4), np.int8(-1), np.uint8(1), np.bool_(True),
    np.datetime64("2020-01-01"), np.complex128(1),
)  # fmt: skip


def objects() -> list[Any]:
    """Things that are no numbers, made afresh."""
    return [
        object(), dict, {}, {"a": 1}, set(), (), [], [[]], [[1.0], [1.0, 2.0]], [None], ["a"],
        range(0), lambda *_: 1.0, iter([1.0]), [1j], [[[[1.0]]]], "text", NotImplemented,
        slice(None), [object()], [True, False], memoryview(b"ab"),
    ]  # fmt: skip


def arrays() -> list[Any]:
    """Arrays of every shape and kind that a function might not want."""
    return [
        np.array([]), np.zeros((0, 2)), np.zeros((2, 0)), np.zeros((0, 0)), np.array(1.0),
        np.array(np.nan), np.ones(1), np.ones(2), np.ones(3), np.ones((1, 1)), np.ones((2, 2)),
        np.ones((3, 3)), np.eye(2), np.ones((2, 3)), np.ones((1, 2, 2)), np.ones((2, 2, 2, 2)),
        np.full(2, np.nan), np.array([1.0, np.inf]), np.array([1.0, np.nan]), np.zeros(2),
        np.zeros((2, 2)), np.array([0, 1]), np.array([True, False]), np.array(["a", "b"]),
        np.array([1j, 1]), np.array([None, 1.0]), np.array([object(), object()]),
        np.array(["2020", "2021"], "datetime64[Y]"), np.full(2, 1e300), np.full((2, 2), 1e300),
        np.full(2, 1e-300), np.array([1e200, 1e-200]), np.diag([1e200, 1e-200]),
        np.ones(2, np.float16), np.ones(2, np.longdouble), np.array([-1.0, 2.0]),
        np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([[1.0, 0.5], [0.0, 1.0]]),
        np.ma.masked_array([1.0, 2.0], [True, False]), np.array([(1, 2.0)], "i4,f8"),
        np.array([2**63], np.uint64), np.array([HUGE], object),
    ]  # fmt: skip


def spoiled(valid: np.ndarray) -> list[Any]:
    """A valid array with one thing wrong."""
    values: list[Any] = [valid[None], valid[..., None], valid[:0], valid.astype(complex)]
    values += [valid.astype(object), valid.astype("U8"), valid.astype(bool)]
    values += [valid[:-1], valid[1:], np.concatenate([valid, valid])] if valid.ndim else []
    if valid.dtype.kind == "f":
        for bad in (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e160, 1e-300, 0.0, -1.0):
            one = np.array(valid, dtype=np.float64)
            one.flat[-1] = bad
            values += [one, np.full(valid.shape, bad)]
        values += [valid * scale for scale in (1e-200, 1e100, 1e200, -1.0)]
    if valid.dtype.kind in "iu":
        values += [valid - 10, valid + 10**6, valid.astype(float) + 0.5]
    return values


def forms(valid: np.ndarray) -> list[Any]:
    """The same numbers in another form: the answer must be the same."""
    frozen = valid.copy()
    frozen.flags.writeable = False
    strided = np.repeat(valid, 2, axis=0)[::2] if valid.ndim else valid.copy()
    reverse = valid[::-1].copy()[::-1] if valid.ndim else valid.copy()
    same: list[Any] = [frozen, strided, reverse, np.asfortranarray(valid)]
    if valid.dtype.kind in "iuf":
        swapped = valid.dtype.newbyteorder(">")
        same += [valid.astype(swapped), valid.tolist()]
    return same


def array_mistakes(valid: np.ndarray) -> list[Any]:
    """What an inner loop, which takes arrays, may be given."""
    wanted = [value for value in spoiled(valid) if value.dtype.kind == "f"]
    return [*wanted, np.ones(0), np.ones(1), np.ones((7, 7)), np.ones(101), np.array(1.0)]


def replacements(valid: Any, kernel: bool = False) -> list[Any]:
    """Everything by which to replace one argument."""
    if kernel:
        return array_mistakes(valid) if isinstance(valid, np.ndarray) else []
    special = spoiled(valid) if isinstance(valid, np.ndarray) else []
    return [*SCALARS, *objects(), *arrays(), *special]

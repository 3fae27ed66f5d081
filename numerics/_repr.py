"""One line for records that hold large arrays: what they are, their sizes, how they ended."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

_FEW = 4  # numbers that are shown rather than counted


class OneLine:
    """A repr of one line for a dataclass made with ``repr=False``.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, eq=False, repr=False)
    ... class Record(OneLine):
    ...     status: str
    ...     loss: float
    ...     ends: np.ndarray
    ...     states: np.ndarray
    >>> Record("finished", 0.125, np.array([1.0, 0.5]), np.zeros((200, 1000)))
    Record(finished, loss=0.125, ends=[1, 0.5], states (200, 1000))
    """

    def __repr__(self) -> str:
        names = (field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]
        parts = (_part(name, getattr(self, name)) for name in names if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(parts)})"


def _part(name: str, value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(value, list | tuple) and len(value) > _FEW:
        shape = (len(value),)
    if shape is None:
        return str(value) if name == "status" else f"{name}={_number(value)}"
    if isinstance(value, np.ndarray) and value.ndim == 1 and len(value) <= _FEW:
        return f"{name}=[{', '.join(map(_number, value.tolist()))}]"
    if not shape:
        return f"{name}={_number(value)}"
    return f"{name} {tuple(shape)}"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)

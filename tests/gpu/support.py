"""Array libraries that the tests of `gpu` run on, and comparisons with host arrays.

`array-api-strict` stands in for a device: its "device1" refuses to become a NumPy array unasked,
and on "device2" a missing dtype gives float32. PyTorch's tensors lie on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import array_api_strict
import numpy as np
import pytest

from gpu._arrays import to_host


def cuda() -> str | None:
    """Why no CUDA device answers; None if one does."""
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
        cupy.zeros(1).sum()
    except Exception as error:
        return f"no CUDA device: {type(error).__name__}: {error}".splitlines()[0]
    return None


@dataclass(frozen=True)
class Place:
    """A library and a device."""

    name: str
    frozen: bool = False

    @property
    def xp(self) -> Any:
        if self.name == "cupy":
            import cupy

            return cupy
        if self.name == "torch":
            import array_api_compat.torch as torch

            return torch
        return array_api_strict if self.name.startswith("device") else np

    @property
    def device(self) -> Any:
        return array_api_strict.Device(self.name) if self.xp is array_api_strict else None

    @property
    def options(self) -> dict[str, Any]:
        """What functions take that make arrays."""
        return {"xp": self.xp, "device": self.device}

    def dtype(self, name: str) -> Any:
        return getattr(self.xp, name)

    def put(self, values: Any, dtype: str = "float64") -> Any:
        """Numbers of the host as an array here."""
        if self.name == "cupy":
            return self.xp.asarray(values, dtype=dtype)
        if self.xp is np:
            array = np.array(values, dtype=dtype)
            array.flags.writeable = not self.frozen
            return array
        host = np.array(values, order="C")  # PyTorch reads no array of negative strides
        return self.xp.asarray(host, dtype=self.dtype(dtype), device=self.device)

    def holds(self, array: Any, dtype: str = "float64") -> bool:
        """Whether an array is of this library, dtype and device."""
        if self.xp is not array_api_strict:
            kind = self.xp.Tensor if self.name == "torch" else self.xp.ndarray
            return isinstance(array, kind) and array.dtype == self.dtype(dtype)
        return array.dtype == self.dtype(dtype) and array.device == self.device


HOST = Place("numpy")
PLACES = [
    pytest.param(HOST, id="numpy"),
    pytest.param(Place("read-only numpy", frozen=True), id="read-only"),
    pytest.param(Place("device1"), id="device1"),
    pytest.param(Place("device2"), id="device2"),
    pytest.param(
        Place("torch"),
        id="torch",
        marks=pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed"),
    ),
    pytest.param(
        Place("cupy"),
        id="cupy",
        marks=[pytest.mark.gpu, pytest.mark.skipif(bool(cuda()), reason=str(cuda()))],
    ),
]


def assert_close(actual: Any, expected: Any, roundings: float = 500.0) -> None:
    """Equal up to so many roundings, in the precision of `actual`, of the largest entry.

    A product of a few small matrices is some dozen roundings of its largest term; 500 leave room
    for the cancellation between terms of one size.
    """
    actual, expected = to_host(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    allowed = roundings * float(np.finfo(actual.dtype).eps) * float(np.abs(expected).max())
    assert float(np.abs(actual - expected).max()) <= allowed


def twin(name: str, systems: Any, theta: Any) -> np.ndarray:
    """What a method of each row's single system of `numerics` gives at that row's weights."""
    return np.array([getattr(s, name)(row) for s, row in zip(systems, theta, strict=True)])

"""Arrays of any library that follows the array API standard, and products over a batch of rows.

Inside this package a batch lies *rows last*: a state is (size, rows) and a matrix (n, m, rows), so
that one elementwise call passes over all rows at once. What a caller gives and gets is rows first.
A batch of one row stands for all rows. Nothing here but `to_host` waits for a device.
"""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

Array = Any
"""An array of NumPy, CuPy or another library of the array API standard."""

_NUMPY = array_api_compat.array_namespace(np.empty(0))
# NumPy 2.0 has no `device`: it reads what lies in the host's memory, and refuses the rest.
_TO_CPU: dict[str, Any] = (
    {"device": "cpu"} if np.lib.NumpyVersion(np.__version__) >= "2.1.0" else {}
)


def namespace(*arrays: Array) -> Any:
    """The functions of the library that made the arrays.

    >>> namespace(np.ones(2)).__name__
    'array_api_compat.numpy'
    """
    for array in arrays:
        if type(array) is not np.ndarray:
            return array_api_compat.array_namespace(*arrays)
    return _NUMPY  # the same answer, in a tenth of the time that small kernels would notice


def floating(name: str, value: Any, ndim: int) -> Array:
    """Return `value` if it is an array of real floats with so many axes, none of them empty."""
    if not array_api_compat.is_array_api_obj(value) or isinstance(value, np.generic):
        raise TypeError(
            f"{name} must be an array of NumPy, CuPy or another array-API library, "
            f"got {type(value).__name__}"
        )
    if not namespace(value).isdtype(value.dtype, "real floating"):
        raise TypeError(f"{name} must hold real floats, got dtype {value.dtype}")
    if value.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, got shape {tuple(value.shape)}")
    if 0 in value.shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(value.shape)}")
    return value


def finite(name: str, value: Array) -> Array:
    """Return an array without NaN or infinity; waits for the device."""
    xp = namespace(value)
    if not bool(xp.all(xp.isfinite(value))):
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    return value


def states(name: str, value: Any, size: int) -> Array:
    """Return the weights of a model, (rows, size)."""
    floating(name, value, 2)
    if value.shape[1] != size:
        raise ValueError(
            f"the length of a row of {name} is {value.shape[1]}, but the model has {size}"
        )
    return value


def same_kind(name: str, value: Array, other: str, reference: Array) -> None:
    """Refuse two arrays that are not of one library, dtype and device."""
    for what, ours, theirs in (
        ("library", namespace(value).__name__, namespace(reference).__name__),
        ("dtype", value.dtype, reference.dtype),
        ("device", device(value), device(reference)),
    ):
        if ours != theirs:
            raise TypeError(f"{name} has {what} {ours}, not that of {other}, {theirs}")


def same_rows(name: str, rows: int, other: str, expected: int) -> None:
    """Refuse a batch whose companion has neither as many rows nor one for all."""
    if expected not in (1, rows):
        raise ValueError(f"{name} has {rows} rows, which is not the {expected} of {other}")


def to_host(value: Array) -> np.ndarray:
    """Copy an array to NumPy; waits for the device.

    >>> to_host(np.ones(2))
    array([1., 1.])
    """
    if isinstance(value, np.ndarray):
        return value
    if array_api_compat.is_cupy_array(value):
        return np.asarray(value.get())
    if array_api_compat.is_torch_array(value):
        return np.asarray(value.detach().cpu())
    return np.from_dlpack(value, **_TO_CPU)


def device(value: Array) -> Any:
    """Where an array lies."""
    return array_api_compat.device(value)


def on_host(value: Array) -> bool:
    """Whether an array lies in the host's memory, as those of CuPy and on PyTorch's CUDA do not.

    >>> on_host(np.ones(2))
    True
    """
    if array_api_compat.is_torch_array(value):
        return bool(value.device.type == "cpu")
    return not array_api_compat.is_cupy_array(value)


def like(reference: Array, value: Any) -> Array:
    """Numbers of the host as an array of the reference's library, dtype and device."""
    xp = namespace(reference)
    return xp.asarray(_plain(value), dtype=reference.dtype, device=device(reference))


def placed(values: Any, xp: Any, dtype: Any, device: Any) -> Array:
    """Numbers of the host as an array of a library, by default float64 on its first device."""
    try:
        library = namespace(xp.empty(0))
    except (AttributeError, TypeError):
        raise TypeError(f"xp must be an array library such as numpy or cupy, got {xp!r}") from None
    dtype = library.float64 if dtype is None else dtype
    return library.asarray(_plain(values), dtype=dtype, device=device)


def _plain(values: Any, dtype: Any = None) -> np.ndarray:
    """An array of the host as PyTorch too can read it: laid out in order, and writeable."""
    return np.require(values, dtype, ["C", "W"])


def unit(reference: Array, n: int) -> Array:
    """The unit matrix (n, n) beside the reference."""
    return namespace(reference).eye(n, dtype=reference.dtype, device=device(reference))


def index(reference: Array, value: Any) -> Array:
    """Numbers of the host as an index array beside the reference."""
    return namespace(reference).asarray(_plain(value, np.int64), device=device(reference))


def contiguous(value: Array, axes: tuple[int, ...]) -> Array:
    """Permute the axes and lay the result out anew in that order."""
    xp = namespace(value)
    moved = xp.permute_dims(value, axes)
    return xp.reshape(xp.reshape(moved, (-1,)), moved.shape)


def rows_last(value: Array) -> Array:
    """(rows, …) as (…, rows)."""
    return contiguous(value, (*range(1, value.ndim), 0))


def rows_first(value: Array) -> Array:
    """(…, rows) as (rows, …)."""
    return contiguous(value, (value.ndim - 1, *range(value.ndim - 1)))


def transposed(value: Array) -> Array:
    """(n, m, rows) as (m, n, rows), a view."""
    return namespace(value).permute_dims(value, (1, 0, 2))


def take(value: Array, rows: Array) -> Array:
    """Some rows of a batch (rows, …); a batch of one row stands for all and stays."""
    return value if value.shape[0] == 1 else namespace(value).take(value, rows, axis=0)


# Below this many multiplications per row, matmul's overhead for each row costs more than them.
_SMALL_PRODUCT = 128


def product(A: Array, B: Array) -> Array:
    """Matrix products of each row, (n, k, rows) · (k, m, rows); either may have one row for all.

    >>> product(np.ones((1, 2, 3)), np.ones((2, 1, 3))).tolist()
    [[[2.0, 2.0, 2.0]]]
    """
    xp = namespace(A, B)
    n, k, m = A.shape[0], A.shape[1], B.shape[1]
    if A.shape[2] == 1:
        whole = A[:, :, 0] @ xp.reshape(B, (k, m * B.shape[2]))
        return xp.reshape(whole, (n, m, B.shape[2]))
    if n * k * m <= _SMALL_PRODUCT:
        return _small_product(xp, A, B)
    batched = xp.permute_dims(A, (2, 0, 1)) @ xp.permute_dims(B, (2, 0, 1))
    return xp.permute_dims(batched, (1, 2, 0))


def _small_product(xp: Any, A: Array, B: Array) -> Array:
    """A broadcast for each summed term."""
    if array_api_compat.is_numpy_namespace(xp):
        # Outside the standard, but NumPy multiplies and adds here in one pass instead of two:
        # the right-hand side of ATTN_S at D = H = 4 takes 170 ns per row instead of 250.
        return np.einsum("nkr,kmr->nmr", A, B)
    total = A[:, 0, None, :] * B[0, None, :, :]
    for i in range(1, A.shape[1]):
        total += A[:, i, None, :] * B[i, None, :, :]
    return total

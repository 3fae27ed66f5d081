"""Checks of moments and of the matrices that meet them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check


def settle_moments(moments: Any, **shapes: tuple[int, int] | None) -> None:
    """Check the fields: C (D, D) and each of the other arrays (D, D) if no shape is given."""
    correlation = _check.floating_array("correlation", moments.correlation, 2)
    square = (correlation.shape[0],) * 2
    arrays = {"correlation": correlation}
    for name in shapes:
        arrays[name] = _check.floating_array(name, getattr(moments, name), 2)
    for name, array in arrays.items():
        if array.shape != (wanted := shapes.get(name) or square):
            raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    _check.settle(moments, energy=_check.real("energy", moments.energy), **arrays)


def check_part(name: str, part: Any, kind: type) -> None:
    """Refuse what is not one of the parts that are pooled."""
    if not isinstance(part, kind):
        raise TypeError(f"{name} must hold {kind.__name__}, got {_check.shown(part)}")


def checked_matrix(value: ArrayLike, dimension: int) -> NDArray[Any]:
    """M (..., D, D) of finite numbers, complex ones too: derivatives by complex step need them."""
    try:
        M = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"M must be a regular array: {error}") from None
    if M.dtype.kind not in "fiuc":
        raise TypeError(f"M must hold numbers, got dtype {M.dtype}")
    if not np.isfinite(M).all():
        raise ValueError("M must be finite, got NaN or infinity in it")
    if M.shape[-2:] != (dimension, dimension):
        raise ValueError(f"M must have shape (..., D, D) for D = {dimension}, got {M.shape}")
    return M

"""Quotients with a removable singularity at zero, for every kind of number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._generic import Number, expm1, is_array, is_object, is_symbolic, log1p, map_entries


def growth(x: Number) -> Number:
    """Return (e^x − 1)/x, 1 at x = 0."""
    return _removable(x, expm1)


def log_growth(x: Number) -> Number:
    """Return ln(1 + x)/x, 1 at x = 0."""
    return _removable(x, log1p)


def _removable(x: Number, function: Callable[[Any], Any]) -> Number:
    if is_object(x):
        return map_entries(lambda entry: _removable(entry, function), x)
    if is_array(x):
        xp = x.__array_namespace__()
        safe = xp.where(x == 0, xp.ones_like(x), x)
        return xp.where(x == 0, xp.ones_like(x), function(safe) / safe)
    if not is_symbolic(x) and x == 0:
        return 1 + x
    return function(x) / x

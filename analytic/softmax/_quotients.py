"""Quotients with a removable singularity, and a root, without cancellation, for every number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._generic import Number, expm1, is_array, is_object, is_symbolic, log1p


def growth(x: Number) -> Number:
    """Return (e^x − 1)/x, 1 at x = 0."""
    return _removable(x, expm1)


def log_growth(x: Number) -> Number:
    """Return ln(1 + x)/x, 1 at x = 0."""
    return _removable(x, log1p)


def inverse_log_mean(a: Number, b: Number, gap: Number) -> Number:
    """Return ln(a/b)/(a − b) for a, b > 0 and gap = a − b, 1/a at a = b.

    Over the smaller of a and b, since log1p(gap/b) loses digits where gap/b is near −1.
    """
    if is_object(gap):
        return np.frompyfunc(inverse_log_mean, 3, 1)(a, b, gap)
    if is_array(gap):
        least = gap.__array_namespace__().where(gap >= 0, b, a)
        return log_growth(abs(gap) / least) / least
    if is_symbolic(gap) or gap >= 0:
        return log_growth(gap / b) / b
    return log_growth(-gap / a) / a


def positive_root(gap: Number, root: Number, product: Number) -> Number:
    """Return (gap + root)/2 = 2 product/(root − gap), the form in which nothing cancels."""
    if is_object(gap):
        return np.frompyfunc(positive_root, 3, 1)(gap, root, product)
    if is_array(gap):
        larger = (abs(gap) + root) / 2
        return gap.__array_namespace__().where(gap >= 0, larger, product / larger)
    if is_symbolic(gap) or gap >= 0:
        return (gap + root) / 2
    return 2 * product / (root - gap)


def _removable(x: Number, function: Callable[[Any], Any]) -> Number:
    if is_array(x):
        xp = x.__array_namespace__()
        safe = xp.where(x == 0, xp.ones_like(x), x)
        return xp.where(x == 0, xp.ones_like(x), function(safe) / safe)
    if x == 0:
        return 1 + x
    return function(x) / x

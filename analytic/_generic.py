"""One formula for every kind of number.

The closed forms of this package are plain arithmetic. This module holds what plain arithmetic
lacks: elementary functions chosen by the kind of number, the promotion of integers that keeps a
quotient exact, and three array helpers. SymPy and mpmath are reached through ``sys.modules`` only:
a caller who passes their numbers has imported them already.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np

Number = Any
"""A float, `Fraction`, mpmath or SymPy number, or an array (NumPy, CuPy, array API) of them."""


def is_array(value: Number) -> bool:
    """Tell arrays, of whatever library, from scalars (NumPy scalars count as scalars)."""
    return hasattr(value, "__array_namespace__") and not isinstance(value, np.generic)


def is_object(value: Number) -> bool:
    """Tell whether `value` is an array of Python objects (symbols, fractions, mpmath numbers)."""
    return isinstance(value, np.ndarray) and value.dtype == object


def dtype_kind(value: Number) -> str:
    """Return NumPy's letter for the dtype of an array of any library ("?" where it has none)."""
    kind = getattr(value.dtype, "kind", None)
    if kind is not None:
        return str(kind)
    xp = value.__array_namespace__()
    names = {"bool": "b", "integral": "i", "real floating": "f"}
    return next((letter for name, letter in names.items() if xp.isdtype(value.dtype, name)), "?")


def is_symbolic(value: Number) -> bool:
    """Tell whether a scalar holds a free symbol, so that it has no sign to check."""
    return bool(getattr(value, "free_symbols", None))


def entries(*values: Number) -> Iterable[Number]:
    """Yield the scalars among `values` and the entries of the object arrays among them."""
    for value in values:
        if is_object(value):
            yield from value.flat
        elif not is_array(value):
            yield value


def map_entries(function: Callable[[Any], Any], value: Number) -> Number:
    """Apply `function` to each entry of an object array."""
    return np.frompyfunc(function, 1, 1)(value)


def _families(*values: Number) -> set[str]:
    return {type(entry).__module__.partition(".")[0] for entry in entries(*values)}


def namespace(*values: Number) -> Any:
    """Return the module whose ``exp``, ``log``, ``sqrt`` and ``atan`` fit `values`.

    Arrays of floats answer with their own namespace; otherwise one SymPy (mpmath) number among the
    values selects SymPy (mpmath); otherwise NumPy.

    Examples
    --------
    >>> namespace(1.0).__name__, namespace(np.ones(2)).__name__
    ('numpy', 'numpy')
    """
    for value in values:
        if is_array(value) and not is_object(value):
            return value.__array_namespace__()
    families = _families(*values)
    for name in ("sympy", "mpmath"):
        if name in families:
            return sys.modules[name]
    return np


_FALLBACKS: dict[str, Callable[[Any, Any], Any]] = {
    "log1p": lambda module, x: module.log(1 + x),
    "expm1": lambda module, x: module.exp(x) - 1,
    "cbrt": lambda module, x: x ** (1 / 3),
}


def _apply(module: Any, name: str, x: Number) -> Number:
    function = getattr(module, name, None)
    return _FALLBACKS[name](module, x) if function is None else function(x)


def _elementary(name: str, x: Number, companions: tuple[Number, ...]) -> Number:
    if is_object(x):
        module = _scalar_module(x, *companions)
        return map_entries(lambda entry: _apply(module, name, entry), x)
    if is_array(x):
        return _apply(x.__array_namespace__(), name, x)
    if isinstance(x, np.generic):
        return _apply(np, name, x)
    return _apply(_scalar_module(x, *companions), name, x)


def _scalar_module(*values: Number) -> Any:
    # `math` for Python floats: a NumPy scalar would turn a float32 companion into float64.
    families = _families(*values)
    for name in ("sympy", "mpmath"):
        if name in families:
            return sys.modules[name]
    return math


def exp(x: Number, *companions: Number) -> Number:
    """Return e^x; `companions` are the other numbers of the formula, for a bare integer `x`."""
    return _elementary("exp", x, companions)


def expm1(x: Number, *companions: Number) -> Number:
    """Return e^x - 1 without cancellation at small `x`."""
    return _elementary("expm1", x, companions)


def log(x: Number, *companions: Number) -> Number:
    """Return the natural logarithm."""
    return _elementary("log", x, companions)


def log1p(x: Number, *companions: Number) -> Number:
    """Return ln(1 + x) without cancellation at small `x`."""
    return _elementary("log1p", x, companions)


def sqrt(x: Number, *companions: Number) -> Number:
    """Return the square root (exact for SymPy companions)."""
    return _elementary("sqrt", x, companions)


def cbrt(x: Number, *companions: Number) -> Number:
    """Return the cube root of a non-negative number."""
    return _elementary("cbrt", x, companions)


def sin(x: Number, *companions: Number) -> Number:
    """Return the sine."""
    return _elementary("sin", x, companions)


def atan(x: Number, *companions: Number) -> Number:
    """Return the inverse tangent."""
    return _elementary("atan", x, companions)


def _exact_integer(families: set[str]) -> Callable[[Any], Any] | None:
    if "sympy" in families:
        return sys.modules["sympy"].sympify
    if "mpmath" in families:
        return sys.modules["mpmath"].mpf
    return Fraction if "fractions" in families else None


def _to_mpf(entry: Number) -> Number:
    mpf = sys.modules["mpmath"].mpf
    return mpf(entry.numerator) / entry.denominator


def harmonise(*values: Number) -> tuple[Number, ...]:
    """Return `values` with integers promoted so that no quotient of two of them is rounded.

    With a SymPy, mpmath or `Fraction` number among them, integers become numbers of that kind;
    integer arrays become floats of the dtype of the float arrays present (float64 by default);
    NumPy's float64 scalars become Python floats, which leave a float32 array float32.
    """
    families = _families(*values)
    convert = _exact_integer(families)
    floats = [v for v in values if is_array(v) and not is_object(v) and not _is_integer_array(v)]
    if floats and not families & {"sympy", "mpmath"}:
        convert = float
    return tuple(_harmonised(value, convert, floats, "mpmath" in families) for value in values)


def _is_integer_array(value: Number) -> bool:
    return dtype_kind(value) in ("i", "u")


def _harmonised(value: Number, convert: Any, floats: list[Number], to_mpf: bool) -> Number:
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype in (object, np.float64):
        value = value.item()
    if isinstance(value, np.float64 | np.integer):
        value = value.item()
    if is_array(value) and not is_object(value):
        if not _is_integer_array(value):
            return value
        if convert is None or floats:
            return _as_float(value, floats)
        value = value.astype(object)
    if convert is None:
        return value
    if is_object(value):
        return map_entries(lambda entry: _promoted(entry, convert, to_mpf), value)
    return _promoted(value, convert, to_mpf)


def _promoted(entry: Number, convert: Any, to_mpf: bool) -> Number:
    if isinstance(entry, int):
        return convert(entry)
    if isinstance(entry, Fraction):
        if convert is float:
            return float(entry)
        if to_mpf:
            return _to_mpf(entry)
    return entry


def _as_float(value: Number, floats: list[Number]) -> Number:
    xp = (floats or [value])[0].__array_namespace__()
    return xp.asarray(value, dtype=floats[0].dtype if floats else xp.float64)


def over_length(numerator: Number, context_length: Number) -> Number:
    """Return ``numerator / N``, an exact zero of the numerator's kind at ``N = inf``."""
    if isinstance(context_length, float) and context_length == math.inf:
        return 0 * numerator
    return numerator / context_length


def column(value: Number) -> Number:
    """Give an array over batch dimensions a trailing axis of length 1; leave scalars alone."""
    return value[..., None] if is_array(value) and value.ndim else value


def total(value: Number, *, keepdims: bool = False) -> Number:
    """Sum over the last axis."""
    return value.__array_namespace__().sum(value, axis=-1, keepdims=keepdims)


def cumulative(value: Number) -> Number:
    """Return the running sum along the last axis."""
    xp = value.__array_namespace__()
    running = getattr(xp, "cumulative_sum", None) or xp.cumsum
    return running(value, axis=-1)


def concat(parts: list[Number]) -> Number:
    """Join arrays along the last axis."""
    xp = parts[0].__array_namespace__()
    join = getattr(xp, "concat", None) or xp.concatenate
    return join(parts, axis=-1)

"""The public boundary: arguments are what the annotations say, and no answer is a silent NaN.

`guarded` reads a function's annotations. An argument that has to be a model, moments, sequences, …
must have the attributes that the function will use (a caller's own class may have them too); a
`bool` must be one, and `rng` must be what NumPy makes a generator of. Where a number overflows on
the way, or 0/0 appears, `OverflowError` says so; runs that may diverge on their way report it in
their `status` instead.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from numerics import _check

P = ParamSpec("P")
R = TypeVar("R")

_LAYER = ("a whole layer", "size shapes loss_and_gradient")
_SYSTEM = ("a system such as AttentionSystem(model, moments)", "size loss velocity invariants")
_MOMENTS = ("moments, such as population_moments(task)", "energy correlation quadratic")
# By annotation: what it is in words, and the attributes of which it must have all.
_KINDS = {
    "Attention": ("a model", "dimension size matrix rotate"),
    "SeparateAttention": ("a SeparateAttention", "dimension heads pairs rotate"),
    "SpectralAttention": ("a SpectralAttention", "block_dims heads combined"),
    "AttentionLayer": _LAYER,
    "Layer": _LAYER,
    "Layer | Attention": ("a layer or a model", "size dimension heads"),
    "AnyMoments": _MOMENTS,
    "Moments": _MOMENTS,
    "DenseMoments": ("dense moments", "energy correlation feature_moment"),
    "LinearLayerMoments": ("moments of a layer", "correlation feature_moment divide_by_context"),
    "GradientSystem": ("a system with a Jacobian", "size loss velocity invariants jacobian"),
    "Trainable": _SYSTEM,
    "SpectralSystem": ("a SpectralSystem(model, task)", "size model task velocity"),
    "Sequences": ("Sequences", "x y query target lengths w"),
    "Task": ("a LinearTask or TokenTask", "lengths covariance task_covariance noise"),
    "MultiTask": ("a MultiTask", "block_dims signal context_length noise blocks"),
    "Trajectory": ("a Trajectory", "t loss loss_rate"),
}


def guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Check what the annotations promise, and let the function raise where it would overflow.

    Examples
    --------
    >>> @guarded
    ... def quotient(a: float, b: float, exact: bool = False) -> float:
    ...     return a / b
    >>> quotient(1.0, 4.0)
    0.25
    >>> quotient(np.float64(1e200), 1e-200)
    Traceback (most recent call last):
        ...
    OverflowError: quotient: a, b are too large or too small for floating point
    """
    signature = inspect.signature(function)
    parameters = {n: p for n, p in signature.parameters.items() if n != "self"}
    checks = {n: c for n, p in parameters.items() if (c := _check_of(n, p)) is not None}
    numbers = ", ".join(n for n, p in parameters.items() if n != "rng" and p.annotation != "bool")
    name = function.__qualname__.removesuffix(".__init__").removesuffix(".__post_init__")

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        for argument, check in checks.items():
            if argument in given:
                check(argument, given[argument])
        try:
            with np.errstate(over="raise", divide="raise", invalid="raise"):
                return function(*args, **kwargs)
        except (FloatingPointError, ZeroDivisionError, np.linalg.LinAlgError):
            pass
        except OverflowError as error:
            if "floating point" in str(error):
                raise
        what = numbers or "its fields"
        raise OverflowError(f"{name}: {what} are too large or too small for floating point")

    return call


def finite(answer: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return an array, or raise where it overflowed.

    Before NumPy 2.3 `np.dot` overflows without a word; `@` does not.
    """
    if not np.isfinite(answer).all():
        raise FloatingPointError
    return answer


def _check_of(name: str, parameter: inspect.Parameter) -> Callable[[str, Any], Any] | None:
    """The check that an argument's name or annotation asks for."""
    annotation = str(parameter.annotation)
    if name == "rng":
        return _check.generator
    if annotation == "bool":
        return _check.flag
    if annotation.startswith("Iterable["):
        return _check_iterable
    if annotation in _KINDS:
        what, attributes = _KINDS[annotation]
        return lambda argument, value: _has(argument, value, what, attributes.split())
    return None


def _has(name: str, value: Any, what: str, attributes: list[str]) -> None:
    missing = isinstance(value, type) or not all(hasattr(value, a) for a in attributes)
    if missing:
        raise TypeError(f"{name} must be {what}, got {_check.shown(value)}")


def _check_iterable(name: str, value: Any) -> None:
    text = isinstance(value, str | bytes | type)
    if text or not isinstance(value, Iterable) or (hasattr(value, "ndim") and not value.ndim):
        raise TypeError(f"{name} must be iterable, got {_check.shown(value)}")


__all__ = ["finite", "guarded"]

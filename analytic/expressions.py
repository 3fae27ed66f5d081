"""Every closed form as a SymPy expression, in the papers' notation, and as LaTeX.

The closed forms are generic over the number: an expression here is the function itself, called with
symbols. SymPy is imported when one is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import _check, _routes
from ._generic import is_array
from ._symbols import (
    ASSUMPTIONS,
    CHOICE_AXES,
    CHOICES,
    ENTRIES,
    OF_FUNCTION,
    PER_TASK,
    REFUSED,
    SIZES,
    SOFTMAX,
    Entry,
)


def symbolic(function: Callable[..., Any], **given: Any) -> Any:
    """Return a closed form as SymPy expressions.

    Parameters
    ----------
    function
        A public function of `analytic` or `analytic.softmax`.
    **given
        Values of arguments, numbers or expressions of your own, instead of symbols; and the sizes
        `dimension` (D), `heads` (H), `tasks` (I), `rank` (R) and `lengths` (K), at most 20 and 2 by
        default (R: 1). Functions of [S] on one task take scalars unless `tasks` is given. What says
        which terms there are (`subset`, `components`, `assignment`, …) has a small default.

    Returns
    -------
    An expression; a matrix, a column for a list; or a tuple or record of these, as the function
    returns. Eigenvalues stand in visit order. Substitute with ``.subs``, or make a function of
    numbers with `sympy.lambdify`.

    Raises
    ------
    TypeError
        If the function is not one of these, takes no such argument or size, or has no closed form:
        the message says why and what to ask for instead.
    ValueError
        If a given value is out of its range.

    Notes
    -----
    Symbols are those of `analytic.derivations`: ``lambda1`` … for eigenvalues, ``omega1`` … for
    those of the tasks, ``N`` ([L]) or ``L`` ([S]) for the context length, ``sigma`` for the noise.
    `water_filling` and what rests on it are given for the case that every task has a share and none
    reaches the cap; `lower_bound` with more heads than tasks for that of all at the cap. Derived
    here.

    Examples
    --------
    >>> import analytic
    >>> symbolic(analytic.mode_growth, dimension=3, task_eigenvalues=1)
    Matrix([
    [lambda1**2],
    [lambda2**2],
    [lambda3**2]])
    >>> symbolic(analytic.learning_time)
    tau/(growth*v0)
    """
    name = _registered(function)
    if name in REFUSED:
        raise TypeError(f"function {name} has no symbolic form: {REFUSED[name]}")
    arguments = _arguments(function, name, given)
    return _as_sympy(_routes.ROUTES.get(name, function)(**arguments))


def to_latex(function: Callable[..., Any], **given: Any) -> str:
    r"""Return a closed form as LaTeX, without dollar signs.

    Arguments and errors as in `symbolic`; a result of several parts is in brackets. Forms of
    general matrices write every entry out: diagonal ones, given by name, make them short.

    Examples
    --------
    >>> import analytic
    >>> print(to_latex(analytic.learning_time))
    \frac{\tau}{\mathrm{growth} v_{0}}
    >>> import sympy as sp
    >>> lam, omega = sp.symbols("lambda omega", positive=True)
    >>> print(to_latex(analytic.learning_time, growth=lam**2 * omega))
    \frac{\tau}{\lambda^{2} \omega v_{0}}
    >>> print(to_latex(analytic.softmax.noise_factor))
    1 + \frac{\sigma^{2}}{d \lambda}
    """
    import sympy as sp

    value = symbolic(function, **given)
    parts = sp.Tuple(*value) if isinstance(value, tuple) else value
    words = {s: _upright(s.name) for s in parts.free_symbols if s.name.startswith(_WORDS)}
    return str(sp.latex(parts, symbol_names=words))


_MOST = 20  # expressions of more terms help nobody
_WORDS = ("growth", "curvature")


def _upright(name: str) -> str:
    word = name.rstrip("0123456789")
    return rf"\mathrm{{{word}}}" + (f"_{{{name[len(word) :]}}}" if name != word else "")


def _registered(function: Any) -> str:
    """Return the name under which `function` is public, with its package."""
    import analytic

    name = getattr(function, "__name__", "")
    for prefix, package in (("", analytic), ("softmax.", analytic.softmax)):
        if name in package.__all__ and getattr(package, name) is function:
            if inspect.isclass(function) or name in ("symbolic", "to_latex"):
                break
            return prefix + name
    raise TypeError(
        "function must be a public function of analytic or analytic.softmax, like "
        f"analytic.plateau_losses, got {function!r}"
    )


class _Sizes(dict[str, int]):
    """Lengths of axes, which remembers the ones that were asked for."""

    def __init__(self, given: Mapping[str, int]) -> None:
        super().__init__({**SIZES, **given})
        self.used: set[str] = set()

    def __getitem__(self, axis: str) -> int:
        self.used.add(axis)
        return super().__getitem__(axis)


def _arguments(function: Any, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given value, the choice or the symbols of every argument."""
    names = list(inspect.signature(function).parameters)
    entries = _entries(name, names, listed="tasks" in given)
    sizes = _sizes(entries, names, given)
    arguments: dict[str, Any] = {}
    for key in sorted(names, key=lambda key: key != "block_dims"):  # which say how long omega is
        choice = CHOICES.get(f"{name}.{key}")
        if choice is None and key not in OF_FUNCTION.get(name, {}):
            choice = CHOICES.get(key)
        if key in given:
            arguments[key] = given[key]
        elif choice is not None:
            arguments[key] = choice(sizes)
        elif key in entries:
            arguments[key] = _symbols(entries[key], sizes)
        else:
            raise TypeError(f"{key} has no symbol; give its value by name")
        if key == "block_dims":
            sizes["coordinates"] = _coordinates(arguments[key], sizes)
    unknown = sorted(set(given) - set(names) - sizes.used)
    if unknown:
        known = ", ".join([*names, *sorted(sizes.used & set(SIZES) - set(names))])
        raise TypeError(f"{name} takes no {', '.join(unknown)}; it takes {known}")
    return arguments


def _entries(name: str, names: list[str], *, listed: bool) -> dict[str, Entry]:
    of_softmax = name.startswith("softmax.")
    table = {**ENTRIES, **(SOFTMAX if of_softmax else {}), **OF_FUNCTION.get(name, {})}
    entries = {key: table[key] for key in names if key in table}
    if of_softmax and listed and "block_dims" in names:  # from one task to several
        for key in {*PER_TASK, *OF_FUNCTION.get(name, {})} & set(entries):
            if not entries[key].axes:
                entries[key] = entries[key]._replace(axes=("tasks",))
    return entries


def _sizes(entries: Mapping[str, Entry], names: list[str], given: Mapping[str, Any]) -> _Sizes:
    """Return the sizes given, or as the arrays given have them."""
    found: dict[str, int] = {}
    for key in given:
        axes = entries[key].axes if key in entries else CHOICE_AXES.get(key, ())
        shape = _shape(given[key]) if axes else ()
        if len(shape) == len(axes):
            found |= dict(zip(axes, shape, strict=True))
    asked = set(SIZES) & set(given) - set(names)
    return _Sizes(found | {axis: _check.integer(axis, given[axis], 1, _MOST) for axis in asked})


def _shape(value: Any) -> tuple[int, ...]:
    try:
        return np.shape(value)
    except ValueError:  # ragged: the function says so
        return ()


def _coordinates(block_dims: Any, sizes: Mapping[str, int]) -> int:
    """Return Σ d_i, 0 where it is no number."""
    dims = np.asarray(block_dims)
    if dims.dtype.kind not in "iu":
        return 0
    return int(dims.sum() if dims.ndim else dims * sizes["tasks"])


def _symbols(entry: Entry, sizes: Mapping[str, int]) -> Any:
    """Return a symbol, or an array of them."""
    import sympy as sp

    facts = ASSUMPTIONS[entry.sign]
    if not entry.axes:
        return sp.Symbol(entry.name, **facts)
    shape = tuple(sizes[axis] for axis in entry.axes)
    table = np.empty(shape, dtype=object)
    between = "_" if "heads" in entry.axes or max(shape) > 9 else ""
    for index in np.ndindex(*shape):
        labels = sorted(index) if entry.symmetric else index
        suffix = between.join(str(i + 1) for i in labels)
        table[index] = sp.Symbol(entry.name + suffix, **facts)
    return table


def _as_sympy(value: Any) -> Any:
    import sympy as sp

    if isinstance(value, tuple):
        parts = [_as_sympy(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if is_array(value) and value.ndim:
        return sp.ImmutableMatrix(value).applyfunc(_as_sympy)
    # x^a where a form computes e^{a ln x}
    return sp.sympify(value.item() if is_array(value) else value).rewrite(sp.Pow)

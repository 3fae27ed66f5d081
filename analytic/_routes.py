"""Expressions of the closed forms that take no symbols, because they count, branch or search.

Each is the formula of the function's docstring; the tests compare it with the function at numbers.
Water-filling has one branch for each set of tasks that get a share; the one here is that of all
tasks, ν_i = w √(d_i(λ_i d_i + σ²)) − c_i with the level w that spends the budget, none of them at
the cap. More heads than tasks can fill every task to the cap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _check
from .softmax.limit import limit_loss
from .softmax.regimes import participation_branches
from .softmax.single_head import SingleHead, allocation_loss

Number = Any


def _merged_zero_index(heads: Number) -> Number:
    return _integer("heads", heads, 1)


def _equiangular_budget(heads: Number) -> Number:
    import sympy as sp

    count = _integer("heads", heads, 1)
    return sp.Piecewise((sp.exp(-1), sp.Eq(count, 1)), (count - 1, True))


def _hermite_response(degree: Number, omega: Number, query: Number) -> Number:
    return (omega * query) ** _integer("degree", degree, 0)


def _hermite_gain(degree: Number) -> Number:
    import sympy as sp

    k = _integer("degree", degree, 0)
    return sp.factorial(k) / sp.factorial2(2 * k - 1)


def _hermite_error(degree: Number, gain: Number) -> Number:
    best = _hermite_gain(degree)
    return 1 - best if gain is None else 1 - 2 * gain + gain**2 / best


def _participation_exponent(load: Number, mean: bool) -> Number:
    import sympy as sp

    u, branches = sp.sympify(load), participation_branches(load)
    end, middle = (sp.Rational(2, 3), branches.mean) if mean else (sp.S.Half, branches.typical)
    return sp.Piecewise((branches.exponential, u <= end), (middle, u <= 2), (0, True))


def _water_filling(
    block_dims: Number,
    signal: Number,
    context_length: Number,
    noise: Number,
    budget: Number,
    cap: Number,
) -> Number:
    import sympy as sp

    if cap is not None:
        raise TypeError("cap must be None: which tasks reach it depends on numbers")
    d, lam, cost = _tasks(block_dims, signal, context_length, noise)
    weight = np.array([sp.sqrt(x) for x in d * (lam * d + sp.sympify(noise) ** 2)], dtype=object)
    level = ((sp.exp(-1) if budget is None else budget) + cost.sum()) / weight.sum()
    return level * weight - cost


def _single_head_optimum(
    block_dims: Number, signal: Number, context_length: Number, noise: Number
) -> SingleHead:
    import sympy as sp

    nu = _water_filling(block_dims, signal, context_length, noise, None, None)
    d, lam, cost = _tasks(block_dims, signal, context_length, noise)
    b = sp.E * nu
    omega, mu = (np.array([sp.sqrt(x) for x in inside], dtype=object) for inside in (b / d, b * d))
    loss = allocation_loss(nu, d, lam, context_length, noise=noise)
    return SingleHead(b, omega, mu / (b + sp.E * cost), loss)


def _allocated_loss(
    assignment: Sequence[int],
    block_dims: Number,
    signal: Number,
    context_length: Number,
    noise: Number,
) -> Number:
    d, lam, _ = _tasks(block_dims, signal, context_length, noise)
    heads = _check.indices("assignment", assignment, "(I,)")
    if heads.shape != d.shape:
        raise ValueError(f"assignment must have shape {d.shape}, got {heads.shape}")
    return sum(
        _single_head_optimum(d[heads == h], lam[heads == h], context_length, noise).loss
        for h in np.unique(heads)
    )


def _separation(
    assignment: Sequence[int],
    block_dims: Number,
    signal: Number,
    context_length: Number,
    noise: Number,
) -> Number:
    alone = _single_head_optimum(block_dims, signal, context_length, noise).loss
    return alone / _allocated_loss(assignment, block_dims, signal, context_length, noise)


def _lower_bound(
    block_dims: Number, signal: Number, context_length: Number, heads: int, noise: Number
) -> Number:
    count = _check.integer("heads", heads, 1)
    d, lam, cost = _tasks(block_dims, signal, context_length, noise)
    if count > len(d):
        nu = 0 * cost + 1
    else:
        budget = None if count == 1 else count - 1
        nu = _water_filling(d, lam, context_length, noise, budget, None)
    return (lam * d * cost / (cost + nu)).sum()


def _optimality_ratio(
    block_dims: Number, signal: Number, context_length: Number, heads: int, noise: Number
) -> Number:
    bound = _lower_bound(block_dims, signal, context_length, heads, noise)
    return limit_loss(block_dims, signal, context_length, noise=noise) / bound


def _tasks(
    block_dims: Number, signal: Number, context_length: Number, noise: Number
) -> tuple[Any, Any, Any]:
    """Return d_i, λ_i and c_i as lists."""
    import sympy as sp

    d, lam = np.broadcast_arrays(*(
        np.atleast_1d(np.array(sp.sympify(np.asarray(value, dtype=object).tolist()), dtype=object))
        for value in (block_dims, signal)
    ))  # fmt: skip
    return d, lam, (d + sp.sympify(noise) ** 2 / lam) / sp.sympify(context_length)


def _integer(name: str, value: Number, low: int) -> Number:
    import sympy as sp

    free = getattr(value, "free_symbols", None)
    return value if free else sp.Integer(_check.integer(name, value, low))


ROUTES: dict[str, Callable[..., Any]] = {
    "merged_zero_index": _merged_zero_index,
    "softmax.allocated_loss": _allocated_loss,
    "softmax.equiangular_budget": _equiangular_budget,
    "softmax.hermite_error": _hermite_error,
    "softmax.hermite_gain": _hermite_gain,
    "softmax.hermite_response": _hermite_response,
    "softmax.lower_bound": _lower_bound,
    "softmax.optimality_ratio": _optimality_ratio,
    "softmax.participation_exponent": _participation_exponent,
    "softmax.separation": _separation,
    "softmax.single_head_optimum": _single_head_optimum,
    "softmax.water_filling": _water_filling,
}

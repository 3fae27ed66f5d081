"""What H heads can reach: the lower bound, and how close the flow's limit comes.

Whatever the weights, task i with its best read-out leaves at least λ_i d_i c_i/(c_i + ν_i), where
ν_i = λ_max(E⁻¹Ω_i), E = e^{⟨ω^h, ω^{h'}⟩}, Ω_i the Gram matrix of the heads on block i. For any
weights ν_i <= 1, and Σν_i <= tr(E⁻¹ΣΩ_i), which is at most 1/e at H = 1 and below H − 1 at H >= 2.
Heads are equiangular if ⟨ω^h, ω^h⟩ = a and ⟨ω^h, ω^{h'}⟩ = b for all h ≠ h', [S] Definition 2; they
approach H − 1. [S] proves its bound for equiangular weights; the proof for all weights is in
`analytic.derivations.softmax_heads`. Symbols as in `analytic.softmax.limit`. [S] is arXiv
2402.19442; its forms are derived here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check
from .._generic import Number, entries, exp, harmonise, is_symbolic
from .._guard import guarded
from ._quotients import growth
from ._tasks import euler
from .limit import limit_loss
from .single_head import allocation_loss, water_filling


@guarded
def equiangular_allocation(heads: int, squared_norm: Number, overlap: Number) -> Number:
    """Return tr(E⁻¹Ω), the bound on Σν_i of H equiangular heads with a, b.

    ::

        (H − 1)(a − b)/(e^a − e^b) + (a + (H − 1)b)/(e^a + (H − 1)e^b)

    Parameters
    ----------
    heads
        H >= 1.
    squared_norm, overlap
        a >= 0 and b with −a/(H − 1) <= b <= a; b has no effect at H = 1.

    Returns
    -------
    Of the shape a and b broadcast to; at a = b the first quotient is its limit e^{−a}.

    Raises
    ------
    ValueError
        If H < 1 or a or b leaves its range.
    TypeError
        If H is not an integer.

    Notes
    -----
    The eigenvalues of E and Ω on (1, …, 1) and on its complement, in pairs. [S] Theorem 4; form
    derived here.
    Accuracy: 8 eps times 1 + a of the same with |b| in the numerator.

    Examples
    --------
    >>> equiangular_allocation(3, 0.0, 0.0)
    2.0
    >>> round(equiangular_allocation(1, 1.0, 0.0), 6)
    0.367879
    """
    count = _check.integer("heads", heads, 1)
    a = _check.non_negative("squared_norm", squared_norm)
    b = _check.finite("overlap", overlap)
    a, b = harmonise(a, b)
    if count == 1:
        return a * exp(-a, b) + 0 * b
    _require_gram(a, b, count)
    shared = (a + (count - 1) * b) / (exp(a, b) + (count - 1) * exp(b, a))
    return (count - 1) * exp(-b, a) / growth(a - b) + shared


@guarded
def equiangular_budget(heads: int) -> float:
    """Return the supremum of `equiangular_allocation` over a and b: 1/e at H = 1, else H − 1.

    1/e is attained at a = 1. H − 1 is approached as a, b → 0 and not attained: each of the H − 1
    directions across (1, …, 1) then comes close to centred linear attention.

    Raises `TypeError` if H is not an integer, `ValueError` if H < 1. [S] Theorem 4; form derived
    here.

    Accuracy: 1 eps.

    Examples
    --------
    >>> equiangular_budget(1), equiangular_budget(4)
    (0.36787944117144233, 3.0)
    """
    count = _check.integer("heads", heads, 1)
    return float(euler() ** -1) if count == 1 else float(count - 1)


@guarded
def lower_bound(
    block_dims: Number,
    signal: Number,
    context_length: Number,
    heads: int,
    *,
    noise: Number = 0,
) -> Number:
    """Return the least Σ λ_i d_i c_i/(c_i + ν_i) over the allocations that H heads allow.

    Water-filling of `equiangular_budget`, with ν_i <= 1 where H >= 2.

    Parameters
    ----------
    block_dims, signal, context_length, noise
        As in `water_filling`.
    heads
        H >= 1.

    Returns
    -------
    (...), in units of y²; `single_head_optimum(...).loss` at H = 1, Σ λ_i d_i c_i/(1 + c_i) for
    H > I.

    Raises
    ------
    ValueError
        If H < 1, another argument is out of its range or the numbers of tasks differ.
    TypeError
        If H is not an integer.

    Notes
    -----
    Holds for the `spectral_loss` of any H heads, and is not attained at H >= 2. [S] Theorem 4 for
    equiangular heads; form, and proof for any heads, derived here.
    Accuracy: 8 eps.

    Examples
    --------
    >>> [round(float(lower_bound([10, 10, 10], 1.0, 100, H)), 4) for H in (1, 2, 3, 4)]
    [13.4755, 6.9231, 3.913, 2.7273]
    """
    count = _check.integer("heads", heads, 1)
    keywords: dict[str, Any] = {"noise": noise}
    if count > 1:
        keywords |= {"budget": count - 1, "cap": 1}
    allocation = water_filling(block_dims, signal, context_length, **keywords)
    return allocation_loss(allocation, block_dims, signal, context_length, noise=noise)


@guarded
def optimality_ratio(
    block_dims: Number,
    signal: Number,
    context_length: Number,
    heads: int,
    *,
    noise: Number = 0,
) -> Number:
    """Return `limit_loss` over `lower_bound`, at most e for any H.

    Arguments, range and errors as in `lower_bound`; the limit belongs to H >= I.
    [S] Corollary 1; form derived here.

    Accuracy: 12 eps.

    Examples
    --------
    >>> round(float(optimality_ratio([10, 10, 10], 1.0, 100, 4)), 4)
    2.351
    """
    bound = lower_bound(block_dims, signal, context_length, heads, noise=noise)
    return limit_loss(block_dims, signal, context_length, noise=noise) / bound


def _require_gram(a: Number, b: Number, count: int) -> None:
    if any(is_symbolic(entry) for entry in entries(a, b)):
        return
    # The ends of the range, b = a and b = −a/(H − 1), may be rounded.
    slack = 1e-12 * a
    good = (b <= a + slack) & ((count - 1) * b >= -a - slack)
    if not bool(np.all(good)):
        raise ValueError(
            f"overlap must be between -squared_norm/(heads - 1) and squared_norm, got {b} "
            f"with squared_norm {a} and heads {count}"
        )

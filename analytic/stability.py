"""How many ways a fixed point of linear attention is unstable. Derived here; not in [L].

Notation: at `ansatz_weights` of a subset of modes, one head per learned mode i carries v = u_i,
k = q = u_i e_i with u_i = m_i^{1/3}, and the other heads are zero. The Hessian of L = E(ŷ − y_q)²,
without a ½, is block diagonal in the eigenbasis; for i learned and d not, the block of
(k_{i,d}, q_{i,d}) is

    2 [[u_i⁴ s_dλ_i, −u_i g_d], [−u_i g_d, u_i⁴ s_iλ_d]],    g_d = λ_d²ω_d,

of determinant 4 u_i² s_dλ_d (gain_i − gain_d): negative exactly where the unlearned mode is worth
more than the learned one. No other block has a negative eigenvalue, and zero heads contribute
zeros: the loss is cubic in them, and they leave in a time of order 1/v_0, not exponentially.
Under the flow a small displacement along an eigenvector of eigenvalue h grows at the rate −h/(2τ).
"""

from __future__ import annotations

from typing import Any

from . import _check
from ._generic import Number, cbrt, sqrt
from ._guard import guarded
from ._spectrum import spectrum, unstable_pairs


@guarded
def stability_index(
    subset: Any,
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Any:
    """Return the number of negative Hessian eigenvalues at `ansatz_weights` of the subset.

    #{(i, d): i in the subset, d outside, gain_d > gain_i}.

    Parameters
    ----------
    subset
        Boolean mask (..., D).
    eigenvalues, context_length, task_eigenvalues, noise
        As in `mode_gains`; numbers, not symbols.

    Returns
    -------
    Integers (...). Zero does not mean a minimum: while a mode is unlearned, idle heads escape at
    higher order.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    TypeError
        If the subset is not boolean.

    Notes
    -----
    Derived here. At Ω = I, σ = 0 gains grow with λ, so that the D + 1 visited points have index 0.
    Accuracy: exact, gains within 64 eps being equal.

    Examples
    --------
    >>> int(stability_index([False, True, False], [3.0, 2.0, 1.0], 31))
    1
    """
    gain = spectrum(eigenvalues, context_length, task_eigenvalues, noise).gain
    chosen = _check.mask("subset", subset, gain.shape[-1])
    xp = gain.__array_namespace__()
    return xp.count_nonzero(unstable_pairs(xp.asarray(chosen), gain), axis=(-2, -1))


@guarded
def rotation_eigenvalues(
    learned: int,
    unlearned: int,
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> tuple[Number, Number]:
    """Return the two eigenvalues of the Hessian of L that turn a head from mode i to mode d.

    Parameters
    ----------
    learned, unlearned
        Indices i ≠ d of the mode the head has learned and of one no head has.
    eigenvalues, context_length, task_eigenvalues, noise
        As in `mode_gains`.

    Returns
    -------
    (lower, upper), each (...); of L itself, not of L/2. lower < 0 iff gain_d > gain_i.

    Raises
    ------
    ValueError
        If i = d, mode i has no signal (ω = 0), or an argument is out of its range.

    Notes
    -----
    Derived here. The lower one is the determinant over the upper one, which cancels nothing.
    Accuracy: 16 eps; of the lower one with gain_i + gain_d for the difference.

    Examples
    --------
    >>> lower, upper = rotation_eigenvalues(1, 0, [2.0, 1.0], float("inf"))
    >>> round(float(lower), 4), round(float(upper), 4)
    (-2.2462, 14.2462)
    """
    modes = spectrum(eigenvalues, context_length, task_eigenvalues, noise)
    size = modes.eigenvalues.shape[-1]
    i = _check.integer("learned", learned, 0, size - 1)
    d = _check.integer("unlearned", unlearned, 0, size - 1)
    if i == d:
        raise ValueError(f"unlearned must differ from learned, got {d} for both")
    lam, s, gain = modes.eigenvalues, modes.feature, modes.gain
    xp = modes.signal.__array_namespace__()
    if bool(xp.any(modes.signal[..., i] == 0)):
        raise ValueError(f"learned must be a mode with ω > 0, got {i} whose ω is 0")
    u = cbrt(modes.coefficient[..., i])
    key, query = u**4 * s[..., d] * lam[..., i], u**4 * s[..., i] * lam[..., d]
    turn = u * modes.growth[..., d]
    upper = key + query + sqrt((key - query) ** 2 + 4 * turn**2)
    drop = gain[..., i] - gain[..., d]
    return 4 * u * u * s[..., d] * lam[..., d] * drop / upper, upper


@guarded
def merged_zero_index(heads: int) -> int:
    """Return the number of negative Hessian eigenvalues of ATTN_M at zero weights: H.

    Each head couples its value weight with the direction ΛΩΛ of its key-query matrix: eigenvalues
    ±2‖ΛΩΛ‖_F of the Hessian of L, the rest zero, at every N. Raises `ValueError` if H < 1.
    Derived here.

    Accuracy: exact.

    Examples
    --------
    >>> merged_zero_index(3)
    3
    """
    return _check.integer("heads", heads, 1)

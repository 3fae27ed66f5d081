"""Which fixed points ATTN_S visits from vanishing weights, detours included. Derived here.

From small weights idle heads learn the unlearned mode of largest growth λ_d²ω_d, after a time of
order 1/v_0. Where the gains are ordered otherwise (possible only for Ω not proportional to I) that
leads to a point of positive `stability_index`: the head on a mode i of smaller gain turns towards
an unlearned mode d of larger gain at the exponential rate −h/(2τ), h the lower of
`rotation_eigenvalues`, after a time of order ln(1/v_0). As v_0 → 0 that comes first, so mode i is
unlearned again and the loss drops more than D times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._generic import Number, is_object
from ._guard import guarded
from ._spectrum import spectrum, unstable_pairs
from .stability import rotation_eigenvalues


@guarded
def saddle_path(
    eigenvalues: Number,
    context_length: Number,
    *,
    task_eigenvalues: Number = 1,
    noise: Number = 0,
) -> Any:
    """Return the subsets of modes learned at the fixed points visited, in order.

    Each step adds the mode of largest growth, or, where the point has a negative Hessian
    eigenvalue, exchanges the pair of modes whose eigenvalue is most negative.

    Parameters
    ----------
    eigenvalues, context_length, task_eigenvalues, noise
        As in `mode_gains`, for one spectrum (D,) of numbers; N counts context pairs.

    Returns
    -------
    Boolean (P, D), P >= D + 1 where all ω > 0, from the empty set to all modes with ω > 0.
    `fixed_point_loss` of it gives the plateaus, strictly decreasing.

    Raises
    ------
    ValueError
        If an argument is out of its range or there is more than one spectrum.

    Notes
    -----
    Derived here, for vanishing initial weights and H ≥ D heads of rank 1. At Ω = I the path is
    that of [L] §4.3 and its losses are `plateau_losses`.
    Accuracy: exact, gains within 64 eps being equal.

    Examples
    --------
    >>> saddle_path([2.0, 1.0], 31).astype(int).tolist()
    [[0, 0], [1, 0], [1, 1]]
    >>> saddle_path([2.0, 1.0], 1000, task_eigenvalues=[1.0, 3.0]).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    modes = spectrum(eigenvalues, context_length, task_eigenvalues, noise)
    # Exact numbers as floats; a float32 spectrum is degenerate up to the rounding of float32.
    exact = float if is_object(modes.growth) else None
    growth, gain = (np.asarray(a, dtype=exact) for a in (modes.growth, modes.gain))
    if growth.ndim != 1:
        raise ValueError(f"eigenvalues must be one spectrum (D,), got shape {growth.shape}")
    arguments = {"task_eigenvalues": task_eigenvalues, "noise": noise}

    def lowest(pair: tuple[int, int]) -> float:
        return float(rotation_eigenvalues(*pair, eigenvalues, context_length, **arguments)[0])

    learned = np.zeros(growth.shape, dtype=bool)
    path = [learned.copy()]
    while True:
        unstable = [(int(i), int(d)) for i, d in np.argwhere(unstable_pairs(learned, gain))]
        waiting = ~learned & (growth > 0)
        if unstable:
            old, new = min(unstable, key=lowest)
            learned[[old, new]] = False, True
        elif waiting.any():
            learned[int(np.argmax(np.where(waiting, growth, -1.0)))] = True
        else:
            return np.array(path)
        path.append(learned.copy())

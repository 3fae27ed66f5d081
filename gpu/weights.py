"""Initial weights of many runs, drawn on the host so that no device changes a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpu._arrays import Array, placed


def initial_weights(
    model: Any,
    scale: float | Sequence[float],
    seeds: Iterable[Any],
    *,
    xp: Any = np,
    dtype: Any = None,
    device: Any = None,
) -> Array:
    """Every weight from N(0, scale²), one row for each seed; a row does not know of the others.

    Row i equals ``model.initial_weights(scale_i, rng=seeds[i])``, on any device and in any batch.

    Parameters
    ----------
    model
        Of `numerics`, with `initial_weights`.
    scale : float or (rows,)
        Standard deviation, > 0, for all rows or for each.
    seeds : iterable
        What `numpy.random.default_rng` takes; a seed may come twice, a generator may not.
    xp, dtype, device
        As for `stack_moments`.

    Raises
    ------
    ValueError, TypeError
        If there is no seed, the scales are not one or one each, or the model draws no weights.

    Examples
    --------
    >>> from numerics import SeparateAttention
    >>> model = SeparateAttention(dimension=2, heads=1)
    >>> theta = initial_weights(model, [0.1, 0.2], [7, 7])
    >>> theta.shape, bool((theta[1] == 2 * theta[0]).all())
    ((2, 5), True)
    """
    if not hasattr(model, "initial_weights"):
        raise TypeError(f"model must draw its own initial weights, got {type(model).__name__}")
    if isinstance(seeds, int):
        raise TypeError(f"seeds must be one seed for each row, got the number {seeds}")
    keys = list(seeds)
    if not keys:
        raise ValueError("seeds must hold at least one seed, got none")
    if any(isinstance(key, np.random.Generator | np.random.BitGenerator) for key in keys):
        raise TypeError("seeds must not hold generators: a row would depend on those before it")
    scales = np.asarray(scale, dtype=float)
    if scales.ndim > 1 or (scales.ndim and len(scales) != len(keys)):
        raise ValueError(
            f"scale must be one number or {len(keys)}, one for each seed, got shape {scales.shape}"
        )
    each = np.broadcast_to(scales, (len(keys),)).tolist()
    rows = [model.initial_weights(s, rng=key) for s, key in zip(each, keys, strict=True)]
    return placed(np.stack(rows), xp, dtype, device)


__all__ = ["initial_weights"]

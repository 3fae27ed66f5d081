"""Initial weights of the user's own, from a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import console
from numerics import SeparateAttention

from ..inputs import check_finite, check_real, read_named

Array = NDArray[Any]
NAMES = ("v", "k", "q")


def read_initial(source: str, dimension: int) -> tuple[SeparateAttention, Array]:
    """Return the model whose weights are in an .npz file, and these weights, flat.

    The file holds v (H,), k and q (H, R, D), or (H, D) for rank 1, for D = `dimension`.

    Raises
    ------
    console.InputError
        If the file is unusable, a shape does not fit the others, or a head has weights that never
        move.
    """
    where = f"--initial {source}"
    v, k, q = (_numbers(a, name, where) for name, a in read_named(source, NAMES, where).items())
    if v.ndim != 1 or not v.size:
        raise console.InputError(f"{where}: v must be (H,), one number a head, got shape {v.shape}")
    heads, rank = len(v), k.shape[1] if k.ndim == 3 else 1
    wanted = (heads, rank, dimension)
    pairs = []
    for name, a in (("k", k), ("q", q)):
        lifted = a[:, None] if a.ndim == 2 else a
        if lifted.shape != wanted or not rank:
            raise console.InputError(
                f"{where}: {name} must be {_shapes(heads, rank, dimension)}, as v has {heads} "
                f"heads and the tokens have D = {dimension}, got shape {a.shape}"
            )
        pairs.append(lifted)
    nonzero = np.array([v != 0, *(a.any(axis=(1, 2)) for a in pairs)])
    still = np.flatnonzero(nonzero.sum(axis=0) < 2)
    if len(still):
        raise console.InputError(
            f"{where}: head {still[0] + 1} never learns, as two of its v, k and q are 0; leave it "
            "out"
        )
    model = SeparateAttention(dimension, heads, rank)
    return model, model.pack(v, *pairs)


def _numbers(array: Any, name: str, where: str) -> Array:
    """The array as finite float64 numbers."""
    check_real(array, f"{where}: {name}")
    check_finite(array, f"{where}: {name}")
    return np.asarray(array, np.float64)


def _shapes(heads: int, rank: int, dimension: int) -> str:
    whole = f"({heads}, {rank if rank > 1 else 'R'}, {dimension})"
    return whole if rank > 1 else f"({heads}, {dimension}) or {whole}"

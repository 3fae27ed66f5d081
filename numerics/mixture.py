"""A mixture of random tasks and one fixed task: in-context against in-weight learning.

A share c of the sequences has a task vector w ~ N(0, I), which only the context can tell; the
others have w = w0, or ±w0 with a random sign, which weights could store. A predictor ŷ = βᵀM x_q
sees this law through Ω = c I + (1−c) w0 w0ᵀ alone; a whole layer also sees the mean (1−c) w0,
unless the sign is random.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded

Array = NDArray[np.floating]


def _share(value: Any) -> float:
    share = _check.real("share", value, at_least=0.0)
    if share > 1:
        raise ValueError(f"share must be <= 1, got {share:g}")
    return share


@guarded
def mixture_covariance(share: float, fixed_task: ArrayLike) -> Array:
    """Ω = c I + (1−c) w0 w0ᵀ, shape (D, D).

    Parameters
    ----------
    share : float
        c in [0, 1], the probability of a random task N(0, I).
    fixed_task : (D,)
        w0.

    Raises
    ------
    ValueError, TypeError
        If c is outside [0, 1] or w0 is not a vector of finite real numbers.

    Examples
    --------
    >>> mixture_covariance(0.5, [1.0, 1.0]).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    c = _share(share)
    w0 = _check.floating_array("fixed_task", fixed_task, 1)
    omega: Array = c * np.eye(len(w0), dtype=w0.dtype) + (1 - c) * np.outer(w0, w0)
    return omega


@guarded
def mixture_vectors(
    share: float, fixed_task: ArrayLike, count: int, *, mirrored: bool = True, rng: Any = None
) -> Array:
    """Draw task vectors (count, D) for `sample_sequences`: N(0, I) with probability c, else ±w0.

    Parameters
    ----------
    share, fixed_task
        As in `mixture_covariance`.
    count : int
        Number of vectors.
    mirrored : bool
        Whether w0 comes with a random sign, so that the law of w is symmetric about zero;
        if not, it is always +w0. The second moment is Ω either way.

    Raises
    ------
    ValueError, TypeError
        As `mixture_covariance` does, or if `count` is not a positive integer.

    Examples
    --------
    >>> mixture_vectors(0.0, [2.0, 1.0], 2, mirrored=False).tolist()
    [[2.0, 1.0], [2.0, 1.0]]
    """
    c = _share(share)
    w0 = _check.floating_array("fixed_task", fixed_task, 1)
    count = _check.count("count", count)
    generator = _check.generator("rng", rng)
    w = generator.standard_normal((count, len(w0))).astype(w0.dtype)
    stored = generator.random(count) >= c
    sign = np.where(generator.random(count) < 0.5, -1.0, 1.0) if mirrored else np.ones(count)
    w[stored] = sign[stored, None] * w0
    return w

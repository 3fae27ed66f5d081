"""All that a replay and its plateaus need of the sample, from one pass over it.

Notation: β = Σ y_n x_n / N and z = vec(β x_qᵀ), columns stacked. A linear layer sees the sequences
through E[y_q²], E[y_q f] and E[f fᵀ] of its features f (`numerics.layer_features`), the reduced
model ŷ = βᵀ M x_q and a network through those of z alone; neither grows with P. Softmax attention
needs the sequences themselves in every step, and so does a linear layer where they are less work
than E[f fᵀ]: there they are held in memory.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics import DenseMoments, LinearLayerMoments, linear_layer_moments

from .inputs import Run

Array = NDArray[Any]
Chunk = tuple[Array, Array]

MOST_FEATURES = 8192  # of a layer that is trained on E[f fᵀ], a matrix of 512 MB
MOST_SOLVED = 1000  # of a layer whose least loss is found
# D up to which plateaus are found on the sample itself, in a second or two.
LARGEST_EXACT = {"separate": 14, "merged": 32, "network": 64}


@dataclass(frozen=True, eq=False)
class Marginals:
    """Averages over the sample that do not need E[zzᵀ].

    Attributes
    ----------
    energy : float
        E[y_q²].
    correlation : (D, D)
        C = E[y_q β x_qᵀ].
    second_moment, covariance : (D, D)
        S = E[ββᵀ] and Λ = E[x_q x_qᵀ]; zero for a network, whose features do not tell.
    """

    energy: float
    correlation: Array
    second_moment: Array
    covariance: Array


@dataclass(frozen=True, eq=False)
class Gathered:
    """What the pass brought; None for what was not asked for.

    Attributes
    ----------
    marginals : Marginals, optional
        Of the reduced model.
    reduced : DenseMoments, optional
        Of the reduced model, with E[zzᵀ].
    layer : LinearLayerMoments, optional
        Of the whole linear layer.
    sequences : (X, y_q), optional
        Where a step is taken on the sequences themselves.
    seconds : float
        How long it took, reading included.
    """

    marginals: Marginals | None
    reduced: DenseMoments | None
    layer: LinearLayerMoments | None
    sequences: Chunk | None
    seconds: float


def gather(run: Run, attention: str) -> Gathered:
    """Read the sample once.

    Raises
    ------
    console.InputError
        As `Sample.chunks`.
    """
    begin = time.perf_counter()
    sums = layer = sequences = None
    if run.design == "network":
        sums = _Sums(run)
        # E[zzᵀ] (D², D²) is added to once a chunk, so let a chunk be no sliver beside it.
        rows = max(run.sample.piece, run.sample.shape[1] // 4)
        deque(sums.watch(run.sample.chunks(rows)), maxlen=0)
    elif attention == "softmax":
        sequences = run.sample.whole()
    else:
        sums, features = _Sums(run), feature_count(run)
        pays = _moments_pay(run)
        sequences = None if pays else run.sample.whole()
        chunks = run.sample.chunks() if sequences is None else _cut(sequences, run.sample.piece)
        watched = sums.watch(chunks)
        if pays or features <= MOST_SOLVED:
            layer = linear_layer_moments(watched)
        else:
            deque(watched, maxlen=0)
    marginals, reduced = (None, None) if sums is None else sums.averages(len(run.sample))
    return Gathered(marginals, reduced, layer, sequences, time.perf_counter() - begin)


def feature_count(run: Run) -> int:
    """How many features a whole linear layer has."""
    return (run.dimension + 1) * (run.dimension + 2) * run.dimension // 2


def _moments_pay(run: Run) -> bool:
    """Whether a product with E[ffᵀ] costs less than a pass over the sequences, and fits."""
    features = feature_count(run)
    return features <= MOST_FEATURES and features**2 <= 4 * run.sample.x.size * run.heads


def _cut(sequences: Chunk, rows: int) -> Iterator[Chunk]:
    x, y = sequences
    for start in range(0, len(x), rows):
        yield x[start : start + rows], y[start : start + rows]


class _Sums:
    """Sums over the sequences that pass by."""

    def __init__(self, run: Run) -> None:
        size = run.dimension
        self._energy = 0.0
        self._second, self._covariance = np.zeros((size, size)), np.zeros((size, size))
        self._cross = np.zeros(size**2)
        wanted = run.design == "network" or size <= LARGEST_EXACT[run.design]
        self._quadratic = np.zeros((size**2, size**2)) if wanted else None

    def watch(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """The same chunks, added up on the way."""
        for x, y in chunks:
            z = x if x.ndim == 2 else self._features(x)
            self._energy += float(y @ y)
            self._cross += y @ z
            if self._quadratic is not None:
                self._quadratic += z.T @ z
            yield x, y

    def _features(self, x: Array) -> Array:
        """Those of the reduced model (P, D²)."""
        query = x[:, -1, :-1]
        beta = np.matmul(x[:, None, :-1, -1], x[:, :-1, :-1])[:, 0] / (x.shape[1] - 1)
        self._second += beta.T @ beta
        self._covariance += query.T @ query
        return np.asarray((query[:, :, None] * beta[:, None, :]).reshape(len(x), -1))

    def averages(self, count: int) -> tuple[Marginals, DenseMoments | None]:
        """Over `count` sequences."""
        size = len(self._second)
        energy = self._energy / count
        correlation = (self._cross / count).reshape(size, size).T
        second, covariance = self._second / count, self._covariance / count
        if self._quadratic is None:
            reduced = None
        else:
            self._quadratic /= count
            reduced = DenseMoments(energy, correlation, self._quadratic)
        return Marginals(energy, correlation, second, covariance), reduced

"""The plateaus of a finite sample: what a run on sampled sequences should be held against.

A run on P sequences descends the loss of those sequences, whose stationary points differ from the
population's by the error of sampling and, as the weights fit the sample, are lower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics import (
    DenseMoments,
    matrix_loss,
    minimiser,
    moments_of_sequences,
    pool_moments,
    stationary_loss,
)
from numerics.sampling import Sequences, sample_chunks

from .theory import Prediction, Visit

Array = NDArray[Any]

LARGEST_CHUNK = 10_000
CHUNKS = 20  # at least, for the standard error, if there are as many sequences
LARGEST_EXACT = 14  # D up to which stationary points are refined, in seconds


@dataclass(frozen=True, eq=False)
class Sample:
    """Moments of the drawn sequences, and the path of the prediction on them.

    `plateaus` and `minimum` are losses on the sample. `errors` are the standard errors of a
    sample's loss at the population's own weights; NaN from a single sequence.
    """

    moments: DenseMoments
    plateaus: Array
    errors: Array
    minimum: float


def draw(prediction: Prediction, count: int, rng: Any) -> Sample:
    """Draw sequences and find the plateaus they imply, one for each visit of the path."""
    points = np.stack([prediction.matrices[list(v.modes)].sum(axis=0) for v in prediction.visits])
    losses: list[Array] = []
    sizes: list[int] = []
    moments: DenseMoments | None = None
    for sequences in _pieces(prediction, count, rng):
        part, drawn = moments_of_sequences(sequences), sum(sizes)
        moments = pool_moments([moments, part], [drawn, len(sequences)]) if moments else part
        losses.append(matrix_loss(part, points))
        sizes.append(len(sequences))
    assert moments is not None  # a count is at least 1
    best = max(0.0, float(matrix_loss(moments, minimiser(moments))))
    plateaus = [_plateau(prediction, visit, moments, best) for visit in prediction.visits]
    return Sample(moments, np.minimum.accumulate(plateaus), _standard_errors(losses, sizes), best)


def _pieces(prediction: Prediction, count: int, rng: Any) -> Iterator[Sequences]:
    """The same sequences as `numerics.sample_moments` draws, in smaller pieces."""
    size = max(1, min(LARGEST_CHUNK, -(-count // CHUNKS)))
    for chunk in sample_chunks(prediction.task, count, rng=rng):
        for start in range(0, len(chunk), size):
            part = slice(start, start + size)
            yield Sequences(**{f.name: getattr(chunk, f.name)[part] for f in fields(chunk)})


def _standard_errors(losses: list[Array], sizes: list[int]) -> Array:
    """Of the mean of chunks of unlike size, from their scatter."""
    values, share = np.array(losses), np.array(sizes)[:, None] / sum(sizes)
    if len(values) < 2:
        return np.full(values.shape[1], np.nan)
    scatter = (share * (values - (share * values).sum(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt(scatter / (len(values) - 1)))


def _plateau(prediction: Prediction, visit: Visit, moments: DenseMoments, best: float) -> float:
    """The sample's loss at its stationary point next to the population's."""
    rank, size = len(visit.modes), len(prediction.growth)
    if rank == size:
        return best
    if not rank:
        return moments.energy
    parts = prediction.matrices[list(visit.modes)]
    if visit.index or size > LARGEST_EXACT:
        # Descent would leave a point that heads turn away from: fit the size of each mode alone.
        loss = _fit(moments, parts)
    else:
        loss = stationary_loss(moments, parts.sum(axis=0), rank)
    return max(best, loss)


def _fit(moments: DenseMoments, parts: Array) -> float:
    """The least loss of Σ c_d M_d over the c_d."""
    flat = parts.reshape(len(parts), -1)
    normal = flat @ moments.quadratic(parts).reshape(len(parts), -1).T
    coefficients = np.linalg.lstsq(normal, flat @ moments.correlation.ravel(), rcond=None)[0]
    return float(matrix_loss(moments, np.tensordot(coefficients, parts, axes=1)))

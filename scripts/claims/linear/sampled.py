"""Whole linear layers trained on samples, and how far a sample may be from its population."""

from __future__ import annotations

import itertools

import numpy as np

from numerics import (
    AttentionLayer,
    LayerMomentsSystem,
    SeparateAttention,
    Sequences,
    Trajectory,
    crossing_times,
    gradient_descent,
    linear_layer_moments,
    token_blocks,
)


def mean_squares(
    sequences: Sequences, matrices: np.ndarray, *, divide: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Mean square error of ŷ = βᵀMx_q for each M, and its standard error.

    `divide=False` leaves the 1/N of each sequence out of β.
    """
    beta = sequences.beta if divide else sequences.beta * sequences.lengths[:, None]
    guess = np.array([np.sum((beta @ M) * sequences.query, axis=1) for M in matrices])
    squares = (guess - sequences.target) ** 2
    return squares.mean(axis=1), squares.std(axis=1) / np.sqrt(len(sequences))


def train_whole_layer(
    sequences: Sequences,
    modes: np.ndarray,
    steps: int,
    *,
    size: float = 0.05,
    rate: float = 0.25,
    divide: bool = True,
) -> Trajectory:
    """Gradient descent of all blocks of the rank-one linear layer on sequences.

    One head starts along each of the matrices `modes` (n, D, D), so that no two of them drop
    together, and one more in a random direction; all weights, those of the blocks that the reduced
    model lacks among them, have a small random part besides.
    """
    D, heads = sequences.query.shape[1], len(modes) + 1
    model = SeparateAttention(D, heads)
    layer = AttentionLayer(D, heads, 1, divide_by_context=divide)
    left, _, right = np.linalg.svd(modes)
    generator = np.random.default_rng(0)
    spare = generator.standard_normal((2, 1, D)) / np.sqrt(D)
    keys = np.concatenate([left[:, :, 0], spare[0]])
    queries = np.concatenate([right[:, 0], spare[1]])
    start = layer.embed(*model.unpack(size * model.pack(np.ones(heads), keys, queries)))
    start += size / 5 * generator.standard_normal(layer.size)
    moments = linear_layer_moments(token_blocks(sequences), divide_by_context=divide)
    return gradient_descent(LayerMomentsSystem(layer, moments), start, steps, rate, every=10)


def flattest_between(run: Trajectory, heights: np.ndarray) -> np.ndarray:
    """Loss at the end, and where the run is flattest between crossings midway between `heights`.

    For samples: there the extra blocks go on falling a little, so that not every peak of the rate
    is a drop. Where to look, but nothing else, is scaled to the sample's own E[y_q²]. The first
    height is left out; NaN where a crossing is missing.
    """
    middle = (heights[:-1] + heights[1:]) / 2
    crossings = crossing_times(run.t, run.loss, middle * run.loss[0] / heights[0])
    if not np.isfinite(crossings).all():
        return np.full(len(heights) - 1, np.nan)
    found = [
        start + int(np.argmin(run.loss_rate[start : max(stop, start + 1)]))
        for start, stop in itertools.pairwise(np.searchsorted(run.t, crossings))
    ]
    return np.asarray(run.loss[[*found, len(run.t) - 1]])

"""Tokens of the whole layer: sequences written as X, and the checks of a caller's X and y_q."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.sampling import Sequences, take_sequences

Array = NDArray[Any]


@guarded
def tokens_of(sequences: Sequences) -> Array:
    """X (P, N+1, D+1): the context tokens (x_n, y_n), then the query (x_q, 0).

    Raises
    ------
    ValueError
        If the sequences differ in length: a padded token has the score 0, which a softmax counts;
        `token_blocks` cuts such a sample by length.

    Examples
    --------
    >>> from numerics import LinearTask, sample_sequences
    >>> X = tokens_of(sample_sequences(LinearTask([[1.0]], 3), 5, rng=0))
    >>> X.shape, X[:, -1, -1].tolist()
    ((5, 4, 2), [0.0, 0.0, 0.0, 0.0, 0.0])
    """
    shortest, longest = int(sequences.lengths.min()), sequences.x.shape[1]
    if shortest != longest:
        raise ValueError(
            "sequences must all have one context length to be written as one array of tokens, "
            f"got lengths from {shortest} to {longest}"
        )
    count, D = sequences.query.shape
    tokens = np.zeros((count, longest + 1, D + 1), sequences.x.dtype)
    tokens[:, :-1, :-1], tokens[:, :-1, -1] = sequences.x, sequences.y
    tokens[:, -1, :-1] = sequences.query
    return tokens


@guarded
def token_blocks(sequences: Sequences) -> list[tuple[Array, Array]]:
    """The sample as (tokens, target) of each context length, shortest first; no padding is left.

    >>> from numerics import LinearTask, sample_sequences
    >>> sample = sample_sequences(LinearTask([[1.0]], [2, 4]), 100, rng=0)
    >>> [tokens.shape[1:] for tokens, _ in token_blocks(sample)]
    [(3, 2), (5, 2)]
    """
    if (sequences.lengths == sequences.x.shape[1]).all():
        return [(tokens_of(sequences), sequences.target)]  # the usual case, without a copy of rows
    blocks = []
    for length in np.unique(sequences.lengths):
        rows = sequences.lengths == length
        part = take_sequences(sequences, rows)
        part = replace(part, x=part.x[:, :length], y=part.y[:, :length])
        blocks.append((tokens_of(part), part.target))
    return blocks


def checked_tokens(tokens: ArrayLike, dimension: int | None = None, outputs: int = 1) -> Array:
    """X (P, N+1, D + outputs) as a floating array, refused if it is not what a layer reads."""
    X = _check.floating_array("tokens", tokens, 3)
    if X.shape[2] < 2:
        raise ValueError(f"tokens must have D+1 >= 2 entries each, got shape {X.shape}")
    if dimension is not None and X.shape[2] != dimension + outputs:
        given = f" and {outputs} outputs" if outputs > 1 else ""
        raise ValueError(
            f"tokens must have shape (P, N+1, {dimension + outputs}) for dimension "
            f"{dimension}{given}, got {X.shape}"
        )
    if X.shape[1] < 2:
        raise ValueError(f"tokens must hold a context pair and the query, got shape {X.shape}")
    labels = X[:, -1, -outputs:]
    if labels.any():
        row = int(np.flatnonzero(labels.any(axis=1))[0])
        found = labels[row][labels[row] != 0][0]
        raise ValueError(
            f"tokens must end with the query and its label 0, but sequence {row} "
            f"has the label {found:g}"
        )
    return X


def checked_target(target: ArrayLike, count: int, shape: tuple[int, ...] = ()) -> Array:
    """y_q (P, *shape) as a floating array."""
    y = _check.floating_array("target", target, 1 + len(shape))
    _check.same_length("the length of target", len(y), "the number of sequences in tokens", count)
    if y.shape[1:] != shape:
        raise ValueError(f"target must have shape (P, {shape[0]}), got {y.shape}")
    return y

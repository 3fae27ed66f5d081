"""Sequences drawn from a task, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics._repr import OneLine
from numerics.tasks import LinearTask, Task

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False, repr=False)
class Sequences(OneLine):
    """P sequences of in-context regression.

    Attributes
    ----------
    x : (P, N, D)
        Context tokens; where lengths vary, rows past a sequence's own length are zero.
    y : (P, N)
        Context labels, zero past the length.
    query : (P, D)
        x_q.
    target : (P,)
        y_q = wᵀx_q, without label noise.
    lengths : (P,)
        N of each sequence.
    w : (P, D)
        Task vectors.
    """

    x: Array
    y: Array
    query: Array
    target: Array
    lengths: NDArray[np.integer]
    w: Array

    def __post_init__(self) -> None:
        x = _check.floating_array("x", self.x, 3)
        P, N, D = x.shape
        arrays = {"x": x}
        for name, shape in (("y", (P, N)), ("query", (P, D)), ("target", (P,)), ("w", (P, D))):
            arrays[name] = _check.floating_array(name, getattr(self, name), len(shape))
            if arrays[name].shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {arrays[name].shape}")
        try:
            lengths = np.asarray(self.lengths)
        except ValueError as error:
            raise ValueError(f"lengths must be a list of numbers: {error}") from None
        if lengths.dtype.kind not in "iu":
            raise TypeError(f"lengths must hold whole numbers, got dtype {lengths.dtype}")
        if lengths.shape != (P,) or not ((lengths >= 1) & (lengths <= N)).all():
            raise ValueError(f"lengths must be {P} numbers from 1 to {N}, got {lengths}")
        _check.settle(self, lengths=lengths, **arrays)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def beta(self) -> Array:
        """β = (1/N) Σ y_n x_n, shape (P, D)."""
        return np.matmul(self.y[:, None, :], self.x)[:, 0] / self.lengths[:, None]

    @property
    def features(self) -> Array:
        """Z = vec(β x_qᵀ), columns stacked ([L] Eq. 7), shape (P, D²)."""
        return (self.query[:, :, None] * self.beta[:, None, :]).reshape(len(self), -1)


@guarded
def sample_sequences(
    task: Task, count: int, *, w: ArrayLike | None = None, rng: Any = None
) -> Sequences:
    """Draw `count` sequences; the task vectors are Gaussian with second moment Ω unless given.

    Parameters
    ----------
    task
        Law of the tokens, the lengths and the noise.
    count : int
        P.
    w : (P, D), optional
        Task vectors of any law (`mixture_vectors`), in place of Gaussian ones; Ω is not read then.

    Raises
    ------
    ValueError
        If a context length is not a whole number, or `w` does not have shape (P, D).

    Examples
    --------
    >>> sequences = sample_sequences(LinearTask([[1.0]], 3), 5, rng=0)
    >>> sequences.x.shape, sequences.beta.shape
    ((5, 3, 1), (5, 1))
    """
    count = _check.count("count", count)
    if (
        any(n != int(n) for n in task.lengths if np.isfinite(n))
        or not np.isfinite(task.lengths).all()
    ):
        raise ValueError(
            f"context_length must be whole numbers to draw sequences, got {task.context_length!r}"
        )
    generator = _check.generator("rng", rng)
    lengths = generator.choice(np.array(task.lengths, dtype=np.int64), size=count)
    longest = int(max(task.lengths))
    tokens = _draw_tokens(task, count * (longest + 1), generator)
    tokens = tokens.reshape(count, longest + 1, task.dimension)
    x, query = tokens[:, :-1], tokens[:, -1]
    w = _task_vectors(task, count, w, generator)
    y = np.matmul(x, w[:, :, None])[:, :, 0]
    if task.noise:
        y = y + task.noise * generator.standard_normal(y.shape)
    if len(set(task.lengths)) > 1:
        inside = np.arange(longest) < lengths[:, None]
        x, y = x * inside[:, :, None], y * inside
    target = np.sum(w * query, axis=1)
    return Sequences(x, y, query, target, lengths, w)


@guarded
def sample_chunks(
    task: Task, count: int, *, chunk: int = 10_000, rng: Any = None
) -> Iterator[Sequences]:
    """Draw `count` sequences in pieces of at most `chunk`, so that memory stays bounded.

    >>> [len(s) for s in sample_chunks(LinearTask([[1.0]], 3), 25, chunk=10, rng=0)]
    [10, 10, 5]
    """
    count, chunk = _check.count("count", count), _check.count("chunk", chunk)
    generator = _check.generator("rng", rng)
    for start in range(0, count, chunk):
        yield sample_sequences(task, min(chunk, count - start), rng=generator)


def take_sequences(sequences: Sequences, rows: NDArray[Any]) -> Sequences:
    """The sequences of some rows, by index or mask.

    >>> sample = sample_sequences(LinearTask([[1.0]], 3), 5, rng=0)
    >>> len(take_sequences(sample, np.array([0, 4])))
    2
    """
    return Sequences(**{name: array[rows] for name, array in vars(sequences).items()})


@guarded
def antithetic(sequences: Sequences) -> Sequences:
    """Each sequence together with its mirror image (y, y_q) ↦ (−y, −y_q).

    Both have the same probability when w and the noise are symmetric about zero, so every odd
    moment of the labels vanishes in the doubled sample as it does in the population.

    >>> both = antithetic(sample_sequences(LinearTask([[1.0]], 3), 5, rng=0))
    >>> len(both), bool((both.target[5:] == -both.target[:5]).all())
    (10, True)
    """
    return Sequences(
        x=np.concatenate([sequences.x, sequences.x]),
        y=np.concatenate([sequences.y, -sequences.y]),
        query=np.concatenate([sequences.query, sequences.query]),
        target=np.concatenate([sequences.target, -sequences.target]),
        lengths=np.concatenate([sequences.lengths, sequences.lengths]),
        w=np.concatenate([sequences.w, -sequences.w]),
    )


def _task_vectors(
    task: Task, count: int, given: ArrayLike | None, generator: np.random.Generator
) -> Array:
    if given is None:
        normal = generator.standard_normal((count, task.dimension))
        return np.asarray(normal @ _root(task.task_covariance))
    w = _check.floating_array("w", given, 2)
    if w.shape != (count, task.dimension):
        raise ValueError(f"w must have shape {(count, task.dimension)}, got {w.shape}")
    return w


def _draw_tokens(task: Task, count: int, generator: np.random.Generator) -> Array:
    if isinstance(task, LinearTask):
        return generator.standard_normal((count, task.dimension)) @ _root(task.covariance)
    return task.tokens[generator.integers(len(task.tokens), size=count)]


def _root(matrix: Array) -> Array:
    """Symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: Array = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root

"""Hypothesis strategies for the objects of the theory, for your tests as well as ours.

Needs Hypothesis (``pip install 'iclflow[test]'``), so that nothing here imports this module. Each
strategy is named for what it draws, builds it from its parts (nothing is drawn and thrown away),
and puts edges beside generic values: repeated eigenvalues, N = 1, σ = 0.

>>> from hypothesis import given
>>> from numerics import population_moments, strategies
>>> @given(strategies.linear_tasks(max_dimension=2))
... def test_energy_is_positive(task):
...     assert population_moments(task).energy > 0
>>> test_energy_is_positive()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from numerics.merged import MergedAttention
from numerics.multitask import MultiTask
from numerics.separate import SeparateAttention
from numerics.softmax.decomposable import SpectralAttention
from numerics.tasks import LinearTask, TokenTask, random_rotation

Array = NDArray[np.float64]
Draw = st.DrawFn
Strategy = st.SearchStrategy

__all__ = [
    "context_lengths",
    "covariances",
    "dimensions",
    "linear_models",
    "linear_tasks",
    "multi_tasks",
    "noises",
    "rotations",
    "seeds",
    "softmax_models",
    "spectra",
    "token_tasks",
    "weights",
]


def seeds() -> Strategy[int]:
    """Seeds of `numpy.random.default_rng`."""
    return st.integers(0, 2**32 - 1)


def dimensions(largest: int = 4) -> Strategy[int]:
    """D from 1."""
    return st.integers(1, largest)


def noises(largest: float = 1.0) -> Strategy[float]:
    """σ, 0 or up to `largest`."""
    return st.one_of(st.just(0.0), st.floats(largest / 100, largest))


def context_lengths(
    largest: int = 50, *, varying: bool = True, infinite: bool = False
) -> Strategy[Any]:
    """N, counting context pairs: an integer, a list of lengths if `varying`, or infinity."""
    kinds: list[Strategy[Any]] = [st.integers(1, largest)]
    if varying:
        kinds.append(st.lists(st.integers(1, largest), min_size=1, max_size=4))
    if infinite:
        kinds.append(st.just(float("inf")))
    return st.one_of(*kinds)


def spectra(
    dimension: int | Strategy[int] | None = None,
    *,
    smallest: float = 0.2,
    largest: float = 2.0,
    descending: bool = False,
) -> Strategy[Array]:
    """D eigenvalues (D,) between `smallest` > 0 and `largest`, some of them equal.

    `dimension` is D or a strategy for it; None is 1 to 4. An interval of several decades is drawn
    evenly over the decades.

    Raises
    ------
    ValueError
        If not 0 < smallest <= largest.
    """
    if not 0 < smallest <= largest:
        raise ValueError(
            f"smallest must be positive and at most largest, got {smallest} and {largest}"
        )
    return _spectra(_sizes(dimension), smallest, largest, descending)


@st.composite
def _spectra(
    draw: Draw, sizes: Strategy[int], smallest: float, largest: float, descending: bool
) -> Array:
    size, exponent = draw(sizes), st.floats(0.0, 1.0)
    base = smallest * (largest / smallest) ** draw(exponent)
    each = st.one_of(st.just(base), exponent.map(lambda x: smallest * (largest / smallest) ** x))
    # The power may round past an end.
    values = np.clip(draw(st.lists(each, min_size=size, max_size=size)), smallest, largest)
    return np.sort(values)[::-1].copy() if descending else values


@st.composite
def rotations(draw: Draw, dimension: int | Strategy[int] | None = None) -> Array:
    """Orthogonal matrices (D, D), the identity among them."""
    size = draw(_sizes(dimension))
    if draw(st.booleans()):
        return np.eye(size)
    return np.asarray(random_rotation(size, rng=draw(seeds())), dtype=np.float64)


@st.composite
def covariances(
    draw: Draw,
    dimension: int | Strategy[int] | None = None,
    *,
    smallest: float = 0.2,
    largest: float = 2.0,
) -> Array:
    """Symmetric positive definite matrices QΛQᵀ (D, D), symmetric to the last bit."""
    size = draw(_sizes(dimension))
    Q = draw(rotations(size))
    matrix = (Q * draw(spectra(size, smallest=smallest, largest=largest))) @ Q.T
    return np.asarray((matrix + matrix.T) / 2, dtype=np.float64)


@st.composite
def linear_tasks(
    draw: Draw,
    *,
    max_dimension: int = 4,
    commuting: bool = False,
    infinite: bool = False,
) -> LinearTask:
    """In-context linear regression on Gaussian tokens.

    Λ and Ω are independent, or share their eigenvectors if `commuting`, as the closed forms in
    eigenvalues need it.
    """
    size = draw(dimensions(max_dimension))
    length, noise = draw(context_lengths(infinite=infinite)), draw(noises())
    if not commuting:
        return LinearTask(draw(covariances(size)), length, draw(covariances(size)), noise)
    Q = draw(rotations(size))
    matrices = [(Q * draw(spectra(size))) @ Q.T for _ in range(2)]
    covariance, task = ((matrix + matrix.T) / 2 for matrix in matrices)
    return LinearTask(covariance, length, task, noise)


@st.composite
def token_tasks(draw: Draw, *, max_dimension: int = 4) -> TokenTask:
    """Regression on the rows of a table: skewed rows, and the axes, so that no direction is empty.

    The tokens are neither centred nor Gaussian.
    """
    size, extra = draw(dimensions(max_dimension)), draw(st.integers(1, 5))
    rows = np.random.default_rng(draw(seeds())).exponential(size=(extra, size)) - 0.5
    tokens = np.concatenate([np.eye(size), rows])
    return TokenTask(tokens, draw(context_lengths()), draw(covariances(size)), draw(noises()))


@st.composite
def linear_models(
    draw: Draw, dimension: int | Strategy[int] | None = None, *, max_heads: int = 3
) -> MergedAttention | SeparateAttention:
    """Linear attention, with key and query merged, or separate and of rank 1 to 3."""
    size, heads = draw(_sizes(dimension)), draw(st.integers(1, max_heads))
    if draw(st.booleans()):
        return MergedAttention(size, heads)
    return SeparateAttention(size, heads, draw(st.integers(1, 3)))


@st.composite
def multi_tasks(draw: Draw, *, max_tasks: int = 3, max_dimension: int = 4) -> MultiTask:
    """Several regression tasks on disjoint blocks of the tokens, as in [S] (arXiv:2402.19442)."""
    sizes = draw(st.lists(dimensions(max_dimension), min_size=1, max_size=max_tasks))
    length = draw(st.integers(1, 200))
    return MultiTask(tuple(sizes), length, draw(spectra(len(sizes))), draw(noises()))


@st.composite
def softmax_models(
    draw: Draw, block_dims: Sequence[int], *, max_heads: int = 3
) -> SpectralAttention:
    """Decomposable softmax heads on given blocks."""
    return SpectralAttention(
        draw(st.integers(1, max_heads)), tuple(block_dims), draw(st.integers(1, 30))
    )


@st.composite
def weights(draw: Draw, model: Any, *, scale: float = 0.5) -> Array:
    """Flat states (model.size,) of order `scale`: Gaussian, from a seed.

    A seed, since a list of floats explores too few directions; zero weights are among them.
    """
    size = draw(st.sampled_from([1.0, 1.0, 1.0, 0.0])) * scale
    return size * np.random.default_rng(draw(seeds())).standard_normal(model.size)


def _sizes(dimension: int | Strategy[int] | None) -> Strategy[int]:
    if dimension is None:
        return dimensions()
    return st.just(dimension) if isinstance(dimension, int) else dimension

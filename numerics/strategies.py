"""Hypothesis strategies for the objects of the theory, for your tests as well as ours.

Needs Hypothesis (``pip install 'iclflow[test]'``), so that nothing here imports this module. Each
strategy is named for what it draws, builds it from its parts (nothing is drawn and thrown away),
and puts edges beside generic values: repeated eigenvalues, N = 1, σ = 0. The properties that this
project checks with them are installed as `iclflow_properties`.

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

import numerics

Array = NDArray[np.float64]
Draw = st.DrawFn
Strategy = st.SearchStrategy
Size = int | Strategy[int] | None
Moments = numerics.FactoredMoments | numerics.DiagonalMoments | numerics.DenseMoments

__all__ = [
    "context_lengths", "covariances", "dimensions", "gradient_systems", "layers", "linear_models",
    "linear_tasks", "moments", "multi_task_parameters", "multi_tasks", "noises", "permutations",
    "rotations", "seeds", "sequences", "softmax_heads", "softmax_models", "spectra",
    "spectrum_pairs", "subsets", "token_tasks", "weights",
]  # fmt: skip


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
    dimension: Size = None, *, smallest: float = 0.2, largest: float = 2.0, descending: bool = False
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
def spectrum_pairs(
    draw: Draw, dimension: Size = None, *, smallest: float = 0.2, largest: float = 2.0
) -> tuple[Array, Array]:
    """Eigenvalues λ and ω (D,) of Λ and Ω in one basis, in no order."""
    size = st.just(draw(_sizes(dimension)))
    each = spectra(size, smallest=smallest, largest=largest)
    return draw(each), draw(each)


@st.composite
def subsets(draw: Draw, size: int) -> NDArray[np.bool_]:
    """Boolean masks (D,): a fixed point of ATTN_S, the modes it has learned."""
    return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))


def permutations(size: int) -> Strategy[NDArray[np.intp]]:
    """Orders (n,) of n heads, tasks or modes."""
    return st.permutations(range(size)).map(lambda order: np.array(order, dtype=np.intp))


@st.composite
def rotations(draw: Draw, dimension: Size = None) -> Array:
    """Orthogonal matrices (D, D), the identity among them."""
    size = draw(_sizes(dimension))
    if draw(st.booleans()):
        return np.eye(size)
    return np.asarray(numerics.random_rotation(size, rng=draw(seeds())), dtype=np.float64)


@st.composite
def covariances(
    draw: Draw, dimension: Size = None, *, smallest: float = 0.2, largest: float = 2.0
) -> Array:
    """Symmetric positive definite matrices QΛQᵀ (D, D), symmetric to the last bit."""
    size = draw(_sizes(dimension))
    Q = draw(rotations(size))
    matrix = (Q * draw(spectra(size, smallest=smallest, largest=largest))) @ Q.T
    return np.asarray((matrix + matrix.T) / 2, dtype=np.float64)


@st.composite
def linear_tasks(
    draw: Draw, *, max_dimension: int = 4, commuting: bool = False, infinite: bool = False
) -> numerics.LinearTask:
    """In-context linear regression on Gaussian tokens.

    Λ and Ω are independent, or share their eigenvectors if `commuting`, as the closed forms in
    eigenvalues need it.
    """
    size = draw(dimensions(max_dimension))
    length, noise = draw(context_lengths(infinite=infinite)), draw(noises())
    if not commuting:
        return numerics.LinearTask(draw(covariances(size)), length, draw(covariances(size)), noise)
    Q = draw(rotations(size))
    matrices = [(Q * draw(spectra(size))) @ Q.T for _ in range(2)]
    covariance, task = ((matrix + matrix.T) / 2 for matrix in matrices)
    return numerics.LinearTask(covariance, length, task, noise)


@st.composite
def token_tasks(draw: Draw, *, max_dimension: int = 4) -> numerics.TokenTask:
    """Regression on the rows of a table: skewed rows, and the axes, so that no direction is empty.

    The tokens are neither centred nor Gaussian.
    """
    size, extra = draw(dimensions(max_dimension)), draw(st.integers(1, 5))
    rows = np.random.default_rng(draw(seeds())).exponential(size=(extra, size)) - 0.5
    tokens = np.concatenate([np.eye(size), rows])
    return numerics.TokenTask(
        tokens, draw(context_lengths()), draw(covariances(size)), draw(noises())
    )


@st.composite
def sequences(
    draw: Draw, task: numerics.LinearTask | numerics.TokenTask | None = None, *, max_count: int = 20
) -> numerics.Sequences:
    """Samples of a task, from a single sequence up; of a drawn task if none is given."""
    if task is None:
        task = draw(linear_tasks(max_dimension=3) | token_tasks(max_dimension=3))
    return numerics.sample_sequences(task, draw(st.integers(1, max_count)), rng=draw(seeds()))


@st.composite
def moments(draw: Draw, *, max_dimension: int = 4) -> Moments:
    """Moments of every kind: of a population, in its eigenbases, written out, of a sample, of none.

    Those of none have S, Λ and a C that share no basis and no symmetry.
    """
    kind = draw(st.sampled_from(["population", "diagonal", "dense", "sample", "no task"]))
    if kind == "sample":
        small = linear_tasks(max_dimension=min(max_dimension, 3))
        return numerics.moments_of_sequences(draw(sequences(draw(small))))
    if kind == "no task":
        size = draw(dimensions(max_dimension))
        C = np.random.default_rng(draw(seeds())).standard_normal((size, size))
        return numerics.FactoredMoments(
            4.0 * size, C, draw(covariances(size)), draw(covariances(size))
        )
    tasks = linear_tasks(max_dimension=max_dimension) | token_tasks(max_dimension=max_dimension)
    whole = numerics.population_moments(draw(tasks))
    if kind == "diagonal":
        return whole.eigenform()[0]
    return numerics.dense_moments(whole) if kind == "dense" else whole


@st.composite
def linear_models(
    draw: Draw, dimension: Size = None, *, max_heads: int = 3
) -> numerics.MergedAttention | numerics.SeparateAttention:
    """Linear attention, with key and query merged, or separate and of rank 1 to 3."""
    size, heads = draw(_sizes(dimension)), draw(st.integers(1, max_heads))
    if draw(st.booleans()):
        return numerics.MergedAttention(size, heads)
    return numerics.SeparateAttention(size, heads, draw(st.integers(1, 3)))


@st.composite
def multi_tasks(draw: Draw, *, max_tasks: int = 3, max_dimension: int = 4) -> numerics.MultiTask:
    """Several regression tasks on disjoint blocks of the tokens, as in [S] (arXiv:2402.19442)."""
    sizes = draw(st.lists(dimensions(max_dimension), min_size=1, max_size=max_tasks))
    length = draw(st.integers(1, 200))
    return numerics.MultiTask(tuple(sizes), draw(spectra(len(sizes))), length, noise=draw(noises()))


@st.composite
def multi_task_parameters(
    draw: Draw, *, max_tasks: int = 5, max_dimension: int = 40, largest: float = 20.0
) -> tuple[list[int], Array, float, float]:
    """(d_i, λ_i, L, σ) of [S] as closed forms take them: L a float, λ up to `largest`."""
    dims = draw(st.lists(dimensions(max_dimension), min_size=1, max_size=max_tasks))
    signal = draw(spectra(len(dims), smallest=1 / largest, largest=largest))
    return dims, signal, draw(st.floats(1.0, 1e6)), draw(noises(5.0))


@st.composite
def softmax_heads(
    draw: Draw, block_dims: Sequence[int], *, heads: int | None = None
) -> tuple[Array, Array]:
    """Combined weights ω (H, d) and μ (H, I) of any kind, of 1 to 4 heads if H is not given.

    Weights are Gaussian, from a seed; ω of order 0.03 to 1, μ of the order of its inverse.
    """
    count = draw(st.integers(1, 4)) if heads is None else heads
    scale = draw(st.sampled_from([0.03, 0.3, 1.0]))
    rng = np.random.default_rng(draw(seeds()))
    omega = scale * rng.standard_normal((count, sum(block_dims)))
    return omega, rng.standard_normal((count, len(block_dims))) / scale


@st.composite
def softmax_models(
    draw: Draw, block_dims: Sequence[int], *, max_heads: int = 3
) -> numerics.SpectralAttention:
    """Decomposable softmax heads on given blocks."""
    return numerics.SpectralAttention(
        tuple(block_dims), draw(st.integers(1, max_heads)), draw(st.integers(1, 30))
    )


@st.composite
def layers(draw: Draw, dimension: int, *, outputs: int = 1) -> numerics.Layer:
    """Whole layers, linear or softmax: one label, merged or of rank 1 to 2, or [S]'s with any."""
    attention, heads = draw(st.sampled_from(["linear", "softmax"])), draw(st.integers(1, 2))
    divide = attention == "linear" and draw(st.booleans())
    if outputs > 1 or draw(st.booleans()):
        width = draw(st.integers(1, 3))
        return numerics.MultiTaskLayer(dimension, outputs, heads, width, attention, divide)
    rank = draw(st.sampled_from([None, 1, 2]))
    return numerics.AttentionLayer(dimension, heads, rank, attention, divide)


@st.composite
def gradient_systems(draw: Draw, *, jacobian: bool = True) -> Any:
    """Whatever is trained here: attention, networks, spectral heads, linear layers on moments.

    With `jacobian` False also layers on tokens, softmax ones among them, which have none.
    """
    kinds = ["attention", "two-layer", "convolutional", "spectral", "layer moments"]
    kind = draw(st.sampled_from(kinds if jacobian else [*kinds, "layer", "several labels"]))
    if kind == "spectral":
        task = draw(multi_tasks())
        return numerics.SpectralSystem(draw(softmax_models(task.block_dims)), task)
    if kind == "several labels":
        several = numerics.MultiTask((1, 2), 1.0, draw(st.integers(1, 6)), noise=draw(noises()))
        tokens, target = numerics.sample_multitask(
            several, draw(st.integers(1, 5)), rng=draw(seeds())
        )
        return numerics.LayerSystem(draw(layers(3, outputs=2)), tokens, target)
    if kind.startswith("layer"):
        sample = draw(sequences(max_count=10))
        size, heads = sample.query.shape[1], draw(st.integers(1, 2))
        if kind == "layer":
            return numerics.LayerSystem.of(draw(layers(size)), sample)
        divide, rank = draw(st.booleans()), draw(st.sampled_from([None, 1, 2]))
        layer = numerics.AttentionLayer(size, heads, rank, divide_by_context=divide)
        return numerics.LayerMomentsSystem(
            layer,
            numerics.linear_layer_moments(numerics.token_blocks(sample), divide_by_context=divide),
        )
    data = draw(moments(max_dimension=3))
    if kind == "attention":
        return numerics.AttentionSystem(draw(linear_models(len(data.correlation))), data)
    network = numerics.TwoLayerNetwork if kind == "two-layer" else numerics.ConvolutionalNetwork
    return network(data, draw(st.integers(1, 3)))


@st.composite
def weights(draw: Draw, model: Any, *, scale: float = 0.5) -> Array:
    """Flat states (model.size,) of order `scale`: Gaussian, from a seed.

    A seed, since a list of floats explores too few directions; zero weights are among them.
    """
    size = draw(st.sampled_from([1.0, 1.0, 1.0, 0.0])) * scale
    return size * np.random.default_rng(draw(seeds())).standard_normal(model.size)


def _sizes(dimension: Size) -> Strategy[int]:
    if dimension is None:
        return dimensions()
    return st.just(dimension) if isinstance(dimension, int) else dimension

"""Tasks, systems and differentiation that several test modules share.

Nothing here calls a gradient, a Jacobian or a closed form of the library: derivatives are taken
of the loss by complex step, whose error is rounding alone (the loss is a polynomial).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numerics import (
    AttentionLayer,
    AttentionSystem,
    ConvolutionalNetwork,
    LayerMomentsSystem,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    TokenTask,
    TwoLayerNetwork,
    dense_moments,
    linear_layer_moments,
    population_moments,
    sample_moments,
    sample_sequences,
    token_blocks,
)

EPS = float(np.finfo(float).eps)

# A product of two or three small matrices is a few dozen roundings of its largest term; 500
# leave room for the cancellation between terms of one size.
ROUNDING = 500 * EPS


def assert_same(actual: Any, expected: Any, roundings: float = 500.0) -> None:
    """Equal up to so many roundings of the largest entry of either."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    scale = max(np.abs(actual).max(), np.abs(expected).max())
    assert np.abs(actual - expected).max() <= roundings * EPS * scale


def spd(dimension: int, seed: int, ridge: float = 0.2) -> np.ndarray:
    """A positive definite matrix with no symmetry of its own."""
    A = np.random.default_rng(seed).standard_normal((dimension, dimension))
    A = A @ A.T / dimension + ridge * np.eye(dimension)
    return (A + A.T) / 2


def skewed_tokens(rows: int, dimension: int, seed: int) -> np.ndarray:
    """Rows that are neither centred nor Gaussian."""
    generator = np.random.default_rng(seed)
    return generator.exponential(size=(rows, dimension)) @ spd(dimension, seed) - 0.3


def commuting(omega: Any) -> LinearTask:
    return LinearTask.from_eigenvalues([1.3, 0.8, 0.4], 7, task_eigenvalues=omega, noise=0.2, rng=4)


TASKS = {
    "scalar": LinearTask([[0.7]], 1, [[1.6]], noise=0.3),
    "white": LinearTask(np.eye(3), 6),
    "commuting": commuting([0.5, 1.0, 2.0]),
    "generic": LinearTask(spd(3, 1), [2, 5, 9], spd(3, 2), noise=0.4),
    "in-weight": LinearTask(spd(2, 3), 4, np.outer([1.0, -0.5], [1.0, -0.5])),
    "tokens": TokenTask(skewed_tokens(7, 3, 5), [3, 4], spd(3, 6), noise=0.5),
}


def moment_kinds() -> dict[str, Any]:
    """Each kind of moments, none of them with a product structure that it need not have."""
    factored = population_moments(TASKS["generic"])
    return {
        "factored": factored,
        "diagonal": factored.eigenform()[0],
        "dense": dense_moments(factored),
        "sample": sample_moments(TASKS["generic"], 40, rng=3),
        "tokens": population_moments(TASKS["tokens"]),
    }


def models(dimension: int = 3) -> dict[str, Any]:
    return {
        "merged": MergedAttention(dimension, heads=2),
        "separate-1": SeparateAttention(dimension, heads=3),
        "separate-2": SeparateAttention(dimension, heads=2, rank=2),
        "separate-3": SeparateAttention(dimension, heads=2, rank=3),
        "separate-1x3": SeparateAttention(dimension, heads=1, rank=3),
    }


def systems() -> Iterator[tuple[str, Any]]:
    """Every gradient system on every kind of moments."""
    for kind, moments in moment_kinds().items():
        for name, model in models().items():
            yield f"{name}-{kind}", AttentionSystem(model, moments)
        yield f"two-layer-{kind}", TwoLayerNetwork(moments, width=2)
        yield f"convolutional-{kind}", ConvolutionalNetwork(moments, width=3)
    scalar = population_moments(TASKS["scalar"])
    for name, model in models(dimension=1).items():
        yield f"{name}-scalar", AttentionSystem(model, scalar)
    yield "two-layer-scalar", TwoLayerNetwork(scalar, width=1)
    yield "convolutional-scalar", ConvolutionalNetwork(scalar, width=1)


def power_law(
    D: int, heads: int | None = None, scale: float = 0.1
) -> tuple[AttentionSystem, np.ndarray]:
    """Power-law tokens in their eigenbasis, a system, and small weights."""
    spectrum = 1 / np.arange(1, D + 1)
    task = LinearTask.from_eigenvalues(spectrum / spectrum.sum(), 31)
    system = AttentionSystem(
        SeparateAttention(D, heads or D), population_moments(task).eigenform()[0]
    )
    return system, system.model.initial_weights(scale, rng=0)


def whole_layer(sequences: Any, heads: int, rank: int | None = None) -> LayerMomentsSystem:
    """Every block of linear attention, divided by N, on given sequences of any lengths."""
    layer = AttentionLayer(sequences.query.shape[1], heads, rank, divide_by_context=True)
    moments = linear_layer_moments(token_blocks(sequences), divide_by_context=True)
    return LayerMomentsSystem(layer, moments)


def whole_layers() -> Iterator[tuple[str, Any]]:
    for name in ("scalar", "generic", "tokens"):
        sequences = sample_sequences(TASKS[name], 12, rng=8)
        for heads, rank in ((1, None), (3, None), (1, 1), (2, 1), (2, 3)):
            yield f"whole-{name}-{heads}-{rank}", whole_layer(sequences, heads, rank)


def state(size: int, seed: int = 0, scale: float = 0.7) -> np.ndarray:
    """Weights of order one, where every term of a gradient counts."""
    return scale * np.random.default_rng(seed).standard_normal(size)


STEP = 1e-40  # a complex step has no cancellation, so it may be as small as one likes


def complex_gradient(f: Callable[[np.ndarray], Any], theta: np.ndarray) -> np.ndarray:
    """∂f/∂θ, exact to rounding for an analytic f."""
    return np.array([np.imag(f(theta + 1j * STEP * e)) / STEP for e in np.eye(len(theta))])


def complex_directional(
    f: Callable[[np.ndarray], Any], theta: np.ndarray, direction: np.ndarray
) -> np.ndarray:
    """Derivative of f along a direction, exact to rounding for an analytic f."""
    return np.imag(f(theta + 1j * STEP * direction)) / STEP


def permuted_heads(model: Any, theta: np.ndarray, order: Any) -> np.ndarray:
    """The same network with its heads renumbered."""
    return np.concatenate([part[..., order, :].ravel() if part.ndim > 1 else part[order]
                           for part in _by_head(model, theta)])  # fmt: skip


def _by_head(model: Any, theta: np.ndarray) -> list[np.ndarray]:
    v, *rest = model.unpack(theta)
    return [v, *(part.reshape(len(v), -1) for part in rest)]

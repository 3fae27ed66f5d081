"""A learning rate and a number of steps for whoever gives none.

Gradient descent leaves the learned modes beyond the rate 2/h, h the largest eigenvalue of the
Hessian there. In a whole layer that is larger than in the reduced model: the weights that meet
labels see Σ y_n², which does not average to zero, so h is measured on sequences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import analytic
from numerics import AttentionLayer, LinearTask, TokenTask, population_moments, sample_sequences
from numerics.layers.system import LayerSystem

Array = NDArray[Any]

SHARE = 0.5  # of the largest stable rate
PATIENCE = {"separate": 2.0, "merged": 5.0}  # times the last drop; merged modes settle together
COUNT = 1000  # sequences: a rate within some 20 % will do
POWERS = 30  # of the Hessian; its label directions stand out
NUDGE = 1e-5  # of the weights: differences are then right to (1e-5)² and 1e-16/1e-5


def default_rate(task: LinearTask | TokenTask, design: str) -> float:
    """A share of the largest stable rate where all modes are learned."""
    return two_digits(SHARE * largest_stable_rate(task, design))


def largest_stable_rate(task: LinearTask | TokenTask, design: str) -> float:
    """2/h of the whole linear layer at M_D, by powers of the Hessian on sampled sequences."""
    layer, theta = learned(task, design)
    system = LayerSystem.of(layer, sample_sequences(task, COUNT, rng=0))
    direction = np.random.default_rng(0).standard_normal(layer.size)
    curvature = 1.0
    for _ in range(POWERS):
        direction /= np.linalg.norm(direction)
        step = NUDGE * np.linalg.norm(theta) * direction
        slope = system.velocity(theta - step) - system.velocity(theta + step)
        direction = slope / (NUDGE * np.linalg.norm(theta))  # ∂²L/∂θ² · direction
        curvature = float(np.linalg.norm(direction))
    return 2 / curvature


def learned(task: LinearTask | TokenTask, design: str) -> tuple[AttentionLayer, Array]:
    """A layer that has learned every mode, with balanced weights, as small ones grow to be."""
    second = population_moments(task).second_moment
    modes = analytic.general_modes(task.covariance, second).matrices
    size = len(modes)
    if design == "merged":
        whole = modes.sum(axis=0)
        value = np.sqrt(np.linalg.norm(whole))
        layer = AttentionLayer(size, 1, None, "linear", True)
        return layer, layer.embed([value], [whole / value])
    left, sizes, right = np.linalg.svd(modes)
    u = np.cbrt(sizes[:, 0])
    layer = AttentionLayer(size, size, 1, "linear", True)
    return layer, layer.embed(u, u[:, None, None] * left[:, None, :, 0],
                              u[:, None, None] * right[:, :1, :])  # fmt: skip


def default_steps(growth: Array, count: int, scale: float, rate: float, design: str) -> int:
    """Steps of plain gradient descent until well after the last of `count` drops.

    Separate heads grow as v̇ = g v², merged ones as v̇ = g v from initial weights of `scale`.
    """
    last = float(growth[count - 1])
    time = 1 / (last * scale) if design == "separate" else max(1.0, -np.log(scale)) / last
    steps = PATIENCE[design] * time / (2 * rate)
    return int(two_digits(min(max(float(steps), 1000.0), 200_000.0)))


def two_digits(value: float) -> float:
    """Rounded, so that a default is easy to type and does not hang on the last bit."""
    return float(f"{value:.2g}")

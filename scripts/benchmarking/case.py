"""Cases of gradient flow that several entries run: one start or many, in the eigenbasis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarking.base import Array
from numerics import AttentionSystem, LinearTask, SeparateAttention, population_moments
from numerics.moments import DiagonalMoments, FactoredMoments

RTOL, ATOL = 1e-8, 1e-12
CONTEXT = 31
POINTS = 100


def spectrum(dimension: int) -> Array:
    """Eigenvalues of sum 1: 0.4 to 0.1 at D = 4, else ∝ 1/d."""
    if dimension == 4:
        return np.array([0.4, 0.3, 0.2, 0.1])
    harmonic = 1 / np.arange(1, dimension + 1)
    return np.asarray(harmonic / harmonic.sum())


@dataclass(frozen=True, eq=False)
class Case:
    """ATTN_S of rank R on population moments, from weights N(0, scale²).

    Attributes
    ----------
    duration : float
        Flow time, τ = 1; losses are wanted at `POINTS` log-spaced times, or at the end alone
        where there are many `seeds`.
    """

    dimension: int
    heads: int
    rank: int
    scale: float
    duration: float
    seeds: int = 0

    @cached_property
    def model(self) -> SeparateAttention:
        """The map from weights to M."""
        return SeparateAttention(self.dimension, self.heads, self.rank)

    @cached_property
    def task(self) -> LinearTask:
        """Gaussian tokens, N = 31."""
        return LinearTask.from_eigenvalues(spectrum(self.dimension), CONTEXT)

    @cached_property
    def moments(self) -> FactoredMoments:
        """As a user has them."""
        return population_moments(self.task)

    @cached_property
    def form(self) -> DiagonalMoments:
        """In their eigenbasis."""
        return self.moments.eigenform()[0]

    @property
    def energy(self) -> float:
        """E[y_q²]."""
        return float(self.form.energy)

    @cached_property
    def initial(self) -> Array:
        """Where ours begins: (size,), or (seeds, size)."""
        if not self.seeds:
            return self.model.initial_weights(self.scale, rng=0)
        rows = [self.model.initial_weights(self.scale, rng=seed) for seed in range(self.seeds)]
        return np.array(rows)

    @cached_property
    def start(self) -> Array:
        """The same weights in the eigenbasis."""
        _, left, right = self.moments.eigenform()
        return self.model.rotate(self.initial, left, right)

    @cached_property
    def system(self) -> AttentionSystem:
        """Loss, velocity and Jacobian in the eigenbasis."""
        return AttentionSystem(self.model, self.form)

    @cached_property
    def times(self) -> Array:
        """When losses are wanted."""
        if self.seeds:
            return np.array([self.duration])
        return np.geomspace(1e-3, 1.0, POINTS) * self.duration

"""A mixture of random tasks and one fixed task: its three losses, its flow, its sequences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

import analytic
from numerics import (
    LinearTask,
    SeparateAttention,
    Sequences,
    Trajectory,
    gradient_flow,
    matrix_loss,
    mixture_covariance,
    mixture_vectors,
    population_moments,
    random_rotation,
    sample_sequences,
)

CONTEXT = 10
SPECTRUM = (0.5, 0.3, 0.2)
SHARES = (0.0, 0.1, 0.3, 0.6, 1.0)
GENERIC = (1.0, 0.5, 0.8)
MODEL = SeparateAttention(dimension=3, heads=4)


@dataclass(frozen=True)
class Mixture:
    """A share c of tasks N(0, I); w0 has ‖w0‖² = D and the given coordinates on Λ's eigenvectors.

    Arrays over the three laws of w are in the order training, in context, in weights.
    """

    share: float
    along: tuple[float, float, float] = GENERIC
    spectrum: tuple[float, float, float] = SPECTRUM

    @property
    def basis(self) -> np.ndarray:
        """Eigenvectors of Λ as columns."""
        return random_rotation(3, rng=0)

    @property
    def covariance(self) -> np.ndarray:
        """Λ."""
        basis = self.basis
        return np.asarray((basis * self.spectrum) @ basis.T)

    @property
    def fixed_task(self) -> np.ndarray:
        """w0."""
        direction = np.array(self.along)
        return np.asarray(self.basis @ direction * np.sqrt(3 / np.sum(direction**2)))

    @property
    def laws(self) -> list[np.ndarray]:
        """Second moments of w under the three laws."""
        w0 = self.fixed_task
        return [mixture_covariance(c, w0) for c in (self.share, 1.0, 0.0)]

    def task(self, law: int = 0) -> LinearTask:
        """The task whose w follows one of the laws."""
        return LinearTask(self.covariance, CONTEXT, self.laws[law])

    def modes(self) -> analytic.GeneralModes:
        """Modes of the training loss; Λ and Ω need not commute."""
        S = analytic.feature_second_moment(self.covariance, CONTEXT, task_covariance=self.laws[0])
        return analytic.general_modes(self.covariance, S, task_covariance=self.laws[0])

    def visited(self) -> np.ndarray:
        """M at the predicted plateaus: a mode that cannot grow is never learned."""
        modes = self.modes()
        learned = modes.matrices[modes.growth > 1e-9 * modes.growth[0]]
        return np.concatenate([np.zeros((1, 3, 3)), np.cumsum(learned, axis=0)])

    def predicted(self, matrices: np.ndarray | None = None) -> np.ndarray:
        """Closed form of the three losses (3, m) of matrices, by default of the plateaus."""
        chosen = self.visited() if matrices is None else matrices
        rows = []
        for law in self.laws:
            S = analytic.feature_second_moment(self.covariance, CONTEXT, task_covariance=law)
            rows.append(
                [analytic.population_loss(M, self.covariance, S, task_covariance=law)
                 for M in chosen]
            )  # fmt: skip
        return np.array(rows, float)

    def measured(self, matrices: np.ndarray) -> np.ndarray:
        """The same from the moments in numerics."""
        return np.array(
            [matrix_loss(population_moments(self.task(law)), matrices) for law in range(3)]
        )


@lru_cache
def flow(case: Mixture, scale: float = 1e-3, seed: int = 0) -> Trajectory:
    """Gradient flow of rank-one ATTN_S, H = 4, from N(0, scale²) weights through the last drop."""
    growth = case.modes().growth
    slowest = growth[growth > 1e-9 * growth[0]].min()
    start = MODEL.initial_weights(scale, rng=seed)
    duration = 30 / (slowest * scale)
    return gradient_flow(MODEL, population_moments(case.task()), start, duration, rtol=1e-9)


def sample(case: Mixture, count: int, seed: int, *, mirrored: bool) -> Sequences:
    """Sequences of the mixture, w0 with a random sign or always as +w0."""
    generator = np.random.default_rng(seed)
    w = mixture_vectors(case.share, case.fixed_task, count, mirrored=mirrored, rng=generator)
    return sample_sequences(case.task(), count, w=w, rng=generator)

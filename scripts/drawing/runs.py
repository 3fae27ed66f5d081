"""Runs of ATTN_S that the figures share, each with the cascade predicted from its first weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

import analytic
from drawing.base import thin
from numerics import (
    LinearTask,
    SeparateAttention,
    Trajectory,
    drop_times,
    gradient_flow,
    population_moments,
)
from numerics.cascade.record import Cascade
from numerics.cascade.reduced import task_cascade

Array = NDArray[Any]

CONTEXT = 31
FOUR = (0.4, 0.3, 0.2, 0.1)
HARMONIC = tuple((1 / np.arange(1, 9) / np.sum(1 / np.arange(1, 9))).tolist())


@dataclass(frozen=True, eq=False)
class Setup:
    """ATTN_S on tokens with given eigenvalues in a random orthonormal basis, N = 31.

    `plateaus` are the D+1 losses of [L] Eq. 19; weights start at N(0, scale²).
    """

    eigenvalues: tuple[float, ...]
    heads: int
    rank: int
    scale: float
    basis_seed: int = 0

    @property
    def task(self) -> LinearTask:
        """Λ has these eigenvalues, Ω = I, σ = 0."""
        return LinearTask.from_eigenvalues(self.eigenvalues, CONTEXT, rng=self.basis_seed)

    @property
    def basis(self) -> Array:
        """Eigenvectors of Λ as columns, in descending order of the eigenvalues."""
        return np.asarray(np.linalg.eigh(self.task.covariance)[1][:, ::-1])

    @property
    def plateaus(self) -> Array:
        """Predicted losses of the D+1 plateaus."""
        return np.asarray(analytic.plateau_losses(self.eigenvalues, CONTEXT))

    @property
    def model(self) -> SeparateAttention:
        """The attention layer."""
        return SeparateAttention(len(self.eigenvalues), self.heads, self.rank)


@dataclass(frozen=True, eq=False)
class Run:
    """A run, the drops measured in it, and the cascade predicted from its initial weights."""

    seed: int
    cascade: Cascade
    t: Array
    states: Array
    loss: Array
    loss_rate: Array
    drops: Array

    def separation(self) -> float:
        """Smallest ratio between consecutive drop times."""
        return float(np.min(self.drops[1:] / self.drops[:-1]))


def separate_run(
    setup: Setup, seed: int, *, margin: float = 1e-3, tail: float = 0.0, rtol: float = 1e-7
) -> Run:
    """Gradient flow until the loss is within `margin` of the last gap from the last plateau.

    The predicted time of the last drop tells how long that may take; where the prediction falls
    short the run goes on. Then it goes on for `tail` times the time it took.

    Raises
    ------
    ArithmeticError
        If the solver gives up, or the last plateau is not in sight after four such times.
    """
    model, plateaus, moments = setup.model, setup.plateaus, population_moments(setup.task)
    weights = model.initial_weights(setup.scale, rng=seed)
    cascade = task_cascade(model, setup.task, weights, rtol=rtol)
    level = float(plateaus[-1] + margin * (plateaus[-2] - plateaus[-1]))
    latest = 2.0 * float(np.max(cascade.drop_times[np.isfinite(cascade.drop_times)]))
    pieces = [gradient_flow(model, moments, weights, latest, rtol=rtol, until_loss=level)]
    while _good(pieces[-1]).loss[-1] > level + 1e-9 and len(pieces) < 4:
        last = pieces[-1].states[-1]
        pieces.append(gradient_flow(model, moments, last, latest, rtol=rtol, until_loss=level))
    if pieces[-1].loss[-1] > level + 1e-9:
        raise ArithmeticError(f"rank {setup.rank}, seed {seed}: no end after {len(pieces)} tries")
    if tail:
        extent = tail * sum(float(piece.t[-1]) for piece in pieces)
        pieces.append(_good(gradient_flow(model, moments, pieces[-1].states[-1], extent)))
    return _joined(seed, cascade, pieces, plateaus)


def _good(piece: Trajectory) -> Trajectory:
    if piece.status != "finished":
        raise ArithmeticError(f"the flow {piece.status}")
    return piece


def _joined(seed: int, cascade: Cascade, pieces: list[Trajectory], plateaus: Array) -> Run:
    """One run of several that follow each other; the first point of each repeats a last one."""
    starts = np.cumsum([0.0] + [float(piece.t[-1]) for piece in pieces[:-1]])
    t = np.concatenate([p.t[i > 0 :] + starts[i] for i, p in enumerate(pieces)])
    states = np.concatenate([p.states[i > 0 :] for i, p in enumerate(pieces)])
    loss = np.concatenate([p.loss[i > 0 :] for i, p in enumerate(pieces)])
    rate = np.concatenate([p.loss_rate[i > 0 :] for i, p in enumerate(pieces)])
    drops = drop_times(t, loss, plateaus, loss_rate=rate)
    return Run(seed, cascade, t, states, loss, rate, drops)


@dataclass(frozen=True, eq=False)
class LossCurve:
    """Loss over time of one seed, thinned to what a picture needs, and its drops."""

    seed: int
    t: Array
    loss: Array
    drops: Array
    predicted_drops: Array


def loss_curve(run: Run, *, log_time: bool) -> LossCurve:
    """Keep the points of a run that show in a picture."""
    keep = thin(run.t, run.loss, log_x=log_time)
    return LossCurve(run.seed, run.t[keep], run.loss[keep], run.drops, run.cascade.drop_times)


@cache
def harmonic_curve(rank: int, seed: int, basis_seed: int) -> LossCurve:
    """[L] Fig. 4 and 12: D=8, H=9, λ_d ∝ 1/d with trace 1, weights N(0, 0.01²)."""
    setup = Setup(HARMONIC, heads=9, rank=rank, scale=1e-2, basis_seed=basis_seed)
    return loss_curve(separate_run(setup, seed, rtol=1e-6), log_time=True)

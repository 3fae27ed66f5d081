"""The plateaus that the theory predicts for the very sample a run was trained on.

Notation: β = Σ y_n x_n (without 1/N, as in the run), z = vec(β x_qᵀ), and the reduced model
ŷ = βᵀ M x_q. Its loss L(M) = E y_q² − 2⟨C, M⟩ + ⟨M, E[zzᵀ]·M⟩ has sample averages for E. Scaling
β scales M alone, so losses need no conversion. [L] is arXiv 2501.16265v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import analytic
from numerics import (
    DenseMoments,
    Sequences,
    matrix_loss,
    minimiser,
    moments_of_sequences,
    stationary_loss,
)
from numerics.layers.moments import linear_layer_moments

from .inputs import Run

Array = NDArray[Any]

MOST_FEATURES = 1000  # of the whole layer, for its least loss
TOO_FEW = "too few sequences to tell the modes"
CHUNK = 10_000  # sequences at a time
# D up to which plateaus are found on the sample itself, in a second or two.
LARGEST_EXACT = {"separate": 14, "merged": 32, "network": 64}


@dataclass(frozen=True, eq=False)
class Plateaus:
    """Predicted losses, in the run's convention: the mean square without ½.

    Attributes
    ----------
    losses : list of float
        In the order of the visits; empty where there is no closed form.
    modes : list of int
        How many modes are learned at each; D at the minimum.
    formula : list of float
        For a separate layer, the same from Λ, S and C alone, as if E[zzᵀ] were Λ ⊗ S ([L] Eq. 19
        in general form, `analytic.general_plateau_losses`); exact for infinitely many sequences.
    note : str
        Where they come from, or why there are none.
    floor : float, optional
        The least loss of the whole linear layer on the sample (`least_loss`).
    """

    losses: list[float]
    modes: list[int]
    formula: list[float]
    note: str
    floor: float | None = None


def predict(run: Run, attention: str) -> Plateaus:
    """Plateaus of the reduced model on the run's sample, and the floor of the whole layer."""
    if attention == "softmax":
        drops = "one abrupt drop" if run.design == "merged" else "several drops"
        note = f"softmax attention has no closed form; [L] Fig. 5 shows {drops}"
        return Plateaus([], [], [], note)
    return replace(_predict_linear(run), floor=least_loss(run))


def _predict_linear(run: Run) -> Plateaus:
    if run.dimension > LARGEST_EXACT[run.design]:
        return _formula_alone(run)
    moments = sample_moments(run)
    energy, last = moments.energy, float(matrix_loss(moments, minimiser(moments)))
    last = max(last, 0.0)
    size = run.dimension
    if run.design != "separate":
        note = "zero, and the minimum of the reduced model on this sample ([L] Eq. 9)"
        return Plateaus([energy, last], [0, size], [], note)
    start, formula = _modes(run, energy)
    count = min(size, run.heads * (run.rank or 1))
    if start is None:
        ends = 2 if count == size else 1
        return Plateaus([energy, last][:ends], [0, size][:ends], [], f"{TOO_FEW}; the ends alone")
    losses = [energy]
    for m in range(1, count + 1):
        exact = last if m == size else stationary_loss(moments, start[:m].sum(axis=0), m)
        losses.append(min(max(exact, 0.0), losses[-1]))
    note = "stationary points of the reduced model on this sample, of rank m ([L] Eq. 18, 19)"
    return Plateaus(losses, list(range(count + 1)), formula[: count + 1], note)


def _formula_alone(run: Run) -> Plateaus:
    """Without E[zzᵀ], where that is large."""
    energy = float(run.target @ run.target) / len(run.target)
    if run.design == "network":
        return Plateaus([energy], [0], [], "too many features for the minimum; zero alone")
    start, formula = _modes(run, energy)
    note = "from Λ, S and C of the sample alone, as D is large ([L] Eq. 19 in general form)"
    if start is None:
        return Plateaus([energy], [0], [], TOO_FEW)
    modes = list(range(len(formula)))
    if run.design == "merged":
        return Plateaus([formula[0], formula[-1]], [0, modes[-1]], formula, note)
    count = min(run.dimension, run.heads * (run.rank or 1)) + 1
    return Plateaus(formula[:count], modes[:count], formula[:count], note)


def sample_moments(run: Run) -> DenseMoments:
    """E y_q², C and E[zzᵀ] of the sample, in one pass."""
    if run.design != "network":
        return moments_of_sequences(_chunks(run))
    z, y, count = run.x, run.target, len(run.x)
    side = run.dimension
    correlation = (y @ z / count).reshape(side, side).T
    return DenseMoments(float(y @ y) / count, correlation, z.T @ z / count)


def _chunks(run: Run) -> Iterator[Sequences]:
    for start in range(0, len(run.x), CHUNK):
        x, y = run.x[start : start + CHUNK], run.target[start : start + CHUNK]
        count, length = len(x), x.shape[1] - 1
        yield Sequences(
            x=x[:, :-1, :-1], y=x[:, :-1, -1], query=x[:, -1, :-1], target=y,
            lengths=np.full(count, length), w=np.zeros((count, 0)),
        )  # fmt: skip


def _modes(run: Run, energy: float) -> tuple[Array | None, list[float]]:
    """The rank-one matrices of the modes in visit order, and the losses of the formula.

    They come from Λ = E[x_q x_qᵀ], S = E[ββᵀ] and C = E[y_q β x_qᵀ] as if sequences were many:
    C = ΛΩΛ gives Ω, made symmetric and positive as it would be.
    """
    count, size = len(run.x), run.dimension
    second, correlation, covariance = (np.zeros((size, size)) for _ in range(3))
    for part in _chunks(run):
        beta, query = part.beta, part.query
        second += beta.T @ beta / count
        covariance += query.T @ query / count
        correlation += (beta * part.target[:, None]).T @ query / count
    try:
        omega = np.linalg.solve(covariance, np.linalg.solve(covariance, correlation).T)
        values, vectors = np.linalg.eigh((omega + omega.T) / 2)
        task = (vectors * np.maximum(values, 0.0)) @ vectors.T
        second, covariance = (second + second.T) / 2, (covariance + covariance.T) / 2
        modes = analytic.general_modes(covariance, second, task_covariance=(task + task.T) / 2)
    except (ValueError, np.linalg.LinAlgError):
        return None, []  # singular: fewer sequences than dimensions, or a dead dimension
    losses = energy - np.append(0.0, np.cumsum(modes.gains))
    return modes.matrices, np.maximum(losses, 0.0).tolist()


def least_loss(run: Run) -> float | None:
    """The least loss on the sample of a linear layer with every block of its weights.

    Blocks that act on labels, which the reduced model leaves out, fit a finite sample better. A
    lower bound with few heads or a low rank; None for a network, or where D is large.
    """
    size = run.dimension
    if run.design == "network" or (size + 1) * (size + 2) * size // 2 > MOST_FEATURES:
        return None
    moments = linear_layer_moments([(run.x, run.target)])
    best = np.linalg.lstsq(moments.feature_moment, moments.correlation, rcond=None)[0]
    return max(0.0, moments.energy - float(best @ moments.correlation))

"""The plateaus that the theory predicts for the very sample a run was trained on.

Notation: β = Σ y_n x_n (without 1/N, as in the run), z = vec(β x_qᵀ), and the reduced model
ŷ = βᵀ M x_q. Its loss L(M) = E y_q² − 2⟨C, M⟩ + ⟨M, E[zzᵀ]·M⟩ has sample averages for E. Scaling
β scales M alone, so losses need no conversion. [L] is arXiv 2501.16265v2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import analytic
from numerics import DenseMoments, LinearLayerMoments, matrix_loss, minimiser, stationary_loss

from .gather import LARGEST_EXACT, MOST_SOLVED, Gathered, Marginals
from .inputs import Run

Array = NDArray[Any]

TOO_FEW = "too few sequences to tell the modes"


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


def predict(run: Run, gathered: Gathered) -> Plateaus:
    """Plateaus of the reduced model on the run's sample, and the floor of the whole layer."""
    if gathered.marginals is None:
        drops = "one abrupt drop" if run.design == "merged" else "several drops"
        note = f"softmax attention has no closed form; [L] Fig. 5 shows {drops}"
        return Plateaus([], [], [], note)
    if run.dimension <= LARGEST_EXACT[run.design] and gathered.reduced is not None:
        plateaus = _exact(run, gathered.reduced, gathered.marginals)
    else:
        plateaus = _formula_alone(run, gathered.marginals)
    return replace(plateaus, floor=least_loss(gathered.layer))


def _exact(run: Run, moments: DenseMoments, marginals: Marginals) -> Plateaus:
    """Stationary points of the sample's loss itself."""
    energy, last = moments.energy, float(matrix_loss(moments, minimiser(moments)))
    last = max(last, 0.0)
    size = run.dimension
    if run.design != "separate":
        note = "zero, and the minimum of the reduced model on this sample ([L] Eq. 9)"
        return Plateaus([energy, last], [0, size], [], note)
    start, formula = _modes(marginals)
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


def _formula_alone(run: Run, marginals: Marginals) -> Plateaus:
    """Without E[zzᵀ], where that is large."""
    energy = marginals.energy
    if run.design == "network":
        return Plateaus([energy], [0], [], "too many features for the minimum; zero alone")
    start, formula = _modes(marginals)
    note = "from Λ, S and C of the sample alone, as D is large ([L] Eq. 19 in general form)"
    if start is None:
        return Plateaus([energy], [0], [], TOO_FEW)
    modes = list(range(len(formula)))
    if run.design == "merged":
        return Plateaus([formula[0], formula[-1]], [0, modes[-1]], formula, note)
    count = min(run.dimension, run.heads * (run.rank or 1)) + 1
    return Plateaus(formula[:count], modes[:count], formula[:count], note)


def _modes(marginals: Marginals) -> tuple[Array | None, list[float]]:
    """The rank-one matrices of the modes in visit order, and the losses of the formula.

    They come from Λ = E[x_q x_qᵀ], S = E[ββᵀ] and C = E[y_q β x_qᵀ] as if sequences were many:
    C = ΛΩΛ gives Ω, made symmetric and positive as it would be.
    """
    second, covariance = marginals.second_moment, marginals.covariance
    try:
        omega = np.linalg.solve(covariance, np.linalg.solve(covariance, marginals.correlation).T)
        values, vectors = np.linalg.eigh((omega + omega.T) / 2)
        task = (vectors * np.maximum(values, 0.0)) @ vectors.T
        second, covariance = (second + second.T) / 2, (covariance + covariance.T) / 2
        modes = analytic.general_modes(covariance, second, task_covariance=(task + task.T) / 2)
    except (ValueError, np.linalg.LinAlgError):
        return None, []  # singular: fewer sequences than dimensions, or a dead dimension
    losses = marginals.energy - np.append(0.0, np.cumsum(modes.gains))
    return modes.matrices, np.maximum(losses, 0.0).tolist()


def least_loss(moments: LinearLayerMoments | None) -> float | None:
    """The least loss on the sample of a linear layer with every block of its weights.

    Blocks that act on labels, which the reduced model leaves out, fit a finite sample better. A
    lower bound with few heads or a low rank; None for a network, or where D is large.
    """
    if moments is None or len(moments.correlation) > MOST_SOLVED:
        return None
    best = np.linalg.lstsq(moments.feature_moment, moments.correlation, rcond=None)[0]
    return max(0.0, moments.energy - float(best @ moments.correlation))

"""Fixed points of ATTN_S when S and Ω do not commute with Λ: real tokens, anisotropic tasks.

Notation: L(M) = tr(ΩΛ) − 2⟨B, K⟩ + ‖K‖² with K = S^{1/2} M Λ^{1/2} and
B = S^{−1/2} ΛΩΛ Λ^{−1/2}. With the singular value decomposition B = Σ σ_d a_d b_dᵀ the fixed points
in function space are M = Σ σ_d (S^{−1/2}a_d)(Λ^{−1/2}b_d)ᵀ over the d of a subset, one for each
subset of singular pairs, where the σ_d differ. Derived here; where everything commutes it is [L]
Eq. 18–19 (arXiv 2501.16265v2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _check
from ._generic import Number
from ._guard import guarded


@dataclass(frozen=True, repr=False)
class GeneralModes:
    """The D modes in visit order, first learned first.

    Attributes
    ----------
    gains
        (D,), σ_d²: by how much the loss falls when the mode is learned, in units of y².
    growth
        (D,), k̂ᵀ ΛΩΛ q̂ along the unit key and query of the mode, descending; growth/τ is the rate
        of `learning_time`. λ_d²ω_d where Λ, Ω and S commute.
    matrices
        (D, D, D), the rank-one matrix each mode adds to M; their sum is M*.
    """

    gains: np.ndarray
    growth: np.ndarray
    matrices: np.ndarray

    def __repr__(self) -> str:
        ends = (f"{x[0]:.6g} … {x[-1]:.6g}" for x in (self.gains, self.growth))
        return "GeneralModes({} modes, gains {}, growth {})".format(len(self.gains), *ends)


@guarded
def general_modes(
    covariance: Number, second_moment: Number, *, task_covariance: Number | None = None
) -> GeneralModes:
    """Return gains, growth rates and matrices of the modes of ATTN_S for any S and Ω.

    Parameters
    ----------
    covariance
        Λ (D, D), symmetric positive definite.
    second_moment
        S (D, D), symmetric positive definite (`token_second_moment`, `feature_second_moment`).
    task_covariance
        Ω (D, D), symmetric positive semi-definite; None is the identity.

    Returns
    -------
    `GeneralModes`, sorted by descending growth.

    Raises
    ------
    ValueError
        If a matrix has the wrong shape, is not symmetric or not positive.

    Notes
    -----
    The fixed points and their losses are exact. The order is that of the growth of aligned small
    heads, exact where everything commutes and a prediction where it does not: singular pairs of B
    are not those of ΛΩΛ, which small weights follow first. Equal σ_d make a continuum of fixed
    points, of which one basis is returned. Derived here.
    Accuracy: 16 eps κ(Λ)κ(S) of the largest mode, κ(A) = ‖|A⁻¹||A|‖_∞.

    Examples
    --------
    >>> modes = general_modes([[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 4.0]])
    >>> modes.gains.round(6).tolist(), modes.growth.round(6).tolist()
    ([2.0, 1.0], [4.0, 1.0])
    """
    cov = _one_matrix("covariance", covariance)
    second = _one_matrix("second_moment", second_moment, cov.shape[0])
    task = np.eye(cov.shape[0]) if task_covariance is None else task_covariance
    task = _floats("task_covariance", _check.task_covariance(task, cov.shape[0]))
    left, right = _inverse_root(second), _inverse_root(cov)
    a, sigma, b = np.linalg.svd(left @ cov @ task @ cov @ right)
    keys, queries = left @ a, right @ b.T
    growth = sigma / (np.linalg.norm(keys, axis=0) * np.linalg.norm(queries, axis=0))
    order = np.argsort(-growth, kind="stable")
    matrices = sigma[:, None, None] * keys.T[:, :, None] * queries.T[:, None, :]
    return GeneralModes(sigma[order] ** 2, growth[order], matrices[order])


@guarded
def general_plateau_losses(
    covariance: Number, second_moment: Number, *, task_covariance: Number | None = None
) -> np.ndarray:
    """Return tr(ΩΛ) − Σ of the first m gains of `general_modes`, m = 0 … D, as (D + 1,).

    Arguments, errors and validity as in `general_modes`; units of y², without a ½. Each plateau is
    the loss of M_D plus the gains not yet collected. Derived here.

    Accuracy: 16 eps κ(Λ)κ(S) tr(ΩΛ), κ as in `general_modes`.

    Examples
    --------
    >>> general_plateau_losses([[2.0]], [[8.0]]).round(6).tolist()
    [2.0, 1.0]
    """
    modes = general_modes(covariance, second_moment, task_covariance=task_covariance)
    cov, second = np.asarray(covariance, float), np.asarray(second_moment, float)
    task = np.eye(cov.shape[0]) if task_covariance is None else np.asarray(task_covariance, float)
    # As in `minimum_loss`: subtract before summing, so that a long context keeps its digits.
    last = np.sum(np.linalg.solve(second, second - cov @ task @ cov) * (task @ cov).T)
    return last + np.append(np.cumsum(modes.gains[::-1])[::-1], 0.0)


def _one_matrix(name: str, value: Number, size: int | None = None) -> np.ndarray:
    return _floats(name, _check.covariance(name, value, size))


def _floats(name: str, value: Number) -> np.ndarray:
    matrix = np.asarray(value)
    if matrix.ndim != 2 or matrix.dtype == object:
        raise ValueError(
            f"{name} must be one matrix (D, D) of floats, got {matrix.shape}, {matrix.dtype}"
        )
    return matrix


def _inverse_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors / np.sqrt(values)) @ vectors.T

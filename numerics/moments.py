"""The three moments through which the loss sees the data, wherever they come from.

A predictor ŷ = βᵀ M x_q is linear in z = vec(β x_qᵀ) (columns stacked), so with
`energy` = E[y_q²], `correlation` C = E[y_q β x_qᵀ] and `E[zzᵀ]`,

    L(M) = energy − 2⟨C, M⟩ + ⟨M, E[zzᵀ]·M⟩,     residual G = C − E[zzᵀ]·M = −½ ∂L/∂M.

No factor ½ in the loss. In a population E[zzᵀ] = Λ ⊗ S, so E[zzᵀ]·M = S M Λ, and in the
eigenbases of S and Λ that is the elementwise product with W = s λᵀ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check, _repr
from numerics._check_moments import check_part, checked_matrix, settle_moments
from numerics._guard import guarded
from numerics.sampling import Sequences, sample_chunks
from numerics.tasks import Task, TokenTask

Array = NDArray[np.floating]


class Moments(Protocol):
    """What a model needs to know about the data."""

    @property
    def energy(self) -> float:
        """E[y_q²], the loss of predicting zero."""

    @property
    def correlation(self) -> Array:
        """C = E[y_q β x_qᵀ], shape (D, D)."""

    def quadratic(self, M: Array) -> Array:
        """E[zzᵀ]·M for M of shape (..., D, D)."""

    def residual(self, M: Array, out: Array | None = None) -> Array:
        """G = C − E[zzᵀ]·M = −½ ∂L/∂M; written to `out`, which may be M, where one is given."""


@dataclass(frozen=True, eq=False, repr=False)
class FactoredMoments(_repr.OneLine):
    """Population moments: E[zzᵀ]·M = S M Λ.

    Attributes
    ----------
    energy : float
        tr(ΩΛ).
    correlation : (D, D)
        C = ΛΩΛ.
    second_moment : (D, D)
        S = E[ββᵀ].
    covariance : (D, D)
        Λ.
    """

    energy: float
    correlation: Array
    second_moment: Array
    covariance: Array

    def __post_init__(self) -> None:
        settle_moments(self, second_moment=None, covariance=None)

    def quadratic(self, M: Array) -> Array:
        """S M Λ."""
        return np.asarray(self.second_moment @ M @ self.covariance)

    def residual(self, M: Array, out: Array | None = None) -> Array:
        """G = C − S M Λ."""
        return np.subtract(self.correlation, self.quadratic(M), out=out)

    def eigenform(self) -> tuple[DiagonalMoments, Array, Array]:
        """Moments in the eigenbases of S (left) and Λ (right), with the two bases as columns.

        A rotation of keys by the left and queries by the right basis is an isometry of the
        weights, so gradient flow commutes with it.
        """
        s, left = np.linalg.eigh(self.second_moment)
        lam, right = np.linalg.eigh(self.covariance)
        rotated = left.T @ self.correlation @ right
        return DiagonalMoments(self.energy, rotated, s[:, None] * lam), left, right


@dataclass(frozen=True, eq=False, repr=False)
class DiagonalMoments(_repr.OneLine):
    """Moments in bases where E[zzᵀ] acts elementwise: E[zzᵀ]·M = W∘M, W = s λᵀ."""

    energy: float
    correlation: Array
    weights: Array

    def __post_init__(self) -> None:
        settle_moments(self, weights=None)

    def quadratic(self, M: Array) -> Array:
        """W∘M."""
        return self.weights * M

    def residual(self, M: Array, out: Array | None = None) -> Array:
        """G = C − W∘M."""
        G = np.multiply(self.weights, M, out=out)
        return np.subtract(self.correlation, G, out=G)

    def eigenform(self) -> tuple[DiagonalMoments, None, None]:
        """Itself: no rotation is needed."""
        return self, None, None


@dataclass(frozen=True, eq=False, repr=False)
class DenseMoments(_repr.OneLine):
    """Moments with a full matrix E[zzᵀ] (D², D²), as a finite sample gives them."""

    energy: float
    correlation: Array
    feature_moment: Array

    def __post_init__(self) -> None:
        size = len(_check.floating_array("correlation", self.correlation, 2)) ** 2
        settle_moments(self, feature_moment=(size, size))

    def quadratic(self, M: Array) -> Array:
        """E[zzᵀ]·M by way of vec(M), columns stacked."""
        flat = M.swapaxes(-1, -2).reshape(*M.shape[:-2], -1)
        product = flat @ self.feature_moment
        return np.asarray(product.reshape(M.shape).swapaxes(-1, -2))

    def residual(self, M: Array, out: Array | None = None) -> Array:
        """G = C − E[zzᵀ]·M."""
        return np.subtract(self.correlation, self.quadratic(M), out=out)

    def eigenform(self) -> tuple[DenseMoments, None, None]:
        """Itself: a sample's E[zzᵀ] has no product structure to diagonalise."""
        return self, None, None


AnyMoments = FactoredMoments | DiagonalMoments | DenseMoments


@guarded
def population_moments(task: Task) -> FactoredMoments:
    """Exact moments of a task.

    `S = (1+1/N) ΛΩΛ + (tr(ΩΛ)+σ²) Λ/N` for Gaussian tokens ([L] Eq. 15 at Ω=I, σ=0), and
    `S = (1−1/N) ΛΩΛ + E[x xᵀΩx xᵀ]/N + σ²Λ/N` for any tokens; 1/N stands for E[1/N].

    >>> from numerics import LinearTask
    >>> population_moments(LinearTask([[1.0]], 1)).second_moment.tolist()
    [[3.0]]
    """
    lam, omega, inverse_n = task.covariance, task.task_covariance, task.inverse_context_length
    correlation = lam @ omega @ lam
    energy = float(np.sum(omega * lam))
    if isinstance(task, TokenTask):
        signal = (1 - inverse_n) * correlation + inverse_n * task.fourth_moment
    else:
        signal = (1 + inverse_n) * correlation + inverse_n * energy * lam
    second = signal + inverse_n * task.noise**2 * lam
    return FactoredMoments(energy, correlation, (second + second.T) / 2, lam)


@guarded
def moments_of_sequences(chunks: Sequences | Iterable[Sequences]) -> DenseMoments:
    """Sample averages over given sequences, in one pass; memory does not grow with their number.

    A run on the sequences' mean square error is reproduced exactly by these moments.

    >>> from numerics import LinearTask, sample_sequences
    >>> task = LinearTask([[1.0]], 3)
    >>> moments_of_sequences(sample_sequences(task, 7, rng=0)).feature_moment.shape
    (1, 1)
    """
    total, energy = 0, 0.0
    cross: Any = 0.0
    second: Any = 0.0
    try:
        parts = iter([chunks] if isinstance(chunks, Sequences) else chunks)
    except TypeError:
        raise TypeError(f"chunks must be Sequences, one or many, got {_check.shown(chunks)}"
                        ) from None  # fmt: skip
    for sequences in parts:
        check_part("chunks", sequences, Sequences)
        z = sequences.features
        total += len(sequences)
        energy += float(sequences.target @ sequences.target)
        cross = cross + sequences.target @ z
        second = second + z.T @ z
    if not total:
        raise ValueError("chunks must hold at least one sequence, got none")
    D = round(len(cross) ** 0.5)
    return DenseMoments(energy / total, (cross / total).reshape(D, D).T, second / total)


@guarded
def sample_moments(task: Task, count: int, *, chunk: int = 10_000, rng: Any = None) -> DenseMoments:
    """Moments of `count` freshly drawn sequences.

    >>> from numerics import LinearTask
    >>> moments = sample_moments(LinearTask([[0.4, 0], [0, 0.3]], 31), 2000, rng=0)
    >>> abs(moments.energy - 0.7) < 0.1
    True
    """
    return moments_of_sequences(sample_chunks(task, count, chunk=chunk, rng=rng))


@guarded
def pool_moments(batches: Iterable[DenseMoments], weights: ArrayLike | None = None) -> DenseMoments:
    """Average moments of several samples: those of all their sequences together.

    Parameters
    ----------
    batches
        One or more, of one D.
    weights : (B,), optional
        Number of sequences of each batch, or its share, > 0; by default all are alike.

    Raises
    ------
    ValueError, TypeError
        If there is no batch, two differ in D, or the weights are not one positive number each.

    Examples
    --------
    >>> from numerics import LinearTask
    >>> task = LinearTask([[1.0]], 3)
    >>> a, b = sample_moments(task, 10, rng=0), sample_moments(task, 30, rng=1)
    >>> pooled = pool_moments([a, b], [10, 30])
    >>> bool(np.isclose(pooled.energy, (a.energy + 3 * b.energy) / 4))
    True
    """
    parts = list(batches)
    for part in parts:
        check_part("batches", part, DenseMoments)
    if not parts:
        raise ValueError("batches must hold at least one sample's moments, got none")
    sizes = {len(part.correlation) for part in parts}
    if len(sizes) > 1:
        raise ValueError(f"batches must be of one dimension, got {sorted(sizes)}")
    share = np.ones(len(parts)) if weights is None else _check.floating_array("weights", weights, 1)
    _check.same_length("the length of weights", len(share), "the number of batches", len(parts))
    if not (share > 0).all():
        raise ValueError(f"weights must be > 0, got {share}")
    pairs = list(zip((share / share.sum()).tolist(), parts, strict=True))
    return DenseMoments(
        sum(w * part.energy for w, part in pairs),
        sum(w * part.correlation for w, part in pairs),
        sum(w * part.feature_moment for w, part in pairs),
    )


@guarded
def dense_moments(moments: AnyMoments) -> DenseMoments:
    """Write any moments out with the full (D², D²) matrix E[zzᵀ].

    >>> from numerics import LinearTask
    >>> m = population_moments(LinearTask([[0.4, 0], [0, 0.3]], 31))
    >>> M = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> bool(np.allclose(dense_moments(m).quadratic(M), m.quadratic(M)))
    True
    """
    if isinstance(moments, DenseMoments):
        return moments
    if isinstance(moments, DiagonalMoments):
        full = np.diag(moments.weights.T.ravel())
    else:
        full = np.kron(moments.covariance, moments.second_moment)
    return DenseMoments(moments.energy, moments.correlation, full)


@guarded
def matrix_loss(moments: Moments, M: Array) -> Array:
    """L(M) = E(βᵀMx_q − y_q)² for M of shape (..., D, D); no factor ½.

    >>> from numerics import LinearTask
    >>> m = population_moments(LinearTask([[2.0]], 1))
    >>> float(matrix_loss(m, np.zeros((1, 1))))
    2.0
    """
    return quadratic_loss(moments, checked_matrix(M, len(moments.correlation)))


def quadratic_loss(moments: Moments, M: Array) -> Array:
    """`matrix_loss` for the inner loops: M is not checked, and may be complex."""
    overlap = np.sum((2 * moments.correlation - moments.quadratic(M)) * M, axis=(-2, -1))
    return np.asarray(moments.energy - overlap)


@guarded
def minimiser(moments: AnyMoments) -> Array:
    """M* with zero residual; least squares if E[zzᵀ] is singular (fewer sequences than D²).

    >>> from numerics import LinearTask
    >>> float(minimiser(population_moments(LinearTask([[1.0]], 1)))[0, 0])
    0.3333333333333333
    """
    if isinstance(moments, DenseMoments):
        C = moments.correlation
        return np.asarray(
            np.linalg.lstsq(moments.feature_moment, C.T.ravel())[0].reshape(C.shape).T
        )
    if isinstance(moments, FactoredMoments):
        form, left, right = moments.eigenform()
        return np.asarray(left @ minimiser(form) @ right.T)
    C, W = moments.correlation, moments.weights
    # W = s λᵀ; an eigenvalue of zero is known to about D roundings of the largest.
    tiny = len(W) * np.finfo(W.dtype).eps * W.max()
    known = np.outer(W.max(axis=1) > tiny, W.max(axis=0) > tiny) & (W > 0)
    return np.divide(C, W, out=np.zeros_like(C), where=known)


__all__ = [
    "DenseMoments",
    "DiagonalMoments",
    "FactoredMoments",
    "Moments",
    "dense_moments",
    "matrix_loss",
    "minimiser",
    "moments_of_sequences",
    "pool_moments",
    "population_moments",
    "sample_moments",
]

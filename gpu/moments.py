"""Moments of many runs at once, one row for each; `numerics.moments` defines what they are.

    L(M) = energy − 2⟨C, M⟩ + ⟨M, E[zzᵀ]·M⟩,     residual G = C − E[zzᵀ]·M = −½ ∂L/∂M.

Every field is rows first, as a caller writes it; a batch of one row stands for all runs. Methods
whose name ends in `_last` take and return matrices rows last, (D, D, rows), as the kernels do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

import numerics
from gpu._arrays import Array, contiguous, namespace, placed, product, rows_first, rows_last
from gpu.batch import Batch, LayerMoments, SpectralMoments


@dataclass(frozen=True, eq=False, repr=False)
class BatchedMoments(Batch, ABC):
    """What every kind of moments of the reduced models has.

    Attributes
    ----------
    energy : (rows,)
        E[y_q²].
    correlation : (rows, D, D)
        C = E[y_q β x_qᵀ].
    """

    energy: Array
    correlation: Array

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.correlation.shape[-1])

    @cached_property
    def _correlation_last(self) -> Array:
        return rows_last(self.correlation)

    @abstractmethod
    def quadratic_last(self, M: Array) -> Array:
        """E[zzᵀ]·M for M (D, D, rows)."""

    @abstractmethod
    def apply_last(self, B: Array) -> Array:
        """E[zzᵀ] applied to each of n matrices, B (D, D, n, rows)."""

    def residual_last(self, M: Array) -> Array:
        """G = C − E[zzᵀ]·M for M (D, D, rows)."""
        return self._correlation_last - self.quadratic_last(M)

    def loss_last(self, M: Array) -> Array:
        """L (rows,) for M (D, D, rows)."""
        rest = (2.0 * self._correlation_last - self.quadratic_last(M)) * M
        return self.energy - namespace(M).sum(rest, axis=(0, 1))

    def quadratic(self, M: Array) -> Array:
        """E[zzᵀ]·M for M (rows, D, D)."""
        return rows_first(self.quadratic_last(rows_last(M)))

    def residual(self, M: Array) -> Array:
        """G = C − E[zzᵀ]·M = −½ ∂L/∂M for M (rows, D, D)."""
        return rows_first(self.residual_last(rows_last(M)))

    def eigenform(self) -> tuple[BatchedMoments, Array | None, Array | None]:
        """Moments in the cheapest bases, with the bases (rows, D, D) if they are not these."""
        return self, None, None


@dataclass(frozen=True, eq=False, repr=False)
class FactoredMoments(BatchedMoments):
    """Population moments: E[zzᵀ]·M = S M Λ; S and Λ (rows, D, D)."""

    second_moment: Array
    covariance: Array

    @cached_property
    def _factors_last(self) -> tuple[Array, Array]:
        return rows_last(self.second_moment), rows_last(self.covariance)

    def quadratic_last(self, M: Array) -> Array:
        """S M Λ."""
        S, Lam = self._factors_last
        return product(product(S, M), Lam)

    def apply_last(self, B: Array) -> Array:
        """S B_n Λ."""
        xp, (S, Lam) = namespace(B), self._factors_last
        D, _, n, rows = B.shape
        left = xp.reshape(product(S, xp.reshape(B, (D, D * n, rows))), (D, D, n, rows))
        left = xp.reshape(xp.permute_dims(left, (1, 0, 2, 3)), (D, D * n, rows))
        whole = xp.reshape(product(Lam, left), (D, D, n, rows))
        return xp.permute_dims(whole, (1, 0, 2, 3))

    def eigenform(self) -> tuple[DiagonalMoments, Array, Array]:
        """Moments in the eigenbases of S (left) and Λ (right), and the bases as columns."""
        xp = namespace(self.correlation)
        s, left = xp.linalg.eigh(self.second_moment)
        lam, right = xp.linalg.eigh(self.covariance)
        rotated = xp.permute_dims(left, (0, 2, 1)) @ self.correlation @ right
        weights = s[:, :, None] * lam[:, None, :]
        return DiagonalMoments(self.energy, rotated, weights), left, right


@dataclass(frozen=True, eq=False, repr=False)
class DiagonalMoments(BatchedMoments):
    """Moments in bases where E[zzᵀ] acts elementwise: E[zzᵀ]·M = W∘M, W (rows, D, D)."""

    weights: Array

    @cached_property
    def _weights_last(self) -> Array:
        return rows_last(self.weights)

    def quadratic_last(self, M: Array) -> Array:
        """W∘M."""
        return self._weights_last * M

    def apply_last(self, B: Array) -> Array:
        """W∘B_n."""
        return self._weights_last[:, :, None, :] * B


@dataclass(frozen=True, eq=False, repr=False)
class DenseMoments(BatchedMoments):
    """Moments with a full matrix E[zzᵀ] (rows, D², D²), columns of M stacked."""

    feature_moment: Array

    @cached_property
    def _feature_last(self) -> Array:
        # The kernels flatten matrices by rows, numerics by columns.
        xp, D = namespace(self.feature_moment), self.dimension
        full = xp.reshape(self.feature_moment, (self.rows, D, D, D, D))
        by_rows = contiguous(full, (2, 1, 4, 3, 0))
        return xp.reshape(by_rows, (D * D, D * D, self.rows))

    def quadratic_last(self, M: Array) -> Array:
        """E[zzᵀ]·M."""
        flat = namespace(M).reshape(M, (M.shape[0] ** 2, 1, M.shape[2]))
        return namespace(M).reshape(product(self._feature_last, flat), M.shape)

    def apply_last(self, B: Array) -> Array:
        """E[zzᵀ]·B_n."""
        flat = namespace(B).reshape(B, (B.shape[0] ** 2, *B.shape[2:]))
        return namespace(B).reshape(product(self._feature_last, flat), B.shape)


Task = numerics.LinearTask | numerics.TokenTask
Moments = numerics.FactoredMoments | numerics.DiagonalMoments | numerics.DenseMoments
Source = Task | Moments | numerics.LinearLayerMoments | numerics.MultiTask
"""What makes one row of moments."""

_KINDS: dict[type, tuple[type, tuple[str, ...]]] = {
    numerics.FactoredMoments: (FactoredMoments, ("second_moment", "covariance")),
    numerics.DiagonalMoments: (DiagonalMoments, ("weights",)),
    numerics.DenseMoments: (DenseMoments, ("feature_moment",)),
    numerics.LinearLayerMoments: (LayerMoments, ("feature_moment",)),
}


def stack_moments(
    sources: Source | Iterable[Source], *, xp: Any = np, dtype: Any = None, device: Any = None
) -> Any:
    """Moments of many runs, one row for each source; a single source stands for all rows.

    Parameters
    ----------
    sources : source or iterable of sources
        Tasks (`numerics.LinearTask`, `TokenTask`: their population moments), any moments of
        `numerics`, `numerics.LinearLayerMoments`, or `numerics.MultiTask` for [S]'s spectral loss.
        A source alone is the one row that stands for all.
        Spectra, noise and context lengths may differ from row to row; sizes may not. Factored and
        dense moments together become dense.
    xp : module
        The array library to hold them, e.g. ``numpy`` or ``cupy``.
    dtype, device
        As for ``xp.asarray``; float64 on its default device if left out.

    Returns
    -------
    FactoredMoments, DiagonalMoments, DenseMoments, LayerMoments or SpectralMoments
        Of this module.

    Raises
    ------
    ValueError
        If there is no source, or two differ in size.
    TypeError
        If a source is none of these, or they do not go together.

    Examples
    --------
    >>> from numerics import LinearTask
    >>> stacked = stack_moments([LinearTask([[lam]], 31) for lam in (0.5, 1.0, 2.0)])
    >>> stacked.rows, stacked.energy.tolist()
    (3, [0.5, 1.0, 2.0])
    """
    given = _listed(sources)
    if not given:
        raise ValueError("sources must hold at least one task or moments, got none")
    put = partial(placed, xp=xp, dtype=dtype, device=device)
    if all(isinstance(source, numerics.MultiTask) for source in given):
        return _spectral(given, put)
    parts = [_moments(source) for source in given]
    kinds = {type(part) for part in parts}
    if numerics.LinearLayerMoments in kinds:
        return _layer(parts, kinds, put)
    if len(kinds) > 1:
        parts = [numerics.dense_moments(part) for part in parts]
    return _stacked(parts, put)


Put = Callable[[Any], Array]

_WANTED = "tasks or moments of numerics"


def _listed(sources: Any) -> list[Any]:
    if isinstance(sources, Source):
        return [sources]
    if not isinstance(sources, Iterable):
        raise TypeError(f"sources must be {_WANTED}, one or many, got {type(sources).__name__}")
    return list(sources)


def _moments(source: Any) -> Any:
    if isinstance(source, Task):
        return numerics.population_moments(source)
    if type(source) not in _KINDS:
        raise TypeError(
            f"sources must hold {_WANTED}, all of one model, got {type(source).__name__}"
        )
    return source


def _one(what: str, values: Iterable[Any]) -> Any:
    """The value that all sources share."""
    found = list(dict.fromkeys(values))
    if len(found) > 1:
        raise ValueError(f"sources must agree in {what}, got {found}")
    return found[0]


def _stacked(parts: list[Any], put: Put, **extra: Any) -> Any:
    kind, names = _KINDS[type(parts[0])]
    _one("their shape", (part.correlation.shape for part in parts))
    arrays = {
        name: put([getattr(part, name) for part in parts])
        for name in ("energy", "correlation", *names)
    }
    return kind(**arrays, **extra)


def _layer(parts: list[Any], kinds: set[type], put: Put) -> LayerMoments:
    if len(kinds) > 1:
        raise TypeError(
            "sources must not mix moments of a whole layer with those of reduced models"
        )
    names = ("dimension", "divide_by_context")
    shared = {name: _one(name, (getattr(part, name) for part in parts)) for name in names}
    stacked: LayerMoments = _stacked(parts, put, **shared)
    return stacked


def _spectral(tasks: list[Any], put: Put) -> SpectralMoments:
    blocks = _one("block_dims", (tuple(task.block_dims) for task in tasks))
    signal = np.array([np.asarray(task.signal) for task in tasks])
    factor = np.array([task.noise_factor / task.context_length for task in tasks])
    return SpectralMoments(put(signal), put(signal * np.array(blocks) * factor), blocks)


__all__ = [
    "BatchedMoments",
    "DenseMoments",
    "DiagonalMoments",
    "FactoredMoments",
    "LayerMoments",
    "SpectralMoments",
    "stack_moments",
]

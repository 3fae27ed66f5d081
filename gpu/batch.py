"""Arrays of one length along their first axis, the row; a batch of one row stands for all runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from gpu._arrays import Array, take
from numerics._repr import OneLine

Self = TypeVar("Self", bound="Batch")


@dataclass(frozen=True, eq=False, repr=False)
class Batch(OneLine):
    """Arrays of one length along their first axis."""

    @property
    def _arrays(self) -> dict[str, Array]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if hasattr(value, "shape")}

    @property
    def reference(self) -> Array:
        """An array whose library, dtype and device are those of all."""
        return next(iter(self._arrays.values()))

    @property
    def rows(self) -> int:
        """Number of runs; 1 stands for any."""
        return int(self.reference.shape[0])

    def take(self: Self, rows: Array) -> Self:
        """The moments of some rows, given by an index array."""
        if self.rows == 1:
            return self
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**values | {n: take(a, rows) for n, a in self._arrays.items()})


@dataclass(frozen=True, eq=False, repr=False)
class LayerMoments(Batch):
    """`numerics.LinearLayerMoments` of many samples.

    Attributes
    ----------
    energy : (rows,)
    correlation : (rows, F)
        E[y_q f], F = (D+1)(D+2)D/2.
    feature_moment : (rows, F, F)
        E[f fᵀ].
    dimension : int
        D.
    divide_by_context : bool
        Whether A in f is divided by N.
    """

    energy: Array
    correlation: Array
    feature_moment: Array
    dimension: int
    divide_by_context: bool


@dataclass(frozen=True, eq=False, repr=False)
class SpectralMoments(Batch):
    """What [S]'s spectral loss knows of many multi-task problems on the same blocks.

    Attributes
    ----------
    signal : (rows, I)
        λ_i.
    noise : (rows, I)
        c_i = λ_i d_i φ_i/L.
    block_dims : tuple of int
        d_i.
    """

    signal: Array
    noise: Array
    block_dims: tuple[int, ...]


__all__ = ["Batch", "LayerMoments", "SpectralMoments"]

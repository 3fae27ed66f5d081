"""The tasks that every closed form of this package speaks of, validated once.

d_i `block_dims`, λ_i `signal` (per coordinate: g_i ~ N(0, λ_i I)), L `context_length`, σ `noise`.
They enter through

    energy   λ_i d_i                 loss of task i when nothing is learned
    power    λ_i d_i φ_i = λ_i d_i + σ²
    c_i      φ_i d_i/L               what a finite context costs: power/(λ_i L)

An array of block dimensions or signals has the task as its last axis (..., I); L and σ are then
over the batch dimensions. Scalars are one task, without a task axis.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _check
from .._generic import Number, column, exp, harmonise, is_array, over_length, total


class Tasks(NamedTuple):
    """d, λ, L, σ, broadcast lazily; `listed` tells whether the last axis is the task."""

    dims: Number
    signal: Number
    length: Number
    noise: Number
    listed: bool

    @property
    def energy(self) -> Number:
        """Return λd."""
        return self.signal * self.dims

    @property
    def power(self) -> Number:
        """Return λdφ = λd + σ²."""
        return self.energy + self.noise**2

    @property
    def factor(self) -> Number:
        """Return φ."""
        return 1 + self.noise**2 / self.energy

    @property
    def ratio(self) -> Number:
        """Return c = φd/L."""
        return over_length(self.power / self.signal, self.length)

    @property
    def numbers(self) -> tuple[Number, ...]:
        """Return every number, for the kind of an elementary function."""
        return self.dims, self.signal, self.length, self.noise

    def sum(self, value: Number) -> Number:
        """Sum over the tasks."""
        return total(value) if self.listed else value


def tasks(
    block_dims: Number,
    signal: Number,
    context_length: Number,
    noise: Number,
    *others: Number,
) -> tuple[Any, ...]:
    """Return the validated `Tasks`, followed by `others` promoted together with them."""
    dims = _listed("block_dims", block_dims)
    lam = _listed("signal", signal)
    length = _check.context_length(context_length)
    sigma = _check.non_negative("noise", noise)
    listed = bool(_axes(dims) or _axes(lam))
    if _axes(dims) and _axes(lam) and dims.shape[-1] != lam.shape[-1]:
        raise ValueError(
            f"signal must have one entry per block, {dims.shape[-1]}, got {lam.shape[-1]}"
        )
    dims, lam, length, sigma, *rest = harmonise(dims, lam, length, sigma, *others)
    if listed:
        length, sigma = column(length), column(sigma)
    return (Tasks(dims, lam, length, sigma, listed), *rest)


def _axes(value: Number) -> int:
    return value.ndim if is_array(value) else 0


def _listed(name: str, value: Number) -> Number:
    value = _check.as_number(name, value)
    return _check.positive(name, _check.vector(name, value) if _axes(value) else value)


def euler(*companions: Number) -> Number:
    """Return e as a number of the kind of `companions` (a Python float beside floats)."""
    return exp(1, *companions)

"""The spectra of Λ, Ω and S that the modules on the eigenbasis share.

λ (..., D) eigenvalues of Λ, ω those of Ω in the same basis, N the number of context pairs, σ the
standard deviation of the label noise, T = tr(ΩΛ) = Σ λ_d ω_d. Per mode

    signal     λ ω                      loss of the mode when nothing is learned
    growth     λ² ω                     eigenvalue of ΛΩΛ
    ratio      s/λ = λω + excess        s the eigenvalue of S
    excess     (λω + T + σ²) / N        what a finite context adds

S, gains and remaining losses are written in these, which are sums of non-negative terms: no digits
cancel, and N = ∞ is ``excess = 0``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _check
from ._generic import (
    Number,
    column,
    entries,
    harmonise,
    is_array,
    is_object,
    is_symbolic,
    over_length,
    total,
)


class Spectrum(NamedTuple):
    """Per-mode quantities, broadcast lazily; last axis is the mode."""

    eigenvalues: Number
    signal: Number
    excess: Number

    @property
    def growth(self) -> Number:
        """Return λ²ω."""
        return self.eigenvalues * self.signal

    @property
    def ratio(self) -> Number:
        """Return s/λ."""
        return self.signal + self.excess

    @property
    def feature(self) -> Number:
        """Return s."""
        return self.eigenvalues * self.ratio

    @property
    def curvature(self) -> Number:
        """Return sλ."""
        return self.eigenvalues * self.feature

    @property
    def coefficient(self) -> Number:
        """Return m = λω/s, 0 where a mode carries neither signal nor features (ω = 0, N = ∞)."""
        return self.signal / (self.eigenvalues * self._divisor)

    @property
    def gain(self) -> Number:
        """Return (λ²ω)²/(sλ)."""
        return self.signal * self.signal / self._divisor

    @property
    def remaining(self) -> Number:
        """Return λω − gain = λω · excess / (s/λ), which cancels nothing."""
        return self.signal * self.excess / self._divisor

    @property
    def _divisor(self) -> Number:
        ratio = self.ratio
        xp = ratio.__array_namespace__()
        return xp.where(ratio == 0, xp.ones_like(ratio), ratio)


def signal(eigenvalues: Number, task_eigenvalues: Number) -> tuple[Number, Number]:
    """Return validated ``(λ, λω)``."""
    lam = _positive_eigenvalues(eigenvalues)
    omega = _check.non_negative("task_eigenvalues", task_eigenvalues)
    _require_modes(omega, lam.shape[-1])
    lam, omega = harmonise(lam, omega)
    return lam, lam * omega


def spectrum(
    eigenvalues: Number,
    context_length: Number,
    task_eigenvalues: Number,
    noise: Number,
) -> Spectrum:
    """Validate the four arguments of every spectral closed form and combine them."""
    lam = _positive_eigenvalues(eigenvalues)
    omega = _check.non_negative("task_eigenvalues", task_eigenvalues)
    _require_modes(omega, lam.shape[-1])
    length = _check.context_length(context_length)
    sigma = _check.non_negative("noise", noise)
    lam, omega, length, sigma = harmonise(lam, omega, length, sigma)
    own = lam * omega
    trace = total(own, keepdims=True)
    excess = over_length(own + trace + column(sigma) ** 2, column(length))
    return Spectrum(lam, own, excess)


def _positive_eigenvalues(value: Number) -> Number:
    lam = _check.vector("eigenvalues", value)
    try:
        return _check.positive("eigenvalues", lam)
    except ValueError as error:
        if lam.shape[-2:] != (lam.shape[-1],) * 2:
            raise
        raise ValueError(f"{error}; of a matrix Λ these are numpy.linalg.eigvalsh(Λ)") from None


def _require_modes(omega: Number, size: int) -> None:
    if is_array(omega) and omega.ndim and omega.shape[-1] != size:
        raise ValueError(
            f"task_eigenvalues must be a scalar or have shape (..., {size}) like eigenvalues, "
            f"got {omega.shape}"
        )


def descending(growth: Number) -> Any:
    """Return the stable order of descending `growth`, the identity where it holds symbols."""
    if is_object(growth) and any(is_symbolic(entry) for entry in entries(growth)):
        return np.broadcast_to(np.arange(growth.shape[-1]), growth.shape)
    if isinstance(growth, np.ndarray):
        return np.argsort(-growth, stable=True)
    return growth.__array_namespace__().argsort(-growth)


def unstable_pairs(chosen: Any, gain: Number) -> Any:
    """Return the mask (..., D, D) of pairs (learned i, unlearned d) with gain_d > gain_i.

    Gains that differ by rounding alone, 64 ε of the larger, count as equal: eigenvalues of a
    degenerate covariance are that far apart.
    """
    xp = gain.__array_namespace__()
    slack = 0 if is_object(gain) else 64 * float(xp.finfo(gain.dtype).eps)
    worse = gain[..., None, :] - gain[..., :, None] > slack * gain[..., None, :]
    return chosen[..., :, None] & ~chosen[..., None, :] & worse

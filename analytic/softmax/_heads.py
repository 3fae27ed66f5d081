"""The weights of the heads, beside the tasks: shapes, blocks, and the two parts of every loss.

Notation of `analytic.softmax.loss`: ω (..., H, d), μ (..., H, I), A_j = Σ_h μ_{i(j)}^h ω_j^h.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from .. import _check
from .._generic import Number, is_array, total
from ._tasks import Tasks, tasks


class HeadWeights(NamedTuple):
    omega: Number
    mu: Number
    world: Tasks
    indicator: Any  # (d, I), 1 where coordinate j belongs to task i

    @property
    def overlap(self) -> Number:
        """Return ⟨ω^h, ω^{h'}⟩ (..., H, H)."""
        return self.omega @ _transposed(self.omega)

    @property
    def wide_mu(self) -> Number:
        """Return μ_{i(j)}^h (..., H, d)."""
        return self.mu @ self.indicator.T

    @property
    def signal(self) -> Number:
        """Return λ_{i(j)} (d,)."""
        return self.world.signal @ self.indicator.T

    @property
    def readout(self) -> Number:
        """Return A_j (..., d)."""
        product = self.wide_mu * self.omega
        return product.__array_namespace__().sum(product, axis=-2)

    @property
    def fit(self) -> Number:
        """Return Σ_j λ_{i(j)} (1 − A_j)²."""
        return total(self.signal * (1 - self.readout) ** 2)

    def spread(self, kernel: Number) -> Number:
        """Return Σ_i λ_i c_i Σ_{hh'} μ_i^h μ_i^{h'} kernel_{hh'}."""
        form = self.mu * (kernel @ self.mu)
        form = form.__array_namespace__().sum(form, axis=-2)
        return total(self.world.signal * self.world.ratio * form)


def head_weights(
    omega: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    noise: Number,
) -> HeadWeights:
    """Validate the arguments of every loss and lay them out by head and coordinate."""
    omega, mu = _heads("omega", omega, "d"), _heads("mu", mu, "I")
    if omega.shape[-2] != mu.shape[-2]:
        raise ValueError(
            f"omega (..., H, d) and mu (..., H, I) must have the same heads, "
            f"got {omega.shape[-2]} and {mu.shape[-2]}"
        )
    count = int(mu.shape[-1])
    sizes = _block_sizes(block_dims, count, int(omega.shape[-1]))
    lam = _check.positive("signal", signal)
    shape = tuple(lam.shape) if is_array(lam) else ()
    if shape not in ((), (count,)):
        raise ValueError(f"signal must be a scalar or have shape ({count},), got {shape}")
    lam = lam if shape else np.array([lam] * count)
    world, omega, mu = tasks(np.array(sizes), lam, context_length, noise, omega, mu)
    ends = [0, *accumulate(sizes)]
    indicator = np.array(
        [[int(ends[i] <= j < ends[i + 1]) for i in range(count)] for j in range(ends[-1])]
    )
    world = world._replace(dims=world.dims.astype(omega.dtype))
    return HeadWeights(omega, mu, world, indicator.astype(omega.dtype))


def _heads(name: str, value: Number, last: str) -> Number:
    value = _check.finite(name, value)
    if not is_array(value) or value.ndim < 2:
        raise ValueError(f"{name} must have shape (..., H, {last}), got {np.shape(value)}")
    return value


def _block_sizes(block_dims: Number, count: int, dimension: int) -> tuple[int, ...]:
    dims = _check.as_number("block_dims", block_dims)
    shape = tuple(dims.shape) if is_array(dims) else ()
    if shape not in ((), (count,)):
        raise ValueError(f"block_dims must be a scalar or have shape ({count},), got {shape}")
    listed = np.broadcast_to(dims, (count,)).tolist()
    sizes = tuple(_check.integer("block_dims", size, 1) for size in listed)
    if sum(sizes) != dimension:
        raise ValueError(f"block_dims must add up to the {dimension} columns of omega, got {sizes}")
    return sizes


def _transposed(value: Number) -> Number:
    return value.__array_namespace__().matrix_transpose(value)

"""Stability on the balanced manifold, where [S]'s theorems live, and ways off it.

Weights with o = ±v and k = ±q stay so under the flow: o² − v² and k² − q² are conserved. There a
zero pair cannot change its sign, so that a saddle of the loss may be stable on the manifold;
`numerics.stability` takes all directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.fixed_points import Stability
from numerics.softmax.spectral import SpectralSystem

Array = NDArray[Any]


def balanced_directions(system: SpectralSystem, theta: ArrayLike) -> Array:
    """Orthonormal directions that keep o = ±v and k = ±q at a balanced θ: (size, size/2).

    A zero pair leaves along o = v, k = q.

    Raises
    ------
    ValueError, TypeError
        If θ (size,) does not fit the system, or is not balanced to rounding.
    """
    theta = _check.state("theta", theta, system.size)
    gap = float(np.abs(system.invariants(theta)).max())
    allowed = 16 * float(np.finfo(float).eps) * float(np.square(theta).max())
    if gap > allowed:
        raise ValueError(f"theta must be balanced, but |o² − v²| or |k² − q²| reaches {gap:.3g}")
    o, v, k, q = (part.ravel() for part in system.model.unpack(theta))
    a, b, c = system.model.cuts
    sign = np.where(np.concatenate([o * v, k * q]) < 0, -1.0, 1.0)
    first = np.concatenate([np.arange(a), np.arange(b, c)])
    second = np.concatenate([np.arange(a, b), np.arange(c, system.size)])
    directions = np.zeros((system.size, len(first)))
    pair = np.arange(len(first))
    directions[first, pair] = np.sqrt(0.5)
    directions[second, pair] = np.sqrt(0.5) * sign
    return directions


@guarded
def balanced_stability(
    system: SpectralSystem, theta: ArrayLike, *, tolerance: float | None = None
) -> Stability:
    """Spectrum of the Hessian of ℓ restricted to the balanced manifold at θ.

    In [S]'s time a perturbation along an eigenvalue h < 0 grows at rate |h|, twice the
    `escape_rate` of the result, which is for τ = 1.

    Raises
    ------
    ValueError, TypeError
        If θ does not fit the system or is not balanced, or the tolerance is negative.

    Examples
    --------
    >>> from numerics import MultiTask, stability
    >>> from numerics.softmax.spectral import SpectralAttention
    >>> model = SpectralAttention(block_dims=(1, 1), heads=2, embedding_dim=1)
    >>> system = SpectralSystem(model, MultiTask((1, 1), 1.0, context_length=1))
    >>> mu = 1 / (1 + np.e)
    >>> theta = model.balanced(np.eye(2), mu * np.eye(2))
    >>> stability(system, theta).index, balanced_stability(system, theta).index
    (2, 0)
    """
    along = balanced_directions(system, theta)
    theta = np.asarray(theta, float)
    hessian = -2.0 * along.T @ system.jacobian(theta) @ along
    eigenvalues, directions = np.linalg.eigh((hessian + hessian.T) / 2)
    level = len(hessian) * float(np.finfo(float).eps) * float(np.abs(eigenvalues).max())
    if tolerance is not None:
        level = _check.real("tolerance", tolerance, at_least=0.0)
    return Stability(
        gradient_norm=2.0 * float(np.linalg.norm(along.T @ system.velocity(theta))),
        eigenvalues=eigenvalues,
        directions=along @ directions,
        index=int((eigenvalues < -level).sum()),
        flat=int((np.abs(eigenvalues) <= level).sum()),
        tolerance=level,
    )


@guarded
def unbalanced(system: SpectralSystem, theta: ArrayLike, imbalance: float) -> Array:
    """o e^δ and v e^{−δ} in place of o and v, δ the imbalance: ω and μ are as before.

    Raises
    ------
    ValueError, TypeError
        If θ (size,) does not fit the system, or δ is not a finite number.
    """
    theta = _check.state("theta", theta, system.size)
    factor = np.exp(_check.real("imbalance", imbalance))
    o, v, k, q = system.model.unpack(theta)
    return system.model.pack(o * factor, v / factor, k, q)


__all__ = ["balanced_directions", "balanced_stability", "unbalanced"]

"""Fixed points from numbers: how to find one, and the Hessian spectrum at any weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import finite, guarded
from numerics._repr import OneLine
from numerics.systems import GradientSystem

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Stability(OneLine):
    """Spectrum of the Hessian of L (no factor ½) at a point.

    Attributes
    ----------
    gradient_norm : float
        ‖∂L/∂θ‖; zero at a fixed point.
    eigenvalues : (size,)
        Ascending.
    directions : (size, size)
        Eigenvectors as columns, in the same order.
    index : int
        Number of eigenvalues below −`tolerance`: directions of exponential escape.
    flat : int
        Number within ±`tolerance`.
    tolerance : float
        Rounding of the eigenvalue solver: size · machine epsilon · largest |eigenvalue|, or
        what the caller gave.
    """

    gradient_norm: float
    eigenvalues: Array
    directions: Array
    index: int
    flat: int
    tolerance: float

    @property
    def escape_rate(self) -> float:
        """Growth rate at τ = 1 of the fastest escaping perturbation, −½ min eigenvalue, or 0."""
        return max(0.0, -0.5 * float(self.eigenvalues[0]))


@guarded
def stability(
    system: GradientSystem, theta: ArrayLike, *, tolerance: float | None = None
) -> Stability:
    """Hessian spectrum of the loss at θ.

    The flow near θ is δθ̇ = −½ Hess·δθ/τ, so an eigenvalue h < 0 means escape at rate |h|/(2τ).

    Raises
    ------
    ValueError, TypeError
        If θ (size,) does not fit the system or is not finite, or the tolerance is negative.

    Examples
    --------
    >>> from numerics import AttentionSystem, LinearTask, MergedAttention, population_moments
    >>> task = LinearTask(np.diag([0.4, 0.3]), 31)
    >>> model = MergedAttention(dimension=2, heads=3)
    >>> zero = stability(AttentionSystem(model, population_moments(task)), np.zeros(model.size))
    >>> zero.index, round(zero.escape_rate, 6) == round((0.4**4 + 0.3**4) ** 0.5, 6)
    (3, True)
    """
    theta = _check.state("theta", theta, system.size)
    hessian = -2.0 * system.jacobian(theta)
    eigenvalues, directions = np.linalg.eigh((hessian + hessian.T) / 2)
    scale = float(np.abs(eigenvalues).max())
    level = len(eigenvalues) * float(np.finfo(float).eps) * scale
    if tolerance is not None:
        level = _check.real("tolerance", tolerance, at_least=0.0)
    return Stability(
        gradient_norm=2.0 * float(np.linalg.norm(system.velocity(theta))),
        eigenvalues=eigenvalues,
        directions=directions,
        index=int((eigenvalues < -level).sum()),
        flat=int((np.abs(eigenvalues) <= level).sum()),
        tolerance=level,
    )


@guarded
def find_fixed_point(system: GradientSystem, start: ArrayLike, *, rtol: float = 1e-14) -> Array:
    """Solve ∂L/∂θ = 0 from `start` by a trust-region Gauss–Newton search; a root of any index.

    Unlike gradient flow it is drawn to saddles as readily as to minima, so that many random
    starts explore the set of fixed points. Returns the last iterate; check the gradient there
    (`stability(...).gradient_norm`).

    Raises
    ------
    ValueError, TypeError
        If `start` (size,) does not fit the system or is not finite, or rtol is not positive.
    """
    from scipy.optimize import least_squares

    # Below the machine's precision SciPy would leave a condition out, with a warning.
    rtol = max(_check.real("rtol", rtol, above=0.0), float(np.finfo(float).eps))
    first = _check.state("start", start, system.size)
    finite(system.velocity(first))
    solution = least_squares(
        system.velocity,
        first,
        jac=system.jacobian,
        method="trf",
        xtol=rtol,
        ftol=rtol,
        gtol=rtol,
        max_nfev=500,
    )
    return np.asarray(solution.x)

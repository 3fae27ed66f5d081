"""The best head for one task at finite (d, L): exact loss minimised over ω̄ and μ.

Notation as in `numerics.softmax.exact`. The loss is quadratic in μ,

    loss/λ = d − 2 μ n + μ² D,   n = ω̄ (d − A),   D = A + ω̄² (d − 3A + 2B) + P σ²/λ,

so μ = n/D, and by the envelope theorem d(loss/λ)/d ln ω̄ = −2 μ n' + μ² D', which has the
derivatives of P, A, B alone: a root in ln ω̄ is found to the digits of the quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from numerics import _check
from numerics._guard import guarded
from numerics.softmax.exact import CONVERGED, STEPS, averages, checked_length, exact_task_loss

_SMALLEST, _LARGEST = 1e-4, 1e3  # ‖ω‖² = d ω̄² searched
_SCAN = 29  # four a decade, ‖ω‖² = 1 among them
_LOOSE = 0.4  # step of the scan's quadrature
_XTOL = 1e-10
_SECANT = 1e-4


@dataclass(frozen=True)
class ExactOptimum:
    """Best weights of a head that serves one task.

    Attributes
    ----------
    omega_bar, mu : float
        ω̄ > 0 and μ; the other sign of both does as well.
    squared_norm : float
        ‖ω‖² = d ω̄², 1 in the limit of [S].
    squared_norm_error : float
        How far it moved when every grid was refined, plus the root-finder's tolerance.
    loss, loss_error : float
        The loss there, and the estimate of its absolute error.
    status : str
        ``"converged"``, or what went wrong.
    """

    omega_bar: float
    mu: float
    squared_norm: float
    squared_norm_error: float
    loss: float
    loss_error: float
    status: str


@guarded
def exact_optimum(
    block_dim: int, signal: float, context_length: int, *, noise: float = 0.0
) -> ExactOptimum:
    """Minimise the exact loss of a task-allocated head over ω̄ and μ, for ‖ω‖² in [1e-4, 1e3].

    Of several minima the lowest is taken. With one context pair attention cannot choose, and the
    best head is none: ω̄ = μ = 0.

    Raises
    ------
    ValueError, TypeError
        As `exact_task_loss` does.

    Examples
    --------
    At L = 1000 the best norm is well below the 1 of the limit L → ∞, d → ∞.

    >>> best = exact_optimum(10, 1.0, 1000)
    >>> best.status, 0.75 < best.squared_norm < 0.85
    ('converged', True)
    """
    d = _check.count("block_dim", block_dim)
    L = checked_length(context_length)
    ratio = _check.real("noise", noise, at_least=0.0) ** 2 / _check.real(
        "signal", signal, above=0.0
    )
    if L == 1:
        return ExactOptimum(0.0, 0.0, 0.0, 0.0, signal * d, 0.0, CONVERGED)
    grid = np.linspace(math.log(_SMALLEST), math.log(_LARGEST), _SCAN)
    scan = np.array([_best(x, d, L, ratio, _LOOSE) for x in grid])
    lowest = int(np.argmin(scan[:, 0]))
    near = grid[max(lowest - 1, 0) : lowest + 2].tolist()
    if (found := _root(near[0], near[-1], d, L, ratio)) is not None:
        x, shift = found
        error, status = math.exp(x) * (shift + _XTOL), CONVERGED
    else:
        x, error = float(grid[lowest]), math.inf
        status = "stopped: the loss is too flat in omega for its derivative to change sign"
        if lowest in (0, _SCAN - 1):
            status = f"stopped: the loss still falls at |omega|^2 = {math.exp(x):g}"
    omega = math.exp(x / 2) / math.sqrt(d)
    mu = _best(x, d, L, ratio, STEPS[1])[2]
    loss = exact_task_loss(omega, mu, d, signal, L, noise=noise)
    status = status if loss.status == CONVERGED else loss.status
    return ExactOptimum(omega, mu, math.exp(x), error, loss.value, loss.error, status)


def _best(x: float, d: int, L: int, ratio: float, step: float) -> tuple[float, float, float]:
    """Loss/λ at the best μ, its derivative by ln ω̄, and that μ, at x = ln ‖ω‖²."""
    omega = math.exp(x / 2) / math.sqrt(d)
    P, A, B, dP, dA, dB, _ = averages(omega, d, L, step)[0].tolist()
    n = omega * (d - A)
    spread = omega**2 * (d - 3 * A + 2 * B)
    quadratic = A + spread + ratio * P
    mu = n / quadratic
    slope = dA + 2 * spread + omega**2 * (2 * dB - 3 * dA) + ratio * dP
    # d − n²/D over one denominator, in which the d² have cancelled.
    loss = (d * A + d * ratio * P + omega**2 * (2 * d * B - d * A - A**2)) / quadratic
    return loss, mu**2 * slope - 2 * mu * (n - omega * dA), mu


def _root(low: float, high: float, d: int, L: int, ratio: float) -> tuple[float, float] | None:
    """Where the derivative changes sign, and how far a finer grid moved it; None if nowhere."""
    from scipy.optimize import brentq

    coarse, fine = STEPS[:2]
    ends = [_best(y, d, L, ratio, coarse)[1] for y in (low, high)]
    if not ends[0] * ends[1] < 0:
        return None
    x = float(brentq(lambda y: _best(y, d, L, ratio, coarse)[1], low, high, xtol=_XTOL))
    here, there = (_best(y, d, L, ratio, fine)[1] for y in (x, x + _SECANT))
    shift = -here * _SECANT / (there - here)
    return x + shift, abs(shift)

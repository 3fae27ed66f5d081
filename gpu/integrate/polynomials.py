"""Constants of stabilised Runge–Kutta methods of order 4, made and checked here.

A method of s stages multiplies the eigenvector of the Jacobian's eigenvalue z/h by a polynomial
R_s(z) = P_{s−4}(x) w(x), x = a + d z, whose modulus stays below 0.96 down to z = −β(s), about
−0.35 s². The quartic w has two pairs of complex roots, and the P_j are orthogonal with the weight
w²/√(1−x²) on [−1, 1], so that R_s oscillates evenly there (Abdulle, *Fourth Order Chebyshev Methods
with Recurrence Relation*, SIAM J. Sci. Comput. 23, 2002; the constants are our own). Their
recurrence makes the first stages Y_j = y + D_j, four stages more the order:

    D_j = μ_j D_{j−1} + ν_j D_{j−2} + σ_j h F_{j−1},   j = 1 … s−4,   G = D_{s−4}, K_1 = F_{s−4},
    D_{s−3} = G + a_21 h K_1,   D_{s−2} = G + a_32 h K_2,   D_{s−1} = G + Σ_i a_4i h K_i,
    D_s = G + Σ_i b_i h K_i.

The roots and d come from a fit to the R_s of largest β for order 4 and modulus 0.95; the
constants of the last stages solve the eight conditions of order 4 exactly, whatever the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A step of class m has s = `PERIOD`·m − 1 stages and makes `PERIOD`·m evaluations, one of them for
# the Jacobian's largest rate: rows of different classes end steps at every fourth evaluation only.
PERIOD = 4
LEAST, LARGEST = 2, 16
_CLASSES = np.arange(LEAST, LARGEST + 1)

# a = 1 + 0.6/s²; the roots 1 − (A ± iB)/s² of w (A, B, A, B) and d s², in powers of (7/s)², 7 being
# the least s.
_SHIFT = 0.6
_FIT = np.array(
    [
        [13.671216, 0.97337643, 0.14453985, 0.025498958],
        [7.5198339, 0.73187888, 0.047631004, 0.0049107288],
        [1.1509672, -0.43452269, 0.25365882, -0.0049800202],
        [20.453425, 1.1421511, 0.2097106, 0.072412023],
        [5.7059042, 0.97385565, 0.13921668, 0.032266228],
    ]
)
# Where Newton's iteration for the last stages begins: a_21, a_32, a_41, a_42, a_43, and the weights
# of D_{s−2}, D_{s−1} and h K_4 in D_s.
_FINISH = (0.24, 0.31, 0.10, -0.58, 1.17, 1.06, 0.33, 0.11)

# Rooted trees of up to four nodes, by the places of their branches, and 1/γ of each.
_TREES = ((), (0,), (0, 0), (1,), (0, 0, 0), (0, 1), (2,), (3,))
_DENSITY = np.array([1, 1 / 2, 1 / 3, 1 / 6, 1 / 4, 1 / 8, 1 / 12, 1 / 24])
_LOW = 4  # trees of up to three nodes
# The error on a linear system is this share of the first neglected term of order 3, h⁴|y⁗|/24.
_ESTIMATE = 0.1


def stages_of(m: Any) -> Any:
    """s of class m.

    >>> stages_of(2)
    7
    """
    return PERIOD * m - 1


def place_of(m: Any) -> Any:
    """Where the entries of class m ≥ 2 begin in `Constants.stages`, s of them.

    >>> [place_of(m) for m in (2, 3, 4)]
    [0, 7, 18]
    """
    return PERIOD * (m * (m - 1) // 2 - 1) - (m - 2)


@dataclass(frozen=True)
class Constants:
    """Of the classes 2 … `LARGEST`.

    Attributes
    ----------
    stages : (4, entries)
        Weights of D_{j−1}, D_{j−2}, h F_{j−1} and G in D_j, class after class.
    error : (5, classes)
        Weights of D_s, D_{s−1}, G, h F_s and h F_0 in the error, which vanishes to order 3.
    """

    stages: Array
    error: Array

    def order_defects(self) -> Array:
        """What the eight conditions of order 4, and the error's four of order 3, miss, per class.

        Examples
        --------
        >>> bool(abs(constants().order_defects()).max() < 1e-13)
        True
        """
        found = []
        for m in range(LEAST, LARGEST + 1):
            place, s = place_of(m), stages_of(m)
            before, now, kept = np.zeros((3, len(_TREES), 1))
            for j, (mu, nu, slope, weight) in enumerate(self.stages[:, place : place + s].T):
                kept = now if j == s - 4 else kept
                made = mu * now + nu * before + slope * _slopes(now) + weight * kept
                before, now = now, made
            first = np.eye(len(_TREES))[:, :1]
            parts = np.concatenate([now, before, kept, _slopes(now), first], axis=1)
            rest = (parts @ self.error[:, m - LEAST])[:_LOW]
            found.append(np.concatenate([now[:, 0] - _DENSITY, rest]))
        return np.stack(found, axis=1)


def _slopes(phi: Array) -> Array:
    """Elementary weights of h F(Y) from those of Y, (trees, …)."""
    made = np.ones_like(phi)
    for i, branches in enumerate(_TREES):
        for branch in branches:
            made[i] *= phi[branch]
    return made


def _recurrences() -> Array:
    """μ_j, ν_j, σ_j as (3, stages, classes); classes with fewer stages take the first of them."""
    s = stages_of(_CLASSES)
    A1, B1, A2, B2, slope = _FIT @ (s[0] / s) ** (2 * np.arange(4)[:, None])
    a, d, most = 1 + _SHIFT / s**2, slope / s**2, int(s[-1]) - 4
    nodes = most + 10  # of Gauss and Chebyshev's rule, exact for products of two P w
    x = np.cos((np.arange(nodes) + 0.5) * np.pi / nodes)[:, None]
    weight = np.ones((nodes, len(s)))
    for A, B in ((A1, B1), (A2, B2)):
        weight *= (x - 1 + A / s**2) ** 2 + (B / s**2) ** 2
    weight *= weight
    before = now = 1.0  # of which the former meets β = 0
    made, size, ratio = np.empty((3, most, len(s))), np.inf, np.inf
    for j in range(most):
        square = weight * now * now
        norm = square.sum(axis=0)
        alpha, beta = (x * square).sum(axis=0) / norm, norm / size
        ratio = (a - alpha) - beta / ratio
        made[:, j] = (a - alpha) / ratio, 1 - (a - alpha) / ratio, d / ratio
        before, now, size = now, (x - alpha) * now - beta * before, norm
    return made


def _finish(u: Array, start: Array) -> tuple[Array, Array]:
    """Elementary weights of D_{s−1} and D_s from those of G."""
    a21, a32, a41, a42, a43, p, q, b4 = u
    k1 = _slopes(start)
    k2 = _slopes(start + a21 * k1)
    third = a32 * k2
    k3 = _slopes(start + third)
    fourth = a41 * k1 + a42 * k2 + a43 * k3
    last = p * third + q * fourth + b4 * _slopes(start + fourth)
    return start + fourth, start + last


def _solved(start: Array) -> Array:
    """The constants (8, classes) of the last stages for which `_finish` gives order 4."""
    u = np.repeat(np.array(_FINISH)[:, None], start.shape[1], axis=1)
    for _ in range(12):
        residual = _finish(u, start)[-1] - _DENSITY[:, None]
        columns = []
        for i in range(len(u)):
            moved = u.astype(complex)
            moved[i] += 1e-30j
            columns.append(_finish(moved, start)[-1].imag / 1e-30)
        J = np.stack(columns, axis=1)
        step = np.linalg.solve(J.transpose(2, 0, 1), residual.T[:, :, None])
        u = u - step[:, :, 0].T
    return u


def _first_stages(recurrences: Array) -> Array:
    """Elementary weights of G, (trees, classes)."""
    stages = stages_of(_CLASSES) - 4
    before = np.zeros((len(_TREES), len(stages)))
    now = before
    for j in range(recurrences.shape[1]):
        mu, nu, slope = recurrences[:, j]
        made = mu * now + nu * before + slope * _slopes(now)
        going = j < stages
        before, now = np.where(going, now, before), np.where(going, made, now)
    return now


def _error(u: Array, start: Array) -> Array:
    """Weights of the error, (5, classes)."""
    before, last = _finish(u, start)
    first = np.zeros_like(last)
    first[0] = 1.0
    terms = np.stack([last, before, start, _slopes(last), first], axis=1)
    chosen = [*range(_LOW), len(_TREES) - 1]
    wanted = np.zeros(len(chosen))
    wanted[-1] = _ESTIMATE / 24
    return (np.linalg.inv(terms[chosen].transpose(2, 0, 1)) @ wanted).T


@cache
def constants() -> Constants:
    """The constants, made at the first call in some 10 ms."""
    recurrences = _recurrences()
    start = _first_stages(recurrences)
    u = _solved(start)
    a21, a32, a41, a42, a43, p, q, b4 = u
    zero = np.zeros_like(a21)
    # K_1 and K_2 as differences: h K_1 = (D_{s−3} − G)/a_21, h K_2 = (D_{s−2} − G)/a_32.
    last = np.array(
        [
            [zero + 1, zero, a21, zero],
            [zero, zero, a32, zero + 1],
            [a42 / a32, a41 / a21, a43, 1 - a41 / a21 - a42 / a32],
            [q, p, b4, 1 - p - q],
        ]
    )
    parts = []
    for place, s in enumerate(stages_of(_CLASSES)):
        early = recurrences[:, : s - 4, place]
        early = np.concatenate([early, np.zeros_like(early[:1])])
        parts += [early, last[:, :, place].T]
    return Constants(np.concatenate(parts, axis=1), _error(u, start))


def amplification(m: int, z: Any) -> Any:
    """R_s(z) of class m, by the recurrences of a step."""
    first, s = place_of(m), stages_of(m)
    before = now = kept = 0.0
    for j, (mu, nu, slope, weight) in enumerate(constants().stages[:, first : first + s].T):
        kept = now if j == s - 4 else kept
        before, now = now, mu * now + nu * before + slope * z * (1 + now) + weight * kept
    return 1 + now


def stability(m: Any) -> Any:
    """β(s) of class m: down to −β a step damps to 0.96 or less.

    >>> round(stability(2), 1), round(stability(16))
    (14.4, 1388)
    """
    return 0.3504 * stages_of(m) ** 2 - 2.78


__all__ = [
    "LARGEST",
    "LEAST",
    "PERIOD",
    "Constants",
    "amplification",
    "constants",
    "place_of",
    "stability",
    "stages_of",
]

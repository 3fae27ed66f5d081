"""References for flows and averages: extrapolated midpoint steps and sums over a fine grid.

The flows are written out from the loss, weight by weight, in 30-digit arithmetic, and integrated
by Gragg's midpoint rule with Richardson extrapolation; nothing is shared with `numerics`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpmath import mp, mpf

DIGITS = 30
STAGES = 11  # substeps 2, 4, … 22: order 22 in the step

State = list[Any]


def midpoint(f: Callable[[State], State], y: State, step: Any, count: int) -> State:
    """Gragg's modified midpoint rule, whose error is even in the substep."""
    h = step / count
    before, now = y, [a + h * b for a, b in zip(y, f(y), strict=True)]
    for _ in range(count - 1):
        before, now = now, [a + 2 * h * b for a, b in zip(before, f(now), strict=True)]
    last = f(now)
    return [(a + b + h * c) / 2 for a, b, c in zip(before, now, last, strict=True)]


def integrate(f: Callable[[State], State], y: State, duration: Any, steps: int) -> State:
    """Y(duration) by extrapolation to substep zero."""
    for _ in range(steps):
        table: list[State] = []
        for i in range(STAGES):
            row = [midpoint(f, y, duration / steps, 2 * (i + 1))]
            for j, old in enumerate(table):
                q = mpf(i + 1) / (i - j)
                row.append([a + (a - b) / (q * q - 1) for a, b in zip(row[-1], old, strict=True)])
            table = row
        y = table[-1]
    return y


def separate_velocity(
    lam: list[Any], omega: list[Any], length: Any, noise: Any, heads: int
) -> Callable[[State], State]:
    """−½ ∂L/∂θ of ATTN_S at D = 2, Λ and Ω diagonal; θ is all v, then all k, then all q."""
    n, T = 1 / mpf(length), sum(a * w for a, w in zip(lam, omega, strict=True))
    growth = [a * a * w for a, w in zip(lam, omega, strict=True)]
    s = [(1 + n) * g + n * (T + noise**2) * a for g, a in zip(growth, lam, strict=True)]
    two = range(2)

    def velocity(y: State) -> State:
        v, k, q = y[:heads], y[heads : 3 * heads], y[3 * heads :]
        M = [[sum(v[h] * k[2 * h + i] * q[2 * h + j] for h in range(heads)) for j in two]
             for i in two]  # fmt: skip
        # L = T − 2 tr(MᵀΛΩΛ) + tr(MᵀSMΛ), so that −½ ∂L/∂M_ij = (ΛΩΛ)_ij − s_i M_ij λ_j.
        G = [[(growth[i] if i == j else 0) - s[i] * M[i][j] * lam[j] for j in two] for i in two]
        dv = [sum(k[2 * h + i] * G[i][j] * q[2 * h + j] for i in two for j in two)
              for h in range(heads)]  # fmt: skip
        dk = [v[h] * sum(G[i][j] * q[2 * h + j] for j in two) for h in range(heads) for i in two]
        dq = [v[h] * sum(G[i][j] * k[2 * h + i] for i in two) for h in range(heads) for j in two]
        return dv + dk + dq

    return velocity


def spectral_velocity(
    dims: tuple[int, ...], lam: list[Any], length: Any, noise: Any, heads: int, width: int
) -> Callable[[State], State]:
    """−∂ℓ/∂θ of [S]'s loss in o, v (H, I) and k, q (H, d), with μ = ov and ω = kq/√d_e."""
    tasks, total = len(dims), sum(dims)
    owner = [i for i, d in enumerate(dims) for _ in range(d)]
    cost = [(a * d + mpf(noise) ** 2) / mpf(length) for d, a in zip(dims, lam, strict=True)]
    m, w, root, rows = heads * tasks, heads * total, mp.sqrt(width), range(heads)

    def velocity(y: State) -> State:
        o, v, k, q = y[:m], y[m : 2 * m], y[2 * m : 2 * m + w], y[2 * m + w :]
        mu = [[o[h * tasks + i] * v[h * tasks + i] for i in range(tasks)] for h in rows]
        om = [[k[h * total + j] * q[h * total + j] / root for j in range(total)] for h in rows]
        gap = [lam[i] * (1 - sum(mu[h][i] * om[h][j] for h in rows)) for j, i in enumerate(owner)]
        K = [[mp.exp(sum(a * b for a, b in zip(om[g], om[h], strict=True))) for h in rows]
             for g in rows]  # fmt: skip
        by_mu = [[2 * sum(om[h][j] * gap[j] for j in range(total) if owner[j] == i)
                  - 2 * cost[i] * sum(K[h][g] * mu[g][i] for g in rows)
                  for i in range(tasks)] for h in rows]  # fmt: skip
        pair = [[K[h][g] * sum(c * mu[h][i] * mu[g][i] for i, c in enumerate(cost))
                 for g in rows] for h in rows]  # fmt: skip
        by_om = [[2 * mu[h][i] * gap[j] - 2 * sum(pair[h][g] * om[g][j] for g in rows)
                  for j, i in enumerate(owner)] for h in rows]  # fmt: skip
        flat_mu = [x for row in by_mu for x in row]
        flat_om = [x / root for row in by_om for x in row]
        return ([a * b for a, b in zip(v, flat_mu, strict=True)]
                + [a * b for a, b in zip(o, flat_mu, strict=True)]
                + [a * b for a, b in zip(q, flat_om, strict=True)]
                + [a * b for a, b in zip(k, flat_om, strict=True)])  # fmt: skip

    return velocity


def two_token_loss(mu: float, omega: float, d: int, lam: float, noise: float) -> Any:
    """E(ŷ − gᵀq)² of one head on one task at L = 2, in 30 digits, from the definition.

    Along q̂ the tokens are α_1, α_2 with scores ω̄ r α_l, r = ‖q‖; across, d − 1 entries that no
    score sees. With δ = α_1 − α_2 and p = 1/(1 + e^{−ω̄rδ}) the mean α drops out by hand:

        loss/λ = E[(μ (p − ½) δ − r)² + μ²/2 + μ² (d − 1 + σ²/λ)(p² + (1 − p)²)],

    a sum over δ = √2 z and r = e^t, both of whose integrands vanish at the ends of the grid.
    """
    with mp.workdps(DIGITS):
        step, total, mass = mpf(1) / 12, mpf(0), mpf(0)
        half = [(k * step, mp.exp(-((k * step) ** 2) / 2) * (1 if k == 0 else 2))
                for k in range(108)]  # fmt: skip
        squares = mu * mu * (d - 1 + mpf(noise) ** 2 / mpf(lam))
        for j in range(-280 // d, 18):
            r = mp.exp(mpf(j) / 8)
            radial = r**d * mp.exp(-r * r / 2)
            for z, weight in half:
                delta = mp.sqrt(2) * z
                p = 1 / (1 + mp.exp(-omega * r * delta))
                # δ → −δ takes p to 1 − p, and the integrand to itself.
                value = (mu * (p - 0.5) * delta - r) ** 2 + squares * (p * p + (1 - p) ** 2)
                total += radial * weight * value
                mass += radial * weight
        return mpf(lam) * (total / mass + mpf(mu) ** 2 / 2)


def three_token_loss(mu: float, omega: float, d: int, lam: float, noise: float) -> float:
    """The same at L = 3, in floats: a sum over two differences of the scores and over ln r."""
    z = np.arange(-8.0, 8.0 + 1e-9, 1 / 8)
    t = np.arange(-35.0 / d, 2.3, 1 / 8)
    a, b = z[:, None], z[None, :]
    # α − ᾱ in an orthonormal basis of the plane across (1, 1, 1).
    alpha = np.stack([a / 2**0.5 + b / 6**0.5, -a / 2**0.5 + b / 6**0.5, -2 * b / 6**0.5 + 0 * a])
    weight = np.exp(-(a * a + b * b) / 2)
    value, mass = 0.0, 0.0
    for r in np.exp(t):
        scores = omega * r * alpha
        p = np.exp(scores - scores.max(axis=0))
        p /= p.sum(axis=0)
        density = r**d * np.exp(-r * r / 2)
        squares = (p * p).sum(axis=0)
        inner = (mu * (p * alpha).sum(axis=0) - r) ** 2
        inner = inner + mu * mu * (d - 1 + noise**2 / lam) * squares
        value += density * float((weight * inner).sum())
        mass += density * float(weight.sum())
    return lam * (value / mass + mu * mu / 3)

"""Bayes and ridge risk of one task at finite (d, L), by Monte Carlo over the context's tokens.

Notation: X is L × d with entries N(0, 1), y = Xg + σε, g ~ N(0, λ I), and the risk is
E‖ĝ − g‖² = E(ĝᵀq − gᵀq)², without the query's own noise. Averaged over g and ε it depends on the
eigenvalues e_k of XᵀX/L alone,

    Bayes: Σ_k λσ² / (λ L e_k + σ²),   ridge: Σ_k [λρ² + σ² e_k/L] / (e_k + ρ)²,

and these are drawn from a bidiagonal matrix of χ variables (Dumitriu and Edelman 2002), which
costs O(d) random numbers instead of L·d.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numerics import _check
from numerics._guard import guarded

Array = NDArray[np.float64]

_NUMBERS = 2**20  # held at a time


class RiskEstimate(NamedTuple):
    """A Monte Carlo mean and its standard error."""

    mean: float
    error: float


@guarded
def bayes_risk_monte_carlo(
    block_dim: int,
    signal: float,
    context_length: int,
    *,
    count: int,
    noise: float = 0.0,
    rng: Any = None,
) -> RiskEstimate:
    """Risk of the posterior mean, E tr (XᵀX/σ² + I/λ)⁻¹; without noise λ (d − L)₊, exactly.

    Parameters
    ----------
    block_dim, context_length : int
        d and L.
    signal : float
        λ > 0, the variance of each entry of g; the signal energy is λ d.
    count : int
        Number of draws of X, at least 2.
    noise : float
        σ >= 0.
    rng
        Seed or generator.

    Raises
    ------
    ValueError, TypeError
        If a size is no integer of at least 1, λ is not positive or σ < 0.

    Examples
    --------
    >>> bayes_risk_monte_carlo(10, 1.0, 4, count=10)
    RiskEstimate(mean=6.0, error=0.0)
    """
    d, L = _check.count("block_dim", block_dim), _check.count("context_length", context_length)
    energy = _check.real("signal", signal, above=0.0)
    variance = _check.real("noise", noise, at_least=0.0) ** 2
    count = _check.count("count", count, at_least=2)
    unseen = energy * max(d - L, 0)
    if variance == 0:
        return RiskEstimate(unseen, 0.0)
    seen = _average(
        lambda e: (energy * variance / (energy * L * e + variance)).sum(axis=1), d, L, count, rng
    )
    return RiskEstimate(seen.mean + unseen, seen.error)


@guarded
def ridge_risk_monte_carlo(
    block_dim: int,
    signal: float,
    context_length: int,
    *,
    penalty: float,
    count: int,
    noise: float = 0.0,
    rng: Any = None,
) -> RiskEstimate:
    """Risk of ridge regression, ĝ = (XᵀX/L + ρI)⁻¹ Xᵀy/L.

    Parameters
    ----------
    penalty : float
        ρ > 0; ρ = σ²/(λL) is Bayes.
    block_dim, signal, context_length, count, noise, rng
        As in `bayes_risk_monte_carlo`.

    Raises
    ------
    ValueError, TypeError
        As `bayes_risk_monte_carlo` does, or if ρ is not positive.

    Examples
    --------
    >>> optimal = ridge_risk_monte_carlo(5, 2.0, 10, penalty=0.05, noise=1.0, count=50, rng=1)
    >>> bayes = bayes_risk_monte_carlo(5, 2.0, 10, noise=1.0, count=50, rng=1)
    >>> bool(np.isclose(optimal.mean, bayes.mean, rtol=1e-12))
    True
    """
    d, L = _check.count("block_dim", block_dim), _check.count("context_length", context_length)
    energy = _check.real("signal", signal, above=0.0)
    rho = _check.real("penalty", penalty, above=0.0)
    variance = _check.real("noise", noise, at_least=0.0) ** 2
    count = _check.count("count", count, at_least=2)
    seen = _average(
        lambda e: ((energy * rho**2 + variance / L * e) / (e + rho) ** 2).sum(axis=1),
        d, L, count, rng,
    )  # fmt: skip
    return RiskEstimate(seen.mean + energy * max(d - L, 0), seen.error)


def _average(risk: Callable[[Array], Array], d: int, L: int, count: int, rng: Any) -> RiskEstimate:
    """Mean and standard error of a function of the min(d, L) eigenvalues that can differ from 0."""
    generator = _check.generator("rng", rng)
    chunk = max(1, _NUMBERS // min(d, L) ** 2)
    values = [
        risk(wishart_eigenvalues(d, L, min(chunk, count - begin), rng=generator) / L)
        for begin in range(0, count, chunk)
    ]
    risks = np.concatenate(values)
    return RiskEstimate(float(risks.mean()), float(risks.std(ddof=1) / np.sqrt(count)))


@guarded
def wishart_eigenvalues(
    block_dim: int, context_length: int, count: int, *, rng: Any = None
) -> Array:
    """Draw the m = min(d, L) eigenvalues of XᵀX or XXᵀ that can differ from zero: (count, m).

    They are those of C Cᵀ, C lower bidiagonal with diagonal χ_n, χ_{n−1}, …, χ_{n−m+1} and
    subdiagonal χ_{m−1}, …, χ_1, where n = max(d, L).

    >>> eigenvalues = wishart_eigenvalues(3, 50, 4, rng=0)
    >>> eigenvalues.shape, bool((eigenvalues > 0).all())
    ((4, 3), True)
    """
    d, L = _check.count("block_dim", block_dim), _check.count("context_length", context_length)
    count = _check.count("count", count)
    generator = _check.generator("rng", rng)
    n, m = max(d, L), min(d, L)
    diagonal = generator.chisquare(n - np.arange(m), (count, m))
    below = generator.chisquare(np.arange(m - 1, 0, -1), (count, m - 1))
    tridiagonal = np.zeros((count, m, m))
    index = np.arange(m)
    tridiagonal[:, index, index] = diagonal
    tridiagonal[:, index[1:], index[1:]] += below
    tridiagonal[:, index[1:], index[:-1]] = np.sqrt(below * diagonal[:, :-1])  # eigvalsh reads it
    return np.maximum(np.linalg.eigvalsh(tridiagonal), 0.0)

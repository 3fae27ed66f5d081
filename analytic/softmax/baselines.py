"""Ridge regression and the Bayes risk in the proportional limit, to lay beside attention.

One task, y = gᵀx + σε with x ~ N(0, I), g ~ N(0, λI) in d dimensions, L pairs, d and L → ∞ at
γ = d/L, signal-to-noise ratio s = λd/σ². Risk E(ŷ − gᵀq)² over the signal energy λd, without the
query's noise. Ridge minimises Σ(y − ĝᵀx)²/L + ρ‖ĝ‖². Marchenko–Pastur enters through
J_k = ∫ (x + ρ)^{−k}. Statistics' standard results, used by [S] Fig. 4 and 5; derived here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import _check
from .._generic import (
    Number,
    harmonise,
    is_array,
    is_object,
    is_symbolic,
    over_length,
    sqrt,
)
from .._guard import guarded


class Resolvent(NamedTuple):
    """J_1 and J_2."""

    first: Number
    second: Number


@guarded
def marchenko_pastur_moments(gamma: Number, penalty: Number) -> Resolvent:
    """Return (J_1, J_2), J_k the normalised trace of (XᵀX/L + ρI)^{−k}.

    With R = √((1 − γ + ρ)² + 4γρ)::

        J_1 = [R − (1 − γ + ρ)]/(2γρ),    J_2 = −dJ_1/dρ = J_1 (1 + γ J_1)/R

    Parameters
    ----------
    gamma
        γ = d/L > 0.
    penalty
        ρ > 0.

    Returns
    -------
    `Resolvent` with fields ``first`` and ``second``, of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If γ or ρ is not positive and finite.

    Notes
    -----
    The positive root of γρJ² + (1 − γ + ρ)J = 1, taken without cancellation.
    Accuracy: 8 eps.

    Examples
    --------
    >>> [round(moment, 6) for moment in marchenko_pastur_moments(1.0, 2.0)]
    [0.366025, 0.144338]
    """
    gamma, rho = harmonise(_check.positive("gamma", gamma), _check.positive("penalty", penalty))
    root, inverse, _ = _resolvent(gamma, rho)
    return Resolvent(1 / inverse, (1 + gamma / inverse) / (inverse * root))


@guarded
def ridge_risk(gamma: Number, snr: Number, penalty: Number) -> Number:
    """Return the risk ρ²J_2 + (γ/s)(J_1 − ρJ_2) of ridge regression, over the signal energy.

    Squared bias plus variance. Evaluated as [u(ρ + γu) + (γ/s) J_1/(1 + γJ_1)]/R, u = ρJ_1, a sum
    of non-negative terms that holds to ρ = 0, where it is least squares (γ < 1) or the interpolator
    of least norm (γ > 1) and diverges at γ = 1: the double descent.

    Parameters
    ----------
    gamma
        γ = d/L > 0.
    snr
        s = λd/σ² > 0; inf is no noise.
    penalty
        ρ >= 0 on XᵀX/L; positive where γ = 1.

    Returns
    -------
    Of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If an argument is out of its range, or γ = 1 and ρ = 0 meet.

    Notes
    -----
    [S] Fig. 5 (penalties 0.05 and 5); derived here.
    Accuracy: 8 eps.

    Examples
    --------
    >>> ridge_risk(0.5, 1.0, 0.0), ridge_risk(2.0, float("inf"), 0.0)
    (1.0, 0.5)
    """
    gamma, snr, rho = harmonise(
        _check.positive("gamma", gamma),
        _positive_or_inf("snr", snr),
        _check.non_negative("penalty", penalty),
    )
    root, inverse, kept = _resolvent(gamma, rho, snr)
    if _zero(root):
        raise ValueError("penalty must be positive where gamma is 1")
    variance = over_length(gamma, snr) / (inverse + gamma)
    return (kept * (rho + gamma * kept) + variance) / root


@guarded
def bayes_risk(gamma: Number, snr: Number) -> Number:
    """Return the least risk of any predictor, that of ridge regression at ρ = γ/s.

    ρJ_1 at ρ = γ/s::

        [γ − 1 − γ/s + √((1 + γ/s − γ)² + 4γ²/s)]/(2γ)

    Parameters
    ----------
    gamma
        γ = d/L > 0.
    snr
        s = λd/σ² > 0; inf is no noise.

    Returns
    -------
    Of the shape the arguments broadcast to, between 0 and 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    g and ε are Gaussian, so that the posterior mean is a ridge regression. [S] Fig. 4 (MMSE);
    derived here.
    Accuracy: 6 eps.

    Examples
    --------
    >>> bayes_risk(2.0, float("inf")), bayes_risk(0.5, float("inf"))
    (0.5, 0.0)
    """
    gamma, snr = harmonise(_check.positive("gamma", gamma), _positive_or_inf("snr", snr))
    _, _, kept = _resolvent(gamma, over_length(gamma, snr))
    return kept


def _positive_or_inf(name: str, value: Number) -> Number:
    value = _check.time(name, value)
    if _zero(value):
        raise ValueError(f"{name} must be positive, got {value}")
    return value


def _zero(value: Number) -> bool:
    return bool(value.__array_namespace__().any(value == 0) if is_array(value) else value == 0)


def _resolvent(gamma: Number, rho: Number, *companions: Number) -> tuple[Number, Number, Number]:
    """Return R, 1/J_1 and ρJ_1, each finite at ρ = 0."""
    slack = (1 - gamma) + rho
    root = sqrt(slack * slack + 4 * gamma * rho, *companions)
    if is_object(slack):
        return (root, *np.frompyfunc(_parts, 4, 2)(slack, root, gamma, rho))
    if not is_array(slack):
        return (root, *_parts(slack, root, gamma, rho))
    xp = slack.__array_namespace__()
    larger = (root + abs(slack)) / 2
    safe = xp.where(larger == 0, xp.ones_like(larger), larger)
    below = slack > 0
    inverse = xp.where(below, larger, gamma * rho / safe)
    return root, inverse, xp.where(below, rho / safe, larger / gamma)


def _parts(slack: Number, root: Number, gamma: Number, rho: Number) -> tuple[Number, Number]:
    """Return 1/J_1 and ρJ_1 from whichever of R ± (1 − γ + ρ) does not cancel."""
    # With symbols the two are equal as algebra.
    if is_symbolic(slack) or slack > 0:
        larger = (root + slack) / 2
        return larger, rho / larger
    larger = (root - slack) / 2
    return gamma * rho / larger if larger != 0 else rho, larger / gamma

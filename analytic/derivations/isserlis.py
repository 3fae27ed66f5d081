"""Gaussian expectations of polynomials, by the pairing sum (Isserlis, Wick)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

Moment = Callable[[tuple[int, ...]], sp.Expr]
"""From a tuple of variable indices to the expectation of their product."""


def gaussian(covariance: sp.Matrix) -> Moment:
    """Return the moments of N(0, covariance): the sum over pairings of products of covariances."""

    def moment(indices: tuple[int, ...]) -> sp.Expr:
        if not indices:
            return sp.Integer(1)
        first, rest = indices[0], indices[1:]
        return sum(
            (
                covariance[first, rest[i]] * moment(rest[:i] + rest[i + 1 :])
                for i in range(len(rest))
            ),
            sp.Integer(0),
        )

    return moment


def second_order(matrix: sp.Matrix) -> Moment:
    """Return the moments of any law of mean 0 with this second moment, up to degree 2."""

    def moment(indices: tuple[int, ...]) -> sp.Expr:
        if len(indices) > 2:
            raise ValueError(f"only moments up to degree 2 are known, got degree {len(indices)}")
        if len(indices) == 2:
            return matrix[indices[0], indices[1]]
        return sp.Integer(1 - len(indices))

    return moment


def expectation(expression: sp.Expr, variables: Sequence[sp.Symbol], moment: Moment) -> sp.Expr:
    """Return E[expression] over `variables`, monomial by monomial."""
    poly = sp.Poly(sp.expand(expression), *variables)
    out = sp.Integer(0)
    for powers, coefficient in poly.terms():
        indices = tuple(i for i, power in enumerate(powers) for _ in range(power))
        out += coefficient * moment(indices)
    return sp.expand(out)

"""ATTN_S of rank R reduced to scalars, by substitution in the gradient of L."""

from __future__ import annotations

import sympy as sp

from . import moments
from . import symbols as sy


def aligned_velocity(
    dimension: int, modes: tuple[tuple[int, ...], ...]
) -> tuple[list[sp.Expr], list[list[sp.Expr]], list[sp.Expr]]:
    """Return dv/dt, dκ/dt and the velocities normal to the aligned weights k_hr = q_hr = κ_hr e_d.

    Symbols v1 …, kappa_hr are those of `amplitudes`. The keys and the queries must move alike; the
    last list holds their differences and every component off the eigenvectors.
    """
    heads, rank = len(modes), len(modes[0])
    values, kappa = amplitudes(heads, rank)
    pairs = [(h, r) for h in range(heads) for r in range(rank)]
    key, query = (
        {
            (h, r): sp.Matrix(sp.symbols(f"{n}_{h}{r}_1:{dimension + 1}", real=True))
            for h, r in pairs
        }
        for n in ("k", "q")
    )
    product = sum((values[h] * key[h, r] * query[h, r].T for h, r in pairs), sp.zeros(dimension))
    loss = moments.eigenbasis_loss(product, moments.feature_eigenvalues(dimension))
    point = {
        table[h, r][d]: (kappa[h][r] if d == modes[h][r] else 0)
        for table in (key, query)
        for h, r in pairs
        for d in range(dimension)
    }

    def rate(weight: sp.Symbol) -> sp.Expr:
        return sp.expand((-sp.diff(loss, weight) / (2 * sy.tau)).subs(point))

    moving = [[rate(key[h, r][modes[h][r]]) for r in range(rank)] for h in range(heads)]
    normal = [rate(query[h, r][modes[h][r]]) - moving[h][r] for h, r in pairs]
    normal += [
        rate(table[h, r][d])
        for table in (key, query)
        for h, r in pairs
        for d in range(dimension)
        if d != modes[h][r]
    ]
    return [rate(value) for value in values], moving, normal


def amplitudes(heads: int, rank: int) -> tuple[list[sp.Symbol], list[list[sp.Symbol]]]:
    """Return the symbols v_h and κ_hr."""
    values = list(sp.symbols(f"v1:{heads + 1}", real=True))
    kappa = [[sp.Symbol(f"kappa_{h}{r}", real=True) for r in range(rank)] for h in range(heads)]
    return values, kappa

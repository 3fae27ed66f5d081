"""The Hessian of L at the ansatz, by differentiation."""

from __future__ import annotations

import sympy as sp

from . import separate


def hessian(dimension: int, learned: tuple[int, ...]) -> tuple[sp.Matrix, list[sp.Symbol]]:
    """Return the Hessian of L over all weights at the ansatz, and the order of the weights.

    The scales u_d stay symbols; the cube of each is m_d.
    """
    loss, symbols = separate.loss(dimension, dimension)
    names = separate.flatten(*symbols)
    point = separate.ansatz_point(dimension, learned)
    return sp.hessian(loss, names).subs(point).applyfunc(sp.expand), names


def rotation_block(dimension: int, learned: int, unlearned: int) -> sp.Matrix:
    """Return the block of (k_d, q_d) in the head of mode i, at the ansatz of {i}.

    Raises `ArithmeticError` if the block couples to any other weight.
    """
    matrix, names = hessian(dimension, (learned,))
    _, key, query = separate.weights(dimension, dimension)
    rows = [names.index(key[0][unlearned]), names.index(query[0][unlearned])]
    rest = [i for i in range(len(names)) if i not in rows]
    if any(matrix[row, i] != 0 for row in rows for i in rest):
        raise ArithmeticError("the block is coupled to other weights")
    return matrix.extract(rows, rows)

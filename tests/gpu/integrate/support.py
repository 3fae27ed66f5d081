"""Problems for the integrators, in functions of the array API standard."""

import numpy as np
from array_api_compat import array_namespace, device

from gpu.integrate import FunctionProblem
from numerics import LinearTask, SeparateAttention, population_moments

HEADS = DIMENSION = 2
MODEL = SeparateAttention(dimension=DIMENSION, heads=HEADS)
EIGENVALUES = np.array([0.4, 0.2])
MOMENTS = population_moments(LinearTask(np.diag(EIGENVALUES), 31))
GROWTH = EIGENVALUES**2
WEIGHT = np.outer(EIGENVALUES * (EIGENVALUES * 32 + EIGENVALUES.sum()) / 31, EIGENVALUES)


def linear(matrix):
    """dy/dt = A y with the same A in every row."""

    def velocity(y):
        xp = array_namespace(y)
        return xp.asarray(matrix, dtype=y.dtype, device=device(y)) @ y

    def jacobian(y):
        xp = array_namespace(y)
        A = xp.asarray(matrix, dtype=y.dtype, device=device(y))
        return A[:, :, None] + xp.zeros(
            (*matrix.shape, y.shape[1]), dtype=y.dtype, device=device(y)
        )

    return FunctionProblem(velocity, (), jacobian)


def logistic(rates):
    """dy/dt = r y (1 − y), r of each row; y(t) = 1/(1 + (1/y_0 − 1) e^{−rt})."""
    return FunctionProblem(
        lambda y, r: r * y * (1.0 - y), [rates], lambda y, r: (r * (1.0 - 2.0 * y))[None, ...]
    )


def powers(exponents):
    """dy/dt = y^p of a single weight; p of each row."""
    return FunctionProblem(
        lambda y, p: y**p, [exponents], lambda y, p: (p * y ** (p - 1))[None, ...]
    )


def _parts(y):
    xp, shape = array_namespace(y), (HEADS, DIMENSION, y.shape[1])
    m = HEADS * DIMENSION
    v, k, q = y[:HEADS, :], y[HEADS : HEADS + m, :], y[HEADS + m :, :]
    return xp, v, xp.reshape(k, shape), xp.reshape(q, shape)


def _residual(xp, v, k, q):
    def constant(value):
        return xp.asarray(value, dtype=v.dtype, device=device(v))[:, :, None]

    M = xp.sum((v[:, None, :] * k)[:, :, None, :] * q[:, None, :, :], axis=0)
    return constant(np.diag(GROWTH)) - constant(WEIGHT) * M


def attention_velocity(y):
    """The flow of ATTN_S at R = 1 in the eigenbasis ([L] Eq. 14)."""
    xp, v, k, q = _parts(y)
    G = _residual(xp, v, k, q)
    Gq = xp.sum(G[None, ...] * q[:, None, :, :], axis=2)
    Gk = xp.sum(G[None, ...] * k[:, :, None, :], axis=1)
    flat = (HEADS * DIMENSION, y.shape[1])
    keys, queries = xp.reshape(v[:, None, :] * Gq, flat), xp.reshape(v[:, None, :] * Gk, flat)
    return xp.concat([xp.sum(k * Gq, axis=1), keys, queries], axis=0)


def attention_jacobian(y):
    """Its derivative, column by column."""
    xp, v, k, q = _parts(y)
    G = _residual(xp, v, k, q)
    Gq = xp.sum(G[None, ...] * q[:, None, :, :], axis=2)
    weight = xp.asarray(WEIGHT, dtype=y.dtype, device=device(y))[:, :, None]
    flat, columns = (HEADS * DIMENSION, y.shape[1]), []
    for j in range(MODEL.size):
        unit = np.zeros((MODEL.size, 1))
        unit[j] = 1.0
        dy = xp.asarray(unit, dtype=y.dtype, device=device(y)) + 0.0 * y
        _, dv, dk, dq = _parts(dy)
        dvk = dv[:, None, :] * k + v[:, None, :] * dk
        dM = dvk[:, :, None, :] * q[:, None, :, :]
        dM = dM + (v[:, None, :] * k)[:, :, None, :] * dq[:, None, :, :]
        dG = -weight * xp.sum(dM, axis=0)
        dGq = xp.sum(dG[None, ...] * q[:, None, :, :] + G[None, ...] * dq[:, None, :, :], axis=2)
        back = (
            dG[None, ...] * (v[:, None, :] * k)[:, :, None, :] + G[None, ...] * dvk[:, :, None, :]
        )
        columns.append(
            xp.concat(
                [
                    xp.sum(dk * Gq + k * dGq, axis=1),
                    xp.reshape(dv[:, None, :] * Gq + v[:, None, :] * dGq, flat),
                    xp.reshape(xp.sum(back, axis=1), flat),
                ],
                axis=0,
            )
        )
    return xp.stack(columns, axis=1)


ATTENTION = FunctionProblem(attention_velocity, (), attention_jacobian)


def seeds(rows, scale=0.05, first=0):
    """Initial states (size, rows), one seed each."""
    made = [MODEL.initial_weights(scale, rng=first + seed) for seed in range(rows)]
    return np.stack(made, axis=1)

"""Theirs by Numba: loops where NumPy's calls would cost more than the work, else BLAS.

Numba is imported, and the functions compiled, when an entry is built.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarking.base import Array, Built, library
from benchmarking.case import ATOL, RTOL, Case

NEEDS = ("numba",)

# Dormand and Prince's 5(4) pair: stages, weights and error weights.
_A = np.zeros((7, 7))
_A[1, :1] = 1 / 5
_A[2, :2] = 3 / 40, 9 / 40
_A[3, :3] = 44 / 45, -56 / 15, 32 / 9
_A[4, :4] = 19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729
_A[5, :5] = 9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656
_A[6, :6] = 35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84
_E = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])


@cache
def _velocity() -> Any:
    """Velocity into `out` and M into `M`, in the eigenbasis, by loops; compiled at its first use.

    Arguments are θ, C, W, H, R, M, G and out.
    """

    def velocity(theta, C, W, H, R, M, G, out):  # type: ignore[no-untyped-def]
        D = C.shape[0]
        n = H * R * D
        M[:] = 0.0
        for h in range(H):
            for r in range(R):
                k = H + (h * R + r) * D
                for i in range(D):
                    vk = theta[h] * theta[k + i]
                    for j in range(D):
                        M[i, j] += vk * theta[k + n + j]
        for i in range(D):
            for j in range(D):
                G[i, j] = C[i, j] - W[i, j] * M[i, j]
        out[:] = 0.0
        for h in range(H):
            total = 0.0
            for r in range(R):
                k = H + (h * R + r) * D
                for i in range(D):
                    gq = 0.0
                    vk = theta[h] * theta[k + i]
                    for j in range(D):
                        gq += G[i, j] * theta[k + n + j]
                        out[k + n + j] += vk * G[i, j]
                    total += theta[k + i] * gq
                    out[k + i] = theta[h] * gq
            out[h] = total

    return library("numba").njit(velocity, fastmath=True)


@cache
def _velocity_by_products() -> Any:
    """The same by BLAS, for large D and rank one."""

    def velocity(theta, C, W, H, R, M, G, out):  # type: ignore[no-untyped-def]
        D = C.shape[0]
        P = H * R
        K, Q = theta[H : H + P * D].reshape(P, D), theta[H + P * D :].reshape(P, D)
        v = theta[:H].copy().repeat(R).reshape(P, 1)
        vK = v * K
        np.dot(vK.T, Q, out=M)
        for i in range(D):
            for j in range(D):
                G[i, j] = C[i, j] - W[i, j] * M[i, j]
        GQ = np.dot(Q, G.T)
        for h in range(H):
            out[h] = np.sum(K[h * R : (h + 1) * R] * GQ[h * R : (h + 1) * R])
        out[H : H + P * D] = (v * GQ).ravel()
        out[H + P * D :] = np.dot(vK, G).ravel()

    return library("numba").njit(velocity, fastmath=True)


@cache
def _loops(products: bool) -> SimpleNamespace:
    """Euler's steps and the adaptive pair, bound to a velocity."""
    njit = library("numba").njit
    velocity = _velocity_by_products() if products else _velocity()

    def euler(theta, C, W, H, R, steps, size):  # type: ignore[no-untyped-def]
        y, out = theta.copy(), np.empty_like(theta)
        M, G = np.empty_like(C), np.empty_like(C)
        for _ in range(steps):
            velocity(y, C, W, H, R, M, G, out)
            y += size * out
        return y

    def flow(theta, C, W, energy, H, R, times, rtol, atol, A, E):  # type: ignore[no-untyped-def]
        n, D = len(theta), C.shape[0]
        y, new, stages = theta.copy(), np.empty(n), np.empty((7, n))
        M, G, losses = np.empty((D, D)), np.empty((D, D)), np.empty(len(times))
        t, due = 0.0, 0
        velocity(y, C, W, H, R, M, G, stages[0])
        h = 1e-3 * times[0]
        while due < len(times):
            step = min(h, times[due] - t)
            for s in range(1, 7):
                for i in range(n):
                    total = 0.0
                    for j in range(s):
                        total += A[s, j] * stages[j, i]
                    new[i] = y[i] + step * total
                velocity(new, C, W, H, R, M, G, stages[s])
            square = 0.0
            for i in range(n):
                error = 0.0
                for j in range(7):
                    error += E[j] * stages[j, i]
                square += (step * error / (atol + rtol * max(abs(y[i]), abs(new[i])))) ** 2
            norm = np.sqrt(square / n)
            change = 10.0 if norm == 0 else min(10.0, max(0.2, 0.9 * norm**-0.2))
            if norm < 1:
                t += step
                y[:] = new
                stages[0] = stages[6]
                if t >= times[due] * (1 - 1e-14):
                    t = times[due]
                    losses[due] = energy - np.sum((2 * C - W * M) * M)
                    due += 1
                if step == h or change < 1:
                    h = step * change
            else:
                h = step * min(1.0, change)
        return losses

    return SimpleNamespace(euler=njit(euler), flow=njit(flow))


def _compiled(call: Callable[[], Any]) -> float:
    """Core seconds of a first, short call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def _built(call: Callable[[], Any], seconds: float, share: float = 1.0) -> Built:
    if seconds > 1e-2:
        return Built(call, seconds, share)
    return Built(call, None, share, "compiled in a row before")


def flow(case: Case) -> Built:
    """Losses at the case's times by a 5(4) pair in compiled loops, a row after another."""
    form, H, R = case.form, case.model.heads, case.model.rank
    run = _loops(case.dimension > 16).flow
    times, C, W = case.times, np.ascontiguousarray(form.correlation), form.weights
    rows = np.atleast_2d(case.start)

    def losses(rows: Array, times: Array) -> Array:
        settings = (C, W, case.energy, H, R, times, RTOL, ATOL, _A, _E)
        return np.array([run(np.ascontiguousarray(row), *settings) for row in rows])

    seconds = _compiled(lambda: losses(rows[:1], times[:1] * 1e-6))
    return _built(lambda: losses(rows, times).squeeze(), seconds)


def euler(case: Case, steps: int, size: float) -> Built:
    """Explicit steps in one compiled loop, per step."""
    run, H, R = _loops(case.dimension > 16).euler, case.model.heads, case.model.rank
    start, C = case.start, np.ascontiguousarray(case.form.correlation)
    seconds = _compiled(lambda: run(start, C, case.form.weights, H, R, 1, size))
    return _built(lambda: run(start, C, case.form.weights, H, R, steps, size), seconds, steps)


def plateau_losses(eigenvalues: Array, context_length: int) -> Built:
    """Plateau losses of many spectra, one after another, sorted by insertion."""

    def losses(spectra, N):  # type: ignore[no-untyped-def]
        count, D = spectra.shape
        out, order = np.empty((count, D + 1)), np.empty(D)
        for p in range(count):
            trace = 0.0
            for d in range(D):
                x = spectra[p, d]
                trace += x
                i = d
                while i > 0 and order[i - 1] < x:
                    order[i] = order[i - 1]
                    i -= 1
                order[i] = x
            out[p, 0] = trace
            for d in range(D):
                x = order[d]
                out[p, d + 1] = out[p, d] - x / (1 + (1 + trace / x) / N)
        return out

    run = library("numba").njit(losses)
    seconds = _compiled(lambda: run(eigenvalues[:1], context_length))
    return _built(lambda: run(eigenvalues, context_length), seconds)

"""Rows of single functions: right-hand sides against the GEMM rate, and closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import analytic
from benchmarking import by_jax, by_numba
from benchmarking.base import Array, Built, Entry, Growth, Row
from benchmarking.case import CONTEXT, Case
from benchmarking.machine import copy_rate, gemm_rate

SIZE = 1e-2  # of an Euler step; the loop of steps stands for any loop around a right-hand side
CASES = ((4, 4, 1, 1000), (8, 9, 1, 1000), (64, 64, 1, 100), (256, 32, 8, 5))

LOOP = (
    "its loop of evaluations is compiled to machine code; ours calls NumPy about ten times in each "
    "evaluation, and at this D a call costs more than its arithmetic"
)
BESIDE = (
    "the products are those of BLAS on either side; its passes over single entries are fused and "
    "make no new arrays, which still counts at this D"
)
FUSED = (
    "a spectrum stays in registers from the sort to the last sum; ours makes a pass over all of "
    "them for each operation, sums what is learned and what is left apart, so that a small last "
    "plateau keeps its digits, and checks its input"
)


def rows(quick: bool) -> list[Row | Growth]:
    """Right-hand sides from small to large D, and 10⁶ spectra."""
    return [*(right_hand_side(*case, quick) for case in CASES), spectra(10_000 if quick else 10**6)]


def products(case: Case) -> Callable[[], None]:
    """The three matrix products that a right-hand side cannot avoid."""
    D, P = case.dimension, case.heads * case.rank
    keys = np.random.default_rng(0).standard_normal((P, D))
    square = np.random.default_rng(1).standard_normal((D, D))
    a, b, c = np.empty((D, D)), np.empty((P, D)), np.empty((P, D))

    def call() -> None:
        np.dot(keys.T, keys, out=a)
        np.dot(keys, square.T, out=b)
        np.dot(keys, square, out=c)

    return call


def right_hand_side(D: int, H: int, R: int, steps: int, quick: bool) -> Row:
    """−½ ∂L/∂θ, once."""
    steps = 3 if quick else steps
    case = Case(D, H, R, 0.3, 1.0)
    flops = 6 * H * R * D * D

    def ours() -> Built:
        system, start = case.system, case.start

        def walk() -> Array:
            theta = start
            for _ in range(steps):
                theta = theta + SIZE * system.velocity(theta)
            return theta

        return Built(walk, share=steps)

    def floor() -> Built:
        note = f"{flops:,} flops; at the GEMM rate {flops / gemm_rate() * 1e6:.3g} µs"
        return Built(products(case), note=note)

    why = LOOP if D < 16 else BESIDE
    return Row(
        f"rhs-D{D}-R{R}",
        f"Right-hand side of ATTN_S, D = {D}, H = {H}, R = {R}",
        f"−½ ∂L/∂θ of the population loss at {case.model.size:,} weights, in a loop of {steps} "
        f"Euler steps of {SIZE:g}; time of one",
        [
            Entry("`AttentionSystem.velocity`", "ours", ours),
            *(
                Entry(
                    f"JAX, compiled loop, gradient {how}",
                    "theirs",
                    lambda how=how: by_jax.euler(case, how, steps, SIZE),  # type: ignore[misc]
                    ("jax",),
                    why,
                )
                for how in ("autodiff", "by hand")
            ),
            Entry(
                "Numba, " + ("loops" if D <= 16 else "BLAS products") + ", gradient by hand",
                "theirs",
                lambda: by_numba.euler(case, steps, SIZE),
                by_numba.NEEDS,
                why,
            ),
            Entry("the three products it cannot avoid, `np.dot`", "floor", floor),
        ],
        reference=lambda: euler_of_definition(case, steps),
        tolerance=1e-12,
        argument="rounding: some thousand sums of order one",
        repeats=15,
        budget=10.0,
    )


def euler_of_definition(case: Case, steps: int) -> Array:
    """The steps by the formulas of [L] Eq. 14, one einsum each."""
    theta = case.start
    C, W = case.form.correlation, case.form.weights
    for _ in range(steps):
        v, k, q = case.model.unpack(theta)
        G = C - W * np.einsum("h,hri,hrj->ij", v, k, q, optimize=True)
        Gq, Gk = q @ G.T, k @ G
        parts = (k * Gq).sum(axis=(1, 2)), v[:, None, None] * Gq, v[:, None, None] * Gk
        theta = theta + SIZE * np.concatenate([part.ravel() for part in parts])
    return theta


def spectra(count: int) -> Row:
    """Plateau losses of many spectra."""
    eigenvalues = np.random.default_rng(0).uniform(0.1, 1.0, (count, 8))

    def bare() -> Array:
        order = np.argsort(-eigenvalues, axis=-1, kind="stable")
        trace = eigenvalues.sum(axis=-1, keepdims=True)
        gains = eigenvalues / (1 + (1 + trace / eigenvalues) / CONTEXT)
        gains = np.take_along_axis(gains, order, axis=-1)
        zero = np.zeros((len(gains), 1))
        return np.asarray(trace - np.concatenate([zero, np.cumsum(gains, axis=-1)], axis=-1))

    def copy() -> Built:
        out = np.empty((count, 9))
        seconds = (eigenvalues.nbytes + out.nbytes) / copy_rate()
        note = f"{seconds * 1e3:.3g} ms at the copy rate"
        return Built(lambda: np.copyto(out[:, :8], eigenvalues), note=note)

    return Row(
        "spectra",
        f"Closed forms: plateau losses of {count:,} spectra",
        "9 plateau losses of each of as many unsorted spectra of 8 eigenvalues, N = 31",
        [
            Entry(
                "`analytic.plateau_losses`",
                "ours",
                lambda: Built(lambda: analytic.plateau_losses(eigenvalues, CONTEXT)),
            ),
            Entry(
                "JAX, compiled",
                "theirs",
                lambda: by_jax.plateau_losses(eigenvalues, CONTEXT),
                ("jax",),
                FUSED,
            ),
            Entry(
                "Numba, loops",
                "theirs",
                lambda: by_numba.plateau_losses(eigenvalues, CONTEXT),
                by_numba.NEEDS,
                FUSED,
            ),
            Entry("bare NumPy, nothing checked, T less the gains", "floor", lambda: Built(bare)),
            Entry("reading and writing it once", "floor", copy),
        ],
        reference=bare,
        tolerance=1e-13,
        argument="rounding of sums of eight numbers",
        repeats=5,
    )

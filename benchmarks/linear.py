#!/usr/bin/env python3
"""Speed of the linear-attention code, each row against a floor measured in the same run.

Prints a Markdown table. Repeats of both sides are interleaved, medians are quoted, one BLAS thread.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

import analytic
from numerics import AttentionSystem, LinearTask, SeparateAttention, population_moments


def interleaved(
    ours: Callable[[], object], floor: Callable[[], object], repeats: int, inner: int
) -> tuple[float, float]:
    """Median seconds of one call of each, taken in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for function, record in zip((ours, floor), times, strict=True):
            began = time.perf_counter()
            for _ in range(inner):
                function()
            record.append((time.perf_counter() - began) / inner)
    return statistics.median(times[0]), statistics.median(times[1])


def right_hand_side(D: int, H: int, R: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """The velocity of ATTN_S in the eigenbasis, and the three matrix products it cannot avoid."""
    spectrum = 1 / np.arange(1, D + 1) / np.sum(1 / np.arange(1, D + 1))
    moments = population_moments(LinearTask.from_eigenvalues(spectrum, 31)).eigenform()[0]
    model = SeparateAttention(D, H, R)
    theta = model.initial_weights(0.1, rng=0)
    system = AttentionSystem(model, moments)
    keys = np.random.default_rng(0).standard_normal((H * R, D))
    square = np.random.default_rng(1).standard_normal((D, D))
    a, b, c = np.empty((D, D)), np.empty((H * R, D)), np.empty((H * R, D))

    def products() -> None:
        np.dot(keys.T, keys, out=a)
        np.dot(keys, square.T, out=b)
        np.dot(keys, square, out=c)

    return lambda: system.velocity(theta), products


def spectra() -> tuple[Callable[[], object], Callable[[], object]]:
    """Plateau losses of 10⁶ spectra of 8 modes, and the same arithmetic without any checks."""
    eigenvalues = np.sort(np.random.default_rng(0).uniform(0.1, 1.0, (1_000_000, 8)))[:, ::-1]

    def bare() -> object:
        order = np.argsort(-(eigenvalues**2), axis=-1, kind="stable")
        trace = eigenvalues.sum(axis=-1, keepdims=True)
        gains = eigenvalues / (1 + (1 + trace / eigenvalues) / 31)
        gains = np.take_along_axis(gains, order, axis=-1)
        zero = np.zeros((len(gains), 1))
        return trace - np.concatenate([zero, np.cumsum(gains, axis=-1)], axis=-1)

    return lambda: analytic.plateau_losses(eigenvalues, 31), bare


def imports() -> tuple[Callable[[], object], Callable[[], object]]:
    """A fresh interpreter that imports analytic, and one that imports NumPy alone."""

    def fresh(module: str) -> object:
        return subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    return lambda: fresh("analytic"), lambda: fresh("numpy")


def main() -> None:
    """Print the table."""
    rows = [
        ("right-hand side, D=8 H=9 R=1", right_hand_side(8, 9, 1), "three products", 15, 2000),
        ("right-hand side, D=64 H=64 R=1", right_hand_side(64, 64, 1), "three products", 15, 200),
        ("right-hand side, D=256 H=32 R=8", right_hand_side(256, 32, 8), "three products", 15, 10),
        ("plateau losses of 10⁶ spectra", spectra(), "same, unchecked NumPy", 5, 1),
        ("import analytic", imports(), "import numpy", 9, 1),
    ]
    print("| what | ours | floor | floor is | ratio |\n| --- | --- | --- | --- | --- |")
    for name, (ours, floor), label, repeats, inner in rows:
        ours(), floor()
        a, b = interleaved(ours, floor, repeats, inner)
        print(f"| {name} | {_seconds(a)} | {_seconds(b)} | {label} | {a / b:.2f} |", flush=True)


def _seconds(value: float) -> str:
    return f"{value * 1e6:.1f} µs" if value < 1e-3 else f"{value * 1e3:.1f} ms"


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Seconds and evaluations of each solver of `gradient_flow`, side by side, for its default choice.

Prints a Markdown table; `numerics.integrate.solver.cheapest_method` holds the fits to it. Every
solver runs the same trajectory in turn, several times; the median is quoted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

from numerics import (
    LinearTask,
    SeparateAttention,
    Trajectory,
    gradient_flow,
    matrix_loss,
    minimiser,
    population_moments,
)

SPECTRA = {4: np.array([0.4, 0.3, 0.2, 0.1]), 8: 1 / np.arange(1, 9) / np.sum(1 / np.arange(1, 9))}
CASES = [  # D, H, R, initial scale, duration
    (4, 4, 1, 1e-2, 21_050.0),
    (4, 4, 1, 1e-3, 210_500.0),
    (8, 9, 1, 1e-2, 100_000.0),
    (8, 9, 2, 1e-2, 25_000.0),
    (8, 9, 4, 1e-2, 10_000.0),
    (8, 9, 8, 1e-2, 2_000.0),
]
METHODS = ("LSODA", "DOP853", "RK45", "Radau", "BDF", "auto")


def run(case: tuple[int, int, int, float, float], method: str) -> tuple[float, Trajectory]:
    """Seconds and trajectory of one run."""
    D, H, R, scale, duration = case
    model = SeparateAttention(D, H, R)
    moments = population_moments(LinearTask.from_eigenvalues(SPECTRA[D], 31))
    start = model.initial_weights(scale, rng=0)
    began = time.perf_counter()
    trajectory = gradient_flow(model, moments, start, duration, method=method)
    return time.perf_counter() - began, trajectory


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slow", action="store_true", help="also explicit runs of over 10 s")
    args = parser.parse_args()
    run(CASES[0], "LSODA")  # imports scipy.integrate
    print("| D, H, R, init | method | seconds | evaluations | drift | energy gap | above minimum |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        D, H, R, scale, _ = case
        moments = population_moments(LinearTask.from_eigenvalues(SPECTRA[D], 31))
        least = float(matrix_loss(moments, minimiser(moments)))
        explicit_is_slow = scale < 5e-3 and not args.slow
        methods = [m for m in METHODS if not (m in ("DOP853", "RK45") and explicit_is_slow)]
        if H * R > 30:
            methods = [m for m in methods if m not in ("Radau", "BDF")]
        rounds = [[run(case, method) for method in methods] for _ in range(args.repeats)]
        for i, method in enumerate(methods):
            seconds = statistics.median(row[i][0] for row in rounds)
            t = rounds[0][i][1]
            print(
                f"| {D}, {H}, {R}, {scale:g} | {method} | {seconds:.3f} | {t.evaluations:,} "
                f"| {t.invariant_drift.max():.0e} | {np.abs(t.energy_gap).max():.0e} "
                f"| {t.loss[-1] - least:.0e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

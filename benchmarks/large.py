#!/usr/bin/env python3
"""Whole cascades at large D with the matrix-free implicit solver: seconds, and errors of the drops.

Tokens with λ_d ∝ 1/d, N = 31, H = D heads of rank one, weights N(0, 0.01²), until the loss is
within 1e-6 of its minimum. The reference is an explicit run (`--explicit`: a minute at D = 32) or
the same method at rtol 1e-11; atol is rtol/1,000. Errors are relative: of the times of the drops,
and of the loss halfway (in log t) between them. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import time

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numerics import (
    AttentionSystem,
    LinearTask,
    SeparateAttention,
    drop_times,
    population_moments,
)
from numerics.integrate.krylov import Krylov
from numerics.integrate.solver import augmented

CLOSE, REFERENCE = 1e-6, 1e-11


@dataclass
class Curve:
    """Loss, its rate and the cost of a run."""

    t: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    wall: float = 0.0
    cpu: float = 0.0
    evaluations: int = 0
    products: int = 0
    gap: float = 0.0
    finished: bool = False


class Case:
    """A task in its eigenbasis, a model and its first weights."""

    def __init__(self, dimension: int, seed: int) -> None:
        spectrum = 1 / np.arange(1, dimension + 1)
        task = LinearTask.from_eigenvalues(spectrum / spectrum.sum(), 31)
        moments = population_moments(task).eigenform()[0]
        model = SeparateAttention(dimension, dimension)
        self.system = AttentionSystem(model, moments)
        self.start = model.initial_weights(1e-2, rng=seed)
        mode = np.abs(moments.correlation).argmax(axis=1), np.arange(dimension)
        growth, curvature = np.abs(moments.correlation[mode]), moments.weights[mode]
        gains = (growth**2 / curvature)[np.argsort(-growth)]
        self.plateaus = moments.energy - np.concatenate([[0.0], np.cumsum(gains)])

    def run(self, solver: Any, limit: float) -> Curve:
        """Step until the minimum or for `limit` seconds; losses are not counted in the time."""
        curve, n = Curve(), self.system.size
        wall, cpu = time.perf_counter(), time.process_time()
        while True:
            paused = time.perf_counter(), time.process_time()
            theta = solver.y[:n]
            rate = self.system.velocity(theta)
            curve.t.append(float(solver.t))
            curve.loss.append(float(self.system.loss(theta)))
            curve.rate.append(2 * float(rate @ rate))
            wall += time.perf_counter() - paused[0]
            cpu += time.process_time() - paused[1]
            curve.finished = curve.loss[-1] - self.plateaus[-1] < CLOSE
            if curve.finished or time.perf_counter() - wall > limit or solver.step():
                break
        curve.wall, curve.cpu = time.perf_counter() - wall, time.process_time() - cpu
        curve.evaluations, curve.products = solver.nfev, getattr(solver, "products", 0)
        curve.gap = abs(curve.loss[0] - curve.loss[-1] - float(solver.y[n]))
        return curve

    def krylov(self, rtol: float, limit: float) -> Curve:
        """The matrix-free implicit solver."""
        y, velocity = np.append(self.start, 0.0), augmented(self.system, 1.0)[0]
        with np.errstate(over="ignore", invalid="ignore"):
            solver = Krylov(
                velocity, 0.0, y, 1e12, system=self.system, tau=1.0, rtol=rtol, atol=rtol / 1000
            )
            return self.run(solver, limit)

    def explicit(self, limit: float) -> Curve:
        """DOP853 at rtol 1e-11."""
        from scipy.integrate import DOP853

        velocity = augmented(self.system, 1.0)[0]
        y = np.append(self.start, 0.0)
        return self.run(DOP853(velocity, 0.0, y, 1e12, rtol=REFERENCE, atol=1e-14), limit)

    def errors(self, curve: Curve, reference: Curve) -> tuple[Any, Any]:
        """Relative errors of drop times, and of the loss between them."""
        from scipy.interpolate import CubicHermiteSpline

        drops, right = (
            drop_times(c.t, c.loss, self.plateaus, loss_rate=c.rate) for c in (curve, reference)
        )
        known = np.isfinite(drops) & np.isfinite(right)
        drops, right = drops[known], right[known]
        between = np.sqrt(np.sort(right)[1:] * np.sort(right)[:-1])
        heights = [
            CubicHermiteSpline(c.t, c.loss, [-r for r in c.rate])(between)
            for c in (curve, reference)
        ]
        return np.abs(drops / right - 1), np.abs(heights[0] / heights[1] - 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--rtol", type=float, nargs="+", default=[1e-8, 1e-9])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--explicit", action="store_true", help="the reference is explicit")
    parser.add_argument("--no-reference", action="store_true", help="times alone")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one run")
    args = parser.parse_args()
    head = "| D | rtol | seconds | CPU | evaluations | products | drops | median | second largest "
    print(head + "| largest error of a drop | of a plateau | energy gap | end |")
    print("| --- " * 13 + "|")
    for dimension in args.dimensions:
        case = Case(dimension, args.seed)
        reference = None
        if not args.no_reference:
            reference = (
                case.explicit(args.limit) if args.explicit else case.krylov(REFERENCE, args.limit)
            )
            report(dimension, "reference", reference, case, reference)
        for rtol in args.rtol:
            report(dimension, f"{rtol:g}", case.krylov(rtol, args.limit), case, reference)


def report(dimension: int, name: str, curve: Curve, case: Case, reference: Curve | None) -> None:
    """One row."""
    drops, heights = case.errors(curve, reference or curve)
    worst = np.sort(drops)[::-1]
    print(
        f"| {dimension} | {name} | {curve.wall:.1f} | {curve.cpu:.1f} | {curve.evaluations:,} "
        f"| {curve.products:,} | {len(drops)} | {np.median(drops):.0e} | {worst[1]:.0e} "
        f"| {worst[0]:.0e} | {heights.max():.0e} | {curve.gap:.0e} "
        f"| {'minimum' if curve.finished else f't={curve.t[-1]:.3g}'} |",
        flush=True,
    )


if __name__ == "__main__":
    main()

"""Running the thing: gradient flow, gradient descent, and somebody else's curve."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import console
import numerics
from analytic import Convention

from ..overlay import NAME, convert, settled
from .problem import convention_of
from .sample import Sample, draw
from .theory import Prediction

Array = NDArray[Any]

FLOW_MARGIN = 1.5  # beyond the predicted end
DETOUR_MARGIN = 30.0  # heads that turn are late for what they gave up
CONVERGED = 1e-9  # of L(M_0) above the last plateau
RECORDS = 4000
MOST_RECORDED = 5e7  # numbers
DIVERGED = 2.0  # times the initial loss, beyond which a diverging run is not read


@dataclass(frozen=True, eq=False)
class Measured:
    """A loss curve in our units beside the predicted path.

    `heights` and `drop_times` belong to the path's fixed points: NaN and inf where not reached.
    With `sample` these are the fixed points of the sequences that the run was trained on.
    """

    name: str
    t: Array
    loss: Array
    heights: Array
    drop_times: Array
    facts: dict[str, Any]
    sample: Sample | None = None


def _measure(
    name: str, prediction: Prediction, t: Array, loss: Array, facts: dict[str, Any],
    loss_rate: Array | None = None, sample: Sample | None = None,
) -> Measured:  # fmt: skip
    """Read a curve: drops midway between the path's losses, plateaus where it is flattest.

    A curve without its rate may be noisy: there a plateau is the median between two drops.
    """
    population = np.array([visit.loss for visit in prediction.visits])
    path = population if sample is None else sample.plateaus
    drops = numerics.drop_times(t, loss, path, loss_rate=loss_rate)
    edges = np.concatenate([[t[0]], drops, [t[-1]]])
    heights = np.full(len(path), np.nan)
    for m, (start, end) in enumerate(itertools.pairwise(edges)):
        inside = np.flatnonzero((t >= start) & (t <= end))
        if not len(inside):
            continue
        if loss_rate is not None:
            heights[m] = loss[inside[loss_rate[inside].argmin()]]
            continue
        # The middle half; where the run ends, and still settles, the last tenth.
        quarter = len(inside) // 4
        middle = inside[quarter : len(inside) - quarter]
        heights[m] = settled(loss[inside]) if end >= t[-1] else np.median(loss[middle])
    return Measured(name, t, loss, heights, drops, facts, sample)


def run_flow(prediction: Prediction) -> Measured:
    """Integrate the full gradient flow from the predicted run's initial weights."""
    console.progress("integrating the gradient flow …")
    moments = numerics.population_moments(prediction.task)
    run = numerics.gradient_flow(
        prediction.model,
        moments,
        prediction.initial,
        _duration(prediction),
        tau=prediction.tau,
        until_loss=prediction.visits[-1].loss + CONVERGED * prediction.visits[0].loss,
    )
    # A drop is what stands out by a factor of 5 in the rate: a head that turns is a weak one.
    found = numerics.find_plateaus(run, contrast=5.0)
    facts = {
        "status": run.status,
        "final_loss": float(run.loss[-1]),
        "drops_found_unaided": found.drops.tolist(),
        "plateaus_found_unaided": found.heights.tolist(),
        "invariant_drift": float(run.invariant_drift.max()),
        "energy_gap": float(np.abs(run.energy_gap).max()),
    }
    return _measure("gradient flow", prediction, run.t, run.loss, facts, run.loss_rate)


def _duration(prediction: Prediction) -> float:
    detour = any(visit.rotates for visit in prediction.visits)
    if prediction.cascade is None:
        # [L]: mode m takes τ/(growth v_0); the largest of H weights is of the order of their scale.
        scale = float(np.sqrt(np.mean(prediction.initial**2)))
        end = 20.0 * prediction.tau / (prediction.growth[prediction.count - 1] * scale)
    else:
        end = float(prediction.cascade.t[-1])
    return (DETOUR_MARGIN if detour else FLOW_MARGIN) * end


def run_descent(prediction: Prediction, options: argparse.Namespace) -> Measured:
    """Train by gradient descent, on sampled sequences or on the population."""
    steps, rate, count = options.gradient_descent, options.learning_rate, options.sequences
    facts: dict[str, Any] = {"steps": steps, "learning_rate": rate, "sequences": count}
    if count:
        console.progress(f"drawing {count} sequences …")
        sample = draw(prediction, count, [options.seed, 1])
        moments: Any = sample.moments
        facts["minimum_loss_of_sample"] = sample.minimum
        facts["sample_plateau_losses"] = sample.plateaus.tolist()
        facts["sample_standard_errors"] = sample.errors.tolist()
    else:
        sample, moments = None, numerics.population_moments(prediction.task)
    console.progress(f"{steps} steps of gradient descent …")
    run = numerics.gradient_descent(
        numerics.AttentionSystem(prediction.model, moments),
        prediction.initial,
        steps,
        rate,
        every=max(1, int(steps / min(RECORDS, MOST_RECORDED / prediction.initial.size))),
    )
    convention = Convention(tau=prediction.tau)
    time, loss = convention.flow_time(run.t, rate), run.loss
    slope = run.loss_rate / convention.flow_time(1, rate)
    facts |= {"status": run.status, "final_loss": float(loss[-1])}
    sane = np.flatnonzero(loss <= DIVERGED * loss[0]) if np.isfinite(loss[0]) else np.arange(0)
    if run.status != "finished" or not loss[-1] <= DIVERGED * loss[0]:
        # What comes after has neither plateaus nor drops, and would fill the picture.
        facts["status"] = run.status.removeprefix("stopped: ").replace(
            "finished", f"diverging after step {int(run.t[-1])}"
        )
        facts["final_loss"] = None
        kept = slice(0, sane[-1] + 1 if len(sane) else 1)
        time, loss, slope = time[kept], loss[kept], slope[kept]
        if len(time) < 2:
            count = len(prediction.visits)
            heights, drops = np.full(count, np.nan), np.full(count - 1, np.inf)
            return Measured("gradient descent", time, loss, heights, drops, facts, sample)
    return _measure("gradient descent", prediction, time, loss, facts, slope, sample)


def convert_overlay(
    prediction: Prediction, options: argparse.Namespace, curve: tuple[Array, Array]
) -> Measured:
    """Somebody's steps and losses in our units, beside the predicted path."""
    convention = convention_of(options)
    ours = convert(convention, options.lr, curve)
    facts = ours.facts | {"weights_factor": float(convention.weights(1.0))}
    return _measure(NAME, prediction, ours.t, ours.loss, facts)


def distance(measured: Measured, t: Array, loss: Array) -> float:
    """Root mean square difference from our curve (t, loss), at the rows of theirs."""
    ours = np.interp(measured.t, t, loss)
    return float(np.sqrt(np.mean((measured.loss - ours) ** 2)))

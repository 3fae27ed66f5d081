"""Running the thing: gradient flow, gradient descent, and somebody else's curve."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from typing import Any

import console
import numpy as np
from numpy.typing import NDArray

import numerics
from analytic import Convention

from .theory import Prediction

Array = NDArray[Any]

FLOW_MARGIN = 1.5  # beyond the predicted end
DETOUR_MARGIN = 30.0  # heads that turn are late for what they gave up
CONVERGED = 1e-9  # of L(M_0) above the last plateau
RECORDS = 4000


@dataclass(frozen=True, eq=False)
class Measured:
    """A loss curve in our units beside the predicted path.

    `heights` and `drop_times` belong to the path's fixed points: NaN and inf where not reached.
    """

    name: str
    t: Array
    loss: Array
    heights: Array
    drop_times: Array
    facts: dict[str, Any]


def _measure(
    name: str, prediction: Prediction, t: Array, loss: Array, facts: dict[str, Any],
    loss_rate: Array | None = None,
) -> Measured:  # fmt: skip
    """Read a curve: drops midway between the path's losses, plateaus where it is flattest.

    A curve without its rate may be noisy: there a plateau is the median between two drops.
    """
    path = np.array([visit.loss for visit in prediction.visits])
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
        quarter, tenth = len(inside) // 4, len(inside) // 10
        part = inside[-tenth - 1 :] if end >= t[-1] else inside[quarter : len(inside) - quarter]
        heights[m] = np.median(loss[part])
    return Measured(name, t, loss, heights, drops, facts)


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
        moments: Any = numerics.sample_moments(prediction.task, count, rng=[options.seed, 1])
        best = numerics.minimiser(moments)
        facts["minimum_loss_of_sample"] = float(numerics.matrix_loss(moments, best))
    else:
        moments = numerics.population_moments(prediction.task)
    console.progress(f"{steps} steps of gradient descent …")
    run = numerics.gradient_descent(
        numerics.AttentionSystem(prediction.model, moments),
        prediction.initial,
        steps,
        rate,
        every=max(1, steps // RECORDS),
    )
    time = Convention(tau=prediction.tau).flow_time(run.t, rate)
    facts |= {"status": run.status, "final_loss": float(run.loss[-1])}
    return _measure("gradient descent", prediction, time, run.loss, facts)


def convert_overlay(
    prediction: Prediction, options: argparse.Namespace, curve: tuple[Array, Array]
) -> Measured:
    """Somebody's steps and losses in our units, beside the predicted path."""
    steps, reported = curve
    convention = Convention(
        loss_factor=options.loss_factor or 1.0,
        context_scale=options.context_length if options.no_context_scale else 1.0,
        factors=3,
        tau=prediction.tau,
    )
    t = convention.flow_time(steps, options.lr)
    loss = convention.loss(reported)
    facts = {
        "time_per_step": float(convention.flow_time(1, options.lr)),
        "weights_factor": float(convention.weights(1.0)),
        "final_loss": float(loss[-1]),
    }
    return _measure("your run", prediction, t, loss, facts)


def distance(measured: Measured, t: Array, loss: Array) -> float:
    """Root mean square difference from our curve (t, loss), at the rows of theirs."""
    ours = np.interp(measured.t, t, loss)
    return float(np.sqrt(np.mean((measured.loss - ours) ** 2)))

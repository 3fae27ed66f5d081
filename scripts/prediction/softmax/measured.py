"""A user's run of softmax heads, beside the losses that are predicted for its end."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import console
from analytic import Convention
from results import number

from ..overlay import NAME, Curve, convert, settled, start_note
from .theory import Prediction, best_losses, together

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Level:
    """A predicted loss, summed over tasks: its key in JSON, its name, and its value."""

    key: str
    name: str
    loss: float


@dataclass(frozen=True, eq=False)
class Compared:
    """A curve in our units and [S]'s time, beside what it is held against.

    `end` is the median of the curve's last tenth, `before` the loss when nothing is learned.
    """

    curve: Curve
    end: float
    before: float
    levels: tuple[Level, ...]


def levels(prediction: Prediction) -> tuple[Level, ...]:
    """What a run may end at; with fewer heads than tasks, no limit is known."""
    heads, limit = prediction.tasks.heads, prediction.limit
    bound = Level(
        "lower_bound", f"lower bound, H = {heads}", float(prediction.bound_losses.sum())
    )  # fmt: skip
    if limit is None:
        single = Level(
            "single_head_optimum", "best single head", float(prediction.single_losses.sum())
        )
        return (single, bound)
    return (
        Level("flow_limit", "limit of the flow", float(limit.losses.sum())),
        Level("exact_optimum", "best heads, exact", together(best_losses(limit.optima)).value),
        bound,
    )


def convention_of(options: argparse.Namespace) -> Convention:
    """How a user's run of softmax heads relates to [S]'s flow dθ/dt = −∂ℓ/∂θ, which has τ = ½."""
    return Convention(loss_factor=options.loss_factor or 1.0, tau=0.5)


def compare(
    prediction: Prediction, options: argparse.Namespace, curve: tuple[Array, Array]
) -> Compared:
    """The user's steps and losses in our units, t = η f n and loss/f, and where they end."""
    ours = convert(convention_of(options), options.lr, curve)
    before = float(prediction.tasks.energy.sum())
    return Compared(ours, settled(ours.loss), before, levels(prediction))


def _off(run: Compared, level: Level) -> float:
    """Relative distance of the end from a level."""
    return run.end / level.loss - 1


def text(run: Compared) -> str:
    """A table of the levels, the last loss, and whether the start is that of this loss."""
    facts = run.curve.facts
    width = max(len(level.name) for level in run.levels)
    lines = [
        f"\n{NAME}, beside the prediction: its last tenth lies at {number(run.end)} (median)",
        console.paint(f"{'':<{width}}  {'loss':>8}  {NAME}", "1"),
        *(f"{level.name:<{width}}  {number(level.loss):>8}  {100 * _off(run, level):+.3g} %"
          for level in run.levels),
        f"final loss {number(facts['final_loss'])}, at t = {number(float(run.curve.t[-1]), 4)}; "
        f"a step lasts {number(facts['time_per_step'], 4)}",
    ]  # fmt: skip
    start, shown = float(run.curve.loss[0]), number(run.before)
    return "\n".join([*lines, *start_note(start, run.before, shown, facts["loss_factor"])])


def as_json(run: Compared) -> dict[str, Any]:
    """The facts, and the end beside each level."""
    return run.curve.facts | {
        "last_time": float(run.curve.t[-1]),
        "settled_loss": run.end,
        "relative_differences": {level.key: _off(run, level) for level in run.levels},
    }


def half_time(run: Compared) -> float:
    """When the curve has first fallen halfway from its start to its end."""
    below = np.flatnonzero(run.curve.loss <= (run.curve.loss[0] + run.end) / 2)
    return float(run.curve.t[below[0]]) if len(below) else float(run.curve.t[-1])

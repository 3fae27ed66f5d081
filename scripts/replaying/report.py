"""What a replay found: lines for the terminal, a curve as CSV, all numbers as JSON."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import numerics
from analytic import Convention
from results import json_text, note

from .compare import TOLERANCE, Comparison
from .engine import Replay
from .inputs import Run
from .theory import Plateaus

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Result:
    """Everything there is to tell."""

    run: Run
    attention: str
    steps: int
    replay: Replay
    plateaus: Plateaus
    comparison: Comparison | None

    @property
    def kind(self) -> str:
        """One of the five kinds of layer."""
        if self.run.design == "network":
            return "two-layer network"
        return f"{self.run.design} {self.attention}"

    @property
    def loss(self) -> Array:
        """Our loss before each of the updates asked for, as far as it is finite."""
        return self.replay.loss[: self.steps]

    @property
    def convention(self) -> Convention | None:
        """From their steps to flow time, where there is an N."""
        length = self.run.context_length
        if length is None:
            return None
        factors = len(self.run.weights)
        return Convention(loss_factor=1.0, context_scale=float(length), factors=factors)

    @property
    def drops(self) -> list[float]:
        """The step at which our loss passes midway between plateaus, inf for never."""
        if len(self.plateaus.losses) < 2:
            return []
        t = np.arange(len(self.loss))
        return numerics.drop_times(t, self.loss, self.plateaus.losses).tolist()

    @property
    def heights(self) -> list[float]:
        """Our loss where it is flattest near each plateau, NaN where it is not reached."""
        drops = [d for d in self.drops if d < math.inf]
        edges = [0, *(math.ceil(d) for d in drops), len(self.loss)]
        slopes = np.abs(np.diff(self.loss, append=self.loss[-1:]))
        if len(slopes) > 1:
            slopes[-1] = slopes[-2]
        heights = np.full(len(self.plateaus.losses), np.nan)
        for m in range(min(len(heights), len(edges) - 1)):
            start, stop = edges[m], edges[m + 1]
            if m == len(heights) - 1:
                heights[m] = self.loss[-1]
            elif stop > start:
                heights[m] = self.loss[start + int(slopes[start:stop].argmin())]
        return [float(h) for h in heights]


def lines(result: Result) -> list[str]:
    """The report for the terminal."""
    run, replay = result.run, result.replay
    rank = f" of rank {run.rank}" if run.rank else ""
    length = "" if run.context_length is None else f", N = {run.context_length}"
    units = "hidden units" if run.design == "network" else f"heads{rank}"
    text = [
        f"{result.kind}: {run.heads} {units}, D = {run.dimension}{length}, P = {len(run.sample)}, "
        f"rate {run.rate:g}",
        f"{len(result.loss)} steps in {replay.seconds:.3g} s "
        f"({replay.seconds_moments:.2g} s of it to prepare), from the sample's {replay.source}",
    ]
    if run.stored_as != "float64":
        text.append(note(f"the file holds {run.stored_as}; computed in float64, so a run made in "
                          f"{run.stored_as} differs by its own rounding"))  # fmt: skip
    if replay.status != "finished":
        text.append(note(replay.status + "; the curve up to there is kept"))
    return [*text, *_agreement(result), "", *_table(result)]


def _agreement(result: Result) -> list[str]:
    found = result.comparison
    if found is None:
        return ["the file has no loss to compare with"]
    text = []
    if found.shift:
        late = "its entry i is the loss after update i, not before; compared accordingly"
        text.append(note(f"the given loss is offset by one: {late}"))
    if not len(found.steps):
        return [*text, "no step at which both losses are finite"]
    text.append(f"largest |given − replayed| {found.max_abs:.3g} over {len(found.steps)} steps")
    if found.first_exceeding is not None:
        text.append(f"beyond {TOLERANCE:g} from step {found.first_exceeding} on")
    return text


def _table(result: Result) -> list[str]:
    predicted = result.plateaus
    if not predicted.losses:
        return [f"plateaus: {predicted.note}"]
    rows = [f"{'modes':>5}  {'plateau':>11}  {'replay':>11}  {'off by':>8}  {'drop at step':>12}"]
    drops = [math.nan, *result.drops]
    measured = zip(predicted.modes, predicted.losses, result.heights, drops, strict=True)
    for modes, loss, height, drop in measured:
        off = "–" if math.isnan(height) or not loss else f"{100 * (height / loss - 1):+.2g} %"
        seen = "–" if math.isnan(height) else f"{height:.6g}"
        when = "" if math.isnan(drop) else "not reached" if math.isinf(drop) else f"{drop:.0f}"
        rows.append(f"{modes:>5}  {loss:>11.6g}  {seen:>11}  {off:>8}  {when:>12}")
    if predicted.floor is not None:
        rows.append("least loss of the whole layer here, with the blocks on labels that the theory "
                    f"leaves out: {predicted.floor:.6g}")  # fmt: skip
    return [f"plateaus: {predicted.note}", *rows]


def to_csv(result: Result) -> str:
    """Columns step, loss and, where a loss was given, given_loss and difference."""
    found = result.comparison
    theirs = {} if found is None else dict(
        zip(found.steps.tolist(), zip(found.given.tolist(), found.difference.tolist(), strict=True),
            strict=True))  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss"] + ["given_loss", "difference"] * (found is not None))
    for step, loss in enumerate(result.loss.tolist()):
        writer.writerow([step, repr(loss), *(repr(v) for v in theirs.get(step, ()))])
    return text.getvalue()


def to_json(result: Result) -> str:
    """Every number, as JSON text; what is not finite is null."""
    run, replay = result.run, result.replay
    convention = result.convention
    content = {
        "kind": result.kind,
        "steps": len(result.loss),
        "steps_asked_for": result.steps,
        "status": replay.status,
        "diverged_at_step": replay.diverged_at,
        **_compared(result.comparison),
        "seconds": replay.seconds,
        "seconds_moments": replay.seconds_moments,
        "computed_from": replay.source,
        "speed": len(replay.loss) / replay.seconds,
        "initial_loss": float(result.loss[0]),
        "final_loss": float(result.loss[-1]),
        "plateau_losses": result.plateaus.losses,
        "plateau_modes": result.plateaus.modes,
        "plateau_losses_of_formula": result.plateaus.formula,
        "plateau_note": result.plateaus.note,
        "least_loss_of_whole_layer": result.plateaus.floor,
        "replayed_plateau_losses": result.heights,
        "drop_steps": result.drops,
        "heads": run.heads,
        "rank": run.rank,
        "dimension": run.dimension,
        "context_length": run.context_length,
        "sequences": len(run.sample),
        "lr": run.rate,
        "flow_time_per_step": convention.flow_time(1, run.rate) if convention else None,
        "stored_as": run.stored_as,
        "computed_in": "float64",
        "conventions": {
            "loss": "mean square, no factor 1/2; entry i is the loss before update i",
            "attention": "sums over all N+1 tokens, no 1/N",
            "speed": "steps per second, reading the sample included",
            "flow_time": "tau = 1, attention with 1/N, tau dW/dt = -1/2 dL/dW",
        },
    }
    return json_text(content)


def _compared(found: Comparison | None) -> dict[str, Any]:
    """How far their loss is from ours; None where there is nothing to compare."""
    some = found is not None and len(found.steps) > 0
    return {
        "max_abs_difference": found.max_abs if found and some else None,
        "max_relative_difference": found.max_relative if found and some else None,
        "compared_steps": len(found.steps) if found else 0,
        "first_step_exceeding": found.first_exceeding if found and some else None,
        "tolerance": TOLERANCE,
        "given_loss_is_offset_by": found.shift if found else None,
    }

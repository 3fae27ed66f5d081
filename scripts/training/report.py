"""What a run showed: lines for the terminal, a curve as CSV, all numbers as JSON."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

import numerics
from results import json_text, note, number, table

from .engine import Plan
from .measured import TEST, Measured

Array = NDArray[Any]

NOT_SMALL = 0.05  # of the first plateau, beside the error of sampling


@dataclass(frozen=True, eq=False)
class Result:
    """A run that is over, how long it took, and what it shows of the plateaus."""

    plan: Plan
    run: numerics.TrainingRun
    seconds: float
    measured: Measured

    @property
    def held_out(self) -> Array:
        """Losses on fresh sequences."""
        return self.run.tests[TEST]

    @property
    def diverged_at(self) -> int | None:
        """The update before which the loss overflowed."""
        if self.run.status == "finished":
            return None
        return int(self.run.status.split("before update ")[1].split()[0])


def headline(plan: Plan) -> list[str]:
    """What is trained, on what and how."""
    given, layer = plan.settings, plan.layer
    rank = f" of rank {layer.rank}" if layer.rank else ""
    lengths = " or ".join(str(n) for n in given["context_length"])
    whole = f"a sample of {given['sequences']} sequences"
    if given["batch"] is None:
        seen = f"{whole}, " + ("through its moments" if plan.on_moments else "in full")
    elif given["sequences"] is None:
        seen = f"{given['batch']} fresh sequences in each step"
    else:
        seen = f"batches of {given['batch']} from {whole}"
    schedule = given["schedule"] + (
        f", {given['warmup']} steps of warm-up" if given["warmup"] else ""
    )
    tokens = "Gaussian tokens" if given["tokens"] is None else f"{len(plan.task.tokens)} tokens"  # type: ignore[union-attr]
    return [
        f"{given['design']} {layer.attention} attention: {layer.heads} "
        f"head{'s' * (layer.heads > 1)}{rank}, D = {layer.dimension}, N = {lengths} context pairs, "
        f"label noise {given['noise']:g}",
        f"{tokens}; initial weights N(0, {given['init']:g}²), seed {given['seed']}; {seen}",
        f"{given['steps']} steps of {given['optimiser']}, rate {given['learning_rate']:g} "
        f"({schedule})",
    ]


def lines(result: Result) -> list[str]:
    """The report after the run."""
    run, given = result.run, result.plan.settings
    if not len(run.step):
        return [note(run.status)]
    text = [
        f"step {run.step[-1]} reached in {result.seconds:.3g} s; {result.plan.trained_on} loss "
        f"{number(float(run.loss[-1]))}, held out {number(float(result.held_out[-1]))} "
        f"({given['held_out']} sequences)"
    ]
    if result.diverged_at is not None:
        text.append(note(run.status + "; the curve up to there is kept"))
    text += ["", f"plateaus: {result.plan.theory.note}"]
    if result.plan.theory.losses:
        text.append(_table(result))
        first = result.plan.theory.losses[0]
        if (
            abs(float(result.held_out[0]) / first - 1)
            > NOT_SMALL + result.measured.errors[0] / first
        ):
            text.append(note("the initial weights are not small, as the plateaus suppose; "
                             "see --init"))  # fmt: skip
        if given["optimiser"] == "adam":
            text.append(note("these are fixed points of any optimiser, but Adam, whose steps do "
                             "not shrink with the gradient, need not pause at them"))  # fmt: skip
    return text


def _table(result: Result) -> str:
    predicted, found = result.plan.theory, result.measured
    head = ["modes", "plateau", result.plan.trained_on, TEST, "off by", "± sampling",
            "drop at step"]  # fmt: skip
    drops = [math.nan, *found.drops]
    rows = []
    for m, (modes, loss) in enumerate(zip(predicted.modes, predicted.losses, strict=True)):
        own, fresh, drop = found.own[m], found.held_out[m], drops[m]
        known = not math.isnan(fresh) and loss > 0
        off = f"{100 * (fresh / loss - 1):+.2g} %" if known else "–"
        error = f"{100 * found.errors[m] / loss:.2g} %" if known else "–"
        when = "–" if math.isnan(drop) else "not reached" if math.isinf(drop) else f"{drop:.0f}"
        rows.append([str(modes), number(loss), number(own), number(fresh), off, error, when])
    return table(head, rows)


def to_csv(result: Result) -> str:
    """Columns step, time (in units of τ), loss and held_out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "time", "loss", "held_out"])
    run = result.run
    for row in zip(run.step, run.time, run.loss, result.held_out, strict=True):
        writer.writerow([int(row[0]), *(repr(float(value)) for value in row[1:])])
    return text.getvalue()


def begun(plan: Plan, status: str, seconds: float) -> str:
    """The JSON of a run that is not over: what tells it from others."""
    return json_text({"settings": plan.settings, "status": status, "seconds": seconds})


def to_json(result: Result) -> str:
    """Every number, as JSON text; what is not finite is null."""
    plan, run = result.plan, result.run
    some = len(run.step) > 0
    return json_text({
        "settings": plan.settings,
        "status": "finished" if result.diverged_at is None else "diverged",
        "diverged_at_step": result.diverged_at,
        "steps": int(run.step[-1]) if some else 0,
        "flow_time": float(run.time[-1]) if some else 0.0,
        "seconds": result.seconds,
        "computed_from": "moments" if plan.on_moments else "sequences",
        "loss_is_of": plan.trained_on,
        "initial_loss": float(run.loss[0]) if some else None,
        "final_loss": float(run.loss[-1]) if some else None,
        "initial_held_out_loss": float(result.held_out[0]) if some else None,
        "final_held_out_loss": float(result.held_out[-1]) if some else None,
        "plateau_modes": plan.theory.modes,
        "plateau_losses": plan.theory.losses,
        "plateau_note": plan.theory.note,
        "measured_plateau_losses": result.measured.own,
        "measured_held_out_plateau_losses": result.measured.held_out,
        "held_out_standard_errors": result.measured.errors,
        "drop_steps": result.measured.drops,
        "weights": {name: list(shape) for name, shape in plan.layer.shapes.items()},
        "conventions": {
            "loss": "E(y_hat - y_q)^2, no factor 1/2; before the update of the step",
            "attention": "linear divided by N, the number of context pairs",
            "flow_time": "tau = 1, tau dW/dt = -1/2 dL/dW; a step of rate eta lasts 2 eta",
            "weights": "record_states of run.npz holds them flat, in this order",
        },
    })  # fmt: skip

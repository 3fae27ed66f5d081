"""The prediction as a table for people and as JSON for programs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from results import json_text, note, number, table

from ..overlay import NAME, start_note
from .measured import Measured
from .theory import Prediction, Visit


def headline(prediction: Prediction, options: argparse.Namespace) -> str:
    """What is predicted, in two lines."""
    model = prediction.model
    law = "Gaussian tokens" if prediction.gaussian else f"{len(prediction.task.tokens)} tokens"  # type: ignore[union-attr]
    heads = f"{model.heads} head{'s' * (model.heads > 1)} of rank {model.rank}"
    if options.initial is None:
        start = f"initial weights N(0, {options.init:g}²), seed {options.seed}"
    else:
        start = f"initial weights from {options.initial}"
    return (
        f"ATTN_S with {heads}, D = {model.dimension}, N = {options.context_length:g} context "
        f"pairs, label noise {options.noise:g}\n"
        f"{law}; {start}; loss E(ŷ − y_q)²; "
        + ("time in units of τ" if options.tau == 1 else f"time with τ = {options.tau:g}")
    )


def mode_table(prediction: Prediction) -> str:
    """One row for each mode in the order learned."""
    tasks = bool((prediction.task_eigenvalues != 1).any())
    head = ["mode", "eigenvalue", *(["task ω"] if tasks else []), "gain", "plateau after",
            "drop at", "index"]  # fmt: skip
    blank = ["–"] if tasks else []
    times = prediction.drop_times
    rows = [["–", "–", *blank, "–", number(float(prediction.plateaus[0])), "–", "0"]]
    for m in range(prediction.count):
        omega = [number(float(prediction.task_eigenvalues[m]))] if tasks else []
        rows.append([
            str(m + 1), number(float(prediction.eigenvalues[m])), *omega,
            number(float(prediction.gains[m])), number(float(prediction.plateaus[m + 1])),
            number(None if times is None else float(times[m])), str(prediction.stability[m + 1]),
        ])  # fmt: skip
    return table(head, rows)


def measured_table(prediction: Prediction, measured: Measured) -> str:
    """A run beside the path: plateaus and drop times, predicted and measured."""
    sample = measured.sample
    own = [] if sample is None else ["± sampling", "sample's own"]
    head = ["modes", "plateau", *own, "measured", "difference", "drop at", "measured",
            "difference"]  # fmt: skip
    path = expected_plateaus(prediction, measured)
    rows = []
    for m, visit in enumerate(prediction.visits):
        drop = float(measured.drop_times[m - 1]) if m else None
        if sample is not None:
            own = [number(float(sample.errors[m]), 2), number(path[m])]
        rows.append([
            visit.name, number(visit.loss), *own, number(float(measured.heights[m])),
            _percent(path[m], float(measured.heights[m])),
            number(visit.drop_time), number(drop), _percent(visit.drop_time, drop),
        ])  # fmt: skip
    return table(head, rows)


def expected_plateaus(prediction: Prediction, measured: Measured) -> list[float]:
    """What the measured plateaus are held against: the sample's own, or the population's."""
    if measured.sample is not None:
        return [float(loss) for loss in measured.sample.plateaus]
    return [visit.loss for visit in prediction.visits]


def _relative(predicted: float | None, found: float | None) -> float | None:
    if predicted is None or found is None or not predicted:
        return None
    ratio = found / predicted - 1
    return ratio if math.isfinite(ratio) else None


def _percent(predicted: float | None, found: float | None) -> str:
    relative = _relative(predicted, found)
    if relative is None:
        return "–"
    return f"{100 * relative:+.2g} %"


def print_prediction(
    prediction: Prediction, options: argparse.Namespace, warnings: Sequence[str]
) -> None:
    """The table, the minimum, the path if it takes detours, and reservations."""
    print(headline(prediction, options), mode_table(prediction), sep="\n\n")
    print(f"\nminimum loss {number(float(prediction.all_plateaus[-1]))}")
    if not prediction.gaussian:
        worst = np.abs(prediction.gaussian_plateaus / prediction.all_plateaus - 1).max()
        print(f"the formula for Gaussian tokens would be off by up to {100 * worst:.2g} %")
    if any(visit.rotates for visit in prediction.visits):
        steps = [
            ("⇒ " if visit.rotates else "→ ") * (m > 0) + f"{visit.name} {visit.loss:.4g}"
            for m, visit in enumerate(prediction.visits)
        ]
        print("path, with ⇒ where a head turns: " + " ".join(steps))
    for warning in warnings:
        print(note(warning))


def print_measured(prediction: Prediction, measured: Measured, options: argparse.Namespace) -> None:
    """A run beside the prediction."""
    facts = measured.facts
    print(f"\n{measured.name}, beside the prediction")
    print(measured_table(prediction, measured))
    if measured.sample is not None:
        print(f"plateaus and drops are held against those of the {facts['sequences']} sequences "
              "drawn (sample's own); the plateaus and drop times before them are the population's, "
              "± the standard error of a sample")  # fmt: skip
    notes = [] if facts["final_loss"] is None else [f"final loss {number(facts['final_loss'])}"]
    if facts.get("status", "finished") != "finished":
        notes.append(str(facts["status"]))
    if "drops_found_unaided" in facts:
        notes.append(f"drops that stand out unaided: {len(facts['drops_found_unaided'])}")
    if "minimum_loss_of_sample" in facts:
        notes.append(f"minimum on these sequences {number(facts['minimum_loss_of_sample'])}")
    if "rms_distance" in facts:
        whose = facts["compared_with"]
        notes.append(f"root mean square distance from {whose} {number(facts['rms_distance'], 3)}")
    if (factor := facts.get("weights_factor", 1.0)) != 1.0:
        so = (f"those of {options.initial} count {factor:.4g} times" if options.initial else
              f"initial weights of s are --init {factor:.4g}·s")  # fmt: skip
        notes.append(f"your weights are {1 / factor:.3g} times ours, so {so}")
    print("; ".join(notes))
    if measured.name == NAME:
        before = float(prediction.plateaus[0])
        start = float(measured.loss[0])
        for line in start_note(start, before, number(before), facts["loss_factor"]):
            print(line)
        if options.initial is None:
            print(note("predicted drops are those of weights drawn here, with --init and --seed; "
                       "another draw may drop at several times these. --initial FILE starts from "
                       "yours"))  # fmt: skip


def to_json(
    prediction: Prediction,
    options: argparse.Namespace,
    warnings: Sequence[str],
    measured: Sequence[Measured],
) -> str:
    """Everything, as JSON text; numbers that are not finite are null, N = inf is "inf"."""
    cascade, times = prediction.cascade, prediction.drop_times
    content = {
        "model": "ATTN_S",
        "conventions": {
            "loss": "E(y_hat - y_q)^2, no factor 1/2",
            "flow": "tau dW/dt = -1/2 dL/dW",
            "context_length": "context pairs, the query not counted",
            "modes": "from 0, in visit order: falling growth lambda^2 omega",
        },
        "settings": _settings(prediction, options),
        "gaussian": prediction.gaussian,
        "commuting": prediction.commuting,
        "visit_order": prediction.order.tolist(),
        "eigenvalues": prediction.eigenvalues.tolist(),
        "task_eigenvalues": prediction.task_eigenvalues.tolist(),
        "growth": prediction.growth.tolist(),
        "gains": prediction.gains.tolist(),
        "plateau_losses": prediction.plateaus.tolist(),
        "gaussian_plateau_losses": prediction.gaussian_plateaus[: prediction.count + 1].tolist(),
        "minimum_loss": float(prediction.all_plateaus[-1]),
        "drop_times": None if times is None else times.tolist(),
        "learned_order": None if cascade is None else list(cascade.learned),
        "stability_index": prediction.stability,
        "path": [_visit(visit) for visit in prediction.visits],
        "warnings": list(warnings),
        "measured": {m.name.replace(" ", "_"): _measured(prediction, m) for m in measured},
    }
    return json_text(content)


def _settings(prediction: Prediction, options: argparse.Namespace) -> dict[str, Any]:
    given = {name: value for name, value in vars(options).items() if name not in ("plot", "json")}
    infinite = math.isinf(options.context_length)
    return given | {
        "context_length": "inf" if infinite else options.context_length,
        "heads": prediction.model.heads,
        "rank": prediction.model.rank,
        "modes": prediction.count,
    }


def _visit(visit: Visit) -> dict[str, Any]:
    return {
        "modes": list(visit.modes),
        "loss": visit.loss,
        "stability_index": visit.index,
        "reached_by": "turning" if visit.rotates else "learning" if visit.modes else "start",
        "drop_time": visit.drop_time,
    }


def _measured(prediction: Prediction, measured: Measured) -> dict[str, Any]:
    path, expected = prediction.visits, expected_plateaus(prediction, measured)
    whose = "population" if measured.sample is None else "sample"
    return measured.facts | {
        "plateau_losses": measured.heights.tolist(),
        "plateau_relative_differences": [
            _relative(loss, float(h)) for loss, h in zip(expected, measured.heights, strict=True)
        ],
        "plateaus_compared_with": whose,
        "drop_times": measured.drop_times.tolist(),
        "drop_time_relative_differences": [
            _relative(visit.drop_time, float(t))
            for visit, t in zip(path[1:], measured.drop_times, strict=True)
        ],
    }

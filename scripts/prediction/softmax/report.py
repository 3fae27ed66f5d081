"""The softmax prediction as tables for people and as JSON for programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import console
from results import json_text, note, number, table

from .measured import Compared, as_json
from .phases import CLOSE, SHARE, Phases
from .theory import Limit, Prediction, best_losses, convergence_rates, together

LEADING = "leading order in 1/L, 1/d"


def print_prediction(
    prediction: Prediction, phases: list[Phases] | None, warnings: Sequence[str]
) -> None:
    """All tables, and reservations."""
    parts = [headline(prediction), loss_table(prediction)]
    if prediction.limit is not None:
        parts.append(limit_table(prediction, prediction.limit))
    parts.append(bound_table(prediction))
    if phases is not None:
        parts.append(phase_table(prediction, phases))
    print(*parts, sep="\n\n")
    for warning in warnings:
        print(note(warning))


def headline(prediction: Prediction) -> str:
    """What is predicted, in two lines."""
    tasks = prediction.tasks
    return (
        f"softmax attention, {_plural(tasks.heads, 'head')}, {_plural(tasks.count, 'task')}, "
        f"d = {sum(tasks.dims)}, L = {prediction.length} context pairs, label noise "
        f"{tasks.noise:g}\nloss Σ_i E(ŷ_i − g_iᵀq)², before learning "
        f"{number(float(tasks.energy.sum()))}"
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def loss_table(prediction: Prediction) -> str:
    """Every loss summed over tasks, what it is, and what the formula leaves out."""
    heads, noise = prediction.tasks.heads, prediction.tasks.noise
    rows: list[tuple[str, str, str]] = [("limit of the flow", "–", "see the note")]
    if (limit := prediction.limit) is not None:
        formula = float(limit.losses.sum())
        exact, best = together(limit.exact), together(best_losses(limit.optima))
        rows = [
            ("limit of the flow", number(formula), f"{LEADING}: {_percent(formula, exact.value)} "
             "off at this (d, L)"),
            ("the same weights", number(exact.value), f"exact, ± {exact.error:.0e}"),
            ("best head for each task", number(best.value), f"exact, ± {best.error:.0e}: "
             f"{_percent(best.value, exact.value)} from the limit's weights"),
        ]  # fmt: skip
    rows += [
        ("best single head", number(float(prediction.single_losses.sum())), LEADING),
        (f"lower bound for {_plural(heads, 'head')}", number(float(prediction.bound_losses.sum())),
         f"{LEADING}{_reach(prediction)}"),
        ("Bayes risk", number(float(prediction.bayes.sum())),
         "proportional limit, d_i and L large" if noise else "exact"),
    ]  # fmt: skip
    if (other := prediction.generalisation) is not None:
        tested, optimum = together(other.exact), together(other.exact_optimum)
        formula = float(other.formula.sum())
        rows += [
            (f"the limit at L' = {other.length}", number(formula),
             f"{LEADING}: {_percent(formula, tested.value)} off"),
            ("the same weights", number(tested.value), f"exact, ± {tested.error:.0e}"),
            (f"the best heads at L' = {other.length}", number(optimum.value),
             f"exact, ± {optimum.error:.0e}"),
            (f"Bayes risk at L' = {other.length}", number(float(other.bayes.sum())), ""),
        ]  # fmt: skip
    return _left(("", "loss", "what it is"), rows)


def _percent(value: float, other: float) -> str:
    return f"{100 * (value / other - 1):+.3g} %"


def _reach(prediction: Prediction) -> str:
    """What is known of the bound."""
    if prediction.tasks.heads == 1:
        return "; attained"
    return "; for any heads, not attained"


def _left(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose last column is text, and whose first is as well."""
    first, second = (max(len(row[i]) for row in [head, *rows]) for i in (0, 1))
    lines = [f"{a:<{first}}  {b:>{second}}  {c}".rstrip() for a, b, c in [head, *rows]]
    return "\n".join([console.paint(lines[0], "1"), *lines[1:]])


def limit_table(prediction: Prediction, limit: Limit) -> str:
    """One row for each kind of task: the limit, exact there, and the exact optimum."""
    tasks = prediction.tasks
    head = ["task", "d", "λ", "ω", "μ", "loss", "exact", "best ‖ω‖²", "ω", "μ", "loss", "±"]
    rows = []
    for name, i in kinds(prediction):
        best = limit.optima[i]
        numbers = [limit.omega[i], limit.mu[i], limit.losses[i], limit.exact[i].value,
                   best.squared_norm, best.omega_bar, best.mu, best.loss]  # fmt: skip
        rows.append([name, str(tasks.dims[i]), f"{tasks.signal[i]:g}", *map(_short, numbers),
                     f"{best.loss_error:.0e}"])  # fmt: skip
    title = "one head for each task, ω on each of its d coordinates: limit (‖ω‖² = 1), exact best"
    return f"{title}\n{table(head, rows)}"


def bound_table(prediction: Prediction) -> str:
    """One row for each kind of task: the single head's weights, its allocation, and the bounds."""
    tasks, single = prediction.tasks, prediction.single
    head = ["task", "d", "λ", "d ω²", "ω", "μ", "ν", "loss", "ν of bound", "bound", "Bayes"]
    rows = []
    for name, i in kinds(prediction):
        numbers = [
            single.squared_weights[i], single.omega_bar[i], single.mu[i],
            prediction.single_allocation[i], prediction.single_losses[i],
            prediction.bound_allocation[i], prediction.bound_losses[i], prediction.bayes[i],
        ]  # fmt: skip
        rows.append([name, str(tasks.dims[i]), f"{tasks.signal[i]:g}", *map(_short, numbers)])
    title = "one head for all tasks (water-filling: Σν = 1/e), and what bounds H heads"
    return f"{title}\n{table(head, rows)}"


def kinds(prediction: Prediction) -> list[tuple[str, int]]:
    """The numbers (from 1) of tasks that are equal, in short, and the index of the first."""
    groups: dict[tuple[int, float], list[int]] = {}
    for i, kind in enumerate(zip(prediction.tasks.dims, prediction.tasks.signal, strict=True)):
        groups.setdefault(kind, []).append(i)
    return [(_ranges(group), group[0]) for group in groups.values()]


def _ranges(indices: list[int]) -> str:
    """1–3,5 for 0, 1, 2, 4."""
    runs: list[list[int]] = []
    for i in indices:
        if runs and runs[-1][1] == i:
            runs[-1][1] = i + 1
        else:
            runs.append([i + 1, i + 1])
    parts = [f"{a}" if a == b else f"{a}–{b}" for a, b in runs]
    return ",".join(parts) if len(parts) <= 4 else ",".join([*parts[:3], "…"])


def _short(value: Any) -> str:
    return number(float(value), 4)


def phase_table(prediction: Prediction, phases: list[Phases]) -> str:
    """How long the phases last, for each kind of task."""
    head = ["task", "warm-up ends", "at ω", "μ", "(blow-up)", "emergence takes", "then |1 − dω²|"]
    rates = convergence_rates(prediction.tasks, prediction.length)
    rows = []
    for name, i in kinds(prediction):
        p = phases[i]
        values = (p.warmup_time, p.warmup_omega, p.warmup_mu, p.blow_up_time, p.emergence_time)
        rows.append([name, *(number(x, 4) for x in values), f"~ e^(−{rates[i]:.4g} t)"])
    note = (
        "phases, leading order, in the time of dθ/dt = −∂ℓ/∂θ: warm-up until it neglects "
        f"{SHARE:g} of dω/dt,\nemergence until dω² = {1 - CLOSE:g}, convergence"
    )
    return f"{note}\n{table(head, rows)}"


def to_json(
    prediction: Prediction,
    options: argparse.Namespace,
    phases: list[Phases] | None,
    warnings: Sequence[str],
    run: Compared | None = None,
) -> str:
    """Everything, as JSON text; what does not exist, or is not finite, is null."""
    limit, tasks = prediction.limit, prediction.tasks
    content = {
        "model": "multi-head softmax attention, multi-task regression",
        "conventions": {
            "loss": "sum over tasks of E(y_hat_i - g_i.q)^2, no factor 1/2, no query noise",
            "signal": "lambda per coordinate",
            "context_length": "context pairs, the query not counted",
            "flow": "dtheta/dt = -dl/dtheta on the individual weights",
            "formulas": "leading order in 1/L and 1/d, unless named exact",
        },
        "settings": {k: v for k, v in vars(options).items() if k not in ("plot", "json")},
        **_sums(prediction),
        "tasks": [_task(prediction, i) for i in range(tasks.count)],
        "stability": None if limit is None else {
            "unstable_directions": tasks.count * (tasks.heads - 1),
            "directions_per_task": tasks.heads - 1,
            "escape_rates": limit.escape_rates.tolist(),
        },
        "phases": None if phases is None else [vars(entry) for entry in phases],
        "generalisation": _generalisation(prediction),
        "warnings": list(warnings),
        "measured": {} if run is None else {"your_run": as_json(run)},
    }  # fmt: skip
    return json_text(content)


def _sums(prediction: Prediction) -> dict[str, Any]:
    limit = prediction.limit
    exact = None if limit is None else together(limit.exact)
    best = None if limit is None else together(best_losses(limit.optima))
    formula = None if limit is None else float(limit.losses.sum())
    return {
        "flow_limit_loss": formula,
        "flow_limit_missing": prediction.missing,
        "exact_flow_limit_loss": exact and exact.value,
        "exact_flow_limit_error": exact and exact.error,
        "exact_flow_limit_status": exact and exact.status,
        "formula_relative_error": exact and formula and formula / exact.value - 1,
        "exact_optimum_loss": best and best.value,
        "exact_optimum_error": best and best.error,
        "exact_optimum_status": best and best.status,
        "exact_optimum_squared_norm": limit and [x.squared_norm for x in limit.optima],
        "single_head_optimum_loss": float(prediction.single_losses.sum()),
        "lower_bound_loss": float(prediction.bound_losses.sum()),
        "bayes_risk_proportional_limit": float(prediction.bayes.sum()),
    }


def _task(prediction: Prediction, i: int) -> dict[str, Any]:
    tasks, limit, single = prediction.tasks, prediction.limit, prediction.single
    content: dict[str, Any] = {
        "block_dim": tasks.dims[i],
        "signal": float(tasks.signal[i]),
        "signal_energy": float(tasks.energy[i]),
        "noise_factor": 1 + tasks.noise**2 / float(tasks.energy[i]),
        "flow_limit": None,
        "exact_flow_limit": None,
        "exact_optimum": None,
        "single_head": {
            "loss": float(prediction.single_losses[i]),
            "squared_weight": float(single.squared_weights[i]),
            "omega": float(single.omega_bar[i]),
            "mu": float(single.mu[i]),
            "water_filling_allocation": float(prediction.single_allocation[i]),
        },
        "lower_bound": {
            "loss": float(prediction.bound_losses[i]),
            "water_filling_allocation": float(prediction.bound_allocation[i]),
        },
        "bayes_risk_proportional_limit": float(prediction.bayes[i]),
    }
    if limit is not None:
        content["flow_limit"] = {
            "loss": float(limit.losses[i]),
            "omega": float(limit.omega[i]),
            "mu": float(limit.mu[i]),
            "escape_rate": float(limit.escape_rates[i]),
            "convergence_rate": float(limit.convergence_rates[i]),
        }
        content["exact_flow_limit"] = _exact(limit.exact[i])
        content["exact_optimum"] = vars(limit.optima[i])
    return content


def _exact(loss: Any) -> dict[str, Any]:
    return {"loss": loss.value, "loss_error": loss.error, "status": loss.status}


def _generalisation(prediction: Prediction) -> dict[str, Any] | None:
    if (other := prediction.generalisation) is None:
        return None
    return {
        "test_length": other.length,
        "flow_limit_loss": float(other.formula.sum()),
        "exact_flow_limit": _exact(together(other.exact)),
        "exact_optimum": _exact(together(other.exact_optimum)),
        "bayes_risk_proportional_limit": float(other.bayes.sum()),
    }

"""The symbol of every argument of a closed form, by the name of the argument: one place for all.

The symbols are those of the papers and of `analytic.derivations`, name and assumptions alike, so
that an expression of `analytic.symbolic` may be subtracted from one of a derivation. N and L are
not declared integers: both may stand for 1/E[1/N]. Data only, and no SymPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

ASSUMPTIONS: dict[str, dict[str, bool]] = {
    "positive": {"positive": True},
    "nonnegative": {"nonnegative": True},
    "real": {"real": True},
    "count": {"integer": True, "positive": True},
    "natural": {"integer": True, "nonnegative": True},
}


class Entry(NamedTuple):
    """A symbol, or an array of them along the axes named."""

    name: str
    axes: tuple[str, ...] = ()
    sign: str = "positive"
    symmetric: bool = False


SIZES = {"dimension": 2, "heads": 2, "tasks": 2, "rank": 1, "lengths": 2}
"""What axes are as long as, where nothing is said."""

_MODES = ("dimension",)
_SQUARE = ("dimension", "dimension")
_TASKS = ("tasks",)

ENTRIES: dict[str, Entry] = {
    "allocation": Entry("nu", sign="nonnegative"),
    "beta": Entry("beta", _MODES, "real"),
    "block_dims": Entry("d"),
    "context_length": Entry("N"),
    "covariance": Entry("Lambda", _SQUARE, "real", symmetric=True),
    "curvature": Entry("curvature"),
    "degree": Entry("k", sign="natural"),
    "dimension": Entry("D", sign="count"),
    "eigenvalue": Entry("lambda"),
    "eigenvalues": Entry("lambda", _MODES),
    "eigenvectors": Entry("e", _SQUARE, "real"),
    "embedding_dim": Entry("d_e"),
    "fourth_moment": Entry("F", _SQUARE, "real", symmetric=True),
    "gain": Entry("m"),
    "gamma": Entry("gamma"),
    "growth": Entry("growth"),
    "initial_mu": Entry("mu0"),
    "initial_norm": Entry("w_init"),
    "initial_omega_bar": Entry("omegabar0"),
    "initial_value": Entry("v0"),
    "kappa": Entry("kappa", ("heads", "rank"), "real"),
    "lengths": Entry("N", ("lengths",)),
    "load": Entry("u"),
    "mu": Entry("mu"),
    "noise": Entry("sigma", sign="nonnegative"),
    "omega_bar": Entry("omegabar"),
    "overlap": Entry("b", sign="real"),
    "penalty": Entry("rho"),
    "probabilities": Entry("p", ("lengths",)),
    "query": Entry("x_q", _MODES, "real"),
    "second_moment": Entry("S", _SQUARE, "real", symmetric=True),
    "share": Entry("s"),
    "signal": Entry("lambda"),
    "snr": Entry("s"),
    "squared_norm": Entry("a", sign="real"),
    "t": Entry("t", sign="nonnegative"),
    "task_covariance": Entry("Omega", _SQUARE, "real", symmetric=True),
    "task_eigenvalue": Entry("omega"),
    "task_eigenvalues": Entry("omega", _MODES),
    "tau": Entry("tau"),
    "test_length": Entry("L_test"),
    "u": Entry("u", _MODES, "real"),
    "v": Entry("v"),
    "value": Entry("v"),
    "weights": Entry("M", _SQUARE, "real"),
}

SOFTMAX = {"context_length": Entry("L")}
"""What [S] calls by another name."""

PER_TASK = {"allocation", "block_dims", "mu", "omega", "omega_bar", "signal"}
"""What becomes a list over tasks where their number is given."""

_LISTED = {"block_dims": Entry("d", _TASKS), "signal": Entry("lambda", _TASKS)}
_HEADS = {
    "block_dims": Entry("d", _TASKS),
    "omega": Entry("omega", ("heads", "coordinates"), "positive"),
    "mu": Entry("mu", ("heads", "tasks"), "real"),
    "signal": Entry("lambda", _TASKS),
}

OF_FUNCTION: dict[str, Mapping[str, Entry]] = {
    "merged_zero_index": {"heads": Entry("H", sign="count")},
    "softmax.equiangular_budget": {"heads": Entry("H", sign="count")},
    "low_rank_velocity": {
        "v": Entry("v", ("heads",), "real"),
        "growth": Entry("growth", _MODES),
        "curvature": Entry("curvature", _MODES),
    },
    "softmax.limit_loss": _LISTED,
    "softmax.generalised_loss": _LISTED,
    "softmax.allocation_loss": {**_LISTED, "allocation": Entry("nu", _TASKS, "nonnegative")},
    "softmax.water_filling": _LISTED,
    "softmax.single_head_optimum": _LISTED,
    "softmax.allocated_loss": _LISTED,
    "softmax.separation": _LISTED,
    "softmax.separation_limit": _LISTED,
    "softmax.lower_bound": _LISTED,
    "softmax.optimality_ratio": _LISTED,
    "softmax.spectral_loss": _HEADS,
    "softmax.spectral_gradient": _HEADS,
    "softmax.first_order_loss": _HEADS,
    "softmax.linear_attention_loss": _HEADS,
    "softmax.hermite_response": {"omega": Entry("omega"), "query": Entry("q")},
}
"""Where a name stands for something else, or for a list of it."""


def _pairs(sizes: Mapping[str, int]) -> list[list[int]]:
    rank = sizes["rank"]
    return [[(h * rank + r) % sizes["dimension"] for r in range(rank)]
            for h in range(sizes["heads"])]  # fmt: skip


def _heads_of_tasks(sizes: Mapping[str, int]) -> list[int]:
    return [i % sizes["heads"] for i in range(sizes["tasks"])]


def _first_mode(sizes: Mapping[str, int]) -> list[bool]:
    return [d == 0 for d in range(sizes["dimension"])]


CHOICES: dict[str, Callable[[Mapping[str, int]], Any]] = {
    "assignment": _heads_of_tasks,
    "components": lambda sizes: 1,
    "heads": lambda sizes: sizes["heads"],
    "learned": lambda sizes: 0,
    "mean": lambda sizes: True,
    "modes": _pairs,
    "subset": _first_mode,
    "unlearned": lambda sizes: 1,
    **{f"{name}.block_dims": lambda sizes: [1] * sizes["tasks"]
       for name, entries in OF_FUNCTION.items() if entries is _HEADS},
    "ansatz_weights.heads": lambda sizes: None,
    "ansatz_weights.eigenvectors": lambda sizes: None,
    "softmax.water_filling.budget": lambda sizes: None,
    "softmax.water_filling.cap": lambda sizes: None,
}  # fmt: skip
"""What cannot be a symbol, because it says which terms a formula has."""

CHOICE_AXES = {"assignment": _TASKS, "modes": ("heads", "rank"), "subset": _MODES}

REFUSED: dict[str, str] = {
    "visit_order": "an order needs numbers; list symbols in visit order, by falling mode_growth",
    "saddle_path": "the path is a search that compares numbers; symbolic(fixed_point_loss, "
    "subset=[...]) gives the loss of each of its points",
    "fixed_point_subsets": "the answer is a table of True and False; "
    "symbolic(fixed_point_coefficients, subset=[...]) gives the fixed point of a row",
    "stability_index": "the answer counts inequalities between gains; "
    "symbolic(rotation_eigenvalues) gives the eigenvalues that it counts",
    "general_modes": "singular vectors of a general matrix have no closed form; "
    "symbolic(mode_gains) gives the gains where Λ and Ω commute",
    "general_plateau_losses": "singular values of a general matrix have no closed form; "
    "symbolic(plateau_losses) gives the losses where Λ and Ω commute",
    "principal_component_prediction": "eigenvectors of a general matrix have no closed form; "
    "symbolic(in_context_weights) gives M_m in a basis of your own, symbolic(predict) βᵀMx_q",
    "softmax.training_phase": "the answer compares numbers; symbolic(softmax.neglected_share) "
    "gives what it compares",
}
"""Functions without a symbolic form, why, and what to call instead."""

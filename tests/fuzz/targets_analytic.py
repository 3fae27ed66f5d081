"""Valid arguments of every public name of `analytic` and `analytic.softmax`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import analytic
from analytic import softmax
from tests.fuzz.oracle import Target


def _two() -> np.ndarray:
    return np.array([0.4, 0.3])


def _matrix() -> np.ndarray:
    return np.array([[0.5, 0.1], [0.1, 0.4]])


def _moment() -> np.ndarray:
    return np.array([[0.4, 0.1], [0.1, 0.3]])


def _modes(**more: Any) -> dict[str, Any]:
    shared = {"eigenvalues": _two(), "context_length": 31, "task_eigenvalues": 1.0, "noise": 0.1}
    return {**shared, **more}


def _white(**more: Any) -> dict[str, Any]:
    return {
        "t": np.array([0.0, 1.0, 5.0]), "dimension": 4, "context_length": 31, "initial_norm": 0.1,
        "eigenvalue": 0.5, "task_eigenvalue": 1.0, "noise": 0.1, "tau": 1.0, **more,
    }  # fmt: skip


ANALYTIC: dict[str, Any] = {
    "input_target_moment": lambda: {"covariance": _matrix(), "task_covariance": np.eye(2)},
    "gaussian_fourth_moment": lambda: {"covariance": _matrix(), "task_covariance": np.eye(2)},
    "token_second_moment": lambda: {
        "covariance": _matrix(), "fourth_moment": _moment(), "context_length": 31,
        "task_covariance": np.eye(2), "noise": 0.1,
    },
    "feature_second_moment": lambda: {
        "covariance": _matrix(), "context_length": 31, "task_covariance": np.eye(2), "noise": 0.1,
    },
    "feature_eigenvalues": _modes,
    "effective_context_length": lambda: {
        "lengths": np.array([10.0, 20.0]), "probabilities": np.array([0.5, 0.5]),
    },
    "population_loss": lambda: {
        "weights": _matrix(), "covariance": _matrix(), "second_moment": _moment(),
        "task_covariance": np.eye(2),
    },
    "optimal_weights": lambda: {
        "covariance": _matrix(), "second_moment": _moment(), "task_covariance": np.eye(2),
    },
    "minimum_loss": lambda: {
        "covariance": _matrix(), "second_moment": _moment(), "task_covariance": np.eye(2),
    },
    "white_time_course": _white,
    "white_loss_curve": _white,
    "escape_rate": lambda: {"eigenvalues": _two(), "task_eigenvalues": _two(), "tau": 1.0},
    "escape_time": lambda: {
        "initial_norm": 0.1, "eigenvalues": _two(), "task_eigenvalues": 1.0, "tau": 1.0,
    },
    "aligned_velocity": lambda: _modes(v=0.1, u=np.array([0.1, 0.2]), tau=1.0),
    "mode_growth": lambda: {"eigenvalues": _two(), "task_eigenvalues": _two()},
    "mode_curvature": _modes,
    "mode_coefficients": _modes,
    "mode_gains": _modes,
    "visit_order": lambda: {"eigenvalues": _two(), "task_eigenvalues": _two()},
    "saddle_path": _modes,
    "plateau_losses": _modes,
    "fixed_point_subsets": lambda: {"dimension": 3},
    "fixed_point_coefficients": lambda: _modes(subset=np.array([True, False])),
    "fixed_point_loss": lambda: _modes(subset=np.array([True, False])),
    "ansatz_weights": lambda: _modes(
        subset=np.array([True, False]), heads=2, eigenvectors=np.eye(2)
    ),
    "least_norm": lambda: _modes(subset=np.array([True, False])),
    "value_velocity": lambda: {"v": np.array([0.1, 0.2]), "growth": 0.5, "curvature": 0.3,
                               "tau": 1.0},
    "time_to_reach": lambda: {"value": np.array([0.5, 0.6]), "initial_value": 0.1, "growth": 1.0,
                              "curvature": 1.0, "tau": 1.0},
    "learning_time": lambda: {"initial_value": np.array([0.1, 0.2]), "growth": 0.5, "tau": 1.0},
    "low_rank_velocity": lambda: {
        "v": np.array([0.1]), "kappa": np.array([[0.1, 0.2]]), "modes": np.array([[0, 1]]),
        "growth": _two(), "curvature": _two(), "tau": 1.0,
    },
    "stability_index": lambda: _modes(subset=np.array([True, False])),
    "rotation_eigenvalues": lambda: _modes(learned=0, unlearned=1),
    "merged_zero_index": lambda: {"heads": 3},
    "general_modes": lambda: {
        "covariance": _matrix(), "second_moment": _moment(), "task_covariance": np.eye(2),
    },
    "general_plateau_losses": lambda: {
        "covariance": _matrix(), "second_moment": _moment(), "task_covariance": np.eye(2),
    },
    "in_context_weights": lambda: _modes(components=1, eigenvectors=np.eye(2)),
    "predict": lambda: {"weights": _matrix(), "beta": _two(), "query": _two()},
    "principal_component_prediction": lambda: {
        "components": 1, "beta": _two(), "query": _two(), "covariance": _matrix(),
        "context_length": 31, "task_covariance": np.eye(2), "noise": 0.1,
    },
    "converged_prediction": lambda: {
        "beta": _two(), "query": _two(), "covariance": _matrix(), "context_length": 31,
        "task_covariance": np.eye(2), "noise": 0.1,
    },
    "symbolic": lambda: {"function": analytic.mode_growth, "dimension": 3},
    "to_latex": lambda: {"function": analytic.mode_growth, "dimension": 3},
    "Convention": lambda: {"loss_factor": 0.5, "context_scale": 8.0, "factors": 3, "tau": 1.0},
    "Convention.flow_time": lambda: {"steps": np.array([1.0, 2.0]), "learning_rate": 0.1},
    "Convention.steps": lambda: {"time": np.array([1.0, 2.0]), "learning_rate": 0.1},
    "Convention.loss": lambda: {"reported": np.array([1.0, 2.0])},
    "Convention.weights": lambda: {"theirs": np.array([1.0, 2.0])},
}  # fmt: skip


def _tasks(**more: Any) -> dict[str, Any]:
    shared = {"block_dims": np.array([3, 4]), "signal": np.array([1.0, 0.5])}
    return {**shared, "context_length": 20, "noise": 0.1, **more}


def _heads(**more: Any) -> dict[str, Any]:
    omega = np.array([[0.1, 0.2, 0.3], [0.2, 0.1, 0.1]])
    mu = np.array([[1.0, 0.5], [0.5, 1.0]])
    return {**_tasks(block_dims=np.array([1, 2])), "omega": omega, "mu": mu, **more}


def _without(arguments: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in names}


def _warm(**more: Any) -> dict[str, Any]:
    return {"initial_omega_bar": 0.01, "initial_mu": 1.0, "block_dims": 10, "signal": 1.0,
            "embedding_dim": 30, **more}  # fmt: skip


SOFTMAX: dict[str, Any] = {
    "noise_factor": lambda: _without(_tasks(), "context_length"),
    "spectral_loss": _heads,
    "spectral_gradient": _heads,
    "first_order_loss": _heads,
    "linear_attention_loss": _heads,
    "limit_weights": _tasks,
    "task_limit_losses": _tasks,
    "limit_loss": _tasks,
    "generalised_loss": lambda: _tasks(test_length=40),
    "optimality_factor": _tasks,
    "limit_escape_rate": _tasks,
    "long_context_loss": lambda: _tasks(omega_bar=np.array([0.1, 0.2]), mu=np.array([1.0, 1.5])),
    "long_context_squared_norm": lambda: _without(_tasks(), "context_length"),
    "long_context_optimum_loss": _tasks,
    "dimension_correction": lambda: _without(_tasks(), "context_length"),
    "dimension_coefficient": lambda: _tasks(test_length=30),
    "balanced_velocity": lambda: _tasks(
        omega_bar=np.array([0.1, 0.2]), mu=np.array([1.0, 2.0]), embedding_dim=5
    ),
    "warmup_invariant": lambda: {
        "omega_bar": 0.1, "mu": 1.0, "block_dims": np.array([3, 4]), "signal": 1.0,
        "context_length": 20, "embedding_dim": 5, "noise": 0.1,
    },
    "warmup_time_course": lambda: _warm(t=np.array([0.0, 0.1])),
    "warmup_time": lambda: _warm(omega_bar=np.array([0.02, 0.03])),
    "blow_up_time": _warm,
    "neglected_share": lambda: _tasks(omega_bar=np.array([0.1, 0.2]), mu=np.array([1.0, 2.0])),
    "warmup_end": lambda: _warm(context_length=100, noise=0.1, share=0.7),
    "equilibrium_value": lambda: _tasks(omega_bar=np.array([0.1, 0.2])),
    "emergence_velocity": lambda: _tasks(omega_bar=np.array([0.1, 0.2]), embedding_dim=5),
    "convergence_rate": lambda: _tasks(embedding_dim=5),
    "training_phase": lambda: _tasks(
        omega_bar=np.array([0.1, 0.2]), mu=np.array([1.0, 2.0]), share=0.5, closeness=0.1
    ),
    "water_filling": lambda: _tasks(budget=1.0, cap=0.8),
    "allocation_loss": lambda: _tasks(allocation=np.array([0.1, 0.2])),
    "single_head_optimum": _tasks,
    "allocated_loss": lambda: _tasks(assignment=np.array([0, 1])),
    "separation": lambda: _tasks(assignment=np.array([0, 1])),
    "separation_limit": lambda: _without(_tasks(assignment=np.array([0, 0])), "context_length"),
    "equiangular_allocation": lambda: {"heads": 3, "squared_norm": 1.0, "overlap": 0.2},
    "equiangular_budget": lambda: {"heads": 3},
    "lower_bound": lambda: _tasks(heads=3),
    "optimality_ratio": lambda: _tasks(heads=3),
    "hermite_response": lambda: {
        "degree": 3, "omega": np.array([0.1, 0.2]), "query": np.array([1.0, -1.0]),
    },
    "hermite_gain": lambda: {"degree": 3},
    "hermite_error": lambda: {"degree": 3, "gain": np.array([0.1, 0.2])},
    "saturation_scale": lambda: {"context_length": np.array([10.0, 100.0])},
    "participation_exponent": lambda: {"load": np.array([0.1, 0.8]), "mean": True},
    "participation_branches": lambda: {"load": np.array([0.1, 0.8])},
    "rare_participation": lambda: {"load": np.array([0.8, 1.2]), "context_length": 100},
    "condensed_participation": lambda: {"load": np.array([2.5, 3.0])},
    "marchenko_pastur_moments": lambda: {"gamma": np.array([0.5, 2.0]), "penalty": 0.1},
    "ridge_risk": lambda: {"gamma": np.array([0.5, 2.0]), "snr": 1.0, "penalty": 0.1},
    "bayes_risk": lambda: {"gamma": np.array([0.5, 2.0]), "snr": 1.0},
}  # fmt: skip

# What functions return, never built by a caller.
RECORDS = {
    "GeneralModes", "LimitWeights", "WarmUp", "WarmUpEnd", "SingleHead", "SaturationScale",
    "ParticipationBranches", "Resolvent",
}  # fmt: skip


def _reach(package: Any, name: str) -> Any:
    kind, _, method = name.partition(".")
    value = getattr(package, kind)
    return getattr(value(loss_factor=0.5, context_scale=8.0), method) if method else value


def targets() -> list[Target]:
    """Every public function, constructor and method of the closed forms."""
    return [
        Target(f"{package.__name__}.{name}", _reach(package, name), make, infinite=True)
        for package, registry in ((analytic, ANALYTIC), (softmax, SOFTMAX))
        for name, make in registry.items()
    ]


@functools.cache
def scalar_targets() -> list[Target]:
    """The same, called with Python numbers where a function takes them."""
    found = []
    for target in targets():
        arguments = {
            name: value.flat[0].item() if isinstance(value, np.ndarray) else value
            for name, value in target.arguments().items()
        }
        try:
            target.call(**arguments)
        except (ValueError, TypeError):
            continue  # takes arrays only
        make = functools.partial(dict, arguments)
        found.append(Target(f"{target.name} (scalars)", target.call, make, infinite=True))
    return found

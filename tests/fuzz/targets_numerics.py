"""Valid arguments of every public function and constructor of `numerics`."""

from __future__ import annotations

from typing import Any

import numpy as np

import numerics as nm
from tests.fuzz.oracle import Target

RNG = 0


def task() -> nm.LinearTask:
    return nm.LinearTask(np.diag([0.5, 0.3]), 5)


def lengths_task() -> nm.LinearTask:
    return nm.LinearTask(np.diag([0.5, 0.3]), [3, 5])


def moments() -> nm.FactoredMoments:
    return nm.population_moments(task())


def dense() -> nm.DenseMoments:
    return nm.dense_moments(moments())


def diagonal() -> nm.DiagonalMoments:
    return moments().eigenform()[0]


def separate() -> nm.SeparateAttention:
    return nm.SeparateAttention(dimension=2, heads=2)


def merged() -> nm.MergedAttention:
    return nm.MergedAttention(dimension=2, heads=2)


def state(model: Any) -> np.ndarray:
    return model.initial_weights(0.3, rng=1)


def system() -> nm.AttentionSystem:
    return nm.AttentionSystem(separate(), moments())


def sequences() -> nm.Sequences:
    return nm.sample_sequences(task(), 6, rng=0)


def layer(**more: Any) -> nm.AttentionLayer:
    return nm.AttentionLayer(**{"dimension": 2, "heads": 2, **more})


def several() -> nm.MultiTaskLayer:
    return nm.MultiTaskLayer(dimension=2, outputs=2, heads=2, embedding_dim=3)


def batch() -> tuple[np.ndarray, np.ndarray]:
    drawn = sequences()
    return nm.tokens_of(drawn), drawn.target


def layer_moments(divide: bool = True) -> nm.LinearLayerMoments:
    return nm.linear_layer_moments([batch()], divide_by_context=divide)


def multi() -> nm.MultiTask:
    return nm.MultiTask((1, 2), signal=[1.0, 0.5], context_length=6, noise=0.1)


def heads() -> nm.SpectralAttention:
    return nm.SpectralAttention(block_dims=(1, 2), heads=2, embedding_dim=3)


def spectral() -> nm.SpectralSystem:
    return nm.SpectralSystem(heads(), multi())


def balanced() -> np.ndarray:
    return heads().leading_weights(0.1, 0.2, 0.5)


def curve() -> dict[str, Any]:
    t = np.linspace(0.0, 4.0, 9)
    return {"t": t, "loss": 4 - 0.5 * t, "loss_rate": np.full(9, 0.5)}


def run() -> nm.Trajectory:
    return nm.gradient_descent(system(), state(separate()), 5, 0.1)


def flow(**more: Any) -> dict[str, Any]:
    return {
        "initial": state(separate()), "duration": 2.0, "times": np.array([0.0, 1.0, 2.0]),
        "tau": 1.0, "method": "auto", "rtol": 1e-6, "atol": 1e-9, "until_loss": 0.01, **more,
    }  # fmt: skip


def risk(**more: Any) -> dict[str, Any]:
    return {"block_dim": 3, "signal": 1.0, "context_length": 5, "noise": 0.5, "count": 20,
            "rng": RNG, **more}  # fmt: skip


FUNCTIONS: dict[str, Any] = {
    "Adam": lambda: {"first_decay": 0.9, "second_decay": 0.999, "epsilon": 1e-8},
    "AttentionLayer": lambda: {"dimension": 2, "heads": 2, "rank": 1, "attention": "linear",
                               "divide_by_context": True},
    "AttentionSystem": lambda: {"model": separate(), "moments": moments()},
    "Constant": lambda: {"rate": 0.1},
    "ConvolutionalNetwork": lambda: {"moments": moments(), "width": 2},
    "Cosine": lambda: {"peak": 1.0, "steps": 6, "warmup": 2, "floor": 0.1},
    "DenseMoments": lambda: vars(dense()).copy(),
    "DiagonalMoments": lambda: vars(diagonal()).copy(),
    "FactoredMoments": lambda: vars(moments()).copy(),
    "FreshBatches": lambda: {"model": layer(), "task": task(), "size": 3},
    "LayerMomentsSystem": lambda: {
        "layer": layer(divide_by_context=True), "moments": layer_moments(),
    },
    "LayerSystem": lambda: {
        "layer": layer(), "tokens": batch()[0], "target": batch()[1], "chunk": 4,
    },
    "LinearLayerMoments": lambda: vars(layer_moments()).copy(),
    "LinearTask": lambda: {"covariance": np.array([[0.5, 0.1], [0.1, 0.3]]), "context_length": 5,
                           "task_covariance": np.eye(2), "noise": 0.1},
    "MergedAttention": lambda: {"dimension": 2, "heads": 2},
    "Minibatches": lambda: {"model": layer(), "data": sequences(), "size": 3},
    "Momentum": lambda: {"decay": 0.9},
    "MultiTask": lambda: {"block_dims": (1, 2), "signal": np.array([1.0, 0.5]),
                          "context_length": 6, "noise": 0.1},
    "MultiTaskLayer": lambda: {"dimension": 2, "outputs": 2, "heads": 2, "embedding_dim": 3,
                               "attention": "linear", "divide_by_context": True},
    "ReducedHead": lambda: {"block_dim": 3, "signal": 1.0, "context_length": 10,
                            "embedding_dim": 4, "noise": 0.1},
    "SeparateAttention": lambda: {"dimension": 2, "heads": 2, "rank": 1},
    "Sequences": lambda: vars(sequences()).copy(),
    "SpectralAttention": lambda: {"block_dims": (1, 2), "heads": 2, "embedding_dim": 3},
    "SpectralSystem": lambda: {"model": heads(), "task": multi()},
    "StepDecay": lambda: {"rate": 0.1, "factor": 0.5, "every": 10},
    "TokenTask": lambda: {"tokens": np.array([[1.0, 0.0], [0.5, 2.0], [0.0, 1.0]]),
                          "context_length": 5, "task_covariance": np.eye(2), "noise": 0.1},
    "TwoLayerNetwork": lambda: {"moments": moments(), "width": 2},
    "antithetic": lambda: {"sequences": sequences()},
    "attention_moments": lambda: {"omega_bar": 0.5, "block_dim": 3, "context_length": 20,
                                  "rtol": 1e-6},
    "balanced_stability": lambda: {"system": spectral(), "theta": balanced(), "tolerance": 1e-9},
    "bayes_risk_monte_carlo": risk,
    "crossing_times": lambda: {**curve(), "levels": np.array([3.0, 2.5])},
    "dense_moments": lambda: {"moments": moments()},
    "drop_times": lambda: {**curve(), "plateaus": np.array([4.0, 3.0, 2.0])},
    "dwell_times": lambda: {"t": curve()["t"], "loss": curve()["loss"],
                            "plateaus": np.array([4.0, 3.0, 2.0]), "band": 0.2},
    "exact_loss": lambda: {"omega_bar": np.array([0.3, 0.2]), "mu": np.array([0.5, 0.6]),
                           "task": multi(), "rtol": 1e-6},
    "exact_optimum": lambda: {"block_dim": 3, "signal": 1.0, "context_length": 20, "noise": 0.1},
    "exact_task_loss": lambda: {"omega_bar": 0.3, "mu": 0.5, "block_dim": 3, "signal": 1.0,
                                "context_length": 20, "noise": 0.1, "rtol": 1e-6},
    "extra_blocks": lambda: {"layer": layer(), "theta": state(layer())},
    "find_fixed_point": lambda: {"system": system(), "start": state(separate()), "rtol": 1e-8},
    "find_plateaus": lambda: {"run": run(), "contrast": 10.0},
    "gradient": lambda: {"model": separate(), "moments": moments(), "theta": state(separate())},
    "gradient_descent": lambda: {
        "system": system(), "initial": state(separate()), "steps": 4, "learning_rate": 0.1,
        "optimiser": "momentum", "loss_factor": 0.5, "every": 2,
    },
    "gradient_flow": lambda: flow(model=separate(), moments=moments()),
    "icl_loss_monte_carlo": lambda: {
        "omega": np.full((2, 3), 0.2), "mu": np.full((2, 2), 0.5), "task": multi(),
        "count": 10, "rng": RNG, "chunk": 5,
    },
    "layer_features": lambda: {"tokens": batch()[0], "divide_by_context": True},
    "linear_grid": lambda: {"steps": 10, "count": 5},
    "linear_layer_moments": lambda: {"chunks": [batch()], "divide_by_context": True},
    "log_grid": lambda: {"steps": 10, "count": 5},
    "loss": lambda: {"model": separate(), "moments": moments(), "theta": state(separate())},
    "matrix_loss": lambda: {"moments": moments(), "M": np.eye(2)},
    "minimiser": lambda: {"moments": moments()},
    "mixture_covariance": lambda: {"share": 0.5, "fixed_task": np.array([1.0, 2.0])},
    "mixture_vectors": lambda: {"share": 0.5, "fixed_task": np.array([1.0, 2.0]), "count": 3,
                                "mirrored": True, "rng": RNG},
    "moments_of_sequences": lambda: {"chunks": sequences()},
    "optimal_heads": lambda: {"block_dims": (1, 2), "signal": np.array([1.0, 0.5]),
                              "context_length": 10, "heads": 2, "noise": 0.1, "starts": 1,
                              "rng": RNG},
    "pool_layer_moments": lambda: {"batches": [layer_moments(), layer_moments()]},
    "pool_moments": lambda: {"batches": [dense(), dense()], "weights": np.array([1.0, 2.0])},
    "population_moments": lambda: {"task": task()},
    "predict": lambda: {"model": separate(), "sequences": sequences(),
                        "theta": state(separate())},
    "random_rotation": lambda: {"dimension": 3, "rng": RNG},
    "reduced_cascade": lambda: {
        "model": separate(), "growth": np.array([0.5, 0.3]), "curvature": np.array([1.0, 0.5]),
        "initial": 0.1 * state(separate()), "duration": 50.0, "energy": 1.0, "tau": 1.0,
        "times": np.array([0.0, 1.0]), "rtol": 1e-6,
    },
    "reduced_moments": lambda: {"moments": layer_moments()},
    "ridge_risk_monte_carlo": lambda: risk(penalty=0.1),
    "sample_chunks": lambda: {"task": task(), "count": 5, "chunk": 2, "rng": RNG},
    "sample_moments": lambda: {"task": task(), "count": 5, "chunk": 2, "rng": RNG},
    "sample_multitask": lambda: {"task": multi(), "count": 3, "rng": RNG},
    "sample_sequences": lambda: {"task": task(), "count": 3, "w": np.ones((3, 2)), "rng": RNG},
    "spectral_flow": lambda: flow(system=spectral(), initial=balanced(), method="LSODA", tau=None),
    "stability": lambda: {"system": system(), "theta": state(separate()), "tolerance": 1e-9},
    "stationary_loss": lambda: {"moments": dense(), "start": np.diag([2.0, 0.1]), "rank": 1},
    "system_flow": lambda: flow(system=system()),
    "task_cascade": lambda: {
        "model": separate(), "task": task(), "initial": 0.1 * state(separate()),
        "duration": 50.0, "tau": 1.0, "times": np.array([0.0, 1.0]), "rtol": 1e-6,
    },
    "token_blocks": lambda: {"sequences": nm.sample_sequences(lengths_task(), 6, rng=0)},
    "tokens_of": lambda: {"sequences": sequences()},
    "train": lambda: {
        "batches": nm.FreshBatches(layer(), task(), 3), "initial": state(layer()), "steps": 3,
        "learning_rate": 0.01, "optimiser": "adam", "loss_factor": 1.0,
        "record": np.array([0, 3]), "tests": {"fresh": nm.LayerSystem(layer(), *batch())},
        "checkpoint_every": 30.0, "rng": RNG, "watch": None,
    },
    "unbalanced": lambda: {"system": spectral(), "theta": balanced(), "imbalance": 0.1},
    "wishart_eigenvalues": lambda: {"block_dim": 3, "context_length": 5, "count": 4,
                                    "rng": RNG},
}  # fmt: skip
FUNCTIONS["spectral_flow"] = lambda: {
    name: value
    for name, value in flow(system=spectral(), initial=balanced(), method="LSODA").items()
    if name != "tau"
}

# Records that functions return, the abstract base, and constructors without an argument.
RECORDS = {
    "AttentionMoments", "Cascade", "ExactLoss", "ExactOptimum", "GradientDescent", "HeadsOptimum",
    "Layer", "LossEstimate", "MeasuredPlateaus", "ReducedRun", "RiskEstimate", "Stability",
    "TrainingRun", "Trajectory",
}  # fmt: skip

# How much to do; and sizes of an answer that the caller asks for.
WORK = frozenset({
    "count", "steps", "starts", "duration", "dimension", "heads", "width", "size",
    "embedding_dim", "outputs", "block_dim", "chunk", "task",
})  # fmt: skip
INFINITE = {
    "crossing_times", "drop_times", "reduced_cascade", "task_cascade", "LinearTask", "TokenTask",
    "AttentionLayer.loss", "AttentionLayer.predict", "MultiTaskLayer.loss",
    "MultiTaskLayer.predict", "LinearTask.from_eigenvalues", "exact_loss", "exact_task_loss",
    "exact_optimum", "attention_moments",
}  # fmt: skip
ALIASES = {
    "FreshBatches": ("data", "rng"),
    "Constant": ("learning_rate",),
}  # fmt: skip


def targets() -> list[Target]:
    """Every public function and constructor."""
    return [
        Target(
            name, getattr(nm, name), make, work=WORK, infinite=name in INFINITE,
            aliases=ALIASES.get(name, ()),
        )
        for name, make in FUNCTIONS.items()
    ]  # fmt: skip

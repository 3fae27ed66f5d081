"""Public methods of the classes of `numerics`, and valid arguments for them.

Methods that take a state or a matrix as an array are inner loops of the solvers: they check shapes
at most, hand NaN on, and may be given complex numbers. Methods that take anything array-like, or
numbers, are judged like functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import numerics as nm
from tests.fuzz import targets_numerics as t
from tests.fuzz.oracle import Target

Make = Callable[[], dict[str, Any]]


def _network(kind: Any) -> Any:
    return kind(t.moments(), 2)


def _weights(size: int) -> np.ndarray:
    return np.linspace(-0.5, 0.7, size)


def _reads(layer: Any, shape: tuple[int, ...]) -> dict[str, Make]:
    """What every whole layer has for its users."""

    def given() -> dict[str, Any]:
        tokens = np.linspace(-1, 1, 3 * 5 * (2 + layer().labels)).reshape(3, 5, -1)
        tokens[:, -1, 2:] = 0
        target = np.linspace(0, 1, 3 * layer().labels).reshape(3, *shape)
        return {"theta": _weights(layer().size), "tokens": tokens, "target": target, "chunk": 2}

    def without_target() -> dict[str, Any]:
        return {name: value for name, value in given().items() if name != "target"}

    return {
        "initial_weights": lambda: {"scale": 0.1, "rng": 0},
        "loss": given,
        "loss_and_gradient": given,
        "predict": without_target,
        "checked": lambda: {n: v for n, v in given().items() if n in ("tokens", "target")},
    }


# By class: how to make one, and the methods that are judged like functions.
CHECKED: dict[str, tuple[Callable[[], Any], dict[str, Make]]] = {
    "MergedAttention": (t.merged, {
        "pack": lambda: {"v": _weights(2), "U": _weights(8).reshape(2, 2, 2)},
        "initial_weights": lambda: {"scale": 0.1, "rng": 0},
    }),
    "SeparateAttention": (t.separate, {
        "pack": lambda: {name: _weights(n).reshape(s) for name, n, s in
                         (("v", 2, (2,)), ("k", 4, (2, 2)), ("q", 4, (2, 2)))},
        "initial_weights": lambda: {"scale": 0.1, "rng": 0},
    }),
    "AttentionLayer": (t.layer, _reads(t.layer, ())),
    "MultiTaskLayer": (t.several, {
        **_reads(t.several, (2,)),
        "embed": lambda: {name: _weights(4).reshape(2, 2) for name in "ovkq"},
    }),
    "SpectralAttention": (t.heads, {
        "pack": lambda: {"o": _weights(4).reshape(2, 2), "v": _weights(4).reshape(2, 2),
                         "k": _weights(6).reshape(2, 3), "q": _weights(6).reshape(2, 3)},
        "balanced": lambda: {"omega": _weights(6).reshape(2, 3), "mu": _weights(4).reshape(2, 2)},
        "leading_weights": lambda: {"omega_bar": 0.1, "other": 0.2, "leading": 0.5,
                                    "leaders": [1, 0]},
        "checked_leaders": lambda: {"leaders": [1, 0]},
    }),
    "TwoLayerNetwork": (lambda: _network(nm.TwoLayerNetwork), {
        "pack": lambda: {"w2": _weights(2), "W1": _weights(8).reshape(2, 4)},
    }),
    "ConvolutionalNetwork": (lambda: _network(nm.ConvolutionalNetwork), {
        "pack": lambda: {"v": _weights(2), "k": _weights(4).reshape(2, 2),
                         "q": _weights(4).reshape(2, 2)},
    }),
    "ReducedHead": (lambda: nm.ReducedHead(3, 1.0, 10, 4, noise=0.1), {
        "spread": lambda: {"omega_bar": _weights(3)},
        "loss": lambda: {"omega_bar": _weights(3), "mu": _weights(3)},
        "equilibrium": lambda: {"omega_bar": _weights(3)},
        "flow": lambda: {"omega_bar": 0.1, "mu": 0.5, "duration": 2.0,
                         "times": np.array([0.0, 1.0])},
        "emergence": lambda: {"omega_bar": 0.1, "duration": 2.0, "times": np.array([0.0, 1.0])},
    }),
    "Trajectory": (t.run, {"at": lambda: {"times": np.array([0.0, 3.0])}}),
    "LinearTask": (lambda: nm.LinearTask, {
        "from_eigenvalues": lambda: {
            "eigenvalues": np.array([0.5, 0.3]), "context_length": 5,
            "task_eigenvalues": np.array([1.0, 2.0]), "noise": 0.1, "rng": 0},
    }),
    "LayerSystem": (lambda: nm.LayerSystem, {
        "of": lambda: {"layer": t.layer(), "sequences": t.sequences(), "chunk": 2},
    }),
    "HeadsOptimum": (
        lambda: nm.optimal_heads((1, 2), 1.0, 10, heads=2, starts=1, rng=0),
        {"weights": lambda: {"scale": 0.5}},
    ),
}  # fmt: skip

_STATE = ("theta",)
_PAIR = ("theta", "direction")
# By class: how to make one, and its inner loops with the arguments that they take.
KERNELS: dict[str, tuple[Callable[[], Any], dict[str, tuple[str, ...]]]] = {
    "MergedAttention": (t.merged, {
        "unpack": _STATE, "matrix": _STATE, "pullback": ("theta", "G"), "pushforward": _PAIR,
        "pullback_derivative": (*_PAIR, "G"), "tangent": _STATE, "curvature": ("theta", "G"),
        "rotate": ("theta", "left", "right"), "invariants": _STATE,
    }),
    "SeparateAttention": (t.separate, {
        "unpack": _STATE, "matrix": _STATE, "pullback": ("theta", "G"), "pushforward": _PAIR,
        "pullback_derivative": (*_PAIR, "G"), "tangent": _STATE, "curvature": ("theta", "G"),
        "rotate": ("theta", "left", "right"), "invariants": _STATE,
    }),
    "AttentionSystem": (t.system, {
        "loss": _STATE, "velocity": _STATE, "jvp": _PAIR, "jacobian": _STATE,
        "invariants": _STATE,
    }),
    "LayerSystem": (lambda: nm.LayerSystem(t.layer(), *t.batch()), {
        "loss": _STATE, "velocity": _STATE, "loss_and_gradient": _STATE, "invariants": _STATE,
    }),
    "LayerMomentsSystem": (
        lambda: nm.LayerMomentsSystem(t.layer(divide_by_context=True), t.layer_moments()),
        {"coefficients": _STATE, "loss": _STATE, "velocity": _STATE, "jvp": _PAIR,
         "jacobian": _STATE, "invariants": _STATE},
    ),
    "SpectralSystem": (t.spectral, {
        "loss": _STATE, "velocity": _STATE, "jvp": _PAIR, "jacobian": _STATE,
        "invariants": _STATE,
    }),
    "SpectralAttention": (t.heads, {"unpack": _STATE, "combined": _STATE}),
    "TwoLayerNetwork": (lambda: _network(nm.TwoLayerNetwork), {
        "loss": _STATE, "velocity": _STATE, "jvp": _PAIR, "jacobian": _STATE, "filter": _STATE,
        "forward_derivative": _PAIR, "invariants": _STATE, "unpack": _STATE,
    }),
    "ConvolutionalNetwork": (lambda: _network(nm.ConvolutionalNetwork), {
        "loss": _STATE, "velocity": _STATE, "jvp": _PAIR, "jacobian": _STATE, "filter": _STATE,
        "forward_derivative": _PAIR, "invariants": _STATE, "unpack": _STATE,
    }),
    "AttentionLayer": (t.layer, {"unpack": _STATE, "factors": _STATE, "invariants": _STATE}),
    "MultiTaskLayer": (t.several, {
        "unpack": _STATE, "factors": _STATE, "invariants": _STATE, "spectral": _STATE,
        "leakage": _STATE,
    }),
    "DenseMoments": (t.dense, {"quadratic": ("M",), "residual": ("M",)}),
    "DiagonalMoments": (t.diagonal, {"quadratic": ("M",), "residual": ("M",)}),
    "FactoredMoments": (t.moments, {"quadratic": ("M",), "residual": ("M",)}),
}  # fmt: skip

# Called by the layers and the training loop with arrays that they made, never by a user; what has
# no argument, or draws; and the abstract class, whose methods its subclasses have.
INTERNAL = {
    "accumulate", "mean_square", "pieces", "laid_out_bytes", "workspace", "change", "system",
    "eigenform", "backward", "backward_derivative", "convolution", "task_losses",
    "combined_velocity", "combined_jacobian", "block_means", "emergence_rate", "count", "index",
    "draw", "plot",
}  # fmt: skip
INTERNAL_OF = {
    "Layer": {"*"},
    "AttentionLayer": {"pack", "embed", "pullback"},  # *weights: judged through check_and_pack
    "MultiTaskLayer": {"pack", "pullback"},
    "ReducedHead": {"velocity"},
    "SeparateAttention": {"velocity"},
    "MergedAttention": {"velocity"},
    "TwoLayerNetwork": {"predict"},
    "ConvolutionalNetwork": {"predict"},
}


def _arrays(size: int, names: tuple[str, ...]) -> dict[str, Any]:
    matrix = np.array([[1.0, 0.2], [0.1, 0.5]])
    return {n: _weights(size) if n in _PAIR else matrix.copy() for n in names}


def targets() -> list[Target]:
    """Every public method that a user calls with numbers."""
    found = []
    for kind, (make, methods) in CHECKED.items():
        owner = make()
        for name, arguments in methods.items():
            full = f"{kind}.{name}"
            found.append(
                Target(full, getattr(owner, name), arguments, work=t.WORK,
                       infinite=full in t.INFINITE)
            )  # fmt: skip
    for kind, (make, kernels) in KERNELS.items():
        owner = make()
        size = getattr(owner, "size", 1)
        for name, names in kernels.items():
            arguments = functools.partial(_arrays, size, names)
            found.append(Target(f"{kind}.{name}", getattr(owner, name), arguments, kernel=True))
    return found

"""The models of `numerics` over batches of runs, on any array library: NumPy, CuPy and others.

Rows are runs: seeds, initial scales, spectra, context lengths. Arrays in, the same kind of array
out, with its dtype and on its device; a batch of one row of moments stands for all runs.

Who owns what: `numerics` defines tasks, samples and their moments, the models' sizes, optimisers'
constants, schedules, initial weights and single runs, and everything here starts from its objects.
This package owns the batched kernels (loss, velocity, Jacobian, conserved quantities, training
steps), the batched integrators of `gpu.integrate`, and the record `Ensemble`. A function has the
name of its twin in `numerics` and is tested against it row by row. The closed forms of `analytic`
take any array that names its own library as the standard says, which PyTorch's tensors do not.

>>> import numpy as np
>>> from numerics import LinearTask, SeparateAttention
>>> model = SeparateAttention(dimension=1, heads=2)
>>> moments = stack_moments([LinearTask([[1.0]], N) for N in (5, 50)])
>>> loss(model, moments, initial_weights(model, 1e-3, seeds=[0, 1])).round(3).tolist()
[1.0, 1.0]
"""

from gpu.descent import gradient_descent
from gpu.drops import crossing_times, drop_times
from gpu.ensemble import Ensemble
from gpu.flow import gradient_flow, system_flow
from gpu.layers.moments import LayerMomentsSystem
from gpu.layers.system import LayerSystem
from gpu.moments import (
    DenseMoments,
    DiagonalMoments,
    FactoredMoments,
    LayerMoments,
    SpectralMoments,
    stack_moments,
)
from gpu.spectral import SpectralSystem
from gpu.systems import AttentionSystem, gradient, loss
from gpu.weights import initial_weights

__all__ = [  # noqa: RUF022 - grouped by subject
    # from `numerics` to batches
    "stack_moments",
    "initial_weights",
    # loss, gradient, flow and descent
    "loss",
    "gradient",
    "gradient_flow",
    "gradient_descent",
    "system_flow",
    # the record, and reading it
    "Ensemble",
    "drop_times",
    "crossing_times",
    # systems: what a flow runs on
    "AttentionSystem",
    "LayerSystem",
    "LayerMomentsSystem",
    "SpectralSystem",
    # moments of many tasks
    "FactoredMoments",
    "DiagonalMoments",
    "DenseMoments",
    "LayerMoments",
    "SpectralMoments",
]


def __dir__() -> list[str]:
    return [*__all__]

"""How cost grows: time against D, H, P, N, the initial scale and the number of seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import analytic
from benchmarking import by_torch, many
from benchmarking.base import Growth, Row
from benchmarking.case import Case
from benchmarking.flows import flow
from benchmarking.sampled import sample
from numerics import (
    AttentionLayer,
    LayerMomentsSystem,
    LayerSystem,
    gradient_descent,
    linear_layer_moments,
)

Call = Callable[[], Any]


def rows(quick: bool) -> list[Row | Growth]:
    """All axes; a quick run has the small half of each."""

    def some(*sizes: float) -> Sequence[float]:
        return sizes[:3] if quick else sizes

    return [
        Growth("growth-D", "Right-hand side, H = 64, R = 1", "D", some(64, 128, 256, 512, 1024),
               lambda D: velocity(D, 64), (2.0, 2.0), "2: three products of H·D·D"),
        Growth("growth-H", "Right-hand side, D = 128, R = 1", "H", some(64, 128, 256, 512, 1024),
               lambda H: velocity(128, H), (1.0, 1.0), "1: three products of H·D·D"),
        Growth("growth-D-cascade", "Whole cascade, H = D, R = 1, init 1e-2, Krylov", "D",
               some(8, 12, 16, 24), cascade, (1.0, 4.0),
               "1 to 4: a drop takes as many steps whatever D, and there are D; a step costs NumPy "
               "calls at small D, three products of D³ at large"),
        Growth("growth-P-moments", "Moments of a sample, D = 4, N = 31", "P",
               some(2500, 5000, 10_000, 20_000, 40_000), lambda P: moments(P, 31), (1.0, 1.0),
               "1: one pass over the sequences"),
        Growth("growth-P-run", "200 linear steps on these moments, H = 8", "P",
               some(2500, 5000, 10_000, 20_000, 40_000), steps_on_moments, (0.0, 0.0),
               "0: the moments are 60 × 60 whatever P"),
        Growth("growth-P-softmax", "A step of softmax attention, N = 31, D = 4, H = 5", "P",
               some(500, 1000, 2000, 4000, 8000), lambda P: step(P, 31), (1.0, 1.0),
               "1: each token is read once"),
        Growth("growth-N-moments", "Moments of a sample, D = 4, P = 5,000", "N",
               some(31, 62, 125, 250, 500), lambda N: moments(5000, N), (0.0, 1.0),
               "0 to 1: a pass over P·N tokens, then P features whatever N"),
        Growth("growth-N-softmax", "A step of softmax attention, P = 500, D = 4, H = 5", "N",
               some(31, 62, 125, 250, 500), lambda N: step(500, N), (1.0, 1.0),
               "1: the query alone attends"),
        Growth("growth-N-torch", "The same, PyTorch autograd, every token", "N",
               some(31, 62, 125, 250), every_token, (2.0, 2.0),
               "2: every token attends to every other", "theirs", by_torch.NEEDS),
        Growth("growth-init-implicit", "One trajectory, D = 4, R = 1, LSODA", "1/init",
               some(10, 30, 100, 300, 1000), lambda x: scaled(x, "LSODA"), (0.0, 0.3),
               "0, and a logarithm: implicit steps grow along plateaus"),
        Growth("growth-init-explicit", "The same, DOP853", "1/init", some(10, 30, 100, 300),
               lambda x: scaled(x, "DOP853"), (1.0, 1.0),
               "1: plateaus last 1/init, and stability bounds the steps"),
        Growth("growth-seeds", "Ensemble, D = 4, init 1e-2, to t = 2,000, explicit", "seeds",
               some(125, 250, 500, 1000, 2000, 4000), seeds, (1.0, 1.0),
               "1: arithmetic on arrays of all seeds; less while NumPy's calls weigh"),
        Growth("growth-spectra", "Plateau losses of spectra of 8", "spectra",
               some(10_000, 30_000, 100_000, 300_000, 10**6), spectra, (1.0, 1.0),
               "1: arithmetic on arrays"),
    ]  # fmt: skip


def velocity(D: int, H: int) -> Call:
    """A right-hand side."""
    case = Case(D, H, 1, 0.1, 1.0)
    system, theta = case.system, case.start
    return lambda: system.velocity(theta)


def cascade(D: int) -> Call:
    """To the minimum: the last mode takes 1/(λ_D² init)."""
    smallest = 1 / D / float(np.sum(1 / np.arange(1, D + 1)))
    case = Case(D, D, 1, 1e-2, 3 / (smallest**2 * 1e-2))
    return lambda: flow(case, "Krylov")


def moments(P: int, N: int) -> Call:
    """The pass over a sample."""
    data = sample(P, N, 4)
    return lambda: linear_layer_moments([data], divide_by_context=True)


def steps_on_moments(P: int) -> Call:
    """Steps that do not see P."""
    layer = AttentionLayer(4, 8, 1, divide_by_context=True)
    system = LayerMomentsSystem(
        layer, linear_layer_moments([sample(P, 31, 4)], divide_by_context=True)
    )
    initial = layer.initial_weights(0.2, rng=0)
    return lambda: gradient_descent(system, initial, 200, 0.05)


def step(P: int, N: int) -> Call:
    """Loss and gradient of a softmax layer."""
    layer = AttentionLayer(4, 5, 1, "softmax")
    system = LayerSystem(layer, *sample(P, N, 4))
    theta = layer.initial_weights(0.2, rng=1)
    return lambda: system.loss_and_gradient(theta)


def every_token(N: int) -> Call:
    """The same as published training code computes it."""
    layer = AttentionLayer(4, 5, 1, "softmax")
    gradient = by_torch.bound(by_torch.all_tokens, layer, *sample(500, N, 4), 500)
    theta = layer.initial_weights(0.2, rng=1)
    return lambda: gradient(theta)


def scaled(inverse: float, method: str) -> Call:
    """A trajectory whose duration grows as 1/init."""
    case = Case(4, 4, 1, 1 / inverse, 210.5 * inverse)
    return lambda: flow(case, method)


def seeds(count: int) -> Call:
    """An ensemble."""
    case = Case(4, 4, 1, 1e-2, 2000.0, count)
    return lambda: many.flow(case, "explicit")


def spectra(count: int) -> Call:
    """Closed forms."""
    eigenvalues = np.random.default_rng(0).uniform(0.1, 1.0, (count, 8))
    return lambda: analytic.plateau_losses(eigenvalues, 31)

"""L3, L8: linear attention trains exactly as linear networks on the cubic feature z."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from claims.base import Check, Evidence, Settings, agree, claim
from claims.cases import EPS, reference_task
from numerics import (
    AttentionSystem,
    ConvolutionalNetwork,
    MergedAttention,
    SeparateAttention,
    Trajectory,
    TwoLayerNetwork,
    gradient_descent,
    sample_moments,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class _SideBySide:
    """Runs of an attention model and of a network under several optimisers, and their checks."""

    def __init__(self, attention: AttentionSystem, network: Any, name: str) -> None:
        self.attention, self.network, self.name = attention, network, name
        self.checks: list[Check] = []
        self.curves: dict[tuple[str, float], tuple[Trajectory, Trajectory]] = {}

    def run(
        self, scale: float, start: np.ndarray, layers: np.ndarray, rates: dict[str, float],
        steps: int, amplification: float,
    ) -> None:  # fmt: skip
        """Train both from the same weights and compare the loss at every step."""
        for optimiser, rate in rates.items():
            # At rest Adam divides rounding errors by their own size and so amplifies them.
            count = min(steps, 1500) if optimiser == "adam" else steps
            ours = gradient_descent(self.attention, start, count, rate, optimiser=optimiser)
            theirs = gradient_descent(self.network, layers, count, rate, optimiser=optimiser)
            self.checks.append(
                agree(
                    f"loss over {count} steps of {optimiser} from weights of {scale}",
                    theirs.loss,
                    ours.loss,
                    EPS * steps * amplification,
                    "one rounding a step, amplified by the growth of the weights to order 1",
                    scale=theirs.loss[0],
                )
            )
            self.curves[optimiser, scale] = (ours, theirs)

    def evidence(self, scale: float) -> Evidence:
        """All checks, and a picture of the runs from one initial scale."""

        def draw(ax: Axes) -> None:
            for (optimiser, size), (ours, theirs) in self.curves.items():
                if size == scale:
                    ax.plot(ours.t, ours.loss, lw=2.8, alpha=0.5, label=f"attention, {optimiser}")
                    ax.plot(theirs.t, theirs.loss, color="black", lw=0.8, ls="--")
            ax.set_xlabel(f"step (dashed: {self.name})")
            ax.set_ylabel("training loss")
            ax.legend()

        return Evidence(self.checks, draw)


@claim(
    "L3",
    source="[L] Eq. 6–8, Fig. 1",
    kind="identity",
    statement="ATTN_M trains exactly as a two-layer linear network of width H on z = vec(β x_qᵀ)",
    regime="any optimiser, any initial weights, any data",
)
def two_layer_network(settings: Settings) -> Evidence:
    """Loss curves of the two models under three optimisers, from small and large weights."""
    model = MergedAttention(dimension=4, heads=8)
    data = sample_moments(reference_task(), 2000, rng=settings.seed)
    network = TwoLayerNetwork(data, width=8)
    pair = _SideBySide(AttentionSystem(model, data), network, "two-layer network on z")
    rates = {"gradient-descent": 0.1, "momentum": 0.02, "adam": 0.003}
    for scale in (0.02, 0.5):
        start = model.initial_weights(scale, rng=settings.seed)
        v, U = model.unpack(start)
        # z stacks the columns of β x_qᵀ, so a row of W1 is U_h by columns.
        layers = network.pack(v, U.swapaxes(1, 2).reshape(8, -1))
        pair.run(scale, start, layers, rates, settings.choose(1500, 6001), 1 / scale)
    return pair.evidence(0.02)


@claim(
    "L8",
    source="[L] Eq. 12, 13, Fig. 2",
    kind="identity",
    statement="rank-one ATTN_S trains exactly as H three-layer convolutional linear networks on z",
    regime="R = 1, any optimiser, any initial weights, any data",
)
def convolutional_network(settings: Settings) -> Evidence:
    """Loss curves of the two models under three optimisers, from small and large weights."""
    model = SeparateAttention(dimension=4, heads=4)
    data = sample_moments(reference_task(), 2000, rng=settings.seed)
    network = ConvolutionalNetwork(data, width=4)
    pair = _SideBySide(AttentionSystem(model, data), network, "convolutional networks on z")
    rates = {"gradient-descent": 0.2, "momentum": 0.05, "adam": 0.01}
    for scale in (0.1, 0.5):
        start = model.initial_weights(scale, rng=settings.seed)
        v, k, q = model.unpack(start)
        layers = network.pack(v, k[:, 0], q[:, 0])
        pair.run(scale, start, layers, rates, settings.choose(600, 6001), 1 / scale**2)
    return pair.evidence(0.5)

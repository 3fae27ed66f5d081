"""S3: the three phases of training softmax heads, and which head takes which task.

The phases of a task are read off its own share ℓ_i of the loss alone. It starts at ℓ_i(0) and falls
to ℓ_i(end); the warm-up lasts until a tenth of that fall is done, emergence until nine tenths are,
convergence is the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, agree, at_least, claim, same
from numerics import (
    FreshBatches,
    MultiTask,
    MultiTaskLayer,
    TrainingRun,
    Trajectory,
    crossing_times,
    sample_multitask,
    train,
)
from numerics.softmax.decomposable import SpectralAttention
from numerics.softmax.optimum import exact_optimum
from numerics.softmax.spectral import PAPER_TAU, SpectralSystem, spectral_flow

Array = np.ndarray
FIG1 = MultiTask((10, 10, 10), 1.0, context_length=100)  # [S] Fig. 1: H = 3, d_e = 30
UNEQUAL = MultiTask((4, 6), signal=(1.0, 0.8), context_length=60, noise=0.5)
SHARE = 0.1


def heads_system(task: MultiTask, heads: int | None = None) -> SpectralSystem:
    """The task's spectral system, by default with a head for each task; d_e = d."""
    model = SpectralAttention(task.block_dims, heads or task.outputs, task.dimension)
    return SpectralSystem(model, task)


@dataclass(frozen=True, eq=False)
class Allocation:
    """A run, and what its heads do for the tasks that they led at the start."""

    system: SpectralSystem
    leaders: tuple[int, ...]
    run: Trajectory

    @cached_property
    def weights(self) -> tuple[Array, Array]:
        """Block means ω̄ and μ, (T, H, I) each."""
        omega, mu = self.system.model.combined(self.run.states)
        return self.system.model.block_means(omega), mu

    @cached_property
    def losses(self) -> Array:
        """ℓ_i(t), (T, I)."""
        return self.system.task_losses(*self.system.model.combined(self.run.states))

    def own(self, values: Array) -> Array:
        """Values (T, H, I) of each task's leader, (T, I)."""
        return values[:, list(self.leaders), np.arange(len(self.leaders))]

    @cached_property
    def bounds(self) -> Array:
        """Ends of warm-up and of emergence of each task, (2, I)."""
        start, end = self.losses[0], self.losses[-1]
        levels = [start - share * (start - end) for share in (SHARE, 1 - SHARE)]
        return np.array(
            [
                [crossing_times(self.run.t, self.losses[:, i], [level[i]])[0] for level in levels]
                for i in range(len(start))
            ]
        ).T

    @property
    def takers(self) -> list[int]:
        """The head with the largest μ_i^h ω̄_i^h for each task at the end."""
        omega, mu = self.weights
        return [int(h) for h in (omega[-1] * mu[-1]).argmax(axis=0)]

    def tilted(self, leaders: Any) -> int:
        """Tasks whose `leaders` at least double ω̄_i and increase their part of Σ_h ω̄_i in it."""
        omega = self.weights[0]
        task = np.arange(len(leaders))
        then = np.array([np.abs(self.run.t - t).argmin() for t in self.bounds[0]])
        first, last = (omega[when, :, task] for when in (np.zeros_like(then), then))
        own_first, own_last = (part[task, list(leaders)] for part in (first, last))
        gained = own_last / last.sum(axis=1) > own_first / first.sum(axis=1)
        return int((gained & (own_last > 2 * own_first)).sum())


@lru_cache
def allocation(
    name: str, omega: float, leaders: tuple[int, ...], heads: int, duration: float = 60.0
) -> Allocation:
    """The flow of a case from a symmetric balanced start, read-outs 0.5 and 1 for the leaders."""
    system = heads_system({"fig1": FIG1, "unequal": UNEQUAL}[name], heads)
    start = system.model.leading_weights(omega, 0.5, 1.0, leaders=leaders)
    return Allocation(system, leaders, spectral_flow(system, start, duration))


@dataclass(frozen=True, eq=False)
class Sampled:
    """The whole layer trained on fresh sequences, beside the spectral flow from its start."""

    task: MultiTask
    t: Array
    omega: Array
    mu: Array
    loss: Array
    plateau: float
    flow: Allocation

    @property
    def emergence(self) -> tuple[float, float]:
        """Mean over tasks of the time at which ω̄ is half its limit: the flow's, the layer's."""
        half = -0.5 / np.sqrt(np.array(self.task.block_dims))
        flow = self.flow.own(self.flow.weights[0])
        times = [
            [crossing_times(t, -curves[:, i], [level])[0] for i, level in enumerate(half)]
            for t, curves in ((self.flow.run.t, flow), (self.t, self.flow.own(self.omega)))
        ]
        return float(np.mean(times[0])), float(np.mean(times[1]))


def train_layer(
    task: MultiTask, omega: float, rate: Any, steps: int, batch: int, seed: int
) -> tuple[MultiTaskLayer, Array, TrainingRun]:
    """Plain gradient descent of a whole layer with d_e = d on fresh sequences, and its start.

    A step of rate η lasts η in [S]'s time, `PAPER_TAU` times the run's own.
    """
    model = heads_system(task).model
    layer = MultiTaskLayer(task.dimension, task.outputs, model.heads, model.embedding_dim)
    start = model.leading_weights(omega, 0.5, 1.0)
    run = train(
        FreshBatches(layer, task, batch), layer.embed(*model.unpack(start)), steps, rate,
        record=np.arange(0, steps + 1, max(1, steps // 375)), rng=seed,
    )  # fmt: skip
    return layer, start, run


@lru_cache
def sampled(full: bool, seed: int) -> Sampled:
    """The whole layer, at a tenth of the rate in the last third of its steps.

    That, and the mean of its last weights on sequences of their own, take most of the batches'
    noise out of the plateau.
    """
    if full:
        task, omega, rate, steps, batch = FIG1, 0.01, 0.005, 2400, 128
    else:
        task, omega, rate, steps, batch = MultiTask((3, 3), 1.0, 20), 0.05, 0.02, 375, 256

    def slower(step: int) -> float:
        return rate if step < 2 * steps // 3 else rate / 10

    layer, start, run = train_layer(task, omega, slower, steps, batch, seed)
    system, t = heads_system(task), PAPER_TAU * run.time
    weights, mu = layer.spectral(run.states)
    last = run.states[run.step > 5 * steps // 6].mean(axis=0)
    plateau = layer.loss(last, *sample_multitask(task, 20_000, rng=(seed, 3)))
    flow = Allocation(system, tuple(range(task.outputs)), spectral_flow(system, start, t[-1]))
    means = system.model.block_means(weights)
    return Sampled(task, t, means, mu, run.loss, plateau, flow)


@claim(
    "S3",
    source="[S] Theorems 1, 2; Fig. 1",
    kind="qualitative",
    statement="warm-up, emergence, convergence; each task ends on the head that led it",
    regime="balanced start, ω̄ of 0.01, leading μ 1 against 0.5; samples: leading order in 1/d_i",
)
def three_phases(settings: Settings) -> Evidence:
    """The flow's own phases, permuted leaders, and the whole layer on samples beside it."""
    reference = allocation("fig1", 0.01, (0, 1, 2), 3)
    early, late = (allocation("fig1", w, (0, 1, 2), 3) for w in (0.1, 1e-3))
    tasks = reference.system.model.tasks
    limit = closed.task_limit_losses(10, 1.0, 100)
    warm, risen = reference.bounds

    def slow_then_fast(case: Allocation) -> int:
        start, end = case.bounds
        return int((start > end - start).sum())

    def ends(case: Allocation, level: float) -> int:
        """Tasks that stay within 1 % of a loss from the time 3 × the end of emergence."""
        late = case.losses[case.run.t > 3 * case.bounds[1].max()]
        return int((np.abs(late / level - 1) < 0.01).all(axis=0).sum())

    checks = [
        same("Fig. 1: tasks whose leader's ω̄ doubles and gains share before the loss is 90 %",
             tasks, reference.tilted((0, 1, 2)),
             control=lambda: reference.tilted((1, 2, 0))),
        same("tasks that fall from 90 to 10 % faster than they warmed up", tasks,
             slow_then_fast(reference), control=lambda: slow_then_fast(early)),
        same("tasks within 1 % of the limit from 3 times that on", tasks,
             ends(reference, float(limit)), control=lambda: ends(reference, 1.02 * float(limit))),
        at_least("warm-up over emergence at ω̄ = 0.001, in tenths of that at 0.01", 11,
                 int(10 * _ratio(late) / _ratio(reference)),
                 control=lambda: int(10 * _ratio(early) / _ratio(reference))),
        *_allocations(settings),
        *_on_samples(settings),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        shown = sampled(settings.full, settings.seed)
        own = shown.flow.own(shown.flow.weights[0])
        root = np.sqrt(np.array(shown.task.block_dims))
        style.measured(ax, shown.t, shown.flow.own(shown.omega) * root, alpha=0.6)
        ax.plot(shown.flow.run.t, own * root, color=style.OVER, lw=1.2, ls=style.DASHES)
        ax.plot([], [], color=style.PALE, lw=3.2, label="whole layer on samples")
        ax.plot([], [], color=style.OVER, lw=1.2, ls=style.DASHES, label="spectral flow")
        ax.axhline(1, color=style.QUIET, lw=0.8)
        ax.set_xlabel("training time of dθ/dt = −∂ℓ/∂θ")
        ax.set_ylabel("ω̄ √d_i of each task's leader")
        ax.legend()

    case = sampled(settings.full, settings.seed)
    predicted, measured = case.emergence
    note = (
        f"Fig. 1: warm-up until {warm.mean():.2f}, emergence until {risen.mean():.2f}; whole layer "
        f"on samples (d_i = {case.task.block_dims[0]}): emergence at {measured:.2f}, "
        f"not {predicted:.2f}, plateau {case.plateau:.3f} where leading order has "
        f"{float(closed.limit_loss(case.task.block_dims, 1.0, case.task.context_length)):.3f}"
    )
    return Evidence(checks, draw, note)


def _ratio(case: Allocation) -> float:
    start, end = case.bounds
    return float((start / (end - start)).mean())


def _allocations(settings: Settings) -> list[Check]:
    """Random leaders among more heads than tasks, tasks that differ."""
    rng, checks = np.random.default_rng(settings.seed), []
    for _ in range(settings.choose(2, 6)):
        checks += _allocation_of([int(h) for h in rng.permutation(4)[:2]])
    return checks


def _allocation_of(leaders: list[int]) -> list[Check]:
    case = allocation("unequal", 0.02, tuple(leaders), 4, 40.0)
    omega, mu = case.weights
    share = np.abs(omega[-1] * mu[-1])
    own = share[leaders, np.arange(2)] / share.sum(axis=0)
    return [
        same(f"heads that end on tasks led by {leaders}, of 4", leaders, case.takers,
             control=lambda: case.takers[::-1]),
        agree("part of Σ_h |μω̄| on the leader", 1.0, own, 0.01,
              "off-task μ decay exponentially, at the limit's escape rate",
              control=lambda: share[leaders[::-1], np.arange(2)] / share.sum(axis=0)),
    ]  # fmt: skip


def _on_samples(settings: Settings) -> list[Check]:
    """Time of emergence and plateau of the whole layer against the flow, to leading order."""
    case = sampled(settings.full, settings.seed)
    predicted, measured = case.emergence
    d, L = case.task.block_dims[0], case.task.context_length
    limit = float(closed.limit_loss(case.task.block_dims, 1.0, L))
    # The exact optimum of heads on their tasks, and what the flow itself has left at that time.
    exact = sum(exact_optimum(size, 1.0, L).loss for size in case.task.block_dims)
    expected = exact + float(case.flow.run.loss[-1]) - limit
    ends = [int(h) for h in (case.omega[-1] * case.mu[-1]).argmax(axis=0)]
    return [
        agree(f"samples, d_i = {d}, L = {L}: time of emergence against the flow's", predicted,
              measured, 1 / d, "the flow is of leading order, its error of relative 1/d_i",
              control=lambda: 2 * measured),  # a step taken to last 2η, as for τ = 1
        agree("samples: plateau against the exact optimum of allocated heads", expected,
              case.plateau, 0.08, "1 % Monte Carlo; noise of the batches; ω off task",
              control=lambda: limit),
        same("samples: heads that end on the tasks", list(case.flow.leaders), ends),
    ]  # fmt: skip

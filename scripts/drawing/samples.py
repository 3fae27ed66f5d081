"""The whole layer trained on P sequences, every block of its weights free, as P grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import analytic
import style
from drawing.base import Drawing, Names, Row, Settings, level_rows, rows, thin
from drawing.runs import CONTEXT, FOUR
from numerics import (
    AttentionLayer,
    LayerMomentsSystem,
    LinearLayerMoments,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    Trajectory,
    extra_blocks,
    gradient_flow,
    linear_layer_moments,
    population_moments,
    sample_chunks,
    system_flow,
    tokens_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

HEADS, SCALE = 4, 1e-2
# The slowest mode of ATTN_S needs about τ/(λ² SCALE).
LAYERS = {"ATTN_M": (None, 1e3), "ATTN_S, R = 1": (1, 6.0 / (FOUR[-1] ** 2 * SCALE))}
FIRST_TIME = {"ATTN_M": 4.0, "ATTN_S, R = 1": 200.0}


@dataclass(frozen=True, eq=False)
class Curve:
    """Training loss on one sample, or the loss in the population (P is None)."""

    sequences: int | None
    seed: int
    t: Array
    loss: Array
    extra: float


@dataclass(frozen=True, eq=False)
class Panel:
    """One layer: its plateaus, its flow in the population and its flows on samples."""

    name: str
    plateaus: Array
    population: Curve
    sampled: tuple[Curve, ...]


def compute(settings: Settings) -> tuple[Panel, ...]:
    """[L] Fig. 3's task, D=4, N=31, H=4, from N(0, 0.01²) in the reduced form's blocks alone."""
    task = LinearTask.from_eigenvalues(FOUR, CONTEXT, rng=settings.seed)
    counts = (100, 1000, 10_000) if settings.quick else (100, 1000, 10_000, 100_000)
    samples = [
        (count, seed, _moments(task, count, seed)) for count in counts for seed in settings.seeds(4)
    ]
    return tuple(_panel(name, task, samples, settings.seed) for name in LAYERS)


def _moments(task: LinearTask, count: int, seed: int) -> LinearLayerMoments:
    chunks = sample_chunks(task, count, rng=(count, seed))
    return linear_layer_moments(((tokens_of(s), s.target) for s in chunks), divide_by_context=True)


def _panel(name: str, task: LinearTask, samples: list[Any], seed: int) -> Panel:
    rank, duration = LAYERS[name]
    model: Any = MergedAttention(4, HEADS) if rank is None else SeparateAttention(4, HEADS, rank)
    weights = model.initial_weights(SCALE, rng=seed)
    population = gradient_flow(model, population_moments(task), weights, duration)
    plateaus = np.asarray(analytic.plateau_losses(FOUR, CONTEXT))
    layer = AttentionLayer(4, HEADS, rank, divide_by_context=True)
    start = layer.embed(*model.unpack(weights))
    sampled = []
    for count, sample, moments in samples:
        system = LayerMomentsSystem(layer, moments)
        run = system_flow(system, start, duration, method="LSODA", rtol=1e-6)
        extra = float(np.linalg.norm(extra_blocks(layer, run.states[-1])))
        sampled.append(_curve(run, count, sample, extra))
    return Panel(
        name,
        plateaus if rank else plateaus[[0, -1]],
        _curve(population, None, seed, 0.0),
        tuple(sampled),
    )


def _curve(run: Trajectory, sequences: int | None, seed: int, extra: float) -> Curve:
    if run.status != "finished":
        raise ArithmeticError(
            f"the flow on {sequences or 'infinitely many'} sequences {run.status}"
        )
    keep = thin(run.t, run.loss, log_x=True)
    return Curve(sequences, seed, run.t[keep], run.loss[keep], extra)


def draw(result: tuple[Panel, ...]) -> Figure:
    """A panel of losses for each layer, and the extra blocks at the end over P."""
    fig, axes = style.figure(7.2, 3.0, ncols=3)
    axes[1].sharey(axes[0])
    axes[1].tick_params(labelleft=False)
    for ax, panel, letter in zip(axes, result, "ab", strict=False):
        _losses(ax, panel)
        ax.set_title(f"({letter}) {panel.name}", loc="left")
    _drift(axes[2], result)
    axes[0].set_ylabel("training loss  E(ŷ − y)²")
    handles, labels = axes[1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=6, columnspacing=1.2)
    return fig


def _losses(ax: Axes, panel: Panel) -> None:
    style.plateau_lines(ax, panel.plateaus)
    colours = _colours(panel)
    seen: set[Any] = set()
    for curve in panel.sampled:
        ax.plot(curve.t, curve.loss, color=colours[curve.sequences], lw=0.9, alpha=0.85,
                label=None if curve.sequences in seen else _power(curve.sequences))  # fmt: skip
        seen.add(curve.sequences)
    ax.plot(panel.population.t, panel.population.loss, color="black", lw=1.0, label="population")
    ax.set_xscale("log")
    ax.set_xlim(FIRST_TIME[panel.name], panel.population.t[-1])
    ax.set_ylim(0, 1.04 * max(float(c.loss[0]) for c in (panel.population, *panel.sampled)))
    ax.set_xlabel("training time  [τ]")


def _drift(ax: Axes, result: tuple[Panel, ...]) -> None:
    """Norms at the end, and lines of slope −1/2 through their geometric means."""
    for panel, marker, colour in zip(result, "os", (style.MEASURED, style.OTHER), strict=True):
        P = np.array([curve.sequences for curve in panel.sampled], float)
        norms = np.array([curve.extra for curve in panel.sampled])
        ax.plot(P, norms, marker, color=colour, ms=3.5, alpha=0.6, label=panel.name)
        ends = np.array([P.min(), P.max()])
        style.predicted(ax, ends, _guide(P, norms) / np.sqrt(ends))
    ax.plot([], [], color=style.OVER, lw=1.2, ls=style.DASHES, label="∝ 1/√P")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("sequences P")
    ax.set_title("(c) norm of the extra blocks", loc="left")
    ax.legend(loc="lower left", handlelength=1.6)


def _guide(P: Array, norms: Array) -> float:
    """c of c/√P through the middle of the samples, on logarithmic axes."""
    return float(np.exp(np.mean(np.log(norms * np.sqrt(P)))))


def _colours(panel: Panel) -> dict[int | None, Any]:
    """Pale to dark blue as P grows."""
    counts = sorted({curve.sequences or 0 for curve in panel.sampled})
    return dict(zip(counts, (style.SHADES[i] for i in (4, 3, 1, 0)), strict=False))


def _power(count: int | None) -> str:
    return f"P = 10$^{{{round(np.log10(count or 1))}}}$"


def table(result: tuple[Panel, ...]) -> Iterator[Row]:
    """Every curve, every plateau, and the extra blocks."""
    for panel in result:
        yield from level_rows(panel.name, panel.plateaus)
        curve = panel.population
        yield from rows(panel.name, "population", "measured", curve.t, curve.loss)
        for curve in panel.sampled:
            series = f"P={curve.sequences} seed {curve.seed}"
            yield from rows(panel.name, series, "measured", curve.t, curve.loss)
    names = Names("sequences", "norm_of_extra_blocks")
    for panel in result:
        P = np.array([curve.sequences for curve in panel.sampled], float)
        norms = np.array([curve.extra for curve in panel.sampled])
        ends = np.array([P.min(), P.max()])
        yield from rows("extra blocks", panel.name, "measured", P, norms, names)
        guide = _guide(P, norms) / np.sqrt(ends)
        yield from rows("extra blocks", f"{panel.name} guide", "predicted", ends, guide, names)


DRAWINGS = {"samples": Drawing(compute, draw, table)}

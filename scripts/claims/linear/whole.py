"""L18, and B2 with all blocks: the whole layer, and what the reduced model leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import style
from claims.base import Check, Evidence, Settings, agree, claim, within_noise
from claims.cases import EPS, reference_task
from numerics import (
    AttentionLayer,
    AttentionSystem,
    LayerMomentsSystem,
    LayerSystem,
    LinearLayerMoments,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    Sequences,
    Trajectory,
    antithetic,
    crossing_times,
    extra_blocks,
    gradient_descent,
    linear_layer_moments,
    moments_of_sequences,
    reduced_moments,
    sample_chunks,
    sample_sequences,
    token_blocks,
    tokens_of,
)

EIGENVALUES, CONTEXT, NOISE, HEADS = (0.5, 0.3, 0.2), 7, 0.3, 2
RANKS = {"ATTN_M": None, "ATTN_S": 1}
COLOURS = {"ATTN_M": style.MEASURED, "ATTN_S": style.OTHER}
# Steps of descent, 60 units of flow time: from weights of 0.3 both layers are past the first drop.
SCALE, STEPS, RATE = 0.3, 150, 0.2
# The runs of B2: initial weights in every block, and a rate at which no layer oscillates.
_SMALL, _SLOW = 0.1, 0.05


def reduced_model(rank: int | None) -> MergedAttention | SeparateAttention:
    """The reduced form of a layer of the case."""
    D = len(EIGENVALUES)
    return MergedAttention(D, HEADS) if rank is None else SeparateAttention(D, HEADS, rank)


def layer_moments(sequences: Any) -> LinearLayerMoments:
    """What a layer that is divided by N sees of chunks of sequences."""
    chunks = [sequences] if isinstance(sequences, Sequences) else sequences
    blocks = (block for chunk in chunks for block in token_blocks(chunk))
    return linear_layer_moments(blocks, divide_by_context=True)


def whole_layer(rank: int | None, moments: LinearLayerMoments) -> LayerMomentsSystem:
    """The layer of the case with all its blocks, on given moments."""
    layer = AttentionLayer(len(EIGENVALUES), HEADS, rank, divide_by_context=True)
    return LayerMomentsSystem(layer, moments)


def embedded(system: LayerMomentsSystem, rank: int | None, scale: float, seed: int) -> np.ndarray:
    """Weights N(0, scale²) of the reduced form, and zero in all other blocks."""
    model = reduced_model(rank)
    return system.layer.embed(*model.unpack(model.initial_weights(scale, rng=seed)))


@claim(
    "L18",
    source="[L] App. F.1; derived (samples)",
    kind="asymptotic",
    statement="blocks the reduced form lacks stay at 0; on P sampled sequences they drift as 1/√P",
    regime="law of (w, ε) symmetric about 0; ATTN_M, ATTN_S with R = 1; fixed time, P ≥ 250",
)
def zero_blocks(settings: Settings) -> Evidence:
    """Whole layers on a mirrored sample, which stays put exactly, and on a ladder of samples."""
    task = LinearTask.from_eigenvalues(EIGENVALUES, CONTEXT, noise=NOISE, rng=settings.seed)
    half = sample_sequences(task, settings.choose(200, 2000), rng=settings.seed)
    checks: list[Check] = []
    for name, rank in RANKS.items():
        checks += _at_rest(name, rank, half, settings)
    ladder = drift_ladder(task, settings)
    for name, drift in ladder.items():
        slope, error = drift.exponent()
        checks.append(
            within_noise(f"{name}: exponent of the drift in P", -0.5, slope, error, wrong=-0.75)
        )
    note = ", ".join(f"{drift.prefactor():.3g}/√P in {name}" for name, drift in ladder.items())
    exponents = ", ".join("{:.3f} ± {:.3f}".format(*d.exponent()) for d in ladder.values())

    def draw(ax: Any) -> None:
        for name, drift in ladder.items():
            colour = COLOURS[name]
            for P, sizes in zip(drift.counts, drift.sizes, strict=True):
                ax.plot([P] * len(sizes), sizes, ".", color=colour, ms=3, alpha=0.35)
            rms = np.sqrt(np.mean(drift.sizes**2, axis=1))
            ax.plot(drift.counts, rms, "o", color=colour, label=f"{name}, RMS")
            style.predicted(ax, drift.counts, drift.prefactor() / np.sqrt(drift.counts))
        ax.plot([], [], color=style.OVER, ls=style.DASHES, lw=1.2, label="slope −1/2")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("sequences P")
        ax.set_ylabel("norm of the extra blocks")
        ax.legend()

    time = 2 * RATE * STEPS
    text = f"RMS norm of the extra blocks at t = {time:g}τ: {note}; exponents {exponents}"
    return Evidence(checks, draw, text)


def _at_rest(name: str, rank: int | None, half: Sequences, settings: Settings) -> list[Check]:
    """On a mirrored sample the odd moments of the labels vanish, as they do in the population."""
    both, model = antithetic(half), reduced_model(rank)
    steps, rate, scale = settings.choose(400, 3000), 0.1, 0.05
    mirrored, plain = (whole_layer(rank, layer_moments(s)) for s in (both, half))
    start = embedded(mirrored, rank, scale, settings.seed)

    def train(system: LayerMomentsSystem) -> tuple[Trajectory, float]:
        run = gradient_descent(system, start, steps, rate)
        return run, float(np.abs(extra_blocks(system.layer, run.states)).max())

    run, largest = train(mirrored)
    reduced = gradient_descent(
        AttentionSystem(model, moments_of_sequences(both)),
        model.initial_weights(scale, rng=settings.seed), steps, rate,
    )  # fmt: skip
    tolerance = EPS * steps / scale**2
    because = "one rounding a step, amplified by the growth of the weights to order 1"
    return [
        agree(f"{name}: largest extra weight, mirrored sample", 0.0, largest, tolerance, because,
              scale=1.0, control=lambda: train(plain)[1]),
        agree(f"{name}: loss of the whole layer against the reduced model", reduced.loss, run.loss,
              tolerance, because, scale=reduced.loss[0]),
    ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Drift:
    """Norm of the extra blocks at a fixed time, `sizes` (rungs, samples), for `counts` P."""

    counts: np.ndarray
    sizes: np.ndarray

    def prefactor(self) -> float:
        """c of c/√P, in quadrature over all samples."""
        return float(np.sqrt(np.mean(self.counts[:, None] * self.sizes**2)))

    def exponent(self) -> tuple[float, float]:
        """Least-squares slope of ln size over ln P, all samples, and its standard error.

        Sizes are, to first order in 1/√P, one random number over √P: their logarithms scatter
        alike at every P, about a line. Squares would scatter alike too, but with longer tails.
        """
        x, y = np.log(self.counts), np.log(self.sizes)
        x, samples = x - x.mean(), self.sizes.shape[1]
        scatter = y.var(axis=1, ddof=1).mean()
        return float(x @ y.mean(axis=1) / (x @ x)), float(np.sqrt(scatter / samples / (x @ x)))


def drift_ladder(task: LinearTask, settings: Settings) -> dict[str, Drift]:
    """Extra blocks after the same time from the same weights, on independent samples.

    The drift is a series in 1/√P whose next terms are odd or average out: a relative O(1/P).
    Means of ln(size √P) over 400 samples agree to 0.03 ± 0.03 at P = 250, 500, …, 8000, so the
    ladder may begin at 250 and is off by less than 0.01 in the exponent.
    """
    counts = 250 * 4 ** np.arange(settings.choose(4, 6))
    samples = settings.choose(16, 24)
    sizes = {name: np.empty((len(counts), samples)) for name in RANKS}
    for row, P in enumerate(counts):
        for sample in range(samples):
            seed = (settings.seed, int(P), sample)
            moments = layer_moments(sample_chunks(task, int(P), rng=seed))
            for name, rank in RANKS.items():
                system = whole_layer(rank, moments)
                start = embedded(system, rank, SCALE, 0)
                run = gradient_descent(system, start, STEPS, RATE, every=STEPS)
                extra = extra_blocks(system.layer, run.states[-1])
                sizes[name][row, sample] = np.linalg.norm(extra)
    return {name: Drift(counts, size) for name, size in sizes.items()}


@dataclass(frozen=True, eq=False)
class WholeRun:
    """One run of a layer on P sequences, on their moments, and of its reduced blocks alone."""

    sampled: Trajectory
    exact: Trajectory
    reduced: Trajectory


def reduced_part(layer: AttentionLayer, theta: np.ndarray) -> tuple[Any, np.ndarray]:
    """The reduced model of a layer, and the weights that both have."""
    D, heads = layer.dimension, layer.heads
    a, *rest = layer.unpack(theta)
    if layer.rank is None:
        merged = MergedAttention(D, heads)
        return merged, merged.pack(a[:, D], rest[0][:, :D, :D].swapaxes(1, 2))
    separate = SeparateAttention(D, heads, layer.rank)
    return separate, separate.pack(a[:, D], *(block[..., :D] for block in rest))


def sampled_runs(settings: Settings) -> dict[str, WholeRun]:
    """Both layers with D = H = 4 on sequences of the reference task, from weights in all blocks."""
    count, steps = settings.choose((200, 1000), (1000, 3000))
    sequences = sample_sequences(reference_task(), count, rng=settings.seed)
    tokens, moments = tokens_of(sequences), layer_moments(sequences)
    runs = {}
    for name, rank in RANKS.items():
        layer = AttentionLayer(4, 4, rank, divide_by_context=True)
        start = layer.initial_weights(_SMALL, rng=settings.seed)
        model, inside = reduced_part(layer, start)
        runs[name] = WholeRun(
            gradient_descent(LayerSystem(layer, tokens, sequences.target), start, steps, _SLOW),
            gradient_descent(LayerMomentsSystem(layer, moments), start, steps, _SLOW),
            gradient_descent(
                AttentionSystem(model, reduced_moments(moments)), inside, steps, _SLOW
            ),
        )
    return runs


def sampled_checks(runs: dict[str, WholeRun]) -> list[Check]:
    """B2 for the whole layer; the control is the run that its reduced blocks make alone."""
    checks = []
    for name, run in runs.items():
        steps = len(run.exact.t) - 1
        checks.append(
            agree(f"{name} with all blocks: loss at each of {steps} steps", run.exact.loss,
                  run.sampled.loss, EPS * steps / _SMALL,
                  "one rounding a step, amplified by the growth from the initial weights",
                  scale=run.exact.loss[0], control=partial(np.asarray, run.reduced.loss))
        )  # fmt: skip
    return checks


def reduced_gap(settings: Settings) -> str:
    """How far the reduced ATTN_M is from the whole one after 6001 steps on 1000 sequences."""
    layer = AttentionLayer(4, 8, divide_by_context=True)
    moments = layer_moments(sample_sequences(reference_task(), 1000, rng=settings.seed))
    start = layer.initial_weights(1e-6, rng=settings.seed)
    model, inside = reduced_part(layer, start)
    whole = gradient_descent(LayerMomentsSystem(layer, moments), start, 6001, _SLOW, every=3)
    reduced = gradient_descent(
        AttentionSystem(model, reduced_moments(moments)), inside, 6001, _SLOW, every=3
    )
    drops = [crossing_times(run.t, run.loss, [run.loss[0] / 2])[0] for run in (whole, reduced)]
    return (
        f"on 1000 sequences (H = 8, from 1e-6) the reduced ATTN_M ends "
        f"{reduced.loss[-1] / whole.loss[-1] - 1:.1%} above the whole layer, "
        f"and drops at step {drops[1]:.0f}, not {drops[0]:.0f}"
    )

"""B6: tokens that are not Gaussian, on patches of a photograph."""

from __future__ import annotations

from typing import Any

import numpy as np

import analytic
import style
from claims.base import Evidence, Settings, claim, within_noise
from claims.cases import eigenbasis
from claims.linear.beyond import found_heights, plateau_check
from numerics import (
    AttentionLayer,
    LayerMomentsSystem,
    LinearLayerMoments,
    SeparateAttention,
    TokenTask,
    Trajectory,
    gradient_descent,
    gradient_flow,
    linear_layer_moments,
    matrix_loss,
    minimiser,
    pool_layer_moments,
    pool_moments,
    population_moments,
    reduced_moments,
    sample_chunks,
    tokens_of,
)

# Flow time in which descent on a sample learns all modes, and its number of steps.
_LONG, _STEPS = 24_000.0, 60_000


@claim(
    "B6",
    source="derived",
    kind="asymptotic",
    statement="for any tokens the plateaus follow from S = (1−1/N)ΛΩΛ + E[xxᵀΩxxᵀ]/N + σ²Λ/N",
    regime="independent tokens with a fourth moment; here patches of a photograph, N = 31",
)
def real_tokens(settings: Settings) -> Evidence:
    """Patches of a natural image: plateaus of the flow, and training on sampled sequences."""
    from photograph import photograph_patches

    tokens = photograph_patches()
    task = TokenTask(tokens, 31)
    fourth = tokens.T @ (tokens * np.sum(tokens**2, axis=1)[:, None]) / len(tokens)
    S = analytic.token_second_moment(task.covariance, fourth, 31)
    heights = analytic.general_plateau_losses(task.covariance, S)
    gaussian = analytic.general_plateau_losses(
        task.covariance, analytic.feature_second_moment(task.covariance, 31)
    )
    model = SeparateAttention(dimension=task.dimension, heads=task.dimension)
    run = _from_small_weights(task, model)
    contexts = _loss_over_contexts(task, settings)
    batches = _batches(task, settings)
    modes = analytic.general_modes(task.covariance, S).matrices
    errors = _sampling_errors(modes, batches)
    start = _one_head_per_mode(task, model)
    reduced = gradient_flow(model, pool_moments(map(reduced_moments, batches)), start, _LONG)
    layer = AttentionLayer(task.dimension, task.dimension, 1, divide_by_context=True)
    system = LayerMomentsSystem(layer, pool_layer_moments(batches))
    trained = gradient_descent(
        system, layer.embed(*model.unpack(start)), _STEPS, _LONG / (2 * _STEPS), every=20
    )
    fitted = _fitted(system, modes)
    checks = [
        plateau_check("plateaus of the flow on the patches", heights, run),
        within_noise("loss of M* over sampled contexts", heights[-1], contexts.mean(),
                     contexts.std() / np.sqrt(len(contexts))),
        within_noise("plateaus of the reduced flow on sampled sequences", heights[1:],
                     found_heights(reduced, len(heights))[1:], errors[1:], wrong=gaussian[1:]),
        within_noise("plateaus of all blocks trained on sampled sequences, less what they fit",
                     (heights - fitted)[1:], found_heights(trained, len(heights))[1:], errors[1:],
                     wrong=(gaussian - fitted)[1:]),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        style.plateau_lines(ax, heights, "from the fourth moment")
        for i, height in enumerate(gaussian[1:]):
            ax.axhline(height, color=style.QUIET, lw=0.8, ls=":",
                       label="if tokens were Gaussian" if i == 0 else None)  # fmt: skip
        ax.plot(run.t, run.loss, color=style.MEASURED, label="gradient flow")
        ax.plot(_LONG / _STEPS * trained.t[1:], trained.loss[1:], color=style.OTHER, lw=1.0,
                label="descent on samples")  # fmt: skip
        style.loss_axes(ax, log_time=True)
        ax.set_xlim(left=10)
        ax.legend(loc="center left", bbox_to_anchor=(0.0, 0.35))

    off = float(np.max(np.abs(gaussian / heights - 1)))
    count = sum(batch.count for batch in batches)
    features = len(batches[0].correlation)
    return Evidence(
        checks,
        draw,
        f"{len(tokens):,} patches; a Gaussian S would put the plateaus off by up to {off:.0%}; "
        f"fitting {count:,} sequences with {features} features lowers them by up to "
        f"{np.max(fitted / heights):.2%}, a standard error is {np.max(errors / heights):.2%}",
    )


def _from_small_weights(task: TokenTask, model: SeparateAttention) -> Trajectory:
    """The population flow from weights of 1e-3, long enough to learn the slowest mode."""
    smallest = float(np.linalg.eigvalsh(task.covariance)[0])
    start = model.initial_weights(1e-3, rng=0)
    duration = 10 / (smallest**2 * 1e-3)
    return gradient_flow(model, population_moments(task), start, duration, rtol=1e-9)


def _batches(task: TokenTask, settings: Settings) -> list[LinearLayerMoments]:
    """Moments of ten independent samples, of which the reduced model's are a part."""
    count = settings.choose(40_000, 400_000)
    return [
        linear_layer_moments(
            ((tokens_of(s), s.target)
             for s in sample_chunks(task, count, rng=settings.seed * 10 + i)),
            divide_by_context=True,
        )
        for i in range(10)
    ]  # fmt: skip


def _one_head_per_mode(task: TokenTask, model: SeparateAttention) -> np.ndarray:
    """Small weights, each head along one eigenvector, so that no two modes drop together."""
    size = np.array([0.03, 0.02, 0.02, 0.01])
    keys = size[:, None] * eigenbasis(task).T
    return model.pack(size, keys, keys)


def _learned(modes: np.ndarray) -> np.ndarray:
    """M of the population with the first 0, 1, … D modes learned."""
    return np.concatenate([[0 * modes[0]], np.cumsum(modes, axis=0)])


def _sampling_errors(modes: np.ndarray, batches: list[LinearLayerMoments]) -> np.ndarray:
    """Standard error of the sample's loss at each predicted plateau."""
    losses = np.array([matrix_loss(reduced_moments(b), _learned(modes)) for b in batches])
    return np.asarray(losses.std(axis=0, ddof=1) / np.sqrt(len(batches)))


def _fitted(system: LayerMomentsSystem, modes: np.ndarray) -> np.ndarray:
    """How far all blocks lower the sample's loss below that at each plateau's own weights.

    With velocity g = −½ ∂L/∂θ and Jacobian J = −½ Hessian there, relaxing along the stable
    directions gains Σ g_i²/|J_i|. As g is of the order of a sampling error, this is O(features/P).
    """
    layer = system.layer
    shape = (layer.heads, layer.dimension)
    v, k, q = np.zeros(layer.heads), np.zeros(shape), np.zeros(shape)
    gains = []
    for head in range(len(modes) + 1):
        theta = layer.embed(v, k[:, None], q[:, None])
        rates, directions = np.linalg.eigh(system.jacobian(theta))
        stable = rates < -1e-9 * np.abs(rates).max()  # idle heads have directions without slope
        along = directions.T[stable] @ system.velocity(theta)
        gains.append(np.sum(along**2 / -rates[stable]))
        if head < len(modes):
            left, values, right = np.linalg.svd(modes[head])
            v[head] = np.cbrt(values[0])
            k[head], q[head] = v[head] * left[:, 0], v[head] * right[0]
    return np.array(gains)


def _loss_over_contexts(task: TokenTask, settings: Settings) -> np.ndarray:
    """Loss of M* given each of many sampled contexts, averaged exactly over w and the query.

    Without noise β = Λ̂w, so E[(ŷ − y_q)² | context] = tr (MᵀΛ̂ − I)ᵀ Λ (MᵀΛ̂ − I).
    """
    M = minimiser(population_moments(task))
    losses = []
    for s in sample_chunks(task, settings.choose(300_000, 3_000_000), chunk=20_000,
                           rng=settings.seed):  # fmt: skip
        empirical = s.x.swapaxes(1, 2) @ s.x / s.lengths[:, None, None]
        gap = M.T @ empirical - np.eye(task.dimension)
        losses.append(np.sum(gap * (task.covariance @ gap), axis=(1, 2)))
    return np.concatenate(losses)

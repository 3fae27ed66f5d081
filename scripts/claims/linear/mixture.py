"""L20: in-context against in-weight learning, a share c of random tasks beside one fixed task.

Given w, E[ββᵀ|w] and E[β|w] wᵀ are linear in wwᵀ, so that the loss of ŷ = βᵀMx_q over any law of w
is the closed form at Ω' = E[wwᵀ]: in context at Ω' = I, in weights at Ω' = w0w0ᵀ, in training at
Ω = cI + (1−c) w0w0ᵀ. A whole layer has more: its values act on x too, and
a_xᵀΛ̂ B x_q correlates with y_q as soon as E w ≠ 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import analytic
import style
from claims.base import Check, Evidence, Settings, agree, claim, same, shrinks, within_noise
from claims.cases import EPS
from claims.linear.mixture_case import CONTEXT, GENERIC, SHARES, SPECTRUM, Mixture, flow, sample
from claims.linear.sampled import flattest_between, mean_squares, train_whole_layer
from numerics import find_plateaus, linear_layer_moments, tokens_of


def plateaus(case: Mixture, scale: float = 1e-3, seed: int = 0) -> np.ndarray:
    """The three losses (3, m) where the run is flattest; NaN if their number is not predicted."""
    run = flow(case, scale, seed)
    indices = find_plateaus(run).indices
    count = len(case.visited())
    return case.measured(run.matrices[indices]) if len(indices) == count else np.full(
        (3, count), np.nan)  # fmt: skip


@claim(
    "L20",
    source="derived",
    kind="asymptotic",
    statement="a mixture of tasks N(0, I) and ±w0 trains and tests as Ω = cI + (1−c) w0w0ᵀ says",
    regime="reduced model: any sign of w0; whole layer: E w = 0 (on +w0 its values learn w0ᵀx_q)",
)
def in_context_against_in_weight(settings: Settings) -> Evidence:
    """Plateaus of three losses for c from 0 to 1, limits, and whole layers on both laws of w0."""
    cases = [Mixture(c) for c in SHARES]
    checks = [*_test_losses(settings), *_plateaus(cases, settings), *_limits(cases)]
    layers, note = _whole_layers(settings)

    def draw(ax: Any) -> None:
        case = cases[2]
        run, heights = flow(case, 1e-2), case.predicted()
        losses = case.measured(run.matrices)
        drops = find_plateaus(run).drops
        looks = (("training", style.QUIET), ("in context", style.MEASURED),
                 ("in weights", style.OTHER))  # fmt: skip
        for row, levels, (name, colour) in zip(losses, heights, looks, strict=True):
            ax.plot(run.t, row, color=colour, label=name)
            ax.hlines(levels, [30, *drops], [*drops, run.t[-1]], color=style.PREDICTED, lw=0.9,
                      ls=style.DASHES, zorder=3)  # fmt: skip
        ax.plot([], [], color=style.PREDICTED, lw=0.9, ls=style.DASHES, label="predicted")
        style.loss_axes(ax, log_time=True)
        ax.set_xlim(left=30)
        ax.set_title("c = 0.3", loc="left")
        ax.legend(loc="upper right")

    return Evidence(checks + layers, draw, note)


def _test_losses(settings: Settings) -> list[Check]:
    """The loss of any M under each law, +w0 included, and L_train as the weighted mean."""
    case, matrices = Mixture(0.3), np.random.default_rng(settings.seed).standard_normal((3, 3, 3))
    predicted = case.predicted(matrices)
    count = settings.choose(30_000, 300_000)
    checks = []
    laws = (("mixture with +w0", case.share, 0, 1), ("in context, w ~ N(0, I)", 1.0, 1, 2),
            ("in weights, w = w0", 0.0, 2, 1))  # fmt: skip
    for i, (name, share, law, other) in enumerate(laws):
        sequences = sample(Mixture(share), count, settings.seed * 10 + i, mirrored=False)
        mean, error = mean_squares(sequences, matrices)
        checks.append(within_noise(f"loss of three random M, {name}", predicted[law], mean, error,
                                   wrong=predicted[other]))  # fmt: skip
    mixed = 0.3 * case.measured(matrices)[1] + 0.7 * case.measured(matrices)[2]
    checks.append(agree("training loss as c in-context + (1−c) in-weight", predicted[0], mixed,
                        200 * EPS, "rounding of about 200 operations"))  # fmt: skip
    return checks


def _plateaus(cases: list[Mixture], settings: Settings) -> list[Check]:
    """Three losses at every plateau, their number, their error over initial scales, a detour."""
    because = "the correction is at most linear in initial weights of 1e-3"
    aligned = [Mixture(c, (1.0, 0.0, 0.0)) for c in settings.choose((0.3,), SHARES)]
    checks = []
    for seed in range(settings.choose(1, 4)):
        for case in [*cases, *aligned]:
            law = "commuting" if case.along != GENERIC else "not commuting"
            heights = case.predicted()
            checks.append(agree(
                f"plateaus of training, in-context, in-weight loss, c = {case.share:g}, {law}, "
                f"seed {seed}", heights, plateaus(case, 1e-3, seed), 1e-3, because, scale=heights,
            ))  # fmt: skip
    drops = [len(find_plateaus(flow(case)).drops) for case in cases]
    checks.append(same(f"drops at c = {', '.join(f'{c:g}' for c in SHARES)}", [1, 3, 3, 3, 3],
                       drops))  # fmt: skip
    scales, case = (3e-2, 1e-2, 3e-3), cases[2]
    heights = case.predicted()[:, 1:]
    checks.append(shrinks("three losses at the plateaus, c = 0.3", scales, [heights] * 3,
                          [plateaus(case, s)[:, 1:] for s in scales], 1.0, "as above"))  # fmt: skip
    detour = Mixture(0.6, (0.0, 0.0, 1.0))
    omega = 0.6 + np.array([0, 0, 0.4 * 3])
    path = analytic.saddle_path(SPECTRUM, CONTEXT, task_eigenvalues=omega)
    heights = analytic.fixed_point_loss(path, SPECTRUM, CONTEXT, task_eigenvalues=omega)
    found = find_plateaus(flow(detour)).heights
    found = found if len(found) == len(heights) else np.full(len(heights), np.nan)
    checks.append(agree("w0 on the least eigenvector, c = 0.6: saddle_path with its detour",
                        heights, found, 1e-3, because, scale=heights))  # fmt: skip
    return checks


def after_one_task(r: np.ndarray, trace: float, N: float) -> np.ndarray:
    """In-context loss of M* = w0w0ᵀ/(E(1+2/N)), E = w0ᵀΛw0, r = w0ᵀΛ²w0/E, learned at c = 0.

    tr Λ − [r(1+3/N) − tr Λ/N]/(1+2/N)²: it rises if r < tr Λ/(N+3).
    """
    return np.asarray(trace - (r * (1 + 3 / N) - trace / N) / (1 + 2 / N) ** 2)


def _limits(cases: list[Mixture]) -> list[Check]:
    """Final losses in order of c; at c = 0 what one task alone does to learning in context."""
    finals = np.array([case.measured(flow(case).matrices[-1:])[:, 0] for case in cases])
    order = list(range(len(cases)))
    spectrum = (0.6, 0.35, 0.05)
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    alone = [Mixture(0.0, axis, spectrum) for axis in axes]
    ends = np.array([case.measured(flow(case).matrices[-1:])[1:, 0] for case in alone])
    in_context = after_one_task(np.array(spectrum), 1.0, CONTEXT)
    in_weights = 3 * np.array(spectrum) * 2 / (CONTEXT + 2)
    because = "rtol of the solver and what is left of the last exponential approach"
    return [
        same("c in order of the final in-context loss", order[::-1], np.argsort(finals[:, 1])),
        same("c in order of the final in-weight loss", order, np.argsort(finals[:, 2])),
        agree("c = 0, w0 on each eigenvector: in-context loss at the end", in_context, ends[:, 0],
              1e-5, because),
        agree("the same, in-weight loss 2 w0ᵀΛw0/(N+2)", in_weights, ends[:, 1], 1e-5, because),
        same("sign of the change of in-context loss, w0 on λ = 0.6, 0.35, 0.05",
             np.sign(np.array([1 / 13, 1 / 13, 1 / 13]) - spectrum).astype(int),
             np.sign(ends[:, 0] - 1.0).astype(int)),
    ]  # fmt: skip


def stored_task_loss(energy: float, D: int, N: int) -> float:
    """Least loss 2 w0ᵀΛw0/((N+1)D + 4) of all that is linear in XXᵀ ⊗ x_q, at c = 0 on +w0.

    With z = Λ^(−½)x and weights (w0ᵀx_q)² on the queries, the squares of z_n and of z_q are
    independent χ²_k whose k add up to ND + D + 2, as the weight makes χ²_3 of the square along
    w0. Mean k and variance 2k make equal coefficients the best: ŷ = α Σ‖z‖² w0ᵀx_q.
    """
    return 2 * energy / ((N + 1) * D + 4)


def _stored_task(settings: Settings) -> Check:
    """The least loss of a whole layer that has one task to store, by least squares on a sample."""
    case = Mixture(0.0)
    s = sample(case, settings.choose(20_000, 200_000), settings.seed * 10 + 3, mirrored=False)
    moments = linear_layer_moments([(tokens_of(s), s.target)], divide_by_context=True)
    fit = np.linalg.lstsq(moments.feature_moment, moments.correlation)[0]
    tokens = np.concatenate([s.x, s.query[:, None]], axis=1)
    total = np.sum((tokens @ np.linalg.inv(case.covariance)) * tokens, axis=(1, 2))
    squares = ((1 - total / (3 * (CONTEXT + 1) + 4)) * s.target) ** 2
    w0 = case.fixed_task
    return within_noise(
        "c = 0 on +w0: least loss of the whole layer, 2 w0ᵀΛw0/((N+1)D+4)",
        stored_task_loss(w0 @ case.covariance @ w0, 3, CONTEXT),
        moments.energy - moments.correlation @ fit,
        squares.std() / np.sqrt(len(s)),
        wrong=case.predicted()[0, -1],
    )


def _whole_layers(settings: Settings) -> tuple[list[Check], str]:
    """All blocks, on samples with ±w0 beside the reduced theory, and on samples with +w0."""
    count, steps = settings.choose((40_000, 6000), (200_000, 12_000))
    checks = []
    for c in settings.choose((0.3,), SHARES):
        case = Mixture(c)
        sequences = sample(case, count, settings.seed * 10 + 4, mirrored=True)
        heights, errors = case.predicted()[0], mean_squares(sequences, case.visited())[1]
        found = flattest_between(
            train_whole_layer(sequences, case.modes().matrices, steps), heights
        )
        wrong = Mixture(0.3 if c == 1 else 1.0).predicted()[0, 1 : len(heights)]
        checks.append(
            within_noise(
                f"plateaus of the whole layer on ±w0, c = {c:g}",
                heights[1:],
                found,
                errors[1:],
                wrong=wrong,
            )
        )
    shares = settings.choose((0.0, 0.3), SHARES)

    def ends(mirrored: bool) -> list[tuple[float, bool]]:
        """Final loss over the reduced model's least, and whether it lies below beyond noise."""
        out = []
        for c in shares:
            case = Mixture(c)
            sequences = sample(case, count // 2, settings.seed * 10 + 5, mirrored=mirrored)
            run = train_whole_layer(sequences, case.modes().matrices, steps)
            least, error = case.predicted()[0, -1], mean_squares(sequences, case.visited()[-1:])[1]
            out.append((run.loss[-1] / least, bool(run.loss[-1] < least - 4.5 * error[0])))
        return out

    plain = ends(mirrored=False)
    checks.append(
        same(
            "whole layer on +w0 ends below every reduced model, each c < 1",
            [c < 1 for c in shares],
            [below for _, below in plain],
            control=lambda: [below for _, below in ends(mirrored=True)],
        )
    )
    ratios = (f"{r:.2f} at c = {c:g}" for c, (r, _) in zip(shares, plain, strict=True))
    note = "whole layer on +w0: final loss over the least of the reduced model " + ", ".join(ratios)
    return [*checks, _stored_task(settings)], note

"""B3: the exact loss of softmax heads at any (d, L), against oracles and its long-context limit."""

from __future__ import annotations

from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, agree, claim, same, shrinks, within_noise
from claims.softmax.finite_size import noise_of
from numerics import MultiTask
from numerics.softmax.exact import exact_loss, exact_task_loss
from numerics.softmax.monte_carlo import icl_loss_monte_carlo
from numerics.softmax.optimum import exact_optimum

RTOL = 1e-10


@claim(
    "B3",
    source="derived",
    kind="asymptotic",
    statement="exact loss at any (d, L); as L → ∞ it is closed in d, with best ‖ω‖² < 1",
    regime="one head per block; closed to O(1/L²), 6ω̄² < 1; at short contexts best ‖ω‖² > 1",
)
def exact_in_context_loss(settings: Settings) -> Evidence:
    """Sampling, two pairs by another integral, and ladders of L for the closed forms."""
    lengths = settings.choose((10**4, 10**5, 10**6), (10**4, 30_000, 10**5, 300_000, 10**6))
    cases = settings.choose(((10, 1.0), (20, 2.0)), ((10, 1.0), (20, 2.0), (40, 1.0), (100, 3.0)))
    checks = [*_sampled(settings), _two_pairs(), _side_of_one()]
    for d, factor in cases:
        checks += [*_long_contexts(d, factor, lengths), *_optimum(d, factor, lengths)]

    def draw(ax: Any) -> None:
        shown = np.unique(np.geomspace(20, 1e5, settings.choose(6, 16)).astype(int))
        for d, colour in zip((10, 30, 100), style.shades(3), strict=True):
            norms = [exact_optimum(d, 1.0, int(L)).squared_norm for L in shown]
            ax.plot(shown, norms, "o-", color=colour, ms=4, label=f"d = {d}")
            ax.axhline(closed.long_context_squared_norm(d, 1.0), color=style.OVER, lw=1.0,
                       ls=style.DASHES, label="L → ∞" if d == 10 else None)  # fmt: skip
        ax.set_xscale("log")
        ax.set_xlabel("context length L")
        ax.set_ylabel("best ‖ω‖², exact")
        ax.legend()

    short = ", ".join(f"{float(closed.long_context_squared_norm(d, 1.0)):.3f} at d = {d}"
                      for d in (10, 30, 100))  # fmt: skip
    return Evidence(checks, draw, f"best ‖ω‖² as L → ∞, without noise: {short}")


def _sampled(settings: Settings) -> list[Check]:
    """Heads on blocks, read out for every task, at small L, where no expansion holds."""
    checks = []
    for length in (2, 7, 40):
        task = MultiTask((3, 5, 2), signal=(0.7, 1.3, 0.4), context_length=length, noise=0.6)
        omega_bar = np.array([0.9, -0.5, 0.3])
        mu = np.random.default_rng((settings.seed, 5)).standard_normal((3, 3))
        omega = np.zeros((3, task.dimension))
        for head, block in enumerate(task.blocks):
            omega[head, block] = omega_bar[head]
        count = settings.choose(20_000, 200_000)
        sampled = icl_loss_monte_carlo(omega, mu, task, count, rng=settings.seed)
        formula = closed.spectral_loss(omega, mu, np.array(task.block_dims), np.array(task.signal),
                                       length, noise=task.noise)  # fmt: skip
        checks.append(within_noise(f"loss of three heads on three tasks, L = {length}",
                                   exact_loss(omega_bar, mu, task).value, sampled.mean,
                                   sampled.error, wrong=formula))  # fmt: skip
    return checks


def two_pairs_loss(mu: float, omega_bar: float, dim: int, ratio: float) -> float:
    """Loss/λ at L = 2, by an integral over the difference of the tokens and the query's norm.

    With u = (x_1 − x_2)·q/(√2 r) ~ N(0, 1) and T = tanh(ω̄ r u/√2), Σpx along q is (u T + v)/√2,
    v ~ N(0, 1), Σp² = (1 + T²)/2, and each of the d − 1 directions across q has E(Σpx)² = E Σp².
    Trapezoidal in u and in ln r, exponentially accurate.
    """
    u, log_r = np.arange(-8.5, 8.5, 0.02), np.arange(-38 / dim, 2.6, 0.02)
    density = np.exp(dim * log_r - np.exp(2 * log_r) / 2)
    r = np.exp(log_r)[:, None]
    tilt = np.tanh(omega_bar * r * u / np.sqrt(2))
    square = (1 + tilt**2) / 2
    loss = (mu * u * tilt / np.sqrt(2) - r) ** 2 + mu**2 / 2 + (dim - 1 + ratio) * mu**2 * square
    normal = np.exp(-(u**2) / 2)
    return float(density @ (loss @ normal) / (density.sum() * normal.sum()))


def _two_pairs() -> Check:
    cases = [(1.3, 0.4, 1, 0.0), (-0.8, -0.3, 1, 0.4), (2.0, 0.5, 4, 0.4), (0.7, 1.5, 12, 2.0)]
    exact = [exact_task_loss(omega, mu, d, 1.0, 2, noise=np.sqrt(ratio), rtol=RTOL).value
             for mu, omega, d, ratio in cases]  # fmt: skip
    return agree("loss at L = 2, four heads, by another integral",
                 [two_pairs_loss(*case) for case in cases], exact, RTOL,
                 "the error that the quadrature is asked for")  # fmt: skip


def _long_contexts(dim: int, factor: float, lengths: tuple[int, ...]) -> list[Check]:
    """At the limit weights, where the whole loss is O(1/L), and at weights with m = 0.8."""
    noise, name = noise_of(factor, dim), f"d = {dim}, φ = {factor:g}"
    exact, first, formula, other, other_first, other_formula = ([] for _ in range(6))
    for L in lengths:
        point = closed.limit_weights(dim, 1.0, L, noise=noise)
        known = (dim, 1.0, L)
        exact.append(exact_task_loss(point.omega_bar, point.mu, *known, noise=noise).value)
        first.append(closed.long_context_loss(point.omega_bar, point.mu, *known, noise=noise))
        formula.append(closed.limit_loss(*known, noise=noise))
        small = np.sqrt(0.5 / dim)
        other.append(exact_task_loss(small, 0.8 / small, *known, noise=noise).value)
        other_first.append(closed.long_context_loss(small, 0.8 / small, *known, noise=noise))
        row = np.full((1, dim), small), [[0.8 / small]]
        other_formula.append(closed.spectral_loss(*row, *known, noise=noise))
    return [
        shrinks(f"{name}: loss at the limit weights, closed in d", lengths, first, exact, -1.0,
                "the next order, of 1/L² in a loss of order 1/L", wrong=formula),
        shrinks(f"{name}: the same at m = 0.8, ‖ω‖² = ½", lengths, other_first, other, -2.0,
                "the next order, of 1/L² in a loss of order 1", wrong=other_formula),
    ]  # fmt: skip


def _side_of_one() -> Check:
    """The best norm is above [S]'s 1 at short contexts and below it at long ones."""
    best = [exact_optimum(d, 1.0, L).squared_norm for L in (20, 10**5) for d in (10, 30, 100)]
    return same("sign of best ‖ω‖² − 1: L = 20, then L = 10⁵, at d = 10, 30, 100",
                [1, 1, 1, -1, -1, -1], np.sign(np.array(best) - 1).astype(int))  # fmt: skip


def _optimum(dim: int, factor: float, lengths: tuple[int, ...]) -> list[Check]:
    noise, name = noise_of(factor, dim), f"d = {dim}, φ = {factor:g}"
    best = [exact_optimum(dim, 1.0, L, noise=noise) for L in lengths]
    norm = closed.long_context_squared_norm(dim, 1.0, noise=noise)
    least = [closed.long_context_optimum_loss(dim, 1.0, L, noise=noise) for L in lengths]
    because = "the next order in 1/L"
    return [
        shrinks(f"{name}: best ‖ω‖² → {norm:.4f}", lengths, [norm] * len(lengths),
                [b.squared_norm for b in best], -1.0, because, wrong=[1.0] * len(lengths)),
        shrinks(f"{name}: least loss", lengths, least, [b.loss for b in best], -1.0, because,
                wrong=[closed.limit_loss(dim, 1.0, L, noise=noise) for L in lengths]),
    ]  # fmt: skip

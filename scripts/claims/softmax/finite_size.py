"""S2 and S9: [S]'s loss against the exact one, where it was trained and at other lengths.

Relative to [S]'s formulas the exact loss is 1 + K/d + O(1/d²) for d → ∞ at fixed d/L and φ, with K
of `analytic.softmax.dimension_coefficient`. At fixed d and L → ∞ it is not 1 but
`analytic.softmax.dimension_correction`, about 1 + (1 + 1/φ)/d. Exact losses are those of
`numerics.softmax.exact`, by quadrature to a relative 1e-9.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, claim, same, shrinks, within_noise
from numerics import MultiTask
from numerics.softmax.exact import exact_loss, exact_task_loss
from numerics.softmax.monte_carlo import icl_loss_monte_carlo

Array = np.ndarray
# d/L and φ: hardly any cost of a short context, [S] Fig. 3, much of it, and label noise.
RATIOS = ((0.02, 1.0), (0.1, 1.0), (0.5, 1.0), (0.1, 2.0))


def noise_of(factor: float, dim: int) -> float:
    """σ at which φ = `factor`, λ = 1."""
    return float(np.sqrt((factor - 1) * dim))


def exact_at_limit(
    dim: int, length: int, factor: float = 1.0, test_length: int | None = None
) -> float:
    """Exact loss at L' (L if not given) of [S]'s limit weights for L, λ = 1."""
    noise = noise_of(factor, dim)
    point = closed.limit_weights(dim, 1.0, length, noise=noise)
    tested = length if test_length is None else test_length
    return exact_task_loss(point.omega_bar, point.mu, dim, 1.0, tested, noise=noise).value


@claim(
    "S2",
    source="[S] Lemma 2; derived (rate)",
    kind="asymptotic",
    statement="in-context loss of any heads: the relative error of Lemma 2 is K/d, K = O(1)",
    regime="d → ∞, L of order d at least; for L → ∞ at fixed d an error of (1 + 1/φ)/d stays",
)
def in_context_loss(settings: Settings) -> Evidence:
    """Random heads sampled, ladders of (d, L) by quadrature, and what stays as L → ∞."""
    dims = np.array(settings.choose((160, 320, 640), (80, 160, 320, 640, 1280, 2560)))
    checks = [_sampled(settings), _all_read_outs(dims[dims < 1000])]
    for ratio, factor in RATIOS:
        checks += _ladder(f"d/L = {ratio:g}, φ = {factor:g}", dims, dims / ratio, factor)
    checks += _ladder("d²/L = 1, φ = 1", dims, dims**2, 1.0)[:1]
    checks += [_floor(d, factor) for d, factor in ((10, 1.0), (10, 3.0), (100, 1.0))]

    def draw(ax: Any) -> None:
        for (ratio, factor), colour in zip(RATIOS, style.shades(len(RATIOS)), strict=True):
            exact, formula, first = ladder_losses(dims, dims / ratio, factor)
            ax.plot(dims, exact / formula - 1, "o", color=colour, ms=5,
                    label=f"d/L = {ratio:g}, φ = {factor:g}")  # fmt: skip
            style.predicted(ax, dims, first / formula - 1)
        ax.plot([], [], color=style.OVER, ls=style.DASHES, lw=1.2, label="K/d")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("d")
        ax.set_ylabel("exact loss / Lemma 2 − 1")
        ax.legend()

    short = ", ".join(f"{float(closed.dimension_correction(d, 1.0)) - 1:.1%} at d = {d}"
                      for d in (10, 30, 100))  # fmt: skip
    note = f"as L → ∞ the limit's exact loss stays above the formula by {short}"
    return Evidence(checks, draw, note)


def some_heads(task: MultiTask) -> tuple[Array, Array]:
    """Three unequal heads over all coordinates, ‖ω‖² = 0.3, with Lemma 2's best read-outs."""
    rng = np.random.default_rng((0, 2))
    owner = np.repeat(np.arange(task.outputs), task.block_dims)
    omega = rng.uniform(0.2, 1, (3, task.outputs))[:, owner]
    omega *= 1 + 0.3 * rng.standard_normal(omega.shape)
    omega *= np.sqrt(0.3) / np.linalg.norm(omega, axis=1, keepdims=True)
    kernel, columns = np.exp(omega @ omega.T), []
    factors = closed.noise_factor(np.array(task.block_dims), task.signal, noise=task.noise)
    for block, dim, factor in zip(task.blocks, task.block_dims, factors, strict=True):
        own = omega[:, block]
        gram = own @ own.T + factor * dim / task.context_length * kernel
        columns.append(np.linalg.solve(gram, own.sum(axis=1)))
    return omega, np.stack(columns, axis=1)


def _sampled(settings: Settings) -> Check:
    """Sizes at which terms of order 1/(dL) are seen above the noise, and those of 1/L² are not."""
    length, count = settings.choose((300, 10_000), (1000, 20_000))
    task = MultiTask((4, 5), signal=(0.8, 1.5), context_length=length, noise=0.5)
    omega, mu = some_heads(task)
    arguments = (omega, mu, np.array(task.block_dims), np.array(task.signal), length)
    sampled = icl_loss_monte_carlo(omega, mu, task, count, rng=settings.seed)
    return within_noise(
        "sampled loss of three heads on two tasks, against Lemma 2 with its terms of order 1/(dL)",
        closed.first_order_loss(*arguments, noise=task.noise), sampled.mean, sampled.error,
        wrong=closed.spectral_loss(*arguments, noise=task.noise),
    )  # fmt: skip


def _all_read_outs(dims: Array) -> Check:
    """Heads of three norms, each on its block and read out for every task, L = 10 d."""
    mu = np.array([[1.2, -0.3, 0.4], [0.2, 0.7, -0.5], [-0.1, 0.3, 0.9]])
    norms = np.array([0.3, 0.7, 1.0])
    exact, formula, linear = [], [], []
    for d in dims.tolist():
        task = MultiTask((d, d, d), (0.5, 1.0, 2.0), 10 * d, noise=noise_of(1.5, d))
        omega, read = np.sqrt(norms / d), mu * np.sqrt(d)
        exact.append(exact_loss(omega, read, task).value)
        arguments = (np.kron(np.diag(omega), np.ones(d)), read, d, np.array(task.signal), 10 * d)
        formula.append(closed.spectral_loss(*arguments, noise=task.noise))
        linear.append(closed.linear_attention_loss(*arguments, noise=task.noise))
    return shrinks("any read-outs of heads on blocks, L = 10 d", dims, formula, exact, -1.0,
                   "Lemma 2 is the leading order in 1/d at fixed d/L", wrong=linear)  # fmt: skip


def ladder_losses(dims: Array, lengths: Array, factor: float) -> tuple[Array, Array, Array]:
    """At the limit weights: exact loss, [S]'s, and [S]'s with its term K/d."""
    rows = []
    for d, length in zip(dims.tolist(), np.rint(lengths).astype(int).tolist(), strict=True):
        noise = noise_of(factor, d)
        formula = closed.limit_loss(d, 1.0, length, noise=noise)
        first = closed.dimension_coefficient(d, 1.0, length, noise=noise) / d
        rows.append((exact_at_limit(d, length, factor), formula, formula * (1 + first)))
    exact, formula, first = np.array(rows, float).T
    return exact, formula, first


def _ladder(name: str, dims: Array, lengths: Array, factor: float) -> list[Check]:
    exact, formula, first = ladder_losses(dims, lengths, factor)
    cost = factor * dims / lengths
    without = dims * cost * (np.e**2 * cost + 2) / (1 + np.e * cost) ** 2  # e^x as 1 + x at x = 1
    return [
        shrinks(f"loss at the limit, {name}", dims, formula, exact, -1.0,
                "Lemma 2 is the leading order in 1/d at fixed d/L", wrong=without),
        shrinks(f"the same with K/d, {name}", dims, first, exact, -2.0,
                "what is left is of order 1/d²", wrong=formula),
    ]  # fmt: skip


def _floor(dim: int, factor: float) -> Check:
    lengths = (10**4, 10**5, 10**6)
    noise = noise_of(factor, dim)
    ratios = [exact_at_limit(dim, L, factor) / closed.limit_loss(dim, 1.0, L, noise=noise)
              for L in lengths]  # fmt: skip
    stays = closed.dimension_correction(dim, 1.0, noise=noise)
    return shrinks(f"exact over Lemma 2 as L → ∞, d = {dim}, φ = {factor:g}", lengths, [stays] * 3,
                   ratios, -1.0, "the next order in 1/L", wrong=[1.0] * 3)  # fmt: skip


@claim(
    "S9",
    source="[S] Prop. 1; derived (rate)",
    kind="asymptotic",
    statement="weights trained at L and used at L': L becomes L' in the noise term alone",
    regime="leading order in 1/d at d/L, d/L' fixed; for L' → ∞ at fixed d and L it is exact",
)
def other_lengths(settings: Settings) -> Evidence:
    """Exact losses at L' over d, very long L' at fixed d, and which weights are best."""
    dims = np.array(settings.choose((160, 320, 640), (80, 160, 320, 640, 1280, 2560)))
    checks = []
    for factor, longer in ((1.0, 0.25), (1.0, 4.0), (1.0, 16.0), (2.0, 4.0)):
        checks += _other_length(dims, factor, longer)
    checks += _ever_longer()
    lengths = np.array(settings.choose((40, 160, 640, 2560), (40, 160, 640, 2560, 10_240, 40_960)))
    table = np.array([[exact_at_limit(40, int(L), 1.0, int(K)) for K in lengths] for L in lengths])
    checks.append(same("trained length that is best at each L', d = 40, L, L' = d to 64 d and up",
                       np.arange(len(lengths)), table.argmin(axis=0)))  # fmt: skip

    def draw(ax: Any) -> None:
        tested = np.geomspace(20, 1e5, 60)
        for i, L in enumerate(lengths.tolist()):
            colour = style.shades(len(lengths))[i]
            ax.plot(lengths, table[i], "o", color=colour, ms=5, label=f"trained at L = {L}")
            style.predicted(ax, tested, closed.generalised_loss(40, 1.0, L, tested))
        ax.plot(tested, closed.limit_loss(40, 1.0, tested), color=style.QUIET, lw=1,
                label="trained at L' = L")  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("context length L' in use")
        ax.set_ylabel("loss")
        ax.legend()

    worse = table[0, -1] / table[-1, -1]
    note = (
        f"d = 40: at L' = {lengths[-1]} weights trained at L = {lengths[0]} leave {worse:.0f} times"
    )
    return Evidence(checks, draw, f"{note} the loss of those for L'")


def _other_length(dims: Array, factor: float, longer: float) -> list[Check]:
    """L = 10 d, L' = longer · L."""
    rows = []
    for d in dims.tolist():
        L, tested, noise = 10 * d, int(10 * d * longer), noise_of(factor, d)
        formula = closed.generalised_loss(d, 1.0, L, tested, noise=noise)
        coefficient = closed.dimension_coefficient(d, 1.0, L, noise=noise, test_length=tested)
        rows.append((exact_at_limit(d, L, factor, tested), formula, formula * (1 + coefficient / d),
                     closed.limit_loss(d, 1.0, tested, noise=noise)))  # fmt: skip
    exact, formula, first, retrained = np.array(rows, float).T
    name = f"L' = {longer:g} L, φ = {factor:g}"
    return [
        shrinks(f"loss at {name}, L = 10 d", dims, formula, exact, -1.0,
                "the leading order in 1/d at fixed d/L and d/L'", wrong=retrained),
        shrinks(f"the same with K/d, {name}", dims, first, exact, -2.0,
                "what is left is of order 1/d²", wrong=formula),
    ]  # fmt: skip


def _ever_longer() -> list[Check]:
    """d = 40, L = 400: the loss at L' → ∞ is the bias λd(1 − m)², which has no error."""
    d, L, lengths = 40, 400, (10**4, 10**5, 10**6)
    exact = [exact_at_limit(d, L, 1.0, tested) for tested in lengths]
    point = closed.limit_weights(d, 1.0, L)
    formula = [closed.generalised_loss(d, 1.0, L, tested) for tested in lengths]
    long = [
        closed.long_context_loss(point.omega_bar, point.mu, d, 1.0, tested) for tested in lengths
    ]
    return [
        shrinks("d = 40, L = 400, L' → ∞", lengths, formula, exact, -1.0,
                "all that is approximate is of order 1/L'",
                wrong=[closed.limit_loss(d, 1.0, tested) for tested in lengths]),
        shrinks("the same, exact in d", lengths, long, exact, -2.0,
                "the next order in 1/L'", wrong=formula),
    ]  # fmt: skip

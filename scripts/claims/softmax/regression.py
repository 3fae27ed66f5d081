"""S13 and S14: softmax heads beside ridge regression and Bayes, in the proportional limit.

γ = d_i/L, s = λ_i d_i/σ², φ = 1 + 1/s, c = φγ; risks over the signal energy. [S] Fig. 4 and 5 have
ten equal tasks and λ = σ² = 1; λ is read as a task's signal energy: s = 1, φ = 2. Heads with H > I
leave c/(1 + c) at least, Bayes ρJ_1 at ρ = γ/s, and either leaves all as γ → ∞.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, claim, same, shrinks
from claims.softmax.optimum import of_task, random_task
from numerics import (
    RiskEstimate,
    bayes_risk_monte_carlo,
    exact_task_loss,
    ridge_risk_monte_carlo,
)
from numerics.softmax.heads import optimal_heads

Array = np.ndarray
TASKS = 10
PENALTIES = (0.05, 5.0)
RATIOS = np.array([0.3, 1.0, 2.5])


def flow_risk(gamma: Any, snr: float = 1.0) -> Any:
    """Limit of the flow, H >= I, over the signal energy."""
    return closed.task_limit_losses(gamma, 1 / gamma, 1, noise=float(np.sqrt(1 / snr)))


def heads_risk(heads: int, gamma: Any, snr: float = 1.0, tasks: int = TASKS) -> Array:
    """Lower bound of H heads on equal tasks, over the signal energy."""
    dims = np.repeat(np.atleast_1d(gamma)[:, None], tasks, axis=1)
    loss = closed.lower_bound(dims, 1 / dims, 1, heads, noise=float(np.sqrt(1 / snr)))
    return np.asarray(loss) / tasks


def sampled(
    kind: str | float, dim: int, gamma: float, samples: int, seed: Any, snr: float = 1.0
) -> RiskEstimate:
    """Risk of Bayes, or of ridge at a penalty, at d = `dim`, L = d/γ, and its standard error."""
    signal, length = 1 / dim, round(dim / gamma)
    noise = float(np.sqrt(1 / snr))
    options: Any = {"noise": noise, "count": samples, "rng": seed}
    if isinstance(kind, str):
        return bayes_risk_monte_carlo(dim, signal, length, **options)
    return ridge_risk_monte_carlo(dim, signal, length, penalty=kind, **options)


def exact_flow_risk(dim: int, gamma: float, snr: float = 1.0) -> float:
    """True loss, at finite (d, L), of a task's head at the limit point."""
    noise, length = float(np.sqrt(1 / snr)), round(dim / gamma)
    at = closed.limit_weights(dim, 1 / dim, length, noise=noise)
    mu, omega = float(at.mu), float(at.omega_bar)
    return exact_task_loss(omega, mu, dim, 1 / dim, length, noise=noise).value


def best_single(gamma: float, dim: int = 8, snr: float = 1.0) -> float:
    """Least loss found of one head on ten tasks, over the signal energy."""
    return optimal_heads(
        (dim,) * TASKS, 1 / dim, round(dim / gamma), heads=1, noise=float(np.sqrt(1 / snr)),
        starts=2, rng=0,
    ).loss / TASKS  # fmt: skip


@claim(
    "S13",
    source="[S] Fig. 5; derived",
    kind="asymptotic",
    statement="softmax heads show no double descent; ridge at 0.05 does, at d_i/L near 1",
    regime="d_i, L → ∞ at fixed d_i/L, signal energy λ_i d_i = σ² (φ = 2), I = 10",
)
def no_double_descent(settings: Settings) -> Evidence:
    """Baselines at finite size, the flow's true loss, falls along d_i/L, and the peak."""
    samples = settings.choose(4000, 10_000)
    checks = [*_baselines(settings, samples), _flow_at_finite_size()]
    ladder = np.array([5, 10, 20, 40, 80, 160, 400])  # L at d = 40
    gammas = 40 / ladder[::-1]
    curves = _measured_curves(gammas, settings.choose(200, 1000), settings.seed)
    falls = {name: _falls(*curve) for name, curve in curves.items()}
    names = ["flow's limit", "single head", "Bayes", "ridge 5", "ridge 0.05"]
    grid = np.logspace(-1.5, 1.5, 2001)
    closed_falls = [
        bool((np.diff(curve) < 0).any())
        for curve in (flow_risk(grid), heads_risk(1, grid), closed.bayes_risk(grid, 1.0),
                      closed.ridge_risk(grid, 1.0, 5.0), closed.ridge_risk(grid, 1.0, 0.05))
    ]  # fmt: skip
    measured = [falls[name] > 0 for name in names]
    checks += [
        same(f"risk falls somewhere as d_i/L grows: {', '.join(names)}", closed_falls, measured,
             control=lambda: [not fall for fall in measured]),
        same("the same, of the closed forms: ridge 0.05 alone", [False] * 4 + [True], closed_falls,
             control=lambda: closed_falls[::-1]),
        *_peak(settings, grid),
    ]  # fmt: skip
    flow, bayes = (curves[name][0] for name in ("flow's limit", "Bayes"))
    alone, small = (curves[name][0] for name in ("single head", "ridge 0.05"))
    middle = int(np.argmin(np.abs(gammas - 1)))
    checks.append(same(
        "Bayes below flow, flow below single head everywhere; flow below ridge 0.05 at d_i/L = 1, "
        "and for short contexts, not for long", [0, 0, True, True, False],
        [int((bayes > flow).sum()), int((flow > alone).sum()), bool(flow[middle] < small[middle]),
         bool(flow[-3] < small[-3]), bool(flow[0] < small[0])],
        control=lambda: [int((bayes > 0.5 * flow).sum()), int((alone > flow).sum()), False, False,
                         True]))  # fmt: skip

    def draw(ax: Any) -> None:
        for name, colour in zip(names, (style.MEASURED, style.OTHER, "black", style.QUIET,
                                        style.PREDICTED), strict=True):  # fmt: skip
            ax.plot(gammas, curves[name][0], "o-", ms=3, color=colour, label=name)
        ax.set_xscale("log")
        ax.set_ylim(0, 2)
        ax.set_xlabel("d_i/L")
        ax.set_ylabel("risk over signal energy, d_i = 40")
        ax.legend()

    return Evidence(checks, draw)


def _baselines(settings: Settings, samples: int) -> list[Check]:
    """Closed forms of ridge and Bayes against finite sizes: risks at d_i/L = 0.3, 1, 2.5."""
    sizes = np.array([6, 12, 24] if not settings.full else [6, 12, 24, 48])
    checks = []
    for kind in ("Bayes", *PENALTIES):
        predicted, measured = [], []
        for dim in sizes:
            lengths = np.round(dim / RATIOS)
            exact = dim / lengths  # the ratio that whole numbers leave
            predicted.append(closed.bayes_risk(exact, 1.0) if isinstance(kind, str)
                             else closed.ridge_risk(exact, 1.0, kind))  # fmt: skip
            measured.append([
                sampled(kind, int(dim), float(g), samples, (settings.seed, 13, n))[0]
                for n, g in enumerate(RATIOS)
            ])  # fmt: skip
        name = kind if isinstance(kind, str) else f"ridge {kind:g}"
        checks.append(shrinks(f"{name}: closed form against samples, d = 6 to {sizes[-1]}", sizes,
                              predicted, measured, -1.0, "linear statistics of XᵀX/L: 1/d",
                              wrong=1.1 * np.array(predicted)))  # fmt: skip
    return checks


def _flow_at_finite_size() -> Check:
    """The exact loss at the limit point against e c/(1 + e c), at d_i/L = 1/4."""
    sizes = np.array([20, 40, 80, 160, 320])
    losses = [exact_flow_risk(int(d), 0.25) for d in sizes]
    return shrinks("flow's limit: formula against exact loss at d_i = 20 to 320", sizes,
                   [flow_risk(0.25)] * len(sizes), losses, -1.0, "terms of order 1/d and 1/L",
                   wrong=[flow_risk(0.25) / np.e * 2] * len(sizes))  # fmt: skip


def _measured_curves(gammas: Array, samples: int, seed: int) -> dict[str, tuple[Array, Array]]:
    """Risk and its standard error at d_i = 40 over d_i/L, from numerics alone."""
    none = np.zeros(len(gammas))
    curves = {
        "flow's limit": (np.array([exact_flow_risk(40, float(g)) for g in gammas]), none),
        "single head": (np.array([best_single(float(g)) for g in gammas]), none),
    }
    for name, kind in (("Bayes", "Bayes"), ("ridge 5", 5.0), ("ridge 0.05", 0.05)):
        both = [sampled(kind, 40, float(g), samples, (seed, 113, n)) for n, g in enumerate(gammas)]
        risk, error = np.array(both).T
        curves[name] = risk, error
    return curves


def _falls(risk: Array, error: Array) -> int:
    """Steps at which a risk falls by more than 4.5 standard errors."""
    return int((np.diff(risk) < -4.5 * np.hypot(error[1:], error[:-1]) - 1e-12).sum())


def _peak(settings: Settings, grid: Array) -> list[Check]:
    """Where ridge peaks as its penalty vanishes, and how high, against samples."""
    penalties = np.array([0.05, 0.02, 0.01, 0.005])
    fine = np.linspace(0.8, 1.2, 4001)
    at = [fine[int(np.argmax(closed.ridge_risk(fine, 1.0, rho)))] for rho in penalties]
    tiny = np.array([1e-2, 1e-3, 1e-4, 1e-6])
    heights = closed.ridge_risk(1.0, 1.0, tiny)
    samples = settings.choose(400, 5000)
    ends = np.array([0.4, 1.0, 2.5])
    peak = np.array([sampled(0.05, 40, g, samples, (settings.seed, 213)) for g in ends])
    return [
        shrinks("d_i/L at the peak of ridge, ρ = 0.05 to 0.005, against 1", penalties, [1.0] * 4,
                at, 1.0, "ρ is the scale on which γ = 1 is smeared", wrong=[1.1] * 4),
        shrinks("ridge at d_i/L = 1 times 2√ρ as ρ → 0, against 1/s", tiny, [1.0] * 4,
                2 * np.sqrt(tiny) * heights, 0.5, "J_1 = 1/√ρ − 1/2 + … at γ = 1"),
        same("ridge 0.05 at d_i/L = 0.4, 1, 2.5, in order of risk", [0, 2, 1],
             np.argsort(peak[:, 0])),
    ]  # fmt: skip


@claim(
    "S14",
    source="[S] Fig. 4; derived",
    kind="asymptotic",
    statement="the bound of H heads is above the Bayes risk, and falls with H up to H = I + 1",
    regime="d_i, L → ∞ at fixed d_i/L; H > I ties with Bayes as d_i/L → ∞, or d_i/L → 0 ∝ s",
)
def bound_against_bayes(settings: Settings) -> Evidence:
    """Bounds over d_i/L, signal and heads, for equal and unequal tasks; the limits; samples."""
    gammas = np.logspace(-3, 3, settings.choose(40, 200))
    snrs = 10.0 ** np.arange(-3, 4)
    bounds = np.array([[heads_risk(H, gammas, s) for s in snrs] for H in range(1, 14)])
    bayes = np.array([closed.bayes_risk(gammas, s) for s in snrs])

    def below(factor: float) -> int:
        return int((factor * bounds < bayes * (1 - 1e-9)).sum())

    steps = np.diff(bounds, axis=0) / bounds[:-1]
    checks = [
        same(f"bounds below the Bayes risk, of {bounds.size}", 0, below(1.0),
             control=lambda: below(0.99)),
        same("heads that do not lower the bound, H = 2 to 13, I = 10",
             [H > TASKS + 1 for H in range(2, 14)],
             [bool((row > -1e-12).all()) for row in steps.reshape(len(steps), -1)],
             control=lambda: [bool((row < -1e-12).all()) for row in steps.reshape(len(steps), -1)]),
        same("heads that raise it", 0, int((steps > 1e-12).sum()),
             control=lambda: int((steps < -1e-12).sum())),
        _unequal(settings),
        *_ties(),
        _samples_below(settings),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        shown = np.logspace(-2, 1.5, 200)
        for H, colour in zip((1, 2, 5, 10, 11), style.SHADES, strict=False):
            ax.plot(shown, heads_risk(H, shown), color=colour, label=f"bound, H = {H}")
        ax.plot(shown, closed.bayes_risk(shown, 1.0), color=style.PREDICTED, label="Bayes")
        ax.set_xscale("log")
        ax.set_xlabel("d_i/L")
        ax.set_ylabel("risk over signal energy, s = 1, I = 10")
        ax.legend()

    closest = float((bounds[-1] / bayes - 1)[3].min())
    return Evidence(checks, draw, f"least bound/Bayes − 1 at s = 1: {closest:.1e}")


def _unequal(settings: Settings) -> Check:
    """Tasks of unequal d_i, λ_i: the bound with most heads against the sum of Bayes risks."""
    rng = np.random.default_rng((settings.seed, 14))
    ratios = []
    for n in range(settings.choose(50, 1000)):
        task = random_task(rng, 2 + n % 4)
        dims, signal, L = of_task(task)
        energy = signal * dims
        snr = energy / task.noise**2 if task.noise else np.full(len(dims), np.inf)
        risk = float(np.sum(energy * np.asarray(closed.bayes_risk(dims / L, snr))))
        bound = closed.lower_bound(*of_task(task), heads=task.outputs + 1, noise=task.noise)
        ratios.append(float(bound) / risk if risk > 0 else np.inf)

    def below(factor: float) -> int:
        return int((factor * np.array(ratios) < 1 - 1e-9).sum())

    return same(f"bounds below the Bayes risk, {len(ratios)} sets of unequal tasks", 0, below(1.0),
                control=lambda: below(0.8))  # fmt: skip


def _ties() -> list[Check]:
    """Short contexts, weak signals, and the factor 1 + s of long contexts."""
    short, few = np.array([30.0, 100.0, 300.0, 1000.0]), 0.5 ** np.arange(3, 9)
    long, top = 0.5 ** np.arange(4, 11), TASKS + 1
    gained = (1 - heads_risk(top, short)) / (1 - closed.bayes_risk(short, 1.0))
    weak = [heads_risk(top, g, g / 0.7)[0] / closed.bayes_risk(g, g / 0.7) for g in few]
    ratio = heads_risk(top, long, 3.0) / closed.bayes_risk(long, 3.0)
    return [
        shrinks("H > I: what heads gain over what Bayes does, d_i/L = 30 to 1000", short,
                [1.0] * len(short), gained, -1.0, "expansion in 1/γ"),
        shrinks("H > I: bound over Bayes as d_i/L → 0 at d_i/(L s) = 0.7", few,
                [1.0] * len(few), weak, 1.0, "expansion in γ at fixed ρ = γ/s"),
        shrinks("H > I: bound over Bayes as L → ∞ at s = 3, against 1 + s", long,
                [4.0] * len(long), ratio, 1.0, "expansion in γ at fixed s"),
    ]  # fmt: skip


def _samples_below(settings: Settings) -> Check:
    """The least loss found over all H = I + 1 heads against sampled Bayes risks, at d_i = 20."""
    gaps = []
    for n, length in enumerate((5, 20, 80, 400)):
        best = optimal_heads((20, 20), 1 / 20, length, heads=3, noise=1.0, starts=2, rng=0)
        risk, error = sampled("Bayes", 20, 20 / length, settings.choose(500, 5000),
                              (settings.seed, 114, n))  # fmt: skip
        gaps.append((best.loss / 2, risk, error))
    found, risk, error = np.array(gaps).T

    def below(factor: float) -> int:
        return int((factor * found < risk - 4.5 * error).sum())

    return same("optima of three heads on two tasks below sampled Bayes risks, d_i = 20", 0,
                below(1.0), control=lambda: below(0.8))  # fmt: skip

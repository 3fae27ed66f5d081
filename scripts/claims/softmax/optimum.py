"""S6 and B5: the least spectral loss of one head, and of H heads over all weights.

Notation of `numerics.softmax.spectral`: c_i = φ_i d_i/L, G = ωωᵀ (H, H), E = exp(G) entry by entry.
With its best read-out task i keeps at least λ_i d_i c_i/(c_i + ν_i), where Σν_i <= tr E⁻¹G and
ν_i <= 1. [S] Theorem 4 bounds the trace for equiangular heads. It holds for all (derived):

One more head adds vᵀGv/vᵀEv to tr E⁻¹G, for one v, by the inverse of a block matrix: at most 1, as
E − G − 11ᵀ is positive semi-definite. So tr E⁻¹G <= H − 1 for all H >= 2 if it does for H = 2, that
is if, for G = ((a, b), (b, c)),

    e^{a+c} − a e^c − c e^a >= e^{2b} − 2b e^b.

The right-hand side grows with b <= √(ac), its slope being 2e^b (e^b − 1 − b). At b = √(ac) it is
the left-hand side with a and c replaced by √(ac), and the left-hand side is

    1 + (a − c)²/2 + Σ_{n>=3} [a^n + c^n + Σ_{k=2}^{n−2} (n choose k) a^k c^{n−k}]/n!,

which that replacement does not increase: a^k c^{n−k} + a^{n−k} c^k >= 2 √(ac)^n. Heads that reach
the bound as ω → 0 are built in `claims.softmax.bounds`, so that it is the infimum.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, agree, at_least, claim, same, shrinks
from claims.cases import EPS
from claims.softmax.phases import heads_system
from numerics import MultiTask
from numerics.softmax.heads import HeadsOptimum, optimal_heads

Array = np.ndarray
FOUND = 1e-9
BECAUSE = "L-BFGS stops when ℓ no longer falls by 1e-15 of itself; 1e-9 leaves room for slow ends"


def random_task(rng: np.random.Generator, tasks: int) -> MultiTask:
    """Tokens of 20 to 40 entries, L from 5 to 500, unequal signals and blocks, noise in half."""
    size = int(rng.integers(20, 41))
    cuts = np.sort(rng.choice(np.arange(1, size // 2), tasks - 1, replace=False)) * 2
    dims = tuple(int(d) for d in np.diff([0, *cuts, size]))
    return MultiTask(
        dims,
        context_length=int(5 * 100 ** rng.uniform()),
        signal=np.exp(rng.uniform(-1.5, 1.5, tasks)),
        noise=float(rng.choice([0.0, rng.uniform(0.5, 3.0)])),
    )


def of_task(task: MultiTask) -> tuple[Any, Any, int]:
    """The task as the closed forms take it; the noise goes by name."""
    return np.array(task.block_dims), np.asarray(task.signal), task.context_length


def bound(task: MultiTask, heads: int) -> float:
    """The closed form of the least loss."""
    return float(closed.lower_bound(*of_task(task), heads=heads, noise=task.noise))


def search(task: MultiTask, heads: int, starts: int, seed: int) -> HeadsOptimum:
    """The least loss found."""
    return optimal_heads(
        task.block_dims, task.signal, task.context_length,
        heads=heads, noise=task.noise, starts=starts, rng=seed,
    )  # fmt: skip


def best_losses(omega: Array, task: MultiTask) -> Array:
    """ℓ of heads ω (n, H, d) with the best μ for each."""
    kernel = np.exp(omega @ omega.swapaxes(-1, -2))
    c = np.asarray(task.noise_factor) * task.block_dims / task.context_length
    mu = np.empty((*omega.shape[:-1], task.outputs))
    for i, block in enumerate(task.blocks):
        part = omega[..., block]
        curvature = part @ part.swapaxes(-1, -2) + c[i] * kernel
        mu[..., i] = np.linalg.solve(curvature, part.sum(axis=-1)[..., None])[..., 0]
    return np.asarray(heads_system(task, omega.shape[-2]).task_losses(omega, mu).sum(axis=-1))


@claim(
    "S6",
    source="[S] Theorem 3; derived",
    kind="identity",
    statement="the best single head has ‖ω‖² = 1, shared among the tasks by water-filling",
    regime="spectral loss ℓ, i.e. leading order in 1/L and 1/d; optimum over all ω, μ",
)
def single_head(settings: Settings) -> Evidence:
    """Searches over all ω and μ, the optimum's gradient, and the conditions of water-filling."""
    rng = np.random.default_rng((settings.seed, 6))
    tasks = [random_task(rng, 2 + n % 5) for n in range(settings.choose(15, 60))]
    starts = settings.choose(4, 10)
    found = [search(task, 1, starts, settings.seed) for task in tasks]
    best = [closed.single_head_optimum(*of_task(task), noise=task.noise) for task in tasks]
    shares = np.concatenate([np.asarray(one.squared_weights) for one in best])
    measured = np.concatenate([_blocks(f, task) for f, task in zip(found, tasks, strict=True)])
    ratio = [f.loss / float(one.loss) for f, one in zip(found, best, strict=True)]
    dry = int((shares == 0).sum())
    checks = [
        agree(f"least loss found in {starts} searches of {len(tasks)} tasks, over the predicted",
              1.0, ratio, FOUND, BECAUSE),
        agree("‖ω‖² found", 1.0, [f.scale**2 for f in found], 1e-4,
              "ℓ is quadratic there, so weights are known to the root of 1e-9 and its curvature"),
        agree("‖ω_{J_i}‖² found, against water-filling", shares, measured, 1e-4, "as above",
              scale=1.0),
        at_least("tasks that get no attention at all", 3, dry,
                 control=lambda: int((np.concatenate(_even(tasks)) == 0).sum())),
        *_conditions(tasks, best),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        ax.plot([0, 1], [0, 1], color=style.PREDICTED, lw=0.9, ls=style.DASHES, label="predicted")
        ax.plot(shares, measured, "o", ms=4, mfc="none", color=style.MEASURED, label="search")
        ax.set_xlabel("share of ‖ω‖² on a task, by water-filling")
        ax.set_ylabel("share of ‖ω‖² on a task, found")
        ax.legend()

    return Evidence(checks, draw)


def _blocks(found: HeadsOptimum, task: MultiTask) -> Array:
    """‖ω_{J_i}‖² of one head."""
    omega = (found.scale * found.direction)[0]
    return np.array([float(np.sum(omega[block] ** 2)) for block in task.blocks])


def _even(tasks: list[MultiTask]) -> list[Array]:
    """Equal allocations, Σν = 1/e."""
    return [np.full(task.outputs, 1 / (np.e * task.outputs)) for task in tasks]


def _conditions(tasks: list[MultiTask], best: list[Any]) -> list[Check]:
    """∂ℓ = 0 at the predicted weights; what a little more ν saves is one level, or less if dry."""

    def slopes(factor: float) -> list[float]:
        out = []
        for task, one in zip(tasks, best, strict=True):
            omega = np.repeat(np.asarray(one.omega_bar), task.block_dims)[None]
            parts = heads_system(task, 1).combined_velocity(
                omega, factor * np.asarray(one.mu)[None]
            )
            # Against λ_i d_i, the size of what cancels in either.
            size = float(np.max(np.asarray(task.signal) * task.block_dims))
            out.append(float(max(np.abs(part).max() for part in parts)) / size)
        return out

    water = [np.asarray(one.squared_weights) / np.e for one in best]

    def levels(allocations: list[Array]) -> tuple[Array, int]:
        wet, above = [], 0
        for task, nu, filled in zip(tasks, allocations, water, strict=True):
            c = np.asarray(task.noise_factor) * task.block_dims / task.context_length
            saved = np.asarray(task.signal) * task.block_dims * c / (c + nu) ** 2
            level = saved[filled > 0].max()
            wet.extend(saved[filled > 0] / level)
            above += int((saved[filled == 0] > level * (1 + FOUND)).sum())
        return np.array(wet), above

    emptied = [np.where(nu > 0, 1.0, 0.0) for nu in water]  # wet tasks flooded, their level falls
    return [
        agree("∂ℓ/∂ω and ∂ℓ/∂μ at the predicted weights", 0.0, slopes(1.0), 100 * EPS, "rounding",
              scale=1.0, control=lambda: slopes(1.01)),
        agree("−∂ℓ/∂ν_i of the tasks that get attention, over their largest", 1.0,
              levels(water)[0], 1e-12, "rounding", control=lambda: levels(_even(tasks))[0]),
        same("tasks without attention that would save more with it", 0, levels(water)[1],
             control=lambda: levels(emptied)[1]),
    ]  # fmt: skip


@lru_cache
def _cases(count: int, starts: int, seed: int) -> list[tuple[MultiTask, int, HeadsOptimum]]:
    rng = np.random.default_rng((seed, 105))
    tasks = [random_task(rng, 2 + n % 3) for n in range(count)]
    return [(task, H, search(task, H, starts, seed)) for task in tasks for H in range(1, 7)]


@claim(
    "B5",
    source="derived; [S] Theorem 4",
    kind="identity",
    statement="the lower bound for equiangular heads is the infimum over all heads, all ω and μ",
    regime="spectral loss ℓ; H = 1 attains it, H >= 2 heads approach it as ω → 0",
)
def optimum_of_all_heads(settings: Settings) -> Evidence:
    """Searches over all weights of 1 to 6 heads; the trace that bounds them; loss over ‖ω‖."""
    cases = _cases(settings.choose(6, 20), settings.choose(3, 8), settings.seed)
    least = np.array([bound(task, H) for task, H, _ in cases])
    found = np.array([f.loss for *_, f in cases])
    heads = np.array([H for _, H, _ in cases])
    budget = np.array([
        closed.allocation_loss(
            closed.water_filling(*of_task(task), noise=task.noise,
                                 budget=closed.equiangular_budget(H)),
            *of_task(task), noise=task.noise,
        )
        for task, H, _ in cases
    ])  # fmt: skip

    def below(level: Array) -> int:
        return int((found < level * (1 - FOUND)).sum())

    checks = [
        same(f"optima below the bound, of {len(cases)}", 0, below(least),
             control=lambda: below(1.01 * least)),
        agree("optimum over all heads, over the bound", 1.0, found / least, FOUND, BECAUSE,
              control=lambda: found / budget),
        same("cases whose optimum has ω → 0, H = 1 to 6", [0] + [len(cases) // 6] * 5,
             [int(sum(not f.attained for _, H, f in cases if h == H)) for h in range(1, 7)]),
        *_traces(settings),
    ]  # fmt: skip
    sizes = np.array([0.8, 0.4, 0.2, 0.1])
    ladder = np.array([_sized(*case, sizes) for case in cases if case[1] > 1]).T
    limits = least[heads > 1]
    checks.append(shrinks("loss at ‖ω‖ = 0.8 to 0.1, along the direction found", sizes,
                          [limits] * len(sizes), ladder, 2.0,
                          "G and E depend on ‖ω‖² alone"))  # fmt: skip

    def draw(ax: Any) -> None:
        few = cases[:6]
        shown = 10.0 ** np.linspace(-1.5, 0.5, 30)
        for (task, H, f), colour in zip(few[1:], style.SHADES, strict=False):
            excess = _sized(task, H, f, shown) / bound(task, H) - 1
            ax.plot(shown, excess, color=colour, label=f"H = {H}")
        style.predicted(ax, shown, 0.1 * shown**2, label="∝ ‖ω‖²")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("‖ω‖")
        ax.set_ylabel("loss over the bound, less 1")
        ax.legend()

    note = f"largest |optimum/bound − 1|: {np.abs(found / least - 1).max():.1e}"
    return Evidence(checks, draw, note)


def _sized(task: MultiTask, heads: int, found: HeadsOptimum, sizes: Array) -> Array:
    """Loss at ‖ω‖ of each size in the direction found, the read-out at its best."""
    return best_losses(sizes[:, None, None] * found.direction, task)


def _traces(settings: Settings) -> list[Check]:
    """tr E⁻¹G of weights of many sizes, H = 2 to 6, and what the sixth head adds to five."""
    rng = np.random.default_rng((settings.seed, 205))
    shape = (settings.choose(3000, 100_000), 6, 10)
    omega = rng.standard_normal(shape) * rng.uniform(0.1, 1.0, shape[:2])[..., None]
    omega += rng.standard_normal((shape[0], 1, 10)) * rng.uniform(0, 1, (shape[0], 1, 1))
    omega *= 10 ** rng.uniform(-1.5, 0.2, (shape[0], 1, 1))
    traces = np.array([_trace(omega[:, :H]) for H in range(2, 7)])
    limits = np.arange(1, 6)[:, None]

    def above(slack: float) -> int:
        return int((traces > limits * slack).sum())

    added = np.diff(traces, axis=0)
    because = 1 + 1e-9  # E has eigenvalues down to 1e-5 of its largest, ε/1e-5 is rounding
    return [
        same(f"tr E⁻¹G above H − 1, of {traces.size}", 0, above(because),
             control=lambda: above(0.99)),
        same(f"heads that add more than 1 to it, of {added.size}", 0,
             int((added > because).sum()), control=lambda: int((added > 0.99).sum())),
    ]  # fmt: skip


def _trace(omega: Array) -> Array:
    gram = omega @ omega.swapaxes(1, 2)
    return np.asarray(np.trace(np.linalg.solve(np.exp(gram), gram), axis1=1, axis2=2))

"""S7 and S8: what equiangular heads can reach, and how close the flow's limit comes to it.

Equiangular heads, [S] Definition 2: ⟨ω^h, ω^h⟩ = a, ⟨ω^h, ω^h'⟩ = b. The bound is water-filling
with Σν_i <= H − 1, ν_i <= 1 (1/e for one head). `built_heads` come as close to it as wanted: ω^h is
(B V)_hi √(x/d_i) all over block i, B (H, H−1) an orthonormal basis of the zero-sum vectors,
V (H−1, I) of orthonormal rows and of columns of squared length ν_i. Then a = x(H−1)/H, b = −x/H,

    tr E⁻¹Ω_i = ν_i e^{x/H} x/(e^x − 1) = ν_i [1 − a(H − 2)/(2(H − 1)) + O(a²)].
"""

from __future__ import annotations

from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, agree, claim, same, shrinks
from claims.softmax.optimum import best_losses, bound, of_task, random_task, search
from claims.softmax.phases import heads_system
from numerics import MultiTask
from numerics.softmax.spectral import spectral_flow

Array = np.ndarray
SPECTRAL = "spectral loss ℓ, i.e. leading order in 1/L and 1/d"


def coordinates(task: MultiTask, extra: int, rng: np.random.Generator) -> Array:
    """Orthonormal columns (d, I + extra): the blocks, each constant, then vectors across them."""
    blocks = np.repeat(np.eye(task.outputs), task.block_dims, axis=0)
    blocks /= np.sqrt(np.array(task.block_dims))
    rest = rng.standard_normal((task.dimension, extra))
    rest -= blocks @ (blocks.T @ rest)
    return np.hstack([blocks, np.linalg.qr(rest)[0]])


def random_heads(task: MultiTask, heads: int, count: int, rng: np.random.Generator) -> Array:
    """Equiangular ω (count, H, d) of random a, b and Gram matrices on the blocks."""
    a = 10 ** rng.uniform(-3, 0.6, (count, 1, 1))
    lowest = -a / (heads - 1) if heads > 1 else a
    b = lowest + (a - lowest) * rng.uniform(size=(count, 1, 1))
    mean = np.full((heads, heads), 1 / heads)
    root = np.sqrt(a - b) * (np.eye(heads) - mean) + np.sqrt(a + (heads - 1) * b) * mean
    # How much of ω is constant on the blocks, where alone it is of use, also is random.
    weight = np.ones((count, 1, task.outputs + heads))
    weight[..., task.outputs :] = 10 ** rng.uniform(-3, 0.5, (count, 1, 1))
    loose = rng.standard_normal((count, heads, task.outputs + heads)) * weight
    rows = np.linalg.qr(loose.swapaxes(1, 2))[0].swapaxes(1, 2)
    return np.asarray(root @ rows @ coordinates(task, heads, rng).T)


def frame(lengths: Array, rows: int) -> Array:
    """V (rows, I) with orthonormal rows and columns of squared lengths ν_i <= 1, Σν_i = rows.

    By the rotations of Schur and Horn: each takes from a column that is too long for one that is
    too short, until one of them is right. The other is the only column begun, and belongs to the
    next pair: so one of a pair always has length 0 or 1, and the angle exists.
    """
    V = np.eye(rows, len(lengths))
    for _ in range(2 * len(lengths)):
        now = np.sum(V**2, axis=0)
        gap = now - lengths
        i, j = int(np.argmax(gap)), int(np.argmin(gap))
        begun = (np.abs(gap) > 1e-12) & (np.abs(now - 0.5) < 0.5 - 1e-12)
        if begun.any():
            k = int(np.argmax(begun))
            i, j = (k, j) if gap[k] > 0 else (i, k)
        if gap[i] < 1e-12 or gap[j] > -1e-12:
            break
        pair = V[:, [i, j]].T @ V[:, [i, j]]
        middle, half = (pair[0, 0] + pair[1, 1]) / 2, (pair[0, 0] - pair[1, 1]) / 2
        wanted = pair[0, 0] - min(gap[i], -gap[j])
        turn = np.arctan2(pair[0, 1], half)
        turn += np.arccos(np.clip((wanted - middle) / np.hypot(half, pair[0, 1]), -1, 1))
        cos, sin = np.cos(turn / 2), np.sin(turn / 2)
        V[:, [i, j]] = V[:, [i, j]] @ np.array([[cos, -sin], [sin, cos]])
    return V


def built_heads(task: MultiTask, heads: int, a: float, rng: np.random.Generator) -> Array:
    """Equiangular ω (H, d) that come within O(a) of the bound, H >= 2 (top of the module)."""
    nu = np.asarray(closed.water_filling(*of_task(task), noise=task.noise, budget=heads - 1, cap=1))
    extra = max(0, heads - 1 - task.outputs)
    V = frame(np.append(nu, np.ones(extra)), heads - 1)
    zero_sum = np.linalg.qr(np.column_stack([np.ones(heads), np.eye(heads)[:, :-1]]))[0][:, 1:]
    x = a * heads / (heads - 1)
    return np.sqrt(x) * zero_sum @ V @ coordinates(task, extra, rng).T


@claim(
    "S7",
    source="[S] Theorem 4; derived",
    kind="asymptotic",
    statement="equiangular heads stay above the bound; attained at H = 1, else for a, b → 0 alone",
    regime=SPECTRAL + "; excess ∝ a for H >= 3, ∝ a² for H = 2",
)
def equiangular(settings: Settings) -> Evidence:
    """Random equiangular heads against the bound, and heads built to approach it."""
    rng = np.random.default_rng((settings.seed, 7))
    cases = [(random_task(rng, 2 + n % 3), 1 + n % 6) for n in range(settings.choose(12, 60))]
    count = settings.choose(500, 5000)
    ratios = np.array([_ratios(task, H, count, rng) for task, H in cases])

    def below(factor: float) -> int:
        return int((ratios < factor * (1 - 1e-9)).sum())

    checks = [
        same(f"equiangular heads below the bound, of {ratios.size}", 0, below(1.0),
             control=lambda: below(1.01)),
        _trace_of_pairs(rng, settings.choose(2000, 50_000)),
        *_attained([task for task, H in cases if H == 1], rng),
    ]  # fmt: skip
    sizes = np.array([0.02, 0.01, 0.005, 0.0025])
    for H, order in ((2, 2.0), (3, 1.0), (5, 1.0)):
        task = random_task(rng, 3)
        losses = [best_losses(built_heads(task, H, a, rng)[None], task)[0] for a in sizes]
        checks.append(shrinks(f"H = {H}: loss of built heads, a = 0.02 to 0.0025", sizes,
                              [bound(task, H)] * 4, losses, order,
                              "expansion of the trace at b = −a/(H−1)"))  # fmt: skip
        if H > 2:
            checks.append(_slope(task, H, rng))

    def draw(ax: Any) -> None:
        task = cases[2][0]
        few = np.random.default_rng(settings.seed)
        for H, colour in zip((2, 3, 4), (style.MEASURED, style.OTHER, style.QUIET), strict=True):
            heads = random_heads(task, H, 300, few)
            a = np.sum(heads[:, 0] ** 2, axis=-1)
            over = best_losses(heads, task) / bound(task, H)
            ax.plot(a, over, ".", ms=3, color=colour, label=f"H = {H}, random")
            grid = np.logspace(-3, 0.5, 30)
            built = np.array([built_heads(task, H, size, few) for size in grid])
            line = best_losses(built, task) / bound(task, H)
            ax.plot(grid, line, color=colour, label=f"H = {H}, built")
        ax.axhline(1.0, color=style.PREDICTED, lw=0.9, ls=style.DASHES, label="bound")
        ax.set_xscale("log")
        ax.set_ylim(0.9, 2.5)
        ax.set_xlabel("a, the squared norm of each head's ω")
        ax.set_ylabel("loss over the bound")
        ax.legend(loc="upper left", ncols=2)

    return Evidence(checks, draw, f"closest to the bound: {ratios.min() - 1:.1e} above it")


def _ratios(task: MultiTask, heads: int, count: int, rng: np.random.Generator) -> Array:
    """Losses over the bound, of random heads and, last, of one that is nearly the best."""
    omega = random_heads(task, heads, count, rng)
    if heads == 1:
        best = closed.single_head_optimum(*of_task(task), noise=task.noise)
        near = np.repeat(np.asarray(best.omega_bar), task.block_dims)[None]
    else:
        near = built_heads(task, heads, 1e-4, rng)
    return best_losses(np.concatenate([omega, near[None]]), task) / bound(task, heads)


def _trace_of_pairs(rng: np.random.Generator, count: int) -> Check:
    """tr E⁻¹Ω of matrices with a on the diagonal and b off it, H = 4, against its closed form."""
    a = rng.uniform(0.1, 4.0, count)
    b = -a / 3 + 4 * a / 3 * rng.uniform(size=count)
    b = np.where(a - b < 0.01, a - 0.01, b)
    gram = b[:, None, None] + (a - b)[:, None, None] * np.eye(4)
    traces = np.trace(np.linalg.solve(np.exp(gram), gram), axis1=1, axis2=2)
    return agree("tr E⁻¹Ω of random a, b", closed.equiangular_allocation(4, a, b), traces, 1e-11,
                 "rounding times the condition of E, up to 4e²/0.01", scale=1.0)  # fmt: skip


def _attained(tasks: list[MultiTask], rng: np.random.Generator) -> list[Check]:
    """One head with ‖ω‖² = 1 has the loss of the bound, and with another size it has not."""

    def losses(size: float) -> list[float]:
        out = []
        for task in tasks:
            best = closed.single_head_optimum(*of_task(task), noise=task.noise)
            omega = size * np.repeat(np.asarray(best.omega_bar), task.block_dims)
            out.append(float(best_losses(omega[None, None], task)[0]) / bound(task, 1))
        return out

    return [agree("H = 1: loss of the best head over the bound", 1.0, losses(1.0), 1e-12,
                  "rounding", control=lambda: losses(1.1))]  # fmt: skip


def _slope(task: MultiTask, heads: int, rng: np.random.Generator) -> Check:
    """(ℓ − bound)/a of built heads, against Σ λ_i d_i c_i ν_i/(c_i + ν_i)² (H − 2)/(2(H − 1))."""
    dims, signal, L = of_task(task)
    nu = np.asarray(
        closed.water_filling(dims, signal, L, noise=task.noise, budget=heads - 1, cap=1)
    )
    c = np.asarray(task.noise_factor) * dims / L
    slope = np.sum(signal * dims * c * nu / (c + nu) ** 2) * (heads - 2) / (2 * (heads - 1))
    a = 1e-4
    excess = best_losses(built_heads(task, heads, a, rng)[None], task)[0] - bound(task, heads)
    return agree(f"H = {heads}: excess over a at a = 1e-4", slope, excess / a, 10 * a,
                 "the next order in a, of ratio below 10")  # fmt: skip


def allocated_flow(task: MultiTask, assignment: tuple[int, ...], heads: int) -> float:
    """Final loss of the balanced flow of heads that begin on the tasks assigned to them alone."""
    system = heads_system(task, heads)
    mu, omega = np.zeros((heads, task.outputs)), np.zeros((heads, task.dimension))
    for i, (h, block) in enumerate(zip(assignment, task.blocks, strict=True)):
        mu[h, i], omega[h, block] = 1.0, 0.1
    # The last approach, along ωμ = 1, has a rate of the order of 1/L.
    duration = 100.0 * task.context_length
    run = spectral_flow(system, system.model.balanced(omega, mu), duration, rtol=1e-9)
    return float(run.loss[-1])


@claim(
    "S8",
    source="[S] Corollary 1; derived",
    kind="asymptotic",
    statement="the flow's limit is within e of the optimum; one head loses H ∧ I to H heads",
    regime=SPECTRAL + "; H ∧ I as L → ∞ for heads of equal Σ √(d_i(λ_i d_i + σ²))",
)
def constant_factor(settings: Settings) -> Evidence:
    """Flows against searches over all weights, the factor over many tasks, and the separation."""
    rng = np.random.default_rng((settings.seed, 8))
    checks = _flows(settings, rng)
    d, lam, L, sigma = _extremes(settings.choose(2000, 100_000), rng)
    factors = np.array([
        closed.optimality_ratio(d[:, :3], lam[:, :3], L, H, noise=sigma) for H in (3, 4, 8)
    ])  # fmt: skip
    long = np.array([1e2, 1e3, 1e4, 1e5])
    tending = [closed.optimality_ratio([4, 6, 8], 1.0, length, 4) for length in long]

    def over(factor: float) -> int:
        return int((factors > factor * (1 + 1e-12)).sum())

    checks += [
        same(f"limits beyond e times the bound, of {factors.size}", 0, over(np.e),
             control=lambda: over(np.e / 1.01)),
        shrinks("limit over bound, H = I + 1, against e", long, [np.e] * len(long), tending, -1.0,
                "the factor is e(1 + c)/(1 + ec)"),
    ]  # fmt: skip
    lengths = np.array([100, 1000, 10_000])
    groups = {(3, 3): (0, 1, 2), (2, 4): (0, 0, 1, 1), (4, 2): (0, 1)}
    ratios = {key: [_separation(len(g), g, key[0], int(n)) for n in lengths]
              for key, g in groups.items()}  # fmt: skip
    for (H, tasks), ratio in ratios.items():
        checks.append(shrinks(f"best single head over the flow of H = {H} heads on I = {tasks}",
                              lengths, [min(H, tasks)] * len(lengths), ratio, -1.0,
                              "c_i enters both losses once more, in their next order"))  # fmt: skip

    def draw(ax: Any) -> None:
        grid = np.logspace(0, 6, 100)
        for (H, tasks), g in groups.items():
            line = [closed.separation(g, [4] * tasks, 1.0, n) for n in grid]
            style.predicted(ax, grid, line, label="predicted" if (H, tasks) == (3, 3) else None)
            ax.plot(lengths, ratios[H, tasks], "o", mfc="none", label=f"H = {H}, I = {tasks}")
        ax.set_xscale("log")
        ax.set_xlabel("context length L")
        ax.set_ylabel("loss of the best single head over the flow's")
        ax.legend()

    return Evidence(checks, draw, f"largest factor met {factors.max():.4f}, e = {np.e:.4f}")


def _flows(settings: Settings, rng: np.random.Generator) -> list[Check]:
    """Loss of flows over the least found with as many heads, against the closed form."""
    predicted, measured = [], []
    for n in range(settings.choose(4, 20)):
        task = MultiTask((2, 3), context_length=int(5 * 20 ** rng.uniform()),
                         signal=rng.uniform(0.5, 2.0, 2),
                         noise=float(rng.choice([0.0, 1.0])))  # fmt: skip
        heads = 2 + n % 2
        least = search(task, heads, 3, settings.seed).loss
        measured.append(allocated_flow(task, (0, 1), heads) / least)
        predicted.append(closed.optimality_ratio(*of_task(task), heads=heads, noise=task.noise))
    return [agree("loss of flows over the optimum of all heads", predicted, measured, 1e-5,
                  "rtol of the solver, summed over the run")]  # fmt: skip


def _extremes(count: int, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Tasks over many decades: d_i from 1 to 1e4, λ_i and L over twelve, noise from 0 to 100."""
    d = np.floor(10 ** rng.uniform(0, 4, (count, 3)))
    lam = 10 ** rng.uniform(-6, 6, (count, 3))
    return d, lam, 10 ** rng.uniform(0, 12, count), rng.choice([0.0, 1.0, 100.0], count)


def _separation(tasks: int, groups: tuple[int, ...], heads: int, length: int) -> float:
    task = MultiTask((4,) * tasks, 1.0, length)
    return search(task, 1, 2, 0).loss / allocated_flow(task, groups, heads)

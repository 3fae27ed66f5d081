"""S10: small softmax heads are linear attention (derived).

Attention p does not change if a constant is added to the scores, so a head returns the mean label ȳ
and something of the centred tokens x_l − x̄ alone, which are independent of x̄:

    ℓ = Σ_i { (λ_i d_i + σ²)(Σ_h μ_i^h)²/L + E(Σ_h μ_i^h Σ_l p_l^h (y_l − ȳ) − y_q)² },   exactly.

At weights εω, μ/ε, ε → 0, the rest is centred linear attention with M_i = Σ_h μ_i^h diag(ω^h). As
L centred pairs have the moments of L − 1 plain ones, it is [L]'s layer at N = L − 1, (1 − 1/L) M_i.
Read-outs that sum to zero reach [L]'s loss as ω → 0, and H > I heads its minimum in every task,

    λ_i d_i (c + 1/N)/(1 + c + 1/N),   c = φ_i d_i/N,   N = L − 1.

[S]'s bound for H > I is λ_i d_i c_i/(1 + c_i): with σ² + λ_i for σ² it is [L]'s minimum at N = L,
so it leaves out a share of about 1/d_i of c_i. It is approached as ω → 0 alone since the kernel
exp⟨ω, ω'⟩ costs more than 1 + ⟨ω, ω'⟩, that of linear attention, for weights of any size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, agree, claim, same, shrinks, within_noise
from claims.softmax.bounds import built_heads
from claims.softmax.optimum import of_task
from claims.softmax.phases import heads_system
from numerics import (
    LinearTask,
    MultiTask,
    icl_loss_monte_carlo,
    matrix_loss,
    minimiser,
    population_moments,
)

Array = np.ndarray
SMALL = MultiTask((4, 6), signal=(1.0, 0.5), context_length=20, noise=0.5)


def linear_task(task: MultiTask, i: int, length: int) -> LinearTask:
    """[L]'s task with the label of task i: Λ = I, Ω = λ_i on its block."""
    signal = np.zeros(task.dimension)
    signal[task.blocks[i]] = np.asarray(task.signal)[i]
    return LinearTask(np.eye(task.dimension), length, np.diag(signal), task.noise)


def linear_losses(omega: Array, mu: Array, task: MultiTask, length: int, gain: float) -> Array:
    """[L]'s loss of each task at N = `length` and M_i = gain Σ_h μ_i^h diag(ω^h)."""
    return np.array([
        float(matrix_loss(population_moments(linear_task(task, i, length)),
                          gain * np.diag(mu[:, i] @ omega)))
        for i in range(task.outputs)
    ])  # fmt: skip


@claim(
    "S10",
    source="[S]; derived",
    kind="asymptotic",
    statement="small heads with zero-sum μ are [L]'s linear attention on L − 1 pairs, up to ω²",
    regime="any d, L; [S]'s bound for H > I is [L]'s least loss but for a share 1/d_i of c_i",
)
def linear_attention(settings: Settings) -> Evidence:
    """The linearised kernel against [L]'s loss and against the exponential; heads by draws."""
    rng = np.random.default_rng((settings.seed, 10))
    sizes = np.array([0.4, 0.2, 0.1, 0.05])
    omega = rng.standard_normal((4, SMALL.dimension)) / 4
    mu = rng.standard_normal((4, 2))
    mu -= mu.mean(axis=0)
    checks = [_kernel_is_linear(rng), _never_above(rng), *_orders(omega, mu)]
    checks += _least_losses()
    whole, curve = _whole_heads(settings, sizes)

    def draw(ax: Any) -> None:
        ax.plot(sizes, curve, "o", mfc="none", color=style.MEASURED, label="softmax heads, drawn")
        ax.plot(sizes, curve[-1] * (sizes / sizes[-1]) ** 2, color=style.PREDICTED, lw=0.9,
                ls=style.DASHES, label="∝ ‖ω^h‖²")  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
        ax.minorticks_off()
        ax.set_xlabel("norm of each head's ω")
        ax.set_ylabel("loss less that of linear attention")
        ax.legend()

    return Evidence(checks + whole, draw)


def _kernel_is_linear(rng: np.random.Generator) -> Check:
    """[S]'s loss with e^x replaced by 1 + x, against [L]'s at N = L and the two terms between."""
    predicted, measured = [], []
    signal, L = np.asarray(SMALL.signal), SMALL.context_length
    power = signal * SMALL.block_dims + SMALL.noise**2
    for _ in range(20):
        omega, mu = rng.standard_normal((3, SMALL.dimension)), rng.standard_normal((3, 2))
        own = np.sum(mu[:, np.repeat([0, 1], SMALL.block_dims)] * omega, axis=0) ** 2
        shares = np.array([own[block].sum() for block in SMALL.blocks])
        between = (power * mu.sum(axis=0) ** 2 - signal * shares) / L
        measured.append(float((linear_losses(omega, mu, SMALL, L, 1.0) + between).sum()))
        predicted.append(
            closed.linear_attention_loss(omega, mu, *of_task(SMALL), noise=SMALL.noise)
        )
    return agree("kernel 1 + ⟨ω, ω'⟩: loss against [L]'s at N = L with the mean label", predicted,
                 measured, 1e-13, "rounding of some hundred operations")  # fmt: skip


def _never_above(rng: np.random.Generator) -> Check:
    """The linearised loss is below ℓ, at any weights."""
    system = heads_system(SMALL, 3)
    omega = rng.standard_normal((500, 3, SMALL.dimension)) * 10 ** rng.uniform(-1, 0, (500, 1, 1))
    mu = rng.standard_normal((500, 3, 2))
    linear = closed.linear_attention_loss(omega, mu, *of_task(SMALL), noise=SMALL.noise)
    full = system.task_losses(omega, mu).sum(axis=-1)

    def above(value: Array) -> int:
        return int((value > full * (1 + 1e-12)).sum())

    return same("weights whose linearised loss is above ℓ, of 500", 0, above(linear),
                control=lambda: above(2 * full - linear))  # fmt: skip


def _orders(omega: Array, mu: Array) -> list[Check]:
    """ℓ less the linearised loss at (εω, μ/ε), over ε², and over ε⁴ for heads in pairs ±."""
    system = heads_system(SMALL, 4)
    weight = np.asarray(SMALL.signal) * SMALL.block_dims * SMALL.noise_factor / SMALL.context_length
    pairs = np.concatenate([omega[:2], -omega[:2]]), np.concatenate([mu[:2], -mu[:2]])
    checks = []
    for name, (w, m), power in (("zero-sum μ", (omega, mu), 2), ("pairs ±(ω, μ)", pairs, 4)):
        gram = w @ w.T
        term = gram**2 / 2 if power == 2 else gram**3 / 6
        coefficient = float(np.sum(weight * np.sum(m * (term @ m), axis=0)))
        eps = 0.5 ** np.arange(1, 5)
        gaps = [
            float(system.task_losses(e * w, m / e).sum())
            - float(closed.linear_attention_loss(e * w, m / e, *of_task(SMALL), noise=SMALL.noise))
            for e in eps
        ]
        checks.append(shrinks(f"{name}: gap over ε^{power}, against its coefficient", eps,
                              [coefficient] * len(eps), np.array(gaps) / eps**power, float(power),
                              "next order that does not cancel"))  # fmt: skip
    return checks


def least_loss(task: MultiTask, length: int) -> float:
    """[L]'s minimum, summed over tasks."""
    total = 0.0
    for i in range(task.outputs):
        moments = population_moments(linear_task(task, i, length))
        total += float(matrix_loss(moments, minimiser(moments)))
    return total


def _least_losses() -> list[Check]:
    """The bound for H > I against [L]'s minimum at N = L, and their approach as d grows."""
    task, sizes = MultiTask((4, 6), 0.5, 20, noise=0.5), np.array([5, 20, 80, 160])
    with_one_more = closed.lower_bound(
        [4, 6], 0.5, 20, 3, noise=float(np.sqrt(task.noise**2 + 0.5))
    )
    ladder = [MultiTask((int(d), int(2 * d)), 1.0, int(4 * d)) for d in sizes]
    return [
        agree("bound for H > I with λ added to σ², against [L]'s minimum at N = L", with_one_more,
              least_loss(task, 20), 1e-13, "rounding"),
        shrinks("bound for H > I against [L]'s minimum as d grows, d/L fixed", sizes,
                [closed.lower_bound(*of_task(t), heads=3) for t in ladder],
                [least_loss(t, t.context_length) for t in ladder], -1.0, "a share 1/d_i of c_i"),
    ]  # fmt: skip


def _whole_heads(settings: Settings, sizes: Array) -> tuple[list[Check], Array]:
    """Softmax on drawn tokens, H = I + 1 heads at [L]'s minimum: value, mean label, rate in ω."""
    task, samples = SMALL, settings.choose(12_000, 200_000)
    L, seed = task.context_length, settings.seed
    unit = built_heads(task, 3, 1.0, np.random.default_rng(1))
    best = [minimiser(population_moments(linear_task(task, i, L - 1))) for i in range(2)]
    read = np.column_stack([unit[:, block].sum(axis=1) for block in task.blocks])
    scale = [np.trace(best[i][block, block]) / (read[:, i] @ unit[:, block].sum(axis=1))
             for i, block in enumerate(task.blocks)]  # fmt: skip
    mu = read * scale * L / (L - 1)

    def drawn(eps: float, shift: float = 0.0) -> Any:
        return icl_loss_monte_carlo(eps * unit, (mu + shift * eps) / eps, task, samples,
                                    rng=(seed, 110), chunk=500)  # fmt: skip

    power = np.asarray(task.signal) * task.block_dims + task.noise**2
    least = np.array([
        float(matrix_loss(population_moments(linear_task(task, i, L - 1)), best[i]))
        for i in range(2)
    ])  # fmt: skip
    limit, shifted = drawn(1e-3), drawn(1e-3, 1.0)
    # The loss is even in ε, as q and −q have one law; on the same draws, the mean of both signs.
    losses = np.array([(drawn(e).task_mean + drawn(-e).task_mean) / 2 for e in sizes.tolist()])
    without = np.asarray(closed.lower_bound(*of_task(task), heads=3, noise=task.noise))
    extra = power * 9 / L
    return [
        within_noise("softmax heads with ‖ω^h‖ = 1e-3: loss, against [L]'s minimum at N = L − 1",
                     least.sum(), limit.mean, limit.error, wrong=without),
        within_noise("the same with Σ_h μ_i^h = 3: the mean label adds 9(λ_i d_i + σ²)/L",
                     least + extra, shifted.task_mean, shifted.task_error,
                     wrong=least + 0.9 * extra),
        shrinks("softmax heads against their limit on the same draws, ‖ω^h‖ = 0.4 to 0.05", sizes,
                [limit.task_mean] * len(sizes), losses, 2.0, "even in ε"),
    ], (losses - limit.task_mean).sum(axis=1)  # fmt: skip

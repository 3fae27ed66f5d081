"""S4: the limit point of softmax heads, how it is left, and what for.

At the limit every off-task pair (o_i^h, v_i^h) is 0 and ∂ℓ/∂μ_i^h = 2λ_i d_i φ_i μ_i*/L = g_i > 0,
so that ℓ ≈ g_i o v: o = v decays and o = −v grows, both at rate g_i, and off the balanced manifold
I(H−1) directions are unstable. Off-task ω have no rate at all: ℓ grows as K_h ω², K_h =
Σ_i c_i (μ_i^h)² e^{‖ω^h‖²}, so that balanced ones decay as ω → √d_e/(4 K_h t).

What the flow leaves for (derived for H = I ≥ 3 equal tasks). Heads become small, ‖ω^h‖² = a → 0,
and act through their differences: μ sum to zero over heads and ω^h to zero too, a simplex. With
ν_0 = (H−1)/H and c = φd_i/L, to first order in a,

    ℓ = Iλd_i c/(c + ν_0) + ℓ'a,    ℓ' = Iλd_i c ν_0 (H−2)/(2(H−1)(c + ν_0)²),
    Σ_i |μ_i^h| = κ/√a,    κ = 2 ν_0/(c + ν_0) √(d_i (H−1)/H).

The loss does not depend on ω → sω, μ → μ/s but through a. As o² + v² changes at the rate −4μ ∂ℓ/∂μ
and k² + q² at −4ω ∂ℓ/∂ω, half their difference, summed over a head, is Q_h with

    dQ_h/dt = 2 (Σ ω ∂ℓ/∂ω − Σ μ ∂ℓ/∂μ) = (4/H) ℓ'a,    Q_h → Σ|μ| = κ/√a,

so that a^{−3/2} grows at the rate 12ℓ'/(Hκ): a and the excess loss fall as t^{−2/3}, towards the
least loss of any H heads. (Turning heads and read-outs alike within their zero-sum space leaves ℓ
and a as they are, and lowers κ a little.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, agree, claim, same
from claims.cases import EPS
from claims.softmax.phases import FIG1, UNEQUAL, allocation, heads_system
from numerics import MultiTask, Stability, Trajectory, crossing_times, stability
from numerics.softmax.saddle import balanced_stability
from numerics.softmax.spectral import SpectralSystem, spectral_flow

Array = np.ndarray
CASES = {"Fig. 1": (FIG1, 3), "two tasks, noise, 4 heads": (UNEQUAL, 4)}
THREE = MultiTask((2, 2, 2), 1.0, context_length=20)


def limit_state(system: SpectralSystem, factor: float = 1.0) -> Array:
    """The predicted limit point, balanced, head i on task i; μ times a factor."""
    model, task = system.model, system.task
    point = closed.limit_weights(
        np.array(model.block_dims), task.signal, task.context_length, noise=task.noise
    )
    omega = np.zeros((model.heads, model.dimension))
    mu = np.zeros((model.heads, model.tasks))
    for i, block in enumerate(task.blocks):
        omega[i, block] = np.asarray(point.omega_bar)[i]
        mu[i, i] = factor * np.asarray(point.mu)[i]
    return model.balanced(omega, mu)


def escape_rates(system: SpectralSystem) -> Array:
    """g_i of every task, H − 1 times each, descending."""
    task = system.task
    rates = closed.limit_escape_rate(
        np.array(task.block_dims), task.signal, task.context_length, noise=task.noise
    )
    return np.sort(np.repeat(rates, system.model.heads - 1))[::-1]


@claim(
    "S4",
    source="[S] Theorem 2; derived",
    kind="asymptotic",
    statement="the flow reaches the limit point: stable where o = v; off it I(H−1) ways out at g_i",
    regime="balanced start; from |o − v| = δ the limit is left after ln(1/δ)/g for ω → 0",
)
def limit_point(settings: Settings) -> Evidence:
    """The point, its loss and spectra; how fast it is reached, left, and what for."""
    checks: list[Check] = []
    for name, (task, heads) in CASES.items():
        checks += _at_the_point(name, heads_system(task, heads))
    checks += _reached()
    deltas = 10.0 ** -np.arange(2, settings.choose(9, 15), 2)
    times = escape_times(deltas)
    rate = escape_rates(heads_system(THREE))[0]
    slope = np.diff(times) / np.diff(np.log(1 / deltas))
    checks += [
        agree("time to leave the limit, per ln(1/δ)", 1 / rate, slope, 0.01,
              "linear growth but for the last part, which is the same for every δ: relative 1e-2"),
        *_long_after(settings),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        run = left_run(settings.choose(1e5, 1e6), settings.seed)
        shown = run.t > 1
        ax.plot(run.t[shown], run.loss[shown], color=style.MEASURED, label="flow, o ≠ v by 1 %")
        ends = [closed.limit_loss(THREE.block_dims, 1.0, 20), lowest(THREE)]
        style.plateau_lines(ax, ends, "limit of [S], least loss of 3 heads")
        ax.set_xscale("log")
        ax.set_xlabel("training time of dθ/dt = −∂ℓ/∂θ")
        ax.set_ylabel("loss ℓ")
        ax.legend()

    g = escape_rates(heads_system(FIG1))[0]
    note = (
        f"Fig. 1: 6 unstable directions of rate g = {g:.3f}; rounding of o = v alone grows to 1 in "
        f"t ≈ ln(1/2e-16)/g = {np.log(1 / EPS) / g:.0f}; beyond, the loss falls to the least "
        "of 3 heads as t^(−2/3)"
    )
    return Evidence(checks, draw, note)


def _at_the_point(name: str, system: SpectralSystem) -> list[Check]:
    """Gradient, loss, index and rates at the predicted point."""
    task, model = system.task, system.model
    theta = limit_state(system)
    full, inside = stability(system, theta), balanced_stability(system, theta)
    rates = escape_rates(system)

    def gradient(factor: float) -> float:
        return 2 * float(np.linalg.norm(system.velocity(limit_state(system, factor))))

    def rates_of(result: Stability) -> Array:
        return np.asarray(-result.eigenvalues[: len(rates)])

    loss = closed.limit_loss(
        np.array(task.block_dims), task.signal, task.context_length, noise=task.noise
    )
    ways, free = model.tasks * (model.heads - 1), model.dimension * (model.heads - 1)
    return [
        agree(f"{name}: |∂ℓ/∂θ| at the limit point", 0.0, gradient(1.0), 200 * EPS,
              "rounding of the gradient", scale=1.0, control=lambda: gradient(1.01)),
        agree(f"{name}: its loss", loss, system.loss(theta), 100 * EPS, "rounding"),
        same(f"{name}: unstable directions, all and balanced ones", [ways, 0],
             [full.index, inside.index], control=lambda: [inside.index, full.index]),
        same(f"{name}: flat directions, scalings and off-task ω",
             [model.tasks + model.dimension + 2 * free, free], [full.flat, inside.flat]),
        agree(f"{name}: rates of the unstable directions", rates, rates_of(full), 1e-12,
              "rounding of the eigenvalue solver, against the largest eigenvalue"),
    ]  # fmt: skip


def _reached() -> list[Check]:
    """From Fig. 1's start: the approach of on-task weights, and the slow decay of off-task ω."""
    case = allocation("fig1", 0.01, (0, 1, 2), 3)
    point = closed.limit_weights(10, 1.0, 100)
    omega, mu = case.weights
    off = omega[:, 0, 1]
    pull = 0.1 * float(point.mu) ** 2 * np.e
    slow = np.sqrt(30) / (4 * pull)
    late = np.searchsorted(case.run.t, [30.0, 59.0])
    spent = np.diff(case.run.t[late])
    because = "what is left, off-task ω and μ, has fallen below 1e-2 and enters squared"
    own = case.own(omega)[-1], case.own(mu)[-1]
    return [
        agree("Fig. 1 at t = 60: ω̄ and μ of each task's leader",
              [[float(point.omega_bar)] * 3, [float(point.mu)] * 3], own, 1e-3, because,
              scale=[[float(point.omega_bar)], [float(point.mu)]]),
        agree("Fig. 1: growth of 1/ω̄ off task, against 4K/√d_e", 1 / slow,
              np.diff(1 / off[late]) / spent, 5e-3,
              "relative ω̄² and residuals of the leaders, below 5e-3 from t = 30"),
    ]  # fmt: skip


@lru_cache
def left_run(duration: float, seed: int) -> Trajectory:
    """Three small tasks from a start whose four kinds of weights are all unbalanced, by 1 %."""
    system = heads_system(THREE)
    rng = np.random.default_rng((seed, 4))
    start = system.model.leading_weights(0.05, 0.3, 0.6)
    start = start * (1 + 0.01 * rng.standard_normal(system.size))
    return spectral_flow(system, start, duration, rtol=1e-10)


def escape_times(deltas: Array) -> Array:
    """Time at which half of what is gained is gained, from the limit with off-task o = −v = δ."""
    system = heads_system(THREE)
    theta, model = limit_state(system), system.model
    low = lowest(THREE)
    middle = (float(system.loss(theta)) + low) / 2
    rate, times = escape_rates(system)[0], []
    for delta in deltas:
        o, v, k, q = (part.copy() for part in model.unpack(theta))
        off = ~np.eye(3, dtype=bool)
        o[off], v[off] = delta, -delta
        run = spectral_flow(
            system, model.pack(o, v, k, q), 3 * np.log(1 / delta) / rate + 100, atol=1e-20,
            until_loss=0.9 * middle + 0.1 * low,
        )  # fmt: skip
        times.append(crossing_times(run.t, run.loss, [middle], loss_rate=run.loss_rate)[0])
    return np.array(times)


def _long_after(settings: Settings) -> list[Check]:
    """Excess loss, size and read-outs long after the limit point was left."""
    system = heads_system(THREE)
    run = left_run(settings.choose(1e5, 1e6), settings.seed)
    slope, _ = slow_rates(THREE)
    ends = run.t[-1] * np.array([0.1, 1.0])
    rows = [np.abs(run.t - end).argmin() for end in ends]
    t, states = run.t[rows], run.states[rows]
    omega, mu = system.model.combined(states)
    a = np.sum(omega**2, axis=(1, 2)) / 3
    excess = run.loss[rows] - lowest(THREE)
    last = run.t >= t[0]
    spent = np.trapezoid(_size(run)[last], run.t[last])
    o, v, k, q = system.model.unpack(states)
    charge = (np.sum(o**2 + v**2, axis=(1, 2)) - np.sum(k**2 + q**2, axis=(1, 2))) / 6
    zero_sum = [
        np.abs(part.sum(axis=1)).max() / np.abs(part).max() for part in (mu[-1:], omega[-1:])
    ]
    first = closed.limit_loss(np.array(THREE.block_dims), 1.0, THREE.context_length)
    return [
        agree("loss long after leaving, against the least of 3 heads", lowest(THREE),
              run.loss[-1], 2 * slope * a[-1] / lowest(THREE), "twice the next order, ℓ'a",
              control=lambda: first),
        agree("excess loss over a = ‖ω^h‖², against ℓ'", slope, excess[-1] / a[-1], 2 * a[-1],
              "the next order, relative a with room for a factor 2"),
        agree("growth of Q_h over the last decade, against (4ℓ'/H) ∫ a dt",
              4 * slope / 3 * spent, np.diff(charge)[0], a[0],
              "the next order, relative a"),
        agree("exponent of a in t over the last decade", -2 / 3, _exponent(run, 0.1 * run.t[-1]),
              0.05, "the start of the power law lies at 1/50 of the decade's first time",
              control=lambda: _exponent(run, 30.0)),
        agree("|Σ_h μ_i^h| and |Σ_h ω_j^h|, of the largest entry", [0.0, 0.0], zero_sum, 0.02,
              "they fall with a", scale=1.0,
              control=lambda: [np.abs(part[0].sum(axis=0)).max() / np.abs(part[0]).max()
                               for part in system.model.combined(run.states[:1])]),
    ]  # fmt: skip


def _size(run: Trajectory) -> Array:
    """A = ‖ω^h‖², the mean over heads, (T,)."""
    omega, _ = run.model.combined(run.states)
    return np.asarray(np.sum(omega**2, axis=(1, 2)) / run.model.heads)


def _exponent(run: Trajectory, start: float) -> float:
    """Slope of ln a over ln t from `start` to ten times that."""
    a, times = _size(run), np.array([start, 10 * start])
    return float(
        np.diff(np.interp(np.log(times), np.log(run.t[1:]), np.log(a[1:])))[0] / np.log(10)
    )


def lowest(task: MultiTask) -> float:
    """The least loss of H = I heads, approached as ω → 0."""
    return float(
        closed.lower_bound(
            np.array(task.block_dims), task.signal, task.context_length, task.outputs,
            noise=task.noise,
        )
    )  # fmt: skip


def slow_rates(task: MultiTask) -> tuple[float, float]:
    """dℓ/da and the rate of a^{−3/2}, for H = I equal tasks with λ = 1."""
    H, d = task.outputs, task.block_dims[0]
    c, share = d / task.context_length, (H - 1) / H
    slope = H * d * c * share * (H - 2) / (2 * (H - 1) * (c + share) ** 2)
    kappa = 2 * share / (c + share) * np.sqrt(d * share)
    return slope, 12 * slope / (H * kappa)

"""L19: the whole softmax layer, with merged keys and queries and with separate ones.

Notation of `numerics.AttentionLayer`: K = D+1 entries x_n (label last) in each of N+1 tokens, the
query x_q among them; head h has values a_h ∈ R^K and scores x_qᵀ B_h x_n, B_h (D, K).

Close to zero weights softmax_n(s) = (1 + s_n − s̄)/(N+1), so with x̄ the mean token and
C = (1/(N+1)) Σ (x_n − x̄)(x_n − x̄)ᵀ the prediction of ATTN_M is Σ_h (a_h·x̄ + a_hᵀ C B_hᵀ x_q):
linear attention on centred tokens, beside a mean of all of them. To first order in the weights
the flow τ dθ/dt = −½ ∂L/∂θ is then

    τ ȧ_h = f − E[x̄ x̄ᵀ] Σ_h' a_h' + M B_h,    τ Ḃ_h = Mᵀ a_h,    M = E[y_q C ⊗ x_q]  (K, D·K),

where f = E[y_q x̄] vanishes in the population, and as P^(−1/2) on P sequences. The second term
acts on the sum over heads alone. All else leaves zero at rates that are singular values of M; the
largest is (N/(N+1))² ‖ΛΩΛ‖_F in the population, as Σ_n y_n x_n − (N+1) ȳ x̄ has the mean
N²/(N+1) Λw. Linear attention leaves zero at ‖ΛΩΛ‖_F.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

import style
from claims.base import Evidence, Settings, agree, claim, same, shrinks, within_noise
from claims.cases import CONTEXT, EIGENVALUES, eigenbasis, reference_task
from numerics import (
    AttentionLayer,
    LayerSystem,
    Sequences,
    Trajectory,
    antithetic,
    crossing_times,
    find_plateaus,
    gradient_descent,
    sample_sequences,
    tokens_of,
)

Array = np.ndarray

# [L] Fig. 5: the layers of Fig. 1 and 3. A step of rate η is 2η of flow time.
LAYERS = {
    "merged": AttentionLayer(dimension=4, heads=8, attention="softmax"),
    "separate": AttentionLayer(dimension=4, heads=4, rank=1, attention="softmax"),
}
RATES = {"merged": 0.1, "separate": 0.15}
SCALE = 0.02
# |L(0) − L − Σ_steps η ‖∂L/∂θ‖²| of a run that follows the flow; at an unstable rate it is of
# order 1, and the loss makes jumps of its own.
STRAY = 0.01
LEARNED = 1 / 3  # a direction counts as learned from this gain on


@dataclass(frozen=True, eq=False)
class Run:
    """One training run; `t` is flow time in τ, `gains` (T', D) belong to the times `t_gains`."""

    t: Array
    loss: Array
    record: Trajectory
    t_gains: Array
    gains: Array

    @property
    def drops(self) -> int:
        """Peaks of −dL/dt that exceed the valleys on both sides by a factor of 2."""
        return len(find_plateaus(self.record, contrast=2.0).drops)

    @property
    def slowest(self) -> float:
        """Least −dL/dt over the middle half of the fall, in units of the largest of the run."""
        fallen = (self.loss[0] - self.loss) / (self.loss[0] - self.loss[-1])
        start, stop = (int(np.argmax(fallen >= share)) for share in (0.25, 0.75))
        rate = self.record.loss_rate
        return float(rate[start : stop + 1].min() / rate.max())

    @property
    def learned(self) -> Array:
        """When each direction's gain first reaches `LEARNED`, shape (D,); inf if never."""
        levels = [-LEARNED]
        return np.array([crossing_times(self.t_gains, -g, levels)[0] for g in self.gains.T])


@lru_cache
def softmax_run(kind: str, count: int, steps: int, sample_seed: int, seed: int) -> Run:
    """Gradient descent of a softmax layer on `count` sequences of [L] Fig. 3's task.

    `steps` are those at the layer's rate. Large keys make a few separate runs unstable at it:
    these are repeated at half the rate, or a quarter. Single precision halves the cost; it rounds
    rates of the loss at 1e-7 of their size, and a drop is a factor of 2 in them.
    """
    layer, rate = LAYERS[kind], RATES[kind]
    sequences = sample_sequences(reference_task(), count, rng=sample_seed)
    tokens, target = tokens_of(sequences), sequences.target
    system = LayerSystem(layer, tokens.astype(np.float32), target.astype(np.float32))
    start = layer.initial_weights(SCALE, rng=seed).astype(np.float32)
    every = max(1, steps // 250)
    for finer in (1, 2, 4):
        record = gradient_descent(system, start, finer * steps, rate / finer, every=finer * every)
        if abs(record.energy_gap[-1]) <= STRAY:
            break
    t = 2 * rate / finer * record.t
    few = slice(None, None, 3)
    return Run(t, record.loss, record, t[few], direction_gains(layer, record.states[few]))


def direction_gains(layer: AttentionLayer, states: Array, *, count: int = 1000) -> Array:
    """Gain of the prediction along each eigenvector of Λ, shape (T, D), on fresh sequences.

    y_q is the sum of its parts (w·e_d)(e_d·x_q); the gains are the coefficients of ŷ on them by
    least squares: 0 for a direction that is ignored, 1 for one that is learned in full.
    """
    task = reference_task()
    fresh = sample_sequences(task, count, rng=10_000)
    tokens, basis = tokens_of(fresh).astype(np.float32), eigenbasis(task)
    parts = (fresh.w @ basis) * (fresh.query @ basis)
    predicted = np.stack([layer.predict(theta, tokens) for theta in states], axis=1)
    return np.asarray(np.linalg.lstsq(parts, predicted, rcond=None)[0].T)


@claim(
    "L19",
    source="[L] Fig. 5; escape rate derived here",
    kind="qualitative",
    statement="the loss of softmax ATTN_M drops once, that of softmax ATTN_S several times; both "
    "learn an eigenvector before those of half its λ_d; ATTN_M leaves zero at the rate "
    "(N/(N+1))² ‖ΛΩΛ‖_F / τ",
    regime="D = 4, N = 31, 1000 sequences or more, initial weights of 0.02 (closer λ_d may change "
    "places in ATTN_S); the rate: small weights, law symmetric in w and x_q",
)
def one_drop_or_several(settings: Settings) -> Evidence:
    """Six runs of each layer judged by their loss curves alone, and the flow linearised at zero."""
    seeds = range(settings.seed, settings.seed + settings.choose(2, 6))
    count = settings.choose(1000, 1500)
    steps = {"merged": settings.choose(500, 1000), "separate": settings.choose(3200, 4000)}
    runs = {
        kind: [softmax_run(kind, count, steps[kind], settings.seed, seed) for seed in seeds]
        for kind in LAYERS
    }
    drops = {kind: [run.drops for run in each] for kind, each in runs.items()}
    slow = {kind: [run.slowest for run in each] for kind, each in runs.items()}
    learned = np.array([run.learned for each in runs.values() for run in each])
    stray = [abs(run.record.energy_gap[-1]) for each in runs.values() for run in each]
    checks = [
        same("drops of each merged run", [1] * len(seeds), drops["merged"],
             control=lambda: drops["separate"]),
        same("separate runs with two drops or more, each run", [True] * len(seeds),
             [n >= 2 for n in drops["separate"]],
             control=lambda: [n >= 2 for n in drops["merged"]]),
        same("halfway every separate run falls slower, against its own top rate, than any merged",
             True, max(slow["separate"]) < min(slow["merged"]),
             control=lambda: [max(slow["merged"]) < min(slow["separate"])]),
        same("each direction learned before all of half its λ_d or less, each run",
             [True] * len(learned), larger_first(learned),
             control=lambda: larger_first(learned[:, ::-1])),
        agree("loss gained or lost to finite steps", 0.0, stray, STRAY,
              "second order in the step for a stable run; an unstable one is off by its own size",
              scale=1.0, control=lambda: _stray_at_an_unstable_rate(count, settings.seed)),
        *_escape_checks(settings),
    ]  # fmt: skip

    def draw(ax: Any) -> None:
        for kind, color in (("merged", style.OTHER), ("separate", style.MEASURED)):
            for i, run in enumerate(runs[kind]):
                ax.plot(run.t, run.loss, color=color, lw=1.1, label=None if i else kind)
        style.loss_axes(ax, log_time=True)
        ax.set_xlim(left=3.0)
        ax.legend()

    return Evidence(checks, draw, _note(runs))


def _note(runs: dict[str, list[Run]]) -> str:
    merged, separate = runs["merged"], runs["separate"]
    least, most = min(run.slowest for run in merged), max(run.slowest for run in separate)
    in_order = sum(bool((np.diff(run.learned[:3]) > 0).all()) for run in separate)
    complete = sum(bool(np.isfinite(run.learned).all()) for run in separate)
    values = LAYERS["merged"].unpack(merged[0].record.states[-1])[0][:, -1]
    cancelled = abs(values.sum()) / np.abs(values).sum()
    return (
        f"drops: merged {[run.drops for run in merged]}, separate {[run.drops for run in separate]}"
        f"; slowest rate halfway, over the largest: merged {least:.2g} or more, separate {most:.2g}"
        f" or less; of {len(separate)} separate runs {in_order} learn the first three directions "
        f"in order, and {complete} all four; the values of the merged heads sum to {cancelled:.2g} "
        f"of their size, as E[x̄ x̄ᵀ] Σ a_h asks"
    )


def larger_first(times: Array) -> list[bool]:
    """Whether no direction j is learned before an i with λ_i ≥ 2λ_j, for each run."""
    larger, smaller = np.nonzero(EIGENVALUES[:, None] >= 2 * EIGENVALUES)
    late = [np.any(row[larger] > row[smaller]) for row in times]
    return [bool(np.isfinite(row[0]) and not wrong) for row, wrong in zip(times, late, strict=True)]


def _stray_at_an_unstable_rate(count: int, seed: int) -> float:
    layer = LAYERS["merged"]
    sequences = sample_sequences(reference_task(), count, rng=seed)
    system = LayerSystem(layer, tokens_of(sequences), sequences.target)
    start = layer.initial_weights(SCALE, rng=seed)
    return abs(float(gradient_descent(system, start, 200, 20 * RATES["merged"]).energy_gap[-1]))


def _escape_checks(settings: Settings) -> list[Any]:
    """Runs from smaller and smaller weights beside the flow linearised at zero, on one sample.

    The sample holds the images of each sequence under w ↦ −w and x_q ↦ −x_q, so that f = 0 as in
    the population and zero weights are stationary.
    """
    layer, task, rate, steps = LAYERS["merged"], reference_task(), 0.1, 80
    sequences = with_images(sample_sequences(task, 100, rng=settings.seed))
    near_zero = Linearised.on(sequences)
    system = LayerSystem(layer, tokens_of(sequences), sequences.target)
    scales = settings.choose((1e-3, 1e-4, 1e-5), (1e-2, 1e-3, 1e-4, 1e-5))
    paths, ends, growth = [], [], []
    for scale in scales:
        start = layer.initial_weights(scale, rng=settings.seed)
        record = gradient_descent(system, start, steps, rate, every=steps)
        first, last = ((a, W[:, :-1]) for a, W in map(layer.unpack, record.states))
        paths.append(near_zero.values(*first, steps, 2 * rate))
        ends.append(last[0])
        sizes = [near_zero.leading_part(*state) for state in (first, last)]
        growth.append(np.log(sizes[1] / sizes[0]) / (2 * rate * steps))
    # One step multiplies by 1 + 2ησ what the flow multiplies by e^(2ησ).
    predicted = np.log1p(2 * rate * near_zero.rate) / (2 * rate)
    because = "the terms left out are of second order in the weights"
    mean, error, bound = _population_rate(settings)
    linear = float(np.linalg.norm(EIGENVALUES**2))
    return [
        shrinks("values of ATTN_M after a flow time of 16, in the initial weights", scales,
                np.array(paths), np.array(ends), 1.0, because),
        shrinks("rate of escape, the top singular value of M, in the initial weights", scales,
                [predicted] * len(scales), growth, 1.0, because),
        within_noise("that rate in the population, (N/(N+1))² ‖ΛΩΛ‖_F", bound, mean, error,
                     wrong=linear),
    ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Linearised:
    """The flow of ATTN_M at zero weights: M (K, D, K), E[x̄ x̄ᵀ] and f, on given sequences."""

    cross: Array
    mean: Array
    drive: Array

    @classmethod
    def on(cls, sequences: Sequences) -> Linearised:
        """Averages over the sequences."""
        centre, covariance = _centred(sequences)
        target, P = sequences.target, len(sequences)
        cross = np.tensordot(target[:, None] * sequences.query, covariance, axes=(0, 0)) / P
        return cls(cross.swapaxes(0, 1), centre.T @ centre / P, target @ centre / P)

    def values(self, a: Array, B: Array, steps: int, length: float) -> Array:
        """a_h after so many Euler steps of this length from (a, B)."""
        for _ in range(steps):
            by_a = self.drive - self.mean @ a.sum(axis=0)
            by_a = by_a + np.tensordot(B, self.cross, axes=([1, 2], [1, 2]))
            a, B = a + length * by_a, B + length * np.tensordot(a, self.cross, axes=(1, 0))
        return a

    @property
    def rate(self) -> float:
        """Top singular value of M."""
        return float(np.linalg.norm(self._flat, 2))

    @property
    def _flat(self) -> Array:
        return self.cross.reshape(len(self.cross), -1)

    def leading_part(self, a: Array, B: Array) -> float:
        """Size of the part that grows fastest; the mean over heads, which E[x̄ x̄ᵀ] damps, apart."""
        left, _, right = np.linalg.svd(self._flat)
        part = a @ left[:, 0] + B.reshape(len(B), -1) @ right[0]
        return float(np.linalg.norm(part - part.mean()))


def _centred(sequences: Sequences) -> tuple[Array, Array]:
    """x̄ (P, K) and C (P, K, K)."""
    tokens = tokens_of(sequences)
    centre = tokens.mean(axis=1)
    apart = tokens - centre[:, None]
    return centre, apart.swapaxes(1, 2) @ apart / tokens.shape[1]


def with_images(sequences: Sequences) -> Sequences:
    """Each sequence with its images under w ↦ −w and x_q ↦ −x_q, equally likely all four."""
    both = antithetic(sequences)
    twice = {name: np.concatenate([getattr(both, name)] * 2) for name in ("x", "y", "lengths", "w")}
    mirrored = {
        name: np.concatenate([getattr(both, name), -getattr(both, name)])
        for name in ("query", "target")
    }
    return replace(both, **twice, **mirrored)


def _population_rate(settings: Settings) -> tuple[float, float, float]:
    """Average of y_q uᵀ C Bᵀ x_q, its standard error, and the rate that it should be.

    u = e_y and B = (ΛΩΛ, 0)/‖ΛΩΛ‖_F is the leading pair of M in the population.
    """
    task = reference_task()
    matrix = task.covariance @ task.task_covariance @ task.covariance
    size = float(np.linalg.norm(matrix))
    terms = []
    for piece in range(settings.choose(20, 80)):
        sequences = sample_sequences(task, 5000, rng=[settings.seed, piece])
        # The label's row of C; the query's label is zero, but its x is in the mean.
        N, centre = CONTEXT, (sequences.x.sum(axis=1) + sequences.query) / (CONTEXT + 1)
        row = N / (N + 1) * (sequences.beta - sequences.y.mean(axis=1)[:, None] * centre)
        terms.append(sequences.target * np.sum((sequences.query @ matrix) * row, axis=1) / size)
    sample = np.concatenate(terms)
    error = float(sample.std() / np.sqrt(len(sample)))
    return float(sample.mean()), error, (CONTEXT / (CONTEXT + 1)) ** 2 * size

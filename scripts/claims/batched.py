"""G1–G3: many runs at once (`gpu`) give what the same runs give one by one (`numerics`).

Arrays are those of the backend of the settings: NumPy, CuPy, or array-api-strict, which has the
functions of the array API standard and no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from importlib import import_module
from typing import Any

import numpy as np

import gpu
import numerics
from claims.base import Check, Evidence, Settings, agree, claim, same
from claims.cases import EPS
from console import InputError
from gpu._arrays import to_host
from numerics import LinearTask, MultiTask, SeparateAttention, population_moments
from numerics.softmax.spectral import SpectralAttention, SpectralSystem

BACKENDS = {"numpy": "numpy", "cupy": "cupy", "strict": "array_api_strict"}
METHODS = "explicit", "implicit", "Chebyshev"
ROWS = 3
MODEL = SeparateAttention(dimension=2, heads=2)
EIGENVALUES, SCALE = (0.4, 0.2), 0.05
# Sums of up to some hundred terms, and differences of terms of one size.
KERNELS = 500 * EPS, "500 roundings of the largest entry"
# Sums in another order differ by roundings, which the escape from weights of 0.05 to some 0.5
# grows tenfold in each weight; they add up over some 200 steps of eight stages: 16 · 10 · 40.
REORDERED = 1e4 * EPS, "roundings of another order, grown tenfold by the escape, over 200 steps"


def place(backend: str) -> dict[str, Any]:
    """Keyword arguments `xp` and `device` of a backend; `InputError` if it cannot work here."""
    try:
        xp = import_module(BACKENDS[backend])
    except ImportError:
        extra = {"cupy": "CuPy is not installed: pip install 'iclflow[cupy]'"}
        missing = "array-api-strict is not installed: pip install 'iclflow[test]'"
        raise InputError(f"--backend {backend}: {extra.get(backend, missing)}") from None
    if backend == "cupy":
        try:
            xp.zeros(1).sum().item()
        except Exception as error:  # the driver, the runtime or a compiler may be at fault
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"--backend cupy: no CUDA device answers: {reason}") from None
    # On "device1" an array does not turn into one of NumPy unless it is asked to.
    return {"xp": xp, "device": xp.Device("device1") if backend == "strict" else None}


def put(settings: Settings, values: Any) -> Any:
    """Numbers of the host as float64 of the backend."""
    at = place(settings.backend)
    options = {} if at["device"] is None else {"device": at["device"]}
    return at["xp"].asarray(np.ascontiguousarray(values), dtype=at["xp"].float64, **options)


@claim(
    "G1",
    source="gpu",
    kind="identity",
    statement="batched loss, velocity, Jacobian and conserved quantities are those of single runs",
    regime="ATTN_M, ATTN_S, whole layers, [S]'s spectral flow; every row its own data",
)
def kernels(settings: Settings) -> Evidence:
    """Each function of each system at random weights, row by row."""
    checks = [
        agree(f"{name}: {function}", *pair, *KERNELS)
        for name, system, twins, theta in _systems(settings)
        for function in ("loss", "velocity", "jacobian", "invariants")
        if hasattr(system, function)
        for pair in [_both(settings, function, system, twins, theta)]
    ]
    return Evidence(checks, note=f"backend {settings.backend}")


def _both(
    settings: Settings, function: str, system: Any, twins: list, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    single = [getattr(twin, function)(row) for twin, row in zip(twins, theta, strict=True)]
    return np.array(single), to_host(getattr(system, function)(put(settings, theta)))


Case = tuple[str, Any, list, np.ndarray]


def _systems(settings: Settings) -> Iterator[Case]:
    """A name, a batched system, its single ones, and weights."""
    rng = np.random.default_rng(settings.seed)
    at, D = place(settings.backend), settings.choose(3, 6)
    tasks = [
        LinearTask.from_eigenvalues(rng.uniform(0.2, 1, D), 5 + i, noise=0.3 * i, rng=rng)
        for i in range(ROWS)
    ]
    exact = [population_moments(task) for task in tasks]
    sampled = [numerics.sample_moments(task, 100, rng=rng) for task in tasks]
    models: list[Any] = [
        numerics.MergedAttention(D, 2),
        SeparateAttention(D, 4),
        SeparateAttention(D, 2, rank=2),
    ]
    for model in models:
        for kind, moments in (("population", exact), ("sampled", sampled)):
            name = f"{type(model).__name__} R={getattr(model, 'rank', '-')}, {kind} moments"
            system = gpu.AttentionSystem(model, gpu.stack_moments(moments, **at))
            twins = [numerics.AttentionSystem(model, m) for m in moments]
            yield name, system, twins, rng.standard_normal((ROWS, model.size))
    yield from _layers(settings, tasks, rng)
    spectral = SpectralAttention(block_dims=(2, 3), heads=3, embedding_dim=7)
    problems = [MultiTask((2, 3), 1.0, 6 + i, noise=0.4 * i) for i in range(ROWS)]
    batched = gpu.SpectralSystem(spectral, gpu.stack_moments(problems, **at))
    theta = 0.7 * rng.standard_normal((ROWS, spectral.size))
    yield "spectral flow", batched, [SpectralSystem(spectral, p) for p in problems], theta


def _layers(settings: Settings, tasks: list, rng: np.random.Generator) -> Iterator[Case]:
    """Whole layers on tokens, linear and softmax, and the linear one by moments."""
    # Every row its own sequences, all of one length.
    drawn = [numerics.sample_sequences(LinearTask(t.covariance, 6), 20, rng=rng) for t in tasks]
    tokens = np.array([numerics.tokens_of(s) for s in drawn])
    target = np.array([s.target for s in drawn])
    for attention in ("linear", "softmax"):
        layer = numerics.AttentionLayer(tokens.shape[-1] - 1, 2, 1, attention)
        theta = 0.5 * rng.standard_normal((ROWS, layer.size))
        whole = gpu.LayerSystem(layer, put(settings, tokens), put(settings, target))
        twins = [numerics.LayerSystem(layer, X, y) for X, y in zip(tokens, target, strict=True)]
        yield f"{attention} layer on tokens", whole, twins, theta
        if attention == "linear":
            moments = [
                numerics.linear_layer_moments([part]) for part in zip(tokens, target, strict=True)
            ]
            stacked = gpu.stack_moments(moments, **place(settings.backend))
            system = gpu.LayerMomentsSystem(layer, stacked)
            single = [numerics.LayerMomentsSystem(layer, m) for m in moments]
            yield "linear layer by moments", system, single, theta


@lru_cache
def _task(context: int) -> LinearTask:
    return LinearTask.from_eigenvalues(EIGENVALUES, context, rng=0)


def _initial(settings: Settings, count: int) -> np.ndarray:
    seeds = range(settings.seed, settings.seed + count)
    return np.asarray(gpu.initial_weights(MODEL, SCALE, seeds))


def _flow(settings: Settings, theta: np.ndarray, duration: float, **options: Any) -> Any:
    moments = gpu.stack_moments([_task(31)], **place(settings.backend))
    return gpu.gradient_flow(MODEL, moments, put(settings, theta), duration, **options)


@claim(
    "G2",
    source="gpu",
    kind="identity",
    statement="drops and plateaus of an ensemble are those of single flows; rows stay apart",
    regime="every method; to the solver's tolerance, and to rounding beside a row that diverges",
)
def flows(settings: Settings) -> Evidence:
    """Flows by every method against LSODA's, and a row that overflows among sound ones."""
    theta = _initial(settings, settings.choose(3, 12))
    duration = 30 / SCALE
    times = np.concatenate([[0.0], np.geomspace(1, duration, 150)])
    options: dict[str, Any] = {"times": times, "rtol": 1e-9, "atol": 1e-13}
    moments = population_moments(_task(31))
    single = [numerics.gradient_flow(MODEL, moments, row, duration, **options) for row in theta]
    # Midway between what a run has at the start, with one mode learned, and at the minimum.
    levels = np.asarray(_levels(moments))
    expected = np.array([
        numerics.crossing_times(run.t, run.loss, levels, loss_rate=run.loss_rate) for run in single
    ])  # fmt: skip
    # Some 100 steps of relative error 1e-9 before a drop, and a tenfold growth by the escape.
    near = 1e-6, "rtol 1e-9 over 100 steps, grown tenfold by the escape"
    checks: list[Check] = []
    for method in METHODS:
        run = _flow(settings, theta, duration, method=method, **options)
        loss, found = to_host(run.loss), to_host(run.crossing_times(put(settings, levels)))
        seen = np.isfinite(expected)
        checks += [
            same(f"{method}: drops seen", seen.sum(axis=1), np.isfinite(found).sum(axis=1)),
            agree(f"{method}: drop times", expected[seen], found[seen], *near,
                  scale=expected[seen]),
            agree(f"{method}: loss", [r.loss for r in single], loss, *near),
            agree(f"{method}: flattest loss between drops", [_flattest(r) for r in single],
                  [_flattest(r) for r in _as_rows(run)], *near),
        ]  # fmt: skip
    checks += _beside_a_diverging_row(settings, theta)
    return Evidence(checks, note=f"backend {settings.backend}")


def _levels(moments: Any) -> list[float]:
    form = moments.eigenform()[0]
    gains = np.sort(np.diag(form.correlation) ** 2 / np.diag(form.weights))[::-1]
    heights = form.energy - np.concatenate([[0.0], np.cumsum(gains)])
    return (0.5 * (heights[1:] + heights[:-1])).tolist()


def _as_rows(run: Any) -> list[Any]:
    """Curves of the host, as `_flattest` reads them."""
    names = ("t", "loss", "loss_rate")
    t, loss, rate = (to_host(getattr(run, name)) for name in names)
    return [dict(zip(names, (t, *row), strict=True)) for row in zip(loss, rate, strict=True)]


def _flattest(run: Any) -> float:
    """Loss where it falls most slowly in ln t, between a quarter and three quarters of its fall."""
    t, loss, rate = (
        run[n] if isinstance(run, dict) else getattr(run, n) for n in ("t", "loss", "loss_rate")
    )
    share = (loss[0] - loss) / (loss[0] - loss[-1])
    slope = np.where((share > 0.25) & (share < 0.75), t * rate, np.inf)
    return float(loss[int(np.argmin(slope))])


def _beside_a_diverging_row(settings: Settings, theta: np.ndarray) -> list[Check]:
    """One row overflows; the other rows against a batch without it."""
    bad = np.array(theta)
    bad[1] = 1e120
    sound = np.arange(len(theta)) != 1
    duration = 6 / SCALE
    checks = []
    for method in METHODS:
        with_it = _flow(settings, bad, duration, times=[duration], method=method)
        without = _flow(settings, bad[sound], duration, times=[duration], method=method)
        done = [status == "finished" for status in with_it.status]
        name = f"beside a row that overflows, {method}"
        checks += [
            same(f"{name}: rows finished", sound.sum(), np.sum(done)),
            agree(f"{name}: weights of the others", to_host(without.states),
                  to_host(with_it.states)[sound], *REORDERED),
        ]  # fmt: skip
    system = gpu.AttentionSystem(MODEL, gpu.stack_moments([_task(31)], **place(settings.backend)))
    rates = np.where(sound, 0.5, 1e4)
    # From larger weights, so that a step of this rate overshoots and grows.
    large = 10 * theta
    descents = [
        gpu.gradient_descent(system, put(settings, start), 60, rate.tolist(), every=60)
        for start, rate in ((large, rates), (large[sound], rates[sound]))
    ]
    done = [status == "finished" for status in descents[0].status]
    return [
        *checks,
        same("gradient descent: rows finished", sound.sum(), np.sum(done)),
        agree("gradient descent: weights of the others", to_host(descents[1].states),
              to_host(descents[0].states)[sound], *REORDERED),
    ]  # fmt: skip


@claim(
    "G3",
    source="gpu",
    kind="identity",
    statement="what a row gives does not depend on the rows beside it, their order or the chunks",
    regime="every row its own steps; to rounding, grown by the escape from small weights",
)
def batching(settings: Settings) -> Evidence:
    """The same rows together, in another order, in two parts, and in chunks of little memory."""
    count, duration = settings.choose(3, 40), 6 / SCALE
    theta = _initial(settings, count)
    order = np.arange(count)[::-1]
    checks = []
    for method in METHODS:
        run = {"times": [0.3 * duration, duration], "method": method}
        whole = to_host(_flow(settings, theta, duration, **run).states)
        turned = to_host(_flow(settings, theta[order], duration, **run).states)
        parts = [
            to_host(_flow(settings, part, duration, **run).states)
            for part in (theta[:2], theta[2:])
        ]
        # Too little for one row, so that every row is a chunk.
        alone = to_host(_flow(settings, theta, duration, memory=1, **run).states)
        checks += [
            agree(f"{method}: in another order", whole[order], turned, *REORDERED,
                  control=partial(np.roll, turned, 1, axis=0)),
            agree(f"{method}: in two parts", whole, np.concatenate(parts), *REORDERED,
                  control=partial(np.concatenate, parts[::-1])),
            agree(f"{method}: row by row", whole, alone, *REORDERED,
                  control=partial(np.roll, alone, 1, axis=0)),
        ]  # fmt: skip
    return Evidence(checks, note=f"backend {settings.backend}")

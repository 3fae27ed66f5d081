"""CuPy on a CUDA device: seeds a second, and a step of softmax training against ceilings."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gpu
from benchmarking.base import library
from benchmarking.case import Case
from numerics import AttentionLayer, LinearTask, sample_sequences, tokens_of

CASE = Case(4, 4, 1, 1e-2, 21_050.0)


def page(seeds: tuple[int, int] = (1000, 100_000)) -> str:
    """Both tables.

    Raises
    ------
    MissingError
        If CuPy is not installed; without a device CuPy raises what it will.
    """
    cupy = library("cupy")
    cupy.zeros(1).sum().item()
    card = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    about = f"CuPy {cupy.__version__}, NumPy {np.__version__}, {card}."
    return "\n\n".join(["# On a device", about, seeds_table(cupy, seeds), softmax_table(cupy)])


def seeds_table(xp: Any, seeds: tuple[int, int]) -> str:
    """Seeds a second of the flow on the host and on the device."""
    lines = ["| where | seeds | seconds | seeds a second |", "| --- | --- | --- | --- |"]
    for name, where, rows in (("NumPy", np, seeds[0]), ("CuPy", xp, seeds[1])):
        moments = gpu.stack_moments([CASE.task], xp=where)
        initial = gpu.initial_weights(CASE.model, CASE.scale, range(rows), xp=where)
        began = time.perf_counter()
        run = gpu.gradient_flow(CASE.model, moments, initial, CASE.duration, times=[CASE.duration])
        done = sum(status == "finished" for status in run.status)
        float(run.loss[-1, -1])  # waits for the device
        took = time.perf_counter() - began
        lines.append(f"| {name} | {done:,} of {rows:,} | {took:.1f} | {rows / took:,.0f} |")
    return "\n".join(lines)


def softmax_table(xp: Any) -> str:
    """A step of softmax attention on many rows, beside the least flops and bytes it needs.

    Least flops: scores and values (2·2·H·K per token) forward and twice that backward. Least bytes:
    the tokens read once, forward and backward together.
    """
    bandwidth, flops = ceilings(xp)
    layer = AttentionLayer(4, 5, 1, "softmax")
    sample = sample_sequences(LinearTask(np.eye(4), 31), 10_000, rng=0)
    tokens = xp.asarray(tokens_of(sample), dtype=xp.float32)
    target = xp.asarray(sample.target, dtype=xp.float32)
    lines = [
        f"Ceilings: {bandwidth / 1e9:,.0f} GB/s, {flops / 1e12:.1f} Tflop/s in float32.\n",
        "| rows | step, ms | share of bytes | share of flops |",
        "| --- | --- | --- | --- |",
    ]
    for rows in (1, 8, 64):
        theta = gpu.initial_weights(layer, 0.2, range(rows), xp=xp, dtype=xp.float32)
        system = gpu.LayerSystem(layer, tokens, target)
        seconds = on_device(xp, lambda system=system, theta=theta: system.velocity(theta))  # type: ignore[misc]
        work = 3 * 4 * layer.heads * tokens.size * rows
        lines.append(
            f"| {rows} | {seconds * 1e3:.2f} | {tokens.nbytes / bandwidth / seconds:.1%} "
            f"| {work / flops / seconds:.1%} |"
        )
    return "\n".join(lines)


def ceilings(xp: Any, megabytes: int = 512, n: int = 8192) -> tuple[float, float]:
    """Bytes a second of a copy and flops a second of a float32 product, as measured here."""
    source = xp.ones(megabytes << 18, dtype=xp.float32)
    target, square = xp.empty_like(source), xp.ones((n, n), dtype=xp.float32)
    copy = on_device(xp, lambda: xp.copyto(target, source))
    multiply = on_device(xp, lambda: square @ square)
    return 2 * source.nbytes / copy, 2 * n**3 / multiply


def on_device(xp: Any, work: Callable[[], object], repeats: int = 9) -> float:
    """Median seconds of one call, waiting for the device after each."""
    times = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        work()
        xp.cuda.Stream.null.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])

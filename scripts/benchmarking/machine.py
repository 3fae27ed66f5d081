"""What the times depend on: the processor, the versions and two ceilings measured in the run."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

LIBRARIES = ("numpy", "scipy", "jax", "diffrax", "torch", "numba")


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        if models:
            return models[0].split(":")[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions by name; an absent library has none."""
    found = {"Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def facts() -> dict[str, object]:
    """Machine and versions, which rows of one table share."""
    machine = f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return {"machine": machine, "versions": versions()}


@cache
def gemm_rate(n: int = 1024) -> float:
    """Flops a second of a product of two (n, n) matrices, float64, one core."""
    a = np.random.default_rng(0).standard_normal((n, n))
    out = np.empty_like(a)
    return 2 * n**3 / _median(lambda: np.dot(a, a, out=out))


@cache
def copy_rate(megabytes: int = 256) -> float:
    """Bytes read and written a second by a copy of an array far larger than the caches."""
    source = np.ones(megabytes << 17)
    target = np.ones_like(source)
    return 2 * source.nbytes / _median(lambda: np.copyto(target, source))


def _median(work: Callable[[], object], repeats: int = 7) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)

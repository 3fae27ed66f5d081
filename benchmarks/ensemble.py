#!/usr/bin/env python3
"""Gradient flow of many seeds at once: ours on NumPy against JAX and diffrax, one thread each.

1,000 seeds of ATTN_S, D = H = 4, R = 1, eigenvalues 0.4 to 0.1, N = 31, weights N(0, 0.01²), to
t = 21,050 at rtol 1e-8, float64; final states alone are recorded. JAX vmaps diffrax's Tsit5 over
rows in the eigenbasis, with automatic gradients of the loss and with ours; ours also integrates the
dissipated energy. Repeats of all are interleaved on one core, medians are quoted, in seconds of
that core's time, which a busy machine changes less than the time on the clock.
`--device` measures CuPy instead: seeds a second, and a step of softmax training against measured
ceilings. Needs JAX and diffrax (`pip install -e '.[jax]'`), or CuPy and a device.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import numpy as np

import gpu
from gpu._arrays import rows_first, rows_last
from numerics import LinearTask, SeparateAttention

MODEL = SeparateAttention(4, 4)
TASK = LinearTask.from_eigenvalues([0.4, 0.3, 0.2, 0.1], 31)
RTOL, ATOL, SCALE = 1e-8, 1e-12, 1e-2
Solve = Callable[[], np.ndarray]


def ours(method: str, initial: np.ndarray, duration: float) -> Solve:
    """Final loss of each row by `gpu.gradient_flow` on NumPy."""
    moments = gpu.stack_moments([TASK])

    def solve() -> np.ndarray:
        run = gpu.gradient_flow(
            MODEL, moments, initial, duration, times=[duration], method=method, rtol=RTOL, atol=ATOL
        )
        return run.loss[:, -1]

    return solve


def theirs(automatic: bool, initial: np.ndarray, duration: float) -> tuple[Solve, float]:
    """Final loss of each row by JAX and diffrax, and seconds to trace and compile."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    system = gpu.AttentionSystem(MODEL, gpu.stack_moments([TASK]))
    form, left, right = system.problem.moments.eigenform()
    start = jnp.asarray(rows_first(system.problem.rotate(rows_last(initial), left, right)))
    C, W = jnp.asarray(form.correlation[0]), jnp.asarray(form.weights[0])
    energy, H, D = float(form.energy[0]), MODEL.heads, MODEL.dimension

    def unpack(theta):
        v, keys, queries = theta[:H], theta[H : H + H * D], theta[H + H * D :]
        return v, keys.reshape(H, D), queries.reshape(H, D)

    def loss(theta):
        v, k, q = unpack(theta)
        M = jnp.einsum("h,hi,hj->ij", v, k, q)
        return energy - 2 * jnp.sum(C * M) + jnp.sum(W * M * M)

    def by_autodiff(t, theta, _):
        return -0.5 * jax.grad(loss)(theta)

    def by_hand(t, theta, _):
        v, k, q = unpack(theta)
        vk = v[:, None] * k
        G = C - W * (vk.T @ q)
        Gq = q @ G.T
        return jnp.concatenate([jnp.sum(k * Gq, 1), (v[:, None] * Gq).ravel(), (vk @ G).ravel()])

    def end(theta):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(by_autodiff if automatic else by_hand),
            diffrax.Tsit5(),
            0.0,
            duration,
            None,
            theta,
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
            saveat=diffrax.SaveAt(t1=True),
            max_steps=10**6,
        )
        return loss(solution.ys[0])

    began = time.process_time()
    compiled = jax.jit(jax.vmap(end)).lower(start).compile()
    return lambda: np.asarray(compiled(start)), time.process_time() - began


def timed(solve: Solve) -> tuple[float, float, np.ndarray]:
    """Seconds of the core, seconds on the clock, and the losses."""
    core, clock = time.process_time(), time.perf_counter()
    losses = solve()
    return time.process_time() - core, time.perf_counter() - clock, losses


def table(seeds: int, duration: float, repeats: int) -> str:
    """The comparison as Markdown."""
    initial = gpu.initial_weights(MODEL, SCALE, range(seeds))
    solves: dict[str, Solve] = {}
    compiling = {}
    for name, automatic in (("by autodiff", True), ("by hand", False)):
        whole = f"JAX and diffrax, gradient {name}"
        solves[whole], compiling[whole] = theirs(automatic, initial, duration)
    for method in ("auto", "explicit", "implicit"):
        solves[f"ours, {method}"] = ours(method, initial, duration)
        ours(method, initial[:2], 10.0)()  # imports and fills tables
    times: dict[str, list[tuple[float, float, np.ndarray]]] = {name: [] for name in solves}
    for i in range(repeats):
        for name, solve in solves.items():
            if i == 0 or name != "ours, implicit":  # by far the slowest here, and no candidate
                times[name].append(timed(solve))
                print(f"{name}: {times[name][-1][0]:.1f} s", file=sys.stderr, flush=True)
    reference = times["ours, explicit"][0][2]
    base = statistics.median(t[0] for t in times["JAX and diffrax, gradient by autodiff"])
    lines = [
        "| method | core, s | on the clock, s | compile, s | autodiff's time over it | runs "
        "| median final loss | largest difference of losses |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in times.items():
        core, clock = (statistics.median(t[i] for t in found) for i in (0, 1))
        gap = np.abs(found[0][2] - reference).max()
        compile_time = f"{compiling[name]:.1f}" if name in compiling else "none"
        lines.append(
            f"| {name} | {core:.1f} | {clock:.1f} | {compile_time} | {base / core:.2f} "
            f"| {len(found)} | {np.median(found[0][2]):.9f} | {gap:.1e} |"
        )
    return "\n".join(lines)


def ceilings(xp, megabytes: int = 512, n: int = 8192) -> tuple[float, float]:
    """Bytes a second of a copy and flops a second of a float32 product, as measured here."""
    source = xp.ones(megabytes << 18, dtype=xp.float32)
    target, square = xp.empty_like(source), xp.ones((n, n), dtype=xp.float32)
    copy = on_device(xp, lambda: xp.copyto(target, source))
    multiply = on_device(xp, lambda: square @ square)
    return 2 * source.nbytes / copy, 2 * n**3 / multiply


def on_device(xp, work: Callable[[], object], repeats: int = 9) -> float:
    """Median seconds of one call, waiting for the device after each."""
    times = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        work()
        xp.cuda.Stream.null.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def seeds_table(xp, duration: float) -> str:
    """Seeds a second of the flow on the host and on the device."""
    lines = ["| where | seeds | seconds | seeds a second |", "| --- | --- | --- | --- |"]
    for name, library, rows in (("NumPy", np, 1000), ("CuPy", xp, 100_000)):
        moments = gpu.stack_moments([TASK], xp=library)
        initial = gpu.initial_weights(MODEL, SCALE, range(rows), xp=library)
        began = time.perf_counter()
        run = gpu.gradient_flow(MODEL, moments, initial, duration, times=[duration], rtol=RTOL)
        done = sum(status == "finished" for status in run.status)
        float(run.loss[-1, -1])  # waits for the device
        took = time.perf_counter() - began
        lines.append(f"| {name} | {done:,} of {rows:,} | {took:.1f} | {rows / took:,.0f} |")
    return "\n".join(lines)


def softmax_table(xp) -> str:
    """A step of softmax attention on many rows, beside the least flops and bytes it needs.

    Least flops: scores and values (2·2·H·K per token) forward and twice that backward. Least bytes:
    the tokens read once, forward and backward together.
    """
    from numerics import AttentionLayer, sample_sequences, tokens_of

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
        seconds = on_device(xp, lambda system=system, theta=theta: system.velocity(theta))
        work = 3 * 4 * layer.heads * tokens.size * rows
        lines.append(
            f"| {rows} | {seconds * 1e3:.2f} | {tokens.nbytes / bandwidth / seconds:.1%} "
            f"| {work / flops / seconds:.1%} |"
        )
    return "\n".join(lines)


def about(*modules: str) -> str:
    """Versions and machine, and the command."""
    from importlib.metadata import version

    versions = ", ".join(f"{name} {version(name)}" for name in modules)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = models[0].split(":")[1].strip() if models else cpu
    command = shlex.join(["python", "benchmarks/ensemble.py", *sys.argv[1:]])
    return (
        f"Written by `{command}`. Python {platform.python_version()}, {versions}; one core, {cpu}."
    )


def body(args: argparse.Namespace) -> str:
    """The whole page; `ImportError` if what it needs is missing."""
    if args.device:
        import cupy

        cupy.zeros(1).sum().item()
        card = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        parts = [seeds_table(cupy, args.duration), softmax_table(cupy)]
        return "\n\n".join([f"{about('numpy')} CuPy {cupy.__version__}, {card}.", *parts])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    case = (
        f"{args.seeds:,} seeds of ATTN_S, D = H = 4, R = 1, eigenvalues 0.4 to 0.1, N = 31, "
        f"weights N(0, {SCALE:g}²), to t = {args.duration:,.0f}, rtol {RTOL:g}, atol {ATOL:g}, "
        "float64."
    )
    made = table(args.seeds, args.duration, args.repeats)
    return "\n\n".join([case, about("numpy", "jax", "jaxlib", "diffrax"), made])


def main() -> int:
    """Print the page, and write it if asked; 1 if a library or the device is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--duration", type=float, default=21_050.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", action="store_true", help="measure CuPy on a CUDA device")
    parser.add_argument("--write", metavar="FILE", help="write the table here too")
    args = parser.parse_args()
    try:
        page = body(args)
    except ImportError as error:
        print(f"{error.name} is not installed: pip install -e '.[jax]', or '.[cupy]' for --device",
              file=sys.stderr)  # fmt: skip
        return 1
    except Exception as error:
        if not args.device:
            raise
        print(f"no CUDA device answers: {type(error).__name__}: {error}".splitlines()[0],
              file=sys.stderr)  # fmt: skip
        return 1
    print(page)
    if args.write:
        Path(args.write).write_text(f"# Many seeds at once\n\n{page}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

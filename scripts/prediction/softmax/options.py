"""The command line of `predict.py softmax`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import console
from console import NOT_NEGATIVE, POSITIVE, flag

from ..options import (
    OVERLAY_NEEDS,
    add_output,
    add_overlay,
    check_files,
    check_needs,
    check_outputs,
)

MOST_TASKS = 1000
LARGEST = 10**9  # up to which, in d_i and in L, the quadrature has been tried
# Of φ_i d_i/L: the share of the loss that attention can learn is its inverse, near to rounding.
MOST_CLUTTER = 1e10
LEAST_RATIO = 1e-12  # of μ0 to d√d_e ω0, whose difference the warm-up conserves

DESCRIPTION = """\
Predict what multi-head softmax attention learns of several in-context regression tasks: the limit
of the gradient flow with one head for each task, the best single head, the lower bound for H heads
and the Bayes risk; and, exact at this (d, L), the loss at the limit and at the best heads. [S] is
arXiv 2402.19442.

Task i has d_i coordinates of the tokens x ~ N(0, I) to itself, and labels g_iᵀx + σε with
g_i ~ N(0, λ_i I).
"""

EPILOG = """\
examples:
  the case of [S] Fig. 1, and how the losses depend on L:
    python scripts/predict.py softmax
    python scripts/predict.py softmax --block-dims 10 10 10 --context-length 100 --plot length.png

  unequal tasks with label noise, fewer heads than tasks:
    python scripts/predict.py softmax --block-dims 5 10 20 --signal 2 1 0.5 --noise 0.7 --heads 2

  trained at L = 100, used at L' = 400; duration of the phases from ω̄ = 0.01, μ = 1:
    python scripts/predict.py softmax --block-dims 10 10 10 --test-length 400 --init 0.01 1

  over a run of yours, whose loss is half the sum of squares (columns step, loss):
    python scripts/predict.py softmax --block-dims 10 10 10 --init 0.01 0.1 --plot run.png \\
        --overlay loss.csv --lr 0.01 --loss-factor 0.5

conventions: loss Σ_i E(ŷ_i − g_iᵀq)² without a ½ and without the query's label noise; λ is per
coordinate; L counts the context pairs; scores are divided by √d_e; time is that of the flow
dθ/dt = −∂ℓ/∂θ on the individual weights, so a step of rate η on f ℓ lasts η f.

exit status: 0 done; 2 misuse; 130 interrupted
"""


def add_softmax(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand `softmax` to `add_subparsers()`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "softmax",
        help="multi-head softmax attention on several tasks",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    add = parser.add_argument_group("tasks").add_argument
    add("--block-dims", nargs="+", type=size(), default=[10, 10, 10], metavar="d",
        help="coordinates of each task (default 10 10 10)")  # fmt: skip
    add("--signal", nargs="+", type=POSITIVE, default=[1.0], metavar="λ",
        help="variance of each task's weights, per coordinate; one number is for all (default 1)"
        )  # fmt: skip
    add("--noise", type=NOT_NEGATIVE, default=0.0, metavar="σ",
        help="standard deviation of the label noise in the context (default 0)")  # fmt: skip
    add("--context-length", type=size(), default=100, metavar="L",
        help="context pairs, the query not counted (default 100)")  # fmt: skip
    add("--test-length", type=size(), metavar="L'",
        help="use what was trained at L on this many context pairs")  # fmt: skip
    add = parser.add_argument_group("model").add_argument
    add("--heads", type=size(), metavar="H", help="heads (default: one for each task)")
    add("--embedding-dim", type=size(), metavar="d_e",
        help="width of a head, scores are divided by √d_e (default: the sum of all d)")  # fmt: skip
    add("--init", nargs=2, type=POSITIVE, metavar=("ω0", "μ0"), help="predict the duration of each "
        "phase, for the head that leads a task, from these balanced weights")  # fmt: skip
    add_overlay(parser, "ours, summed over tasks: 1/I for a mean over them")
    add_output(parser, "the losses over context length, or your run over time")
    return parser


def size(most: int = LARGEST) -> Callable[[str], int]:
    """An argparse type: a whole number between 1 and `most`."""
    parse = console.integer(1)

    def bounded(text: str) -> int:
        value = parse(text)
        if value > most:
            raise argparse.ArgumentTypeError(f"must be <= {most:g}, got {text}")
        return value

    return bounded


def check_softmax(options: argparse.Namespace) -> None:
    """Settle what depends on several options, and check that the files can be written."""
    check_files(options, "overlay")
    check_needs(options, OVERLAY_NEEDS)
    tasks = len(options.block_dims)
    if tasks > MOST_TASKS:
        raise console.InputError(f"--block-dims: at most {MOST_TASKS} tasks, got {tasks}")
    if len(options.signal) not in (1, tasks):
        raise console.InputError(
            f"--signal: needs 1 number or {tasks}, one for each of --block-dims, "
            f"got {len(options.signal)}"
        )
    if len(options.signal) == 1:
        options.signal = options.signal * tasks
    options.heads = options.heads or tasks
    for name in ("test_length", "init"):
        if getattr(options, name) is not None and options.heads < tasks:
            raise console.InputError(
                f"{flag(name)}: needs a head for each task, --heads of at least "
                f"{tasks}, got {options.heads}"
            )
    options.embedding_dim = options.embedding_dim or sum(options.block_dims)
    _check_numbers(options)
    check_outputs(options, "overlay")


def _check_numbers(options: argparse.Namespace) -> None:
    """Refuse what leaves nothing to tell from rounding."""
    for i, (d, signal) in enumerate(zip(options.block_dims, options.signal, strict=True), start=1):
        clutter = (d + options.noise**2 / signal) / options.context_length
        if clutter > MOST_CLUTTER:
            raise console.InputError(
                f"--noise: too strong for task {i} to be learned: (d + σ²/λ)/L must be <= "
                f"{MOST_CLUTTER:g}, got {clutter:.3g}"
            )
        if options.init is None:
            continue
        omega, mu = options.init
        start = d * math.sqrt(options.embedding_dim) * omega
        if mu < LEAST_RATIO * start:
            raise console.InputError(
                f"--init: μ0 must be >= {LEAST_RATIO:g} · d√d_e ω0 = {LEAST_RATIO * start:.3g} for "
                f"task {i}, got {mu:g}"
            )

"""The command line of `predict.py linear`."""

from __future__ import annotations

import argparse
from typing import Any

import console
from console import MOST, NOT_NEGATIVE, POSITIVE, flag

from ..options import (
    OVERLAY_NEEDS,
    add_output,
    add_overlay,
    check_files,
    check_needs,
    check_outputs,
)

DESCRIPTION = """\
Predict how ATTN_S (linear attention with separate key and query) learns in-context linear
regression from small weights: the losses at which training pauses, in which order the modes are
learned, and when each drop comes. [L] is arXiv 2501.16265v2.

Give the tokens in one of three ways. With eigenvalues or a covariance they are Gaussian; with a
matrix of tokens, drawn from its rows with replacement (not centred), their own fourth moment
counts and nothing is assumed about their law.
"""

EPILOG = """\
examples:
  the run of [L] Fig. 3, and the same by integrating the gradient flow:
    python scripts/predict.py linear
    python scripts/predict.py linear --eigenvalues 0.4 0.3 0.2 0.1 --context-length 31 --flow

  tokens from a file, a picture and all numbers:
    python scripts/photograph.py patches.npy
    python scripts/predict.py linear --tokens patches.npy --plot patches.svg --json patches.json

  our curve over somebody's training run (columns step, loss; attention without 1/N):
    python scripts/predict.py linear --eigenvalues 0.4 0.3 0.2 0.1 --plot run.png \\
        --overlay loss.csv --lr 0.002 --no-context-scale

  from that run's own initial weights, on which it depends when each drop comes, saved by
  numpy.savez("start.npz", v=v, k=k, q=q):
    python scripts/predict.py linear --overlay loss.csv --lr 0.002 --no-context-scale \\
        --initial start.npz

conventions: loss E(ŷ − y_q)² without a ½; N counts the context pairs; attention output has the
1/N; time in units of τ, flow τ dW/dt = −½ ∂L/∂W, so a step of rate η on L lasts 2η. --init is in
these units too: c^(1/3) times yours with --context-scale c, N^(1/3) with --no-context-scale;
--initial is in yours.

table: gain, what a mode takes off the loss; plateau after, the loss once it is learned; drop at,
when that happens from these initial weights; index, in how many ways what is learned then turns to
a better mode, 0 unless the tasks or the tokens put the modes in another order.

exit status: 0 done; 2 misuse; 130 interrupted
"""
SPECTRUM = [0.4, 0.3, 0.2, 0.1]  # of [L] Fig. 3


def add_linear(commands: Any) -> argparse.ArgumentParser:
    """Add the subcommand `linear` to `add_subparsers()`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "linear",
        help="linear attention with separate key and query",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    _add_data(parser)
    _add_model(parser)
    _add_checks(parser)
    add_output(parser, "the loss over time")
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--eigenvalues", nargs="+", type=POSITIVE, metavar="λ",
                        help="of the covariance Λ of Gaussian tokens (default 0.4 0.3 0.2 0.1)"
                        )  # fmt: skip
    source.add_argument("--covariance", metavar="FILE", help="Λ (D, D) of Gaussian tokens")
    source.add_argument("--tokens", metavar="FILE", help="tokens of any law, one a row: .npy, .npz "
                        "or FILE.npz:NAME, .csv (one line of names is skipped)")  # fmt: skip
    add = group.add_argument
    add("--context-length", type=_length, default=31.0,
        metavar="N", help="context pairs, the query not counted; inf for the limit; for lengths "
        "that vary, 1/E[1/N] (default 31)")  # fmt: skip
    add("--noise", type=NOT_NEGATIVE, default=0.0, metavar="σ",
        help="standard deviation of the label noise in the context (default 0)")  # fmt: skip
    add("--task-eigenvalues", nargs="+", type=NOT_NEGATIVE, metavar="ω",
        help="of the second moment of the task vectors, in the eigenbasis of Λ: in the order of "
        "--eigenvalues, or of falling eigenvalues of a matrix (default: all 1)")  # fmt: skip


def _length(text: str) -> float:
    """An argparse type: a context length; the word inf is the limit, an overflow is not."""
    value = console.real(at_least=1, at_most=MOST, infinite=True)(text)
    if value == float("inf") and any(character.isdigit() for character in text):
        raise argparse.ArgumentTypeError(f"must be <= {MOST:g}, or inf, got {text}")
    return value


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    add = group.add_argument
    add("--rank", type=console.integer(1), metavar="R",
        help="key-query pairs in each head (default 1)")  # fmt: skip
    add("--heads", type=console.integer(1), metavar="H",
        help="heads (default: as many as learn every mode, D/R rounded up)")  # fmt: skip
    add("--modes", type=console.integer(1), metavar="m",
        help="predict the first m modes only, at most H·R (default: all D)")  # fmt: skip
    add("--init", type=POSITIVE, metavar="s",
        help="standard deviation of every initial weight (default 0.001)")  # fmt: skip
    add("--seed", type=console.integer(0), metavar="n",
        help="of the initial weights and of sampled sequences (default 0)")  # fmt: skip
    add("--initial", metavar="FILE", help="your own initial weights in place of drawn ones, in "
        "your units: .npz with v (H,), k and q (H, R, D), or (H, D) for rank 1, in the coordinates "
        "of the tokens")  # fmt: skip
    add("--tau", type=POSITIVE, default=1.0, metavar="τ",
        help="time constant of the flow (default 1)")  # fmt: skip


def _add_checks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("checks by running it")
    add = group.add_argument
    add("--flow", action="store_true", help="integrate the full gradient flow from the same "
        "initial weights and compare plateaus and drop times")  # fmt: skip
    add("--gradient-descent", type=console.integer(1), metavar="STEPS",
        help="train by full-batch gradient descent and compare")  # fmt: skip
    add("--learning-rate", type=POSITIVE, metavar="η",
        help="of --gradient-descent, on E(ŷ − y_q)²")  # fmt: skip
    add(
        "--sequences",
        type=console.integer(1),
        metavar="P",
        help="train by --gradient-descent on P sampled sequences, not the population",
    )
    scale = add_overlay(parser).add_mutually_exclusive_group()
    scale.add_argument("--no-context-scale", action="store_true",
                       help="your attention leaves out the factor 1/N")  # fmt: skip
    scale.add_argument("--context-scale", type=POSITIVE, metavar="c",
                       help="your attention gives c times what ours gives: 0.5 for 1/√d at d = 4, "
                       "N/(N+1) for a mean that counts the query (default 1)")  # fmt: skip


# An option, and the one that it means nothing without.
NEEDS = {
    "learning_rate": "gradient_descent",
    "sequences": "gradient_descent",
    "no_context_scale": "overlay",
    "context_scale": "overlay",
    "gradient_descent": "learning_rate",
    **OVERLAY_NEEDS,
}
DRAWN = {"init": 1e-3, "rank": 1, "seed": 0, "heads": None}  # by default, without --initial


def check_linear(options: argparse.Namespace) -> None:
    """Settle what depends on several options, and check that the files can be written."""
    check_files(options, "covariance", "tokens", "overlay", "initial")
    if options.eigenvalues is None and options.covariance is None and options.tokens is None:
        options.eigenvalues = SPECTRUM
    if options.overlay and options.learning_rate and not options.gradient_descent:
        raise console.InputError(
            "--learning-rate: is that of --gradient-descent; your run's is --lr"
        )
    check_needs(options, NEEDS)
    if options.no_context_scale and options.context_length == float("inf"):
        raise console.InputError("--no-context-scale: needs a finite --context-length")
    if options.sequences and not options.context_length.is_integer():
        raise console.InputError(
            f"--sequences: needs a whole --context-length, got {options.context_length:g}"
        )
    _settle_drawn(options)
    check_outputs(options, "covariance", "tokens", "overlay", "initial")


def _settle_drawn(options: argparse.Namespace) -> None:
    """Defaults of what is drawn; with --initial nothing is but sequences."""
    given = [name for name in DRAWN if getattr(options, name) is not None]
    if options.initial is not None:
        refused = [name for name in given if name != "seed" or not options.sequences]
        if refused:
            raise console.InputError(
                f"{flag(refused[0])}: not allowed with --initial, whose weights are those there"
            )
        options.seed = options.seed or 0
        return
    for name, default in DRAWN.items():
        if name not in given:
            setattr(options, name, default)

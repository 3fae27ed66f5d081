"""The command line of `train.py`, and what may stand together on it."""

from __future__ import annotations

import argparse

import console
from console import NOT_NEGATIVE, POSITIVE
from prediction.linear.options import SPECTRUM

MOST_STEPS = 100_000_000
OPTIMISERS = ("gradient-descent", "momentum", "adam")

DESCRIPTION = """\
Train a whole attention layer, with every block of its weights, on sampled sequences of in-context
linear regression; record the loss and that of fresh sequences, and show the run beside the losses
at which linear attention is predicted to pause. [L] is arXiv 2501.16265v2.
"""

EPILOG = """\
examples:
  the plateaus of linear attention with separate keys and queries:
    python scripts/train.py

  softmax attention by Adam, on fresh sequences of two lengths:
    python scripts/train.py --attention softmax --optimiser adam --context-length 15 31 \\
        --out softmax

  minibatches of a small sample, with a warm-up:
    python scripts/train.py --sequences 5000 --batch 500 --schedule cosine --warmup 100 --out small

It writes into DIR: run.npz (checkpoint and record: steps, weights, losses), run.csv, run.json,
run.png. The same command again goes on from the checkpoint and ends as if it had not been
interrupted, or reports what is finished. A run that diverges is no error: the step is printed, and
"status" in run.json says so.

conventions: loss E(ŷ − y_q)² without a ½; N counts the context pairs; linear attention has the
1/N; an update of rate η lasts 2η units of flow time τ. A linear layer trained on a whole sample
runs on that sample's moments, at a cost per step that does not depend on P.

exit status: 0 trained, or diverged; 2 misuse; 130 interrupted (the checkpoint is kept)
"""


def make_parser(program: str) -> console.Parser:
    """Describe the command line."""
    parser = console.Parser(prog=program, description=DESCRIPTION, epilog=EPILOG)
    # What `prediction.linear.problem.make_task` reads too.
    parser.set_defaults(covariance=None, task_eigenvalues=None)
    _add_data(parser)
    _add_layer(parser)
    _add_training(parser)
    _add_output(parser)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--eigenvalues", nargs="+", type=POSITIVE, metavar="λ",
                        help="of the covariance of Gaussian tokens (default 0.4 0.3 0.2 0.1)"
                        )  # fmt: skip
    source.add_argument("--tokens", metavar="FILE", help="tokens of any law, one a row, drawn with "
                        "replacement: .npy, .npz or FILE.npz:NAME, .csv")  # fmt: skip
    add = group.add_argument
    add("--context-length", nargs="+", type=console.integer(1), default=[31], metavar="N",
        help="context pairs, the query not counted; of several, each sequence draws its own "
        "(default 31)")  # fmt: skip
    add("--noise", type=NOT_NEGATIVE, default=0.0, metavar="σ",
        help="standard deviation of the label noise in the context (default 0)")  # fmt: skip
    add("--sequences", type=console.integer(1), metavar="P",
        help="train on a fixed sample of P (default: fresh sequences in each step; linear "
        "attention with D <= 11, without --batch, trains on a sample of 100000)")  # fmt: skip
    add("--batch", type=console.integer(1), metavar="B",
        help="sequences in each step (default: the whole sample, or 1000 fresh ones)")  # fmt: skip
    add("--held-out", type=console.integer(1), metavar="Q", help="fresh sequences on which the "
        "recorded weights are tested (default 100000 for linear attention with D <= 11, else 2000)"
        )  # fmt: skip


def _add_layer(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("layer").add_argument
    add("--design", choices=("separate", "merged"), default="separate",
        help="separate keys and queries, or their product as one matrix (default separate)"
        )  # fmt: skip
    add("--attention", choices=("linear", "softmax"), default="linear",
        help="linear has the 1/N (default linear)")  # fmt: skip
    add("--heads", type=console.integer(1), metavar="H",
        help="heads (default: as many as learn every mode, D/R rounded up; D if merged)"
        )  # fmt: skip
    add("--rank", type=console.integer(1), metavar="R",
        help="key-query pairs in each head, for separate ones (default 1)")  # fmt: skip
    add("--init", type=POSITIVE, metavar="s", help="standard deviation of every initial weight "
        "(default 0.02 on a whole sample of linear attention, else 0.1)")  # fmt: skip
    add("--seed", type=console.integer(0), default=0, metavar="n",
        help="of the weights, the sequences and the batches (default 0)")  # fmt: skip


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training").add_argument
    add("--steps", type=console.integer(1), metavar="K", help="updates (default: 1000 for "
        "softmax; for linear attention 3000, on a whole sample twice what the last drop takes, or "
        "10000 by adam)")  # fmt: skip
    add("--optimiser", choices=OPTIMISERS, default="gradient-descent",
        help="(default gradient-descent)")  # fmt: skip
    add("--learning-rate", type=POSITIVE, metavar="η",
        help="on E(ŷ − y_q)² (default: half the largest stable one where all modes are learned; "
        "0.3 for softmax; a tenth of these with momentum; 0.01 for adam)")  # fmt: skip
    add("--schedule", choices=("constant", "cosine"), default="constant",
        help="cosine falls to 0 at the last step (default constant)")  # fmt: skip
    add("--warmup", type=console.integer(0), metavar="K",
        help="steps in which --schedule cosine rises to its peak (default 0)")  # fmt: skip
    add("--record", choices=("log", "linear"), default="log",
        help="steps to record: at equal ratios or distances (default log)")  # fmt: skip
    add("--points", type=console.integer(2), default=300, metavar="n",
        help="steps to record, about (default 300)")  # fmt: skip


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("output").add_argument
    add("--out", default="training", metavar="DIR",
        help="folder of the run, made if there is none (default training)")  # fmt: skip
    add("--checkpoint-every", type=console.real(at_least=0), default=30.0, metavar="SECONDS",
        help="between two checkpoints at least (default 30)")  # fmt: skip


def check_together(options: argparse.Namespace) -> None:
    """Raise `InputError` for options that contradict each other, and fill in plain defaults."""
    if options.tokens is not None:
        console.check_named(options.tokens, "--tokens")
    console.check_named(options.out, "--out", "folder")
    if options.tokens is None and options.eigenvalues is None:
        options.eigenvalues = SPECTRUM
    if options.design == "merged" and options.rank is not None:
        raise console.InputError("--rank: needs --design separate; merged heads have full rank")
    if options.warmup is not None and options.schedule != "cosine":
        raise console.InputError("--warmup: needs --schedule cosine")
    if options.steps is not None and options.steps > MOST_STEPS:
        raise console.InputError(f"--steps: must be <= {MOST_STEPS}, got {options.steps}")
    if options.sequences and options.batch and options.batch > options.sequences:
        raise console.InputError(
            f"--batch: {options.batch} is more than the {options.sequences} of --sequences"
        )

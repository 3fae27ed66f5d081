"""From options to a run: the task, the layer, its data and the training loop."""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import console
import numerics
from numerics.layers.moments import LayerMomentsSystem
from numerics.layers.system import LayerSystem
from numerics.training.batches import Batches, as_batches, keyed_entropy, keyed_generator
from prediction.linear.problem import MOST_WEIGHTS, make_task
from replaying.gather import MOST_FEATURES

from . import rate as defaults
from . import theory

Array = NDArray[Any]
System = LayerSystem | LayerMomentsSystem

SAMPLE, HELD_OUT, WEIGHTS = 1, 2, 3  # keys of generators of their own
MOMENTS_SAMPLE, FRESH_BATCH = 100_000, 1000
SMALL, LARGE = 0.02, 0.1  # initial weights
MOMENTUM_SHARE = 0.1  # 1 − β: of the rate of plain descent, for the same pace
ADAM_RATE, SOFTMAX_RATE = 0.01, 0.3
FEW_FEATURES = 1000  # of a layer whose moments of many sequences take seconds
MOST_NUMBERS = 5e8  # of sequences held in memory, 4 GB
MOST_RECORDED = 5e7  # numbers in the recorded weights
QUIET = 30.0  # seconds between two lines where there is no terminal
LENGTH_OF_NOTE = 0.2  # seconds between two losses beside the bar


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is decided before a sequence is drawn.

    `settings` tells this run from others: what makes it, by the names of the options.
    """

    task: numerics.LinearTask | numerics.TokenTask
    layer: numerics.AttentionLayer
    theory: theory.Theory
    settings: dict[str, Any]
    on_moments: bool

    @property
    def features(self) -> int:
        """How many features the linear layer sees."""
        return feature_count(self.layer.dimension)

    @property
    def trained_on(self) -> str:
        """What the loss is of: ``"sample"`` in full, or a ``"batch"``."""
        return "batch" if self.settings["batch"] else "sample"


def feature_count(dimension: int) -> int:
    """F of `numerics.layer_features`."""
    return (dimension + 1) * (dimension + 2) * dimension // 2


def plan(options: argparse.Namespace) -> Plan:
    """Read the tokens, settle every default, and refuse what cannot be done."""
    task, values, _, _ = make_task(options)
    size, softmax = len(values), options.attention == "softmax"
    merged = options.design == "merged"
    rank = None if merged else options.rank or 1
    heads = options.heads or (size if rank is None else -(-size // rank))
    if heads * (rank or size + 1) * (size + 1) > MOST_WEIGHTS:
        raise console.InputError(
            f"--heads, --rank: the layer must have at most {MOST_WEIGHTS:.0e} key weights"
        )
    layer = numerics.AttentionLayer(size, heads, rank, options.attention, not softmax)
    if layer.size * options.points > MOST_RECORDED:
        raise console.InputError(f"--points: {options.points} times {layer.size} weights are more "
                                 f"than the {MOST_RECORDED:.0e} numbers recorded")  # fmt: skip
    many = not softmax and feature_count(size) <= FEW_FEATURES
    count, batch = _sequences(options, many)
    on_moments = not softmax and batch is None and feature_count(size) <= MOST_FEATURES
    with console.blame("--eigenvalues" if options.tokens is None else f"--tokens {options.tokens}"):
        predicted = theory.predict(task, options.design, options.attention, heads * (rank or 1))
    settings = {
        **_tokens(options, task),
        "context_length": options.context_length, "noise": options.noise,
        "sequences": count, "batch": batch,
        "held_out": options.held_out or (MOMENTS_SAMPLE if many else 2000),
        "design": options.design, "attention": options.attention, "heads": heads, "rank": rank,
        "init": options.init or (SMALL if on_moments else LARGE), "seed": options.seed,
        **_training(options, task, predicted, on_moments, min(size, heads * (rank or size))),
    }  # fmt: skip
    _check_memory(settings, size, on_moments)
    return Plan(task, layer, predicted, settings, on_moments)


def _sequences(options: argparse.Namespace, many: bool) -> tuple[int | None, int | None]:
    """P of the fixed sample or None for fresh sequences; B or None for the whole sample."""
    count, batch = options.sequences, options.batch
    if count is None and batch is None:
        return (MOMENTS_SAMPLE, None) if many else (None, FRESH_BATCH)
    return count, None if batch == count else batch


def _tokens(options: argparse.Namespace, task: Any) -> dict[str, Any]:
    """What the tokens are; those of a file by what it holds, wherever it lies."""
    if options.tokens is None:
        return {"eigenvalues": options.eigenvalues, "tokens": None}
    digest = hashlib.sha256(np.ascontiguousarray(task.tokens).tobytes()).hexdigest()[:16]
    return {"eigenvalues": None, "tokens": f"{'×'.join(map(str, task.tokens.shape))}:{digest}"}


def _training(
    options: argparse.Namespace, task: Any, predicted: theory.Theory, on_moments: bool, count: int
) -> dict[str, Any]:
    """Optimiser, rate, schedule, steps and record, with their defaults."""
    linear, rate, steps = options.attention == "linear", options.learning_rate, options.steps
    scale = MOMENTUM_SHARE if options.optimiser == "momentum" else 1.0
    if rate is None and options.optimiser == "adam":
        rate = ADAM_RATE
    elif rate is None:
        rate = scale * _descent_rate(task, options.design) if linear else scale * SOFTMAX_RATE
        rate = defaults.two_digits(rate)
    if steps is None and on_moments and options.optimiser != "adam":
        steps = defaults.default_steps(
            predicted.growth, count, options.init or SMALL, rate / scale, options.design
        )
    elif steps is None:
        steps = 10_000 if on_moments else 3000 if linear else 1000
    if options.warmup is not None and options.warmup > steps:
        raise console.InputError(f"--warmup: must be <= --steps, got {options.warmup} and {steps}")
    return {
        "steps": steps, "optimiser": options.optimiser, "learning_rate": rate,
        "schedule": options.schedule, "warmup": options.warmup, "record": options.record,
        "points": options.points,
    }  # fmt: skip


def _descent_rate(task: Any, design: str) -> float:
    try:
        with np.errstate(all="ignore"):
            rate = defaults.default_rate(task, design)
    except (ValueError, np.linalg.LinAlgError):
        rate = 0.0
    if not 0 < rate < math.inf:
        raise console.InputError("--learning-rate: needed, as none could be chosen for tokens so "
                                 "large, small, or unlike in size")  # fmt: skip
    return rate


def _check_memory(settings: dict[str, Any], size: int, on_moments: bool) -> None:
    """Refuse sequences that would have to be held and do not fit."""
    each = (max(settings["context_length"]) + 1) * (size + 1)
    held = {"sequences": None if on_moments else settings["sequences"], "batch": settings["batch"]}
    if settings["attention"] == "softmax" or feature_count(size) > FEW_FEATURES:
        held["held_out"] = settings["held_out"]
    for name, count in held.items():
        if count is not None and count * each > MOST_NUMBERS:
            raise console.InputError(
                f"{console.flag(name)}: {count} sequences of {each} numbers are more than the "
                f"{MOST_NUMBERS:.0e} that are held in memory"
            )


# Data


def drawn(plan: Plan, count: int, key: int) -> numerics.Sequences:
    """`count` sequences of their own key, all in memory."""
    rng = keyed_generator((plan.settings["seed"],), key)
    return numerics.sample_sequences(plan.task, count, rng=rng)


def sample(plan: Plan, count: int, key: int, on_moments: bool) -> System:
    """The layer on `count` sequences of their own key."""
    if not on_moments:
        return LayerSystem.of(plan.layer, drawn(plan, count, key))
    rng = keyed_generator((plan.settings["seed"],), key)
    chunks = numerics.sample_chunks(plan.task, count, rng=rng)
    blocks = (block for sequences in chunks for block in numerics.token_blocks(sequences))
    moments = numerics.linear_layer_moments(blocks, divide_by_context=True)
    return LayerMomentsSystem(plan.layer, moments)


def data(plan: Plan) -> Batches | System:
    """What the steps see."""
    count, batch = plan.settings["sequences"], plan.settings["batch"]
    if count is None:
        return numerics.FreshBatches(plan.layer, plan.task, batch)
    if batch is None:
        return sample(plan, count, SAMPLE, plan.on_moments)
    return numerics.Minibatches(plan.layer, drawn(plan, count, SAMPLE), batch)


def held_out(plan: Plan) -> System:
    """Fresh sequences, the same whatever the run is trained on."""
    linear = plan.layer.attention == "linear" and plan.features <= FEW_FEATURES
    return sample(plan, plan.settings["held_out"], HELD_OUT, linear)


# Training


def train(plan: Plan, checkpoint: Path, every: float, start: int) -> numerics.TrainingRun:
    """Draw the data and train, from the checkpoint where there is one."""
    given = plan.settings
    steps, rate = given["steps"], given["learning_rate"]
    schedule: Any = rate
    if given["schedule"] == "cosine":
        schedule = numerics.Cosine(rate, steps, given["warmup"] or 0)
    grid = numerics.log_grid if given["record"] == "log" else numerics.linear_grid
    console.progress("drawing sequences …")
    batches, tests = data(plan), {"held out": held_out(plan)}
    theta = plan.layer.initial_weights(
        given["init"], rng=keyed_generator((given["seed"],), WEIGHTS)
    )
    first = as_batches(batches).system(0, keyed_entropy(given["seed"]), theta.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        losses = [float(system.loss(theta)) for system in (first, tests["held out"])]
    if not np.isfinite(losses).all():
        raise console.InputError("--init: the loss overflows at the initial weights")
    try:
        with watching(steps, start) as watch:
            return numerics.train(
                batches, theta, steps, schedule, optimiser=given["optimiser"],
                record=grid(steps, given["points"]), tests=tests, checkpoint=checkpoint,
                checkpoint_every=every, rng=given["seed"], watch=watch,
            )  # fmt: skip
    except ValueError as error:
        if not str(error).startswith("checkpoint "):
            raise
        raise console.InputError(f"--out: {console.one_line(error)}") from error


@contextmanager
def watching(steps: int, start: int) -> Iterator[Any]:
    """A function of step and loss: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _lines(steps)
        return
    from tqdm import tqdm

    shown = time.monotonic()
    with tqdm(total=steps, initial=start, leave=False, file=sys.stderr, unit="step") as bar:

        def watch(step: int, loss: float) -> None:
            nonlocal shown
            bar.update(step - bar.n)
            if time.monotonic() - shown > LENGTH_OF_NOTE:
                shown = time.monotonic()
                bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)

        yield watch


def _lines(steps: int) -> Any:
    said = time.monotonic()

    def watch(step: int, loss: float) -> None:
        nonlocal said
        if time.monotonic() - said > QUIET:
            said = time.monotonic()
            print(f"step {step} of {steps}, loss {loss:.4g}", file=sys.stderr, flush=True)

    return watch

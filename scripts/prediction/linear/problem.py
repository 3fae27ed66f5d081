"""The problem that options pose: a task, a model, its initial weights, and the user's units."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

import console
from analytic import Convention
from console import LEAST, MOST
from numerics import LinearTask, SeparateAttention, TokenTask

from ..inputs import read_matrix
from .initial import read_initial

Array = NDArray[Any]

MOST_WEIGHTS = 10**7  # of the keys


def make_task(options: argparse.Namespace) -> tuple[LinearTask | TokenTask, Array, Array, Array]:
    """Return the task, λ in the order of the user, ω beside it, and the eigenbasis (columns)."""
    if options.eigenvalues is not None:
        argument = "--eigenvalues"
        values = np.array(options.eigenvalues)
        basis = np.eye(len(values))
        source: Any = np.diag(values)
    else:
        argument = "--covariance" if options.covariance is not None else "--tokens"
        source = read_matrix(options.covariance or options.tokens, argument)
        with console.blame(f"{argument} {options.covariance or options.tokens}"):
            task = _task(source, options, None)
        values, basis = (a[..., ::-1] for a in np.linalg.eigh(task.covariance))
        if not LEAST <= values[-1] <= values[0] <= MOST:
            raise console.InputError(
                f"{argument}: eigenvalues of Λ must be from {LEAST:g} to {MOST:g}, got "
                f"{values[-1]:.3g} to {values[0]:.3g}; rescale the data"
            )
    omega = np.ones(len(values))
    if options.task_eigenvalues is not None:
        omega = np.array(options.task_eigenvalues)
        if len(omega) != len(values):
            raise console.InputError(
                f"--task-eigenvalues: needs {len(values)}, one for each eigenvalue of Λ, "
                f"got {len(omega)}"
            )
        if not omega.any():
            raise console.InputError("--task-eigenvalues: are all 0: there is nothing to learn")
    with console.blame(argument):
        return _task(source, options, (basis * omega) @ basis.T), values, omega, basis


def _task(
    source: Array, options: argparse.Namespace, omega: Array | None
) -> LinearTask | TokenTask:
    make = LinearTask if options.tokens is None else TokenTask
    return make(source, options.context_length, omega, options.noise)  # type: ignore[arg-type]


def make_model(options: argparse.Namespace, size: int) -> tuple[SeparateAttention, Array, int]:
    """Return the model, its initial weights in our units, and how many modes to predict."""
    if options.initial is not None:
        model, theirs = read_initial(options.initial, size)
        initial = np.asarray(convention_of(options).weights(theirs))
    else:
        model = _drawn_model(options, size)
        initial = model.initial_weights(options.init, rng=options.seed)
    count = size if options.modes is None else options.modes
    if count > size:
        raise console.InputError(f"--modes: {count} is more than the {size} modes there are")
    if model.pairs < count:
        name = "--heads" if options.initial is None else "--initial"
        raise console.InputError(
            f"{name if options.modes is None else '--modes'}: heads × rank = {model.pairs} is less "
            f"than the {count} modes asked for; ask for fewer with --modes"
        )
    return model, initial, count


def _drawn_model(options: argparse.Namespace, size: int) -> SeparateAttention:
    heads = options.heads or -(-size // options.rank)
    if heads * options.rank * size > MOST_WEIGHTS:
        given = {"--heads": heads, "--rank": options.rank}
        names = " and ".join(name for name, value in given.items() if value > 1)
        raise console.InputError(
            f"{names}: heads × rank × dimension must be at most {MOST_WEIGHTS:.0e}"
        )
    return SeparateAttention(size, heads, options.rank)


def convention_of(options: argparse.Namespace) -> Convention:
    """How a user's run of ATTN_S relates to ours; nothing to convert without an overlay."""
    return Convention(
        loss_factor=options.loss_factor or 1.0,
        context_scale=options.context_length
        if options.no_context_scale
        else options.context_scale or 1.0,
        factors=3,
        tau=options.tau,
    )

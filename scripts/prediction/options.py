"""What the command lines of both models share: an overlay, files, options that need others."""

from __future__ import annotations

import argparse
from typing import Any

import console
from console import POSITIVE

# An option, and the one that it means nothing without.
OVERLAY_NEEDS = {"lr": "overlay", "loss_factor": "overlay", "steps_per_row": "overlay",
                 "overlay": "lr"}  # fmt: skip


def add_overlay(parser: argparse.ArgumentParser, unit: str = "the mean square error") -> Any:
    """Add what any model's curve is converted by; return the group."""
    group = parser.add_argument_group("laying the prediction over a training run of yours")
    add = group.add_argument
    add("--overlay", metavar="FILE", help="your loss curve, .csv: columns step and loss (by "
        "name, if there are more), or loss alone with --steps-per-row")  # fmt: skip
    add("--lr", type=POSITIVE, metavar="η", help="learning rate of your run")
    add("--loss-factor", type=POSITIVE, metavar="f",
        help=f"your loss is f times {unit} (default 1)")  # fmt: skip
    add("--steps-per-row", type=POSITIVE, metavar="k",
        help="steps from one row to the next; the first row is step 0")  # fmt: skip
    return group


def add_output(parser: argparse.ArgumentParser, drawn: str) -> None:
    """Add the files to write; `drawn` says what the picture shows."""
    add = parser.add_argument_group("output").add_argument
    add("--plot", metavar="FILE", help=f"draw {drawn}: .png, .svg or .pdf")
    add("--json", metavar="FILE", help="write all numbers")


def check_files(options: argparse.Namespace, *names: str) -> None:
    """Raise `InputError` for an option that names no file."""
    for name in names:
        if getattr(options, name) is not None:
            console.check_named(getattr(options, name), console.flag(name))


def check_needs(options: argparse.Namespace, needs: dict[str, str]) -> None:
    """Raise `InputError` for an option that means nothing without another."""
    for name, other in needs.items():
        if getattr(options, name) and not getattr(options, other):
            raise console.InputError(f"{console.flag(name)}: needs {console.flag(other)} as well")


def check_outputs(options: argparse.Namespace, *inputs: str) -> None:
    """Check, before anything is computed, that the files to write can be written."""
    sources = [getattr(options, name) for name in inputs]
    for name, suffixes in (("plot", (".png", ".svg", ".pdf")), ("json", (".json",))):
        path = getattr(options, name)
        if path is None:
            continue
        if path in sources:
            raise console.InputError(f"--{name}: {path} is one of the inputs")
        setattr(options, name, console.check_writable(path, f"--{name}", suffixes=suffixes))

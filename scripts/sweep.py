#!/usr/bin/env python3
"""Run many cases of the theory's world, on one machine or many, and lay them beside the theory.

`python scripts/sweep.py --help` shows examples; `run --help` and `report --help` all options.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import console
from sweeping.options import asked, make_parser

if TYPE_CHECKING:
    from sweeping.drive import Outcome
    from sweeping.grid import Cases
    from sweeping.progress import Progress

PROGRAM = "sweep.py"
SHOWN = 3  # failures told one by one


def run(options: argparse.Namespace) -> int:
    """Compute what is missing, and say how it went."""
    cases = asked(options)
    if options.dry_run:
        for case in cases:
            print(case.canonical)
        return 0
    from sweeping.progress import Progress

    progress = Progress()
    try:
        outcome = computed(cases, options, progress)
    except KeyboardInterrupt:
        return interrupted(progress)
    finally:
        progress.close()
    return conclude(outcome, options)


def computed(cases: Cases, options: argparse.Namespace, progress: Progress) -> Outcome:
    """The sweep on the engine asked for."""
    from sweeping.drive import sweep
    from sweeping.engines import dask_executor
    from sweeping.run import Limits
    from sweeping.store import Store

    with console.blame(f"--out {options.out}"):
        Store(options.out).prepare()
    limits = Limits(options.time_limit, options.max_evaluations)
    with ExitStack() as stack:
        engine: Any = options.workers or processors()
        if options.dask is not None:
            engine = stack.enter_context(dask_executor(options.dask))
        return sweep(cases, options.out, engine, limits=limits, retry=options.retry, watch=progress)


def processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def interrupted(progress: Progress) -> int:
    """Say what is kept."""
    from sweeping.drive import kept

    if progress.outcome is None:
        print(f"{PROGRAM}: interrupted before a case was begun", file=sys.stderr)
        return console.INTERRUPTED
    print(
        f"{PROGRAM}: interrupted; {kept(progress.outcome)} of {len(progress.outcome.cases)} cases "
        "are kept, and the same command goes on from there", file=sys.stderr,
    )  # fmt: skip
    return console.INTERRUPTED


def conclude(outcome: Outcome, options: argparse.Namespace) -> int:
    """Counts, the first failures, and where to look."""
    console.say(outcome.summary())
    for path in outcome.set_aside:
        console.say(f"damaged, now {os.path.relpath(path)}")
    bad = outcome.unfinished
    for key, text in list(bad.items())[:SHOWN]:
        console.say(f"{outcome.cases[key].canonical}\n  {text}")
    if len(bad) > SHOWN:
        console.say(f"and {len(bad) - SHOWN} more")
    console.say(f"table, CSV and pictures: python {os.path.relpath(__file__)} report {options.out}")
    return 1 if bad else 0


def report(options: argparse.Namespace) -> int:
    """Tables on the terminal; CSV and pictures into the folder."""
    from sweeping.report import write

    try:
        return write(options.folder, plots=not options.no_plots)
    except BrokenPipeError:
        raise
    except OSError as error:
        text = error.strerror or console.one_line(error)
        raise console.InputError(f"DIR {options.folder}: {text}") from error


def body(argv: list[str] | None) -> int:
    """Run the command line."""
    options = make_parser(PROGRAM).parse_args(argv)
    return run(options) if options.command == "run" else report(options)


def main(argv: list[str] | None = None) -> int:
    """Run `sweep.py` and return its exit status."""
    return console.run(body, argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())

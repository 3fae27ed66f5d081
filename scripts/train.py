"""Train a whole attention layer on sampled sequences, and show the run beside the theory.

`python scripts/train.py --help` shows all options with examples; the files come into --out.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import console
from training.options import check_together, make_parser

if TYPE_CHECKING:
    from training.engine import Plan
    from training.folder import Folder
    from training.report import Result

PROGRAM = "train.py"


def write(result: Result, folder: Folder) -> None:
    """Write the curve, the picture and the numbers, each whole or not at all."""
    from training import picture, report

    console.write_atomically(folder.csv, report.to_csv(result))
    picture.save(folder.picture, result)
    console.write_atomically(folder.json, report.to_json(result))


def interrupted(plan: Plan, folder: Folder, seconds: float) -> int:
    """Say from where the same command goes on."""
    from training import report
    from training.folder import reached

    found = reached(folder)
    if found is None:
        print(f"{PROGRAM}: interrupted before the first step", file=sys.stderr)
        return console.INTERRUPTED
    console.write_atomically(folder.json, report.begun(plan, "interrupted", seconds))
    print(f"{PROGRAM}: interrupted at step {found.progress.step} of {plan.settings['steps']}; the "
          "same command goes on from there", file=sys.stderr)  # fmt: skip
    return console.INTERRUPTED


def body(argv: list[str] | None) -> int:
    """Plan the run, train it or find it finished, and report."""
    options = make_parser(PROGRAM).parse_args(argv)
    check_together(options)
    from training import engine, report
    from training.folder import open_folder
    from training.measured import measure

    plan = engine.plan(options)
    folder = open_folder(options.out, plan.settings)
    console.say("\n".join(report.headline(plan)))
    if folder.step is not None:
        console.say(f"{folder.path} holds this run, "
                    + ("finished" if folder.over else f"up to step {folder.step}"))  # fmt: skip
    if folder.step is None:
        console.write_atomically(folder.json, report.begun(plan, "running", 0.0))
    begin = time.perf_counter()
    try:
        run = engine.train(plan, folder.checkpoint, options.checkpoint_every, folder.step or 0)
        spent = 0.0 if folder.over else time.perf_counter() - begin
        result = report.Result(plan, run, folder.seconds + spent, measure(plan, run))
        console.say("\n".join(report.lines(result)))
        write(result, folder)
    except KeyboardInterrupt:
        spent = 0.0 if folder.over else time.perf_counter() - begin
        return interrupted(plan, folder, folder.seconds + spent)
    console.wrote(*folder.files)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.run(body, argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())

"""Fuzz every public name and every script for as long as asked, and report what was tried.

python tests/fuzz/run.py --examples 100000
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from tests.fuzz import (  # noqa: E402
    scripts,
    targets_analytic,
    targets_methods,
    targets_numerics,
)
from tests.fuzz.oracle import Target, memory_limit  # noqa: E402
from tests.fuzz.search import Findings, exhaust, try_one  # noqa: E402


def everything() -> list[Target]:
    found = [*targets_analytic.targets(), *targets_analytic.scalar_targets()]
    return [*found, *targets_numerics.targets(), *targets_methods.targets()]


def at_random(targets: list[Target], findings: Findings, examples: int, number: int) -> None:
    """Draw arguments with Hypothesis; findings are collected, so that the search goes on."""

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(targets), st.data())
    def search(target: Target, data: st.DataObject) -> None:
        try_one(target, data.draw, findings)

    search()


def command_lines() -> tuple[int, list[str]]:
    """Try every hostile command line, in a folder of its own."""
    tried, wrong = 0, []
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for script, argv in scripts.commands():
                tried += 1
                if (verdict := scripts.run(script, argv)) is not None:
                    wrong.append(f"{script} {argv[-2:]}: {verdict}")
        finally:
            os.chdir(before)
    return tried, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--examples", type=int, default=100_000, help="random inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-scripts", action="store_true", help="functions alone")
    options = parser.parse_args()
    start, findings, targets = time.monotonic(), Findings(), everything()
    with memory_limit():
        exhaust(targets, findings)
        listed = findings.tried
        at_random(targets, findings, options.examples, options.seed)
    lines, wrong = (0, []) if options.no_scripts else command_lines()
    for name, cases in sorted(findings.wrong.items()):
        print(f"{name}: {len(cases)}", *cases[:3], sep="\n    ")
    print(*wrong, sep="\n" if wrong else "")
    count = sum(map(len, findings.wrong.values())) + len(wrong)
    print(f"{len(targets)} targets; tried {listed} listed and {findings.tried - listed} random "
          f"arguments and {lines} command lines: {count} findings, seed {options.seed}, "
          f"{time.monotonic() - start:.0f} s")  # fmt: skip
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())

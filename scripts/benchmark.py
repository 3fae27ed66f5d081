#!/usr/bin/env python3
"""Measure ours beside theirs and the floor, and how cost grows; write benchmarks/RESULTS.md."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import console

if TYPE_CHECKING:
    from benchmarking.base import Growth, Row
    from benchmarking.store import Store

PROGRAM = "benchmark.py"
RESULTS = Path(__file__).resolve().parent.parent / "benchmarks"
XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
EPILOG = """examples:
  python scripts/benchmark.py                        every row, about a quarter of an hour
  python scripts/benchmark.py --only ensemble rhs-D8-R1
  python scripts/benchmark.py --quick --out out      small sizes, to try the command
  python scripts/benchmark.py --device               CuPy on a CUDA device instead

With neither --only nor --quick, RESULTS.md and RESULTS.json are written into benchmarks/; else only
where --out says. Rows that are finished are kept: the same command goes on after an interruption.
JAX, diffrax, PyTorch and Numba (pip install -e '.[benchmark]') are left out where absent.

exit status: 0 done; 1 no CUDA device answers (--device); 2 misuse; 130 interrupted"""


def make_parser() -> console.Parser:
    """Describe the command line."""
    p = console.Parser(prog=PROGRAM, description=__doc__, epilog=EPILOG)
    p.add_argument("--list", action="store_true", help="list the rows and stop")
    p.add_argument("--only", nargs="+", metavar="ROW", help="measure these rows")
    p.add_argument("--quick", action="store_true", help="small sizes, one turn: says nothing")
    p.add_argument("--device", action="store_true", help="measure CuPy on a CUDA device instead")
    p.add_argument(
        "--out", metavar="DIR", help="folder for RESULTS.md and RESULTS.json (default: see below)"
    )
    return p


def one_thread() -> None:
    """Hold every library to one thread; call it before any of them is imported."""
    console.single_thread_blas()
    os.environ.setdefault("XLA_FLAGS", XLA)
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")


def chosen(args: argparse.Namespace) -> list[Row | Growth]:
    """The rows asked for, in the order of the list."""
    from benchmarking import all_rows

    rows = all_rows(args.quick)
    if args.only is None:
        return rows
    names = [row.name for row in rows]
    unknown = [name for name in args.only if name not in names]
    if unknown:
        raise console.InputError(
            f"--only: no row {', '.join(unknown)}; there are {', '.join(names)}"
        )
    return [row for row in rows if row.name in args.only]


def folder_of(args: argparse.Namespace) -> Path | None:
    """Where results go, made and tried; None for the terminal alone."""
    if args.out is None and (args.only or args.quick):
        return None
    folder = RESULTS if args.out is None else args.out
    return console.make_folder(folder, files=("RESULTS.md", "RESULTS.json"))


def command(argv: list[str] | None) -> str:
    """The command that measures this again."""
    return shlex.join(["python", f"scripts/{PROGRAM}", *(sys.argv[1:] if argv is None else argv)])


def measure(rows: list[Row | Growth], args: argparse.Namespace, store: Store) -> None:
    """Measure what is not kept yet."""
    from benchmarking.base import Row
    from benchmarking.machine import copy_rate, gemm_rate
    from benchmarking.measure import grown, measured

    if store.ceilings is None:
        store.ceilings = {"gemm": gemm_rate(), "copy": copy_rate()}
    for i, row in enumerate(rows):
        if row.name in store.rows:
            console.say(f"{i + 1:>3} of {len(rows)}  {row.name}: kept from before")
            continue
        function: Any = measured if isinstance(row, Row) else grown
        result = function(row, args.quick, console.progress)
        store.keep(result)
        console.say(f"{i + 1:>3} of {len(rows)}  {row.name}: {summary(result)}")


def summary(result: dict[str, Any]) -> str:
    """A line on a row that is done."""
    from benchmarking.page import seconds

    if "skipped" in result and "entries" not in result:
        return f"skipped, {result['skipped']}"
    if "exponent" in result:
        return f"exponent {result['exponent']:.2f} ± {result['standard_error']:.2f}"
    ours, *others = result["entries"]
    ratios = ", ".join(f"{e['kind']} {e['over_ours']:.2g}" for e in others)
    return f"{seconds(ours['core'])}; × ours: {ratios}"


def device(args: argparse.Namespace) -> int:
    """Tables of CuPy on a device; 1 where there is none."""
    if args.only or args.list or args.quick:
        raise console.InputError("--device: takes no --only, --list or --quick")
    folder = folder_of(args) if args.out is not None else None
    from benchmarking.base import MissingError
    from benchmarking.device import page

    try:
        text = page()
    except MissingError:
        print(f"{PROGRAM}: cupy is not installed: pip install -e '.[cupy]'", file=sys.stderr)
        return 1
    except Exception as error:
        reason = console.one_line(f"{type(error).__name__}: {error}")
        print(f"{PROGRAM}: no CUDA device answers: {reason}", file=sys.stderr)
        return 1
    console.say(text)
    if folder is not None:
        console.write_atomically(folder / "DEVICE.md", text + "\n")
    return 0


def body(argv: list[str] | None) -> int:
    """Run the command line."""
    args = make_parser().parse_args(argv)
    if args.device:
        return device(args)
    one_thread()
    rows = chosen(args)
    if args.list:
        for row in rows:
            print(f"{row.name:<22} {row.title}")
        return 0
    folder = folder_of(args)
    from benchmarking.machine import facts
    from benchmarking.page import markdown
    from benchmarking.store import Store

    store = Store(folder, {"command": command(argv), "quick": args.quick, **facts()})
    try:
        measure(rows, args, store)
    except KeyboardInterrupt:
        kept = f"{len(store.rows)} of {len(rows)} rows are kept, and the same command goes on"
        print(f"{PROGRAM}: interrupted" + (f"; {kept}" if folder else ""), file=sys.stderr)
        return console.INTERRUPTED
    results = store.results(date.today().isoformat(), [row.name for row in rows])
    store.finish(results)
    if folder is None:
        console.say(markdown(results))
    else:
        console.say(f"results: {os.path.relpath(folder / 'RESULTS.md')}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run `benchmark.py` and return its exit status."""
    return console.run(body, argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())

"""The command line of `sweep.py`, and the cases that it asks for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import console
from console import NOT_NEGATIVE, POSITIVE, flag
from prediction.linear.options import SPECTRUM

if TYPE_CHECKING:
    from .grid import Cases

DESCRIPTION = """\
Run many cases, linear attention [L] (arXiv 2501.16265v2), keys and queries separate or merged, or
softmax heads [S] (arXiv 2402.19442): one file for each, with the loss curve, its plateaus and
drops, and their distance from theory.
"""

EPILOG = """\
examples:
  python scripts/sweep.py run                                  a small grid at once, in ./sweep
  python scripts/sweep.py run --eigenvalues 0.4 0.3 0.2 0.1 --context-length 7 31 --rank 1 2 4 \\
      --init 1e-2 1e-3 --seeds 10 --out ranks --workers 2
  python scripts/sweep.py run --merged --spectrum white power:0.5 power:1 --dimension 2 4 8 \\
      --init 1e-3 --out shapes
  python scripts/sweep.py run --softmax --dims 5 10 20 40 --context-length 10 100 1000 --out heads
  python scripts/sweep.py run --grid grid.toml --shard 1/4     one of four jobs of a batch queue
  python scripts/sweep.py run --list cases.jsonl --dask tcp://scheduler:8786
  python scripts/sweep.py report ranks                         table, CSV and phase diagrams

exit status: 0; 1 a case failed or was stopped; 2 misuse; 130 interrupted (`run --help` has more)
"""

RUN = """\
The same command again goes on where the last one ended, whatever ended it: a case that has a whole
file in DIR/cases is not computed again; a damaged file is moved to DIR/damaged and its case
computed anew. Options with several values are crossed. A grid file has the same names, with _ for
-, and lists of values; `[[grid]]` tables are several grids:

  eigenvalues = [[0.4, 0.3], [0.5, 0.1]]      kind = "linear" unless "merged" or "softmax"
  rank = [1, 2]                               in place of eigenvalues: spectrum = ["power:1"],
  seeds = 10                                  dimension = [4, 8], trace = 1, crossed

Rules of --spectrum: power:a (λ_d ∝ d^-a), geometric:r (λ_d ∝ r^d) and white. A case holds the
eigenvalues that follow, as --dry-run shows; --list reads cases as that prints them.

Numbers do not depend on the engine, the workers or the other cases: each case draws from a stream
keyed by its own content, so one seed means other draws in another case. Jobs of --shard may share
DIR. Workers of --dask must see DIR and this folder under the same names, with one thread each.

exit status: 0 every case finished; 1 some failed or were stopped by a limit (their status says
why; the others are whole); 2 misuse, or DIR cannot be written; 130 interrupted. All done is kept.
"""

REPORT = """\
Writes into DIR/report: linear.csv, merged.csv, softmax.csv (one row a case), and pictures: the
last drop time over initial scale and rank (merged: heads), and over the exponent of a power law and
D; softmax heads' gaps of the loss over (d, L). Only axes that vary are drawn.

example:
  python scripts/sweep.py run && python scripts/sweep.py report sweep

exit status: 0; 2 misuse, or DIR holds no cases or cannot be written; 130 interrupted.
"""

LINEAR = {"eigenvalues": [SPECTRUM], "context_length": [31.0], "rank": [1, 2, 4],
          "init": [1e-2, 1e-3], "seeds": 2}  # fmt: skip
SOFTMAX = {"dims": [5, 10, 20], "context_length": [10, 100, 1000]}
MERGED = {name: value for name, value in LINEAR.items() if name != "rank"}
ONLY_LINEAR = ("eigenvalues", "spectrum", "dimension", "trace", "rank")
ONLY_SOFTMAX = ("block_dims", "dims", "tasks", "signal", "embedding_dim", "no_flow")
SHARED = ("context_length", "heads", "noise", "init", "seed", "seeds", "duration")


def make_parser(program: str) -> console.Parser:
    """Describe the command line."""
    parser = console.Parser(prog=program, description=DESCRIPTION, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="run | report")
    run = commands.add_parser("run", help="compute the cases that are missing",
                              description=DESCRIPTION, epilog=RUN)  # fmt: skip
    _add_cases(run)
    _add_engine(run)
    report = commands.add_parser("report", help="table, CSV and pictures of a sweep",
                                 description=REPORT)  # fmt: skip
    report.add_argument("folder", metavar="DIR", help="of the sweep")
    report.add_argument("--no-plots", action="store_true", help="leave the pictures out")
    return parser


def _add_cases(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cases")
    add = group.add_argument
    whole = console.integer(1)
    kinds = group.add_mutually_exclusive_group()
    kinds.add_argument("--merged", action="store_true",
                       help="ATTN_M, keys and queries merged, not ATTN_S")  # fmt: skip
    kinds.add_argument("--softmax", action="store_true",
                       help="softmax heads on several tasks, not ATTN_S")  # fmt: skip
    add("--grid", metavar="FILE", help="a grid as .toml or .json, in place of the options below")
    add("--list", metavar="FILE", help="cases as JSON lines, as --dry-run prints them")
    add("--eigenvalues", nargs="+", action="append", type=POSITIVE, metavar="λ",
        help="of the covariance Λ of Gaussian tokens; again for another spectrum")  # fmt: skip
    add("--spectrum", nargs="+", metavar="RULE", help="eigenvalues by a rule, power:a, geometric:r "
        "or white, in place of --eigenvalues")  # fmt: skip
    add("--dimension", nargs="+", type=whole, metavar="D", help="sizes of --spectrum")
    add("--trace", nargs="+", type=POSITIVE, metavar="t", help="Σ λ of --spectrum (default 1)")
    add("--context-length", nargs="+", type=console.real(at_least=1, infinite=True), metavar="N",
        help="context pairs, the query not counted")  # fmt: skip
    add("--heads", nargs="+", type=whole, metavar="H", help="heads (default: D, or one a task)")
    add("--rank", nargs="+", type=whole, metavar="R",
        help="key-query pairs in each head (default 1)")  # fmt: skip
    add("--noise", nargs="+", type=NOT_NEGATIVE, metavar="σ",
        help="standard deviation of the label noise in the context (default 0)")  # fmt: skip
    add("--init", nargs="+", type=POSITIVE, metavar="s", help="standard deviation of the initial "
        "weights (default 0.001); with --softmax the initial ω (default 0.01)")  # fmt: skip
    seeds = group.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", type=whole, metavar="n", help="the seeds 0 … n − 1")
    seeds.add_argument("--seed", nargs="+", type=console.integer(0), metavar="k",
                       help="of the initial weights (default 0)")  # fmt: skip
    add("--duration", nargs="+", type=POSITIVE, metavar="T",
        help="of the flow (default: until it has settled, by the theory)")  # fmt: skip
    add("--block-dims", nargs="+", action="append", type=whole, metavar="d",
        help="d_i of the tasks; again for other tasks")  # fmt: skip
    add("--dims", nargs="+", type=whole, metavar="d", help="tasks of one size, each of these")
    add("--tasks", type=whole, metavar="I", help="how many tasks --dims means (default 1)")
    add("--signal", nargs="+", type=POSITIVE, metavar="λ", help="λ_i, one for all or one each")
    add("--embedding-dim", nargs="+", type=whole, metavar="d_e", help="width of a head (default d)")
    add("--no-flow", action="store_true", default=None, help="softmax: exact losses alone")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where, and how far")
    engine = group.add_mutually_exclusive_group()
    engine.add_argument("--workers", type=console.integer(1), metavar="n",
                        help="processes here, one BLAS thread each (default: one a processor)"
                        )  # fmt: skip
    engine.add_argument("--dask", metavar="ADDRESS", help="scheduler of a running Dask cluster")
    add = group.add_argument
    add("--shard", type=_shard, metavar="i/n", help="every n-th case from the i-th on, i = 1 … n")
    add("--time-limit", type=console.real(above=0), metavar="SECONDS", help="for each case")
    add("--max-evaluations", type=console.integer(1), metavar="n",
        help="of the right-hand side, for each case")  # fmt: skip
    add("--retry", action="store_true", help="compute cases again that failed or were stopped")
    add("--out", default="sweep", metavar="DIR", help="folder of the sweep, made if there is "
        "none (default sweep)")  # fmt: skip
    add("--dry-run", action="store_true", help="print the cases as JSON lines and stop")


def _shard(text: str) -> tuple[int, int]:
    try:
        number, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must look like 2/8, got {text!r}") from None
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"must be from 1/n to n/n, got {text}")
    return number, count


def asked(options: argparse.Namespace) -> Cases:
    """The cases of a command line, this shard's part of them.

    Raises
    ------
    console.InputError
        If options contradict each other, or a file or a value is wrong.
    """
    from .grid import read_grid, read_list, shard

    _check_together(options)
    if options.grid is not None:
        with console.blame(f"--grid {options.grid}"):
            cases = read_grid(options.grid)
    elif options.list is not None:
        with console.blame(f"--list {options.list}"):
            cases = read_list(options.list)
    else:
        cases = _crossed(options)
    return shard(cases, *options.shard) if options.shard else cases


def _crossed(options: argparse.Namespace) -> Cases:
    from .grid import expand

    given = {name: getattr(options, name) for name in (*ONLY_LINEAR, *ONLY_SOFTMAX, *SHARED)}
    grid: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not grid:
        grid = dict(SOFTMAX if options.softmax else MERGED if options.merged else LINEAR)
    if not options.softmax:
        own = {} if options.spectrum else {"eigenvalues": LINEAR["eigenvalues"]}
        kind = "merged" if options.merged else "linear"
        return _expanded(expand, {**own, "context_length": [31.0], **grid, "kind": kind})
    tasks = grid.pop("tasks", 1)
    dims = grid.pop("dims", None if "block_dims" in grid else SOFTMAX["dims"])
    if dims is not None:
        grid["block_dims"] = [[d] * tasks for d in dims]
    if grid.pop("no_flow", False):
        grid["init"] = [None]
    grid = {"context_length": SOFTMAX["context_length"], **grid}
    lengths = grid["context_length"]
    if any(length != length // 1 for length in lengths):
        raise console.InputError("--context-length: must be whole numbers with --softmax")
    return _expanded(expand, {**grid, "kind": "softmax",
                              "context_length": [int(length) for length in lengths]})  # fmt: skip


def _expanded(expand: Any, grid: dict[str, Any]) -> Cases:
    try:
        return list(expand(grid))
    except (ValueError, TypeError) as error:
        name, _, rest = str(error).partition(" ")
        text = f"{flag(name)}: {rest}" if name in grid else f"the grid: {error}"
        raise console.InputError(console.one_line(text)) from error


def _check_together(options: argparse.Namespace) -> None:
    def given(names: Sequence[str]) -> list[str]:
        return [flag(name) for name in names if getattr(options, name) is not None]

    if options.grid is not None and options.list is not None:
        raise console.InputError("--list: not allowed with --grid")
    for source in ("grid", "list"):
        others = given((*ONLY_LINEAR, *ONLY_SOFTMAX, *SHARED))
        others += ["--softmax"] * options.softmax + ["--merged"] * options.merged
        if getattr(options, source) is not None and others:
            raise console.InputError(f"{others[0]}: not allowed with --{source}, which has it all")
    wrong = given(ONLY_LINEAR if options.softmax else ONLY_SOFTMAX)
    if wrong:
        need = "is for linear attention, without" if options.softmax else "needs"
        raise console.InputError(f"{wrong[0]}: {need} --softmax")
    if options.merged and options.rank:
        raise console.InputError("--rank: is for separate keys and queries, without --merged")
    if options.spectrum and options.eigenvalues:
        raise console.InputError("--spectrum: not allowed with --eigenvalues")
    if options.spectrum and not options.dimension:
        raise console.InputError("--spectrum: needs --dimension")
    if not options.spectrum and (lone := given(("dimension", "trace"))):
        raise console.InputError(f"{lone[0]}: needs --spectrum")
    if options.block_dims and options.dims:
        raise console.InputError("--dims: not allowed with --block-dims")
    if options.tasks and options.block_dims:
        raise console.InputError("--tasks: needs --dims, not --block-dims")
    if options.no_flow and given(("init", "seed", "seeds", "duration")):
        raise console.InputError("--no-flow: leaves no use for --init, --seed and --duration")
    console.check_named(options.out, "--out", "folder")

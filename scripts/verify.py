#!/usr/bin/env python3
"""Check every claim of the theory against simulation, and report verdict, error and picture."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import console

if TYPE_CHECKING:
    from claims.base import Claim
    from verifying.record import Record

PROGRAM = "verify.py"
EPILOG = """examples:
  python scripts/verify.py                     every claim, quickly, report in ./report
  python scripts/verify.py --only L11 L16 --full
  python scripts/verify.py --controls          perturb every prediction; all verdicts must flip
  python scripts/verify.py --precision         accuracy of closed forms and flows, in precision.md

exit status: 0 no claim fails; 1 one fails or a control does not flip; 2 misuse;
130 interrupted (what is finished is reported)"""


def make_parser() -> console.Parser:
    """Describe the command line."""
    p = console.Parser(prog=PROGRAM, description=__doc__, epilog=EPILOG)
    p.add_argument("--list", action="store_true", help="list the claims and their files, and stop")
    p.add_argument("--only", nargs="+", metavar="ID", help="run these claims, e.g. L11 B2")
    size = p.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="about a minute (the default)")
    size.add_argument("--full", action="store_true", help="larger samples, more seeds and searches")
    p.add_argument("--controls", action="store_true", help="run the negative controls as well")
    p.add_argument(
        "--precision",
        action="store_true",
        help="instead of the claims, tabulate the accuracy of every closed form and flow",
    )
    p.add_argument(
        "--seed",
        type=console.integer(0),
        default=0,
        metavar="n",
        help="of samples, random starts and bases (default 0); the initial weights of cascades, "
        "whose drops may coincide, have seeds of their own",
    )
    p.add_argument(
        "--backend",
        choices=("numpy", "cupy", "strict"),
        default="numpy",
        help="arrays of the claims about batches, G1 to G3: NumPy, CuPy on a device, or "
        "array-api-strict, which takes about a minute (default numpy)",
    )
    p.add_argument(
        "--out",
        default="report",
        metavar="DIR",
        help="folder of the report, written anew (default report)",
    )
    p.add_argument("--json", metavar="FILE", help="write the list of results here too")
    return p


def chosen_claims(only: list[str] | None) -> list[Claim]:
    """The claims asked for, in the order of the list."""
    from claims import all_claims

    claims = all_claims()
    if only is None:
        return claims
    known = {claim.id.lower(): claim for claim in claims}
    unknown = [name for name in only if name.lower() not in known]
    if unknown:
        names = ", ".join(claim.id for claim in claims)
        raise console.InputError(f"--only: no claim {', '.join(unknown)}; there are {names}")
    wanted = {name.lower() for name in only}
    return [claim for claim in claims if claim.id.lower() in wanted]


def print_list(claims: list[Claim]) -> None:
    """One line for each claim, with the file that checks it."""
    files = [f"scripts/{claim.run.__module__.replace('.', '/')}.py" for claim in claims]
    width = max(map(len, files))
    for claim, file in zip(claims, files, strict=True):
        print(f"{claim.id:<4} {claim.kind:<12} {file:<{width}}  {claim.source:<28} "
              f"{claim.statement}")  # fmt: skip


def run_claims(claims: list[Claim], args: argparse.Namespace) -> tuple[list[Record], bool]:
    """Run the claims with a live table; also say whether Ctrl-C cut the run short."""
    from tqdm import tqdm

    from claims.base import Settings
    from verifying.record import run_claim
    from verifying.text import terminal_header, terminal_row

    settings = Settings(full=args.full, seed=args.seed, backend=args.backend)
    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 160
    colours = {"holds": "32", "narrower": "33", "fails": "31"}
    console.say(console.paint(terminal_header(args.controls), "1"))
    records: list[Record] = []
    bar = tqdm(total=len(claims), leave=False, disable=not sys.stderr.isatty(), file=sys.stderr)
    try:
        for claim in claims:
            bar.set_description(claim.id)
            record = run_claim(claim, settings, controls=args.controls)
            records.append(record)
            row = terminal_row(record, width)
            with bar.external_write_mode(file=sys.stdout):
                console.say(console.paint(row, colours[record.verdict]))
            bar.update()
    except KeyboardInterrupt:
        return records, True
    finally:
        bar.close()
    return records, False


def facts(args: argparse.Namespace) -> dict[str, str]:
    """What the results depend on, for the report."""
    import numpy
    import scipy

    return {
        "run": "full" if args.full else "quick",
        "seed": str(args.seed),
        "arrays": args.backend,
        "versions": f"Python {platform.python_version()}, NumPy {numpy.__version__}, "
        f"SciPy {scipy.__version__}",
        "conventions": "loss E(ŷ − y)² without ½; flow τ dθ/dt = −½ ∂L/∂θ; N context pairs",
    }


def write_report(records: list[Record], args: argparse.Namespace, folder: Path) -> None:
    """Write the page, its twins and the pictures, each of them whole or not at all."""
    from verifying.page import html
    from verifying.text import markdown

    about = facts(args)
    results = json.dumps(
        [r.as_json() for r in records], indent=1, ensure_ascii=False, allow_nan=False
    )
    results += "\n"
    console.write_atomically(folder / "report.html", html(records, about))
    console.write_atomically(folder / "report.md", markdown(records, about))
    console.write_atomically(folder / "report.json", results)
    for old in (folder / "pictures").glob("*.svg"):
        if old.stem not in {record.id for record in records}:
            old.unlink()
    for record in records:
        if record.picture:
            console.write_atomically(folder / "pictures" / f"{record.id}.svg", record.picture)
    if args.json:
        console.write_atomically(args.json, results)


def prepare_folder(name: str) -> Path:
    """Make the report's folders, or say why that cannot be."""
    folder = console.make_folder(name, files=("report.html",))
    console.make_folder(folder / "pictures", files=("L1.svg",))
    return folder


def body(argv: list[str] | None) -> int:
    """Run the command line."""
    args = make_parser().parse_args(argv)
    if args.precision:
        return run_precision(args)
    claims = chosen_claims(args.only)
    if args.list:
        print_list(claims)
        return 0
    from claims.batched import place

    place(args.backend)
    folder = prepare_folder(args.out)
    if args.json is not None:
        console.check_writable(args.json, "--json")
    records, interrupted = run_claims(claims, args)
    if records:
        write_report(records, args, folder)
    return conclude(records, folder, interrupted)


def run_precision(args: argparse.Namespace) -> int:
    """Tabulate how accurate the closed forms and flows are."""
    if args.only or args.list or args.controls:
        raise console.InputError("--precision: takes no --only, --list or --controls")
    folder = prepare_folder(args.out)
    if args.json is not None:
        console.check_writable(args.json, "--json")
    from precision.table import tabulate

    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 160
    return tabulate(args, folder, width)


def conclude(records: list[Record], folder: Path, interrupted: bool) -> int:
    """Print the summary and what failed, and choose the exit status."""
    from verifying.text import summary

    if not records:
        print(f"{PROGRAM}: interrupted before a claim was finished", file=sys.stderr)
        return console.INTERRUPTED
    console.say(summary(records))
    status = 0
    for record in records:
        if record.verdict == "fails":
            bad = [c.quantity for c in record.checks if not c.holds and not c.beyond]
            console.say(f"{record.id} fails: {'; '.join(bad) or record.note}")
            status = 1
        for check in record.checks:
            if check.flips is False:
                console.say(f"{record.id}: the control of “{check.quantity}” does not flip")
                status = 1
    console.say(f"report: {os.path.relpath(folder / 'report.html')}")
    if interrupted:
        print(f"{PROGRAM}: interrupted; the report holds what was finished", file=sys.stderr)
        return console.INTERRUPTED
    return status


def main(argv: list[str] | None = None) -> int:
    """Run `verify.py` and return its exit status."""
    return console.run(body, argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())

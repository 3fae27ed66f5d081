#!/usr/bin/env python3
"""Write what is generated in the pages of docs/ and in README.md.

The derivations run as they stand in the pages, and SymPy's results are written below them; quoted
source and the list of figures are brought up to date. Tables of claims and pictures need what other
commands measure and draw, and stay as they are unless these are given.
"""

from __future__ import annotations

import sys
from pathlib import Path

import console

PROGRAM = "write_docs.py"
ROOT = Path(__file__).resolve().parent.parent
EPILOG = """examples:
  python scripts/write_docs.py             formulas, quoted source, list of figures
  python scripts/write_docs.py --check     change nothing, and say which pages are not current
  python scripts/verify.py && python scripts/write_docs.py --report report
  python scripts/figures.py && python scripts/write_docs.py --figures figures

exit status: 0 done, or every page current; 1 one is not (--check); 2 misuse; 130 interrupted"""


def make_parser() -> console.Parser:
    """Describe the command line."""
    p = console.Parser(prog=PROGRAM, description=__doc__, epilog=EPILOG)
    p.add_argument("--check", action="store_true", help="say which pages are not current")
    p.add_argument("--report", metavar="DIR", help="folder that verify.py wrote, for the tables")
    p.add_argument("--figures", metavar="DIR", help="folder that figures.py wrote, for the gallery")
    return p


def pages() -> list[Path]:
    """README.md and the pages of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def updated(path: Path, report: str | None = None) -> str:
    """The text that a page should have; tables of claims keep theirs without a report."""
    from documents import formulas, pictures, verdicts
    from documents.page import Producer, rebuilt

    producers: dict[str, Producer] = {
        "value": formulas.value,
        "source": formulas.source,
        "versions": formulas.versions,
        "gallery": pictures.gallery,
        "claims": lambda *_: None,
        "claim": lambda *_: None,
    }
    if report is not None:
        found = verdicts.Report(report)
        producers |= {"claims": found.table, "claim": found.checks}
    return rebuilt(path.read_text(encoding="utf-8"), producers, str(path.relative_to(ROOT)))


def body(argv: list[str] | None) -> int:
    """Run the command line."""
    args = make_parser().parse_args(argv)
    if args.check and args.figures:
        raise console.InputError("--figures: --check changes nothing")
    if args.figures is not None:
        from documents.pictures import shrink_all

        shrink_all(args.figures)
    stale = 0
    for path in pages():
        text = updated(path, args.report)
        if text == path.read_text(encoding="utf-8"):
            continue
        stale += 1
        print(f"{path.relative_to(ROOT)} {'is not current' if args.check else 'written'}")
        if not args.check:
            console.write_atomically(path, text)
    return 1 if args.check and stale else 0


def main(argv: list[str] | None = None) -> int:
    """Run `write_docs.py` and return its exit status."""
    return console.run(body, argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())

"""Draw the figures: each as SVG and PNG, with the plotted numbers as CSV beside them.

Time is flow time in units of τ, with τ dW/dt = −½ ∂L/∂W and L = E(ŷ − y_q)². Each CSV is in long
format, one row for each plotted point: panel, series, kind, the name and value of x and of y.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from pathlib import Path

import console
from drawing import CATALOGUE, load

PROGRAM = "figures.py"
RESOLUTION = 200  # dots per inch of the PNG
WIDTH = max(map(len, CATALOGUE)) + 2
EPILOG = """examples:
  python scripts/figures.py                    all of them, in ./figures; takes some minutes
  python scripts/figures.py --list             their names, and what each shows
  python scripts/figures.py fig3 white --out drawn
  python scripts/figures.py --quick            rough copies

Of each figure come FIGURE.svg, FIGURE.png, and FIGURE.csv with every plotted number: panel, series,
kind (measured or predicted), and the name and value of x and of y.

exit status: 0 done; 2 misuse; 130 interrupted (what is finished is kept)"""


def make_parser() -> console.Parser:
    """The command line."""
    line = console.Parser(
        prog=PROGRAM,
        description=(__doc__ or "").strip().splitlines()[0],
        epilog=EPILOG,
    )
    line.add_argument("names", nargs="*", metavar="NAME", help="what to draw (default: all)")
    line.add_argument("--list", action="store_true", help="list the figures and stop")
    line.add_argument("--only", nargs="+", metavar="NAME", default=[],
                      help="the same as NAME, as other commands have it")  # fmt: skip
    line.add_argument("--quick", action="store_true", help="fewer seeds and ranks: a rough copy")
    line.add_argument("--seed", type=console.integer(0), default=0, metavar="n",
                      help="first seed (default 0)")  # fmt: skip
    line.add_argument("--out", default="figures", metavar="DIR",
                      help="folder to write into, made if there is none (default figures)"
                      )  # fmt: skip
    return line


def chosen(names: list[str]) -> list[str]:
    """The figures asked for, in the order given and once each; all of them by default."""
    names = [name.lower() for name in names]
    for name in names:
        if name not in CATALOGUE:
            raise console.InputError(f"NAME: no figure {name!r}; there are {', '.join(CATALOGUE)}")
    return list(dict.fromkeys(names)) or list(CATALOGUE)


def folder(path: str, names: list[str]) -> Path:
    """The output folder, made if absent, with room to write every file."""
    files = [name + suffix for name in names for suffix in (".svg", ".png", ".csv")]
    return console.make_folder(path, files=files)


def make(name: str, out: Path, *, quick: bool = False, seed: int = 0) -> list[Path]:
    """Compute and draw one figure; return the files written."""
    import style
    from drawing.base import HEADER, Settings
    from numerics.files import written_atomically

    drawing = load(name)
    result = drawing.compute(Settings(seed, quick))
    with style.look():
        fig = drawing.draw(result)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(
        [f"{cell:.10g}" if isinstance(cell, float) else cell for cell in row]
        for row in drawing.table(result)
    )
    files = [out / f"{name}{suffix}" for suffix in (".svg", ".png", ".csv")]
    for path in files[:2]:
        with written_atomically(path) as temporary:
            style.save(fig, temporary, dpi=RESOLUTION)
    console.write_atomically(files[2], text.getvalue())
    return files


def body(argv: list[str] | None) -> int:
    """Draw what the command line asks for."""
    arguments = make_parser().parse_args(argv)
    if arguments.list:
        for name, (_, shows) in CATALOGUE.items():
            print(f"{name:{WIDTH}}{shows}")
        return 0
    names = chosen([*arguments.names, *arguments.only])
    out = folder(arguments.out, names)
    finished: list[str] = []
    try:
        for name in names:
            console.progress(f"{name} …")
            start = time.perf_counter()
            make(name, out, quick=arguments.quick, seed=arguments.seed)
            finished.append(name)
            elapsed = time.perf_counter() - start
            print(f"{name:{WIDTH}}{elapsed:5.1f} s  {out / name}.svg .png .csv", flush=True)
    except KeyboardInterrupt:
        kept = ", ".join(finished) or "none"
        print(f"{PROGRAM}: interrupted; finished figures are kept: {kept}", file=sys.stderr)
        return console.INTERRUPTED
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the script and return its exit status."""
    return console.run(body, argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())

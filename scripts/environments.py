#!/usr/bin/env python3
"""The tests in a fresh environment: at the floor, at the newest versions, or from a wheel.

`python3 scripts/environments.py --help` shows examples. Needs Python and git, nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import console
from installing import source, wheel
from installing.fresh import Environment, StepError, interpreter, workplace

PROGRAM = "environments.py"
FAILED = 1
ROOT = source.ROOT
TOOLS = "release"  # the extra with what builds and checks archives

DESCRIPTION = """\
Run the tests in an environment made for it, outside the clone, from a copy of the tracked files as
they are now; warnings are errors. Packages come from the registry that pip is configured with.

  floor    every package at the oldest version that pyproject.toml allows, on the oldest Python
  newest   every package at its newest release
  wheel    build an sdist, and a wheel from it; check what they hold and say; install the wheel
           alone and import it; then run its doctests and the property tests that it brings

examples:
  python3 scripts/environments.py floor
  python3 scripts/environments.py newest --python python3.13 --with torch,dask
  python3 scripts/environments.py wheel --head --keep
  python3 scripts/environments.py floor -- tests/analytic -k plateau -x

What follows -- goes to pytest.

exit status: 0 all passed; 1 a test or check failed; 2 misuse; 130 interrupted
"""


def make_parser() -> console.Parser:
    """Describe the command line."""
    parser = console.Parser(
        prog=PROGRAM, description=DESCRIPTION, usage=f"{PROGRAM} {{floor,newest,wheel}} [options] "
        "[-- pytest arguments]",
    )  # fmt: skip
    add = parser.add_argument
    add("environment", choices=("floor", "newest", "wheel"), help="which one to make")
    add("--python", metavar="PYTHON",
        help="an interpreter, by path or name (default: this one; floor: the oldest)")  # fmt: skip
    add("--with", dest="extras", metavar="EXTRA,…", default="",
        help="optional libraries too, whose tests are skipped else: torch, dask, jax")  # fmt: skip
    add("--keep", action="store_true", help="keep the temporary folder, and say where it is")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--head", action="store_true", help="test the last commit")
    which.add_argument("--untracked", action="store_true",
                       help="test new files too, if git does not ignore them")  # fmt: skip
    return parser


def parsed(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our options, and pytest's, which follow ``--``."""
    cut = argv.index("--") if "--" in argv else len(argv)
    options = make_parser().parse_args(argv[:cut])
    project = source.project(ROOT)
    options.extras = [name for name in options.extras.split(",") if name]
    if options.extras and options.environment == "wheel":
        raise console.InputError("--with: goes with floor or newest, not with wheel")
    for name in options.extras:
        if name not in project.extras:
            known = ", ".join(sorted(project.extras))
            raise console.InputError(f"--with: must name extras ({known}), got {name}")
    return options, argv[cut + 1 :]


def copied(options: argparse.Namespace, target: Path) -> list[str]:
    """Copy the source that is to be tested; return its files."""
    target.mkdir()
    if options.head:
        files = source.copy_of_head(ROOT, target)
    else:
        files = source.copy_of_tree(ROOT, target, untracked=options.untracked)
    console.say(f"source     {len(files)} files {'of the last commit' if options.head else ''}")
    return files


def show_versions(environment: Environment, names: list[str]) -> None:
    """Print what was installed."""
    found = environment.versions(names)
    console.say("versions   " + ", ".join(f"{name} {found[name]}" for name in found))


def suite(options: argparse.Namespace, place: Path, arguments: list[str]) -> int:
    """Install at the floor or the newest, and run the tests."""
    copied(options, place / "source")
    project = source.project(place / "source")
    extras = ["test", *options.extras]
    wanted = project.requirements(extras)
    at_floor = options.environment == "floor"
    python = interpreter(options.python, project.python, at_floor=at_floor)
    environment = Environment.made(python, place / "environment")
    pins = source.floors(wanted) if at_floor else ["--upgrade", *source.names(wanted)]
    environment.install("-e", f"{place / 'source'}[{','.join(extras)}]", *pins)
    show_versions(environment, source.names(wanted))
    if not at_floor:
        for name, latest in environment.behind(source.names(wanted)).items():
            console.say(f"held back  {name}, of which {latest} is out")
    return environment.tests(place / "source", *arguments)


def from_wheel(options: argparse.Namespace, place: Path, arguments: list[str]) -> int:
    """Build, check, install alone, import; then the tests that an installation can run."""
    files = copied(options, place / "source")
    project = source.project(place / "source")
    python = interpreter(options.python, project.python, at_floor=False)
    tools = Environment.made(python, place / "tools")
    tools.install(*project.extras[TOOLS])
    built = wheel.build(tools, place / "source", place / "dist")
    console.say(f"built      {built.sdist.name}, {built.wheel.name}")
    wheel.check_archives(built, files)
    wheel.check_metadata(tools, place / "source", built)
    console.say("checked    files, metadata, CITATION.cff")
    (place / "empty").mkdir()
    (place / "empty" / "pytest.ini").write_text("[pytest]\n")  # none from a folder above counts
    environment = Environment.made(python, place / "environment")
    environment.install(str(built.wheel))
    wheel.check_installed(environment, project, place / "empty")
    console.say(f"imported   {', '.join(wheel.PACKAGES)} of version {project.version}")
    environment.install(f"{built.wheel}[test]")
    show_versions(environment, source.names(project.requirements(["test"])))
    runs = (["--doctest-modules", "--pyargs", *wheel.PACKAGES], ["--pyargs", wheel.PROPERTIES])
    return max(environment.tests(place / "empty", "-W", "error", *run, *arguments) for run in runs)


def body(argv: list[str] | None) -> int:
    """Make the environment, run what belongs to it, and say how it went."""
    options, arguments = parsed(sys.argv[1:] if argv is None else argv)
    started = time.monotonic()
    with workplace(options.environment, ROOT, keep=options.keep) as place:
        try:
            run = from_wheel if options.environment == "wheel" else suite
            status = run(options, place, arguments)
        except StepError as error:
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            status = FAILED
    minutes = (time.monotonic() - started) / 60
    verdict = "passed" if status == 0 else "failed"
    console.say(f"{verdict:<10} {options.environment}, in {minutes:.1f} minutes")
    return status


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.run(body, argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())

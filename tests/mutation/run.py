#!/usr/bin/env python3
"""Mutate the formula, gradient and quadrature modules with mutmut and run their tests on each.

A mutant that survives is a missing test. One that computes the same is listed, with the reason, in
tests/mutation/equivalent. Nothing is written into the source: a mutant lives in a fork.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

import console  # noqa: E402
from tests.mutation import scope, store, summary  # noqa: E402
from tests.mutation.mutants import MODULE_LEVEL, Made, make  # noqa: E402

PROGRAM = "tests/mutation/run.py"
PYTEST_INTERRUPTED = 2  # pytest.ExitCode.INTERRUPTED
PAGE = ROOT / "docs" / "mutation.md"
EPILOG = """examples:
  python tests/mutation/run.py                            every module; goes on where it stopped
  python tests/mutation/run.py analytic/path.py --list-survivors
  python tests/mutation/run.py --write                    and write docs/mutation.md"""


def make_parser() -> console.Parser:
    """Describe the command line."""
    p = console.Parser(prog=PROGRAM, description=__doc__, epilog=EPILOG)
    p.add_argument("modules", nargs="*", metavar="MODULE", help="path, or folder; default: all")
    p.add_argument("--jobs", type=console.integer(1), default=2, metavar="N",
                   help="mutants judged at a time (2)")  # fmt: skip
    p.add_argument("--write", action="store_true", help="write docs/mutation.md (all modules)")
    p.add_argument("--list-survivors", action="store_true", help="show each mutant that survives")
    p.add_argument("--count", action="store_true", help="count the mutants, and run nothing")
    p.add_argument(
        "--known",
        action="store_true",
        help="judge nothing; report earlier verdicts, whatever has changed since",
    )
    p.add_argument("--fresh", action="store_true", help="believe no earlier verdict")
    p.add_argument("--cache", type=Path, default=None, metavar="DIR",
                   help="where verdicts are kept (~/.cache/iclflow-mutation)")  # fmt: skip
    return p


def chosen(names: list[str]) -> list[str]:
    """The modules that are meant, in the order of `scope`."""
    every = [module for group in scope.GROUPS for module in group.modules]
    if not names:
        return every
    found = []
    for name in names:
        name = os.path.relpath(name, ROOT) if os.path.isabs(name) else name.rstrip("/")
        some = [m for m in every if m == name or m.startswith(f"{name}/")]
        if not some:
            raise console.InputError(f"MODULE: {name} is not among the mutated modules")
        found += some
    return [module for module in every if module in found]


def judge_group(group: scope.Group, work: dict[str, Made], jobs: int, cache: Path,
                fresh: bool) -> int:  # fmt: skip
    """Judge the mutants of one group's modules; results go into the cache."""
    from tests.mutation.harness import Judge

    def judged(judge: Judge) -> None:
        console.progress(f"{group.name}: timing {len(judge.items)} tests")
        for node in judge.measure():
            print(f"left out, because it fails without a mutation: {node}", file=sys.stderr)
        for module, made in work.items():
            results = store.Results(module, group, cache)
            believed = {} if fresh else results.believed()
            waiting = [m for m in made.mutants if m.key not in believed]
            names = Counter(m.function for m in waiting if m.function != MODULE_LEVEL)
            for name, _ in names.most_common(1):
                judge.control(module, name)
            start, saved = time.monotonic(), time.monotonic()
            try:
                for done, verdict in enumerate(judge.judge(waiting, results.known()), start=1):
                    results.add(verdict)
                    if time.monotonic() - saved > 5:
                        results.save()
                        saved = time.monotonic()
                        console.progress(f"{module}: {done} of {len(waiting)}")
            finally:
                results.save()
            counts = summary.count(module, made, results.known())
            seconds = time.monotonic() - start
            console.say(f"{module}: {counts.line()}  ({len(waiting)} tried in {seconds:.0f} s)")

    return Judge(group, store.Baseline(group, cache), jobs).collect_and(judged)


def in_fork(body: object, *arguments: object) -> int:
    """Run a group in a process of its own, since pytest collects once in a process."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.nice(10)
            status = body(*arguments)  # type: ignore[operator]
        except KeyboardInterrupt:
            status = console.INTERRUPTED
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except KeyboardInterrupt:
        # Of Ctrl-C it hears itself, of a signal to this process alone it does not.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        os.waitpid(pid, 0)
        raise


def judge(made: dict[str, Made], jobs: int, cache: Path, fresh: bool) -> None:
    """Judge the mutants of all modules, group by group."""
    for group in scope.GROUPS:
        work = {module: some for module, some in made.items() if module in group.modules}
        status = in_fork(judge_group, group, work, jobs, cache, fresh) if work else 0
        if status in (console.INTERRUPTED, PYTEST_INTERRUPTED):
            raise KeyboardInterrupt
        if status:
            raise console.InputError(f"{group.name}: its tests cannot be run (status {status})")


def main(argv: list[str] | None = None) -> int:
    """Judge, report, and write the page; 0 if no mutant but the equivalent ones survives."""
    options = make_parser().parse_args(argv)
    missing = [n for n in ("mutmut", "pytest", "hypothesis") if not importlib.util.find_spec(n)]
    if missing:
        raise console.InputError(f"needs {', '.join(missing)}: pip install -e '.[test,mutation]'")
    modules = chosen(options.modules)
    if options.write and options.modules:
        raise console.InputError("--write: takes every module, so name none")
    cache = options.cache or store.cache_folder()
    made = {module: make(module, cache=cache) for module in modules}
    if options.count:
        for module, some in made.items():
            console.say(f"{module}: {len(some.mutants)} mutants; not counted: "
                        f"{some.messages} messages, {some.same_code} of the same code")  # fmt: skip
        console.say(f"{sum(len(some.mutants) for some in made.values())} mutants")
        return 0
    if not options.known:
        judge(made, options.jobs, cache, options.fresh)
    counts = {}
    for module, some in made.items():
        group = scope.group_of(module)
        assert group is not None
        results = store.Results(module, group, cache)
        known = results.known() if options.known else results.believed()
        counts[module] = summary.count(module, some, known)
        if options.list_survivors:
            summary.show_survivors(counts[module])
    if options.write:
        console.write_atomically(PAGE, summary.page(counts, earlier=options.known))
        console.say(f"wrote {PAGE.relative_to(ROOT)}")
    return summary.verdict(counts)


if __name__ == "__main__":
    sys.exit(console.run(main, None, PROGRAM))

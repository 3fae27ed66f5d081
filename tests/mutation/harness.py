"""Judge mutants by forks of one process that has collected the tests.

The tests are collected once. A first pass runs each file's tests on recording functions, which
gives every test's time and the functions that it reaches. Then each mutant has a fork, in which
only tests that reach its function run, those first that have killed most of that function's mutants
and then the quickest; the fork ends at the first failure. Time limits count processor time, so that
a busy machine does not make a mutant look slow.
"""

from __future__ import annotations

import ast
import builtins
import gc
import importlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.mutation import scope, swap
from tests.mutation.forks import Forks, limit
from tests.mutation.mutants import MODULE_LEVEL, Mutant, undecorated
from tests.mutation.store import Baseline, Judged, Seen, Verdict, file_digest

SPARE, TIMES = 3.0, 10.0  # seconds, and multiples of a test's own time, that it may take

_reached: set[str] = set()


def mutation_reached(name: str) -> None:
    """Note that a function runs; the recording functions call it."""
    _reached.add(name)


class Judge:
    """The pytest plugin: takes the collected tests and judges mutants with them."""

    def __init__(self, group: scope.Group, baseline: Baseline, jobs: int) -> None:
        self._group, self._baseline, self._jobs = group, baseline, jobs
        self.items: dict[str, pytest.Item] = {}
        self._failure: str | None = None
        self._work: Callable[[Judge], None] | None = None

    def collect_and(self, work: Callable[[Judge], None]) -> int:
        """Collect the group's tests and hand this object to `work`; return pytest's status."""
        self._work = work
        options = ["-qs", f"--rootdir={scope.ROOT}"]
        options += [f"-pno:{name}" for name in ("cacheprovider", "faulthandler", "logging")]
        options += ["-k", self._group.keywords] if self._group.keywords else []
        paths = [path for path in self._group.tests if (scope.ROOT / path).exists()]
        os.chdir(scope.ROOT)
        return int(pytest.main([*options, *paths], plugins=[self]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self) -> None:
        """Before `tests/conftest.py` loads a profile."""
        _quick_hypothesis()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        manager = session.config.pluginmanager
        if session.testsfailed:
            return False  # collection failed, and pytest says where
        manager.unregister(name="terminalreporter")
        for item in session.items:
            if item.get_closest_marker("xfail") is None:
                self.items[item.nodeid] = item
        swap.forget()  # finds the caches, which it cannot once they are frozen
        gc.collect()
        gc.freeze()
        assert self._work is not None
        self._work(self)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        """Note a failure before pytest spends time on how to show it."""
        if call.excinfo is not None and not isinstance(call.excinfo.value, pytest.skip.Exception):
            self._failure = item.nodeid
            if os.environ.get("MUTATION_DEBUG"):
                print(item.nodeid, call.excinfo.exconly(), file=sys.stderr)

    def _run(self, item: pytest.Item, following: pytest.Item | None) -> bool:
        """Run a test; tell whether it passed."""
        self._failure = None
        try:
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        except BaseException:
            return False  # a mutant may end the interpreter
        return self._failure is None

    # The first pass

    def measure(self) -> list[str]:
        """Record the tests of the files that have changed; return the tests that fail unmutated."""
        files: dict[str, list[str]] = {}
        for node in self.items:
            files.setdefault(node.split("::")[0], []).append(node)
        stale = [name for name in files if not self._baseline.has(name)]
        forks = Forks(self._jobs)
        tasks = ((name, lambda nodes=files[name]: self._record(nodes)) for name in stale)
        for name, result, status in forks.run(iter(tasks)):
            if result is None:
                raise RuntimeError(f"the tests of {name} ended with wait status {status}")
            self._baseline.put(name, {node: Seen(*seen) for node, seen in result.items()})
        seen = {node: self._baseline.of(name)[node] for name, nodes in files.items()
                for node in nodes if node in self._baseline.of(name)}  # fmt: skip
        self.seen = {node: s for node, s in seen.items() if s.passed}
        return [node for node, s in seen.items() if not s.passed]

    def _record(self, nodes: list[str]) -> dict[str, tuple[bool, float, list[str]]]:
        builtins.mutation_reached = mutation_reached  # type: ignore[attr-defined]
        for path in self._group.modules:
            _record_module(path)
        result = {}
        for node, following in zip(nodes, [*nodes[1:], None], strict=True):
            swap.forget()  # or only the first test would reach what is cached
            _reached.clear()
            start = time.process_time()
            passed = self._run(self.items[node], self.items[following] if following else None)
            result[node] = passed, time.process_time() - start, sorted(_reached)
        return result

    # The mutants

    def judge(self, mutants: list[Mutant], known: dict[str, Judged]) -> Iterator[Judged]:
        """Judge mutants; `known` are the verdicts of an earlier run, whose tests go first."""
        kills: dict[str, Counter[str]] = {}
        for mutant in mutants:
            old = known.get(mutant.key)
            if old is not None and old.killer:
                kills.setdefault(mutant.function, Counter())[old.killer] += 1
        tests = self._tests_of(mutants)

        def tasks() -> Iterator[tuple[Mutant, Callable[[], Any]]]:
            for mutant in mutants:
                often = kills.get(mutant.function, Counter())
                old = known.get(mutant.key)
                first = old.killer if old is not None else None
                order = sorted(
                    tests[mutant.function],
                    key=lambda n: (n != first, -often[n] / (0.05 + self.seen[n].seconds),
                                   self.seen[n].seconds),
                )  # fmt: skip
                yield mutant, lambda m=mutant, o=order: self._try(m, o)

        for mutant, result, status in Forks(self._jobs).run(tasks()):
            judged = _verdict(mutant, result, status, bool(tests[mutant.function]))
            if judged.killer:
                kills.setdefault(mutant.function, Counter())[judged.killer] += 1
            yield judged

    def control(self, module: str, function: str) -> None:
        """Put a function in its own place; a failure would count every mutant as killed.

        Raises
        ------
        RuntimeError
            If a test fails.
        """
        text = next(t for name, t in _functions(module) if name == function)
        same = Mutant(module, function, 0, "", "", 1, text)
        (judged,) = self.judge([same], {})
        if judged.verdict not in (Verdict.SURVIVED, Verdict.NO_TESTS):
            raise RuntimeError(f"{module}: {function} unchanged: {judged.verdict} {judged.killer}")

    def _tests_of(self, mutants: list[Mutant]) -> dict[str, list[str]]:
        """The tests that reach each function; a constant may matter to whoever uses the module."""
        found: dict[str, list[str]] = {}
        for mutant in mutants:
            if mutant.function in found:
                continue
            name = f"{mutant.module}:{mutant.function}"
            whole = mutant.function == MODULE_LEVEL or _at_import(mutant)
            found[mutant.function] = [
                node for node, seen in self.seen.items()
                if (any(r.startswith(f"{mutant.module}:") for r in seen.reached)
                    if whole else name in seen.reached)
            ]  # fmt: skip
        return found

    def _try(self, mutant: Mutant, order: list[str]) -> str | None:
        """In a fork: the first test that fails, or None."""
        module = importlib.import_module(module_name(mutant.module))
        if not order:
            return None
        limit(SPARE)
        if mutant.function != MODULE_LEVEL:
            swap.put(module, mutant.function, mutant.text)
        try:
            if mutant.function == MODULE_LEVEL:
                swap.put_statement(module, mutant.text)
            else:
                swap.recompute(module, mutant.function)
        except Exception as error:
            return f"import: {type(error).__name__}"  # the module could not be imported
        for node, following in zip(order, [*order[1:], None], strict=True):
            limit(SPARE + TIMES * self.seen[node].seconds)
            item = self.items[node]
            if not self._run(item, self.items[following] if following else None):
                return node
        return None


def _at_import(mutant: Mutant) -> bool:
    """Whether the module's constants are made with a function, which may run at no other time."""
    body = ast.parse((scope.ROOT / mutant.module).read_text(encoding="utf-8")).body
    made = [node for node in body if isinstance(node, ast.Assign | ast.AnnAssign)]
    return any(swap.uses(node, {mutant.function}) for node in made)


def module_name(path: str) -> str:
    """The importable name of a path below the root."""
    return path.removesuffix(".py").replace("/", ".")


def _verdict(mutant: Mutant, result: Any, status: int, tested: bool) -> Judged:
    if not tested:
        return Judged(mutant.key, Verdict.NO_TESTS)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGPROF:
            return Judged(mutant.key, Verdict.TIMEOUT)
        if number in (signal.SIGALRM, signal.SIGKILL, signal.SIGTERM):
            return Judged(mutant.key, Verdict.UNDECIDED)
        return Judged(mutant.key, Verdict.KILLED, f"signal {number}")
    if os.WEXITSTATUS(status):
        return Judged(mutant.key, Verdict.UNDECIDED)
    if result is None:
        return Judged(mutant.key, Verdict.SURVIVED)
    return Judged(mutant.key, Verdict.KILLED, result, file_digest(result))


def _functions(path: str) -> Iterator[tuple[str, str]]:
    """The qualified name and the text of each function of a module, undecorated."""
    source = undecorated((scope.ROOT / path).read_text(encoding="utf-8"))
    for node in ast.parse(source).body:
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for part in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(part, ast.FunctionDef):
                yield prefix + part.name, ast.unparse(part)


def _record_module(path: str) -> None:
    """Let each function of a module note that it runs."""
    module = importlib.import_module(module_name(path))
    for name, text in _functions(path):
        try:
            target = swap.function_in(module, name)
        except (KeyError, LookupError):
            continue
        noting = swap.recorder(text, f"{path}:{name}", mutation_reached)
        target.__code__ = swap.code_of(noting, name, target.__code__.co_filename)


def _quick_hypothesis() -> None:
    """The suite's own examples, without the search for a smaller failure after the first."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutation", derandomize=True, deadline=None, max_examples=25, database=None,
        phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"

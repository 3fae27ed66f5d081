"""The mutation runner itself, on a module whose mutants' fates are known."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.mutation import store, swap
from tests.mutation.mutants import make
from tests.mutation.store import Judged, Verdict

pytest.importorskip("mutmut", reason="mutation testing needs .[mutation]", exc_type=ImportError)

FORM = '''
"""A module with one mutant of each fate."""

import functools

from toy import _check

SCALE = 2.0
TABLE = tuple(SCALE * n for n in range(3))


def guarded(function):
    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments)

    return call


@guarded
def total(a, b):
    """Add.

    >>> total(1, 1)
    2
    """
    if not _check.positive("a", a):
        raise ValueError(f"a must be positive, got {a}")
    return a + b


SUM = total(1, 1)


def size(a):
    return a if a > 0 else -a


def until(n):
    while n > 0:
        n -= 1
    return n


def alone(a):
    return a


def unused(a, b):
    return a * b


class Pair:
    def __init__(self, a, b=0):
        self.a, self.b = a, b

    @functools.cached_property
    def product(self):
        return self.a * self.b
'''
TESTS = """
from toy.form import Pair, alone, size, total, until


def test_total():
    assert total(2, 3) == 5


def test_size():
    assert size(-2) == size(2) == 2 and size(0) == 0


def test_until():
    assert until(3) == 0


def test_alone():
    assert alone(1) == 1


def test_pair():
    assert Pair(0, 3).product == 0
"""
EQUIVALENT = """
[[equivalent]]
function = 'size'
before = 'return a if a > 0 else -a'
after = 'return a if a >= 0 else -a'
reason = "At a = 0 both branches are zero, and elsewhere the two conditions agree."
"""
# What the command does, in another tree and with short limits.
DRIVER = """
import sys
from pathlib import Path
root, project = Path(sys.argv[1]), sys.argv[2]
sys.path[:0] = [str(root), project, project + "/scripts"]
from tests.mutation import forks, harness, scope, store
scope.ROOT, store.EQUIVALENT, harness.SPARE = root, root / "equivalent", 0.5
scope.GROUPS = (scope.Group("toy", ("toy/form.py",), ("judges",)),)
from tests.mutation import run
run.ROOT, run.PAGE = root, root / "mutation.md"
sys.exit(run.console.run(run.main, sys.argv[3:], "run.py"))
"""


@pytest.fixture(name="tree")
def _tree(tmp_path):
    files = {
        "toy/form.py": FORM,
        "toy/_check.py": "def positive(name, value):\n    return value > 0\n",
        "judges/test_form.py": TESTS,
        "equivalent/toy.form.toml": EQUIVALENT,
        "pytest.ini": "[pytest]\npythonpath = .\naddopts = --import-mode=importlib\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    return tmp_path


@pytest.fixture(name="form")
def _form(tree, monkeypatch):
    monkeypatch.syspath_prepend(str(tree))
    spec = importlib.util.spec_from_file_location("toy_form", tree / "toy/form.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "toy_form", module)
    spec.loader.exec_module(module)
    yield module
    for name in ("toy", "toy._check"):
        sys.modules.pop(name, None)


def afters(made, function):
    return {m.after for m in made.mutants if m.function == function}


def test_mutants_of_decorated_functions_but_not_of_messages(tree):
    made = make("toy/form.py", tree)
    assert "return a - b" in afters(made, "total")
    assert not any("positive" in text and "raise" in text for text in afters(made, "total"))
    assert 'if _check.positive("a", a):' in afters(made, "total")
    assert afters(made, "Pair.product") == {"return self.a / self.b"}
    assert "SCALE = 3.0" in afters(made, "<module>")
    assert made.messages == 4  # "XXaXX", "A" and None for the name, and an exception of None


def test_a_mutant_has_a_name_of_its_own(tree):
    made = make("toy/form.py", tree)
    assert len({m.name for m in made.mutants}) == len(made.mutants)
    assert len({m.key for m in made.mutants}) == len(made.mutants)
    lines = FORM.lstrip("\n").split("\n")
    for mutant in made.mutants:
        assert mutant.before.split("\n")[0].strip() in "\n".join(lines[mutant.line - 3 :])


def test_a_negative_length_of_a_reshape_is_no_mutant_but_a_shorter_shape_is(tmp_path):
    line = "return a.reshape(*a.shape[:-1], -1)"
    (tmp_path / "flat.py").write_text(f"def flat(a):\n    {line}\n", encoding="utf-8")
    made = make("flat.py", tmp_path)
    assert line.replace("[:-1]", "[:-2]") in afters(made, "flat")
    assert line.replace(", -1", ", +1") in afters(made, "flat")
    assert line.replace(", -1", ", -2") not in afters(made, "flat")
    assert made.same_code == 1


def test_a_baseline_holds_while_what_its_tests_reach_does(tree, monkeypatch):
    monkeypatch.setattr(store.scope, "ROOT", tree)
    group, name = store.scope.Group("toy", ("toy/form.py",), ("judges",)), "judges/test_form.py"

    def has():
        store.file_digest.cache_clear()
        return store.Baseline(group, tree / "cache").has(name)

    assert not has()
    seen = {f"{name}::test_total": store.Seen(True, 0.1, ["toy/form.py:total"])}
    store.Baseline(group, tree / "cache").put(name, seen)
    assert has()
    (tree / "toy/other.py").write_text("OTHER = 1\n", encoding="utf-8")
    assert has()
    (tree / "toy/form.py").write_text(FORM + "LAST = 1\n", encoding="utf-8")
    assert not has()
    store.file_digest.cache_clear()


def test_mutants_are_read_again_from_the_cache(tree):
    cache = tree / "cache"
    first = make("toy/form.py", tree, cache)
    assert make("toy/form.py", tree, cache) == first == make("toy/form.py", tree)


def test_a_mutant_takes_the_place_of_its_function_for_whoever_holds_it(form):
    held = form.total
    swap.put(form, "total", "def total(a, b):\n    return a - b\n")
    assert held(5, 3) == 2
    swap.put(form, "Pair.__init__", "def __init__(self, a, b=7):\n    self.a, self.b = a, b\n")
    assert form.Pair(2).product == 14
    swap.put(form, "Pair.product", "def product(self):\n    return self.a - self.b\n")
    assert form.Pair(2).product == -5


def test_a_function_that_is_not_there_is_no_kill(form):
    with pytest.raises((KeyError, LookupError)):
        swap.put(form, "absent", "def absent():\n    pass\n")


def test_constants_follow_what_they_are_computed_from(form):
    swap.put_statement(form, "SCALE = 3.0\n")
    assert (form.SCALE, form.TABLE) == (3.0, (0.0, 3.0, 6.0))
    assert form.SUM == 2
    swap.put(form, "total", "def total(a, b):\n    return a - b\n")
    swap.recompute(form, "total")
    assert form.SUM == 0


def run_in(tree, *arguments):
    project = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", DRIVER, str(tree), project, "--cache", str(tree / "cache")]
    environment = {k: v for k, v in os.environ.items() if k != "HYPOTHESIS_PROFILE"}
    return subprocess.run(
        [*command, *arguments], cwd=tree, env=environment, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def fates(tree):
    made = make("toy/form.py", tree)
    known = store._read(tree / "cache/toy.form.json")
    return {(m.function, m.after): known[m.key]["verdict"] for m in made.mutants}


@pytest.mark.slow
def test_every_fate(tree):
    done = run_in(tree, "--list-survivors", "--write")
    assert done.returncode == 1, done.stderr
    found = fates(tree)
    assert found["total", "return a - b"] == "killed"
    assert found["until", "    n += 1"[4:]] == "timeout"
    assert found["unused", "return a / b"] == "no tests"
    assert found["size", "return a if a >= 0 else -a"] == "survived"
    assert found["Pair.product", "return self.a / self.b"] == "survived"
    assert "after = 'return self.a / self.b'" in done.stdout
    assert "a >= 0" not in done.stdout  # listed as equivalent
    page = (tree / "mutation.md").read_text(encoding="utf-8")
    assert "At a = 0 both branches are zero" in page
    assert "100 %" not in page

    # A second run tries nothing; a better test finds the survivor alone.
    assert "(0 tried" in run_in(tree).stdout
    tests = tree / "judges/test_form.py"
    tests.write_text(TESTS.replace("Pair(0, 3).product == 0", "Pair(2, 3).product == 6"))
    run_in(tree)
    assert fates(tree)["Pair.product", "return self.a / self.b"] == "killed"


@pytest.mark.slow
def test_a_wrong_equivalent_is_refuted(tree):
    listed = tree / "equivalent/toy.form.toml"
    wrong = EQUIVALENT.replace("a >= 0 else -a", "a > 0 else +a")
    gone = EQUIVALENT.replace("'size'", "'total'")
    listed.write_text(EQUIVALENT + wrong + gone, encoding="utf-8")
    done = run_in(tree, "--list-survivors")
    assert "size: not equivalent" in done.stdout
    assert "total: no such mutant" in done.stdout


@pytest.mark.parametrize(
    "entry",
    ["function = 'f'\nbefore = 'a'\nafter = 'b'\nreason = ''",
     "function = 'f'\nbefore = 'a'\nreason = 'the same number in every case'",
     "function = 'f'\nbefore = 'a'\nafter = 'b'\nwhy = 'x'\nreason = 'the same in every case'"],
)  # fmt: skip
def test_an_equivalent_has_a_reason(tmp_path, entry):
    (tmp_path / "toy.form.toml").write_text(f"[[equivalent]]\n{entry}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="an entry must have"):
        store.equivalents("toy/form.py", tmp_path)


def test_verdicts_hold_while_their_tests_do(tree, monkeypatch):
    monkeypatch.setattr(store.scope, "ROOT", tree)
    group = store.scope.Group("toy", ("toy/form.py",), ("judges",))
    node = "judges/test_form.py::test_total"
    for cached in (store.file_digest, store.suite_digest):
        cached.cache_clear()
    results = store.Results("toy/form.py", group, tree / "cache")
    results.add(Judged("one", Verdict.KILLED, node, store.file_digest(node)))
    results.add(Judged("two", Verdict.SURVIVED))
    results.add(Judged("three", Verdict.UNDECIDED))
    results.save()
    again = store.Results("toy/form.py", group, tree / "cache")
    assert set(again.believed()) == {"one", "two"}
    (tree / "judges/test_more.py").write_text(textwrap.dedent("def test_more(): pass\n"))
    store.suite_digest.cache_clear()
    again = store.Results("toy/form.py", group, tree / "cache")
    assert set(again.believed()) == {"one"}
    for cached in (store.file_digest, store.suite_digest):
        cached.cache_clear()

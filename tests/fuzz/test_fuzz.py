"""Hostile input: a clear refusal or a right answer, from every public name and every script.

The default run tries a fixed share of what `tests/fuzz` knows; with `HYPOTHESIS_PROFILE=long` all
of it, and random values besides. `python tests/fuzz/run.py --examples 100000` goes on for longer
and reports how many inputs it tried.
"""

import inspect
import os
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analytic
import numerics
from analytic import softmax
from tests.fuzz import scripts, targets_analytic, targets_methods, targets_numerics
from tests.fuzz.oracle import Target, judge, memory_limit
from tests.fuzz.search import Findings, exhaust, try_one

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
EVERYTHING = [
    *targets_analytic.targets(), *targets_analytic.scalar_targets(),
    *targets_numerics.targets(), *targets_methods.targets(),
]  # fmt: skip


def test_every_public_function_has_valid_arguments_here():
    registries = (
        (analytic, {*targets_analytic.ANALYTIC, *targets_analytic.RECORDS}),
        (softmax, {*targets_analytic.SOFTMAX, *targets_analytic.RECORDS}),
        (numerics, {*targets_numerics.FUNCTIONS, *targets_numerics.RECORDS}),
    )
    for package, known in registries:
        assert set(package.__all__) <= known, package.__name__


def test_every_public_method_is_tried_or_internal():
    for name in numerics.__all__:
        kind = getattr(numerics, name)
        if not inspect.isclass(kind):
            continue
        known = set(targets_methods.CHECKED.get(name, (None, {}))[1])
        known |= set(targets_methods.KERNELS.get(name, (None, {}))[1])
        internal = targets_methods.INTERNAL_OF.get(name, set())
        known |= internal | targets_methods.INTERNAL
        methods = {m for m in dir(kind) if not m.startswith("_") and callable(getattr(kind, m))}
        assert "*" in internal or methods <= known, (name, methods - known)


@pytest.mark.parametrize(
    ("module", "share"),
    [(targets_analytic, 5), (targets_numerics, 11), (targets_methods, 4)],
    ids=["analytic", "numerics", "methods"],
)
def test_hostile_arguments_are_refused_or_answered(module, share):
    with memory_limit():
        findings = exhaust(module.targets(), Findings(), every=1 if LONG else share)
    assert findings.tried > 1000
    assert not findings.wrong, findings.report()


@given(st.sampled_from(EVERYTHING), st.data())
def test_random_arguments_are_refused_or_answered(target, data):
    findings = Findings()
    with memory_limit():
        try_one(target, data.draw, findings)
    assert not findings.wrong, findings.report()


def test_scripts_take_hostile_command_lines_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    wrong = {
        (script, *argv): verdict
        for script, argv in islice(scripts.commands(), 0, None, 1 if LONG else 11)
        if (verdict := scripts.run(script, argv)) is not None
    }
    assert not wrong


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a: float("nan"), "silent NaN"),
        (lambda a: [1.0, float("inf")], "silent inf"),
        (lambda a: a.fill(0.0), "writes into a"),
        (lambda a: {}["key"], "KeyError"),
        (lambda a: int("x"), "names no argument"),
        (lambda a: np.float64(1e308) * 10, "RuntimeWarning"),
    ],
)
def test_the_oracle_sees_what_is_wrong(call, words):
    target = Target("probe", call, lambda: {"a": np.ones(2)})
    assert words in judge(target, target.arguments())


def test_the_oracle_passes_what_is_right():
    def half(a):
        if np.isnan(a).any():
            raise ValueError("a must be finite")
        return a / 2

    target = Target("half", half, lambda: {"a": np.ones(2)})
    assert judge(target, {"a": np.ones(2)}, expected=np.full(2, 0.5)) is None
    assert judge(target, {"a": np.full(2, np.nan)}) is None
    assert "another answer" in judge(target, {"a": np.ones(2)}, expected=np.ones(2))

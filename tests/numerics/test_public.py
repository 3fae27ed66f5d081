"""What the package imports, and what it offers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import numerics

FOREIGN = ("analytic", "sympy", "matplotlib", "mpmath", "scipy", "tqdm", "gpu", "scripts")
ROOT = Path(numerics.__file__).parent.parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in Path(numerics.__file__).parent.rglob("*.py")
)


def loaded_after(statement):
    code = f"{statement}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(output.stdout)


def test_import_borrows_nothing():
    """Every module at once: the theory must not leak into what checks it, nor slow its import."""
    assert "numerics.integrate.krylov" in MODULES
    roots = {name.split(".")[0] for name in loaded_after(f"import {', '.join(MODULES)}")}
    assert "numpy" in roots
    assert not roots & set(FOREIGN)


def test_a_run_does_not_load_the_theory_either():
    program = (
        "from numerics import *; m = population_moments(LinearTask([[1.0]], 5)); "
        "a = MergedAttention(1, 1); r = gradient_flow(a, m, [0.1, 0.1], 1.0); "
        "find_plateaus(r); s = AttentionSystem(a, m); find_fixed_point(s, r.states[-1])"
    )
    roots = {name.split(".")[0] for name in loaded_after(program)}
    assert "scipy" in roots
    assert not roots & {"analytic", "sympy", "matplotlib", "gpu"}


def test_all_names_exist_are_sorted_and_documented():
    assert len(set(numerics.__all__)) == len(numerics.__all__)
    for name in numerics.__all__:
        thing = getattr(numerics, name)
        assert thing.__doc__, name
        assert thing.__module__.split(".")[0] == "numerics", name


def test_all_names_everything_public_that_is_imported():
    import types

    public = {
        name
        for name, value in vars(numerics).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(numerics.__all__)


@pytest.mark.parametrize("module", ["moments", "systems"])
def test_module_lists_name_what_exists(module):
    namespace = getattr(__import__(f"numerics.{module}"), module)
    assert all(hasattr(namespace, name) for name in namespace.__all__)

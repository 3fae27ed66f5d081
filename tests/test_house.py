"""The architecture and the documents: imports run one way, commands and links are current."""

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "analytic": {"numpy", "analytic"},
    "analytic/derivations": {"numpy", "sympy", "analytic"},
    "analytic/softmax": {"numpy", "analytic"},
    "numerics": {"numpy", "scipy", "numerics"},
    "numerics/cascade": {"numpy", "scipy", "numerics"},
    "numerics/integrate": {"numpy", "scipy", "numerics"},
    "numerics/layers": {"numpy", "numerics"},
    "numerics/softmax": {"numpy", "scipy", "numerics"},
    "numerics/training": {"numpy", "numerics"},
    "gpu": {"array_api_compat", "numpy", "numerics", "gpu"},
    "gpu/integrate": {"array_api_compat", "numpy", "numerics", "gpu"},
    "gpu/layers": {"array_api_compat", "numpy", "numerics", "gpu"},
}
EXTRA = {
    "numerics/strategies.py": {"hypothesis"},  # imported by tests alone
    # Inside the functions that need them:
    "analytic/_routes.py": {"sympy"},
    "analytic/expressions.py": {"sympy"},
    "numerics/_plot.py": {"matplotlib"},
}
STANDARD = set(__import__("sys").stdlib_module_names)


def imported(path):
    """Top-level names of the absolute imports in a file, wherever in it they stand."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names - STANDARD


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_run_one_way(folder):
    files = sorted((ROOT / folder).glob("*.py"))
    assert files
    for path in files:
        extra = EXTRA.get(path.relative_to(ROOT).as_posix(), set())
        assert imported(path) <= ALLOWED[folder] | extra, path


PACKAGES = ["analytic", "analytic.softmax", "numerics", "gpu"]


@pytest.mark.parametrize("package", PACKAGES)
def test_completion_shows_what_is_public(package):
    module = importlib.import_module(package)
    assert set(dir(module)) - {"softmax"} == set(module.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_hides_a_public_name(package):
    # Imported again, by a path or a reload, it would take the name's place in its package.
    public = set(importlib.import_module(package).__all__)
    modules = {path.stem for path in (ROOT / package.replace(".", "/")).glob("*.py")}
    assert not public & modules


def test_no_module_grows_beyond_a_room():
    long = {
        path.relative_to(ROOT): count
        for folder in ("analytic", "numerics", "gpu", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 330
    }
    assert not long


def test_readme_commands_are_marked_and_name_real_files():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for mark in ("<!-- verify command -->", "<!-- test command -->"):
        block = readme.split(mark)[1].split("```")[1]
        lines = [line for line in block.splitlines() if line.strip() and line.strip() != "sh"]
        assert len(lines) == 1, mark
    for script in set(re.findall(r"scripts/\w+\.py", readme)):
        assert (ROOT / script).is_file(), script
    for image in re.findall(r"!\[[^]]*\]\(([^)]+)\)", readme):
        assert (ROOT / image).is_file(), image


def test_version_is_the_same_everywhere():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")

"""The package is cheap to import and exports what it documents."""

import inspect
import subprocess
import sys
from pathlib import Path

import analytic

ROOT = Path(analytic.__file__).parents[1]


def test_import_is_cheap():
    code = (
        "import sys, analytic\n"
        "heavy = {'sympy', 'scipy', 'matplotlib', 'mpmath', 'numerics', 'gpu', 'scripts'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_all_equals_the_public_functions():
    public = {
        name
        for name, value in vars(analytic).items()
        if not name.startswith("_") and (inspect.isfunction(value) or inspect.isclass(value))
    }
    assert set(analytic.__all__) == public
    assert len(analytic.__all__) == len(set(analytic.__all__))


def test_every_public_function_of_a_module_is_exported():
    for path in Path(analytic.__file__).parent.glob("[a-z]*.py"):
        module = sys.modules.get(f"analytic.{path.stem}")
        if module is None:
            continue
        own = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__ == module.__name__
        }
        assert own <= set(analytic.__all__), path


def test_every_public_name_has_an_example():
    for name in analytic.__all__:
        doc = inspect.getdoc(getattr(analytic, name)) or ""
        assert ">>>" in doc or name == "GeneralModes", name

"""Rows of whole processes: import times, and all claims of `scripts/verify.py`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarking.base import Built, Entry, Growth, Row

ROOT = Path(__file__).resolve().parent.parent.parent


def rows(quick: bool) -> list[Row | Growth]:
    """Imports and claims."""
    return [imports(), verify(["L3"] if quick else [])]


def run(*arguments: str, most: int = 0) -> None:
    """A fresh interpreter in the repository's root.

    Raises
    ------
    CalledProcessError
        If its exit status is above `most`.
    """
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    if not 0 <= done.returncode <= most:
        done.check_returncode()


def imports() -> Row:
    """`python -c 'import …'`."""

    def entry(kind: str, code: str, *needs: str) -> Entry:
        return Entry(f"`{code}`", kind, lambda: Built(lambda: run("-c", code)), needs)

    return Row(
        "imports",
        "Import times",
        "a fresh interpreter that imports one package, its files in the system's cache",
        [
            *(entry("ours", f"import {name}") for name in ("analytic", "numerics", "gpu")),
            *(entry("theirs", f"import {name}", name) for name in ("jax", "torch", "numba")),
            entry("theirs", "import scipy.integrate"),
            entry("floor", "import numpy"),
            entry("floor", "pass"),
        ],
        repeats=7,
    )


def verify(only: list[str]) -> Row:
    """Every claim, quickly."""
    chosen = ["--only", *only] if only else []

    def claims() -> None:
        with tempfile.TemporaryDirectory() as folder:
            # A claim that fails (status 1) took its time as well; whether one does is not ours.
            run("scripts/verify.py", *chosen, "--out", folder, most=1)

    return Row(
        "verify",
        "All claims",
        f"`scripts/verify.py{' ' if chosen else ''}{' '.join(chosen)}`, report and pictures "
        "included, in a process of its own; nobody else does it",
        [
            Entry("`scripts/verify.py`", "ours", lambda: Built(claims)),
            Entry("importing NumPy, SciPy and Matplotlib", "floor", lambda: Built(libraries)),
        ],
        repeats=1,
    )


def libraries() -> None:
    """What the script cannot do without."""
    run("-c", "import numpy, scipy.integrate, scipy.optimize, matplotlib.pyplot")

"""What `sweep.py` is made of, and the same as a library: `from sweeping import sweep`.

Nothing is imported before it is asked for, so that NumPy finds its number of threads set.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "LinearCase": "case",
    "MergedCase": "case",
    "SoftmaxCase": "case",
    "case_of": "case",
    "expand": "grid",
    "eigenvalues_of": "spectra",
    "Limits": "run",
    "compute": "run",
    "Record": "store",
    "Store": "store",
    "Outcome": "drive",
    "sweep": "drive",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

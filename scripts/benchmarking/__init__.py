"""The rows of `scripts/benchmark.py`: ours, theirs and the floor, on the same work in one run."""

from __future__ import annotations

from benchmarking.base import Growth, Row

MODULES = ("functions", "flows", "many", "sampled", "processes", "growing")


def all_rows(quick: bool = False) -> list[Row | Growth]:
    """Every row, in the order of the table; nothing is built or imported before it is measured."""
    from importlib import import_module

    modules = (import_module(f"benchmarking.{name}") for name in MODULES)
    rows: list[Row | Growth] = []
    for module in modules:
        rows += module.rows(quick)
    return rows

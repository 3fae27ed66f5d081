"""What is mutated, and which tests judge it.

A kill is a failing test of the ordinary suite; a module's tests are those of its package and the
examples in the package's docstrings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Group:
    """Modules that the same tests judge.

    Attributes
    ----------
    name : str
        The package.
    modules : tuple of str
        Paths below the root.
    tests : tuple of str
        Files and folders that pytest collects.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]


def _under(folder: str, names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}.py" for name in names.split())


_ANALYTIC = _under(
    "analytic",
    "_generic _matrix _spectrum conventions fixed_points general in_context loss low_rank merged "
    "moments path scalar_flow separate stability",
)
_SOFTMAX_FORMS = _under(
    "analytic/softmax",
    "_heads _quotients _state _tasks allocation baselines bounds condensation emergence "
    "finite_dimension limit loss phases regimes single_head warmup",
)
_GRADIENTS = _under("numerics", "linearised merged mixture moments networks separate systems")
_LAYERS = _under("numerics/layers", "base features kernels kernels_several moments")
_QUADRATURE = _under(
    "numerics/softmax",
    "_quadrature decomposable exact heads optimum reduced saddle spectral",
)
_DEVICE = (
    *_under("gpu", "merged moments separate spectral"),
    *_under("gpu/layers", "kernels maps moments system"),
    *_under("gpu/integrate", "lu tableau"),
)

_PROPERTIES = tuple(
    f"tests/properties/test_{name}.py"
    for name in ("monotone", "ordering", "scaling", "scaling_softmax")
)
_STACKED = ("tests/properties/test_stack.py", "tests/properties/test_stack_batches.py")

GROUPS = (
    Group("analytic", _ANALYTIC + _SOFTMAX_FORMS, ("tests/analytic", *_PROPERTIES, "analytic")),
    Group(
        "numerics",
        _GRADIENTS + _LAYERS + _QUADRATURE,
        ("tests/numerics", "tests/properties", "numerics"),
    ),
    Group("gpu", _DEVICE, ("tests/gpu", *_STACKED, "gpu")),
)


def group_of(module: str) -> Group | None:
    """The group that holds a module."""
    return next((group for group in GROUPS if module in group.modules), None)

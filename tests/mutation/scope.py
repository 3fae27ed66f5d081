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
    left_out : tuple of str
        Files below those that are not collected.
    keywords : str
        pytest's -k.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    keywords: str = ""


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
_GRADIENTS = _under("numerics", "merged mixture moments networks separate systems")
_PRODUCTS = _under("numerics", "linearised")
_LAYERS = _under("numerics/layers", "base features kernels kernels_several moments")
_QUADRATURE = _under(
    "numerics/softmax",
    "_quadrature decomposable exact heads optimum reduced saddle spectral",
)
_BATCHED = (
    *_under("gpu", "merged moments separate spectral"),
    *_under("gpu/layers", "kernels maps moments system tensors"),
)
_STEPS = _under("gpu/integrate", "lu polynomials tableau")

_PROPERTIES = tuple(
    f"tests/properties/test_{name}.py"
    for name in ("monotone", "ordering", "scaling", "scaling_softmax")
)
_STACKED = ("tests/properties/test_stack.py", "tests/properties/test_stack_batches.py")
# A process of its own sees no mutant; PyTorch brings threads, which forks lose; and long flows take
# half a minute for what shorter ones show.
_UNFIT = tuple(
    f"tests/numerics/test_{name}.py"
    for name in (
        "cascade", "layer_autodiff", "numerics_endings", "numerics_house",
        "numerics_whole_cascade", "plot", "strategies", "training",
    )
)  # fmt: skip
_DERIVATIVES = _under(
    "tests/numerics",
    "test_numerics_mixture test_numerics_models test_numerics_moments test_numerics_networks",
)
_CALLS = _under(
    "tests/gpu",
    "test_models_attention test_models_jvp test_models_layers test_models_moments "
    "test_models_multitask test_models_spectral",
)
_WALKS = _under(
    "tests/gpu", "test_integrate_methods test_integrate_oracles test_integrate_stabilised"
)

GROUPS = (
    Group("analytic", _ANALYTIC + _SOFTMAX_FORMS, ("tests/analytic", *_PROPERTIES, "analytic")),
    Group(
        "numerics",
        _LAYERS + _QUADRATURE,
        ("tests/numerics", "tests/properties", "numerics"),
        _UNFIT,
    ),
    # Not whole flows: half a minute for what single calls and steps show.
    Group("numerics models", _GRADIENTS, (*_DERIVATIVES, *_GRADIENTS)),
    Group("numerics steps", _PRODUCTS, _under("tests/numerics", "test_numerics_large")),
    Group("gpu", _BATCHED, (*_CALLS, *_STACKED, *_BATCHED), keywords="not torch"),
    Group("gpu steps", _STEPS, (*_WALKS, "gpu/integrate"), keywords="not torch"),
)


def group_of(module: str) -> Group | None:
    """The group that holds a module."""
    return next((group for group in GROUPS if module in group.modules), None)

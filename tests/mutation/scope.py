"""What is mutated, and which tests judge it.

A kill is a failing test of the ordinary suite; a module's tests are those of its package that are
about it, and the examples in docstrings.
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
    keywords : str
        pytest's -k.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    keywords: str = ""


def _under(folder: str, names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}.py" for name in names.split())


_ANALYTIC = _under(
    "analytic",
    "_generic _matrix _spectrum conventions fixed_points general in_context low_rank merged "
    "moments path population scalar_flow separate stability",
)
_SOFTMAX_FORMS = _under(
    "analytic/softmax",
    "_heads _quotients _state _tasks allocation bounds limit loss phases single_head",
)
_SOFTMAX_TRAINING = _under(
    "analytic/softmax", "baselines condensation emergence finite_dimension regimes warmup"
)
_GRADIENTS = _under("numerics", "merged mixture moments networks separate systems")
_PRODUCTS = _under("numerics/integrate", "jacobian linearised")
_LAYERS = _under("numerics/layers", "base features kernels kernels_several moments")
_QUADRATURE = _under("numerics/softmax", "_quadrature")
_LOSS = _under("numerics/softmax", "exact")
_OPTIMUM = _under("numerics/softmax", "optimum")
_SPECTRAL = _under("numerics/softmax", "decomposable reduced saddle spectral")
_HEADS = _under("numerics/softmax", "heads")
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
_ORACLES = (
    "tests/analytic/test_oracles.py",
    *_under(
        "tests/analytic/softmax",
        "test_finite_dimension test_numbers test_proofs_flow test_kinds_training test_proofs_heads "
        "test_public test_trajectory",
    ),
)
_SHAPES = _under(
    "tests/numerics/layers",
    "test_attention test_features test_kernels test_lengths test_moments test_multitask",
)
_RULES = _under("tests/numerics/softmax", "test_quadrature")
_EXACT = _under("tests/numerics/softmax", "test_exact test_exact_error test_quadrature")
_BEST = _under("tests/numerics/softmax", "test_optimum test_optimum_search")
_FLOWS = _under("tests/numerics/softmax", "test_reduced test_spectral")
_OPTIMA = _under("tests/numerics/softmax", "test_heads test_heads_search")
_DERIVATIVES = _under(
    "tests/numerics", "test_mixture test_models test_moments test_networks test_types"
)
_CALLS = (
    *_under("tests/gpu", "test_attention test_jvp test_moments test_spectral"),
    *_under("tests/gpu/layers", "test_layers test_multitask"),
)
_WALKS = _under("tests/gpu/integrate", "test_methods test_oracles test_stabilised")

GROUPS = (
    Group("analytic", _ANALYTIC + _SOFTMAX_FORMS, ("tests/analytic", *_PROPERTIES, "analytic")),
    # Judged by the files that are about them: a survivor costs the sum of its tests.
    Group("softmax training", _SOFTMAX_TRAINING, (*_ORACLES, "analytic/softmax")),
    Group("layers", _LAYERS, (*_SHAPES, *_LAYERS)),
    Group("softmax quadrature", _QUADRATURE, _RULES),
    Group("softmax exact", _LOSS, (*_EXACT, *_LOSS)),
    Group("softmax optimum", _OPTIMUM, (*_BEST, *_OPTIMUM)),
    Group("softmax spectral", _SPECTRAL, (*_FLOWS, *_SPECTRAL)),
    Group("softmax heads", _HEADS, (*_OPTIMA, *_HEADS)),
    # Not whole flows: half a minute for what single calls and steps show.
    Group("numerics models", _GRADIENTS, (*_DERIVATIVES, *_GRADIENTS)),
    Group(
        "numerics steps",
        _PRODUCTS,
        _under("tests/numerics/integrate", "test_krylov"),
        keywords="precondition",
    ),
    Group("gpu", _BATCHED, (*_CALLS, *_STACKED, *_BATCHED), keywords="not torch"),
    Group("gpu steps", _STEPS, (*_WALKS, "gpu/integrate"), keywords="not torch"),
)


def group_of(module: str) -> Group | None:
    """The group that holds a module."""
    return next((group for group in GROUPS if module in group.modules), None)

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
_ORACLES = _under(
    "tests/analytic",
    "test_oracles test_softmax_finite_dimension test_softmax_numbers test_softmax_proofs_flow "
    "test_softmax_kinds_training test_softmax_proofs_heads test_softmax_public "
    "test_softmax_trajectory",
)
_SHAPES = _under(
    "tests/numerics",
    "test_layer test_layer_features test_layer_kernels test_layer_lengths test_layer_moments "
    "test_layer_multitask",
)
_RULES = _under("tests/numerics", "test_softmax_quadrature")
_EXACT = _under(
    "tests/numerics", "test_softmax_exact test_softmax_exact_error test_softmax_quadrature"
)
_BEST = _under("tests/numerics", "test_softmax_optimum test_softmax_optimum_search")
_FLOWS = _under("tests/numerics", "test_softmax_reduced test_softmax_spectral")
_OPTIMA = _under("tests/numerics", "test_softmax_heads test_softmax_heads_search")
_DERIVATIVES = _under(
    "tests/numerics",
    "test_numerics_mixture test_numerics_models test_numerics_moments test_numerics_networks "
    "test_numerics_types",
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
        _under("tests/numerics", "test_numerics_large"),
        keywords="precondition",
    ),
    Group("gpu", _BATCHED, (*_CALLS, *_STACKED, *_BATCHED), keywords="not torch"),
    Group("gpu steps", _STEPS, (*_WALKS, "gpu/integrate"), keywords="not torch"),
)


def group_of(module: str) -> Group | None:
    """The group that holds a module."""
    return next((group for group in GROUPS if module in group.modules), None)

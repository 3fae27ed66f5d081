"""Closed forms of the training dynamics of in-context learning in attention.

The formulas take floats, arrays of any library with ``__array_namespace__`` (others become
NumPy's), `fractions.Fraction`, mpmath numbers and SymPy symbols; what needs an order or an
eigenproblem, like `saddle_path` and `general_modes`, takes numbers only. `symbolic` and `to_latex`
give any formula in the papers' symbols. Loss L = E(ŷ − y_q)², without a ½; N counts context pairs;
flow τ dW/dt = −½ ∂L/∂W. The proofs are in `analytic.derivations`; nothing here imports SymPy before
it or an expression is asked for. [L] is Zhang, Singh, Latham, Saxe (2025), arXiv 2501.16265v2.

Each docstring states its accuracy: ``Accuracy: n eps`` bounds the relative error of a float64
result, of every entry, by n·2⁻⁵², or the error over the size that it names: terms of both signs
then cancel, and the condition of the problem sets the error. It holds while nothing on the way
overflows or underflows, and is checked against exact rationals and 50-digit numbers, for D up to
12, eigenvalues over 12 decades and down to 10⁻⁶⁰ (matrices: 12 decades on the axes and 3 off them,
`general_modes` up to D = 4), and N from 1 to 10⁹ and infinite: ``scripts/verify.py --precision``
tabulates it.

`analytic.softmax` holds multi-head softmax attention, [S], which has its own conventions.
"""

from . import softmax as softmax
from .conventions import Convention
from .expressions import symbolic, to_latex
from .fixed_points import (
    ansatz_weights,
    fixed_point_coefficients,
    fixed_point_loss,
    fixed_point_subsets,
    least_norm,
)
from .general import GeneralModes, general_modes, general_plateau_losses
from .in_context import (
    converged_prediction,
    in_context_weights,
    predict,
    principal_component_prediction,
)
from .low_rank import low_rank_velocity
from .merged import (
    aligned_velocity,
    escape_rate,
    escape_time,
    white_loss_curve,
    white_time_course,
)
from .moments import (
    effective_context_length,
    feature_eigenvalues,
    feature_second_moment,
    gaussian_fourth_moment,
    input_target_moment,
    token_second_moment,
)
from .path import saddle_path
from .population import minimum_loss, optimal_weights, population_loss
from .scalar_flow import learning_time, time_to_reach, value_velocity
from .separate import (
    mode_coefficients,
    mode_curvature,
    mode_gains,
    mode_growth,
    plateau_losses,
    visit_order,
)
from .stability import merged_zero_index, rotation_eigenvalues, stability_index

__all__ = [  # noqa: RUF022 - grouped by subject
    # moments and loss
    "input_target_moment",
    "gaussian_fourth_moment",
    "token_second_moment",
    "feature_second_moment",
    "feature_eigenvalues",
    "effective_context_length",
    "population_loss",
    "optimal_weights",
    "minimum_loss",
    # ATTN_M, merged key and query
    "white_time_course",
    "white_loss_curve",
    "escape_rate",
    "escape_time",
    "aligned_velocity",
    # ATTN_S, separate key and query: landscape
    "mode_growth",
    "mode_curvature",
    "mode_coefficients",
    "mode_gains",
    "visit_order",
    "saddle_path",
    "plateau_losses",
    "fixed_point_subsets",
    "fixed_point_coefficients",
    "fixed_point_loss",
    "ansatz_weights",
    "least_norm",
    # ATTN_S: one head on one mode, and rank R
    "value_velocity",
    "time_to_reach",
    "learning_time",
    "low_rank_velocity",
    # stability of the fixed points
    "stability_index",
    "rotation_eigenvalues",
    "merged_zero_index",
    # tokens and tasks that do not commute
    "GeneralModes",
    "general_modes",
    "general_plateau_losses",
    # what is computed in context
    "in_context_weights",
    "predict",
    "principal_component_prediction",
    "converged_prediction",
    # SymPy and LaTeX
    "symbolic",
    "to_latex",
    # units
    "Convention",
]


def __dir__() -> list[str]:
    return [*__all__, "softmax"]

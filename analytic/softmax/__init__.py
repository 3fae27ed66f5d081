"""Closed forms of multi-head softmax attention that learns several regression tasks in context.

Conventions, everywhere: d_i `block_dims`, λ_i `signal` per coordinate, L `context_length`,
σ `noise`; φ_i = 1 + σ²/(λ_i d_i), c_i = φ_i d_i/L. The loss is Σ_i E(ŷ_i − g_iᵀq)², without ½,
summed over tasks, without the query's label noise. Time is that of the flow dθ/dt = −∂ℓ/∂θ on the
individual weights. The proofs are in `analytic.derivations`, modules ``softmax_*``. [S] is Chen,
Sheen, Wang, Yang (2024), arXiv 2402.19442; its full text was not at hand, and every form is derived
here.
"""

from .allocation import allocated_loss, separation, separation_limit
from .baselines import Resolvent, bayes_risk, marchenko_pastur_moments, ridge_risk
from .bounds import equiangular_allocation, equiangular_budget, lower_bound, optimality_ratio
from .condensation import condensed_participation, rare_participation
from .emergence import convergence_rate, emergence_velocity, equilibrium_value
from .finite_dimension import (
    dimension_coefficient,
    dimension_correction,
    long_context_loss,
    long_context_optimum_loss,
    long_context_squared_norm,
)
from .limit import (
    LimitWeights,
    generalised_loss,
    limit_escape_rate,
    limit_loss,
    limit_weights,
    optimality_factor,
    task_limit_losses,
)
from .loss import (
    first_order_loss,
    linear_attention_loss,
    noise_factor,
    spectral_gradient,
    spectral_loss,
)
from .phases import balanced_velocity, neglected_share, training_phase
from .regimes import (
    ParticipationBranches,
    SaturationScale,
    hermite_error,
    hermite_gain,
    hermite_response,
    participation_branches,
    participation_exponent,
    saturation_scale,
)
from .single_head import SingleHead, allocation_loss, single_head_optimum, water_filling
from .warmup import (
    WarmUp,
    WarmUpEnd,
    blow_up_time,
    warmup_end,
    warmup_invariant,
    warmup_time,
    warmup_time_course,
)

__all__ = [  # noqa: RUF022 - grouped by subject
    # loss
    "noise_factor",
    "spectral_loss",
    "spectral_gradient",
    "first_order_loss",
    "linear_attention_loss",
    # limit of the flow
    "LimitWeights",
    "limit_weights",
    "task_limit_losses",
    "limit_loss",
    "generalised_loss",
    "optimality_factor",
    "limit_escape_rate",
    # long contexts at finite dimension
    "long_context_loss",
    "long_context_squared_norm",
    "long_context_optimum_loss",
    "dimension_correction",
    "dimension_coefficient",
    # phases of training
    "WarmUp",
    "WarmUpEnd",
    "balanced_velocity",
    "warmup_invariant",
    "warmup_time_course",
    "warmup_time",
    "blow_up_time",
    "neglected_share",
    "warmup_end",
    "equilibrium_value",
    "emergence_velocity",
    "convergence_rate",
    "training_phase",
    # one head, several heads, lower bound
    "SingleHead",
    "water_filling",
    "allocation_loss",
    "single_head_optimum",
    "allocated_loss",
    "separation",
    "separation_limit",
    "equiangular_allocation",
    "equiangular_budget",
    "lower_bound",
    "optimality_ratio",
    # nonlinear tasks and saturation
    "hermite_response",
    "hermite_gain",
    "hermite_error",
    "SaturationScale",
    "saturation_scale",
    "participation_exponent",
    "ParticipationBranches",
    "participation_branches",
    "rare_participation",
    "condensed_participation",
    # ridge regression and Bayes
    "Resolvent",
    "marchenko_pastur_moments",
    "ridge_risk",
    "bayes_risk",
]


def __dir__() -> list[str]:
    return [*__all__]

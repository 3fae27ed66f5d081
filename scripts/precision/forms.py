"""All oracles, by subject; importing this module registers them."""

from precision import (
    general,
    heads,
    matrices,
    modes,
    softmax_bounds,
    softmax_losses,
    softmax_regimes,
    softmax_training,
)

SUBJECTS = (
    modes,
    matrices,
    general,
    heads,
    softmax_losses,
    softmax_training,
    softmax_bounds,
    softmax_regimes,
)

# Public functions whose values are those of other public functions, as expressions.
SYMBOLIC = ("symbolic", "to_latex")

# Public names without a value of their own: results of the functions that have oracles.
CONTAINERS = (
    "GeneralModes",
    "softmax.LimitWeights",
    "softmax.ParticipationBranches",
    "softmax.Resolvent",
    "softmax.SaturationScale",
    "softmax.SingleHead",
    "softmax.WarmUp",
    "softmax.WarmUpEnd",
)

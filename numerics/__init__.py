"""The world the theory speaks of: tasks, moments, attention layers, gradients and flows.

Everything is hand-written NumPy; nothing here imports the closed forms that it serves to check.
Conventions: loss L = E(ŷ − y_q)² without ½, flow τ dθ/dt = −½ ∂L/∂θ, N counts context pairs.
"""

from numerics.cascade import Cascade, reduced_cascade, task_cascade
from numerics.descent import gradient_descent
from numerics.drops import (
    MeasuredPlateaus,
    crossing_times,
    drop_times,
    dwell_times,
    find_plateaus,
)
from numerics.flow import gradient_flow, system_flow
from numerics.layers.attention import AttentionLayer
from numerics.layers.moments import (
    LayerMomentsSystem,
    LinearLayerMoments,
    layer_features,
    linear_layer_moments,
)
from numerics.layers.system import LayerSystem
from numerics.layers.tokens import token_blocks, tokens_of
from numerics.merged import MergedAttention
from numerics.moments import (
    DenseMoments,
    DiagonalMoments,
    FactoredMoments,
    dense_moments,
    matrix_loss,
    minimiser,
    moments_of_sequences,
    population_moments,
    sample_moments,
)
from numerics.networks import ConvolutionalNetwork, TwoLayerNetwork
from numerics.sampling import Sequences, antithetic, sample_chunks, sample_sequences
from numerics.separate import SeparateAttention
from numerics.stability import Stability, find_fixed_point, stability
from numerics.stationary import stationary_loss
from numerics.systems import AttentionSystem, gradient, loss, predict
from numerics.tasks import LinearTask, TokenTask, random_rotation
from numerics.trajectory import Trajectory
from numerics.whole_layer import WholeLinearLayer

__all__ = [
    "AttentionLayer",
    "AttentionSystem",
    "Cascade",
    "ConvolutionalNetwork",
    "DenseMoments",
    "DiagonalMoments",
    "FactoredMoments",
    "LayerMomentsSystem",
    "LayerSystem",
    "LinearLayerMoments",
    "LinearTask",
    "MeasuredPlateaus",
    "MergedAttention",
    "SeparateAttention",
    "Sequences",
    "Stability",
    "TokenTask",
    "Trajectory",
    "TwoLayerNetwork",
    "WholeLinearLayer",
    "antithetic",
    "crossing_times",
    "dense_moments",
    "drop_times",
    "dwell_times",
    "find_fixed_point",
    "find_plateaus",
    "gradient",
    "gradient_descent",
    "gradient_flow",
    "layer_features",
    "linear_layer_moments",
    "loss",
    "matrix_loss",
    "minimiser",
    "moments_of_sequences",
    "population_moments",
    "predict",
    "random_rotation",
    "reduced_cascade",
    "sample_chunks",
    "sample_moments",
    "sample_sequences",
    "stability",
    "stationary_loss",
    "system_flow",
    "task_cascade",
    "token_blocks",
    "tokens_of",
]

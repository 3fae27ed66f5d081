"""The world the theory speaks of: tasks, moments, attention layers, gradients and flows.

Everything is hand-written NumPy; nothing here imports the closed forms that it serves to check.
Conventions: loss L = E(ŷ − y_q)² without ½, flow τ dθ/dt = −½ ∂L/∂θ, N counts context pairs.
`__all__` lists what is public by subject. Not imported here, as it needs Hypothesis:
`numerics.strategies`, which draws tasks, spectra and weights for tests.
"""

from numerics.cascade.record import Cascade
from numerics.cascade.reduced import reduced_cascade, task_cascade
from numerics.descent import gradient_descent
from numerics.drops import (
    MeasuredPlateaus,
    crossing_times,
    drop_times,
    dwell_times,
    find_plateaus,
)
from numerics.fixed_points import Stability, find_fixed_point, stability
from numerics.flow import gradient_flow, system_flow
from numerics.layers.attention import AttentionLayer
from numerics.layers.base import Layer
from numerics.layers.moments import (
    LayerMomentsSystem,
    LinearLayerMoments,
    extra_blocks,
    layer_features,
    linear_layer_moments,
    pool_layer_moments,
    reduced_moments,
)
from numerics.layers.multitask import MultiTaskLayer
from numerics.layers.system import LayerSystem
from numerics.layers.tokens import token_blocks, tokens_of
from numerics.merged import MergedAttention
from numerics.mixture import mixture_covariance, mixture_vectors
from numerics.moments import (
    DenseMoments,
    DiagonalMoments,
    FactoredMoments,
    dense_moments,
    matrix_loss,
    minimiser,
    moments_of_sequences,
    pool_moments,
    population_moments,
    sample_moments,
)
from numerics.multitask import MultiTask, sample_multitask
from numerics.networks import ConvolutionalNetwork, TwoLayerNetwork
from numerics.sampling import Sequences, antithetic, sample_chunks, sample_sequences
from numerics.separate import SeparateAttention
from numerics.softmax.baselines import (
    RiskEstimate,
    bayes_risk_monte_carlo,
    ridge_risk_monte_carlo,
    wishart_eigenvalues,
)
from numerics.softmax.decomposable import SpectralAttention
from numerics.softmax.exact import (
    AttentionMoments,
    ExactLoss,
    attention_moments,
    exact_loss,
    exact_task_loss,
)
from numerics.softmax.heads import HeadsOptimum, optimal_heads
from numerics.softmax.monte_carlo import LossEstimate, icl_loss_monte_carlo
from numerics.softmax.optimum import ExactOptimum, exact_optimum
from numerics.softmax.reduced import ReducedHead, ReducedRun
from numerics.softmax.saddle import balanced_stability, unbalanced
from numerics.softmax.spectral import SpectralSystem, spectral_flow
from numerics.stationary import stationary_loss
from numerics.systems import AttentionSystem, gradient, loss, predict
from numerics.tasks import LinearTask, TokenTask, random_rotation
from numerics.training.batches import FreshBatches, Minibatches
from numerics.training.optimisers import Adam, GradientDescent, Momentum
from numerics.training.record import TrainingRun, linear_grid, log_grid
from numerics.training.schedules import Constant, Cosine, StepDecay
from numerics.training.train import train
from numerics.trajectory import Trajectory

__all__ = [  # noqa: RUF022 - grouped by subject
    # tasks, tokens and samples
    "LinearTask",
    "TokenTask",
    "MultiTask",
    "mixture_covariance",
    "mixture_vectors",
    "random_rotation",
    "Sequences",
    "sample_sequences",
    "sample_chunks",
    "sample_multitask",
    "antithetic",
    # moments, and the loss as a function of M
    "population_moments",
    "sample_moments",
    "moments_of_sequences",
    "pool_moments",
    "FactoredMoments",
    "DiagonalMoments",
    "DenseMoments",
    "dense_moments",
    "matrix_loss",
    "minimiser",
    # linear attention and its networks: models, loss, gradient
    "MergedAttention",
    "SeparateAttention",
    "TwoLayerNetwork",
    "ConvolutionalNetwork",
    "AttentionSystem",
    "loss",
    "gradient",
    "predict",
    # flows and descent on the population
    "gradient_flow",
    "gradient_descent",
    "system_flow",
    "Trajectory",
    "Cascade",
    "reduced_cascade",
    "task_cascade",
    # reading a run
    "find_plateaus",
    "MeasuredPlateaus",
    "drop_times",
    "crossing_times",
    "dwell_times",
    # fixed points
    "find_fixed_point",
    "stability",
    "Stability",
    "stationary_loss",
    # whole layers, linear or softmax
    "Layer",
    "AttentionLayer",
    "MultiTaskLayer",
    "LayerSystem",
    "tokens_of",
    "token_blocks",
    "extra_blocks",
    "layer_features",
    "linear_layer_moments",
    "pool_layer_moments",
    "reduced_moments",
    "LinearLayerMoments",
    "LayerMomentsSystem",
    # training on samples
    "train",
    "TrainingRun",
    "FreshBatches",
    "Minibatches",
    "GradientDescent",
    "Momentum",
    "Adam",
    "Constant",
    "Cosine",
    "StepDecay",
    "linear_grid",
    "log_grid",
    # softmax heads on several tasks: spectral flow, reduced head, saddle
    "SpectralAttention",
    "SpectralSystem",
    "spectral_flow",
    "ReducedHead",
    "ReducedRun",
    "balanced_stability",
    "unbalanced",
    # softmax heads: exact loss, best heads, Monte Carlo, baselines
    "exact_loss",
    "exact_task_loss",
    "ExactLoss",
    "attention_moments",
    "AttentionMoments",
    "exact_optimum",
    "ExactOptimum",
    "optimal_heads",
    "HeadsOptimum",
    "icl_loss_monte_carlo",
    "LossEstimate",
    "ridge_risk_monte_carlo",
    "bayes_risk_monte_carlo",
    "RiskEstimate",
    "wishart_eigenvalues",
]


def __dir__() -> list[str]:
    return [*__all__]

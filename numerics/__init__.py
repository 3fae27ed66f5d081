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
from numerics.stability import Stability, find_fixed_point, stability
from numerics.stationary import stationary_loss
from numerics.systems import AttentionSystem, gradient, loss, predict
from numerics.tasks import LinearTask, TokenTask, random_rotation
from numerics.training.batches import FreshBatches, Minibatches
from numerics.training.optimisers import Adam, GradientDescent, Momentum
from numerics.training.record import TrainingRun, linear_grid, log_grid
from numerics.training.schedules import Constant, Cosine, StepDecay
from numerics.training.train import train
from numerics.trajectory import Trajectory

__all__ = [
    "Adam",
    "AttentionLayer",
    "AttentionMoments",
    "AttentionSystem",
    "Cascade",
    "Constant",
    "ConvolutionalNetwork",
    "Cosine",
    "DenseMoments",
    "DiagonalMoments",
    "ExactLoss",
    "ExactOptimum",
    "FactoredMoments",
    "FreshBatches",
    "GradientDescent",
    "HeadsOptimum",
    "Layer",
    "LayerMomentsSystem",
    "LayerSystem",
    "LinearLayerMoments",
    "LinearTask",
    "LossEstimate",
    "MeasuredPlateaus",
    "MergedAttention",
    "Minibatches",
    "Momentum",
    "MultiTask",
    "MultiTaskLayer",
    "ReducedHead",
    "ReducedRun",
    "RiskEstimate",
    "SeparateAttention",
    "Sequences",
    "SpectralAttention",
    "SpectralSystem",
    "Stability",
    "StepDecay",
    "TokenTask",
    "TrainingRun",
    "Trajectory",
    "TwoLayerNetwork",
    "antithetic",
    "attention_moments",
    "balanced_stability",
    "bayes_risk_monte_carlo",
    "crossing_times",
    "dense_moments",
    "drop_times",
    "dwell_times",
    "exact_loss",
    "exact_optimum",
    "exact_task_loss",
    "extra_blocks",
    "find_fixed_point",
    "find_plateaus",
    "gradient",
    "gradient_descent",
    "gradient_flow",
    "icl_loss_monte_carlo",
    "layer_features",
    "linear_grid",
    "linear_layer_moments",
    "log_grid",
    "loss",
    "matrix_loss",
    "minimiser",
    "mixture_covariance",
    "mixture_vectors",
    "moments_of_sequences",
    "optimal_heads",
    "pool_layer_moments",
    "pool_moments",
    "population_moments",
    "predict",
    "random_rotation",
    "reduced_cascade",
    "reduced_moments",
    "ridge_risk_monte_carlo",
    "sample_chunks",
    "sample_moments",
    "sample_multitask",
    "sample_sequences",
    "spectral_flow",
    "stability",
    "stationary_loss",
    "system_flow",
    "task_cascade",
    "token_blocks",
    "tokens_of",
    "train",
    "unbalanced",
    "wishart_eigenvalues",
]

"""Properties that hold for every task, model and state, on examples that Hypothesis draws.

What they are drawn from is `numerics.strategies`, which has tests of its own.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numerics import (
    AttentionSystem,
    MergedAttention,
    TokenTask,
    dense_moments,
    gradient,
    gradient_flow,
    loss,
    matrix_loss,
    minimiser,
    population_moments,
    stability,
    strategies,
)
from tests.numerics.support import EPS, assert_same, permuted_heads

seeds, tasks = strategies.seeds(), strategies.linear_tasks() | strategies.token_tasks()


@st.composite
def trained(draw, tasks=tasks, scale=0.5):
    """A task's moments, a model of its dimension and a state of order `scale`."""
    task = draw(tasks)
    model = draw(strategies.linear_models(task.dimension))
    theta = scale * np.random.default_rng(draw(seeds)).standard_normal(model.size)
    return population_moments(task), model, theta


@given(trained())
def test_no_loss_is_below_the_minimum(case):
    moments, model, theta = case
    least = matrix_loss(moments, minimiser(moments))
    value = loss(model, moments, theta)
    assert value >= least - 100 * EPS * (moments.energy + value)


@given(tasks)
def test_the_minimum_is_between_nothing_and_the_energy(task):
    moments = population_moments(task)
    best = minimiser(moments)
    least = float(matrix_loss(moments, best))
    # L(M*) = energy − ⟨C, M*⟩, and E[zzᵀ] positive definite makes the second term positive.
    assert -1e-12 * moments.energy <= least <= moments.energy
    assert least == pytest.approx(moments.energy - np.sum(moments.correlation * best), abs=1e-11)
    assert np.abs(moments.residual(best)).max() <= 1e-12 * np.abs(moments.correlation).max()


@given(tasks)
def test_longer_contexts_and_less_noise_never_hurt(task):
    """S − ΛΩΛ is (E[1/N]) times a positive matrix: half of E[1/N], or σ = 0, lowers L(M*)."""

    def least(length, noise):
        data = task.tokens if isinstance(task, TokenTask) else task.covariance
        other = population_moments(type(task)(data, length, task.task_covariance, noise))
        return float(matrix_loss(other, minimiser(other)))

    value, slack = least(task.context_length, task.noise), 1e-11
    assert least([2 * n for n in task.lengths], task.noise) <= value + slack
    assert least(task.context_length, 0.0) <= value + slack


@given(tasks)
def test_moments_are_those_of_a_distribution(task):
    moments = population_moments(task)
    S = np.linalg.eigvalsh(moments.second_moment)
    assert S.min() > 0
    # E[ββᵀ] ⪰ E[βwᵀ] E[wwᵀ]⁻¹ E[wβᵀ] = ΛΩΛ, whatever the tokens.
    excess = np.linalg.eigvalsh(moments.second_moment - moments.correlation)
    assert excess.min() >= -100 * EPS * S.max()
    # Cauchy–Schwarz: E[y_q z] cannot exceed what E[y_q²] and E[zzᵀ] allow.
    dense = dense_moments(moments)
    c = dense.correlation.T.ravel()
    assert c @ np.linalg.solve(dense.feature_moment, c) <= moments.energy * (1 + 1e-11)


@given(trained())
def test_loss_and_gradient_do_not_depend_on_the_basis(case):
    moments, model, theta = case
    form, left, right = moments.eigenform()
    turned = model.rotate(theta, left, right)
    assert_same(loss(model, form, turned), loss(model, moments, theta), 2000)
    size = max(1.0, float(loss(model, moments, theta)))
    gap = gradient(model, form, turned) - model.rotate(gradient(model, moments, theta), left, right)
    assert np.abs(gap).max() < 1e-12 * size


@given(trained(), seeds)
def test_heads_have_no_order(case, seed):
    moments, model, theta = case
    order = np.random.default_rng(seed).permutation(model.heads)
    other = permuted_heads(model, theta, order)
    assert_same(loss(model, moments, other), loss(model, moments, theta))
    moved = permuted_heads(model, gradient(model, moments, theta), order)
    assert np.abs(gradient(model, moments, other) - moved).max() <= 1e-12 * max(
        1.0, np.abs(moved).max()
    )


@given(trained(), seeds)
def test_the_jacobian_is_symmetric_and_the_jvp_is_its_product(case, seed):
    moments, model, theta = case
    system = AttentionSystem(model, moments)
    direction = np.random.default_rng(seed).standard_normal(model.size)
    jacobian = system.jacobian(theta)
    scale = np.abs(jacobian).max() * np.abs(direction).max() * model.size
    assert np.abs(jacobian - jacobian.T).max() <= 100 * EPS * np.abs(jacobian).max()
    assert np.abs(jacobian @ direction - system.jvp(theta, direction)).max() <= 100 * EPS * scale


@given(trained())
def test_a_taylor_step_along_the_gradient(case):
    """L(θ + hg) − L(θ − hg) = 2h‖g‖² + O(h³): the gradient from values of the loss alone."""
    moments, model, theta = case
    g = gradient(model, moments, theta)
    square = float(g @ g)
    h = 1e-4 / (1 + np.linalg.norm(g))
    rise = float(loss(model, moments, theta + h * g) - loss(model, moments, theta - h * g))
    # Third derivatives are at most some hundred here, and h‖g‖ ≤ 1e-4; rounding is eps·L/h.
    slack = 1e-6 * square + 1e-9 * (1 + float(loss(model, moments, theta)))
    assert rise / (2 * h) == pytest.approx(square, rel=1e-4, abs=slack)


@settings(max_examples=12)
@given(trained(scale=0.3))
def test_short_flows_conserve_and_descend(case):
    moments, model, theta = case
    run = gradient_flow(model, moments, theta, 2.0)
    assert run.status == "finished"
    # rtol = 1e-8 on weights of order one and some fifty steps.
    assert run.invariant_drift.max() < 1e-6
    assert np.abs(run.energy_gap).max() < 1e-6
    assert np.diff(run.loss).max() <= 1e-8
    assert run.loss[-1] >= matrix_loss(moments, minimiser(moments)) - 1e-12


@settings(max_examples=8)
@given(trained(scale=0.3), seeds)
def test_flows_commute_with_rotation_and_renumbering(case, seed):
    moments, model, theta = case
    form, left, right = moments.eigenform()
    order = np.random.default_rng(seed).permutation(model.heads)
    a = gradient_flow(model, moments, theta, 1.5).states[-1]
    turned = permuted_heads(model, model.rotate(theta, left, right), order)
    b = gradient_flow(model, form, turned, 1.5).states[-1]
    assert np.abs(permuted_heads(model, model.rotate(a, left, right), order) - b).max() < 1e-6


@settings(max_examples=10)
@given(strategies.linear_tasks(), st.integers(1, 4))
def test_zero_of_merged_attention_escapes_once_per_head(task, heads):
    moments = population_moments(task)
    model = MergedAttention(task.dimension, heads)
    result = stability(AttentionSystem(model, moments), np.zeros(model.size))
    assert result.index == heads
    assert result.escape_rate == pytest.approx(np.linalg.norm(moments.correlation), rel=1e-12)


@given(trained())
def test_strategy_trained(case):
    moments, model, theta = case
    assert model.dimension == len(moments.correlation)
    assert theta.shape == (model.size,)

"""Bayes ≤ lower bound ≤ any attained loss, and plateaus that fall strictly to the minimum."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import analytic
from analytic import softmax
from numerics import (
    AttentionSystem,
    MergedAttention,
    MultiTask,
    SpectralSystem,
    bayes_risk_monte_carlo,
    dense_moments,
    exact_loss,
    gradient_descent,
    gradient_flow,
    loss,
    matrix_loss,
    minimiser,
    population_moments,
    spectral_flow,
    strategies,
)

from .forms import SOFTMAX_LOSSES, at_thrice_the_length, bayes, keywords, single_head_loss
from .support import EPS, rejects, share

lengths, noises = st.floats(1.0, 1e4), strategies.noises(5.0)
spectra = strategies.spectrum_pairs(strategies.dimensions(6), smallest=0.05, largest=20.0)
tasks = strategies.linear_tasks() | strategies.token_tasks()
parameters = strategies.multi_task_parameters()


def check_plateaus(plateaus, spectrum, length, noise):
    """From tr(ΩΛ), strictly down, to a loss above 0."""
    lam, omega = spectrum
    losses = plateaus(lam, length, **keywords(omega, noise))
    assert math.isclose(losses[0], lam @ omega, rel_tol=1e-14)
    assert np.all(np.diff(losses) < 0)
    assert losses[-1] > 0


@given(spectra, lengths, noises)
def test_plateaus_fall_strictly_from_the_trace_and_stay_positive(spectrum, length, noise):
    check_plateaus(analytic.plateau_losses, spectrum, length, noise)


def test_plateaus_of_unsquared_gains_are_rejected():
    def wrong(lam, length, *, task_eigenvalues, noise):
        keys = keywords(task_eigenvalues, noise)
        gains = analytic.mode_growth(lam) / analytic.mode_curvature(lam, length, **keys)
        return lam @ task_eigenvalues - np.concatenate([[0.0], np.cumsum(gains)])

    rejects(lambda *x: check_plateaus(wrong, *x), spectra, lengths, noises)


@given(st.data(), spectra, lengths, noises)
def test_visited_points_are_fixed_points_and_more_modes_mean_less_loss(
    data, spectrum, length, noise
):
    lam, omega = spectrum
    keys = keywords(omega, noise)
    losses = analytic.plateau_losses(lam, length, **keys)
    order = analytic.visit_order(lam, task_eigenvalues=omega)
    for m in range(lam.size + 1):
        mask = np.isin(np.arange(lam.size), order[:m])
        one = analytic.fixed_point_loss(mask, lam, length, **keys)
        assert math.isclose(one, losses[m], rel_tol=1e-14)
    mask = data.draw(strategies.subsets(lam.size))
    more = mask | data.draw(strategies.subsets(lam.size))
    some = analytic.fixed_point_loss(mask, lam, length, **keys)
    assert losses[-1] * (1 - 20 * EPS) <= analytic.fixed_point_loss(more, lam, length, **keys)
    assert (analytic.fixed_point_loss(more, lam, length, **keys) < some) == (more != mask).any()


@given(spectra, lengths, noises)
def test_every_path_falls_and_ends_at_the_minimum(spectrum, length, noise):
    lam, omega = spectrum
    keys = keywords(omega, noise)
    path = analytic.saddle_path(lam, length, **keys)
    losses = analytic.fixed_point_loss(path, lam, length, **keys)
    assert path[0].sum() == 0
    assert path[-1].all()
    # Gains that differ by rounding alone may leave the loss where it is.
    assert np.all(np.diff(losses) <= 1e-13 * losses[0])
    index = analytic.stability_index(path[[0, -1]], lam, length, **keys)
    assert index.tolist() == [0, 0]


@given(spectra, lengths)
def test_visited_points_are_stable_to_second_order_for_isotropic_tasks(spectrum, length):
    lam = np.unique(spectrum[0])[::-1]
    if np.any(np.diff(lam) > -1e-9):
        return
    for m in range(lam.size + 1):
        mask = np.arange(lam.size) < m
        assert analytic.stability_index(mask, lam, length) == 0


@given(tasks)
def test_plateaus_of_any_task_fall_to_its_minimum(task):
    moments = population_moments(task)
    given_task = {"task_covariance": task.task_covariance}
    arrays = task.covariance, moments.second_moment
    losses = analytic.general_plateau_losses(*arrays, **given_task)
    least = analytic.minimum_loss(*arrays, **given_task)
    # κ(Λ)κ(S) <= 10⁴ for these spectra, times some ten roundings of the energy.
    slack = 1e5 * EPS * moments.energy
    assert abs(losses[0] - moments.energy) <= slack
    assert abs(losses[-1] - least) <= slack
    assert np.all(np.diff(losses) < 0)
    assert least > -slack


@given(st.data(), tasks)
def test_no_loss_is_below_the_minimum(data, task):
    moments = population_moments(task)
    model = data.draw(strategies.linear_models(task.dimension))
    theta = data.draw(strategies.weights(model))
    best = minimiser(moments)
    least, value = float(matrix_loss(moments, best)), float(loss(model, moments, theta))
    assert value >= least - 100 * EPS * (moments.energy + value)
    # L(M*) = energy − ⟨C, M*⟩, and E[zzᵀ] positive definite makes the second term positive.
    assert -1e-12 * moments.energy <= least <= moments.energy
    assert least == pytest.approx(moments.energy - np.sum(moments.correlation * best), abs=1e-11)
    assert np.abs(moments.residual(best)).max() <= 1e-12 * np.abs(moments.correlation).max()
    descent = gradient_descent(AttentionSystem(model, moments), theta, 5, 1e-3)
    assert descent.loss.min() >= least - 100 * EPS * (moments.energy + value)


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


def check_bounds(lowest, bound, parameters):
    """Bayes < lower bound of any number of heads <= what is attained, and <= Σ λd."""
    dims, signal, length, noise = parameters
    arrays, slack = (dims, signal, length), 1 + 60 * EPS
    bounds = [bound(*arrays, h, noise=noise) for h in range(1, len(dims) + 3)]
    least, energy = lowest(*arrays, noise=noise), float(np.dot(dims, signal))
    assert least < bounds[-1]
    limit = softmax.limit_loss(*arrays, noise=noise)
    alone = single_head_loss(*arrays, noise=noise)
    assert all(b <= a * slack for a, b in itertools.pairwise(bounds))
    assert math.isclose(bounds[0], alone, rel_tol=40 * EPS)
    assert bounds[-1] <= limit * slack <= alone * slack**2
    assert alone < energy
    assert limit <= math.e * bounds[-1] * slack


@given(parameters)
def test_bayes_bound_and_attained_losses_are_ordered(parameters):
    check_bounds(bayes, softmax.lower_bound, parameters)
    dims, signal, length, noise = parameters
    arrays = (dims, signal, length)
    floor = bayes(*arrays, noise=noise)
    for function in SOFTMAX_LOSSES:
        if function is not at_thrice_the_length:
            assert function(*arrays, noise=noise) >= floor * (1 - 60 * EPS)
    longer = dims, signal, 3 * length
    attained = at_thrice_the_length(*arrays, noise=noise)
    assert attained >= bayes(*longer, noise=noise) * (1 - 60 * EPS)
    full = softmax.allocation_loss(1.0, *arrays, noise=noise)
    bound = softmax.lower_bound(*arrays, len(dims) + 1, noise=noise)
    assert math.isclose(bound, full, rel_tol=40 * EPS)
    ratio = softmax.optimality_ratio(*arrays, len(dims) + 1, noise=noise)
    assert ratio >= 1 - 60 * EPS
    assert ratio <= np.max(softmax.optimality_factor(*arrays, noise=noise)) * (1 + 60 * EPS)
    # Linear attention trained for one such task alone, white: c + 1/L in place of c.
    for d, lam in zip(dims, signal, strict=True):
        keys = {"task_eigenvalues": lam, "noise": noise}
        linear = analytic.plateau_losses(np.ones(d), length, **keys)[-1]
        one = softmax.lower_bound([d], [lam], length, 2, noise=noise)
        assert one <= linear * (1 + 60 * EPS)


def test_bounds_out_of_order_are_rejected():
    def least_squares(dims, signal, length, *, noise):
        """In place of Bayes: no prior."""
        gamma = np.array(dims) / length
        return np.sum(signal * dims * softmax.ridge_risk(gamma, signal * dims / noise**2, 1e-6))

    def without_cap(dims, signal, length, heads, *, noise):
        arrays = dims, signal, length
        budget = heads - 1 if heads > 1 else math.exp(-1)
        shares = softmax.water_filling(*arrays, noise=noise, budget=2 * budget)
        return softmax.allocation_loss(shares, *arrays, noise=noise)

    noisy = strategies.multi_task_parameters().filter(lambda p: p[3] > 0)
    rejects(lambda p: check_bounds(least_squares, softmax.lower_bound, p), noisy)
    rejects(lambda p: check_bounds(bayes, without_cap, p), parameters)


@given(st.floats(1e-3, 50.0), st.floats(1e-3, 1e3), st.floats(0.0, 20.0))
def test_no_ridge_beats_bayes(gamma, snr, penalty):
    assume(penalty > 0 or abs(gamma - 1) > 1e-6)
    least = softmax.bayes_risk(gamma, snr)
    assert 0 < least < 1
    assert least <= softmax.ridge_risk(gamma, snr, penalty) * (1 + 40 * EPS)
    assert math.isclose(softmax.ridge_risk(gamma, snr, gamma / snr), least, rel_tol=40 * EPS)


@given(st.data(), parameters, lengths)
def test_shared_heads_and_other_lengths_lie_between(data, parameters, other):
    dims, signal, length, noise = parameters
    heads = np.random.default_rng(data.draw(strategies.seeds())).integers(0, 3, size=len(dims))
    keys = {"noise": noise}
    shared = softmax.allocated_loss(heads, dims, signal, length, **keys)
    slack = 1 + 100 * EPS
    here = softmax.limit_loss(dims, signal, length, **keys)
    assert here <= shared * slack
    assert 1 / slack <= softmax.separation(heads, dims, signal, length, **keys)
    used = len(set(heads.tolist()))
    assert softmax.separation_limit(heads, dims, signal, **keys) <= used * slack
    same = softmax.generalised_loss(dims, signal, length, length, **keys)
    assert math.isclose(same, here, rel_tol=20 * EPS)
    there = softmax.generalised_loss(dims, signal, length, other, **keys)
    # Nothing read out at L' beats what was trained there.
    assert there >= softmax.limit_loss(dims, signal, other, **keys) * (1 - 40 * EPS)
    assert (there <= here * slack) == (other >= length) or math.isclose(there, here)


@share(0.3)
@given(st.data(), strategies.multi_tasks(max_tasks=2, max_dimension=3))
def test_no_run_crosses_the_bounds(data, task):
    model = data.draw(strategies.softmax_models(task.block_dims))
    theta = data.draw(strategies.weights(model, scale=0.7))
    arguments = (task.block_dims, task.signal, task.context_length)
    run = spectral_flow(SpectralSystem(model, task), theta, 2.0)
    bound = softmax.lower_bound(*arguments, model.heads, noise=task.noise)
    assert run.loss.min() >= bound * (1 - 1e-12)
    linear = data.draw(strategies.linear_tasks(max_dimension=3))
    moments = population_moments(linear)
    heads = MergedAttention(linear.dimension, 2)
    flow = gradient_flow(heads, moments, data.draw(strategies.weights(heads)), 30.0)
    assert flow.loss.min() >= matrix_loss(moments, minimiser(moments)) - 1e-12


@share(0.3)
@given(st.integers(1, 6), st.integers(1, 30), st.floats(0.3, 1.5), strategies.seeds())
def test_no_head_of_finite_size_beats_bayes(d, length, noise, seed):
    rng = np.random.default_rng(seed)
    omega, mu = rng.uniform(0.1, 0.8), rng.uniform(0.1, 3.0)
    attained = exact_loss([omega], [mu], MultiTask((d,), 1.0, length, noise=noise))
    risk = bayes_risk_monte_carlo(d, 1.0, length, noise=noise, count=2000, rng=rng)
    # The risk of a sample lies between 0 and d: six standard errors.
    assert attained.value + attained.error >= risk.mean - 6 * risk.error

"""Monotone in N, σ, D and time (linear attention), in L, σ, d, λ and H (softmax).

A minimum over weights of a loss that is monotone at fixed weights is monotone; one that is affine
at fixed weights, in 1/N, σ² or Ω, has a concave minimum.
"""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import analytic
from analytic import softmax
from numerics import (
    MultiTask,
    TokenTask,
    exact_loss,
    matrix_loss,
    minimiser,
    population_moments,
    strategies,
)

from .forms import SOFTMAX_LOSSES, TASK_LOSSES, at_thrice_the_length, keywords
from .support import EPS, rejects, share

lengths, noises = st.floats(1.0, 1e4), strategies.noises(5.0)
spectra = strategies.spectrum_pairs(strategies.dimensions(6), smallest=0.05, largest=20.0)
tasks = strategies.linear_tasks() | strategies.token_tasks()
positive, factors = st.floats(0.05, 20.0), st.floats(1.01, 10.0)
parameters = strategies.multi_task_parameters()


def check_context(plateaus, spectrum, length, factor, noise):
    """A longer context lowers, and noise raises, every plateau but the first, the last strictly."""
    lam, omega = spectrum
    base = plateaus(lam, length, **keywords(omega, noise))
    longer = plateaus(lam, factor * length, **keywords(omega, noise))
    noisier = plateaus(lam, length, **keywords(omega, noise + 1))
    assert longer[0] == base[0] == noisier[0]
    # A plateau is dominated by what is unlearned: the change may be below its rounding.
    assert np.all(longer[1:] <= base[1:])
    assert np.all(noisier[1:] >= base[1:])
    assert longer[-1] < base[-1] < noisier[-1]


@given(spectra, lengths, factors, noises)
def test_context_and_noise(spectrum, length, factor, noise):
    check_context(analytic.plateau_losses, spectrum, length, factor, noise)
    lam, omega = spectrum
    base = analytic.mode_gains(lam, length, **keywords(omega, noise))
    assert np.all(analytic.mode_gains(lam, factor * length, **keywords(omega, noise)) > base)
    assert np.all(analytic.mode_gains(lam, length, **keywords(omega, noise + 1)) < base)


def test_a_context_that_counts_the_wrong_way_is_rejected():
    def wrong(lam, length, *, task_eigenvalues, noise):
        return analytic.plateau_losses(
            lam, 1 + 1 / length, task_eigenvalues=task_eigenvalues, noise=noise
        )

    def silent(lam, length, *, task_eigenvalues, noise):
        return analytic.plateau_losses(lam, length, task_eigenvalues=task_eigenvalues)

    for form in (wrong, silent):
        rejects(lambda *x, f=form: check_context(f, *x), spectra, lengths, factors, noises)


@given(spectra, lengths, positive, positive, noises)
def test_every_further_dimension_costs(spectrum, length, more, weight, noise):
    """A new direction adds noise to all others, so that their gains fall."""
    lam, omega = spectrum
    wide, weights = np.append(lam, more), np.append(omega, weight)
    before = analytic.mode_gains(lam, length, **keywords(omega, noise))
    after = analytic.mode_gains(wide, length, **keywords(weights, noise))[:-1]
    # The trace may grow by less than its rounding, of 10 eps in the gain.
    assert np.all(after <= before * (1 + 20 * EPS))
    least = analytic.plateau_losses(lam, length, **keywords(omega, noise))[-1]
    wider = analytic.plateau_losses(wide, length, **keywords(weights, noise))[-1]
    assert least < wider
    energy = analytic.plateau_losses(wide, length, **keywords(weights, noise))[0]
    assert wider < energy


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


@given(st.data(), st.floats(0.0, 1.0), strategies.noises())
def test_the_minimum_is_monotone_and_concave_in_task_and_inverse_length(data, x, noise):
    cov = data.draw(strategies.covariances())
    omegas = [data.draw(strategies.covariances(len(cov))) for _ in range(2)]
    inverses = data.draw(st.tuples(*[st.floats(1e-3, 1.0)] * 2))

    def least(omega, inverse, sigma=noise):
        second = analytic.feature_second_moment(
            cov, 1 / inverse, task_covariance=omega, noise=sigma
        )
        return analytic.minimum_loss(cov, second, task_covariance=omega)

    # κ(S) <= 1000 times some ten roundings of the energy, at most 4 · 2 · 2.
    slack = 1e4 * EPS * 16
    mixed = x * omegas[0] + (1 - x) * omegas[1]
    between = x * least(omegas[0], inverses[0]) + (1 - x) * least(omegas[1], inverses[0])
    assert least(mixed, inverses[0]) >= between - slack
    assert least(omegas[0] + omegas[1], inverses[0]) >= least(omegas[0], inverses[0]) - slack
    middle = x * inverses[0] + (1 - x) * inverses[1]
    between = x * least(omegas[0], inverses[0]) + (1 - x) * least(omegas[0], inverses[1])
    assert least(omegas[0], middle) >= between - slack
    assert least(omegas[0], max(inverses)) >= least(omegas[0], min(inverses)) - slack
    assert least(omegas[0], inverses[0], noise + 1) >= least(omegas[0], inverses[0]) - slack


@given(
    st.integers(1, 9), lengths, st.floats(1e-4, 0.5), positive, positive, noises, st.floats(0, 9)
)
def test_white_curves_rise_and_their_loss_falls(size, length, norm, lam, omega, noise, t):
    keys = {"eigenvalue": lam, "task_eigenvalue": omega, "noise": noise}
    rate = 2 * size**0.5 * lam**2 * omega
    times = np.append(np.linspace(0.0, t + 30 / rate, 20), math.inf)
    m = analytic.white_time_course(times, norm, size, length, **keys)
    end, slack = m[-1], 1 + 40 * EPS * (1 + 30)
    rising = m[0] <= end
    assert np.all(m[1:] <= m[:-1] * slack) or rising
    assert np.all(m[1:] >= m[:-1] / slack) or not rising
    losses = analytic.white_loss_curve(times, norm, size, length, **keys)
    gap = abs(m - end)
    allowed = 40 * EPS * (losses + size * lam**3 * omega * gap * (m + end) * (1 + rate * t + 30))
    assert np.all(np.diff(losses) <= allowed[1:] + allowed[:-1])
    ahead = analytic.white_time_course(times[:-1], 1.5 * norm, size, length, **keys)
    assert np.all(ahead >= m[:-1] / slack)


@given(spectra, st.floats(1e-6, 0.5), factors, positive)
def test_larger_starts_and_growth_are_faster(spectrum, norm, factor, growth):
    lam, omega = spectrum
    time = analytic.escape_time(norm, lam, task_eigenvalues=omega)
    assert analytic.escape_time(norm / factor, lam, task_eigenvalues=omega) > time
    assert analytic.escape_time(norm, factor * lam, task_eigenvalues=omega) < time
    assert analytic.learning_time(factor * norm, growth) < analytic.learning_time(norm, growth)
    limit = growth ** (1 / 3)  # at curvature 1
    spans = analytic.time_to_reach(np.array([0.5, 0.6, 0.9]) * limit, 0.1 * limit, growth, 1.0)
    assert np.all(np.diff(spans) > 0)
    faster = analytic.time_to_reach(0.5 * limit, 0.1 * limit, factor * growth, 1.0)
    assert faster < spans[0]


def check_losses(function, parameters, factor):
    """Falls with L, rises with σ, with λ and, at fixed λ, with d."""
    dims, signal, length, noise = parameters
    value, slack = function(dims, signal, length, noise=noise), 1 + 60 * EPS
    assert np.all(function(dims, signal, factor * length, noise=noise) <= value * slack)
    assert np.all(function(dims, signal, length, noise=noise + 1) >= value / slack)
    assert np.all(function(dims, factor * signal, length, noise=noise) >= value / slack)
    wider = [d + 1 for d in dims]
    assert np.all(function(wider, signal, length, noise=noise) >= value / slack)


@given(parameters, factors)
def test_softmax_losses_fall_with_context_and_rise_with_all_else(parameters, factor):
    for function in (*SOFTMAX_LOSSES, *TASK_LOSSES, softmax.limit_escape_rate):
        check_losses(function, parameters, factor)
    dims, signal, length, noise = parameters
    value = softmax.optimality_factor(dims, signal, length, noise=noise)
    longer = softmax.optimality_factor(dims, signal, factor * length, noise=noise)
    assert np.all(longer >= value * (1 - 20 * EPS))


def test_what_is_not_monotone_is_rejected():
    def double_descent(dims, signal, length, *, noise):
        """Ridge regression at a penalty far too small for the noise."""
        gamma = np.array(dims) / length
        return signal * dims * softmax.ridge_risk(gamma, signal * dims / (noise + 1) ** 2, 1e-3)

    for function in (double_descent, softmax.optimality_factor):
        rejects(lambda *x, f=function: check_losses(f, *x), parameters, factors)


@given(parameters, positive, st.integers(1, 40))
def test_heads_help_and_tasks_cost(parameters, signal_of_one, dim_of_one):
    dims, signal, length, noise = parameters
    slack = 1 + 60 * EPS
    bounds = [
        softmax.lower_bound(dims, signal, length, heads, noise=noise)
        for heads in range(1, len(dims) + 3)
    ]
    assert all(b <= a * slack for a, b in itertools.pairwise(bounds))
    # Strictly, up to one head more than tasks.
    assert all(b < a for a, b in itertools.pairwise(bounds[: len(dims) + 1]))
    more = [*dims, dim_of_one], np.append(signal, signal_of_one), length
    for heads, value in enumerate(bounds, 1):
        assert softmax.lower_bound(*more, heads, noise=noise) > value / slack
    # Tasks that share a head cost; each further split helps.
    together, count = np.zeros(len(dims), int), len(dims)
    losses = [
        softmax.allocated_loss(np.minimum(np.arange(count), h), dims, signal, length, noise=noise)
        for h in range(count)
    ]
    assert math.isclose(
        losses[0], softmax.allocated_loss(together, dims, signal, length, noise=noise)
    )
    assert all(b <= a * slack for a, b in itertools.pairwise(losses))
    budgets = [softmax.equiangular_budget(heads) for heads in range(1, 9)]
    assert all(a < b for a, b in itertools.pairwise(budgets))


@given(st.floats(1e-3, 50.0), st.floats(1e-3, 1e3), factors, st.floats(1e-3, 20.0))
def test_bayes_and_ridge(gamma, snr, factor, penalty):
    bayes = softmax.bayes_risk(gamma, snr)
    assert softmax.bayes_risk(factor * gamma, snr) > bayes
    assert softmax.bayes_risk(gamma, factor * snr) < bayes * (1 + 20 * EPS)
    ridge = softmax.ridge_risk(gamma, snr, penalty)
    assert softmax.ridge_risk(gamma, factor * snr, penalty) <= ridge * (1 + 20 * EPS)
    moments = softmax.marchenko_pastur_moments(gamma, penalty)
    heavier = softmax.marchenko_pastur_moments(gamma, factor * penalty)
    assert heavier.first < moments.first
    assert heavier.second < moments.second


@given(parameters, factors, st.floats(0.0, 3.0), st.floats(0.0, 1.0))
def test_what_else_is_said_to_be_monotone(parameters, factor, u, step):
    dims, signal, length, noise = parameters
    tested = at_thrice_the_length(dims, signal, length, noise=noise)
    trained = softmax.limit_loss(dims, signal, length, noise=noise)
    assert tested <= trained * (1 + 40 * EPS)
    for mean in (True, False):
        exponents = softmax.participation_exponent([u, u + step], mean=mean)
        assert exponents[0] <= exponents[1] + 10 * EPS
    norm = softmax.long_context_squared_norm(np.array(dims), signal, noise=noise)
    wider = softmax.long_context_squared_norm(np.array(dims) + 1, signal, noise=noise)
    assert np.all(norm < 1)
    assert np.all(wider >= norm * (1 - 20 * EPS))
    assert np.all(np.diff([softmax.hermite_error(k) for k in range(1, 9)]) > 0)


@share(0.2)
@given(strategies.multi_tasks(max_tasks=2), strategies.seeds())
def test_noise_raises_the_exact_loss(task, seed):
    omega, mu = np.random.default_rng(seed).uniform(0.1, 0.8, size=(2, task.outputs))
    louder = MultiTask(task.block_dims, task.signal, task.context_length, noise=task.noise + 1)
    here, there = exact_loss(omega, mu, task), exact_loss(omega, mu, louder)
    assert there.value - there.error > here.value + here.error

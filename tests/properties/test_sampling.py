"""The population is the limit of samples: within their errors, which shrink at rate 1/√P.

A mean of P independent terms errs by its standard error, and six of them are allowed. The rate is
measured on tokens of a table, which are bounded: products of eight Gaussians have such tails that
few repeats do not show their variance. There, mean squares of 64 errors at P and 16 P sequences
have a ratio of 16 within ±25 %, or some more where a few weights count; a factor of four either way
is five standard errors, and is the middle between the rates 1/√P and 1/P, and 1/√P and none.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import analytic
import numerics
from analytic import softmax
from numerics import (
    LinearTask,
    MultiTask,
    SpectralAttention,
    SpectralSystem,
    exact_loss,
    gradient_flow,
    icl_loss_monte_carlo,
    matrix_loss,
    minimiser,
    population_moments,
    sample_moments,
    sample_sequences,
    strategies,
    tokens_of,
)

from .support import EPS, rejects, share

COUNT, MORE, REPEATS, FACTOR = 200, 3200, 64, 16
SIGMAS = 6.0


@st.composite
def tables(draw):
    """Tasks on the rows of a table, cheap to draw: D up to 2, N up to 6."""
    size = draw(strategies.dimensions(2))
    rows = np.random.default_rng(draw(strategies.seeds())).uniform(-1, 1.5, size=(4, size))
    return numerics.TokenTask(
        np.concatenate([np.eye(size), rows]),
        draw(strategies.context_lengths(6)),
        draw(strategies.covariances(size)),
        draw(strategies.noises()),
    )


@st.composite
def gaussian_tasks(draw):
    """The same for Gaussian tokens."""
    task = draw(tables())
    cov = draw(strategies.covariances(task.dimension))
    return LinearTask(cov, task.context_length, task.task_covariance, task.noise)


def numbers(moments):
    """All three moments as one vector."""
    dense = numerics.dense_moments(moments)
    parts = np.atleast_1d(dense.energy), dense.correlation.ravel(), dense.feature_moment.ravel()
    return np.concatenate(parts)


def within(sample, expected, floor=0.0):
    """Means over the first axis of a sample agree with what is expected."""
    count = len(sample)
    error = sample.std(axis=0, ddof=1) / np.sqrt(count)
    assert np.all(np.abs(sample.mean(axis=0) - expected) <= SIGMAS * error + floor)


def check_rate(errors, factor=FACTOR):
    """Mean squares of errors at P and at 16 P sequences: their ratio is 16."""
    few, many = (np.mean(np.square(error)) for error in errors)
    assert factor / 4 < few / many < factor * 4


def check_sample(population, task, seed):
    """All three moments, S alone (with lighter tails than E[zzᵀ]) and the tokens' own."""
    sequences, wanted = sample_sequences(task, 40_000, rng=seed), population(task)
    z, beta, target = sequences.features, sequences.beta, sequences.target
    dense, floor = numerics.dense_moments(wanted), 1e-12 * wanted.energy
    within(target**2, wanted.energy, floor)
    within(target[:, None] * z, dense.correlation.T.ravel(), floor)
    within(outer(z), dense.feature_moment, floor)
    within(outer(beta), wanted.second_moment, floor)
    within(outer(sequences.query), wanted.covariance, floor)


def outer(rows):
    return rows[:, :, None] * rows[:, None, :]


@share(0.4)
@given(tables() | gaussian_tasks(), strategies.seeds())
def test_moments_of_samples_agree_with_the_population(task, seed):
    check_sample(population_moments, task, seed)


def test_moments_of_another_context_length_noise_or_law_are_rejected():
    def longer(task):
        lengths = [n + 1 for n in task.lengths]
        return population_moments(
            LinearTask(task.covariance, lengths, task.task_covariance, task.noise)
        )

    def louder(task):
        return population_moments(
            LinearTask(task.covariance, task.context_length, task.task_covariance, task.noise + 0.5)
        )

    def gaussian(task):
        """The moments of Gaussian tokens, for a table."""
        return population_moments(
            LinearTask(task.covariance, task.context_length, task.task_covariance, task.noise)
        )

    for wrong in (longer, louder, gaussian):
        drawn = tables() | gaussian_tasks(), strategies.seeds()
        rejects(lambda *x, w=wrong: check_sample(w, *x), *drawn)


def sampled(task, statistic, seed):
    """Errors of a statistic of moments, at COUNT and MORE sequences, REPEATS of each."""
    rng = np.random.default_rng(seed)
    wanted = statistic(population_moments(task))
    return [
        np.array([statistic(sample_moments(task, count, rng=rng)) - wanted for _ in range(REPEATS)])
        for count in (COUNT, MORE)
    ]


@share(0.2)
@given(tables(), strategies.seeds())
def test_moments_converge_at_the_rate_of_a_mean(task, seed):
    check_rate(sampled(task, numbers, seed))


@share(0.2)
@given(st.data(), tables(), strategies.seeds())
def test_losses_gradients_and_minima_converge_at_that_rate(data, task, seed):
    model = data.draw(strategies.linear_models(task.dimension))
    theta = 0.5 * np.random.default_rng(seed).standard_normal(model.size)

    def statistic(moments):
        slope = numerics.gradient(model, moments, theta)
        return np.append(slope, numerics.loss(model, moments, theta))

    check_rate(sampled(task, statistic, seed))
    best = minimiser(population_moments(task))
    check_rate(sampled(task, lambda moments: matrix_loss(moments, best), seed))


@share(0.1)
@given(strategies.seeds(), st.floats(0.0, 1.0))
def test_trained_weights_converge_at_that_rate(seed, noise):
    task = numerics.TokenTask([[1.0], [-0.5], [0.7]], 8, noise=noise)
    model = numerics.SeparateAttention(1, 1)
    start = np.array([0.4, 0.5, 0.6])

    def trained(moments):
        return gradient_flow(model, moments, start, 3.0, method="DOP853").states[-1]

    check_rate(sampled(task, trained, seed))


def test_another_rate_is_rejected():
    rng = np.random.default_rng(0)
    few, many = rng.standard_normal((2, REPEATS, 4))
    check_rate([few / np.sqrt(COUNT), many / np.sqrt(MORE)])
    for wrong in ([few / COUNT, many / MORE], [few, many]):
        rejects(check_rate, st.just(wrong))


@share(0.4)
@given(st.data(), strategies.seeds())
def test_losses_on_sequences_are_those_of_the_moments(data, seed):
    """E(ŷ − y_q)² over drawn sequences, reduced model and whole layer, at the closed form."""
    task = data.draw(strategies.linear_tasks(max_dimension=2))
    model = data.draw(strategies.linear_models(task.dimension))
    theta = 0.5 * np.random.default_rng(seed).standard_normal(model.size)
    sequences = sample_sequences(task, 4000, rng=seed)
    errors = (numerics.predict(model, sequences, theta) - sequences.target) ** 2
    within(errors, float(numerics.loss(model, population_moments(task), theta)), 1e-12)
    second = analytic.feature_second_moment(
        task.covariance,
        1 / task.inverse_context_length,
        task_covariance=task.task_covariance,
        noise=task.noise,
    )
    closed = analytic.population_loss(
        model.matrix(theta), task.covariance, second, task_covariance=task.task_covariance
    )
    within(errors, float(closed), 1e-12)
    if len(set(task.lengths)) == 1:
        layer = numerics.AttentionLayer(
            task.dimension, model.heads, getattr(model, "rank", None), divide_by_context=True
        )
        whole = layer.embed(*model.unpack(theta))
        predictions = layer.predict(whole, tokens_of(sequences))
        within((predictions - sequences.target) ** 2, float(closed), 1e-12)


@share(0.3)
@given(strategies.multi_tasks(max_tasks=2, max_dimension=3), strategies.seeds())
def test_softmax_heads_on_drawn_tokens_have_the_exact_loss(task, seed):
    """Heads with equal weights on blocks of their own: quadrature, against Monte Carlo."""
    task = MultiTask(task.block_dims, task.signal, min(task.context_length, 20), noise=task.noise)
    rng = np.random.default_rng(seed)
    omega, mu = rng.uniform(0.1, 0.7, size=(2, task.outputs))
    heads = np.repeat(np.diag(omega), task.block_dims, axis=1)
    estimate = icl_loss_monte_carlo(heads, np.diag(mu), task, 3000, rng=rng)
    exact = exact_loss(omega, mu, task)
    assert abs(estimate.mean - exact.value) <= SIGMAS * estimate.error + exact.error


@share(0.4)
@given(strategies.multi_tasks(max_tasks=2, max_dimension=3), st.floats(0.02, 0.3))
def test_expansions_in_one_over_length_have_their_order(task, weight):
    """`first_order_loss` errs by O(1/L²), [S]'s loss by O(1/L): ratios 4 and 2 at twice L."""
    rng = np.random.default_rng(task.dimension)
    mu = rng.uniform(0.3, 1.0, size=task.outputs)
    heads = np.repeat(np.diag(np.full(task.outputs, weight)), task.block_dims, axis=1)
    gaps = []
    for length in (2000, 4000):
        other = MultiTask(task.block_dims, task.signal, length, noise=task.noise)
        exact = exact_loss(np.full(task.outputs, weight), mu, other, rtol=1e-11)
        arguments = heads, np.diag(mu), task.block_dims, task.signal, length
        gaps.append(
            [
                exact.value - function(*arguments, noise=task.noise)
                for function in (softmax.first_order_loss, softmax.spectral_loss)
            ]
        )
        error = exact.error + 100 * EPS * exact.value
    first, leading = np.abs(np.array(gaps)).T
    assert first[1] < 30 * error or 3.5 < first[0] / first[1] < 4.5
    assert leading[1] < 30 * error or 1.8 < leading[0] / leading[1] < 2.2


def test_the_spectral_system_is_exact_for_infinite_contexts():
    model, task = SpectralAttention((2,), 1, 1), MultiTask((2,), 1.0, 10**9)
    theta = model.balanced([[0.3, 0.3]], [[1.2]])
    value = float(SpectralSystem(model, task).loss(theta))
    # Both are Σ (1 − A)² and terms of order 1/L.
    assert abs(value - exact_loss([0.3], [1.2], task).value) < 1e-7

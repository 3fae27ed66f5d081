"""Scaling laws of linear attention: other units of x, w, y, time and weights change nothing else.

x → √a x and w → √b w take Λ → aΛ, Ω → bΩ, σ → √(ab) σ, so that the loss scales by ab, M by 1/a and
ΛΩΛ by a²b. Weights that multiply to M scale by a^{−1/p}, p their number, and time by 1/(a²b) times
what they leave: a^{−2/p + 1} for p = 3, nothing for p = 2. The factors are powers of 64 and 4, so
that every root is exact, and what has products and sums alone scales to the last bit.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import analytic
from numerics import (
    AttentionSystem,
    DenseMoments,
    LinearTask,
    MergedAttention,
    TokenTask,
    dense_moments,
    gradient,
    gradient_descent,
    gradient_flow,
    loss,
    population_moments,
    strategies,
)

from .forms import keywords
from .support import EPS, RELAXING, assert_each, assert_same, rejects, share

a_factors, b_factors = st.sampled_from([1 / 64, 1.0, 64.0]), st.sampled_from([0.25, 1.0, 16.0])
lengths, noises = st.floats(1.0, 1e4), strategies.noises(5.0)
spectra = strategies.spectrum_pairs(strategies.dimensions(6), smallest=0.05, largest=20.0)
positive = st.floats(0.05, 20.0)

# Powers of a and b; λ, N and keywords as arguments.
POWERS = [
    (analytic.plateau_losses, (1, 1)),
    (analytic.mode_gains, (1, 1)),
    (analytic.mode_coefficients, (-1, 0)),
    (analytic.feature_eigenvalues, (2, 1)),
    (analytic.mode_curvature, (3, 1)),
]


def check_power(function, powers, spectrum, length, noise, a, b):
    """f(aλ, bω, √(ab) σ) = a^i b^j f(λ, ω, σ), to the last bit."""
    lam, omega = spectrum
    scaled = function(a * lam, length, **keywords(b * omega, (a * b) ** 0.5 * noise))
    here = function(lam, length, **keywords(omega, noise))
    np.testing.assert_array_equal(scaled, a ** powers[0] * b ** powers[1] * here)


@given(spectra, lengths, noises, a_factors, b_factors)
def test_units_of_tokens_and_tasks(spectrum, length, noise, a, b):
    for function, powers in POWERS:
        check_power(function, powers, spectrum, length, noise, a, b)
    lam, omega = spectrum
    for function in (analytic.mode_growth, analytic.escape_rate):
        scaled = function(a * lam, task_eigenvalues=b * omega)
        np.testing.assert_array_equal(scaled, a**2 * b * function(lam, task_eigenvalues=omega))
    time, scaled = (
        analytic.escape_time(1e-3, x, task_eigenvalues=y)
        for x, y in ((lam, omega), (a * lam, b * omega))
    )
    assert_each(scaled, time / (a**2 * b), 4)


def test_another_power_or_noise_in_other_units_is_rejected():
    drawn = (spectra, lengths, noises, a_factors, b_factors)
    for function, (i, j) in POWERS:
        for wrong in ((i + 1, j), (i, j - 1)):
            rejects(lambda *x, f=function, w=wrong: check_power(f, w, *x), *drawn)

    def noise_once(lam, length, *, task_eigenvalues, noise):
        """The plateaus, with σ in place of σ²."""
        keys = {"task_eigenvalues": task_eigenvalues, "noise": noise**0.5}
        return analytic.plateau_losses(lam, length, **keys)

    rejects(lambda *x: check_power(noise_once, (1, 1), *x), *drawn)


@given(st.data(), spectra, lengths, noises, a_factors, b_factors)
def test_units_of_weights(data, spectrum, length, noise, a, b):
    lam, omega = spectrum
    here = (lam, length), keywords(omega, noise)
    there = (a * lam, length), keywords(b * omega, (a * b) ** 0.5 * noise)
    mask = data.draw(strategies.subsets(len(lam)))
    norms = [analytic.least_norm(mask, *args, **keys) for args, keys in (here, there)]
    assert_each(norms[1], a ** (-2 / 3) * norms[0], 40)
    weights = [analytic.ansatz_weights(mask, *args, **keys) for args, keys in (here, there)]
    for mine, theirs in zip(*weights, strict=True):
        assert_each(theirs, a ** (-1 / 3) * mine, 20)
    if len(lam) > 1:
        pairs = [analytic.rotation_eigenvalues(0, 1, *args, **keys) for args, keys in (here, there)]
        upper = a ** (5 / 3) * b * pairs[0][1]
        assert_each(pairs[1][1], upper, 60)
        # The lower one is a difference of gains.
        assert abs(pairs[1][0] - a ** (5 / 3) * b * pairs[0][0]) <= 100 * EPS * upper
    v, *u = np.random.default_rng(len(lam)).standard_normal(1 + len(lam))
    scale = a**-0.5
    for mine, theirs in zip(
        analytic.aligned_velocity(v, u, *here[0], **here[1]),
        analytic.aligned_velocity(scale * v, scale * np.array(u), *there[0], **there[1]),
        strict=True,
    ):
        np.testing.assert_array_equal(theirs, a**1.5 * b * mine)


@given(
    st.integers(1, 9), lengths, st.floats(1e-4, 0.5), positive, positive, noises, st.floats(0, 9)
)
def test_units_of_the_white_curve(size, length, norm, lam, omega, noise, t):
    a, b = 4.0, 16.0
    here = {"eigenvalue": lam, "task_eigenvalue": omega, "noise": noise}
    there = {"eigenvalue": a * lam, "task_eigenvalue": b * omega, "noise": (a * b) ** 0.5 * noise}
    for function, factor in (
        (analytic.white_time_course, 1 / a),
        (analytic.white_loss_curve, a * b),
    ):
        value = function(t, norm, size, length, **here)
        scaled = function(t / (a**2 * b), norm / a**0.5, size, length, **there)
        # e^{−rt} carries the rounding of rt, and rt <= 2√9 · 20³ · 9.
        assert_each(scaled, factor * value, 20)
        slow = function(3 * t, norm, size, length, tau=3, **here)
        rate = 2 * size**0.5 * lam**2 * omega
        assert_each(slow, value, 20 * (1 + rate * t))


@given(positive, positive, st.floats(0.01, 0.98), st.floats(0.01, 0.98), a_factors, b_factors)
def test_units_of_a_head_s_time(growth, curvature, x, y, a, b):
    limit, root = (growth / curvature) ** (1 / 3), a ** (-1 / 3)
    rates, scaled = (growth, curvature), (a**2 * b * growth, a**3 * b * curvature)
    time = analytic.time_to_reach(y * limit, x * limit, *rates)
    other = analytic.time_to_reach(root * y * limit, root * x * limit, *scaled)
    size = max(abs(time), 1 / (growth * limit * min(x, y)))
    # 1 − a³v³ >= 0.05 multiplies the error of some 30 operations by at most 20.
    assert abs(a ** (5 / 3) * b * other - time) <= 600 * EPS * size
    slow = analytic.time_to_reach(y * limit, x * limit, *rates, tau=3.0)
    assert abs(slow - 3 * time) <= 600 * EPS * size
    terms = [analytic.learning_time(x, growth), analytic.learning_time(root * x, scaled[0])]
    assert_each(a ** (5 / 3) * b * terms[1], terms[0], 8)
    velocities = [
        analytic.value_velocity(x * limit, *rates),
        analytic.value_velocity(root * x * limit, *scaled),
        analytic.low_rank_velocity(
            [root * x * limit], [[root * x * limit]], [[0]], *np.array([scaled]).T
        )[0][0],
    ]
    for velocity in velocities[1:]:
        assert_same(velocity / (a ** (4 / 3) * b), velocities[0], 40, scale=growth * limit**2)


@given(st.data(), lengths, strategies.noises(), a_factors, b_factors)
def test_units_in_matrices(data, length, noise, a, b):
    cov = data.draw(strategies.covariances())
    task = data.draw(strategies.covariances(len(cov)))
    results = []
    for x, y in ((1.0, 1.0), (a, b)):
        given_task = {"task_covariance": y * task}
        second = analytic.feature_second_moment(
            x * cov, length, noise=(x * y) ** 0.5 * noise, **given_task
        )
        modes = analytic.general_modes(x * cov, second, **given_task)
        results.append(
            [
                second / (x**2 * y),
                analytic.optimal_weights(x * cov, second, **given_task) * x,
                analytic.minimum_loss(x * cov, second, **given_task) / (x * y),
                analytic.general_plateau_losses(x * cov, second, **given_task) / (x * y),
                modes.growth / (x**2 * y),
                modes.matrices.sum(axis=0) * x,
            ]
        )
    for here, there in zip(*results, strict=True):
        # LAPACK may round a scaled matrix otherwise; κ(S) <= 1000.
        assert_same(there, here, 1e5)


def scaled_task(task, a, b):
    """The task in other units of x and w."""
    data = task.tokens * a**0.5 if isinstance(task, TokenTask) else task.covariance * a
    return type(task)(
        data, task.context_length, b * task.task_covariance, (a * b) ** 0.5 * task.noise
    )


def units(model, a, b):
    """Factors of the weights and of the rate of the flow."""
    return (a**-0.5, a**2 * b) if isinstance(model, MergedAttention) else (
        round(a ** (-1 / 3), 9), round(a ** (5 / 3), 9) * b
    )  # fmt: skip


@given(st.data(), strategies.linear_tasks() | strategies.token_tasks(), a_factors, b_factors)
def test_units_of_loss_and_gradient(data, task, a, b):
    model = data.draw(strategies.linear_models(task.dimension))
    theta = data.draw(strategies.weights(model))
    here, there = population_moments(task), population_moments(scaled_task(task, a, b))
    weight, _ = units(model, a, b)
    assert loss(model, there, weight * theta) == a * b * loss(model, here, theta)
    slope = gradient(model, there, weight * theta)
    np.testing.assert_array_equal(slope, a * b / weight * gradient(model, here, theta))


@share(0.4)
@given(st.data(), strategies.linear_tasks(max_dimension=3), a_factors, b_factors)
def test_units_of_the_flow(data, task, a, b):
    model = data.draw(strategies.linear_models(task.dimension))
    theta = data.draw(strategies.weights(model, scale=0.3))
    weight, rate = units(model, a, b)
    times = np.array([1.0, 3.0])
    here = gradient_flow(model, population_moments(task), theta, 3.0, times=times)
    moments = population_moments(scaled_task(task, a, b))
    there = gradient_flow(model, moments, weight * theta, 3 / rate, times=times / rate)
    assert np.abs(there.states / weight - here.states).max() < RELAXING
    slow = gradient_flow(
        model, population_moments(task), theta, 7.5, times=2.5 * times, tau=2.5, method="DOP853"
    )
    assert np.abs(slow.states - here.states).max() < RELAXING


@given(
    st.data(), strategies.linear_tasks(max_dimension=3), st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([1.0, 64.0]),
)  # fmt: skip
def test_somebody_else_s_units(data, task, loss_factor, context_scale):
    """A run on ℓL of an output c times ours is ours, step for step, to the last bit."""
    model = data.draw(strategies.linear_models(task.dimension))
    theta, c = data.draw(strategies.weights(model)), context_scale
    ours = dense_moments(population_moments(task))
    theirs = DenseMoments(ours.energy, c * ours.correlation, c * c * ours.feature_moment)
    factors = 2 if isinstance(model, MergedAttention) else 3
    units = analytic.Convention(loss_factor, context_scale, factors)
    root = {(1.0, 2): 1.0, (1.0, 3): 1.0, (64.0, 2): 8.0, (64.0, 3): 4.0}[c, factors]
    assert_each(units.weights(1.0), root, 4)
    assert_each(units.flow_time(3, 0.01), 0.06 * loss_factor * root**2, 8)
    rate = 2.0**-10
    there = gradient_descent(
        AttentionSystem(model, theirs), theta / root, 6, rate, loss_factor=loss_factor
    )
    here = gradient_descent(AttentionSystem(model, ours), theta, 6, rate * loss_factor * root**2)
    np.testing.assert_array_equal(root * there.states, here.states)
    assert_each(units.loss(loss_factor * there.loss), here.loss, 0)


def test_a_flow_in_unscaled_time_is_rejected():
    def check(task, wrong):
        model = MergedAttention(task.dimension, 1)
        theta = model.initial_weights(0.3, rng=0)
        moments = population_moments(task), population_moments(scaled_task(task, 4.0, 1.0))
        here = gradient_flow(model, moments[0], theta, 2.0).states[-1]
        there = gradient_flow(model, moments[1], theta / 2, 2 / wrong).states[-1]
        assert np.abs(2 * there - here).max() < RELAXING

    task = LinearTask([[1.0]], 10)
    check(task, 16.0)
    for wrong in (4.0, 8.0, 64.0):
        rejects(check, st.just(task), st.just(wrong))

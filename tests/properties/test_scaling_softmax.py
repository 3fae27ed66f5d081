"""Scaling laws of softmax attention [S]: units of y, and dimension against context length.

y → √c y takes λ → cλ, σ → √c σ: losses and rates scale by c, weights stay. d → kd, λ → λ/k,
L → kL leaves every λd, φ and c = φd/L alone, and with them the losses; ω̄ scales by 1/√k, μ by √k
and time by √k at fixed d_e.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analytic import softmax
from numerics import MultiTask, SpectralSystem, exact_loss, spectral_flow, strategies

from .forms import SOFTMAX_LOSSES, TASK_LOSSES
from .support import EPS, RELAXING, assert_each, assert_same, rejects, share

units = st.sampled_from([1 / 16, 0.25, 4.0, 64.0])
growths = st.sampled_from([4, 9, 16])
parameters = strategies.multi_task_parameters()
positive, small = st.floats(0.05, 20.0), st.floats(0.01, 1.0)


def optimum(*arguments, noise):
    return softmax.single_head_optimum(*arguments, noise=noise)


def filled(*arguments, noise):
    return softmax.water_filling(*arguments, noise=noise, budget=1.5, cap=1.0)


def check_units(function, power, parameters, c):
    """f(cλ, √c σ) = c^power f(λ, σ); the forms have some ten operations, on sums of 5 tasks."""
    dims, signal, length, noise = parameters
    here = function(dims, signal, length, noise=noise)
    there = function(dims, c * signal, length, noise=c**0.5 * noise)
    assert_each(there, c**power * np.asarray(here), 20)


# Functions of (d, λ, L, σ), and the power of c.
FORMS = [
    *((function, 1) for function in (*SOFTMAX_LOSSES, *TASK_LOSSES)),
    (softmax.limit_escape_rate, 1),
    (filled, 0),
    (softmax.optimality_factor, 0),
    (softmax.dimension_coefficient, 0),
    (lambda *a, noise: softmax.optimality_ratio(*a, 3, noise=noise), 0),
    (lambda d, s, L, *, noise: softmax.separation([0] * len(d), d, s, L, noise=noise), 0),
    (lambda d, s, L, *, noise: softmax.separation_limit(range(len(d)), d, s, noise=noise), 0),
    (lambda d, s, L, *, noise: softmax.noise_factor(d, s, noise=noise), 0),
    (lambda d, s, L, *, noise: softmax.long_context_squared_norm(d, s, noise=noise), 0),
    (lambda *a, noise: softmax.limit_weights(*a, noise=noise).mu, 0),
    (lambda *a, noise: optimum(*a, noise=noise).squared_weights, 0),
    (lambda *a, noise: optimum(*a, noise=noise).mu, 0),
]


@given(parameters, units)
def test_units_of_labels(parameters, c):
    for function, power in FORMS:
        check_units(function, power, parameters, c)


def test_another_unit_of_noise_is_rejected():
    for function, power in FORMS[: len(SOFTMAX_LOSSES) + 2]:
        drawn = parameters, st.just(4.0)
        rejects(lambda *x, f=function, p=power: check_units(f, p + 1, *x), *drawn)

        def wrong(d, s, L, *, noise, f=function):
            return f(d, s, L, noise=noise**0.5)

        rejects(lambda *x, w=wrong, p=power: check_units(w, p, *x), *drawn)


@given(st.data(), strategies.multi_task_parameters(max_dimension=4), units)
def test_units_of_labels_of_any_heads(data, parameters, c):
    dims, signal, length, noise = parameters
    omega, mu = data.draw(strategies.softmax_heads(dims))
    forms = [softmax.spectral_loss, softmax.linear_attention_loss]
    if 2 * np.max(omega**2) < 0.9:
        forms.append(softmax.first_order_loss)
    for function in forms:
        here = function(omega, mu, dims, signal, length, noise=noise)
        there = function(omega, mu, dims, c * signal, length, noise=c**0.5 * noise)
        assert_each(there, c * here, 20)
    arguments = omega, mu, dims
    here = softmax.spectral_gradient(*arguments, signal, length, noise=noise)
    there = softmax.spectral_gradient(*arguments, c * signal, length, noise=c**0.5 * noise)
    for mine, theirs in zip(here, there, strict=True):
        assert_same(theirs, c * mine, 100)


@given(small, small, st.integers(1, 40), positive, st.floats(1.0, 1e6), st.integers(1, 64),
       strategies.noises(), units)  # fmt: skip
def test_units_of_time(omega, mu, d, lam, length, width, noise, c):
    there, louder = c * lam, c**0.5 * noise
    for function in (softmax.balanced_velocity, softmax.emergence_velocity):
        weights = (omega, mu) if function is softmax.balanced_velocity else (omega,)
        here = function(*weights, d, lam, length, width, noise=noise)
        assert_each(
            function(*weights, d, there, length, width, noise=louder), c * np.array(here), 20
        )
    rate = softmax.convergence_rate(d, lam, length, width, noise=noise)
    assert_each(softmax.convergence_rate(d, there, length, width, noise=louder), c * rate, 20)
    start = omega / 50, mu / 50, d
    end = softmax.blow_up_time(*start, lam, width)
    assert_each(c * softmax.blow_up_time(*start, there, width), end, 20)
    courses = [
        np.array(softmax.warmup_time_course(t, *start, s, width))
        for t, s in ((end / 2, lam), (end / 2 / c, there))
    ]
    assert_each(courses[1], courses[0], 20)
    time = softmax.warmup_time(omega, *start, lam, width)
    assert_each(c * softmax.warmup_time(omega, *start, there, width), time, 20)
    weights = (omega, mu, d)
    unchanged = [
        lambda s, n: softmax.equilibrium_value(omega, d, s, length, noise=n),
        lambda s, n: np.array(softmax.neglected_share(*weights, s, length, noise=n)),
        lambda s, n: softmax.training_phase(*weights, s, length, noise=n),
        lambda s, n: softmax.warmup_invariant(*weights, s, length, width, noise=n),
    ]
    for function in unchanged:
        assert_each(function(there, louder), function(lam, noise), 20)


def check_dimension(function, parameters, k, lengths=1):
    """f(kd, λ/k, kL) = f(d, λ, L); allocations have the accuracy of Σ (c + ν)."""
    dims, signal, length, noise = parameters
    here = function(dims, signal, length, noise=noise)
    other = [k * d for d in dims], signal / k, k**lengths * length
    there = function(*other, noise=noise)
    if function in ALLOCATIONS:
        ratios = (np.array(dims) + noise**2 / signal) / length
        assert_same(there, here, 40, scale=np.e * np.sum(ratios + 1))
    else:
        assert_each(there, here, 40)


def squared_weights(*arguments, noise):
    return optimum(*arguments, noise=noise).squared_weights


ALLOCATIONS = [filled, squared_weights]
DIMENSIONLESS = [
    *SOFTMAX_LOSSES,
    softmax.task_limit_losses,
    softmax.optimality_factor,
    *ALLOCATIONS,
    lambda d, s, L, *, noise: softmax.separation([0] * len(d), d, s, L, noise=noise),
    lambda d, s, L, *, noise: np.sqrt(d) * softmax.limit_weights(d, s, L, noise=noise).omega_bar,
    lambda d, s, L, *, noise: softmax.limit_weights(d, s, L, noise=noise).mu / np.sqrt(d),
    lambda d, s, L, *, noise: np.sqrt(d) * softmax.limit_escape_rate(d, s, L, noise=noise),
]


@given(parameters, growths)
def test_dimension_counts_against_context_length_alone(parameters, k):
    for function in DIMENSIONLESS:
        check_dimension(function, parameters, k)


def test_dimension_alone_or_at_finite_size_does_count():
    for function in DIMENSIONLESS[:8]:
        rejects(lambda p, k, f=function: check_dimension(f, p, k, lengths=0), parameters, growths)
    rejects(lambda p, k: check_dimension(softmax.long_context_optimum_loss, p, k),
            parameters, growths)  # fmt: skip


@given(small, small, st.integers(1, 40), positive, st.floats(1.0, 1e6), st.integers(1, 64),
       strategies.noises(), growths)  # fmt: skip
def test_phases_at_large_dimension(omega, mu, d, lam, length, width, noise, k):
    root = k**0.5
    omega = omega / d**0.5
    here = softmax.balanced_velocity(omega, mu, d, lam, length, width, noise=noise)
    there = softmax.balanced_velocity(
        omega / root, mu * root, k * d, lam / k, k * length, width, noise=noise
    )
    # The brackets are differences; their terms are at most 1 and μω̄(1 + c e).
    terms = 1 + mu * omega + mu / omega / length * (1 + noise**2 / lam / d) * 3 + 3 * d * mu
    for mine, theirs, factor, size in zip(
        here, there, (1 / k, 1.0), (4 * lam * mu * omega, 4 * lam * d * mu * omega), strict=True
    ):
        assert_same(theirs, factor * mine, 100, scale=factor * size * terms)
    here = softmax.equilibrium_value(omega, d, lam, length, noise=noise)
    there = softmax.equilibrium_value(omega / root, k * d, lam / k, k * length, noise=noise)
    assert_each(there, root * here, 20)
    here = softmax.convergence_rate(d, lam, length, width, noise=noise)
    there = softmax.convergence_rate(k * d, lam / k, k * length, width, noise=noise)
    assert_each(there, here / root, 20)
    here = softmax.blow_up_time(omega, mu, d, lam, width)
    there = softmax.blow_up_time(omega / root, mu * root, k * d, lam / k, width)
    assert_each(there, root * here, 40)
    here = softmax.warmup_time(1.5 * omega, omega, mu, d, lam, width)
    there = softmax.warmup_time(1.5 * omega / root, omega / root, mu * root, k * d, lam / k, width)
    assert_each(there, root * here, 40)


@share(0.3)
@given(
    st.data(), strategies.multi_tasks(max_tasks=2, max_dimension=3), st.sampled_from([0.25, 4.0])
)
def test_units_of_the_spectral_flow(data, task, c):
    model = data.draw(strategies.softmax_models(task.block_dims))
    theta, times = data.draw(strategies.weights(model, scale=0.5)), np.array([0.5, 1.0])
    noise = c**0.5 * task.noise
    other = MultiTask(task.block_dims, c * task.signal, task.context_length, noise=noise)
    here, there = SpectralSystem(model, task), SpectralSystem(model, other)
    assert_each(there.loss(theta), c * here.loss(theta), 20)
    assert_same(there.velocity(theta), c * here.velocity(theta), 100)
    a = spectral_flow(here, theta, 1.0, times=times)
    b = spectral_flow(there, theta, 1 / c, times=times / c)
    assert np.abs(a.states - b.states).max() < RELAXING


@share(0.2)
@given(strategies.multi_tasks(max_tasks=2), units, strategies.seeds())
def test_units_of_the_exact_loss(task, c, seed):
    omega, mu = np.random.default_rng(seed).uniform(0.1, 0.8, size=(2, task.outputs))
    noise = c**0.5 * task.noise
    other = MultiTask(task.block_dims, c * task.signal, task.context_length, noise=noise)
    here, there = exact_loss(omega, mu, task), exact_loss(omega, mu, other)
    assert (
        abs(there.value - c * here.value) <= there.error + c * here.error + 100 * EPS * there.value
    )

"""Flows are semigroups: a run restarted is the run; closed forms solve it; descent tends to it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analytic
import gpu
from analytic import softmax
from numerics import (
    Adam,
    AttentionSystem,
    LinearTask,
    MergedAttention,
    Momentum,
    SeparateAttention,
    gradient_descent,
    gradient_flow,
    population_moments,
    stability,
    strategies,
    system_flow,
    train,
)

from .forms import keywords
from .support import EPS, RELAXING, assert_each, assert_same, rejects, share

positive, lengths = st.floats(0.05, 20.0), st.floats(1.0, 1e4)
noises, small = strategies.noises(5.0), st.floats(0.01, 1.0)
fractions = st.floats(0.05, 0.95)


def short(system, theta):
    """A time over which no weight moves by more than a third: gradients may be of any size."""
    speed = np.linalg.norm(system.velocity(theta))
    return float(min(1.0, 0.3 * max(1e-3, np.linalg.norm(theta)) / max(speed, 1e-3)))


# Closed forms as semigroups.


@given(positive, positive, st.floats(0.01, 0.98), st.floats(0.01, 0.98), st.floats(0.01, 0.98))
def test_durations_add_up(growth, curvature, x, y, z):
    limit = (growth / curvature) ** (1 / 3)
    a, b, c = (limit * value for value in (x, y, z))

    def time(end, start):
        return analytic.time_to_reach(end, start, growth, curvature)

    whole, parts = time(c, a), time(b, a) + time(c, b)
    scale = max(abs(time(b, a)), abs(time(c, b)), 1 / (growth * limit))
    # 1 − a³v³ >= 0.05 multiplies the error of some 30 operations by at most 20.
    assert abs(whole - parts) <= 600 * EPS * scale
    assert (time(b, a) > 0) == (b > a)


def check_semigroup(course, size, length, norm, lam, omega, noise, t, part):
    """m(t + t') from w is m(t') from the norm √(m(t)√D) that has been reached by t."""
    keys = {"eigenvalue": lam, "task_eigenvalue": omega, "noise": noise}
    rate = 2 * size**0.5 * lam**2 * omega
    whole = course(t / rate, norm, size, length, **keys)
    middle = course(part * t / rate, norm, size, length, **keys)
    reached = math.sqrt(middle * math.sqrt(size))
    last = course((1 - part) * t / rate, reached, size, length, **keys)
    assert_each(last, whole, 60 * (1 + t))


white = (st.integers(1, 9), lengths, st.floats(1e-4, 0.5), positive, positive, noises,
         st.floats(0.0, 30.0), fractions)  # fmt: skip


@given(*white)
def test_white_time_courses_are_semigroups(size, length, norm, lam, omega, noise, t, part):
    course = analytic.white_time_course
    check_semigroup(course, size, length, norm, lam, omega, noise, t, part)


def test_an_exponential_approach_is_rejected():
    def wrong(t, norm, size, length, *, eigenvalue, **keys):
        """From m(0) to m(∞) at the rate of escape, without the logistic's shape."""
        keys["eigenvalue"] = eigenvalue
        ends = [analytic.white_time_course(s, norm, size, length, **keys) for s in (0.0, math.inf)]
        rate = 2 * size**0.5 * eigenvalue**2 * keys["task_eigenvalue"]
        return ends[1] + (ends[0] - ends[1]) * math.exp(-rate * t * ends[0] / ends[1])

    rejects(lambda *x: check_semigroup(wrong, *x), *white)


@given(
    st.integers(1, 9), lengths, st.floats(1e-4, 0.5), positive, positive, noises, st.floats(0, 50)
)
def test_white_curve_runs_from_start_to_global_minimum(size, length, norm, lam, omega, noise, t):
    keywords = {"eigenvalue": lam, "task_eigenvalue": omega, "noise": noise}
    spectrum = ([lam] * size, length)
    spectral = {"task_eigenvalues": omega, "noise": noise}
    assert_each(analytic.white_time_course(0.0, norm, size, length, **keywords),
                norm**2 / math.sqrt(size), 8)  # fmt: skip
    end = analytic.white_time_course(math.inf, norm, size, length, **keywords)
    assert math.isclose(end, analytic.mode_coefficients(*spectrum, **spectral)[0], rel_tol=1e-13)
    last = analytic.white_loss_curve(math.inf, norm, size, length, **keywords)
    assert math.isclose(last, analytic.plateau_losses(*spectrum, **spectral)[-1], rel_tol=1e-13)
    # The loss is the definition at m(t); its terms cancel down from D λω.
    m = analytic.white_time_course(t, norm, size, length, **keywords)
    assert np.isfinite(m)
    curvature = analytic.mode_curvature(*spectrum, **spectral)[0]
    direct = size * (lam * omega - 2 * lam**2 * omega * m + curvature * m * m)
    got = analytic.white_loss_curve(t, norm, size, length, **keywords)
    magnitude = size * (lam * omega + 2 * lam**2 * omega * m + curvature * m * m)
    assert abs(got - direct) <= 60 * EPS * magnitude


def test_white_curve_does_not_overflow():
    times = np.array([0.0, 1e2, 1e6, 1e300, math.inf])
    m = analytic.white_time_course(times, 1e-3, 4, 31)
    assert np.all(np.isfinite(m))
    np.testing.assert_allclose(m[2:], 31 / 36, rtol=4e-16)


@given(st.floats(0.001, 0.1), positive)
def test_learning_time_approaches_the_exact_time(start, growth):
    # t(v) − t(v0) = (τ/growth)(1/v0 + F(v) + a π/(6√3) + O(v0²)): the gap stays bounded.
    curvature = growth
    exact = analytic.time_to_reach(0.9, start, growth, curvature)
    gap = growth * (exact - analytic.learning_time(start, growth))
    smaller = analytic.time_to_reach(0.9, start / 2, growth, curvature)
    gap_smaller = growth * (smaller - analytic.learning_time(start / 2, growth))
    # Φ(x) + 1/x is x²/2 + const near 0, so halving the start moves the gap by 3/8 start².
    expected = 3 / 8 * start**2
    assert abs((gap_smaller - gap) - expected) < 0.05 * expected + 1e-10


@given(small, small, st.integers(1, 40), positive, st.integers(1, 64), fractions, fractions)
def test_the_warm_up_is_a_semigroup_and_its_times_invert_it(omega, mu, d, lam, width, part, share_):
    start, rest = (omega / 50, mu / 50), (d, lam, width)
    end = softmax.blow_up_time(*start, *rest)
    t, growth = part * end, 4 * lam * (start[1] + d * width**0.5 * start[0]) / width**0.5
    # Accuracy: 8 eps (1 + growth · t)(1 + 1/q), q >= 0.05 what is left of 1.
    roundings = 60 * (1 + growth * end) * 21
    whole = softmax.warmup_time_course(t, *start, *rest)
    middle = softmax.warmup_time_course(share_ * t, *start, *rest)
    last = softmax.warmup_time_course((1 - share_) * t, *middle, *rest)
    assert_each(np.array(last), np.array(whole), roundings)
    left = softmax.blow_up_time(*middle, *rest)
    assert abs(left - (end - share_ * t)) <= roundings * EPS * end
    back = softmax.warmup_time(whole.omega_bar, *start, *rest)
    assert abs(back - t) <= roundings * EPS * end


# Runs.


def check_restart(flow, system, theta, duration, part):
    """Run to t, then from there: the run of both."""
    whole = flow(system, theta, duration)
    middle = flow(system, theta, part * duration)
    last = flow(system, middle, (1 - part) * duration)
    assert np.abs(last - whole).max() < RELAXING * max(1.0, np.abs(whole).max())


def last_state(system, theta, duration):
    run = system_flow(system, theta, duration, method="DOP853")
    assert run.status == "finished"
    return run.states[-1]


@share(0.6)
@given(st.data(), strategies.gradient_systems(), fractions)
def test_flows_restart(data, system, part):
    theta = data.draw(strategies.weights(system, scale=0.3))
    check_restart(last_state, system, theta, short(system, theta), part)


@share(0.3)
@given(st.data(), strategies.linear_tasks(max_dimension=3), fractions)
def test_flows_of_one_run_and_of_many_restart(data, task, part):
    model, moments = data.draw(strategies.linear_models(task.dimension)), population_moments(task)
    theta = data.draw(strategies.weights(model, scale=0.3))
    times = np.array([0.0, 3 * part, 3.0])
    whole = gradient_flow(model, moments, theta, 3.0, times=times)
    last = gradient_flow(model, moments, whole.states[1], 3 * (1 - part)).states[-1]
    assert np.abs(last - whole.states[-1]).max() < RELAXING
    # Recording more times changes where the solver steps, not the run.
    plain = gradient_flow(model, moments, theta, 3.0)
    assert np.abs(plain.states[-1] - whole.states[-1]).max() < RELAXING
    assert_same(whole.states[0], theta, 50, scale=1.0)  # turned to the eigenbases and back
    stacked = gpu.stack_moments([task])
    rows = gpu.gradient_flow(model, stacked, np.stack([theta, 0.5 * theta]), 3.0, times=times)
    assert np.abs(rows.states[0] - whole.states).max() < RELAXING
    again = gpu.gradient_flow(model, stacked, rows.states[:, 1], 3 * (1 - part))
    assert np.abs(again.states[:, -1] - rows.states[:, -1]).max() < RELAXING
    until = gradient_flow(model, moments, theta, 3.0, until_loss=float(whole.loss[1]))
    assert until.t[-1] <= 3 * part + 1e-3 or np.ptp(whole.loss) < 1e-6


def test_a_restart_that_forgets_time_is_rejected():
    def aging(system, theta, duration):
        """A flow whose clock slows down from its own start."""
        return last_state(system, theta, duration / (1 + duration))

    model = MergedAttention(1, 1)
    system = AttentionSystem(model, population_moments(LinearTask([[1.0]], 10)))
    rejects(lambda part: check_restart(aging, system, np.array([0.3, 0.5]), 1.0, part), fractions)


@given(st.data(), strategies.gradient_systems(jacobian=False), st.integers(1, 5), st.integers(1, 5))
def test_descent_restarts_to_the_last_bit(data, system, first, second):
    theta = data.draw(strategies.weights(system, scale=0.3))
    rate = 0.1 * short(system, theta)
    whole = gradient_descent(system, theta, first + second, rate)
    middle = gradient_descent(system, theta, first, rate).states[-1]
    np.testing.assert_array_equal(
        gradient_descent(system, middle, second, rate).states[-1], whole.states[-1]
    )
    assert whole.t.tolist() == list(range(first + second + 1))
    every = gradient_descent(system, theta, first + second, rate, every=first)
    np.testing.assert_array_equal(every.states[-1], whole.states[-1])
    # An optimiser with a memory goes on from a checkpoint only; recording does not disturb it.
    optimiser = data.draw(st.sampled_from([Momentum(), Adam()]))
    runs = [
        train(system, theta, first + second, rate, optimiser=optimiser, record=record)
        for record in (None, [0, first, first + second])
    ]
    np.testing.assert_array_equal(runs[0].states[-1], runs[1].states[-1])


def errors_of_descent(system, theta, duration, unit, counts):
    """Weights of descent minus those of the flow, for each number of steps."""
    wanted = system_flow(system, theta, duration, method="DOP853", rtol=1e-12).states[-1]
    return [
        gradient_descent(system, theta, n, duration / unit / n, every=n).states[-1] - wanted
        for n in counts
    ]


def check_first_order(system, theta, duration, unit=2.0):
    """A step of rate η lasts 2η: halving η halves the error, up to its second order."""
    coarse, fine = errors_of_descent(system, theta, duration, unit, (100, 200))
    slack = 1e-10 * max(1.0, np.abs(theta).max())
    # e(η) − 2e(η/2) = O(η²): 1/100 of T times the rates, of order one over so short a time.
    assert np.abs(coarse - 2 * fine).max() <= 0.1 * np.abs(coarse).max() + slack
    # And e(η) itself is no more than η times the change of the velocity along the way.
    change = np.abs(theta).max() * 0.01 + slack
    assert np.abs(coarse).max() <= change


@share(0.6)
@given(st.data(), strategies.gradient_systems())
def test_descent_tends_to_the_flow_at_first_order(data, system):
    theta = data.draw(strategies.weights(system, scale=0.4))
    check_first_order(system, theta, short(system, theta))


def test_descent_in_another_unit_of_time_is_rejected():
    model = SeparateAttention(1, 1)
    system = AttentionSystem(model, population_moments(LinearTask([[1.0]], 10)))
    theta = np.array([0.3, 0.4, 0.5])
    check_first_order(system, theta, 0.5)
    for unit in (1.0, 1.9, 4.0):
        rejects(lambda u: check_first_order(system, theta, 0.5, u), st.just(unit))


# Closed forms against runs.


@share(0.3)
@given(st.integers(1, 3), st.integers(1, 50), strategies.noises(), st.floats(0.05, 0.4))
def test_white_curves_and_aligned_heads_are_runs(size, length, noise, norm):
    task = LinearTask(0.8 * np.eye(size), length, 1.5 * np.eye(size), noise)
    moments, times = population_moments(task), np.linspace(0.0, 4.0, 6)
    model = MergedAttention(size, 1)
    start = model.pack([norm], norm / math.sqrt(size) * np.eye(size)[None])
    run = gradient_flow(model, moments, start, 4.0, times=times)
    keys = {"eigenvalue": 0.8, "task_eigenvalue": 1.5, "noise": noise}
    curve = analytic.white_loss_curve(times, norm, size, length, **keys)
    assert np.abs(run.loss - curve).max() < RELAXING
    course = analytic.white_time_course(times, norm, size, length, **keys)
    assert np.abs(run.matrices - course[:, None, None] * np.eye(size)).max() < RELAXING
    spectral = [0.8] * size, length
    rates = (
        analytic.mode_growth([0.8], task_eigenvalues=1.5)[0],
        analytic.mode_curvature(*spectral, **keywords(1.5, noise))[0],
    )
    head = SeparateAttention(size, 1)
    v0, one = norm * (rates[0] / rates[1]) ** (1 / 3), np.eye(size)[:1]
    run = gradient_flow(head, moments, head.pack([v0], v0 * one, v0 * one), 4.0, times=times)
    reached = analytic.time_to_reach(run.states[1:, 0], v0, *rates)
    assert np.abs(reached - times[1:]).max() < 100 * RELAXING


@share(0.4)
@given(strategies.linear_tasks(), st.integers(1, 4))
def test_zero_of_merged_attention_escapes_once_per_head(task, heads):
    moments = population_moments(task)
    model = MergedAttention(task.dimension, heads)
    result = stability(AttentionSystem(model, moments), np.zeros(model.size))
    assert result.index == heads == analytic.merged_zero_index(heads)
    assert result.escape_rate == pytest.approx(np.linalg.norm(moments.correlation), rel=1e-12)
    growth = np.linalg.eigvalsh(moments.correlation)
    assert_same(analytic.escape_rate(np.ones(len(growth)), task_eigenvalues=growth),
                result.escape_rate, 1e4)  # fmt: skip

"""Exact, 50-digit and float evaluations of one closed form agree; dtypes and batches are kept."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

import analytic

EPS = np.finfo(float).eps

# Generic points: D, N, λ, ω and σ all differ from 1, 0 and from each other.
POINTS = [
    (
        [Fraction(7, 3), Fraction(5, 4), Fraction(2, 9)],
        Fraction(31),
        [Fraction(2, 3), Fraction(3, 2), Fraction(5, 7)],
        Fraction(1, 3),
    ),
    (
        [Fraction(1, 50), Fraction(13, 5)],
        Fraction(17, 2),
        [Fraction(9, 4), Fraction(1, 8)],
        Fraction(7, 5),
    ),
    (
        [Fraction(3), Fraction(11, 6), Fraction(8, 7), Fraction(1, 10)],
        Fraction(1000),
        [Fraction(1, 2), Fraction(4, 3), Fraction(6, 5), Fraction(2)],
        Fraction(1, 9),
    ),
]
SPECTRAL = [
    analytic.feature_eigenvalues,
    analytic.mode_coefficients,
    analytic.mode_curvature,
    analytic.mode_gains,
    analytic.plateau_losses,
]


def floats(values):
    return np.array([float(value) for value in values])


@pytest.fixture
def fifty_digits():
    with mpmath.workdps(50):
        yield


def precise(value):
    return mpmath.mpf(value.numerator) / value.denominator


@pytest.mark.parametrize("function", SPECTRAL)
@pytest.mark.parametrize("point", POINTS)
def test_fractions_stay_exact_and_floats_agree(function, point):
    lam, length, omega, sigma = point
    exact = function(lam, length, task_eigenvalues=omega, noise=sigma)
    assert all(type(value) is Fraction for value in exact)
    got = function(floats(lam), float(length), task_eigenvalues=floats(omega), noise=float(sigma))
    # Sums of at most 5 non-negative terms, each of about 15 products, from rounded arguments.
    np.testing.assert_allclose(got, floats(exact), rtol=25 * EPS)


@pytest.mark.parametrize("point", POINTS)
def test_exact_integers_divide_exactly(point):
    # Integers next to a fraction must not meet in an int/int quotient.
    lam, _, omega, _ = point
    for function in SPECTRAL:
        mixed = function([2, *lam[1:]], 31, task_eigenvalues=[3, *omega[1:]], noise=2)
        assert all(type(value) is Fraction for value in mixed)


def test_integers_next_to_symbols_divide_exactly():
    t, w = sp.symbols("t w", positive=True)
    curve = analytic.white_time_course(t, w, 2, 31, noise=2, tau=3)
    duration = analytic.time_to_reach(t, w, 2, 3)
    assert not curve.atoms(sp.Float)
    assert not duration.atoms(sp.Float)


@pytest.mark.parametrize("length", [math.inf, float("inf"), np.inf])
def test_infinite_length_stays_exact(length):
    lam, omega = [Fraction(7, 3), Fraction(5, 4)], [Fraction(2, 3), Fraction(3, 2)]
    got = analytic.plateau_losses(lam, length, task_eigenvalues=omega, noise=Fraction(1, 3))
    # λ²ω orders the modes: 49/9 · 2/3 > 25/16 · 3/2.
    assert all(type(value) is Fraction for value in got)
    assert list(got) == [lam[0] * omega[0] + lam[1] * omega[1], lam[1] * omega[1], 0]


@pytest.mark.parametrize("point", POINTS)
def test_plateaus_equal_the_defining_difference(point):
    lam, length, omega, sigma = point
    keywords = {"task_eigenvalues": omega, "noise": sigma}
    plateaus = analytic.plateau_losses(lam, length, **keywords)
    order = sorted(range(len(lam)), key=lambda d: -(lam[d] ** 2) * omega[d])
    assert list(analytic.visit_order(lam, task_eigenvalues=omega)) == order
    trace = sum(a * b for a, b in zip(lam, omega, strict=True))
    s = analytic.feature_eigenvalues(lam, length, **keywords)
    expected = [trace]
    for d in order:
        expected.append(expected[-1] - (lam[d] ** 2 * omega[d]) ** 2 / (s[d] * lam[d]))
    assert list(plateaus) == expected
    for mask in analytic.fixed_point_subsets(len(lam)):
        lost = sum(
            (lam[d] ** 2 * omega[d]) ** 2 / (s[d] * lam[d]) for d in range(len(lam)) if mask[d]
        )
        assert analytic.fixed_point_loss(mask, lam, length, **keywords) == trace - lost


def test_last_plateau_of_a_long_context_keeps_its_digits():
    lam, length = [Fraction(3), Fraction(1, 7), Fraction(2, 9)], 10**14
    exact = analytic.plateau_losses(lam, Fraction(length))[-1]
    got = analytic.plateau_losses(floats(lam), float(length))[-1]
    # The naive difference of order-1 numbers would leave a relative error of about 1e-2 here.
    assert abs(got / float(exact) - 1) < 25 * EPS


WHITE = [
    (Fraction(3), 4, Fraction(31), Fraction(1, 10)),
    (Fraction(1, 2), 7, Fraction(9, 2), Fraction(1, 50)),
    (Fraction(9), 3, Fraction(200), Fraction(3, 4)),
]


@pytest.mark.parametrize("function", [analytic.white_time_course, analytic.white_loss_curve])
@pytest.mark.parametrize("point", WHITE)
@pytest.mark.usefixtures("fifty_digits")
def test_white_curves_to_fifty_digits(function, point):
    t, size, length, norm = point
    rest = {
        "eigenvalue": Fraction(5, 4),
        "task_eigenvalue": Fraction(2, 3),
        "noise": Fraction(1, 3),
        "tau": Fraction(3, 2),
    }
    reference = function(
        precise(t), precise(norm), size, precise(length), **{k: precise(x) for k, x in rest.items()}
    )
    got = function(
        float(t), float(norm), size, float(length), **{k: float(x) for k, x in rest.items()}
    )
    # The exponent r t is rounded about 8 times and its relative error is multiplied by r t < 80;
    # 30 further operations.
    assert abs(got - float(reference)) <= (8 * 80 + 30) * EPS * abs(float(reference))


@pytest.mark.usefixtures("fifty_digits")
@pytest.mark.parametrize(
    ("value", "start", "growth", "curvature"),
    [(0.7, 0.01, 4.0, 8.0), (0.3, 0.2, 1.7, 3.1), (2.0, 1e-5, 0.3, 0.02), (0.05, 0.4, 2.0, 5.0)],
)
def test_time_to_reach_equals_the_integral(value, start, growth, curvature):
    reference = mpmath.quad(
        lambda v: 1 / (growth * v**2 - curvature * v**5),
        mpmath.linspace(mpmath.mpf(start), mpmath.mpf(value), 20),
    )
    precise_time = analytic.time_to_reach(*map(mpmath.mpf, (value, start, growth, curvature)))
    if start > 1e-3:  # quadrature in v resolves only starts of moderate size
        assert abs(precise_time / reference - 1) < mpmath.mpf(10) ** -20
    got = analytic.time_to_reach(value, start, growth, curvature)
    # 1 − a³v³ is above 0.05 here: its relative error is 20 times that of some 10 operations.
    assert abs(got / float(precise_time) - 1) < 300 * EPS


@pytest.mark.usefixtures("fifty_digits")
@pytest.mark.parametrize("step", [1e-3, 1e-9, 1e-14])
def test_time_to_reach_a_near_value_keeps_its_digits(step):
    start, growth, curvature = 0.37, 1.7, 3.1
    value = start * (1 + step)
    precise_time = analytic.time_to_reach(*map(mpmath.mpf, (value, start, growth, curvature)))
    got = analytic.time_to_reach(value, start, growth, curvature)
    # a·v − a·v0 rounds two products: an absolute error of eps against a difference of step.
    bound = 20 * EPS + 2 * EPS / step
    assert abs(got / float(precise_time) - 1) < bound


@pytest.mark.usefixtures("fifty_digits")
@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9])
def test_time_near_the_limit_is_as_good_as_the_argument(distance):
    growth, curvature, start = 4.0, 8.0, 0.01
    limit = (growth / curvature) ** (1 / 3)
    value = limit * (1 - distance)
    precise_time = analytic.time_to_reach(*map(mpmath.mpf, (value, start, growth, curvature)))
    got = analytic.time_to_reach(value, start, growth, curvature)
    # Documented: ε a τ/(3 growth (1 − av)), with ε some 10 roundings.
    sensitivity = 10 * EPS / limit / (3 * growth * distance)
    assert abs(got - float(precise_time)) < sensitivity + 20 * EPS * got


def test_time_to_reach_the_limit_is_infinite():
    for growth, curvature in [(4.0, 8.0), (1.7, 3.1), (0.3, 0.02)]:
        limit = (growth / curvature) ** (1 / 3)
        assert analytic.time_to_reach(limit, 0.01, growth, curvature) == math.inf
        array = analytic.time_to_reach(np.array([0.02, limit]), 0.01, growth, curvature)
        assert np.isfinite(array[0])
        assert array[1] == math.inf
    assert (
        analytic.time_to_reach(Fraction(1, 2), Fraction(1, 4), Fraction(1), Fraction(8)) == math.inf
    )


def test_low_rank_of_one_head_is_the_scalar_ode():
    for v, growth, curvature in [
        (0.3, 1.7, 3.1),
        (Fraction(2, 3), Fraction(5, 2), Fraction(7, 9)),
        (1.4, 0.3, 0.02),
    ]:
        dv, dk = analytic.low_rank_velocity([v], [[v]], [[0]], [growth], [curvature])
        scalar = analytic.value_velocity(v, growth, curvature)
        assert float(dv[0]) == pytest.approx(float(scalar), rel=20 * EPS)
        assert float(dk[0, 0]) == pytest.approx(float(scalar), rel=20 * EPS)


def test_float32_stays_float32():
    x = np.array([2.0, 0.5, 1.25], np.float32)
    v, k = x[:2] / 4, np.stack([x, x[::-1]])[:, :2] / 4
    results = [
        *(function(x, 31, noise=0.5) for function in SPECTRAL),
        analytic.mode_growth(x),
        analytic.white_time_course(x, 0.1, 4, 31),
        analytic.white_loss_curve(x, 0.1, 4, 31),
        analytic.time_to_reach(x / 8, 0.01, 4, 8),
        analytic.value_velocity(x, 4, 8),
        analytic.learning_time(x, 4.0),
        analytic.escape_rate(x),
        analytic.escape_time(1e-3, x),
        *analytic.aligned_velocity(0.3, x, x, 31),
        *analytic.low_rank_velocity(v, k, [[0, 2], [1, 1]], x, x),
        *analytic.ansatz_weights([True, False, True], x, 31),
        *analytic.rotation_eigenvalues(0, 1, x, 31),
        analytic.least_norm([True, False, True], x, 31),
        analytic.feature_second_moment(np.diag(x), 31, noise=0.5),
        analytic.population_loss(np.diag(x), np.diag(x), np.diag(x)),
        analytic.optimal_weights(np.diag(x), np.diag(x)),
        analytic.minimum_loss(np.diag(x), np.diag(x)),
        analytic.mode_gains(x, np.array([31, 63, 7])),
        analytic.predict(np.diag(x), x, x),
    ]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


def test_python_integers_become_floats():
    assert analytic.mode_gains([2, 1], 31).dtype == np.float64
    assert analytic.input_target_moment([[2, 0], [0, 1]], [[1, 0], [0, 3]]).tolist() == [
        [2, 0],
        [0, 3],
    ]


@pytest.mark.parametrize("function", SPECTRAL)
def test_batch_equals_loop_and_lengths_broadcast(function):
    rng = np.random.default_rng(0)
    lam, omega = rng.uniform(0.1, 3, (4, 5)), rng.uniform(0.1, 3, (4, 5))
    lengths, sigma = np.array([1.5, 8.0, 31.0, np.inf]), np.array([0.0, 0.1, 0.5, 2.0])
    batch = function(lam, lengths, task_eigenvalues=omega, noise=sigma)
    for i in range(4):
        one = function(lam[i], lengths[i], task_eigenvalues=omega[i], noise=sigma[i])
        np.testing.assert_array_equal(batch[i], one)
    per_length = function(lam[0], lengths)
    for i in range(4):
        np.testing.assert_array_equal(per_length[i], function(lam[0], lengths[i]))


def test_matrix_batches_equal_loops():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 4, 4))
    cov = root @ np.swapaxes(root, -1, -2) + np.eye(4)
    lengths = np.array([5.0, 31.0, np.inf])
    second = analytic.feature_second_moment(cov, lengths, noise=0.3)
    best = analytic.optimal_weights(cov, second)
    for i in range(3):
        alone = analytic.feature_second_moment(cov[i], lengths[i], noise=0.3)
        np.testing.assert_allclose(second[i], alone, rtol=20 * EPS, atol=0)
        np.testing.assert_allclose(best[i], analytic.optimal_weights(cov[i], alone), rtol=1e-11)


def test_matrix_forms_agree_in_fractions_and_floats():
    cov = np.array([[Fraction(7, 3), Fraction(1, 2)], [Fraction(1, 2), Fraction(5, 4)]])
    task = np.array([[Fraction(2, 3), Fraction(-1, 5)], [Fraction(-1, 5), Fraction(3, 2)]])
    exact = analytic.feature_second_moment(
        cov, Fraction(9), task_covariance=task, noise=Fraction(1, 3)
    )
    got = analytic.feature_second_moment(
        cov.astype(float), 9, task_covariance=task.astype(float), noise=1 / 3
    )
    np.testing.assert_allclose(got, exact.astype(float), rtol=30 * EPS)
    best = analytic.optimal_weights(cov, exact, task_covariance=task)
    assert all(type(entry) is Fraction for entry in best.flat)
    assert (exact @ best == cov @ task).all()
    least = analytic.minimum_loss(cov, exact, task_covariance=task)
    assert analytic.population_loss(best, cov, exact, task_covariance=task) == least


def test_effective_length():
    assert analytic.effective_context_length([Fraction(2), Fraction(6)]) == 3
    assert analytic.effective_context_length(
        [Fraction(4), Fraction(8)], [Fraction(1, 4), Fraction(3, 4)]
    ) == Fraction(32, 5)
    assert analytic.effective_context_length([math.inf, math.inf]) == math.inf
    assert analytic.effective_context_length([2.0, math.inf]) == 4.0
    batch = analytic.effective_context_length([[2.0, 6.0], [31.0, 31.0]])
    np.testing.assert_allclose(batch, [3.0, 31.0], rtol=4 * EPS)


def test_a_mode_without_signal_or_features_has_no_weight():
    # ω_d = 0 at N = ∞ is 0/0 in m = λω/s; the limit N → ∞ is 0.
    got = analytic.mode_coefficients([2.0, 1.0], math.inf, task_eigenvalues=[1.0, 0.0])
    assert got.tolist() == [0.5, 0.0]
    near = analytic.mode_coefficients([2.0, 1.0], 1e12, task_eigenvalues=[1.0, 0.0])
    assert near[1] == 0.0

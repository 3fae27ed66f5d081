"""Softmax attention: oracles in exact and 50-digit arithmetic, limits, dtypes and batches."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from analytic import softmax

EPS = np.finfo(float).eps
DIMS, SIGNAL, NOISE = [7, 12, 4], [0.9, 0.4, 2.5], 0.6
PENALTIES = [0.0, 1e-12, 0.05, 5.0, 1e8]


@pytest.fixture
def fifty_digits():
    with mpmath.workdps(50):
        yield


def weights(seed, heads=2, dims=(2, 3), batch=()):
    rng = np.random.default_rng(seed)
    shape = (*batch, heads, sum(dims))
    return 0.5 * rng.normal(size=shape), rng.normal(size=(*batch, heads, len(dims)))


def placed(omega, mu, dims):
    """Head i on block i: ω (I,) and μ (I,) laid out as (H, d) and (H, I)."""
    out = np.zeros((len(dims), sum(dims)))
    for i, (start, size) in enumerate(zip(np.cumsum([0, *dims]), dims, strict=False)):
        out[i, start : start + size] = omega[i]
    return out, np.diag(mu)


def test_fractions_stay_exact_where_nothing_is_transcendental():
    half = Fraction(1, 2)
    assert softmax.noise_factor(3, half, noise=half) == Fraction(7, 6)
    loss = softmax.linear_attention_loss([[half, half]], [[Fraction(1)]], 2, half, 10, noise=half)
    # λ Σ(1 − ½)² + (λd + σ²)/L · (1 + ⟨ω, ω⟩).
    assert loss == Fraction(1, 4) + Fraction(5, 40) * Fraction(3, 2)
    allocated = softmax.allocation_loss([half, Fraction(1)], [2, 3], half, 10)
    assert allocated == Fraction(1) / (1 + half * 5) + Fraction(3, 2) * Fraction(3, 13)
    assert softmax.hermite_response(3, half, 3) == Fraction(27, 8)


@pytest.mark.parametrize("cap", [None, 1])
@pytest.mark.parametrize("length", [3, 40, 10**6])
def test_water_filling_against_bisection(fifty_digits, cap, length):
    budget = mpmath.exp(-1) if cap is None else mpmath.mpf(2)
    numbers = [
        (d, mpmath.mpf(lam), mpmath.mpf(NOISE) ** 2) for d, lam in zip(DIMS, SIGNAL, strict=True)
    ]

    def filled(level):
        amounts = [
            max(level * mpmath.sqrt(d * (lam * d + n)) - (lam * d + n) / (lam * length), 0)
            for d, lam, n in numbers
        ]
        return amounts if cap is None else [min(amount, cap) for amount in amounts]

    low, high = mpmath.mpf(0), mpmath.mpf(100)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(filled(middle)) < budget else (low, middle)
    keywords = {} if cap is None else {"budget": 2, "cap": cap}
    exact = softmax.water_filling(
        DIMS, [mpmath.mpf(lam) for lam in SIGNAL], length, noise=mpmath.mpf(NOISE), **keywords
    )
    assert all(abs(a - b) < mpmath.mpf(10) ** -45 for a, b in zip(exact, filled(low), strict=True))
    got = softmax.water_filling(DIMS, SIGNAL, length, noise=NOISE, **keywords)
    ratio = max((lam * d + n) / (lam * length) for d, lam, n in numbers)
    # ν = level · weight − c: some 20 roundings of numbers as large as c.
    assert np.max(np.abs(got - np.array(exact, dtype=float))) < 20 * EPS * float(1 + ratio)


def test_single_head_sums_to_one_in_fifty_digits(fifty_digits):
    lam = [mpmath.mpf(3) / 7, mpmath.mpf(2), mpmath.mpf(1) / 9]
    best = softmax.single_head_optimum([3, 5, 8], lam, 60, noise=mpmath.mpf(1) / 3)
    assert abs(sum(best.squared_weights) - 1) < mpmath.mpf(10) ** -48
    assert abs(sum(np.array([3, 5, 8]) * best.omega_bar**2) - 1) < mpmath.mpf(10) ** -48


def test_limit_is_a_fixed_point_and_off_task_read_outs_feel_the_escape_rate():
    keywords = {"noise": NOISE}
    point = softmax.limit_weights(DIMS, SIGNAL, 50, **keywords)
    omega, mu = placed(point.omega_bar, point.mu, DIMS)
    arrays = (omega, mu, DIMS, SIGNAL, 50)
    loss = softmax.spectral_loss(*arrays, **keywords)
    assert math.isclose(loss, softmax.limit_loss(DIMS, SIGNAL, 50, **keywords), rel_tol=30 * EPS)
    longer = softmax.spectral_loss(omega, mu, DIMS, SIGNAL, 80, **keywords)
    closed = softmax.generalised_loss(DIMS, SIGNAL, 50, 80, **keywords)
    assert math.isclose(longer, closed, rel_tol=30 * EPS)
    d_omega, d_mu = softmax.spectral_gradient(*arrays, **keywords)
    rate = softmax.limit_escape_rate(DIMS, SIGNAL, 50, **keywords)
    # The gradient's terms, at most of order λ d μ, cancel within rounding.
    scale = 100 * EPS * np.max(np.array(SIGNAL) * np.array(DIMS) * point.mu)
    assert np.max(np.abs(d_omega)) < scale
    assert np.max(np.abs(d_mu - rate * (1 - np.eye(3)))) < scale


def test_single_head_optimum_is_a_fixed_point_of_the_spectral_loss():
    best = softmax.single_head_optimum(DIMS, SIGNAL, 400, noise=NOISE)
    assert np.all(best.squared_weights > 0)
    omega = np.repeat(best.omega_bar, DIMS)[None]
    arrays = (omega, best.mu[None], DIMS, SIGNAL, 400)
    assert math.isclose(softmax.spectral_loss(*arrays, noise=NOISE), best.loss, rel_tol=30 * EPS)
    d_omega, d_mu = softmax.spectral_gradient(*arrays, noise=NOISE)
    scale = 100 * EPS * np.max(np.array(SIGNAL) * np.array(DIMS) * best.mu)
    assert max(np.max(np.abs(d_omega)), np.max(np.abs(d_mu))) < scale


def test_allocated_heads_have_the_spectral_loss_of_their_weights():
    groups, dims = ([0, 2], [1]), np.array(DIMS)
    omega, mu = np.zeros((2, dims.sum())), np.zeros((2, 3))
    owner = np.repeat(np.arange(3), dims)
    for head, group in enumerate(groups):
        best = softmax.single_head_optimum(dims[group], np.array(SIGNAL)[group], 90, noise=NOISE)
        for i, task in enumerate(group):
            omega[head, owner == task] = best.omega_bar[i]
            mu[head, task] = best.mu[i]
    closed = softmax.allocated_loss([5, 1, 5], DIMS, SIGNAL, 90, noise=NOISE)
    got = softmax.spectral_loss(omega, mu, DIMS, SIGNAL, 90, noise=NOISE)
    assert math.isclose(got, closed, rel_tol=30 * EPS)


def test_figure_1_of_the_paper():
    # d = 30, I = H = 3, λ = 1, σ = 0, L = 100: c = 1/10, by hand.
    dims = [10, 10, 10]
    point = softmax.limit_weights(dims, 1.0, 100)
    np.testing.assert_allclose(point.omega_bar, 10**-0.5, rtol=4 * EPS)
    np.testing.assert_allclose(point.mu, math.sqrt(10) / (1 + math.e / 10), rtol=4 * EPS)
    each = 10 * (math.e / 10) / (1 + math.e / 10)
    np.testing.assert_allclose(softmax.task_limit_losses(dims, 1.0, 100), each, rtol=4 * EPS)
    alone = softmax.single_head_optimum(dims, 1.0, 100)
    np.testing.assert_allclose(alone.squared_weights, 1 / 3, rtol=20 * EPS)
    expected = 30 * 0.1 / (0.1 + 1 / (3 * math.e))
    assert math.isclose(alone.loss, expected, rel_tol=20 * EPS)
    # I equal tasks: the ratio of one head to I is I(1 + ec)/(1 + eIc).
    ratio = 3 * (1 + math.e / 10) / (1 + 3 * math.e / 10)
    assert math.isclose(softmax.separation([0, 1, 2], dims, 1.0, 100), ratio, rel_tol=40 * EPS)


@pytest.mark.parametrize("gamma", [1e-9, 0.3, 1 - 1e-9, 1.0, 1 + 1e-9, 4.0, 1e6])
@pytest.mark.parametrize("snr", [1e-3, 2.0, 1e12, math.inf])
def test_risks_against_fifty_digits(fifty_digits, gamma, snr):
    g, inverse = mpmath.mpf(gamma), 0 if snr == math.inf else 1 / mpmath.mpf(snr)

    def resolvent(rho):
        slack = 1 - g + rho
        root = mpmath.sqrt(slack**2 + 4 * g * rho)
        first = (root - slack) / (2 * g * rho)
        return first, first * (1 + g * first) / root

    for penalty in PENALTIES[1:]:
        rho = mpmath.mpf(penalty)
        first, second = resolvent(rho)
        got = softmax.marchenko_pastur_moments(gamma, penalty)
        # About 20 operations; 1 − γ is exact or well away from cancelling against ρ.
        assert abs(got.first / first - 1) < 40 * EPS
        assert abs(got.second / second - 1) < 40 * EPS
        risk = rho**2 * second + g * inverse * (first - rho * second)
        assert abs(softmax.ridge_risk(gamma, snr, penalty) / risk - 1) < 40 * EPS
    rho = g * inverse
    bayes = rho * resolvent(rho)[0] if rho else max(mpmath.mpf(0), 1 - 1 / g)
    assert abs(softmax.bayes_risk(gamma, snr) - bayes) <= 40 * EPS * bayes


@pytest.mark.parametrize(("gamma", "penalty"), [(0.4, 0.3), (2.5, 0.7)])
def test_moments_against_the_marchenko_pastur_density(gamma, penalty):
    low, high = (1 - math.sqrt(gamma)) ** 2, (1 + math.sqrt(gamma)) ** 2
    # x = middle + half · cos θ turns the square-root edges into a smooth periodic integrand.
    theta = (np.arange(4000) + 0.5) * np.pi / 4000
    x = (low + high) / 2 + (high - low) / 2 * np.cos(theta)
    density = ((high - low) / 2 * np.sin(theta)) ** 2 / (2 * np.pi * gamma * x) * np.pi / 4000
    atom = max(0.0, 1 - 1 / gamma)
    moments = softmax.marchenko_pastur_moments(gamma, penalty)
    for k, closed in enumerate(moments, start=1):
        integral = np.sum(density / (x + penalty) ** k) + atom / penalty**k
        assert math.isclose(integral, closed, rel_tol=1e-13)


def test_least_squares_and_double_descent():
    assert math.isclose(softmax.ridge_risk(0.5, 3.0, 0.0), 1 / 3, rel_tol=4 * EPS)  # (γ/s)/(1 − γ)
    expected = 0.5 + 1 / 3  # 1 − 1/γ + 1/(s(γ − 1))
    assert math.isclose(softmax.ridge_risk(2.0, 3.0, 0.0), expected, rel_tol=4 * EPS)
    # At γ = 1, ρ → 0 the risk is 1/(2 s √ρ), up to relative O(√ρ).
    assert math.isclose(softmax.ridge_risk(1.0, 3.0, 1e-10), 1e5 / 6, rel_tol=1e-4)


def test_long_contexts():
    inf = math.inf
    assert softmax.limit_loss(DIMS, SIGNAL, inf) == 0
    assert softmax.limit_weights(4, 1.0, inf).mu == 2
    best = softmax.single_head_optimum(DIMS, SIGNAL, inf, noise=NOISE)
    weight = np.sqrt(np.array(DIMS) * (np.array(SIGNAL) * DIMS + NOISE**2))
    np.testing.assert_allclose(best.squared_weights, weight / weight.sum(), rtol=20 * EPS)
    assert best.loss == 0
    assert softmax.spectral_loss(*weights(0), [2, 3], 1.0, inf) > 0


def test_separation_tends_to_its_limit_at_rate_one_over_length():
    assignment, arrays = [0, 1, 0], (DIMS, SIGNAL)
    limit = softmax.separation_limit(assignment, *arrays, noise=NOISE)
    gaps = [
        abs(softmax.separation(assignment, *arrays, length, noise=NOISE) / limit - 1)
        for length in (1e4, 1e5, 1e6)
    ]
    # c ∝ 1/L is the small parameter, its own size the next correction.
    np.testing.assert_allclose([gaps[0] / gaps[1], gaps[1] / gaps[2]], 10, rtol=0.2)
    assert softmax.separation_limit([0, 1, 0, 1, 2, 2], [5] * 6, 2.0) == pytest.approx(3)


def test_first_order_loss_tends_to_the_spectral_loss_at_rate_one_over_dimension():
    def gap(d):
        arrays = (np.full((1, d), d**-0.5), [[0.7 * d**0.5]], d, 1.0, 10 * d)
        return softmax.first_order_loss(*arrays) / softmax.spectral_loss(*arrays) - 1

    gaps = [gap(d) for d in (50, 100, 200, 400)]
    ratios = np.divide(gaps[:-1], gaps[1:])
    # 2 + O(1/d), the excess halving with each doubling.
    assert abs(ratios[-1] - 2) < 0.05
    assert abs(ratios[-1] - 2) < 0.7 * abs(ratios[0] - 2)


@pytest.mark.parametrize(
    "function", [softmax.spectral_loss, softmax.first_order_loss, softmax.linear_attention_loss]
)
def test_a_batch_of_weights_and_lengths_is_its_slices(function):
    omega, mu = weights(3, batch=(4,))
    omega = np.clip(omega, -0.6, 0.6)
    lengths = np.array([10, 20, 50, 1000])
    got = function(omega, mu, [2, 3], [1.0, 0.5], lengths, noise=0.3)
    one = [
        function(w, m, [2, 3], [1.0, 0.5], float(n), noise=0.3)
        for w, m, n in zip(omega, mu, lengths, strict=True)
    ]
    np.testing.assert_allclose(got, one, rtol=20 * EPS)


def test_weights_at_the_limit_have_one_shape():
    signal, lengths = np.array([[1.0, 0.3], [0.5, 2.0]]), np.array([[9], [90], [900]])
    for dims in (4.0, np.array([4.0, 9.0])):
        for arguments in ((dims, signal, 20), (dims, [1.0, 0.3], lengths[:, 0])):
            omega, mu = softmax.limit_weights(*arguments, noise=0.5)
            assert omega.shape == mu.shape
            np.testing.assert_array_equal(omega, np.broadcast_to(dims**-0.5, mu.shape))
    assert softmax.limit_weights(4.0, 1.0, lengths).omega_bar.shape == lengths.shape


def test_batches_of_tasks_are_their_slices():
    dims = np.array([[3.0, 5.0], [10.0, 2.0], [4.0, 4.0]])
    lengths, noises = np.array([5, 50, 500]), np.array([0.0, 1.0, 2.0])
    for function in (
        softmax.limit_loss,
        lambda *a, **k: softmax.lower_bound(*a, heads=2, **k),
        lambda *a, **k: softmax.single_head_optimum(*a, **k).loss,
        lambda *a, **k: softmax.separation([0, 1], *a, **k),
    ):
        got = function(dims, [1.0, 0.3], lengths, noise=noises)
        one = [
            function(d, [1.0, 0.3], n, noise=s)
            for d, n, s in zip(dims, lengths, noises, strict=True)
        ]
        np.testing.assert_allclose(got, one, rtol=20 * EPS)


def test_float32_stays_float32():
    omega, mu = (value.astype(np.float32) for value in weights(1))
    arrays = (omega, mu, [2, 3], np.float32([1.0, 0.5]), 30)
    assert softmax.spectral_loss(*arrays).dtype == np.float32
    assert all(part.dtype == np.float32 for part in softmax.spectral_gradient(*arrays))
    dims, lam = np.float32([3, 4]), np.float32([1.0, 0.5])
    assert softmax.limit_loss(dims, lam, 30, noise=0.5).dtype == np.float32
    assert softmax.water_filling(dims, lam, 30).dtype == np.float32
    assert softmax.ridge_risk(np.float32([0.5]), 2.0, 0.1).dtype == np.float32
    assert softmax.equilibrium_value(np.float32([0.1]), 10, 1.0, 30).dtype == np.float32


def test_risks_of_arrays_are_those_of_their_entries():
    gammas, snrs = np.array([1e-9, 0.3, 1.0, 1 + 1e-9, 4.0, 1e6]), np.array([1e-3, 1e12, math.inf])
    calls = [
        softmax.bayes_risk,
        lambda g, s: softmax.ridge_risk(g, s, 1e-12),
        lambda g, s: np.sum(softmax.marchenko_pastur_moments(g, np.minimum(1 / s + 1e-3, 9)), 0),
    ]
    for call in calls:
        expected = [[call(g, s) for s in snrs.tolist()] for g in gammas.tolist()]
        # The same operations; pow and sqrt may differ by a rounding.
        np.testing.assert_allclose(call(gammas[:, None], snrs), expected, rtol=8 * EPS)


@pytest.mark.parametrize("mean", [True, False])
def test_exponents_of_an_array_are_those_of_its_entries(mean):
    """At the least loads too, where the branches of the middle regime overflow."""
    loads = [0.0, 5e-324, 2e-311, 0.5, 0.6, 2 / 3, 1.0, 2.0, 1e300]
    alone = [softmax.participation_exponent(load, mean=mean) for load in loads]
    assert softmax.participation_exponent(loads, mean=mean).tolist() == alone

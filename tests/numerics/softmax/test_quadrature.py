"""The quadrature behind the exact loss, rule by rule: closed averages, limits, derivatives."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.special import gamma

from numerics.softmax._quadrature import _limits, power_sums, radial_rule
from numerics.softmax.exact import STEPS, attention_moments, averages, checked_length

FINE = STEPS[-1]
# Of trapezoidal rules whose terms are positive and at most some thousand: rounding.
ROUNDING = 1e-12


@pytest.mark.parametrize("d", [1, 2, 9, 90, 110, 3000, 10**6])
def test_the_radial_rule_has_the_moments_of_a_chi(d):
    """E r² = d, E r⁴ = d(d + 2), E √r and E e^{−cr²/d} = (1 + 2c/d)^{−d/2}."""
    r2, weights = radial_rule(d, FINE)
    assert weights.sum() == pytest.approx(1, rel=ROUNDING)
    assert weights @ r2 == pytest.approx(d, rel=ROUNDING)
    assert weights @ r2**2 == pytest.approx(d * (d + 2), rel=ROUNDING)
    root = math.lgamma(d / 2 + 0.25) - math.lgamma(d / 2)
    tolerance = max(ROUNDING, 4e-16 * abs(math.lgamma(d / 2)))
    assert weights @ r2**0.25 == pytest.approx(math.exp(root) * 2**0.25, rel=tolerance)
    for c in (0.5, 2.0, 8.0):
        exact = math.exp(-d / 2 * math.log1p(2 * c / d))
        assert weights @ np.exp(-c * r2 / d) == pytest.approx(exact, rel=ROUNDING)


def test_the_radial_rule_takes_some_hundred_nodes_at_any_dimension():
    """Over √d ± 10 alone: one unit of log r more would be 6e4 nodes."""
    tracemalloc.start()
    try:
        radial_rule(10**8, FINE)
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


def two_scores(a):
    """P_2 and P_3 of two scores: p = (1 ± tanh(a z/√2))/2, z ~ N(0, 1)."""
    h = min(0.1, 0.35 / a)  # the poles of tanh leave e^{−√2π²/(a h)} < 1e−17
    z = np.arange(-9.0, 9.0, h)
    weight = np.exp(-(z**2) / 2)
    square = weight @ np.tanh(a * z / math.sqrt(2)) ** 2 / weight.sum()
    return (1 + square) / 2, (1 + 3 * square) / 4


SPREADS = np.array([1e-3, 0.1, 0.45, 0.5, 0.51, 0.8, 2.0, 3.9, 4.1, 7.0, 9.0, 30.0, 300.0])


def test_two_scores_of_any_spread():
    found = power_sums(SPREADS, 2, FINE)
    assert np.allclose(np.transpose(found), [two_scores(a) for a in SPREADS], rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("length", [2, 50, 10**9])
def test_narrow_scores_on_the_coarsest_grid(length):
    """The rule in u errs by the transform of e^{3u − e^u} at 2π/step, twice; that in z by less."""
    spread = np.array([0.0, 0.1, 0.4, 0.5])
    coarse, fine = (power_sums(spread, length, step) for step in (STEPS[0], FINE))
    alias = 2 * abs(gamma(3 + 2j * math.pi / STEPS[0])) / gamma(3)
    assert np.allclose(coarse, fine, rtol=alias + ROUNDING, atol=0)


@pytest.mark.parametrize("length", [2, 3, 50, 10**4, 10**12])
def test_equal_scores_have_equal_weights(length):
    second, third = power_sums(np.zeros(1), length, FINE)
    assert second[0] * length == pytest.approx(1, rel=ROUNDING)
    assert third[0] * length**2 == pytest.approx(1, rel=ROUNDING)


@pytest.mark.parametrize("length", [10**12, 10**48])
def test_many_scores_average_their_sum_of_exponentials(length):
    """L → ∞: L P_2 = e^{a²} and L² P_3 = e^{3a²}, of relative error e^{4a²}/L and less."""
    a = np.array([0.2, 0.49, 0.6, 0.9])
    second, third = power_sums(a, length, FINE)
    assert np.allclose(second * length, np.exp(a**2), rtol=1e-10, atol=0)
    assert np.allclose(third * float(length) ** 2, np.exp(3 * a**2), rtol=1e-9, atol=0)


@pytest.mark.parametrize("length", [2, 3, 63, 64, 1000, 10**9, 10**48])
def test_the_upper_limit_is_where_its_bound_says(length):
    """(L−1) ln φ ≤ −43 there, and not long before: φ(−c − ln L) ≥ P(s < c) e^{−1/L}."""
    spread = np.array([0.1, 0.5, 1.5, 5.0, 50.0])
    high = _limits(spread, length)[1]

    def exponent(a, u):
        z = np.arange(-16.0, 16.0, min(0.05, 0.2 / a))
        weights = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
        t = np.exp(np.minimum(u + a * z, 9.0))
        tail = weights @ -np.expm1(-t)
        return (length - 1) * (math.log(weights @ np.exp(-t)) if tail > 0.5 else math.log1p(-tail))

    for a, u in zip(spread, high, strict=True):
        assert exponent(a, u) <= -43
        assert exponent(a, u - 4.2 - math.log(length)) >= -44


@pytest.mark.parametrize("length", [2, 3, 1000])
def test_one_score_takes_all_in_the_end(length):
    assert np.allclose(power_sums(np.array([1e15, 1e200]), length, FINE), 1, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("length", [2, 7, 3000, 10**9])
def test_spreads_do_not_depend_on_their_neighbours(length):
    """Blocks, padding and memory are shared, and the result is as of each alone."""
    spread = np.geomspace(1e-2, 200.0, 90)
    together = np.array(power_sums(spread, length, FINE))
    alone = np.hstack([power_sums(spread[i : i + 1], length, FINE) for i in range(0, 90, 6)])
    assert np.allclose(together[:, ::6], alone, rtol=ROUNDING, atol=0)
    # And as on another lattice.
    other = power_sums(spread, length, 0.11)
    assert np.allclose(together, other, rtol=1e-10, atol=0)


@pytest.mark.parametrize("length", [2, 3, 1000, 10**9])
def test_what_is_left_out_is_below_rounding(length, monkeypatch):
    """The ends of every range against ranges that reach e^{-70} instead of e^{-37}."""
    spread = np.array([0.01, 0.3, 0.5, 0.7, 1.5, 5.0, 12.0, 60.0, 500.0])
    usual = power_sums(spread, length, FINE)
    monkeypatch.setattr("numerics.softmax._quadrature._DIGITS", 70.0)
    assert np.allclose(usual, power_sums(spread, length, FINE), rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("d", [3000, 10**6])
def test_the_radial_rule_is_as_fine_as_it_promises(d):
    """Steps of 1.7 widths of log r, 1/√(2d), over where its density is above e^{−42}.

    Exact to e^{−2π²/(1.7 step)²} for a Gaussian, also at steps three times those in use.
    """
    r2, weights = radial_rule(d, FINE)
    assert abs(len(r2) * FINE - 2 * math.sqrt(2 * 42) / 1.7) < 0.3
    r2, weights = radial_rule(d, 0.49)
    assert weights @ r2**2 == pytest.approx(d * (d + 2), rel=1e-10)


@pytest.mark.parametrize(("d", "length"), [(3, 1), (1, 2), (4, 30), (50, 10**5)])
def test_derivatives_are_those_of_the_moments(d, length):
    """By ln ω̄, against central differences of fourth order."""
    omega, h = 0.9 / math.sqrt(d), 2e-3
    at = {k: averages(omega * math.exp(k * h), d, length, FINE)[0] for k in (-2, -1, 0, 1, 2)}
    slope = (8 * (at[1] - at[-1]) - (at[2] - at[-2]))[:3] / (12 * h)
    # h⁴ times fifth derivatives of some hundred times the value; 1e-12/h of rounding.
    assert np.allclose(at[0][3:6], slope, rtol=1e-7, atol=1e-8 * at[0][1])
    if length == 1:
        assert at[0].tolist() == [1, d, d, 0, 0, 0, d]


def test_steps_refine_the_error_each_time():
    """The error falls exponentially in 1/step, the coarse one being good already."""
    for d, length in ((1, 2), (6, 40), (200, 10**4)):
        rows = [averages(1 / math.sqrt(d), d, length, step)[0] for step in (*STEPS, 0.1)]
        errors = [np.abs(row / rows[-1] - 1)[:3].max() for row in rows[:-1]]
        assert errors[0] < 1e-5
        assert errors[1] < 1e-9
        assert errors[2] < 2e-12


def test_the_longest_context():
    assert checked_length(10**12) == 10**12
    with pytest.raises(ValueError, match=r"context_length must be <= 1e\+12"):
        checked_length(10**12 + 1)
    assert attention_moments(0.1, 3, 10**12).status == "converged"

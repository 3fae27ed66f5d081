"""The time to reach the limit of a head: how near is at it, for every kind of number."""

from fractions import Fraction

import array_api_strict
import mpmath
import numpy as np
import pytest
import sympy as sp

import analytic
from analytic.scalar_flow import _log1p_or_end

EPS = np.finfo(float).eps


def kinds(value):
    """A number alone, in an array, and in an array of objects."""
    return [value, np.array([0.5, value]), np.array([0.5, value], dtype=object)]


def test_a_value_is_at_the_limit_up_to_sixteen_roundings():
    # growth = 1 and v = 1, so that (v/limit)³ is the curvature itself.
    for value in kinds(1.0):
        analytic.time_to_reach(value, 0.25, 1.0, 1.0 + 16 * EPS)
        with pytest.raises(ValueError, match=r"^value must be at most the limit"):
            analytic.time_to_reach(value, 0.25, 1.0, 1.0 + 17 * EPS)


def test_a_head_cannot_start_at_the_limit():
    for start in [*kinds(1.0), Fraction(1), mpmath.mpf(1)]:
        with pytest.raises(ValueError, match=r"^initial_value must be below the limit"):
            analytic.time_to_reach(1.0, start, 1.0, 1.0)


def test_object_arrays_equal_loops():
    values = [Fraction(1, 4), Fraction(1, 3), Fraction(1, 2)]
    got = analytic.time_to_reach(np.array(values, dtype=object), Fraction(1, 8), 4, 8)
    for time, value in zip(got, values, strict=True):
        assert time == analytic.time_to_reach(value, Fraction(1, 8), 4, 8)


def test_times_of_arrays_are_floats_and_zero_at_the_start():
    got = analytic.time_to_reach(np.array([0.25, 0.5, 1.0]), 0.25, 1.0, 1.0)
    assert got.dtype == np.float64
    assert got[0] == 0.0
    assert np.isfinite(got).tolist() == [True, True, False]


def test_arrays_of_another_library_reach_the_limit():
    values = array_api_strict.asarray([0.25, 0.5, 1.0])
    got = np.asarray(analytic.time_to_reach(values, 0.25, 1.0, 1.0))
    expected = analytic.time_to_reach(np.asarray(values), 0.25, 1.0, 1.0)
    np.testing.assert_allclose(got, expected, rtol=16 * EPS)


def test_the_logarithm_ends_within_sixteen_roundings():
    for x in (-1 + 16 * EPS, np.array([-1 + 16 * EPS])):
        assert np.isneginf(_log1p_or_end(x))
        assert np.isfinite(_log1p_or_end(x + EPS))


@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_a_limit_rounded_to_its_dtype_is_the_limit(number):
    for growth, curvature in np.random.default_rng(8).uniform(0.1, 9, (50, 2)):
        limit = number((growth / curvature) ** (1 / 3))
        arguments = number(0.01), number(growth), number(curvature)
        assert np.isinf(analytic.time_to_reach(limit, *arguments))


def test_fifty_digits_tell_the_limit_from_its_neighbour():
    with mpmath.workdps(50):
        gap = mpmath.mpf(10) ** -20
        near = analytic.time_to_reach(1 - gap, mpmath.mpf(1) / 4, 1, 1)
        nearer = analytic.time_to_reach(1 - gap / 10, mpmath.mpf(1) / 4, 1, 1)
        # Near the limit dv/dt = 1 − v³ is 3(1 − v), up to the relative size of the gap; digits are
        # lost as 1/gap, which leaves 10⁻²⁹.
        assert abs(nearer - near - mpmath.log(10) / 3) < 10 * gap
        assert analytic.time_to_reach(mpmath.mpf(1), mpmath.mpf(1) / 4, 1, 1) == mpmath.inf
        for name, value in (("value", mpmath.mpf(0.5)), ("initial_value", mpmath.mpf(0.25))):
            # 8/4 is exact in floats and its cube root is not.
            plain = {"value": 0.5, "initial_value": 0.25, "growth": 4.0, "curvature": 8.0}
            whole = analytic.time_to_reach(**{k: mpmath.mpf(v) for k, v in plain.items()})
            got = analytic.time_to_reach(**(plain | {name: value}))
            assert abs(got / whole - 1) < mpmath.mpf(10) ** -45


@pytest.mark.parametrize("name", ["value", "initial_value", "growth", "curvature"])
def test_a_symbol_has_no_limit_to_be_below(name):
    symbol = sp.Symbol("s", positive=True)
    exact = {
        "value": sp.Rational(1, 2), "initial_value": sp.Rational(1, 4), "growth": sp.Integer(4),
        "curvature": sp.Integer(8),
    }  # fmt: skip
    time = analytic.time_to_reach(**(exact | {name: symbol}))
    expected = analytic.time_to_reach(0.5, 0.25, 4.0, 8.0)
    assert float(time.subs(symbol, exact[name])) == pytest.approx(expected, rel=1e-12)

"""Water-filling: the conditions of its optimum in every row, ties, one task, kinds of number."""

import math

import mpmath
import numpy as np
import pytest
import sympy as sp

from analytic import softmax
from analytic.softmax import single_head

EPS = np.finfo(float).eps


def check_row(nu, ratio, weight, budget, cap):
    """The least of a convex sum: one level for all inside, none higher at 0 or lower at the cap."""
    # ν = level · weight − c: 20 roundings of numbers as large as c or ν.
    slack = 20 * EPS * (ratio + nu)
    assert np.all((nu >= 0) & (nu <= cap))
    assert abs(nu.sum() - min(budget, len(nu) * cap)) <= slack.sum()
    level, error = (ratio + nu) / weight, slack / weight
    inside = (nu > 0) & (nu < cap)
    if inside.any():
        water, error = level[inside].mean(), error + error[inside].max()
        assert np.all(abs(level - water)[inside] <= error[inside])
        assert np.all(level[nu == 0] >= (water - error)[nu == 0])
        assert np.all(level[nu == cap] <= (water + error)[nu == cap])


@pytest.mark.parametrize("cap", [None, 0.1, 1.0])
@pytest.mark.parametrize("budget", [0.05, 0.3, 1.25, 2.0, 3.1, 4.0])
def test_every_row_of_a_batch_is_filled_to_its_own_level(budget, cap):
    rng = np.random.default_rng(1)
    dims, signal = rng.uniform(1, 30, (40, 4)), rng.uniform(0.1, 4, (40, 4))
    length, noise = np.geomspace(2, 1e4, 40), rng.uniform(0, 3, 40)
    nu = softmax.water_filling(dims, signal, length, noise=noise, budget=budget, cap=cap)
    power = signal * dims + noise[:, None] ** 2
    ratio, weight = power / (signal * length[:, None]), np.sqrt(dims * power)
    for row in zip(nu, ratio, weight, strict=True):
        check_row(*row, budget, math.inf if cap is None else cap)


def test_the_level_is_the_largest_that_fits():
    def level(weight, ratio, budget, cap=None):
        arrays = np.array(weight, float), np.array(ratio, float)
        return single_head._level(*arrays, budget, cap).tolist()

    # ν = min(1, max(0, w − c)): the first task is full at w = 2, and the second enters at 5.
    assert level([1, 1], [1, 5], 1.0, 1.0) == [5]
    assert level([1, 1], [1, 5], 0.5, 1.0) == [1.5]
    assert level([1, 1], [1, 5], 1.5, 1.0) == [5.5]
    # The first is full at w = 1, on the way to the second's share.
    assert level([1, 1], [0, 0.5], 1.75, 1.0) == [1.25]
    assert level([2, 4], [1, 1], 1.5) == [3.5 / 6]
    assert level([2, 4], [1, 1], 1.0) == [0.5]


@pytest.mark.parametrize("length", [5.0, math.inf, np.array([5.0, math.inf])])
def test_one_task_takes_all_that_it_may_in_the_shape_of_the_lengths(length):
    for budget, cap in ((None, None), (0.5, None), (None, 0.25), (2.0, 0.75), (0.5, 0.75)):
        got = softmax.water_filling(3, 0.5, length, noise=1.0, budget=budget, cap=cap)
        amount = 1 / math.e if budget is None else budget
        assert np.shape(got) == np.shape(length)
        assert np.all(got == (amount if cap is None else min(amount, cap)))


def test_one_mpmath_number_makes_the_shares_exact():
    # Floats whose sums, products and quotients are exact here, but for roots and e.
    plain = {"block_dims": [3.0, 5.0], "signal": [0.5, 0.5], "context_length": 4.0, "noise": 1.0}
    limits = {"budget": 0.625, "cap": 0.5}

    def objects(value, kind):
        return np.array(list(map(kind, value)), object) if isinstance(value, list) else kind(value)

    with mpmath.workdps(50):
        for given in ({}, limits, {"budget": 0.625}, {"cap": 0.5}):
            cases = plain | given
            whole = {name: objects(value, mpmath.mpf) for name, value in cases.items()}
            exact = softmax.water_filling(**whole)
            assert all(0 < share < 0.5 for share in exact)
            for name in cases:
                mixed = {key: objects(value, float) for key, value in cases.items()}
                got = softmax.water_filling(**mixed | {name: whole[name]})
                assert max(abs(got / exact - 1)) < mpmath.mpf(10) ** -45, name
        whole = {name: objects(value, mpmath.mpf) for name, value in plain.items()}
        exact = softmax.single_head_optimum(**whole)
        for name in plain:
            mixed = {key: objects(value, float) for key, value in plain.items()}
            got = softmax.single_head_optimum(**mixed | {name: whole[name]})
            for one, other in zip(got, exact, strict=True):
                assert np.max(abs(one / other - 1)) < mpmath.mpf(10) ** -45, name


@pytest.mark.parametrize("dims", [3, [3, 5]])
@pytest.mark.parametrize("name", ["block_dims", "context_length", "budget", "cap"])
def test_a_symbol_is_refused_wherever_it_stands(name, dims):
    plain = {"block_dims": dims, "signal": 1.0, "context_length": 9, "budget": 1.0, "cap": 2.0}
    with pytest.raises(ValueError, match=rf"{name}.* must be numbers, not symbols"):
        softmax.water_filling(**plain | {name: sp.Symbol("x", positive=True)})

"""Softmax attention: one head, the bound, Hermite responses and baselines, with symbols."""

import math

import pytest
import sympy as sp

from analytic import softmax
from analytic.derivations import softmax_baselines as ridge
from analytic.derivations import softmax_heads as heads
from analytic.derivations import softmax_regimes as regimes


def is_zero(expression):
    return sp.simplify(sp.sympify(expression)) == 0


def test_allocation_loss_is_what_the_best_read_out_leaves():
    # With λd = energy, σ = 0 and d/L = c the closed form has the derivation's two numbers.
    closed = softmax.allocation_loss(
        heads.share * sp.exp(-heads.B), 1, heads.energy, 1 / heads.c, noise=0
    )
    assert is_zero(closed - heads.best_loss())


@pytest.mark.parametrize("dimension", [2, 3, 4])
def test_equal_weights_are_best_within_a_block(dimension):
    assert heads.spread_identity(dimension) == 0


def test_a_single_head_has_squared_norm_one():
    best, budget = heads.best_squared_norm()
    assert best == 1
    assert math.isclose(softmax.equiangular_budget(1), float(budget), rel_tol=1e-16)


def test_water_level_form_of_the_stationary_allocation():
    # θ = L/w²: √(energy c/θ) = w √(d · power) at energy = λd, c = φd/L.
    lam, d, sigma, length, w = sp.symbols("lambda d sigma L w", positive=True)
    power = lam * d + sigma**2
    derived = heads.stationary_allocation().subs(
        {heads.energy: lam * d, heads.c: power / (lam * length), heads.theta: 1 / (length * w**2)}
    )
    closed = w * sp.sqrt(d * power) - power / (lam * length)
    assert is_zero(derived - closed)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_equiangular_allocation_is_the_trace(count):
    closed = softmax.equiangular_allocation(count, heads.a, heads.overlap)
    assert is_zero(closed - heads.equiangular_trace(count))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_budget_of_several_heads_is_approached_by_small_weights(count):
    assert float(heads.small_weights_limit(count)) == softmax.equiangular_budget(count)


def test_two_heads_of_any_weights_stay_below_one():
    # The steps of the proof in `softmax_heads` that are algebra.
    trace, (free, bound) = heads.pair_trace(), heads.pair_margin()
    b = heads.overlap
    determinant = sp.exp(heads.first_norm + heads.second_norm) - sp.exp(2 * b)
    assert is_zero((1 - trace) * determinant - (free - bound))
    gap = sp.exp(b) - 1 - b  # convex, and 0 at its minimum b = 0
    assert is_zero(sp.diff(bound, b) - 2 * sp.exp(b) * gap)
    assert sp.diff(gap, b, 2).is_positive
    assert gap.subs(b, 0) == sp.diff(gap, b).subs(b, 0) == 0
    equal = trace.subs({heads.first_norm: heads.a, heads.second_norm: heads.a})
    assert is_zero(equal - softmax.equiangular_allocation(2, heads.a, b))


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5])
def test_hermite(degree):
    response = softmax.hermite_response(degree, sp.Symbol("w"), sp.Symbol("p"))
    derived = regimes.hermite_response(degree).subs(regimes.shift, sp.Symbol("w") * sp.Symbol("p"))
    assert sp.expand(response - derived) == 0
    error = regimes.hermite_error(degree)
    assert is_zero(softmax.hermite_error(degree, regimes.gain) - error)
    (best,) = sp.solve(sp.diff(error, regimes.gain), regimes.gain)
    assert math.isclose(softmax.hermite_gain(degree), best, rel_tol=1e-15)
    least = error.subs(regimes.gain, best)
    assert math.isclose(softmax.hermite_error(degree), least, rel_tol=1e-15, abs_tol=1e-15)


def test_saturation_scales_are_where_the_branches_meet():
    branches = softmax.participation_branches(regimes.u)
    bulk, best = regimes.bulk_exponent()
    rare, threshold = regimes.rare_exponent()
    edge = regimes.edge_exponent()
    assert is_zero(branches.exponential - bulk)
    assert is_zero(branches.typical - edge)
    assert is_zero(branches.mean - rare)
    length = sp.Symbol("L", positive=True)
    scale = softmax.saturation_scale(length)
    # Typical: the best score is the largest there is; mean: it takes all; both end at p = 1.
    assert sp.solve(best - sp.sqrt(2), regimes.u) == [scale.typical / sp.log(length)]
    assert sp.solve(best - threshold, regimes.u) == [scale.mean / sp.log(length)]
    assert sp.solve(threshold - sp.sqrt(2), regimes.u) == [scale.condensation / sp.log(length)]
    for name in ("typical", "mean"):
        meeting = getattr(scale, name) / sp.log(length)
        assert is_zero((branches.exponential - getattr(branches, name)).subs(regimes.u, meeting))


def test_ridge_and_bayes():
    closed = softmax.marchenko_pastur_moments(ridge.gamma, ridge.rho)
    assert is_zero(closed.first - ridge.first_moment())
    assert is_zero(closed.second - ridge.second_moment())
    assert is_zero(softmax.ridge_risk(ridge.gamma, ridge.snr, ridge.rho) - ridge.ridge_risk())
    assert is_zero(softmax.bayes_risk(ridge.gamma, ridge.snr) - ridge.bayes_risk())
    assert is_zero(ridge.best_penalty_slope())

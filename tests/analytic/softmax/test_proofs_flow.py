"""Softmax attention: limit, phases and instability against the differentiated loss."""

import math

import numpy as np
import pytest
import sympy as sp

from analytic import softmax
from analytic.derivations import softmax_flow as flow
from analytic.derivations import softmax_loss as base
from analytic.derivations import symbols as sy

W, MU, D, WIDTH, LAM, L = flow.w, flow.mu, flow.d, flow.d_e, flow.lam, flow.L
NOISE = sp.sqrt((flow.phi - 1) * LAM * D)  # so that φ stays a symbol


def is_zero(expression):
    return sp.simplify(sp.sympify(expression)) == 0


def test_noise_factor():
    assert is_zero(softmax.noise_factor(D, LAM, noise=NOISE) - flow.phi)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_reduced_loss_is_the_spectral_loss_at_equal_weights(size):
    noise = sp.sqrt((flow.phi - 1) * LAM * size)
    full = softmax.spectral_loss(np.full((1, size), W), [[MU]], size, LAM, L, noise=noise)
    assert is_zero(full - flow.reduced_loss().subs(D, size))


def test_limit_is_the_stationary_point():
    closed = softmax.limit_weights(D, LAM, L, noise=NOISE)
    assert all(is_zero(a - b) for a, b in zip(closed, flow.limit_point(), strict=True))
    equilibrium = softmax.equilibrium_value(W, D, LAM, L, noise=NOISE)
    assert is_zero(equilibrium - flow.equilibrium())
    assert is_zero(equilibrium.subs(W, closed.omega_bar) - closed.mu)


def test_limit_losses():
    derived = flow.limit_loss()
    assert is_zero(softmax.limit_loss(D, LAM, L, noise=NOISE) - derived)
    assert is_zero(softmax.task_limit_losses(D, LAM, L, noise=NOISE) - derived)
    other = softmax.generalised_loss(D, LAM, L, flow.L_test, noise=NOISE)
    assert is_zero(other - flow.limit_loss(flow.L_test))


def test_optimality_factor_is_the_ratio_to_full_allocation():
    keywords = {"noise": NOISE}
    bound = softmax.allocation_loss(sp.Integer(1), D, LAM, L, **keywords)
    factor = softmax.optimality_factor(D, LAM, L, **keywords)
    assert is_zero(factor * bound - softmax.limit_loss(D, LAM, L, **keywords))
    assert sp.limit(factor, L, sp.oo) == sp.E
    assert is_zero(sp.limit(factor, D, sp.oo) - 1)
    assert sp.factor(sp.simplify(sp.diff(factor, L))).is_positive


@pytest.mark.parametrize("dims", [(1, 1), (2, 1), (3, 2)])
def test_balanced_velocity_is_the_flow_of_the_individual_weights(dims):
    d_omega, d_mu, resting = flow.balanced_velocity(dims)
    closed = softmax.balanced_velocity(W, MU, dims[0], sy.lam[0], base.L, WIDTH, noise=sy.sigma)
    assert all(is_zero(rate - closed[0]) for rate in d_omega)
    assert is_zero(d_mu[0] - closed[1])
    assert all(rate == 0 for rate in resting)


def test_conservation_laws():
    assert all(sp.expand(rate) == 0 for rate in flow.conserved_rates((1, 2), 2))


def test_warm_up_solves_the_leading_order_of_the_flow():
    full = softmax.balanced_velocity(W, MU, D, LAM, L, WIDTH, noise=NOISE)
    leading = [flow.warmup_velocity(rate) for rate in full]
    course = softmax.warmup_time_course(flow.t, flow.w0, flow.mu0, D, LAM, WIDTH)
    for closed, rate in zip(course, leading, strict=True):
        at = rate.subs({W: course.omega_bar, MU: course.mu}, simultaneous=True)
        assert is_zero(sp.diff(closed, flow.t) - at)
    assert sp.limit(course.omega_bar, flow.t, 0) == flow.w0
    assert sp.limit(course.mu, flow.t, 0) == flow.mu0
    invariant = softmax.warmup_invariant(W, MU, D, 1, sp.oo, WIDTH)
    rate = sp.diff(invariant, W) * leading[0] + sp.diff(invariant, MU) * leading[1]
    assert is_zero(rate)


def test_warm_up_with_context_noise_has_an_invariant():
    full = softmax.balanced_velocity(W, MU, D, LAM, L, WIDTH, noise=NOISE)
    rates = [flow.second_order(rate) for rate in full]
    invariant = softmax.warmup_invariant(W, MU, D, LAM, L, WIDTH, noise=NOISE)
    change = sum(sp.diff(invariant, s) * rate for s, rate in zip((W, MU), rates, strict=True))
    assert is_zero(change)
    long = softmax.warmup_invariant(W, MU, D, LAM, sp.oo, WIDTH)
    assert is_zero(sp.limit(invariant, L, sp.oo) - long)


def test_neglected_shares_are_what_the_warm_up_drops():
    full = softmax.balanced_velocity(W, MU, D, LAM, L, WIDTH, noise=NOISE)
    shares = softmax.neglected_share(W, MU, D, LAM, L, noise=NOISE)
    for rate, share in zip(full, shares, strict=True):
        assert is_zero(rate - flow.warmup_velocity(rate) * (1 - share))


def test_warm_up_time_inverts_the_time_course():
    course = softmax.warmup_time_course(flow.t, flow.w0, flow.mu0, D, LAM, WIDTH)
    time = softmax.warmup_time(W, flow.w0, flow.mu0, D, LAM, WIDTH)
    rate = sp.diff(time, W).subs(W, course.omega_bar) * sp.diff(course.omega_bar, flow.t)
    assert is_zero(rate - 1)
    assert sp.limit(time, W, flow.w0) == 0
    blow_up = softmax.blow_up_time(flow.w0, flow.mu0, D, LAM, WIDTH)
    assert is_zero(sp.expand_log(sp.limit(time, W, sp.oo) - blow_up, force=True))


def test_no_pole_where_the_invariant_vanishes():
    start = flow.mu0 / (D * sp.sqrt(WIDTH))
    assert is_zero(
        softmax.blow_up_time(start, flow.mu0, D, LAM, WIDTH) - sp.sqrt(WIDTH) / (4 * LAM * flow.mu0)
    )
    numbers = (0.01, 0.5, 10, 1.0, 25)  # μ(0) = κω̄(0)
    assert math.isclose(softmax.blow_up_time(*numbers), 5 / 2, rel_tol=1e-15)
    near = softmax.blow_up_time(0.01, 0.5 * (1 + 1e-9), 10, 1.0, 25)
    # d ln t*/d ln μ(0) = −1/2 there.
    assert math.isclose(near, 2.5 * (1 - 0.5e-9), rel_tol=1e-13)


def test_emergence_is_the_flow_at_the_equilibrium():
    rate, _ = softmax.balanced_velocity(W, MU, D, LAM, L, WIDTH, noise=NOISE)
    closed = softmax.emergence_velocity(W, D, LAM, L, WIDTH, noise=NOISE)
    assert is_zero(rate.subs(MU, flow.equilibrium()) - closed)


def test_convergence_rate_linearises_emergence():
    closed = softmax.emergence_velocity(W, D, LAM, L, WIDTH, noise=NOISE)
    slope = sp.diff(closed, W).subs(W, 1 / sp.sqrt(D))
    assert is_zero(slope + softmax.convergence_rate(D, LAM, L, WIDTH, noise=NOISE))


def test_warm_up_end_satisfies_its_definition():
    end = softmax.warmup_end(flow.w0, flow.mu0, D, LAM, L, WIDTH, share=sp.Rational(1, 3))
    assert is_zero(end.omega_bar * end.mu * (1 + D / L) - sp.Rational(1, 3))
    invariant = softmax.warmup_invariant(W, MU, D, 1, sp.oo, WIDTH)
    start = invariant.subs({W: flow.w0, MU: flow.mu0})
    assert is_zero(invariant.subs({W: end.omega_bar, MU: end.mu}, simultaneous=True) - start)


def test_escape_rate_is_the_unstable_eigenvalue_at_the_limit():
    block = flow.escape_block()
    rate = softmax.limit_escape_rate(1, sy.lam[1], base.L, noise=sy.sigma)
    # The flow is minus the Hessian: o + v decays and o − v grows.
    assert is_zero((-block * sp.Matrix([1, -1]) - rate * sp.Matrix([1, -1])).norm())
    assert is_zero((-block * sp.Matrix([1, 1]) + rate * sp.Matrix([1, 1])).norm())

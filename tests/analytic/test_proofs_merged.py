"""ATTN_M: closed forms against the differentiated loss."""

import math

import numpy as np
import pytest
import sympy as sp

import analytic
from analytic.derivations import limits, merged
from analytic.derivations import symbols as sy


def is_zero(expression):
    return sp.simplify(sp.sympify(expression)) == 0


def white(function, t, dimension, length=sy.N):
    return function(
        t,
        merged.w_init,
        dimension,
        length,
        eigenvalue=merged.white_lambda,
        task_eigenvalue=merged.white_omega,
        noise=sy.sigma,
        tau=sy.tau,
    )


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_time_course_solves_the_derived_ode(dimension):
    m = white(analytic.white_time_course, merged.t, dimension)
    assert is_zero(sp.diff(m, merged.t) - merged.white_velocity(dimension).subs(merged.m, m))
    assert is_zero(m.subs(merged.t, 0) - merged.white_start(dimension))


def test_two_heads_share_one_time_course():
    assert is_zero(merged.white_velocity(2, heads=2) - merged.white_velocity(2, heads=1))


def test_integrated_duration_inverts_the_time_course():
    # t(m(t)) − t has derivative 0 and vanishes at 0; the logarithms are compared through it.
    m = white(analytic.white_time_course, merged.t, 2)
    duration = merged.white_duration(2)
    rate = sp.diff(duration, merged.m).subs(merged.m, m) * sp.diff(m, merged.t)
    assert is_zero(rate - 1)
    assert is_zero(duration.subs(merged.m, merged.white_start(2)))


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_loss_along_the_time_course(dimension):
    m = white(analytic.white_time_course, merged.t, dimension)
    closed = white(analytic.white_loss_curve, merged.t, dimension)
    assert is_zero(closed - merged.white_loss(dimension).subs(merged.m, m))


def test_paper_form_of_the_time_course():
    t, D, w = merged.t, sp.Symbol("D", positive=True), merged.w_init
    growth = sp.exp(2 * sp.sqrt(D) * t / sy.tau)
    paper = growth / ((1 + (1 + D) / sy.N) * (growth - 1) + sp.sqrt(D) / w**2)  # [L] Eq. 10
    assert is_zero(analytic.white_time_course(t, w, D, sy.N, tau=sy.tau) - paper)
    m = sp.Symbol("m")
    loss = D * (1 - 2 * m + (1 + (1 + D) / sy.N) * m**2)
    closed = analytic.white_loss_curve(t, w, D, sy.N, tau=sy.tau)
    assert is_zero(closed - loss.subs(m, paper))


@pytest.mark.parametrize("length", [math.inf, sp.oo])
def test_long_context_limit_of_the_time_course(length):
    m = white(analytic.white_time_course, merged.t, 2, length)
    derived = limits.white_velocity(2).subs(merged.m, m)
    assert is_zero(sp.diff(m, merged.t) - derived)


def test_escape_rate_is_the_top_eigenvalue_at_zero():
    rates = merged.growth_rates(2, 2)
    closed = analytic.escape_rate(sy.lam[:2], task_eigenvalues=sy.omega[:2], tau=sy.tau)
    assert {sp.simplify(rate / closed): count for rate, count in rates.items()} == {
        1: 2,
        -1: 2,
        0: 6,
    }
    assert analytic.merged_zero_index(2) == 2


def test_escape_time_is_the_time_to_grow_from_w_to_one():
    w = sp.Symbol("w", positive=True)
    keywords = {"task_eigenvalues": sy.omega[:2], "tau": sy.tau}
    time = analytic.escape_time(w, sy.lam[:2], **keywords)
    rate = analytic.escape_rate(sy.lam[:2], **keywords)
    assert is_zero(sp.log(w) + rate * time)


@pytest.mark.parametrize("dimension", [2, 3])
def test_aligned_velocity(dimension):
    dv, du, off = merged.aligned_velocity(dimension)
    closed_dv, closed_du = analytic.aligned_velocity(
        merged.v,
        list(sp.symbols(f"u1:{dimension + 1}", real=True)),
        sy.lam[:dimension],
        sy.N,
        task_eigenvalues=sy.omega[:dimension],
        noise=sy.sigma,
        tau=sy.tau,
    )
    assert all(entry == 0 for entry in off)
    gaps = np.append(closed_du - np.array(du), closed_dv - dv)
    assert all(sp.expand(gap) == 0 for gap in gaps)

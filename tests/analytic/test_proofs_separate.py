"""ATTN_S: closed forms against the differentiated loss, and its long-context limits."""

import itertools
import math

import numpy as np
import pytest
import sympy as sp

import analytic
from analytic.derivations import limits, low_rank, separate, stability
from analytic.derivations import symbols as sy


def vanishes(expression):
    return sp.expand(sp.numer(sp.together(sp.sympify(expression)))) == 0


def spectrum(function, dimension, *leading, length=sy.N):
    return function(
        *leading,
        sy.lam[:dimension],
        length,
        task_eigenvalues=sy.omega[:dimension],
        noise=sy.sigma,
    )


def subsets(dimension):
    for row in itertools.product([False, True], repeat=dimension):
        yield list(row), tuple(d for d in range(dimension) if row[d])


@pytest.mark.parametrize("mode", [0, 1])
def test_value_velocity_is_the_flow_of_an_aligned_head(mode):
    growth = analytic.mode_growth(sy.lam[:2], task_eigenvalues=sy.omega[:2])[mode]
    curvature = spectrum(analytic.mode_curvature, 2)[mode]
    closed = analytic.value_velocity(separate.v, growth, curvature, tau=sy.tau)
    moving, resting = separate.aligned_velocity(2, mode)
    assert all(vanishes(closed * sy.tau - rate) for rate in moving)
    assert all(rate == 0 for rate in resting)


def test_paper_form_of_the_scalar_ode():
    lam, trace = sy.lam[0], sum(sy.lam[:2])
    c = 1 + (1 + trace / lam) / sy.N
    curvature = analytic.mode_curvature(sy.lam[:2], sy.N)[0]
    closed = analytic.value_velocity(separate.v, lam**2, curvature)
    assert vanishes(closed - lam**2 * separate.v**2 + lam**3 * c * separate.v**5)  # [L] Eq. 21


def test_time_to_reach_is_the_integral_of_the_inverse_velocity():
    # Equal at v = v0 and of equal derivative: equal. The logarithms themselves need branch cuts.
    v, v0, a, growth = separate.v, separate.v0, separate.a, separate.growth
    closed = analytic.time_to_reach(v, v0, growth, growth * a**3, tau=sy.tau)
    derived = sy.tau / growth * separate.scaled_duration()
    assert sp.simplify(closed.subs(v, v0)) == 0
    assert sp.simplify(derived.subs(v, v0)) == 0
    assert sp.simplify(sp.diff(closed - derived, v)) == 0
    velocity = analytic.value_velocity(v, growth, growth * a**3, tau=sy.tau)
    assert sp.simplify(sp.diff(closed, v) * velocity) == 1


def test_learning_time_is_the_small_start_limit():
    v, v0, a, growth = separate.v, separate.v0, separate.a, separate.growth
    full = sy.tau / growth * separate.scaled_duration()
    leading = sp.limit(sp.expand(full * v0), v0, 0, "+")
    assert sp.simplify(leading - analytic.learning_time(v0, growth, tau=sy.tau) * v0) == 0
    assert v in full.free_symbols
    assert a in full.free_symbols


@pytest.mark.parametrize("dimension", [2, 3])
def test_mode_coefficients_are_where_the_head_stops(dimension):
    closed = spectrum(analytic.mode_coefficients, dimension)
    for mode in range(dimension):
        assert vanishes(closed[mode] - separate.learned_value(dimension, mode))


@pytest.mark.parametrize("learned", [(), (0,), (1,), (0, 1)])
def test_velocity_vanishes_at_every_ansatz(learned):
    assert set(separate.gradient_at_ansatz(2, learned)) == {0}


def test_ansatz_weights_are_the_derived_point():
    for mask, learned in subsets(2):
        v, k, q = spectrum(analytic.ansatz_weights, 2, mask)
        closed = [*v, *k.reshape(-1), *q.reshape(-1)]
        point = separate.ansatz_point(2, learned)
        order = separate.flatten(*separate.weights(2, 2))
        scales = {separate.scale(d): sp.cbrt(separate.learned_value(2, d)) for d in range(2)}
        for mine, name in zip(closed, order, strict=True):
            # Cubes: positive roots of equal cubes are equal, and SymPy compares those.
            derived = sp.sympify(point[name]).subs(scales)
            assert sp.simplify(sp.sympify(mine) ** 3 - derived**3) == 0


@pytest.mark.parametrize("dimension", [2, 3])
def test_fixed_point_losses(dimension):
    for mask, learned in subsets(dimension):
        closed = spectrum(analytic.fixed_point_loss, dimension, mask)
        assert vanishes(closed - separate.fixed_point_loss(dimension, learned))


@pytest.mark.parametrize("dimension", [2, 3])
def test_plateau_losses(dimension):
    closed = spectrum(analytic.plateau_losses, dimension)
    gains = spectrum(analytic.mode_gains, dimension)
    assert closed.shape == (dimension + 1,)
    for m in range(dimension + 1):
        derived = separate.fixed_point_loss(dimension, tuple(range(m)))
        assert vanishes(closed[m] - derived)
        assert vanishes(closed[0] - sum(gains[:m]) - derived)


def test_paper_form_of_the_plateaus():
    trace = sum(sy.lam)
    closed = analytic.plateau_losses(sy.lam, sy.N)
    paper = trace
    assert vanishes(closed[0] - paper)
    for d, lam in enumerate(sy.lam):
        paper -= lam / (1 + (1 + trace / lam) / sy.N)  # [L] Eq. 19
        assert vanishes(closed[d + 1] - paper)


def test_least_norm_is_the_stationary_value():
    value, c = separate.least_norm()
    for mask, learned in subsets(3):
        closed = spectrum(analytic.least_norm, 3, mask)
        derived = sum(value.subs(c, sp.cbrt(separate.learned_value(3, d))) for d in learned)
        roots = {d: separate.learned_value(3, d) for d in learned}
        # Term by term through cubes, each root being positive.
        terms = sp.Add.make_args(sp.sympify(closed)) if learned else ()
        assert len(terms) == len(learned)
        cubes = [sp.cancel(sp.together((term / 3) ** 3)) for term in terms]
        wanted = [sp.cancel(sp.together(root**2)) for root in roots.values()]
        for cube in cubes:
            assert any(vanishes(cube - other) for other in wanted)
        for other in wanted:
            assert any(vanishes(cube - other) for cube in cubes)
        assert (derived == 0) == (not learned)


def test_ansatz_attains_the_least_norm():
    for mask, _ in subsets(2):
        v, k, q = spectrum(analytic.ansatz_weights, 2, mask)
        norm = sum(v**2) + np.sum(k**2) + np.sum(q**2)
        assert sp.simplify(norm - spectrum(analytic.least_norm, 2, mask)) == 0


@pytest.mark.parametrize("modes", [((0, 1), (0, 0)), ((1,), (0,)), ((0, 1),)])
def test_low_rank_velocity(modes):
    values, kappa = low_rank.amplitudes(len(modes), len(modes[0]))
    dv, dk, normal = low_rank.aligned_velocity(2, modes)
    growth = analytic.mode_growth(sy.lam[:2], task_eigenvalues=sy.omega[:2])
    curvature = spectrum(analytic.mode_curvature, 2)
    closed_dv, closed_dk = analytic.low_rank_velocity(
        values, kappa, modes, growth, curvature, tau=sy.tau
    )
    assert all(entry == 0 for entry in normal)
    gaps = [*(closed_dv - np.array(dv)), *(closed_dk - np.array(dk)).reshape(-1)]
    assert all(sp.expand(gap) == 0 for gap in gaps)


@pytest.mark.parametrize(("learned", "unlearned"), [(0, 1), (1, 0)])
def test_rotation_eigenvalues(learned, unlearned):
    block = stability.rotation_block(2, learned, unlearned)
    lower, upper = spectrum(analytic.rotation_eigenvalues, 2, learned, unlearned)
    m = separate.learned_value(2, learned)
    block = block.subs(separate.scale(learned), sp.cbrt(m))
    # Two numbers are the eigenvalues if they have the block's determinant and the larger one is
    # its upper root: 2 upper − trace = +√(trace² − 4 det).
    assert sp.simplify(lower * upper - block.det()) == 0
    gap = (2 * upper - block.trace()) ** 2 - block.trace() ** 2 + 4 * block.det()
    assert sp.simplify(gap) == 0


@pytest.mark.parametrize("length", [math.inf, sp.oo])
def test_long_context_limits(length):
    closed = spectrum(analytic.plateau_losses, 2, length=length)
    assert [sp.simplify(x) for x in closed] == limits.plateau_losses(2)
    closed = spectrum(analytic.mode_coefficients, 2, length=length)
    assert [sp.simplify(x) for x in closed] == limits.mode_coefficients(2)
    # Only the eigenvalues not yet learned are left.
    assert limits.plateau_losses(2)[1] == sy.lam[1] * sy.omega[1]

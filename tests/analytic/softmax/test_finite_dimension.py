"""Long contexts at any dimension, and condensed attention: proofs, limits, numbers."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

from analytic import softmax
from analytic.derivations import softmax_condensation as many
from analytic.derivations import softmax_finite_dimension as base
from analytic.derivations import symbols as sy

EPS = np.finfo(float).eps
DIMS, SIGNAL, NOISE = np.array([7, 12, 40]), np.array([0.9, 0.4, 2.5]), 0.6


def is_zero(expression):
    return sp.simplify(sp.powdenest(sp.sympify(expression), force=True)) == 0


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_overlap_and_square_by_parts(tokens):
    for gap in base.parts_gaps(tokens):
        assert sp.expand(sp.numer(sp.together(gap))) == 0


def test_four_tokens_by_parts_at_a_point():
    # Rational values of e^s, so that the identity is checked exactly.
    values = [sp.Rational(n, 7) for n in (1, 3, 4, 12)]
    powers = sp.symbols("e1:5", positive=True)
    for gap in base.parts_gaps(4):
        assert is_zero(gap.subs(dict(zip(powers, values, strict=True))))


def test_long_context_loss_is_the_exact_loss_to_first_order():
    closed = softmax.long_context_loss(
        base.omega, base.mu, base.d, 1, base.L, noise=sp.sqrt(base.ratio)
    )
    assert is_zero(closed - base.first_order_loss())


@pytest.mark.parametrize("size", [1, 2, 3])
def test_long_context_loss_is_the_delta_method_of_one_head(size):
    arrays = (np.full((1, size), base.omega), np.array([[base.mu]]), size, sy.lam[0], base.L)
    listed = softmax.first_order_loss(*arrays, noise=sy.sigma)
    closed = softmax.long_context_loss(base.omega, base.mu, size, sy.lam[0], base.L, noise=sy.sigma)
    assert is_zero(listed - closed)


def test_best_norm_is_the_stationary_point():
    d, w, phi = base.d, base.w, base.phi
    polynomial = (d + 2) * (2 - 1 / phi) * w**2 - (d + 4) * w + 1
    assert is_zero(base.optimum_slope() + polynomial)
    noise = sp.sqrt((phi - 1) * d)
    root = softmax.long_context_squared_norm(d, 1, noise=noise) / d
    assert is_zero(polynomial.subs(w, root))
    loss = softmax.long_context_optimum_loss(d, 1, base.L, noise=noise)
    gap = base.L * loss / d - base.optimum_coefficient().subs(w, root)
    assert abs(sp.N(gap.subs({d: 7, phi: sp.Rational(8, 5)}), 30)) < 1e-25
    # Negative at w = ½ and positive at 0: one root between, the least of a loss infinite at both.
    at_half = sp.factor(polynomial.subs(w, sp.Rational(1, 2)))
    assert is_zero(at_half + (d + 2) / (4 * phi))


def test_correction_is_the_limit_of_exact_over_formula():
    d, phi = base.d, base.phi
    noise = sp.sqrt((phi - 1) * d)
    closed = softmax.dimension_correction(d, 1, noise=noise)
    formula = sp.exp(1) * phi * d  # lim L·loss/(λd) of λd ec/(1 + ec), c = φd/L
    ratio = closed * formula / base.optimum_coefficient().subs(base.w, 1 / d)
    logs = sp.expand_log(sp.log(ratio), force=True)
    # ln(1 + 2/(d − 2)) and ln(1 − 2/d) are opposite once each is one fraction.
    assert is_zero(logs.replace(sp.log, lambda x: sp.expand_log(sp.log(sp.factor(x)), force=True)))


def test_first_order_in_the_inverse_dimension():
    phi, x = base.phi, sp.Symbol("x", positive=True)  # 1/d
    noise = sp.sqrt((phi - 1) / x)
    norm = softmax.long_context_squared_norm(1 / x, 1, noise=noise)
    assert is_zero(sp.limit((norm - 1) / x, x, 0) + 2 + 1 / phi)
    correction = softmax.dimension_correction(1 / x, 1, noise=noise)
    assert is_zero(sp.series(sp.log(correction), x, 0, 2).removeO() / x - 1 - 1 / phi)


def test_dimension_coefficient_of_exact_over_formula():
    zero, coefficient = base.dimension_coefficient()
    assert zero == 0
    m, tested, trained = sp.symbols("m c c0", positive=True)
    size, phi = sp.Integer(5), base.phi
    lengths = (phi * size / trained, phi * size / tested)  # L, L'
    closed = softmax.dimension_coefficient(
        size, 1, lengths[0], noise=sp.sqrt((phi - 1) * size), test_length=lengths[1]
    )
    at_limit = {m: 1 / (1 + sp.E * trained)}
    assert is_zero(closed - coefficient.subs(at_limit))
    same = softmax.dimension_coefficient(size, 1, lengths[0], noise=sp.sqrt((phi - 1) * size))
    assert is_zero(same - closed.subs(tested, trained))
    assert is_zero(sp.limit(same, trained, 0) - 1 - 1 / phi)


def test_poisson_process_of_weights():
    assert is_zero(many.participation() - (1 - many.x))
    assert is_zero(many.score_decay() - sp.sqrt(2 / many.u))
    u = sp.Symbol("u", positive=True)
    assert is_zero(softmax.condensed_participation(u) - 1 + sp.sqrt(2 / u))


def test_one_score_against_the_sum():
    # Λ = ln L; the closed form takes numbers, as the order of u decides its range.
    derived = many.rare_participation()
    for load, length in ((0.7, 50), (1.0, 10**6), (1.9, 10**30)):
        value = sp.N(derived.subs({many.u: sp.Float(load, 30), many.scale: sp.log(length)}), 30)
        closed = softmax.rare_participation(load, length)
        # L^… is exp of up to 20, whose rounding is the largest.
        assert abs(closed / float(value) - 1) < 100 * EPS
    loads = np.linspace(0.7, 1.9, 5)
    exponent = np.log(softmax.rare_participation(loads, 1e300)) / math.log(1e300)
    # What is left is ln ln L/ln L.
    np.testing.assert_allclose(exponent, softmax.participation_exponent(loads), atol=0.01)


def test_correction_and_optimum_agree_with_the_loss_at_large_length():
    length = 10**9
    norm = softmax.long_context_squared_norm(DIMS, SIGNAL, noise=NOISE)
    omega = np.sqrt(norm / DIMS)
    keywords = {"noise": NOISE}
    at_best = softmax.long_context_loss(omega, 1 / omega, DIMS, SIGNAL, length, **keywords)
    closed = softmax.long_context_optimum_loss(DIMS, SIGNAL, length, **keywords)
    # At the read-out 1/ω̄ the loss has no term but that of order 1/L.
    np.testing.assert_allclose(at_best, closed, rtol=100 * EPS)
    point = softmax.limit_weights(DIMS, SIGNAL, length, **keywords)
    ratio = softmax.long_context_loss(point.omega_bar, point.mu, DIMS, SIGNAL, length, **keywords)
    ratio = ratio / softmax.task_limit_losses(DIMS, SIGNAL, length, **keywords)
    correction = softmax.dimension_correction(DIMS, SIGNAL, **keywords)
    # Next order: some multiple of c = φd/L.
    np.testing.assert_allclose(ratio, correction, rtol=1e-6)


def test_no_other_norm_is_better_at_long_contexts():
    norm = softmax.long_context_squared_norm(DIMS, SIGNAL, noise=NOISE)
    best = softmax.long_context_optimum_loss(DIMS, SIGNAL, 1.0, noise=NOISE)
    for factor in (0.3, 0.99, 1.01, 1.5):
        omega = np.sqrt(factor * norm / DIMS)
        other = softmax.long_context_loss(omega, 1 / omega, DIMS, SIGNAL, 1.0, noise=NOISE)
        assert np.all(other > best)


@pytest.mark.parametrize("d", [1, 3, 10, 10**6])
def test_against_fifty_digits(d):
    with mpmath.workdps(50):
        keywords = {"noise": mpmath.mpf(1) / 2}
        norm = softmax.long_context_squared_norm(d, mpmath.mpf(2), **keywords)
        loss = softmax.long_context_optimum_loss(d, mpmath.mpf(2), 100, **keywords)
        assert abs(softmax.long_context_squared_norm(d, 2.0, noise=0.5) / norm - 1) < 20 * EPS
        # ln(1 − 2w) to rounding, times d/2 + 1 of about 1/w: the exponent is about 1.
        assert abs(softmax.long_context_optimum_loss(d, 2.0, 100, noise=0.5) / loss - 1) < 60 * EPS
        omega = mpmath.sqrt(norm / d)
        exact = softmax.long_context_loss(omega, 1.5, d, mpmath.mpf(2), 100, **keywords)
        got = softmax.long_context_loss(float(omega), 1.5, d, 2.0, 100, noise=0.5)
        assert abs(got / exact - 1) < 60 * EPS


def test_kinds_of_numbers_and_shapes():
    half = Fraction(1, 2)
    assert math.isclose(
        softmax.long_context_loss(half, half, 2, half, 10),
        softmax.long_context_loss(0.5, 0.5, 2, 0.5, 10),
        rel_tol=10 * EPS,
    )
    lengths = np.array([10.0, 100.0, math.inf])
    many_lengths = softmax.long_context_optimum_loss(DIMS, SIGNAL, lengths)
    assert many_lengths.shape == (3, 3)
    assert not many_lengths[-1].any()
    single = np.float32(0.1) * np.ones(3, dtype=np.float32)
    loss = softmax.long_context_loss(single, single, np.float32(9) + single, single, 20.0)
    assert loss.dtype == np.float32
    assert softmax.long_context_loss(0.1, 1.0, 10, 1.0, math.inf) == 10 * (1 - 0.1) ** 2
    omegas = softmax.long_context_loss(np.linspace(0, 0.5, 4), 1.0, 10, 1.0, 20)
    assert omegas.shape == (4,)
    # Uniform attention: the mean of L labels.
    assert math.isclose(omegas[0], 10 + 10 / 20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: softmax.long_context_loss(0.8, 1.0, 3, 1.0, 9), "omega_bar must be below 1/√2"),
        (lambda: softmax.long_context_loss([0.1, -0.8], 1.0, [3, 3], 1.0, 9), "got -0.8 at"),
        (lambda: softmax.long_context_loss(0.1, math.nan, 3, 1.0, 9), "mu must be finite"),
        (lambda: softmax.long_context_squared_norm(0, 1.0), "block_dims must be positive"),
        (lambda: softmax.dimension_correction([2, 5], 1.0), "block_dims must be above 2, got 2"),
        (lambda: softmax.dimension_coefficient(5, 1.0, 9, test_length=math.inf), "test_length"),
        (lambda: softmax.dimension_coefficient(5, 1.0, 9, test_length=0.5), "test_length must be"),
        (lambda: softmax.rare_participation(0.6, 100), "load must be between 2/3 and 2, got 0.6"),
        (lambda: softmax.rare_participation([1.0, 2.0], 100), "load must be between"),
        (
            lambda: softmax.rare_participation(1.0, 1),
            "context_length must be above 1 and finite, got 1",
        ),
        (lambda: softmax.condensed_participation(1.9), "load must be >= 2 and finite, got 1.9"),
        (lambda: softmax.condensed_participation([3.0, 1.0]), "load must be >= 2"),
    ],
)
def test_misuse_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

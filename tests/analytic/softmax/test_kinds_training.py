"""Forms of training, long contexts, condensation and baselines for every kind of number."""

import math
from fractions import Fraction

import array_api_strict
import mpmath
import numpy as np
import pytest
import sympy as sp

from analytic import softmax

EPS = np.finfo(float).eps
DIGITS = mpmath.mpf(10) ** -45

# Floats whose sums, products and quotients in these forms are exact, so that only roots and
# exponentials round: with one mpmath number among the arguments these are taken with its digits.
TASK = {"block_dims": 2.0, "signal": 0.5, "context_length": 4.0, "noise": 1.0}
START = {"initial_omega_bar": 0.0625, "initial_mu": 0.5, "embedding_dim": 8.0}
BARE = START | {"block_dims": 2.0, "signal": 0.5}
FORMS = [
    (softmax.equilibrium_value, TASK | {"omega_bar": 0.5}),
    (softmax.emergence_velocity, TASK | {"omega_bar": 0.5, "embedding_dim": 8.0}),
    (softmax.convergence_rate, TASK | {"embedding_dim": 16.0}),
    (softmax.warmup_invariant, TASK | {"omega_bar": 0.5, "mu": 0.75, "embedding_dim": 8.0}),
    (softmax.warmup_time_course, BARE | {"t": 0.125}),
    (softmax.warmup_time, BARE | {"omega_bar": 0.5}),
    (softmax.blow_up_time, BARE),
    (softmax.warmup_end, TASK | START | {"share": 0.5}),
    (
        softmax.warmup_end,
        TASK | START | {"share": 0.5, "initial_mu": 0.25, "initial_omega_bar": 0.25},
    ),
    (softmax.long_context_loss, TASK | {"omega_bar": 0.25, "mu": 0.75}),
    (softmax.long_context_squared_norm, {key: TASK[key] for key in TASK if key[0] != "c"}),
    (softmax.long_context_optimum_loss, TASK),
    (softmax.dimension_correction, {"block_dims": 4.0, "signal": 0.25, "noise": 1.0}),
    (softmax.dimension_coefficient, TASK),
    (softmax.dimension_coefficient, TASK | {"test_length": 8.0}),
    (softmax.hermite_error, {"degree": 3, "gain": 0.5}),
    (softmax.saturation_scale, {"context_length": 8.0}),
    (softmax.participation_branches, {"load": 0.75}),
    (softmax.condensed_participation, {"load": 3.0}),
    (softmax.rare_participation, {"load": 0.75, "context_length": 8.0}),
    (softmax.rare_participation, {"load": 1.25, "context_length": 8.0}),
    (softmax.marchenko_pastur_moments, {"gamma": 0.5, "penalty": 0.25}),
    (softmax.marchenko_pastur_moments, {"gamma": 2.0, "penalty": 0.25}),
    (softmax.ridge_risk, {"gamma": 0.5, "snr": 2.0, "penalty": 0.25}),
    (softmax.ridge_risk, {"gamma": 2.0, "snr": 2.0, "penalty": 0.25}),
    (softmax.bayes_risk, {"gamma": 0.5, "snr": 2.0}),
    (softmax.bayes_risk, {"gamma": 2.0, "snr": 2.0}),
]
KINDS = [*FORMS] + [
    (softmax.participation_exponent, {"load": load, "mean": mean})
    for load in (0.25, 0.5, 0.625, 0.75, 2.0, 3.0)
    for mean in (True, False)
]
FIXED = ("degree", "mean")


def flat(value):
    if isinstance(value, tuple):
        return [entry for part in value for entry in flat(part)]
    return list(np.asarray(value).flat)


def mapped(convert, plain):
    return {key: value if key in FIXED else convert(value) for key, value in plain.items()}


def spread(function, convert, plain):
    """Arrays of two entries; lengths and noises beside tasks are over the batch: numbers there."""
    batch = ("context_length", "test_length", "noise")
    alone = batch if function.__module__.endswith("finite_dimension") else ()
    given = {key: value for key, value in plain.items() if key not in alone}
    return plain | mapped(lambda value: convert([value, value]), given)


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize(("function", "plain"), FORMS)
def test_one_mpmath_number_makes_a_form_exact(function, plain, integers):
    with mpmath.workdps(50):
        if integers:
            plain = mapped(lambda value: value if value % 1 else int(value), plain)
        whole = flat(function(**mapped(mpmath.mpf, plain)))
        for name in plain.keys() - set(FIXED):
            # Alone, and as the entry of an array.
            for value in (mpmath.mpf(plain[name]), np.array([mpmath.mpf(plain[name])])):
                for one, exact in zip(flat(function(**plain | {name: value})), whole, strict=True):
                    assert abs(one - exact) <= DIGITS * abs(exact), name


@pytest.mark.parametrize(("function", "plain"), KINDS)
def test_arrays_of_every_kind_hold_what_scalars_give(function, plain):
    alone = flat(function(**plain))
    for kind in (np.float64, np.float32, object):
        got = function(**spread(function, lambda values, k=kind: np.array(values, k), plain))
        for part, scalar in zip(got if isinstance(got, tuple) else (got,), alone, strict=True):
            assert part.dtype == kind
            assert part.shape == (2,)
            # A dozen operations, and differences of terms a few times the result.
            tolerance = 100 * float(np.finfo(kind if kind is not object else float).eps)
            np.testing.assert_allclose(part.astype(float), scalar, rtol=tolerance, atol=0)
    got = function(**spread(function, array_api_strict.asarray, plain))
    for part, scalar in zip(got if isinstance(got, tuple) else (got,), alone, strict=True):
        assert not isinstance(part, np.ndarray)
        np.testing.assert_allclose(np.asarray(part), scalar, rtol=100 * EPS)


@pytest.mark.parametrize(("function", "plain"), KINDS)
def test_a_float32_array_beside_plain_numbers_stays_float32(function, plain):
    for name in plain.keys() - set(FIXED):
        # Of no task axis: integers and floats of Python and NumPy are not to widen it.
        for convert in (float, np.float64, np.asarray):
            got = function(**mapped(convert, plain) | {name: np.full(2, plain[name], np.float32)})
            for part in got if isinstance(got, tuple) else (got,):
                assert np.asarray(part).dtype == np.float32, name


@pytest.mark.parametrize(("function", "plain"), FORMS)
def test_symbols_in_arrays_and_alone_are_not_ordered(function, plain):
    """A form with symbols, alone and in an array, becomes the numbers' once they are put in."""
    names = [name for name in plain if name not in FIXED]
    symbols = {name: sp.Symbol(name, positive=True) for name in names}
    rational = {symbols[name]: sp.Rational(plain[name]) for name in names}
    batch = ("context_length", "test_length", "noise")
    alone = batch if function.__module__.endswith("finite_dimension") else ()
    arrays = {k: v if k in alone else np.array([v], object) for k, v in symbols.items()}
    for given in (symbols, arrays):
        got = flat(function(**plain | given))
        for one, number in zip(got, flat(function(**plain)), strict=True):
            assert one.free_symbols
            assert math.isclose(sp.N(one.subs(rational)), number, rel_tol=100 * EPS)


@pytest.mark.parametrize(("function", "plain"), FORMS)
def test_noise_is_zero_by_default(function, plain):
    if "noise" in plain:
        given = {name: value for name, value in plain.items() if name != "noise"}
        assert flat(function(**given)) == flat(function(**given, noise=0))


def test_the_correction_in_dimension_to_fifty_digits():
    with mpmath.workdps(50):
        d, phi = mpmath.mpf(5), 1 + mpmath.mpf(1) / 5
        exact = (1 - (2 - 1 / phi) / d) * (1 - 2 / d) ** (-d / 2 - 1) / mpmath.e
        assert abs(softmax.dimension_correction(d, 1, noise=1) / exact - 1) < DIGITS


def test_test_lengths_are_over_the_batch_beside_tasks_and_elementwise_beside_one():
    lengths = [8.0, 16.0, 32.0]
    for dims, signal in ((2.0, 0.5), ([2.0, 3.0], [0.5, 1.0])):
        rows = [softmax.dimension_coefficient(dims, signal, 4.0, test_length=n) for n in lengths]
        got = softmax.dimension_coefficient(dims, signal, 4.0, test_length=lengths)
        assert got.shape == np.shape(rows)
        np.testing.assert_allclose(got, rows, rtol=8 * EPS)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: softmax.rare_participation(x(Fraction(2, 3)), 100),
        lambda x: softmax.rare_participation(x(2.0), 100),
        lambda x: softmax.rare_participation(1.0, x(1.0)),
        lambda x: softmax.rare_participation(1.0, x(math.inf)),
        lambda x: softmax.condensed_participation(x(2 - 4 * EPS)),
        lambda x: softmax.condensed_participation(x(math.inf)),
        lambda x: softmax.long_context_loss(x(0.5**0.5), 1.0, 3, 1.0, 9),
        lambda x: softmax.long_context_loss(x(-(0.5**0.5)), 1.0, 3, 1.0, 9),
        lambda x: softmax.long_context_loss(x(1e200), 1.0, 3, 1.0, 9),
        lambda x: softmax.dimension_correction(x(2), 1.0),
        lambda x: softmax.ridge_risk(1.0, 1.0, x(0.0)),
        lambda x: softmax.bayes_risk(1.0, x(0.0)),
    ],
)
def test_open_ends_of_a_range_are_refused_for_every_kind_of_number(call):
    kinds = [lambda v: v, lambda v: np.array([float(v)]), lambda v: np.array([v], dtype=object)]
    for kind in (*kinds, lambda v: sp.Rational(v) if v < math.inf else sp.oo):
        with pytest.raises(ValueError, match="must be"):
            call(kind)


@pytest.mark.parametrize("function", [form for form, plain in FORMS[4:8] if "initial_mu" in plain])
def test_a_warm_up_starts_from_positive_weights(function):
    plain = next(given for form, given in FORMS if form is function)
    for name in plain:
        refused = 0.0 if name not in ("t", "noise", "context_length") else -1.0
        with pytest.raises(ValueError, match=f"^{name} must be"):
            function(**plain | {name: refused})


def test_the_end_of_a_warm_up_keeps_its_digits_far_below_and_above_the_invariant():
    # κ = 1: μ and −κω̄ are the roots of a quadratic whose product is far below its middle squared.
    starts = [(1e-9, 0.5), (0.5, 1e-9), (1e-9, 3.0), (3.0, 1e-9)]
    ends = [
        softmax.warmup_end(omega, mu, 1.0, 1.0, math.inf, 1.0, share=1e-7) for omega, mu in starts
    ]
    stack = np.array(starts).T
    together = softmax.warmup_end(*stack, 1.0, 1.0, math.inf, 1.0, share=1e-7)
    for end in (ends, list(zip(*together, strict=True))):
        for (omega, mu), got in zip(starts, end, strict=True):
            with mpmath.workdps(50):
                gap, product = mpmath.mpf(mu) - mpmath.mpf(omega), mpmath.mpf(1e-7)
                exact = (gap + mpmath.sqrt(gap**2 + 4 * product)) / 2
                assert abs(got[2] / exact - 1) < 12 * EPS
                assert abs(got[1] / (product / exact) - 1) < 12 * EPS


@pytest.mark.parametrize("mean", [True, False])
def test_the_exponent_is_a_positive_zero_from_two_on(mean):
    for load in (2.0, 3.0, 1e300):
        values = [softmax.participation_exponent(load, mean=mean)]
        values += softmax.participation_exponent([load, 1.0], mean=mean).tolist()[:1]
        assert all(value == 0 and math.copysign(1, value) == 1 for value in values)


def test_a_symbol_among_loads_has_no_order():
    with pytest.raises(ValueError, match="load must be a number, which has an order, got u"):
        softmax.participation_exponent([sp.Symbol("u"), 1.0])


def test_an_integer_gain_gives_a_float():
    # (He_2 − q²)²/2! has mean 1 − 2 + 3/2.
    assert isinstance(softmax.hermite_error(2, 1), float)
    assert softmax.hermite_error(2, 1) == 0.5
    assert softmax.hermite_error(2, Fraction(1)) == Fraction(1, 2)


def test_degrees_go_up_to_ten_thousand():
    # k!/(2k − 1)!! is √(πk)/2^k (1 + 1/(8k) + …), below the least float at the largest degree.
    assert softmax.hermite_gain(10_000) == 0.0
    assert softmax.hermite_error(10_000) == 1.0
    for function in (softmax.hermite_gain, softmax.hermite_error):
        with pytest.raises(ValueError, match="degree must be between 0 and 10000, got 10001"):
            function(10_001)

"""The closed forms of softmax attention for every kind of number."""

from fractions import Fraction

import array_api_strict
import mpmath
import numpy as np
import pytest
import sympy as sp

from analytic import softmax
from analytic.softmax import _quotients
from analytic.softmax._state import require_between

EPS = np.finfo(float).eps
RATIOS = [1e-300, 1e-17, 1e-9, 0.3, 0.999, 1.0, 1.0 + EPS, 7.0, 1e12]


def flat(value):
    if isinstance(value, tuple):
        return [entry for part in value for entry in flat(part)]
    return list(np.asarray(value).flat)


def kinds(values):
    """An array of NumPy, of another library, and of objects."""
    return np.array(values), array_api_strict.asarray(values), np.array(values, dtype=object)


@pytest.mark.parametrize("name", ["growth", "log_growth"])
def test_quotients_at_and_near_their_singularity(name):
    function = getattr(_quotients, name)
    points = [0.0, 1e-300, -1e-300, 1e-9, -1e-9, 0.7, -0.7, 3.0]
    with mpmath.workdps(50):
        above = {"growth": mpmath.expm1, "log_growth": mpmath.log1p}[name]
        exact = [float(above(mpmath.mpf(x)) / mpmath.mpf(x)) if x else 1.0 for x in points]
        assert function(mpmath.mpf(0)) == 1
        precise = function(mpmath.mpf(0.7))
        assert abs(precise - above(mpmath.mpf(0.7)) / mpmath.mpf(0.7)) < mpmath.mpf(10) ** -45
    for got in ([function(x) for x in points], *(function(x) for x in kinds(points))):
        np.testing.assert_allclose(np.asarray(got, dtype=float), exact, rtol=4 * EPS)
    x = sp.Symbol("x")
    assert (
        function(x).subs(x, 2) == {"growth": (sp.exp(2) - 1) / 2, "log_growth": sp.log(3) / 2}[name]
    )
    assert function(Fraction(0)) == 1


def test_the_inverse_logarithmic_mean_near_equal_and_far():
    a = [0.5] * len(RATIOS)
    b = [0.5 * ratio for ratio in RATIOS]
    gap = [x - y for x, y in zip(a, b, strict=True)]
    with mpmath.workdps(400):
        exact = [
            float((mpmath.log(x) - mpmath.log(y)) / (mpmath.mpf(x) - y)) if x != y else 1 / x
            for x, y in zip(a, b, strict=True)
        ]
    # Both orders: the mean is symmetric.
    for one, two, sign in ((a, b, 1), (b, a, -1)):
        signed = [sign * value for value in gap]
        alone = [_quotients.inverse_log_mean(*row) for row in zip(one, two, signed, strict=True)]
        triples = zip(kinds(one), kinds(two), kinds(signed), strict=True)
        for got in (alone, *(_quotients.inverse_log_mean(*triple) for triple in triples)):
            np.testing.assert_allclose(np.asarray(got, dtype=float), exact, rtol=8 * EPS)
    x = sp.Symbol("x", positive=True)
    value = _quotients.inverse_log_mean(x, sp.Integer(2), x - 2)
    expected = float(sp.log(sp.Rational(5, 2)) / 3)
    assert float(value.subs(x, 5)) == pytest.approx(expected, rel=1e-15)
    one, two = np.array([x, 3], dtype=object), np.array([2, 3], dtype=object)
    assert _quotients.inverse_log_mean(one, two, one - two).tolist()[0] == value


def test_between_is_strict_and_symbols_pass():
    x = sp.Symbol("x")
    require_between("share", np.array([0.5, 0.75]), 0.25, 1)
    for value, low in ((x, 0), (0.5, x), (np.array([x, 0.5]), 0), (0.5, np.array([x]))):
        require_between("share", value, low, 1)
    for value in (0.25, 1, [0.5, 0.25], [0.5, 1]):
        with pytest.raises(ValueError, match=r"share must be between 0\.25 and 1, got"):
            require_between("share", np.array(value), 0.25, 1)


def test_leading_dimensions_of_weights_are_not_heads():
    rng = np.random.default_rng(4)
    omega, mu = rng.normal(size=(5, 3, 4)) / 9, rng.normal(size=(5, 3, 2))
    for function in (softmax.spectral_loss, softmax.spectral_gradient):
        batch = function(omega, mu, np.array(2), [1.0, 0.5], 20)
        for at in range(5):
            alone = function(omega[at], mu[at], [2, 2], [1.0, 0.5], 20)
            whole = [part[at] for part in batch] if isinstance(batch, tuple) else [batch[at]]
            for one, other in zip(whole, alone if isinstance(batch, tuple) else [alone],
                                  strict=True):  # fmt: skip
                # Sums of at most 12 products, which may be added in another order.
                np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)


# Floats whose sums, products and quotients here are exact, so that only roots and exponentials
# round: one mpmath number among the arguments has them taken with its digits.
ONE_TASK = {"block_dims": 2.0, "signal": 0.5, "context_length": 4.0, "noise": 1.0}
STATE = ONE_TASK | {"omega_bar": 0.5, "mu": 0.75}
EXACT = [
    (softmax.limit_weights, ONE_TASK),
    (softmax.task_limit_losses, ONE_TASK),
    (softmax.limit_loss, ONE_TASK),
    (softmax.generalised_loss, ONE_TASK | {"test_length": 8.0}),
    (softmax.optimality_factor, ONE_TASK),
    (softmax.limit_escape_rate, ONE_TASK),
    (softmax.water_filling, ONE_TASK),
    (softmax.single_head_optimum, ONE_TASK),
    (softmax.allocation_loss, ONE_TASK | {"allocation": 0.25}),
    (softmax.balanced_velocity, STATE | {"embedding_dim": 8.0}),
    (softmax.neglected_share, STATE),
]


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize(("function", "plain"), EXACT)
def test_one_mpmath_number_makes_a_form_exact(function, plain, integers):
    with mpmath.workdps(50):
        if integers:
            plain = {name: value if value % 1 else int(value) for name, value in plain.items()}
        whole = flat(function(**{name: mpmath.mpf(value) for name, value in plain.items()}))
        for name, value in plain.items():
            got = flat(function(**(plain | {name: mpmath.mpf(value)})))
            for one, exact in zip(got, whole, strict=True):
                assert abs(one - exact) <= mpmath.mpf(10) ** -45 * abs(exact), name


def test_one_mpmath_number_makes_equiangular_heads_exact():
    with mpmath.workdps(50):
        for heads in (1, 3):
            half, quarter = mpmath.mpf(0.5), mpmath.mpf(0.25)
            whole = softmax.equiangular_allocation(heads, half, quarter)
            for a, b in ((half, 0.25), (0.5, quarter)):
                got = softmax.equiangular_allocation(heads, a, b)
                assert abs(got - whole) < mpmath.mpf(10) ** -45


TASKS = ([2.0, 3.0], [0.5, 2.0], 9.0)
FOREIGN = [
    (softmax.noise_factor, TASKS[:2]),
    (softmax.limit_weights, TASKS),
    (softmax.task_limit_losses, TASKS),
    (softmax.limit_loss, TASKS),
    (softmax.limit_escape_rate, TASKS),
    (softmax.optimality_factor, TASKS),
    (softmax.generalised_loss, (*TASKS, 20.0)),
    (softmax.allocation_loss, ([0.5, 0.25], *TASKS)),
    (softmax.balanced_velocity, ([0.5, 0.25], [0.5, 2.0], [2.0, 3.0], [0.5, 2.0], 9.0, 16.0)),
    (softmax.neglected_share, ([0.5, 0.25], [0.5, 2.0], [2.0, 3.0], [0.5, 2.0], 9.0)),
]


@pytest.mark.parametrize(("function", "arguments"), FOREIGN)
def test_another_array_library_gives_the_same(function, arguments):
    given = [array_api_strict.asarray(x) if isinstance(x, list) else x for x in arguments]
    got, expected = function(*given, noise=0.5), function(*arguments, noise=0.5)
    for part in got if isinstance(got, tuple) else (got,):
        assert not isinstance(part, np.ndarray | np.generic)
    # The library calls NumPy for every operation.
    np.testing.assert_allclose(flat(got), flat(expected), rtol=8 * EPS)


def test_test_lengths_are_over_the_batch():
    lengths, tested = np.array([9.0, 90.0, 900.0]), np.array([20.0, 5.0, 70.0])
    for dims in (4.0, [4.0, 9.0]):
        got = softmax.generalised_loss(dims, 1.0, lengths, tested, noise=0.5)
        each = [
            softmax.generalised_loss(dims, 1.0, length, other, noise=0.5)
            for length, other in zip(lengths.tolist(), tested.tolist(), strict=True)
        ]
        np.testing.assert_allclose(got, each, rtol=8 * EPS)


@pytest.mark.parametrize(
    "function", [softmax.spectral_loss, softmax.spectral_gradient, softmax.first_order_loss]
)
def test_one_mpmath_signal_makes_the_losses_of_objects_exact(function):
    omega, mu = np.array([[0.5, 0.5]], dtype=object), np.array([[0.75]], dtype=object)
    with mpmath.workdps(50):
        long = np.frompyfunc(mpmath.mpf, 1, 1)
        whole = flat(function(long(omega), long(mu), 2, mpmath.mpf(0.5), 4))
        for one, exact in zip(flat(function(omega, mu, 2, mpmath.mpf(0.5), 4)), whole, strict=True):
            assert abs(one - exact) <= mpmath.mpf(10) ** -45 * abs(exact)


def test_boundaries_of_the_phases_belong_to_the_later_phase():
    # At N = ∞ the neglected share is μω̄, and dω̄² here is ½.
    assert softmax.training_phase(0.5, 1.0, 1, 1.0, np.inf) == 1
    assert softmax.training_phase(0.5, 1.0 - EPS, 1, 1.0, np.inf) == 0
    assert softmax.training_phase(0.5, 2.0, 2, 1.0, np.inf, closeness=0.5) == 2
    assert softmax.training_phase(0.5, 2.0, 2, 1.0, np.inf, closeness=0.5 - EPS) == 1


def test_label_noise_ends_the_warm_up_sooner():
    # μω̄ (1 + c e^{dω̄²}) is 0.056 at c = 0.1 and 0.6 at c = 10.1.
    assert softmax.training_phase(0.1, 0.5, 10, 1.0, 100) == 0
    assert softmax.training_phase(0.1, 0.5, 10, 1.0, 100, noise=1000**0.5) == 1
    # 0.4 at c = 1, without noise, and 0.6 at c = 2.
    assert softmax.training_phase(0.1, 2.0, 1, 1.0, 1) == 0


def test_equiangular_symbols_have_no_range_to_leave():
    x = sp.Symbol("x", positive=True)
    for arguments in ((3, x, 0.25), (3, 0.5, x)):
        got = softmax.equiangular_allocation(*arguments)
        numbers = [0.3 if value is x else value for value in arguments]
        assert float(got.subs(x, 0.3)) == pytest.approx(
            softmax.equiangular_allocation(*numbers), rel=1e-14
        )


def test_the_limit_of_the_separation_keeps_digits_and_leading_dimensions():
    with mpmath.workdps(50):
        long, half = mpmath.mpf(2), mpmath.mpf(0.5)
        whole = softmax.separation_limit([0, 0, 1], [long, mpmath.mpf(0.75), long], half)
        mixed = softmax.separation_limit([0, 0, 1], [long, 0.75, long], 0.5)
        assert abs(mixed - whole) < mpmath.mpf(10) ** -45
    dims = np.array([[2.0, 3.0, 4.0], [5.0, 1.0, 9.0]])
    got = softmax.separation_limit([0, 1, 0], dims, 0.5, noise=0.3)
    each = [softmax.separation_limit([0, 1, 0], row, 0.5, noise=0.3) for row in dims]
    np.testing.assert_allclose(got, each, rtol=8 * EPS)

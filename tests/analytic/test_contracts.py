"""What every closed form promises: defaults, other array libraries, batches, exact numbers."""

import inspect
import math
from fractions import Fraction

import array_api_strict
import mpmath
import numpy as np
import pytest
import sympy as sp

import analytic
from precision import exact, points, table
from precision.exact import ORACLES, flat

EPS = np.finfo(float).eps
# Ω = I, σ = 0 and τ = 1 are the papers'; half and a tenth are the shares that T½ and the end of
# training are defined with.
DEFAULTS = {
    "task_eigenvalues": 1, "noise": 0, "tau": 1, "eigenvalue": 1, "task_eigenvalue": 1,
    "mean": True, "share": 0.5, "closeness": 0.1, "signal": 1, "context_length": math.inf,
}  # fmt: skip
DEFAULTED = [
    name for name in sorted(ORACLES)
    if set(DEFAULTS) & {
        p.name for p in inspect.signature(table.function_of(name)).parameters.values()
        if p.default is not p.empty and name != "Convention"
    }
]  # fmt: skip
# Named in `analytic` as those that take numbers of NumPy only.
NUMPY_ONLY = {"saddle_path", "stability_index", "general_modes", "principal_component_prediction"}
NUMPY_ONLY |= {"general_plateau_losses"}
LINEAR = sorted(
    name for name, form in ORACLES.items()
    if "." not in name and form.call is exact._plain and name not in NUMPY_ONLY
)  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTED)
def test_defaults_are_the_papers_setting(name):
    form, function = ORACLES[name], table.function_of(name)
    signature = inspect.signature(function)
    optional = {
        p.name for p in signature.parameters.values()
        if p.name in DEFAULTS and p.default is not p.empty
    }  # fmt: skip
    compared = set()
    for case in points.batch(form.draw, 8, [5, *name.encode()]):
        given = dict(signature.bind(*case.arguments, **case.keywords).arguments)
        for left_out in optional:
            plain = {key: value for key, value in given.items() if key != left_out}
            try:
                expected = flat(function(**plain, **{left_out: DEFAULTS[left_out]}))
            except (ValueError, OverflowError):
                continue  # the point is not one of this setting
            assert flat(function(**plain)) == expected, (left_out, case)
            compared.add(left_out)
    assert compared == optional


def foreign(value):
    """Lists of floats as arrays of a library that is not NumPy."""
    array = np.asarray(value)
    return array_api_strict.asarray(array) if array.ndim and array.dtype.kind == "f" else value


def numbers(value):
    if isinstance(value, tuple):
        return [number for entry in value for number in numbers(entry)]
    return np.asarray(value).ravel().tolist()


@pytest.mark.parametrize("name", LINEAR)
def test_another_array_library_gives_the_same(name):
    form, function = ORACLES[name], table.function_of(name)
    for case in points.batch(form.draw, 4, [6, *name.encode()]):
        keywords = {key: foreign(value) for key, value in case.keywords.items()}
        arguments = [foreign(value) for value in case.arguments]
        expected = numbers(function(*case.arguments, **case.keywords))
        got = function(*arguments, **keywords)
        if any(a is not b for a, b in zip(arguments, case.arguments, strict=True)):
            parts = got if isinstance(got, tuple) else (got,)
            assert all(hasattr(part, "__array_namespace__") for part in parts)
            assert not any(isinstance(part, np.ndarray) for part in parts)
        # The library calls NumPy for every operation, and rounds as it does.
        np.testing.assert_allclose(numbers(got), expected, rtol=16 * EPS)


def test_low_rank_batches_equal_loops():
    rng = np.random.default_rng(2)
    modes = [[0, 2, 1], [1, 1, 2]]
    v, kappa = rng.normal(size=(5, 4, 2)), rng.normal(size=(5, 4, 2, 3))
    growth, curvature = rng.uniform(0.2, 2, (5, 4, 3)), rng.uniform(0.2, 2, (5, 4, 3))
    batch = analytic.low_rank_velocity(v, kappa, modes, growth, curvature)
    for at in np.ndindex(5, 4):
        alone = analytic.low_rank_velocity(v[at], kappa[at], modes, growth[at], curvature[at])
        for whole, one in zip(batch, alone, strict=True):
            # A sum of 6 products may be taken in another order: 6 roundings of terms below 10.
            np.testing.assert_allclose(whole[at], one, rtol=0, atol=60 * EPS)


def test_low_rank_of_fractions_is_a_fraction():
    half, third = Fraction(1, 2), Fraction(1, 3)
    dv, dk = analytic.low_rank_velocity([half], [[third, half]], [[0, 1]], [third, 2], [1, half])
    assert {type(entry) for entry in [*dv.flat, *dk.flat]} == {Fraction}
    # v̇ = Σ κ²(g − c v κ²), κ̇ = v κ (g − c v κ²).
    force = third - half * third**2, 2 - half * half * half**2
    assert dv.tolist() == [third**2 * force[0] + half**2 * force[1]]
    assert dk.tolist() == [[half * third * force[0], half * half * force[1]]]


def test_a_fixed_point_has_any_number_of_heads():
    v, k, q = analytic.ansatz_weights([False, False], [2.0, 1.0], 31, heads=0)
    assert (v.shape, k.shape, q.shape) == ((0,), (0, 2), (0, 2))
    v, k, _ = analytic.ansatz_weights([True, False], [2.0, 1.0], 31, heads=61)
    assert (v.shape, k.shape) == ((61,), (61, 2))
    with pytest.raises(ValueError, match="heads must be between 0 and 1000000, got 1000001"):
        analytic.ansatz_weights([True], [2.0], 31, heads=10**6 + 1)


def test_equal_growth_keeps_the_order_of_the_gains():
    # The growth of mode d is λ², here 1, 4 or 16 exactly, and its gain λ³/s falls with s.
    lam, second = 2.0 ** (np.arange(60) % 3), 4.0 ** (np.arange(60) % 7)
    modes = analytic.general_modes(np.diag(lam), np.diag(second))
    values, counts = np.unique(modes.growth, return_counts=True)
    assert values.tolist() == [1, 4, 16]
    assert counts.tolist() == [20, 20, 20]
    for value in values:
        assert (np.diff(modes.gains[modes.growth == value]) <= 0).all()


def test_converged_predictions_have_leading_dimensions():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(2, 3, 4, 4))
    cov = root @ np.swapaxes(root, -1, -2) + np.eye(4)
    beta, query = rng.normal(size=(2, 2, 3, 4))
    got = analytic.converged_prediction(beta, query, cov, 9.0)
    assert got.shape == (2, 3)
    for at in np.ndindex(2, 3):
        alone = analytic.converged_prediction(beta[at], query[at], cov[at], 9.0)
        assert got[at] == pytest.approx(alone, rel=1e-12)


COURSE = ("t", "dimension", "context_length", "initial_norm", "eigenvalue", "task_eigenvalue",
          "noise", "tau")  # fmt: skip


# Floats whose sums and quotients here are exact: only √3 and the exponential are rounded, and one
# mpmath number among the arguments has them taken with its digits. Integers are exact anyway.
@pytest.mark.parametrize(
    "values", [(2.0, 3.0, 4.0, 0.5, 1.0, 1.0, 0.0, 1.0), (2, 3, 7, 1, 2, 3, 1, 5)]
)
@pytest.mark.parametrize("function", [analytic.white_time_course, analytic.white_loss_curve])
def test_one_mpmath_number_makes_a_course_exact(function, values):
    plain = dict(zip(COURSE, values, strict=True))
    with mpmath.workdps(50):
        whole = function(**{name: mpmath.mpf(value) for name, value in plain.items()})
        for name, value in plain.items():
            got = function(**(plain | {name: mpmath.mpf(value)}))
            assert abs(got / whole - 1) < mpmath.mpf(10) ** -45, name


def test_one_mpmath_number_makes_an_escape_time_exact():
    # ‖ΛΩΛ‖ = 5 is exact in floats, and ln 0.3 is not.
    with mpmath.workdps(50):
        expected = -mpmath.log(mpmath.mpf(0.3)) * 2 / 5
        for tau, norm in ((mpmath.mpf(2), 0.3), (2.0, mpmath.mpf(0.3))):
            keywords = {"task_eigenvalues": [1.0, 3.0], "tau": tau}
            got = analytic.escape_time(norm, [2.0, 1.0], **keywords)
            assert abs(got / expected - 1) < mpmath.mpf(10) ** -45


def test_aligned_velocities_have_leading_dimensions():
    rng = np.random.default_rng(4)
    v, u = rng.normal(size=5), rng.normal(size=(5, 3))
    lam, omega = rng.uniform(0.2, 2, (5, 3)), rng.uniform(0.2, 2, (5, 3))
    batch = analytic.aligned_velocity(v, u, lam, 9.0, task_eigenvalues=omega)
    for i in range(5):
        alone = analytic.aligned_velocity(v[i], u[i], lam[i], 9.0, task_eigenvalues=omega[i])
        for whole, one in zip(batch, alone, strict=True):
            np.testing.assert_allclose(whole[i], one, rtol=0, atol=60 * EPS)


def test_a_bad_dimension_is_called_so():
    with pytest.raises(ValueError, match="dimension must be >= 1"):
        analytic.white_time_course(1.0, 0.1, 0.5, 31)


def test_effective_lengths_have_leading_dimensions():
    lengths = [[2.0, 6.0], [math.inf, math.inf], [1.0, 1.0], [4.0, math.inf]]
    got = analytic.effective_context_length(lengths)
    assert got.tolist() == [3.0, math.inf, 1.0, 8.0]
    assert got.dtype == np.float64
    assert numbers(analytic.effective_context_length(foreign(lengths))) == got.tolist()
    exact_lengths = [[Fraction(2), Fraction(6)], [Fraction(3), Fraction(3)]]
    got = analytic.effective_context_length(exact_lengths)
    assert got.tolist() == [3, 3]
    assert {type(value) for value in got} == {Fraction}
    got = analytic.effective_context_length([[Fraction(2), Fraction(6)], [math.inf, math.inf]])
    assert got.tolist() == [3, math.inf]


@pytest.mark.parametrize("kind", [np.asarray, foreign, lambda x: np.vectorize(Fraction)(x)])
def test_probabilities_sum_to_one_in_every_row(kind):
    lengths, good, bad = kind([2.0, 6.0]), kind([[0.25, 0.75], [1.0, 0.0]]), [0.5, 0.375]
    # 1/(1/8 + 1/8) and 1/(1/2), exact in floats.
    assert numbers(analytic.effective_context_length(lengths, good)) == [4, 2]
    for weights in (bad, [[0.25, 0.75], bad], [[0.25, 0.75], [1.0, 2e-6]]):
        with pytest.raises(ValueError, match="probabilities must sum to 1, got"):
            analytic.effective_context_length(lengths, kind(weights))
    nearly = 1 - 5e-7  # a sum that is short by rounding, of float32 say
    analytic.effective_context_length(lengths, kind([[0.25, 0.75 * nearly], [nearly, 0.0]]))


def test_exact_probabilities_err_by_less_than_a_millionth():
    with pytest.raises(ValueError, match="probabilities must sum to 1, got"):
        analytic.effective_context_length([2, 6], [1, Fraction(1e-6)])
    p, half = sp.Symbol("p"), Fraction(1, 2)
    got = analytic.effective_context_length([2, 6], [[p, half], [half, half]])
    assert got.tolist() == [1 / (p / 2 + sp.Rational(1, 12)), 3]


def test_exact_matrices_have_leading_dimensions():
    rng = np.random.default_rng(8)
    root = rng.integers(-3, 4, (2, 3, 4, 4))
    cov = np.vectorize(Fraction)(root @ np.swapaxes(root, -1, -2) + np.eye(4, dtype=int))
    second = analytic.feature_second_moment(cov, 9)
    best = analytic.optimal_weights(cov, second)
    assert (second @ best == cov).all()
    assert {type(entry) for entry in best.flat} == {Fraction}
    assert analytic.minimum_loss(cov, second).shape == (2, 3)


def test_exact_and_float_matrices_mix():
    plain = np.array([[3.0, 1.0], [1.0, 5.0]]), np.array([[7.0, 2.0], [2.0, 3.0]])
    with mpmath.workdps(50):
        precise = tuple(np.vectorize(mpmath.mpf, otypes=[object])(value) for value in plain)
        whole = analytic.optimal_weights(*precise)
        assert abs(whole[0, 0] - mpmath.mpf(7) / 17) < mpmath.mpf(10) ** -45
        # Floats are exact numbers here, so that only the quotients by S are rounded: with the
        # digits of S.
        for mixed, tolerance in (((plain[0], precise[1]), 1e-45), ((precise[0], plain[1]), 1e-14)):
            assert np.max(abs(analytic.optimal_weights(*mixed) - whole)) < tolerance


def test_token_moments_have_leading_dimensions():
    rng = np.random.default_rng(5)
    root = rng.normal(size=(2, 3, 4, 4))
    cov = root @ np.swapaxes(root, -1, -2) + np.eye(4)
    task = np.diag([1.0, 0.5, 2.0, 0.0])
    fourth = analytic.gaussian_fourth_moment(cov, task)
    got = analytic.token_second_moment(cov, fourth, 9.0, task_covariance=task)
    for at in np.ndindex(2, 3):
        alone = analytic.token_second_moment(cov[at], fourth[at], 9.0, task_covariance=task)
        np.testing.assert_allclose(got[at], alone, rtol=1e-13)
    with pytest.raises(ValueError, match=r"fourth_moment must have shape \(\.\.\., 2, 2\)"):
        analytic.token_second_moment(np.eye(2), np.eye(3), 9.0)


def test_losses_have_leading_dimensions():
    rng = np.random.default_rng(7)
    root = rng.normal(size=(2, 3, 4, 4))
    cov = root @ np.swapaxes(root, -1, -2) + np.eye(4)
    weights, second = rng.normal(size=(2, 3, 4, 4)), 2 * cov + np.eye(4)
    got = analytic.population_loss(weights, cov, second)
    for at in np.ndindex(2, 3):
        alone = analytic.population_loss(weights[at], cov[at], second[at])
        assert got[at] == pytest.approx(alone, rel=1e-12)

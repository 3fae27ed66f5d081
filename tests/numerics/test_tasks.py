"""Tasks: what is refused and how, E[1/N], rotations, fourth moments, dtypes."""

import itertools
import math

import numpy as np
import pytest

from numerics import LinearTask, TokenTask, population_moments, random_rotation
from tests.numerics.support import EPS, assert_same, skewed_tokens, spd

EYE = np.eye(2)
BAD_MATRICES = [
    (np.array([[1.0, 0.5], [0.0, 1.0]]), ValueError, "symmetric"),
    (np.array([[1.0, 2.0], [2.0, 1.0]]), ValueError, "definite"),
    (np.array([[1.0, np.nan], [np.nan, 1.0]]), ValueError, "finite"),
    (np.array([[1.0, np.inf], [np.inf, 1.0]]), ValueError, "finite"),
    (np.ones((2, 3)), ValueError, r"square.*\(2, 3\)"),
    (np.ones(2), ValueError, r"2 axes.*\(2,\)"),
    (np.ones((0, 0)), ValueError, r"empty.*\(0, 0\)"),
    ([[1.0], [2.0, 3.0]], ValueError, "regular array"),
    ([["1.0", "0"], ["0", "1"]], TypeError, "real numbers"),
    (np.array([[1.0, None], [None, 1.0]]), TypeError, "real numbers.*object"),
    (EYE + 0j, TypeError, "real numbers.*complex"),
    (EYE > 0, TypeError, "real numbers.*bool"),
]


def test_a_list_of_eigenvalues_is_told_where_to_go():
    with pytest.raises(ValueError, match=r"2 axes.*\(2,\).*from_eigenvalues"):
        LinearTask([1.0, 0.5], 5)


@pytest.mark.parametrize(("value", "error", "text"), BAD_MATRICES)
def test_bad_covariance_is_named(value, error, text):
    with pytest.raises(error, match=rf"^covariance must .*{text}"):
        LinearTask(value, 5)


@pytest.mark.parametrize(("value", "error", "text"), BAD_MATRICES)
def test_bad_task_covariance_is_named(value, error, text):
    with pytest.raises(error, match=rf"^task_covariance must .*{text}"):
        LinearTask(EYE, 5, value)


def test_singular_covariance_is_refused_but_singular_task_covariance_is_not():
    rank_one = np.ones((2, 2))
    with pytest.raises(ValueError, match=r"^covariance must be positive definite"):
        LinearTask(rank_one, 5)
    assert LinearTask(EYE, 5, rank_one).task_covariance.tolist() == rank_one.tolist()


@pytest.mark.parametrize(("kind", "data"), [(LinearTask, EYE), (TokenTask, np.eye(5, 2) + 1)])
def test_task_covariance_of_another_size_is_refused_with_both_sizes(kind, data):
    with pytest.raises(ValueError, match=r"task_covariance is 3.*makes it 2"):
        kind(data, 5, np.eye(3))


@pytest.mark.parametrize("value", [0, -3, 0.99, math.nan, [], [5, 0], [[1, 2]], [3, math.nan]])
def test_bad_context_length_is_named(value):
    with pytest.raises(ValueError, match=r"^context_length must"):
        LinearTask(EYE, value)


@pytest.mark.parametrize("value", ["long", "31", 1j, {}, True, [[1], [2, 3]], [3, "a"], None])
def test_context_lengths_that_are_not_numbers_are_named(value):
    with pytest.raises((TypeError, ValueError), match=r"^context_length must"):
        LinearTask(EYE, value)


@pytest.mark.parametrize(("value", "error"), [(-0.1, ValueError), (math.nan, ValueError),
                                              (math.inf, ValueError), ("loud", TypeError),
                                              (1j, TypeError), (None, TypeError),
                                              ("0.1", TypeError), (True, TypeError),
                                              (10**400, TypeError)])  # fmt: skip
def test_bad_noise_is_named(value, error):
    with pytest.raises(error, match=r"^noise must be"):
        LinearTask(EYE, 5, noise=value)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ([[1.0, 2.0]], ValueError, r"at least 2 rows.*\(1, 2\)"),
        (np.ones((0, 2)), ValueError, r"empty.*\(0, 2\)"),
        (np.ones((3, 0)), ValueError, r"empty.*\(3, 0\)"),
        (np.ones(4), ValueError, "2 axes"),
        ([[1.0, math.nan], [0.0, 1.0]], ValueError, "finite"),
        ([["a", "b"], ["c", "d"]], TypeError, "real numbers"),
        (np.eye(2) * 1j, TypeError, "real numbers"),
        (np.array([[{}, 1], [1, 2]], dtype=object), TypeError, "real numbers"),
        ([[1.0, 0.0], [2.0, 0.0]], ValueError, "positive definite"),
    ],
)
def test_bad_tokens_are_named(value, error, text):
    with pytest.raises(error, match=f"tokens must .*{text}"):
        TokenTask(value, 5)


def test_eigenvalues_are_checked():
    with pytest.raises(ValueError, match=r"^eigenvalues must be > 0"):
        LinearTask.from_eigenvalues([1.0, 0.0], 5)
    with pytest.raises(ValueError, match=r"^eigenvalues must have 1 axes"):
        LinearTask.from_eigenvalues([[1.0]], 5)
    with pytest.raises(ValueError, match=r"^task_eigenvalues must be >= 0, got .* -0.5"):
        LinearTask.from_eigenvalues([1.0, 0.5], 5, task_eigenvalues=[1.0, -0.5])
    with pytest.raises(ValueError, match=r"number of task_eigenvalues is 3.*makes it 2"):
        LinearTask.from_eigenvalues([1.0, 0.5], 5, task_eigenvalues=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="dimension must be >= 1"):
        random_rotation(0)
    with pytest.raises(TypeError, match="dimension must be an integer, got True"):
        random_rotation(True)
    with pytest.raises(TypeError, match="dimension must be an integer"):
        random_rotation(2.0)


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, 1.0), (8, 1 / 8), (2.5, 0.4), (math.inf, 0.0), ([2, 4], 3 / 8), ([2, 2, 4], 5 / 12),
     ([1, math.inf], 0.5), (np.array([3, 3]), 1 / 3)],
)  # fmt: skip
def test_inverse_context_length_is_the_mean_of_the_inverse(length, expected):
    # One division and one correctly rounded sum: two roundings.
    assert LinearTask(EYE, length).inverse_context_length == pytest.approx(expected, rel=2 * EPS)


def test_omega_defaults_to_the_identity_and_noise_to_none():
    task = LinearTask(spd(3, 0), 4)
    assert (task.task_covariance == np.eye(3)).all()
    assert task.noise == 0.0
    assert task.dimension == 3


def test_symmetry_is_judged_relative_to_the_size_of_the_matrix():
    tiny = 1e-12 * np.array([[1.0, 0.5], [0.4, 1.0]])
    with pytest.raises(ValueError, match="symmetric"):
        LinearTask(tiny, 5)
    huge = 1e12 * spd(4, 1)
    huge[0, 1] *= 1 + EPS
    stored = LinearTask(huge, 5).covariance
    assert (stored == stored.T).all()


@pytest.mark.parametrize("rng", [None, 0, 7])
def test_from_eigenvalues_shares_eigenvectors_in_the_order_given(rng):
    spectrum, omega = np.array([0.4, 1.5, 0.9]), np.array([2.0, 0.3, 1.0])
    task = LinearTask.from_eigenvalues(spectrum, 5, task_eigenvalues=omega, rng=rng)
    lam, tasks = task.covariance, task.task_covariance
    if rng is None:
        assert (lam == np.diag(spectrum)).all()
        assert (tasks == np.diag(omega)).all()
    else:
        assert np.abs(lam - np.diag(np.diag(lam))).max() > 0.05
    assert_same(np.linalg.eigvalsh(lam), np.sort(spectrum))
    assert_same(lam @ tasks, tasks @ lam)
    # The pairing λ_d ↔ ω_d, not the two spectra alone.
    assert_same(np.linalg.eigvalsh(lam @ lam @ tasks @ lam), np.sort(spectrum**3 * omega))


def test_a_scalar_task_eigenvalue_means_a_multiple_of_the_identity():
    task = LinearTask.from_eigenvalues([1.0, 2.0], 5, task_eigenvalues=3.0, rng=1)
    assert_same(task.task_covariance, 3 * np.eye(2))


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_random_rotation_is_orthogonal_and_reproducible(dimension):
    Q = random_rotation(dimension, rng=3)
    assert_same(Q.T @ Q, np.eye(dimension))
    assert (random_rotation(dimension, rng=3) == Q).all()


def test_random_rotation_is_haar():
    """Under Haar each entry has mean 0 and E[Q_ij⁴] = 3/(D(D+2)); LAPACK's signs alone fail it."""
    generator = np.random.default_rng(0)
    draws = np.array([random_rotation(3, rng=generator) for _ in range(4000)])
    error = draws.std(axis=0) / math.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0)) < 5 * error).all()  # 5 standard errors
    fourth = draws**4
    error = fourth.std(axis=0) / math.sqrt(len(draws))
    assert (np.abs(fourth.mean(axis=0) - 3 / 15) < 5 * error).all()


@pytest.mark.parametrize(("rows", "dimension", "seed"), [(2, 1, 0), (3, 2, 1), (6, 3, 2)])
def test_token_moments_against_a_loop_over_indices(rows, dimension, seed):
    tokens, omega = skewed_tokens(rows, dimension, seed), spd(dimension, seed + 10)
    task = TokenTask(tokens, 4, omega)
    second = np.zeros((dimension, dimension))
    fourth = np.zeros((dimension, dimension))
    axes = range(dimension)
    for x in tokens:
        for i, j in itertools.product(axes, axes):
            second[i, j] += x[i] * x[j] / rows
            fourth[i, j] += sum(
                x[i] * x[a] * omega[a, b] * x[b] * x[j] / rows
                for a, b in itertools.product(axes, axes)
            )
    assert_same(task.covariance, second)
    assert_same(task.fourth_moment, fourth)
    assert task.dimension == dimension


def test_float32_stays_float32():
    linear = LinearTask.from_eigenvalues(np.float32([1.0, 0.5]), 5, rng=0)
    tokens = TokenTask(skewed_tokens(5, 2, 0).astype(np.float32), 5, spd(2, 1))
    for task in (linear, tokens):
        assert task.covariance.dtype == np.float32
        assert task.task_covariance.dtype == np.float32
    assert tokens.fourth_moment.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.int8, ">f8"])
def test_numbers_that_lapack_does_not_know_become_float64(dtype):
    task = LinearTask(np.array([[2, 1], [1, 2]], dtype), 5)
    assert task.covariance.dtype == np.float64
    assert population_moments(task).second_moment.dtype == np.float64


def test_whole_numbers_become_float64():
    task = LinearTask([[2, 1], [1, 2]], 5, [[1, 0], [0, 1]])
    assert task.covariance.dtype == task.task_covariance.dtype == np.float64

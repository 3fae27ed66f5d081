"""Mixtures of random tasks and one fixed task: their law, and sequences drawn from it."""

import math

import numpy as np
import pytest

from numerics import (
    LinearTask,
    mixture_covariance,
    mixture_vectors,
    random_rotation,
    sample_sequences,
)
from tests.numerics.support import assert_same

W0 = np.array([1.5, -0.5, 0.8])
# Fixed seeds and 5 standard errors: one false alarm in 10⁶ entries for a seed chosen blindly.
SIGMAS = 5.0


def assert_mean(samples, expected):
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    rounding = len(samples) * np.finfo(float).eps * np.abs(samples).max()  # of a sum of equal terms
    assert (np.abs(samples.mean(axis=0) - expected) <= SIGMAS * error + rounding).all()


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_vectors_have_the_second_moment_and_the_mean_of_the_law(share, mirrored):
    w = mixture_vectors(share, W0, 40_000, mirrored=mirrored, rng=3)
    assert_mean(w[:, :, None] * w[:, None, :], mixture_covariance(share, W0))
    assert_mean(w, np.zeros(3) if mirrored else (1 - share) * W0)


@pytest.mark.parametrize("mirrored", [True, False])
def test_the_fixed_task_is_exact_and_as_frequent_as_said(mirrored):
    w = mixture_vectors(0.25, W0, 20_000, mirrored=mirrored, rng=4)
    plus, minus = ((w == sign * W0).all(axis=1) for sign in (1, -1))
    assert_mean((plus | minus).astype(float), 0.75)
    assert_mean(minus.astype(float), 0.375 if mirrored else 0.0)


def test_limits_of_the_covariance():
    assert_same(mixture_covariance(1.0, W0), np.eye(3))
    assert_same(mixture_covariance(0.0, W0), np.outer(W0, W0))
    values = np.linalg.eigvalsh(mixture_covariance(0.3, W0))
    np.testing.assert_allclose(values, [0.3, 0.3, 0.3 + 0.7 * W0 @ W0], rtol=1e-14)


def test_the_law_turns_with_the_fixed_task():
    Q = random_rotation(3, rng=1)
    turned = mixture_covariance(0.4, Q @ W0)
    np.testing.assert_allclose(turned, Q @ mixture_covariance(0.4, W0) @ Q.T, atol=1e-14)


def test_the_generator_decides_and_signs_keep_the_rest():
    a, b, c = (mixture_vectors(0.5, W0, 50, rng=seed) for seed in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).any()
    plain = mixture_vectors(0.5, W0, 50, mirrored=False, rng=1)
    assert (np.abs(plain) == np.abs(a)).all()
    assert (plain != a).any()  # a sign unless one asks for none


class Edges(np.random.Generator):
    """Uniform draws at the ends of [0, 1) and at either side of its middle."""

    def random(self, size):
        return np.resize([0.0, 0.5 - 2.0**-53, 0.5, 1 - 2.0**-53], size)


def test_shares_and_signs_are_exact_at_the_edges_of_uniform_draws():
    for share, fixed in ((0.0, 4), (0.5, 2), (1.0, 0)):
        w = mixture_vectors(share, W0, 4, rng=Edges(np.random.PCG64(1)))
        assert (np.abs(w) == np.abs(W0)).all(axis=1).sum() == fixed
    w = mixture_vectors(0.0, W0, 4, rng=Edges(np.random.PCG64(1)))
    assert (w.sum(axis=0) == 0).all()  # as many +w0 as −w0


def test_float32_stays_float32():
    w0 = W0.astype(np.float32)
    assert mixture_vectors(0.5, w0, 4, rng=0).dtype == np.float32
    assert mixture_covariance(0.5, w0).dtype == np.float32


@pytest.mark.parametrize("function", [lambda c, w: mixture_covariance(c, w),
                                      lambda c, w: mixture_vectors(c, w, 3)])  # fmt: skip
@pytest.mark.parametrize(
    ("share", "w0", "error", "message"),
    [
        (-0.1, W0, ValueError, "^share must be >= 0"),
        (1.1, W0, ValueError, "^share must be <= 1"),
        (math.nan, W0, ValueError, "^share must be finite"),
        ("0.5", W0, TypeError, "^share must be a real number"),
        (0.5, [[1.0]], ValueError, "^fixed_task must have 1 axes"),
        (0.5, [], ValueError, "^fixed_task must not be empty"),
        (0.5, [1.0, math.inf], ValueError, "^fixed_task must be finite"),
        (0.5, [1j], TypeError, "^fixed_task must hold real numbers"),
    ],
)
def test_bad_laws_are_named(function, share, w0, error, message):
    with pytest.raises(error, match=message):
        function(share, w0)


@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (2.0, TypeError)])
def test_bad_counts_are_named(count, error):
    with pytest.raises(error, match=r"^count must be"):
        mixture_vectors(0.5, W0, count)


def test_sequences_follow_the_vectors_given():
    w = mixture_vectors(0.5, W0, 6, rng=5)
    sequences = sample_sequences(LinearTask(np.diag([0.5, 0.3, 0.2]), 4), 6, w=w, rng=6)
    assert (sequences.w == w).all()
    for p in range(6):
        assert_same(sequences.y[p], sequences.x[p] @ w[p])
        assert_same(sequences.target[p], w[p] @ sequences.query[p])

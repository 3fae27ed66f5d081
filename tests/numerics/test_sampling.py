"""Sequences: shapes, reproducibility, and the moments of what is drawn."""

import math

import numpy as np
import pytest

from numerics import LinearTask, TokenTask, sample_chunks, sample_sequences
from tests.numerics.support import TASKS, assert_same, skewed_tokens, spd

# Every statistical test has a fixed seed and allows 5 standard errors: one false alarm in 10⁶
# entries for a seed chosen blindly.
SIGMAS = 5.0


def assert_mean(samples, expected):
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    assert (np.abs(samples.mean(axis=0) - expected) <= SIGMAS * error).all()


def outer(a, b):
    return a[:, :, None] * b[:, None, :]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("count", [1, 4])
def test_shapes(name, count):
    task = TASKS[name]
    sequences = sample_sequences(task, count, rng=0)
    D, longest = task.dimension, int(max(task.lengths))
    assert len(sequences) == count
    assert sequences.x.shape == (count, longest, D)
    assert sequences.y.shape == (count, longest)
    assert sequences.query.shape == sequences.beta.shape == sequences.w.shape == (count, D)
    assert sequences.target.shape == sequences.lengths.shape == (count,)
    assert sequences.features.shape == (count, D * D)


@pytest.mark.parametrize("name", TASKS)
def test_the_generator_decides(name):
    a, b, c = (sample_sequences(TASKS[name], 6, rng=seed) for seed in (1, 1, 2))
    assert all((getattr(a, f) == getattr(b, f)).all() for f in ("x", "y", "query", "target"))
    assert (a.target != c.target).any()
    generator = np.random.default_rng(1)
    first, second = (sample_sequences(TASKS[name], 6, rng=generator) for _ in range(2))
    assert (first.target == a.target).all()
    assert (first.target != second.target).any()


def test_tokens_have_the_covariance_and_are_independent():
    task = LinearTask(spd(2, 1), 3)
    sequences = sample_sequences(task, 20_000, rng=2)
    for n in range(3):
        assert_mean(outer(sequences.x[:, n], sequences.x[:, n]), task.covariance)
        assert_mean(outer(sequences.x[:, n], sequences.query), np.zeros((2, 2)))
        assert_mean(sequences.x[:, n], np.zeros(2))
    assert_mean(outer(sequences.x[:, 0], sequences.x[:, 1]), np.zeros((2, 2)))
    assert_mean(outer(sequences.query, sequences.query), task.covariance)
    # Gaussian, not merely of the right covariance: E x_i⁴ = 3 Λ_ii².
    assert_mean(sequences.query**4, 3 * np.diag(task.covariance) ** 2)


def test_labels_without_noise_are_linear_and_w_has_second_moment_omega():
    task = LinearTask(spd(2, 1), 4, spd(2, 5))
    sequences = sample_sequences(task, 20_000, rng=3)
    w = sequences.w
    for p in range(20):
        assert_same(sequences.y[p], sequences.x[p] @ w[p])
        assert_same(sequences.target[p], w[p] @ sequences.query[p])
    assert_mean(outer(w, w), task.task_covariance)
    assert_mean(outer(w, sequences.query), np.zeros((2, 2)))
    assert_mean(w, np.zeros(2))


def test_noise_is_in_the_context_and_not_in_the_target():
    clean = LinearTask(spd(2, 1), 6)
    noisy = LinearTask(spd(2, 1), 6, noise=0.7)
    a, b = (sample_sequences(task, 20_000, rng=4) for task in (clean, noisy))
    noise = b.y - a.y  # the noise is drawn after w, so that the two share x and w
    assert (b.target == a.target).all()
    assert_mean(noise**2, 0.49)
    assert_mean(noise, 0.0)
    assert_mean(noise[:, 0] * noise[:, 1], 0.0)
    assert_mean(noise**4, 3 * 0.49**2)


def test_lengths_are_drawn_evenly_and_mask_the_rest():
    task = LinearTask(spd(2, 1), [2, 5, 2], noise=0.3)
    sequences = sample_sequences(task, 6000, rng=5)
    assert sorted(set(sequences.lengths.tolist())) == [2, 5]
    assert_mean(sequences.lengths == 2, 2 / 3)
    past = np.arange(5) >= sequences.lengths[:, None]
    assert (sequences.x[past] == 0).all()
    assert (sequences.y[past] == 0).all()
    assert (sequences.y[~past] != 0).all()
    assert abs(np.corrcoef(sequences.lengths, sequences.target**2)[0, 1]) < SIGMAS / 6000**0.5


def test_beta_and_features_against_a_loop():
    sequences = sample_sequences(TASKS["generic"], 5, rng=6)
    for p in range(5):
        N = int(sequences.lengths[p])
        beta = sum(sequences.y[p, n] * sequences.x[p, n] for n in range(N)) / N
        assert_same(sequences.beta[p], beta)
        z = [sequences.query[p, j] * beta[i] for j in range(3) for i in range(3)]
        assert_same(sequences.features[p], np.array(z))


def test_token_tasks_draw_their_rows_evenly_with_replacement():
    tokens = skewed_tokens(3, 2, 7)
    sequences = sample_sequences(TokenTask(tokens, 2), 5000, rng=7)
    drawn = np.concatenate([sequences.x, sequences.query[:, None]], axis=1)
    match = (drawn[:, :, None] == tokens).all(axis=-1)
    assert match.any(axis=-1).all()
    for n in range(3):
        assert_mean(match[:, n], 1 / 3)
    assert_mean(match[:, 0] & match[:, 1], np.diag(np.ones(3)).mean(axis=0) / 3)


def test_task_vectors_may_be_given_and_omega_is_not_read_then():
    w = np.arange(12.0).reshape(6, 2)
    tasks = [LinearTask(spd(2, 1), [2, 5], omega, noise=0.3) for omega in (None, spd(2, 5))]
    a, b = (sample_sequences(task, 6, w=w, rng=8) for task in tasks)
    assert (a.w == w).all()
    assert (a.target == b.target).all()
    assert (a.y == b.y).all()
    assert_same(a.target, np.sum(w * a.query, axis=1))
    clean = sample_sequences(LinearTask(spd(2, 1), 4), 6, w=w, rng=8)
    assert_same(clean.y, np.sum(clean.x * w[:, None], axis=2))


@pytest.mark.parametrize(
    ("w", "error"),
    [
        (np.zeros((2, 2)), ValueError),
        (np.zeros((3, 1)), ValueError),
        (np.zeros(2), ValueError),
        (np.full((3, 2), math.nan), ValueError),
        (np.full((3, 2), 1j), TypeError),
    ],
)
def test_bad_task_vectors_are_named(w, error):
    with pytest.raises(error, match=r"^w must"):
        sample_sequences(LinearTask(spd(2, 1), 4), 3, w=w)


@pytest.mark.parametrize("length", [2.5, math.inf, [3, 4.5], [3, math.inf]])
def test_only_whole_lengths_can_be_drawn(length):
    with pytest.raises(ValueError, match="context_length must be whole numbers"):
        sample_sequences(LinearTask([[1.0]], length), 3)


@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError),
                                              ("3", TypeError)])  # fmt: skip
def test_bad_counts_are_named(count, error):
    task = LinearTask([[1.0]], 2)
    with pytest.raises(error, match=r"^count must be"):
        sample_sequences(task, count)
    with pytest.raises(error, match=r"^count must be"):
        list(sample_chunks(task, count))
    with pytest.raises(error, match=r"^chunk must be"):
        list(sample_chunks(task, 3, chunk=count))


@pytest.mark.parametrize(("count", "chunk", "sizes"), [(25, 10, [10, 10, 5]), (20, 10, [10, 10]),
                                                       (3, 10, [3])])  # fmt: skip
def test_chunks_add_up_and_differ(count, chunk, sizes):
    chunks = list(sample_chunks(LinearTask([[1.0]], 3), count, chunk=chunk, rng=0))
    assert [len(c) for c in chunks] == sizes
    targets = np.concatenate([c.target for c in chunks])
    assert len(np.unique(targets)) == count

"""Moments: the population formulas against enumeration, quadrature and Monte Carlo."""

import itertools
import math

import numpy as np
import pytest

from numerics import (
    FactoredMoments,
    LinearTask,
    Sequences,
    TokenTask,
    dense_moments,
    matrix_loss,
    minimiser,
    moments_of_sequences,
    pool_moments,
    population_moments,
    sample_chunks,
    sample_moments,
    sample_sequences,
)
from tests.numerics.support import (
    TASKS,
    assert_same,
    complex_gradient,
    moment_kinds,
    skewed_tokens,
    spd,
)


def enumerated(tokens, lengths, omega, noise):
    """Every sequence of a finite world, all equally likely.

    Tokens are rows of `tokens`; w is ±√D times a column of a square root of Ω, and each label's
    noise ±σ, which have the moments that the loss sees.
    """
    D, longest = tokens.shape[1], max(lengths)
    root = np.linalg.cholesky(omega) * math.sqrt(D)
    worlds = itertools.product(
        lengths,
        itertools.product(range(len(tokens)), repeat=longest + 1),
        [sign * column for column in root.T for sign in (1, -1)],
        itertools.product([-noise, noise], repeat=longest),
    )
    rows = []
    for length, chosen, w, epsilon in worlds:
        x = tokens[list(chosen[:-1])].copy()
        y = x @ w + np.array(epsilon)
        x[length:], y[length:] = 0.0, 0.0
        query = tokens[chosen[-1]]
        rows.append((x, y, query, w @ query, length, w))
    return Sequences(*(np.array(column) for column in zip(*rows, strict=True)))


def assert_equal_moments(a, b, roundings):
    a, b = dense_moments(a), dense_moments(b)
    assert_same(a.energy, b.energy, roundings)
    assert_same(a.correlation, b.correlation, roundings)
    assert_same(a.feature_moment, b.feature_moment, roundings)


@pytest.mark.parametrize("lengths", [[1], [2], [1, 2], [2, 2, 1]])
def test_population_of_tokens_is_the_exact_average_over_all_sequences(lengths):
    tokens, omega, noise = skewed_tokens(3, 2, 0), spd(2, 1), 0.6
    world = enumerated(tokens, lengths, omega, noise)
    # Means over up to 1296 rows: a pairwise or blocked sum, at most ~1e3 roundings.
    assert_equal_moments(
        population_moments(TokenTask(tokens, lengths, omega, noise)),
        moments_of_sequences(world),
        1000,
    )


def gaussian_nodes(covariance):
    """Rows with the moments of N(0, Λ) up to degree 5 in every coordinate (Gauss–Hermite)."""
    line = np.sqrt(3.0) * np.array([-1, 0, 0, 0, 0, 1])
    grid = np.array(list(itertools.product(line, repeat=len(covariance))))
    return grid @ np.linalg.cholesky(covariance).T


@pytest.mark.parametrize("length", [1, 2, 9, [1, 4], math.inf])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_gaussian_moments_equal_those_of_an_exact_quadrature(dimension, length):
    """Isserlis' theorem without pairings: S needs fourth moments only, and the nodes have them."""
    lam, omega = spd(dimension, 3), spd(dimension, 4)
    gaussian = population_moments(LinearTask(lam, length, omega, 0.3))
    nodes = population_moments(TokenTask(gaussian_nodes(lam), length, omega, 0.3))
    assert_equal_moments(gaussian, nodes, 1000)


@pytest.mark.parametrize("lengths", [[2], [1, 2]])
def test_gaussian_moments_against_enumeration(lengths):
    lam, omega = np.array([[0.8]]), np.array([[1.7]])
    world = enumerated(gaussian_nodes(lam), lengths, omega, 0.4)
    population = population_moments(LinearTask(lam, lengths, omega, 0.4))
    assert_equal_moments(population, moments_of_sequences(world), 1000)


def brute_force(task, count, seed):
    """y_q, β x_qᵀ and βᵀβ drawn from the definitions with square roots and sums of our own."""
    generator = np.random.default_rng(seed)
    D, longest = task.dimension, int(max(task.lengths))
    if isinstance(task, TokenTask):
        x = task.tokens[generator.integers(len(task.tokens), size=(count, longest + 1))]
    else:
        x = (
            generator.standard_normal((count, longest + 1, D))
            @ np.linalg.cholesky(task.covariance).T
        )
    w = generator.standard_normal((count, D)) @ np.linalg.cholesky(task.task_covariance).T
    N = np.array(task.lengths)[np.arange(count) % len(task.lengths)]
    y = np.einsum("pnd,pd->pn", x[:, :-1], w)
    y = y + task.noise * generator.standard_normal(y.shape)
    y = y * (np.arange(longest) < N[:, None])
    beta = np.einsum("pn,pnd->pd", y, x[:, :-1]) / N[:, None]
    return np.einsum("pd,pd->p", w, x[:, -1]), beta, x[:, -1]


@pytest.mark.parametrize("name", ["generic", "tokens", "scalar"])
def test_population_moments_against_monte_carlo(name):
    task = TASKS[name]
    moments = population_moments(task)
    y, beta, query = brute_force(task, 40_000, seed=11)
    z = np.einsum("pi,pj->pij", beta, query)

    def check(samples, expected):
        error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
        assert (np.abs(samples.mean(axis=0) - expected) < 5 * error).all()  # 5 standard errors
        return float((error / np.abs(expected).max()).max())

    check(y**2, moments.energy)
    check(y[:, None, None] * z, moments.correlation)
    resolution = check(np.einsum("pi,pj->pij", beta, beta), moments.second_moment)
    assert resolution < 0.04  # five of these still see a lost 1/N term of these short contexts
    M = np.random.default_rng(1).standard_normal((2, task.dimension, task.dimension))
    for matrix in M:
        error = np.einsum("pij,ij->p", z, matrix) - y
        check(error**2, matrix_loss(moments, matrix))


@pytest.mark.parametrize("name", TASKS)
def test_sample_moments_approach_the_population(name):
    task = TASKS[name]
    sequences = sample_sequences(task, 20_000, rng=12)
    moments, exact = moments_of_sequences(sequences), dense_moments(population_moments(task))
    z = sequences.features
    spread = np.einsum("pi,pj->pij", z, z).std(axis=0) / math.sqrt(len(z))
    assert (np.abs(moments.feature_moment - exact.feature_moment) < 5 * spread).all()
    spread = (sequences.target[:, None] * z).std(axis=0) / math.sqrt(len(z))
    assert (np.abs((moments.correlation - exact.correlation).T.ravel()) < 5 * spread).all()


def test_white_population_is_the_papers():
    D, N = 4, 6
    moments = population_moments(LinearTask(np.eye(D), N))
    assert_same(moments.second_moment, (1 + (1 + D) / N) * np.eye(D))  # [L] Eq. 15 at Λ = I
    assert moments.energy == D


def test_long_contexts_leave_no_noise():
    moments = population_moments(LinearTask(spd(3, 1), math.inf, spd(3, 2), noise=2.0))
    assert_same(moments.second_moment, moments.correlation)


@pytest.mark.parametrize("name", TASKS)
def test_factored_diagonal_and_dense_moments_agree(name):
    factored = population_moments(TASKS[name])
    diagonal, left, right = factored.eigenform()
    dense = dense_moments(factored)
    dense_diagonal = dense_moments(diagonal)
    D = TASKS[name].dimension
    M = np.random.default_rng(0).standard_normal((2, 5, D, D))
    M_eigen = left.T @ M @ right
    assert_same(dense.quadratic(M), factored.quadratic(M))
    assert_same(dense.residual(M), factored.residual(M))
    assert_same(left @ diagonal.quadratic(M_eigen) @ right.T, factored.quadratic(M))
    assert_same(left @ diagonal.residual(M_eigen) @ right.T, factored.residual(M))
    assert_same(dense_diagonal.residual(M_eigen), diagonal.residual(M_eigen))
    for moments, matrix in [(dense, M), (diagonal, M_eigen), (dense_diagonal, M_eigen)]:
        assert_same(matrix_loss(moments, matrix), matrix_loss(factored, M))
    assert dense_moments(dense) is dense
    assert diagonal.eigenform() == (diagonal, None, None)
    assert dense.eigenform() == (dense, None, None)


@pytest.mark.parametrize("kind", moment_kinds())
def test_the_residual_is_minus_half_the_gradient_and_fresh(kind):
    moments = moment_kinds()[kind]
    M = np.random.default_rng(2).standard_normal((3, 3))
    G = moments.residual(M)
    numeric = complex_gradient(lambda m: matrix_loss(moments, m.reshape(3, 3)), M.ravel())
    assert_same(G.ravel(), -0.5 * numeric)
    kept = G.copy()
    assert not np.shares_memory(G, moments.residual(2 * M))
    assert (kept == G).all()


@pytest.mark.parametrize("kind", moment_kinds())
def test_the_minimiser_has_no_residual_and_the_least_loss(kind):
    moments = moment_kinds()[kind]
    best = minimiser(moments)
    condition = np.linalg.cond(dense_moments(moments).feature_moment)
    # Backward-stable solves leave a residual of some roundings of |E zzᵀ||M|, and lstsq goes
    # through the singular values: a few hundred eps covers both; cond enters only M itself.
    scale = np.abs(moments.quadratic(np.abs(best))).max()
    assert np.abs(moments.residual(best)).max() < 1e-13 * scale * max(1.0, condition**0.5)
    least = matrix_loss(moments, best)
    for seed in range(5):
        step = 0.1 * np.random.default_rng(seed).standard_normal((3, 3))
        excess = np.sum(step * moments.quadratic(step))  # L is quadratic: the exact excess
        assert matrix_loss(moments, best + step) - least == pytest.approx(excess, rel=1e-9)
        assert excess > 0


def test_the_minimiser_of_few_sequences_fits_them():
    sequences = sample_sequences(TASKS["generic"], 4, rng=0)  # 4 < D² = 9
    moments = moments_of_sequences(sequences)
    best = minimiser(moments)
    # E[zzᵀ] squares the condition number of the 4 features (≲ 1e3): 1e6 · eps of the energy.
    assert 0 <= matrix_loss(moments, best) + 1e-10 < 2e-10
    assert np.abs(moments.residual(best)).max() < 1e-10


@pytest.mark.parametrize("form", ["diagonal", "factored"])
def test_the_minimiser_of_singular_moments_is_the_smallest_of_the_least_loss(form):
    rotation, s = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0], [2.0, 0.5, 0.0]
    second = rotation @ np.diag(s) @ rotation.T
    moments = FactoredMoments(9.0, second @ spd(3, 1), second, np.diag([1.0, 0.7, 0.3]))
    if form == "diagonal":
        moments = moments.eigenform()[0]
    # The general route: singular values of the whole (D², D²) matrix, condition 2/0.15.
    assert_same(minimiser(moments), minimiser(dense_moments(moments)), 5000)


def test_the_minimiser_in_eigenbases_takes_no_dense_matrix():
    moments = population_moments(LinearTask.from_eigenvalues(1 / np.arange(1, 257), 31))
    diagonal = moments.eigenform()[0]  # a dense E[zzᵀ] would take 34 GB
    assert np.abs(diagonal.residual(minimiser(diagonal))).max() < 1e-15


@pytest.mark.parametrize("name", TASKS)
def test_the_loss_of_moments_is_the_mean_square_error_of_the_sequences(name):
    sequences = sample_sequences(TASKS[name], 30, rng=1)
    D = TASKS[name].dimension
    moments = moments_of_sequences(sequences)
    for seed in range(3):
        M = np.random.default_rng(seed).standard_normal((D, D))
        total = 0.0
        for p in range(30):
            N = int(sequences.lengths[p])
            beta = sum(sequences.y[p, n] * sequences.x[p, n] for n in range(N)) / N
            total += float(beta @ M @ sequences.query[p] - sequences.target[p]) ** 2
        assert_same(matrix_loss(moments, M), total / 30, 2000)


def test_streaming_equals_one_pass():
    task = TASKS["generic"]
    chunks = list(sample_chunks(task, 103, chunk=25, rng=5))
    joined = Sequences(
        *(np.concatenate([getattr(c, f) for c in chunks])
          for f in ("x", "y", "query", "target", "lengths", "w"))
    )  # fmt: skip
    streamed = moments_of_sequences(iter(chunks))
    assert_equal_moments(streamed, moments_of_sequences(joined), 200)
    assert_equal_moments(streamed, sample_moments(task, 103, chunk=25, rng=5), 0)


def test_pooled_moments_are_those_of_all_sequences():
    chunks = list(sample_chunks(TASKS["generic"], 103, chunk=25, rng=5))
    parts, sizes = [moments_of_sequences(c) for c in chunks], [len(c) for c in chunks]
    together = moments_of_sequences(chunks)
    assert_equal_moments(pool_moments(parts, sizes), together, 200)
    shares = np.array(sizes) / 103
    assert_equal_moments(pool_moments(parts, shares), together, 200)
    running = pool_moments([pool_moments(parts[:2], sizes[:2]), *parts[2:]], [50, *sizes[2:]])
    assert_equal_moments(running, together, 200)
    alike = pool_moments(iter(parts[:4]))
    assert_equal_moments(alike, moments_of_sequences(chunks[:4]), 200)
    assert isinstance(alike.energy, float)


@pytest.mark.parametrize(("batches", "weights", "text"), [
    ("", None, "batches must hold at least one"),
    ("ab", None, r"batches must be of one dimension, got \[2, 3\]"),
    ("aa", [1.0], "the length of weights is 1, but the number of batches makes it 2"),
    ("aa", [1.0, 0.0], "weights must be > 0"),
    ("aa", [1.0, np.nan], "weights must be finite"),
])  # fmt: skip
def test_what_cannot_be_pooled_is_named(batches, weights, text):
    known = {"a": sample_moments(TASKS["white"], 5), "b": sample_moments(TASKS["in-weight"], 5)}
    with pytest.raises(ValueError, match=text):
        pool_moments([known[name] for name in batches], weights)


def test_no_sequences_are_refused():
    with pytest.raises(ValueError, match="chunks must hold at least one sequence"):
        moments_of_sequences([])


def test_float32_stays_float32():
    task = LinearTask(spd(2, 1).astype(np.float32), 5, noise=0.3)
    tokens = TokenTask(skewed_tokens(5, 2, 0).astype(np.float32), 5)
    for moments in (population_moments(task), population_moments(tokens)):
        assert moments.second_moment.dtype == moments.correlation.dtype == np.float32
        assert moments.eigenform()[0].weights.dtype == np.float32
        assert minimiser(moments).dtype == np.float32

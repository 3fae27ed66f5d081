"""Softmax attention: properties that every set of tasks and weights must show, on random ones."""

import itertools
import math

import mpmath
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analytic import softmax

EPS = np.finfo(float).eps
positive = st.floats(0.05, 20.0)
lengths = st.floats(1.0, 1e6)
noises = st.floats(0.0, 5.0)
sizes = st.integers(1, 40)


@st.composite
def worlds(draw, largest=5):
    count = draw(st.integers(1, largest))
    dims = draw(st.lists(sizes, min_size=count, max_size=count))
    signal = draw(st.lists(positive, min_size=count, max_size=count))
    return dims, signal, draw(lengths), draw(noises)


@st.composite
def heads(draw, largest=4):
    """Weights of any kind: a seed, since lists of floats explore far too few directions."""
    count, tasks = draw(st.integers(1, largest)), draw(st.integers(1, 3))
    dims = draw(st.lists(st.integers(1, 4), min_size=tasks, max_size=tasks))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    scale = draw(st.sampled_from([0.03, 0.3, 1.0]))
    omega = scale * rng.normal(size=(count, sum(dims)))
    return omega, rng.normal(size=(count, tasks)) / scale, dims, rng.uniform(0.2, 3.0, size=tasks)


def best_read_outs(omega, dims, signal, length, noise):
    """The μ that minimises `spectral_loss` at given ω, by least squares for each task."""
    kernel, start, columns = np.exp(omega @ omega.T), 0, []
    for size, lam in zip(dims, signal, strict=True):
        block = omega[:, start : start + size]
        ratio = (size + noise**2 / lam) / length
        columns.append(np.linalg.lstsq(block @ block.T + ratio * kernel, block.sum(1))[0])
        start += size
    return np.stack(columns, axis=1)


@given(worlds(), st.sampled_from([None, 1.0, 0.3]), st.floats(0.01, 6.0))
def test_water_filling_meets_its_conditions(world, cap, budget):
    dims, signal, length, noise = world
    nu = softmax.water_filling(dims, signal, length, noise=noise, budget=budget, cap=cap)
    top = math.inf if cap is None else cap
    power = np.array(signal) * dims + noise**2
    ratio = power / (signal * np.array(length))
    weight = np.sqrt(dims * power)
    # ν = level · weight − c: 20 roundings of numbers as large as c or ν.
    slack = 20 * EPS * (ratio + nu)
    assert np.all((nu >= 0) & (nu <= top))
    assert abs(nu.sum() - min(budget, len(dims) * top)) <= slack.sum()
    # −∂/∂ν λdc/(c + ν) = (weight/(c + ν))²/L: one level for all inside, none higher at 0.
    level, error = (ratio + nu) / weight, slack / weight
    inside, empty = (nu > 0) & (nu < top), nu == 0
    full = nu == top
    if inside.any():
        water = level[inside].mean()
        error = error + error[inside].max()
        assert np.all(abs(level - water)[inside] <= error[inside])
        assert np.all(level[empty] >= water - error[empty])
        assert np.all(level[full] <= water + error[full])


@given(worlds(), st.integers(0, 10**6))
def test_no_other_allocation_is_better(world, seed):
    dims, signal, length, noise = world
    share = np.random.default_rng(seed).dirichlet(np.full(len(dims), 0.5)) / math.e
    loss = softmax.single_head_optimum(dims, signal, length, noise=noise).loss
    other = softmax.allocation_loss(share, dims, signal, length, noise=noise)
    assert loss <= other * (1 + 40 * EPS)


@given(heads(largest=1), lengths, noises)
def test_no_single_head_beats_the_optimum(weights, length, noise):
    omega, _, dims, signal = weights
    mu = best_read_outs(omega, dims, signal, length, noise)
    loss = softmax.spectral_loss(omega, mu, dims, signal, length, noise=noise)
    assert loss >= softmax.single_head_optimum(dims, signal, length, noise=noise).loss * (1 - 1e-12)


@given(heads(), lengths, noises)
def test_no_heads_beat_the_lower_bound(weights, length, noise):
    omega, mu, dims, signal = weights
    assume(np.linalg.cond(np.exp(omega @ omega.T)) < 1e10)
    mu = best_read_outs(omega, dims, signal, length, noise)
    loss = softmax.spectral_loss(omega, mu, dims, signal, length, noise=noise)
    bound = softmax.lower_bound(omega.shape[0], dims, signal, length, noise=noise)
    assert loss >= bound * (1 - 1e-12)


@given(
    st.integers(2, 6), st.integers(1, 6), st.sampled_from([0.3, 1.0, 2.0]), st.integers(0, 10**6)
)
def test_no_heads_exceed_the_budget(count, dimension, scale, seed):
    rng = np.random.default_rng(seed)
    omega = scale * rng.normal(size=(count, dimension)) * rng.uniform(0, 1, size=(count, 1))
    gram = omega @ omega.T
    norm = np.exp(np.diag(gram) / 2)
    kernel = np.exp(gram) / np.outer(norm, norm)
    condition = np.linalg.cond(kernel)
    assume(condition < 1e10)
    solved = np.linalg.solve(kernel, gram / np.outer(norm, norm))
    assert np.trace(solved) <= (count - 1) * (1 + 10 * EPS * condition)
    # Each block on its own: here the blocks are single coordinates.
    single = np.linalg.solve(kernel, omega / norm[:, None]) * (omega / norm[:, None])
    assert np.all(single.sum(0) <= 1 + 10 * EPS * condition)


@given(heads(), lengths, noises)
def test_linear_attention_is_never_above_softmax(weights, length, noise):
    omega, mu, dims, signal = weights
    linear = softmax.linear_attention_loss(omega, mu, dims, signal, length, noise=noise)
    full = softmax.spectral_loss(omega, mu, dims, signal, length, noise=noise)
    # The difference of the two cancels down from sums of H² terms of either sign.
    kernel = np.exp(omega @ omega.T)
    scale = np.sum(abs(mu).T @ kernel @ abs(mu)) * max(signal) * (max(dims) + noise**2) + full
    assert linear <= full + 1e3 * EPS * scale


@settings(max_examples=10)
@given(heads(largest=3), lengths, noises)
def test_gradient_is_the_derivative_in_fifty_digits(weights, length, noise):
    omega, mu, dims, signal = weights
    rng = np.random.default_rng(0)
    with mpmath.workdps(50):
        convert = np.frompyfunc(mpmath.mpf, 1, 1)
        omega, mu = convert(omega), convert(mu)
        along = convert(rng.normal(size=omega.shape)), convert(rng.normal(size=mu.shape))
        step = mpmath.mpf(10) ** -15

        def loss(t):
            arrays = omega + t * along[0], mu + t * along[1]
            return softmax.spectral_loss(*arrays, dims, convert(signal), length, noise=noise)

        d_omega, d_mu = softmax.spectral_gradient(
            omega, mu, dims, convert(signal), length, noise=noise
        )
        slope = np.sum(d_omega * along[0]) + np.sum(d_mu * along[1])
        central = (loss(step) - loss(-step)) / (2 * step)
        # step² times a third derivative, which grows with the fifth power of weights below 200.
        scale = 1 + abs(loss(0))
        assert abs(slope - central) < mpmath.mpf(10) ** -18 * scale


@given(worlds())
def test_bounds_are_ordered(world):
    dims, signal, length, noise = world
    arrays = (dims, signal, length)
    bounds = [softmax.lower_bound(h, *arrays, noise=noise) for h in range(1, len(dims) + 3)]
    slack = 1 + 40 * EPS
    assert all(b <= a * slack for a, b in itertools.pairwise(bounds))
    alone = softmax.single_head_optimum(*arrays, noise=noise)
    assert math.isclose(bounds[0], alone.loss, rel_tol=40 * EPS)
    full = softmax.allocation_loss(1.0, *arrays, noise=noise)
    assert math.isclose(bounds[-1], full, rel_tol=40 * EPS)
    limit = softmax.limit_loss(*arrays, noise=noise)
    assert bounds[-1] <= limit * slack <= alone.loss * slack**2
    assert limit <= math.e * bounds[-1] * slack
    ratio = softmax.optimality_ratio(len(dims) + 1, *arrays, noise=noise)
    assert ratio <= np.max(softmax.optimality_factor(*arrays, noise=noise)) * slack
    assert math.isclose(alone.squared_weights.sum(), 1, rel_tol=100 * EPS * (1 + max(dims)))


@given(worlds(), st.integers(0, 10**6))
def test_shared_heads_lie_between_one_head_and_one_for_each(world, seed):
    dims, signal, length, noise = world
    assignment = np.random.default_rng(seed).integers(0, 3, size=len(dims))
    keywords = {"noise": noise}
    shared = softmax.allocated_loss(assignment, dims, signal, length, **keywords)
    slack = 1 + 100 * EPS
    assert softmax.limit_loss(dims, signal, length, **keywords) <= shared * slack
    ratio = softmax.separation(assignment, dims, signal, length, **keywords)
    assert 1 / slack <= ratio
    used = len(set(assignment.tolist()))
    assert softmax.separation_limit(assignment, dims, signal, **keywords) <= used * slack


@given(st.integers(2, 8), st.floats(1e-6, 30.0), st.floats(0.0, 1.0))
def test_equiangular_allocation_stays_below_its_supremum(count, a, position):
    b = a * (position - (1 - position) / (count - 1))
    value = softmax.equiangular_allocation(count, a, b)
    assert 0 <= value <= count - 1
    near = softmax.equiangular_allocation(count, 1e-9, 0.0)
    assert abs(near - (count - 1)) < 1e-8 * count  # slope −O(H) in a
    assert softmax.equiangular_allocation(1, a, 0.0) <= softmax.equiangular_budget(1)


@given(worlds(), lengths)
def test_a_longer_test_context_helps(world, other):
    dims, signal, length, noise = world
    here = softmax.limit_loss(dims, signal, length, noise=noise)
    same = softmax.generalised_loss(dims, signal, length, length, noise=noise)
    assert math.isclose(same, here, rel_tol=20 * EPS)
    there = softmax.generalised_loss(dims, signal, length, other, noise=noise)
    trained = softmax.limit_loss(dims, signal, other, noise=noise)
    # Nothing read out at L' beats what was trained there.
    assert there >= trained * (1 - 40 * EPS)
    assert (there <= here * (1 + 40 * EPS)) == (other >= length) or math.isclose(there, here)


@given(st.floats(1e-3, 50.0), st.floats(1e-3, 1e3), st.floats(0.0, 20.0))
def test_no_ridge_beats_bayes(gamma, snr, penalty):
    assume(penalty > 0 or abs(gamma - 1) > 1e-6)
    bayes = softmax.bayes_risk(gamma, snr)
    assert 0 < bayes < 1
    assert bayes <= softmax.ridge_risk(gamma, snr, penalty) * (1 + 40 * EPS)
    assert math.isclose(softmax.ridge_risk(gamma, snr, gamma / snr), bayes, rel_tol=40 * EPS)


@given(st.floats(1e-3, 3.0))
def test_participation_exponents_are_laplace_maxima(u):
    y = np.linspace(-1, 12, 130001)
    gain = 2 * np.minimum(0, math.sqrt(u) * y - 1 - u / 2)
    whole = 1 - y**2 / 2 + gain
    typical = whole[y <= math.sqrt(2)].max()
    expected = {True: whole.max(), False: typical} if u < 2 else {True: 0.0, False: 0.0}
    for mean, value in expected.items():
        # A grid of 1e-4 misses a smooth maximum by 1e-8, and the kink or the edge by 1e-4 of slope.
        assert abs(softmax.participation_exponent(u, mean=mean) - value) < 1e-3

"""What [S]'s optima and bounds are: conditions they meet, and searches that do not beat them."""

import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from analytic import softmax
from numerics import strategies

from .forms import single_head_loss
from .support import EPS, rejects, share

lengths, noises = st.floats(1.0, 1e6), strategies.noises(5.0)
parameters = strategies.multi_task_parameters()
budgets = st.floats(0.01, 6.0)


def best_read_outs(omega, dims, signal, length, noise):
    """The μ that minimises `spectral_loss` at given ω, by least squares for each task."""
    kernel, start, columns = np.exp(omega @ omega.T), 0, []
    for size, lam in zip(dims, signal, strict=True):
        block = omega[:, start : start + size]
        ratio = (size + noise**2 / lam) / length
        columns.append(np.linalg.lstsq(block @ block.T + ratio * kernel, block.sum(1))[0])
        start += size
    return np.stack(columns, axis=1)


def check_water(filling, parameters, cap, budget):
    """The allocation's conditions of stationarity, and the budget."""
    dims, signal, length, noise = parameters
    nu = filling(dims, signal, length, noise=noise, budget=budget, cap=cap)
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


caps = st.sampled_from([None, 1.0, 0.3])


@given(parameters, caps, budgets)
def test_water_filling_meets_its_conditions(parameters, cap, budget):
    check_water(softmax.water_filling, parameters, cap, budget)


def test_an_equal_share_and_another_weight_are_rejected():
    def equal(dims, signal, length, *, noise, budget, cap):
        each = budget / len(dims) if cap is None else min(budget / len(dims), cap)
        return np.full(len(dims), each)

    def by_signal(dims, signal, length, *, noise, budget, cap):
        """Water at the level of λd in place of √(d(λd + σ²))."""
        other = np.array(dims) ** 2 * signal
        return softmax.water_filling(dims, other, length, noise=noise, budget=budget, cap=cap)

    for filling in (equal, by_signal):
        rejects(lambda *x, f=filling: check_water(f, *x), parameters, caps, budgets)


@given(parameters, strategies.seeds())
def test_no_other_allocation_is_better(parameters, seed):
    dims, signal, length, noise = parameters
    share_of_each = np.random.default_rng(seed).dirichlet(np.full(len(dims), 0.5)) / math.e
    loss = single_head_loss(dims, signal, length, noise=noise)
    other = softmax.allocation_loss(share_of_each, dims, signal, length, noise=noise)
    assert loss <= other * (1 + 40 * EPS)
    weights = softmax.single_head_optimum(dims, signal, length, noise=noise).squared_weights
    assert math.isclose(weights.sum(), 1, rel_tol=100 * EPS * (1 + max(dims)))


def check_single(optimum, heads, dims, signal, length, noise):
    """No ω of one head, with its best read-out, is below the optimum."""
    mu = best_read_outs(heads[0], dims, signal, length, noise)
    loss = softmax.spectral_loss(heads[0], mu, dims, signal, length, noise=noise)
    assert loss >= optimum(dims, signal, length, noise=noise) * (1 - 1e-12)


@st.composite
def one_head(draw):
    """Weights of every size, the optimal direction and norm among them."""
    dims, signal, length, noise = draw(strategies.multi_task_parameters(max_dimension=4))
    heads = draw(strategies.softmax_heads(dims, heads=1))
    if draw(st.booleans()):
        best = softmax.single_head_optimum(dims, signal, length, noise=noise).omega_bar
        heads = np.repeat(best, dims)[None] * draw(st.floats(0.8, 1.2)), heads[1]
    return heads, dims, signal, length, noise


@given(one_head())
def test_no_single_head_beats_the_optimum(case):
    check_single(single_head_loss, *case)


def test_an_optimum_two_percent_too_high_is_rejected():
    def too_high(*arguments, noise):
        return 1.02 * single_head_loss(*arguments, noise=noise)

    rejects(lambda case: check_single(too_high, *case), one_head())


@st.composite
def many_heads(draw):
    dims, signal, length, noise = draw(
        strategies.multi_task_parameters(max_tasks=3, max_dimension=4)
    )
    return draw(strategies.softmax_heads(dims)), dims, signal, length, noise


@given(many_heads())
def test_no_heads_beat_the_lower_bound(case):
    (omega, _), dims, signal, length, noise = case
    assume(np.linalg.cond(np.exp(omega @ omega.T)) < 1e10)
    mu = best_read_outs(omega, dims, signal, length, noise)
    loss = softmax.spectral_loss(omega, mu, dims, signal, length, noise=noise)
    bound = softmax.lower_bound(dims, signal, length, omega.shape[0], noise=noise)
    assert loss >= bound * (1 - 1e-12)


def test_a_bound_of_one_head_for_several_is_rejected():
    def check(case):
        (omega, _), dims, signal, length, noise = case
        omega = np.concatenate([omega, -omega])  # two by two they are linear attention
        omega *= 0.1 / np.abs(omega).max()
        mu = best_read_outs(omega, dims, signal, length, noise)
        loss = softmax.spectral_loss(omega, mu, dims, signal, length, noise=noise)
        assert loss >= single_head_loss(dims, signal, length, noise=noise) * (1 - 1e-12)

    rejects(check, many_heads())


@given(st.integers(2, 6), st.integers(1, 6), st.sampled_from([0.3, 1.0, 2.0]), strategies.seeds())
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


@given(many_heads())
def test_linear_attention_is_never_above_softmax(case):
    (omega, mu), dims, signal, length, noise = case
    linear = softmax.linear_attention_loss(omega, mu, dims, signal, length, noise=noise)
    full = softmax.spectral_loss(omega, mu, dims, signal, length, noise=noise)
    # The difference of the two cancels down from sums of H² terms of either sign.
    kernel = np.exp(omega @ omega.T)
    power = np.max(signal * np.array(dims) + noise**2)
    scale = np.sum(abs(mu).T @ kernel @ abs(mu)) * power + full
    assert linear <= full + 1e3 * EPS * scale


@given(st.integers(2, 8), st.floats(1e-6, 30.0), st.floats(0.0, 1.0))
def test_equiangular_allocation_stays_below_its_supremum(count, a, position):
    b = a * (position - (1 - position) / (count - 1))
    value = softmax.equiangular_allocation(count, a, b)
    assert 0 <= value <= count - 1
    near = softmax.equiangular_allocation(count, 1e-9, 0.0)
    assert abs(near - (count - 1)) < 1e-8 * count  # slope −O(H) in a
    assert softmax.equiangular_allocation(1, a, 0.0) <= softmax.equiangular_budget(1)


@given(st.integers(1, 40), st.floats(0.05, 20.0), lengths, noises, st.floats(0.5, 2.0))
def test_long_context_optimum_and_equilibrium_are_minima(d, lam, length, noise, factor):
    """At fixed ω̄ the read-out μ_eq is the best of `spectral_loss`; in ω̄ the limit is, balanced."""
    best = softmax.limit_weights(d, lam, length, noise=noise)
    value = softmax.equilibrium_value(best.omega_bar, d, lam, length, noise=noise)
    assert math.isclose(value, best.mu, rel_tol=60 * EPS)

    def loss(omega, mu):
        weights = np.full((1, d), omega), np.array([[mu]])
        return float(softmax.spectral_loss(*weights, d, lam, length, noise=noise))

    least = loss(best.omega_bar, best.mu)
    wanted = softmax.limit_loss(d, lam, length, noise=noise)
    # 1 − A cancels: its square has the rounding of d terms of order 1.
    assert abs(least - wanted) <= 100 * EPS * (wanted + lam * d)
    slack = 100 * EPS * lam * d
    omega = best.omega_bar * factor
    read_out = softmax.equilibrium_value(omega, d, lam, length, noise=noise)
    assert loss(omega, read_out) >= least - slack
    assert loss(omega, read_out) <= loss(omega, 1.1 * read_out) + slack


@given(st.floats(1e-3, 3.0))
@share(0.5)
def test_participation_exponents_are_laplace_maxima(u):
    y = np.linspace(-1, 12, 130001)
    gain = 2 * np.minimum(0, math.sqrt(u) * y - 1 - u / 2)
    whole = 1 - y**2 / 2 + gain
    typical = whole[y <= math.sqrt(2)].max()
    expected = {True: whole.max(), False: typical} if u < 2 else {True: 0.0, False: 0.0}
    for mean, value in expected.items():
        # A grid of 1e-4 misses a smooth maximum by 1e-8, and the kink or the edge by 1e-4 of slope.
        assert abs(softmax.participation_exponent(u, mean=mean) - value) < 1e-3

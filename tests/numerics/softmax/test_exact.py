"""The exact in-context loss against its definition, closed limits, other formulas and sampling."""

import math

import mpmath
import numpy as np
import pytest
from scipy.special import gammaln, roots_genlaguerre

from numerics import MultiTask
from numerics.softmax.exact import CONVERGED, attention_moments, exact_loss, exact_task_loss

EPS = float(np.finfo(float).eps)


def gaussian_line(step, reach=8.5):
    """Trapezoidal rule for N(0, 1); what lies beyond 8.5 is 2e-17."""
    z = np.arange(-reach, reach + step / 2, step)
    w = np.exp(-(z**2) / 2)
    return z, w / w.sum()


def loss_by_definition(mu, omega, L, ratio, step):
    """E(μ Σ p x − q)² + (σ²/λ) μ² Σp² for d = 1, over the query and every token."""
    z, w = gaussian_line(step)
    grids = np.meshgrid(*[z] * (L + 1), indexing="ij", sparse=True)
    q, tokens = grids[0], grids[1:]
    e = [np.exp(omega * q * x) for x in tokens]
    total = sum(e)
    mean = sum(a * x for a, x in zip(e, tokens, strict=True)) / total
    loss = (mu * mean - q) ** 2 + ratio * mu**2 * sum(a**2 for a in e) / total**2
    for _ in range(L + 1):
        loss = loss @ w
    return float(loss)


@pytest.mark.parametrize(("L", "step"), [(2, 0.2), (3, 0.4)])
@pytest.mark.parametrize(("mu", "omega"), [(1.3, 0.4), (-0.8, -0.3), (0.7, -0.25)])
def test_one_dimension_from_the_definition(L, step, mu, omega):
    """The oracle's error is that of halving its step, squared: it falls exponentially."""
    result = exact_task_loss(omega, mu, 1, 2.0, L, noise=0.9)
    expected, coarse = (
        2.0 * loss_by_definition(mu, omega, L, 0.81 / 2, h) for h in (step, 1.5 * step)
    )
    assert abs(result.value - expected) <= 1e-9 * expected + abs(expected - coarse)
    assert abs(expected - coarse) <= 1e-6
    assert result.status == CONVERGED


@pytest.mark.parametrize(("d", "omega"), [(2, 0.9), (3, 0.4), (8, 1.5)])
def test_two_pairs_in_thirty_digits(d, omega):
    """For L = 2, p_1 = (1 + tanh(δ/2))/2 with δ ~ N(0, 2ω̄²r²)."""
    mpmath.mp.dps = 30

    def given_r(r):
        # Trapezoid in δ's unit normal: e^{−2π²/h²} and the poles of tanh, e^{−2πc/h}.
        a = omega * r / mpmath.sqrt(2)
        h = mpmath.mpf(1) / 5 if a < 1 else mpmath.mpf(1) / 5 / a
        count = int(8.5 / h)
        terms = [(mpmath.exp(-((k * h) ** 2) / 2), mpmath.tanh(a * k * h)) for k in range(count)]
        weight = 2 * mpmath.fsum(w for w, _ in terms) - 1
        square = 2 * mpmath.fsum(w * t**2 for w, t in terms) / weight  # E tanh²
        return (1 + square) / 2, (1 + 3 * square) / 4  # Σp², Σp³

    h = mpmath.mpf(1) / 10  # r on a log axis, analytic for |Im| < π/4
    expected = [mpmath.mpf(0)] * 4
    for k in range(int(-25 / h), int(2.6 / h)):
        r = mpmath.exp(k * h)
        density = r**d * mpmath.exp(-(r**2) / 2)
        if density > 1e-17:
            p2, p3 = given_r(r)
            row = (1, p2, r**2 * p2, r**2 * p3)
            expected = [e + density * x for e, x in zip(expected, row, strict=True)]
    participation, A, B = (float(e / expected[0]) for e in expected[1:])
    moments = attention_moments(omega, d, 2)
    assert moments.participation == pytest.approx(participation, rel=1e-10)
    assert moments.query_participation == pytest.approx(A, rel=1e-10)
    assert moments.query_cubes == pytest.approx(B, rel=1e-10)


def test_five_pairs_by_nested_integration():
    """L = 5, d = 3: tokens enter by differences, 4-dimensional; then the query's norm.

    Nothing is integrated by parts: E Σps and E(Σps)² are averages of the scores themselves.
    """
    L, d, omega = 5, 3, 0.3
    z, w = gaussian_line(0.6, reach=7.2)
    basis = np.linalg.svd(np.ones((1, L)))[2][1:]  # orthogonal to the mean
    grid = np.stack(np.meshgrid(*[z] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    weight = np.einsum("a,b,c,d->abcd", w, w, w, w).ravel()
    keep = weight > 1e-14  # some 1e5 points, so 1e-10 in all is left out
    centred, weight = grid[keep] @ basis, weight[keep]
    x, wr = roots_genlaguerre(14, d / 2 - 1)  # converged to 1e-10
    result = np.zeros(5)
    for r2, part in zip(2 * x, wr / wr.sum(), strict=True):
        s = omega * math.sqrt(r2) * centred
        p = np.exp(s)
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * s).sum(axis=1)
        rows = [(p**2).sum(axis=1), mean, mean**2 + omega**2 * r2 / L]  # the mean score's part
        rows += [r2 * rows[0], r2 * (p**3).sum(axis=1)]
        result += part * (np.array(rows) @ weight)
    moments = attention_moments(omega, d, L)
    actual = [moments.participation, moments.score_mean, moments.score_square,
              moments.query_participation, moments.query_cubes]  # fmt: skip
    # The poles of p, which a step of 0.75 resolves to 1e-7 and one of 0.6 to its square.
    assert np.allclose(actual, result, rtol=1e-8, atol=0)


@pytest.mark.parametrize(("d", "L", "squared_norm"), [(10, 1000, 1.0), (4, 30, 6.0), (30, 7, 0.2)])
def test_score_moments_by_their_own_integrals(d, L, squared_norm):
    """E Σps and E(Σps)² by 1/Z = ∫e^{−tZ}dt with the scores in the integrand, no parts."""
    omega = math.sqrt(squared_norm / d)
    z, w = gaussian_line(0.12, reach=9.5)
    log_r = np.arange(-38 / d, 2.6, min(0.12, 0.5 / math.sqrt(2 * d)))
    density = np.exp(d * log_r - np.exp(2 * log_r) / 2 - (d * math.log(d) - d) / 2)
    chosen = density > 1e-14
    step, expected = 0.2, np.zeros(3)
    for r, part in zip(np.exp(log_r[chosen]), density[chosen] / density.sum(), strict=True):
        s = omega * r * z
        u = np.arange(-math.log(L) - 25 - s[-1], 8 + s[-1], step)
        t = np.exp(u)
        e = np.exp(s)
        decay = np.exp(-t[:, None] * e)
        phi = decay @ w
        single, first, second = decay @ (w * e**2), decay @ (w * s * e), decay @ (w * s**2 * e**2)
        integrands = np.array([
            t**2 * single * phi ** (L - 1),
            t * first * phi ** (L - 1),
            t**2 * (second * phi + (L - 1) * first**2) * phi ** (L - 2),
        ])  # fmt: skip
        expected += part * L * step * integrands.sum(axis=1)
    moments = attention_moments(omega, d, L)
    actual = [moments.participation, moments.score_mean, moments.score_square]
    # φ^{L−1} raises rounding by L = 1000; the grids err by 1e-12.
    assert np.allclose(actual, expected, rtol=1e-9, atol=0)


def test_one_pair_and_uniform_attention_are_closed_forms():
    for L in (1, 2, 50, 100_000):
        moments = attention_moments(0.0, 7, L)
        assert moments.participation == pytest.approx(1 / L, rel=1e-12)
        assert moments.query_participation == pytest.approx(7 / L, rel=1e-12)
        assert moments.query_cubes == pytest.approx(7 / L**2, rel=1e-12)
        loss = exact_task_loss(0.0, 1.7, 7, 0.6, L, noise=0.5)
        expected = 0.6 * (7 + 1.7**2 * (7 + 0.25 / 0.6) / L)
        assert abs(loss.value - expected) <= loss.error
    one = attention_moments(0.8, 7, 1)
    assert (one.participation, one.score_mean, one.query_cubes) == (1.0, 0.0, 7.0)
    assert one.score_square == pytest.approx(0.64 * 7, rel=4 * EPS)


@pytest.mark.parametrize(("L", "largest", "square"), [
    (2, 1 / math.sqrt(math.pi), 1.0),
    (3, 1.5 / math.sqrt(math.pi), 1 + math.sqrt(3) / (2 * math.pi)),
])  # fmt: skip
def test_saturated_attention_takes_the_largest_score(L, largest, square):
    """E max and E max² of L normals, and for L = 2 how often two scores tie."""
    d = 6
    inverse_norm = math.exp(gammaln((d - 1) / 2) - gammaln(d / 2)) / math.sqrt(2)
    mean_norm = (d - 1) * inverse_norm
    gaps = []
    for omega in (30.0, 60.0):
        m = attention_moments(omega, d, L)
        gaps.append([
            1 - m.score_mean / (omega * mean_norm * largest),
            1 - m.score_square / (omega**2 * d * square),
            # Two largest scores within 1/(ω̄r): their difference's density at 0, times ∫ 2p(1−p).
            (1 - m.participation) * omega * math.sqrt(math.pi) / inverse_norm - 1,
        ])  # fmt: skip
    first, second = np.abs(gaps)
    if L == 3:
        first, second = first[:2], second[:2]
    assert first.max() < 0.01
    assert (second < first / 3.5).all()  # at least as 1/ω̄²


def test_long_contexts_tend_to_the_expansion_in_the_length():
    """L E Σp² → E e^{ω̄²r²} = (1 − 2ω̄²)^{−d/2}, and d times one power more for A, as 1/L."""
    d, omega2 = 12, 0.02
    base = 1 - 2 * omega2
    gaps = []
    for L in (1000, 10_000, 100_000):
        m = attention_moments(math.sqrt(omega2), d, L)
        gaps.append([
            L * m.participation - base ** (-d / 2),
            L * m.query_participation - d * base ** (-d / 2 - 1),
        ])  # fmt: skip
    rates = np.log10(np.array(gaps)[:-1] / np.array(gaps)[1:])
    # The next order is 1/L relative: at L = 1000 some tens of e^{4ω̄²r²}/L.
    assert np.abs(rates - 1).max() < 0.02


def test_sum_over_tasks_and_signs():
    task = MultiTask((3, 5), signal=[0.5, 2.0], context_length=20, noise=0.7)
    whole = exact_loss([0.4, -0.2], [1.1, -0.6], task)
    parts = [
        exact_task_loss(w, m, d, s, 20, noise=0.7)
        for m, w, d, s in [(1.1, 0.4, 3, 0.5), (0.6, 0.2, 5, 2.0)]
    ]
    assert whole.value == pytest.approx(sum(p.value for p in parts), rel=1e-13)
    full = exact_loss([0.4, -0.2], np.diag([1.1, -0.6]), task)
    assert full.value == whole.value
    fewer = exact_loss([0.4], [1.1], task)
    assert fewer.value == pytest.approx(parts[0].value + 10.0, rel=1e-13)


def test_heads_of_other_tasks_add_their_noise_and_pairs():
    """The formula of `exact_loss` in loops; with uniform attention the heads' weights add up."""
    task = MultiTask((3, 5, 2), signal=[0.5, 2.0, 1.0], context_length=20, noise=0.7)
    mu = np.array([[1.1, -0.3, 0.4], [0.2, -0.6, 0.5]])
    omega = [0.4, -0.2]
    expected = 0.0
    for i in range(3):
        lam, d = task.signal[i], task.block_dims[i]
        energy, own = lam * d + 0.49, mu[i, i] if i < 2 else 0.0
        expected += exact_task_loss(omega[i] if i < 2 else 0.0, own, d, lam, 20, noise=0.7).value
        for h in range(2):
            participation = attention_moments(omega[h], task.block_dims[h], 20).participation
            expected += energy * mu[h, i] ** 2 * participation * (h != i)
            expected += energy * sum(mu[h, i] * mu[g, i] for g in range(2) if g != h) / 20
    assert exact_loss(omega, mu, task).value == pytest.approx(expected, rel=1e-11)
    uniform = sum(
        lam * d + mu[:, i].sum() ** 2 * (lam * d + 0.49) / 20
        for i, (lam, d) in enumerate(zip(task.signal, task.block_dims, strict=True))
    )
    assert exact_loss([0, 0], mu, task).value == pytest.approx(uniform, rel=1e-11)


TWO = MultiTask((2, 2), 1.0, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: exact_task_loss(0.3, 1.0, 0, 1.0, 5), ValueError, "block_dim must be >= 1"),
        (lambda: exact_task_loss(0.3, 1.0, 2.5, 1.0, 5), TypeError, "block_dim must be an int"),
        (lambda: exact_task_loss(0.3, 1.0, 2, 1.0, 0), ValueError, "context_length must be"),
        (lambda: exact_task_loss(0.3, 1.0, 2, -1.0, 5), ValueError, "> 0, got -1$"),
        (lambda: exact_task_loss(0.3, 1.0, 2, 1.0, 5, noise=-1), ValueError, "noise must be >= 0"),
        (lambda: exact_task_loss(0.3, math.nan, 2, 1.0, 5), ValueError, "mu must be finite"),
        (lambda: exact_task_loss(math.inf, 1.0, 2, 1.0, 5), ValueError, "omega_bar must be finite"),
        (lambda: exact_task_loss(0.3, 1.0, 2, 1.0, 5, rtol=0), ValueError, "rtol must be > 0"),
        (lambda: attention_moments(math.nan, 2, 5), ValueError, "omega_bar must be finite"),
        (lambda: attention_moments(0.3, 2, 5, rtol=0.0), ValueError, "rtol must be > 0"),
        (lambda: exact_loss([0.1, 0.2], [1.0], TWO), ValueError, "heads in mu"),
        (lambda: exact_loss([0.1] * 3, [1.0] * 3, TWO), ValueError, "3 heads"),
        (lambda: exact_loss([0.1], [[1.0]], TWO), ValueError, "tasks in mu"),
    ],
)
def test_misuse_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_contexts_that_floating_point_cannot_count_are_refused():
    with pytest.raises(ValueError, match="context_length must be <= 1e"):
        exact_task_loss(0.1, 1.0, 10, 1.0, 10**15)

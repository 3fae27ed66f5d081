"""Sampled losses of softmax heads and of the baselines, against definitions and exact values."""

import math

import numpy as np
import pytest

from numerics import MultiTask, sample_multitask
from numerics.softmax import baselines, monte_carlo
from numerics.softmax.baselines import (
    bayes_risk_monte_carlo,
    ridge_risk_monte_carlo,
    wishart_eigenvalues,
)
from numerics.softmax.exact import exact_loss
from numerics.softmax.monte_carlo import icl_loss_monte_carlo

FIVE = 5.0  # standard errors: one miss in two million
TASK = MultiTask((3, 5, 2), signal=[0.7, 1.3, 0.4], context_length=30, noise=0.6)


def block_heads(task, omega_bar):
    omega = np.zeros((len(omega_bar), task.dimension))
    for row, value, block in zip(omega, omega_bar, task.blocks, strict=False):
        row[block] = value
    return omega


def test_arbitrary_heads_from_sampled_labels():
    """Labels, noise and targets drawn: what the average over g and noise has to equal."""
    generator = np.random.default_rng(0)
    omega = 0.5 * generator.standard_normal((4, 10))
    mu = generator.standard_normal((4, 3))
    tokens, target = sample_multitask(TASK, 10_000, rng=1)
    x, y, q = tokens[:, :-1, :10], tokens[:, :-1, 10:], tokens[:, -1, :10]
    scores = np.einsum("hd,pd,pld->phl", omega, q, x)
    p = np.exp(scores)
    p /= p.sum(axis=2, keepdims=True)
    squared = (np.einsum("hi,phl,pli->pi", mu, p, y) - target) ** 2
    estimate = icl_loss_monte_carlo(omega, mu, TASK, 10_000, rng=2)
    spread = np.hypot(squared.std(axis=0) / 100, estimate.task_error)
    assert (np.abs(squared.mean(axis=0) - estimate.task_mean) < FIVE * spread).all()
    assert (estimate.task_error < squared.std(axis=0) / 100).all()  # what the average is for


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_block_heads_that_serve_every_task(heads):
    """The exact loss, with all terms between heads of different blocks."""
    omega_bar = np.array([0.5, -0.35, 0.9])[:heads]
    mu = np.array([[1.1, 1.8, 1.5], [1.2, -1.5, 1.6], [0.8, 1.7, 0.7]])[:heads]
    exact = exact_loss(omega_bar, mu, TASK)
    estimate = icl_loss_monte_carlo(block_heads(TASK, omega_bar), mu, TASK, 40_000, rng=3)
    assert abs(estimate.mean - exact.value) < FIVE * estimate.error
    assert estimate.error < 0.01 * exact.value
    if heads == 3:  # the terms between heads are no small change
        alone = exact_loss(omega_bar, np.diagonal(mu), TASK)
        assert abs(alone.value - exact.value) > 3 * FIVE * estimate.error


@pytest.mark.parametrize(("d", "L", "squared_norm"), [(10, 300, 1.0), (1, 8, 30.0), (6, 3, 4.0)])
def test_exact_loss_of_one_head(d, L, squared_norm):
    task = MultiTask((d,), 1.0, L, noise=0.5)
    omega_bar, mu = math.sqrt(squared_norm / d), 0.6 * math.sqrt(d)
    exact = exact_loss([omega_bar], [mu], task)
    estimate = icl_loss_monte_carlo(block_heads(task, [omega_bar]), [[mu]], task, 8000, rng=4)
    assert abs(estimate.mean - exact.value) < FIVE * estimate.error
    assert estimate.error < 0.05 * exact.value
    assert estimate.mean == estimate.task_mean[0]


def test_slices_of_tokens_do_not_matter(monkeypatch):
    """One sequence at a time draws its tokens in one order, whatever the slice."""
    omega = np.random.default_rng(5).standard_normal((2, 10))
    mu = np.random.default_rng(6).standard_normal((2, 3))
    whole = icl_loss_monte_carlo(omega, mu, TASK, 20, rng=7, chunk=1)
    monkeypatch.setattr(monte_carlo, "_NUMBERS", 14 * 7)  # seven tokens of d + 2H = 14 numbers
    sliced = icl_loss_monte_carlo(omega, mu, TASK, 20, rng=7, chunk=1)
    assert np.allclose(sliced.task_mean, whole.task_mean, rtol=1e-12)
    assert sliced.error == pytest.approx(whole.error, rel=1e-12)
    again = icl_loss_monte_carlo(omega, mu, TASK, 20, rng=7, chunk=1)
    assert again.mean == sliced.mean


def test_scores_beyond_the_range_of_exp():
    task = MultiTask((2,), 1.0, 50)
    estimate = icl_loss_monte_carlo(np.full((1, 2), 1e4), [[0.1]], task, 50, rng=8)
    assert np.isfinite(estimate.mean)
    assert estimate.error > 0


@pytest.mark.parametrize(("d", "L"), [(3, 12), (12, 3), (1, 5), (5, 5)])
def test_wishart_eigenvalues_have_the_moments_of_a_wishart(d, L):
    """E tr = dL, E tr² = dL(d + L + 1), E (tr)² = dL(dL + 2)."""
    e = wishart_eigenvalues(d, L, 20_000, rng=9)
    assert e.shape == (20_000, min(d, L))
    traces = [e.sum(axis=1), (e**2).sum(axis=1), e.sum(axis=1) ** 2]
    for values, expected in zip(traces, [d * L, d * L * (d + L + 1), d * L * (d * L + 2)],
                                strict=True):  # fmt: skip
        assert abs(values.mean() - expected) < FIVE * values.std() / math.sqrt(20_000)


def test_bayes_risk_in_one_dimension():
    """E λσ²/(λχ²_L + σ²), an integral."""
    c = np.exp(np.arange(-15, 5, 0.1))  # c = χ², of density c² e^{−c/2}, on a log axis
    density = c**3 * np.exp(-c / 2)
    expected = np.average(2 * 0.81 / (2 * c + 0.81), weights=density)
    estimate = bayes_risk_monte_carlo(1, 2.0, 6, noise=0.9, count=20_000, rng=10)
    assert abs(estimate.mean - expected) < FIVE * estimate.error


@pytest.mark.parametrize(("d", "L"), [(4, 9), (9, 4)])
def test_baselines_from_sampled_regressions(d, L):
    """The estimators themselves, with tasks and noise drawn."""
    signal, noise, samples = 0.6, 0.8, 20_000
    generator = np.random.default_rng(11)
    X = generator.standard_normal((samples, L, d))
    g = math.sqrt(signal) * generator.standard_normal((samples, d, 1))
    y = X @ g + noise * generator.standard_normal((samples, L, 1))
    common = {"noise": noise, "count": 4000, "rng": 12}
    for ridge in (0.05, noise**2 / (signal * L), 2.0):
        gram = X.swapaxes(1, 2) @ X / L + ridge * np.eye(d)
        error = np.linalg.solve(gram, X.swapaxes(1, 2) @ y / L) - g
        risk = (error**2).sum(axis=(1, 2))
        estimate = ridge_risk_monte_carlo(d, signal, L, penalty=ridge, **common)
        spread = math.hypot(risk.std() / math.sqrt(samples), estimate.error)
        assert abs(risk.mean() - estimate.mean) < FIVE * spread
        bayes = bayes_risk_monte_carlo(d, signal, L, **common)
        # The same draws of X: ridge at σ²/(λL) is Bayes, any other is worse for each.
        if ridge == noise**2 / (signal * L):
            assert bayes.mean == pytest.approx(estimate.mean, rel=1e-10)
        else:
            assert bayes.mean < estimate.mean


def test_without_noise_bayes_sees_what_the_context_spans():
    assert bayes_risk_monte_carlo(7, 0.5, 3, noise=0.0, count=5) == (2.0, 0.0)
    assert bayes_risk_monte_carlo(3, 0.5, 7, noise=0.0, count=5) == (0.0, 0.0)
    little = bayes_risk_monte_carlo(7, 0.5, 3, noise=1e-6, count=50, rng=0)
    assert little.mean == pytest.approx(2.0, rel=1e-6)


def test_chunks_of_matrices_do_not_matter(monkeypatch):
    whole = bayes_risk_monte_carlo(4, 1.0, 9, noise=1.0, count=3000, rng=13)
    monkeypatch.setattr(baselines, "_NUMBERS", 16 * 100)
    chunks = bayes_risk_monte_carlo(4, 1.0, 9, noise=1.0, count=3000, rng=14)
    assert abs(whole.mean - chunks.mean) < FIVE * math.hypot(whole.error, chunks.error)


ONE = np.ones((1, 10))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: icl_loss_monte_carlo(np.ones((0, 10)), ONE, TASK, 5), ValueError, "omega must"),
        (lambda: icl_loss_monte_carlo(np.ones((1, 9)), ONE, TASK, 5), ValueError, "width of omega"),
        (lambda: icl_loss_monte_carlo(ONE, np.ones((2, 3)), TASK, 5), ValueError, "heads in mu"),
        (lambda: icl_loss_monte_carlo(ONE, np.ones((1, 2)), TASK, 5), ValueError, "tasks in mu"),
        (lambda: icl_loss_monte_carlo(ONE, [[math.nan] * 3], TASK, 5), ValueError, "mu must be"),
        (lambda: icl_loss_monte_carlo(ONE, [[1.0] * 3], TASK, 1), ValueError, "count must be"),
        (lambda: icl_loss_monte_carlo(ONE, [[1.0] * 3], TASK, 5, chunk=0), ValueError, "chunk"),
        (lambda: bayes_risk_monte_carlo(0, 1.0, 5, noise=1.0, count=5), ValueError, "block_dim"),
        (lambda: bayes_risk_monte_carlo(2.5, 1.0, 5, noise=1.0, count=5), TypeError, "block_dim"),
        (lambda: bayes_risk_monte_carlo(2, -1.0, 5, noise=1.0, count=5), ValueError, "signal"),
        (lambda: bayes_risk_monte_carlo(2, 1.0, 0, noise=1.0, count=5), ValueError, "context"),
        (lambda: bayes_risk_monte_carlo(2, 1.0, 5, noise=-1.0, count=5), ValueError, "noise"),
        (
            lambda: ridge_risk_monte_carlo(2, 1.0, 5, penalty=0.0, noise=1.0, count=5),
            ValueError,
            "penalty must be > 0",
        ),
    ],
)  # fmt: skip
def test_misuse_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

"""The error that the exact loss and the moments state: how grids are refined, and when it ends."""

import math

import numpy as np
import pytest
from scipy.special import roots_genlaguerre

from numerics import MultiTask
from numerics.softmax.exact import CONVERGED, attention_moments, exact_loss, exact_task_loss

STEPS = "numerics.softmax.exact.STEPS"
NAMES = ("participation", "score_mean", "score_square", "query_participation", "query_cubes")


def test_the_error_is_the_change_of_the_grid_and_rounding(monkeypatch):
    """Grids this coarse differ by 1e-6, by most in A, whose terms are positive: + 1e-12."""

    def on(*steps):
        monkeypatch.setattr(STEPS, steps)
        return attention_moments(0.1, 1, 50)

    coarse, fine, refined = on(0.5, 0.5), on(0.4, 0.4), on(0.5, 0.4)
    changes = {k: abs(getattr(coarse, k) / getattr(fine, k) - 1) for k in NAMES}
    assert max(changes, key=changes.__getitem__) == "query_participation"
    assert refined.query_participation == fine.query_participation
    # To the rounding of two moments.
    assert refined.error == pytest.approx(changes["query_participation"] + 1e-12, abs=1e-14)


def test_grids_are_refined_until_the_default_tolerance():
    """Two grids leave 1e-7 here: at m = 1 the loss is that of the attention's spread alone."""
    mu, d, L = math.sqrt(3), 9, 10**12
    omega = 1 / mu
    task = MultiTask((d,), 0.7, L)
    loss = exact_task_loss(omega, mu, d, 0.7, L)
    assert exact_task_loss(omega, mu, d, 0.7, L, rtol=1e-6).error > 1e-9 * loss.value
    assert loss == exact_loss([omega], [mu], task)
    assert loss == exact_task_loss(omega, mu, d, 0.7, L, noise=0.0, rtol=1e-9)
    assert loss.error <= 1e-9 * loss.value
    assert loss.status == CONVERGED


def test_a_tolerance_that_is_just_reached_ends_the_refinement():
    reached = attention_moments(0.3, 4, 40)
    assert attention_moments(0.3, 4, 40, rtol=reached.error) == reached
    assert reached.status == CONVERGED


def test_the_error_of_a_moment_that_is_zero_is_absolute():
    """With one pair E Σps = ω̄²(d − d), of terms whose sum is 2 ω̄² d."""
    one = attention_moments(1.5, 7, 1)
    assert one.score_mean == 0
    assert one.error == pytest.approx(1e-12 * 2 * 1.5**2 * 7, rel=1e-12)


@pytest.mark.parametrize("L", [2, 40, 3000, 10**6])
@pytest.mark.parametrize(("d", "squared_norm"), [(1, 60.0), (2, 1e-3), (9, 1.0), (2000, 30.0)])
def test_error_estimate_bounds_the_change_on_a_finer_grid(d, L, squared_norm, monkeypatch):
    arguments = (math.sqrt(squared_norm / d), 1.1, d, 0.7, L)
    result = exact_task_loss(*arguments, noise=0.4)
    moments = attention_moments(arguments[0], d, L)
    assert result.status == moments.status == CONVERGED
    assert result.error <= 1e-9 * result.value
    monkeypatch.setattr(STEPS, (0.13, 0.11))
    fine = exact_task_loss(*arguments, noise=0.4)
    assert abs(fine.value - result.value) <= result.error
    assert fine.status == CONVERGED
    finer = attention_moments(arguments[0], d, L)
    for name in NAMES:
        assert abs(getattr(finer, name) / getattr(moments, name) - 1) <= moments.error, name


def test_unreachable_tolerance_is_told():
    result = exact_task_loss(0.3, 1.0, 10, 1.0, 100, rtol=1e-15)
    assert result.status.startswith("quadrature did not reach tolerance: reached ")
    assert result.error > 0
    assert attention_moments(0.3, 10, 100, rtol=1e-15).status.startswith("quadrature did not")


def test_enormous_weights_end_in_a_status():
    assert attention_moments(1e6, 5, 50).status.startswith("quadrature did not")
    assert attention_moments(1e200, 5, 50).status.endswith("reached nan")
    # ω̄² r⁴ overflows in the sums, where ω̄² does not.
    assert attention_moments(1e153, 1000, 50).status.endswith("reached nan")
    saturated = exact_task_loss(1e6, 1e-6, 5, 1.0, 50)
    assert saturated.status == CONVERGED
    assert 4.9 < saturated.value < 5.0


def test_errors_tell_of_cancellation():
    """Relative 1e-12 of the sums of |terms|, over what is left of them."""
    sharp = attention_moments(300.0, 10, 2)
    A = sharp.query_participation
    assert 1 <= sharp.error / (1e-12 * (10 + A) / (10 - A)) < 2  # E Σps = ω̄²(d − A)
    # E (Σps)² = ω̄² E r²(r² − d − 1)/L as ω̄ → 0, where E r²(r² − d − 1) = d.
    x, weights = roots_genlaguerre(60, 4.0)
    parts = weights @ np.abs(2 * x * (2 * x - 11)) / weights.sum()
    flat = attention_moments(1e-3, 10, 50)
    assert 0.98 <= flat.error / (1e-12 * parts / 10) < 2  # a kink, by a Gauss rule
    d, L, omega, mu, lam, noise = 10, 50, 0.4, 2.4, 0.6, 0.3
    m, moments = mu * omega, attention_moments(omega, d, L)
    A, B, P = moments.query_participation, moments.query_cubes, moments.participation
    size = lam * (d * (1 - m) ** 2 + A * (mu**2 + 2 * m + 3 * m**2) + 2 * m**2 * B)
    loss = exact_task_loss(omega, mu, d, lam, L, noise=noise)
    assert 1 <= loss.error / (1e-12 * (size + noise**2 * mu**2 * P)) < 2

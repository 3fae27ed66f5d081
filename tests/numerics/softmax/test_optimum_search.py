"""How the best single head is searched: the reduced loss, and searches of losses made to measure.

A loss made to measure stands in for `_best`: it has its minima where a test puts them.
"""

import math

import numpy as np
import pytest
import scipy.optimize

from numerics.softmax import optimum
from numerics.softmax.exact import CONVERGED, STEPS, ExactLoss, exact_task_loss
from numerics.softmax.optimum import ExactOptimum, exact_optimum

EPS = float(np.finfo(float).eps)
QUARTER = math.log(10) / 4  # of a decade: the scan's step in ln ‖ω‖²


@pytest.mark.parametrize(
    ("d", "L", "signal", "noise"), [(3, 25, 0.7, 0.8), (1, 10, 2.0, 0.3), (10, 100, 0.5, 0.0)]
)
@pytest.mark.parametrize("norm", [0.02, 0.7, 30.0])
def test_loss_slope_and_mu_are_those_of_the_exact_loss(d, L, signal, noise, norm):
    h, fine = 1e-2, STEPS[-1]
    x = math.log(norm)
    at = {k: optimum._best(x + k * h, d, L, noise**2 / signal, fine) for k in (-2, -1, 0, 1, 2)}
    loss, slope, mu = at[0]

    def exact(mu):
        omega = math.sqrt(norm / d)
        return exact_task_loss(omega, mu, d, signal, L, noise=noise).value / signal

    # The quadrature of each is good to 1e-9.
    assert loss == pytest.approx(exact(mu), rel=2e-9)
    above, below = exact(mu + 1), exact(mu - 1)
    assert (above - below) / (above + below - 2 * loss) / 2 == pytest.approx(0, abs=2e-8)
    # By ln ω̄, which is x/2; the rule's error is of order h⁴.
    rise = (8 * (at[1][0] - at[-1][0]) - (at[2][0] - at[-2][0])) / (12 * h)
    assert slope == pytest.approx(2 * rise, abs=1e-6 * d)


def made_to_measure(monkeypatch, loss, slope, mu=lambda step: 1.0):
    """Let loss(x), slope(x, step) and mu(step) stand for the loss at x = ln ‖ω‖²."""

    def best(x, d, L, ratio, step):
        assert (d, L, ratio) == (3, 20, 0.5)
        return loss(x), slope(x, step), mu(step)

    monkeypatch.setattr(optimum, "_best", best)


def search():
    """A search whose arguments all differ."""
    return exact_optimum(3, 2.0, 20, noise=1.0)


def valley(monkeypatch, bottom, shift=0.0, mu=lambda step: 1.0):
    """One minimum; a grid finer than the first finds it `shift` further up."""

    def slope(x, step):
        return 2 * math.sinh(x - bottom - (0 if step == STEPS[0] else shift))

    made_to_measure(monkeypatch, lambda x: math.cosh(x - bottom), slope, mu)


@pytest.mark.parametrize("norm", [1.2e-4, 3e-3, 1.0, 47.0, 900.0])
def test_a_minimum_anywhere_in_the_range_is_found(monkeypatch, norm):
    valley(monkeypatch, math.log(norm), mu=lambda step: step)
    given = []
    brentq = scipy.optimize.brentq

    def spy(f, low, high, *, xtol):
        given.append(xtol)
        return brentq(f, low, high, xtol=xtol)

    monkeypatch.setattr(scipy.optimize, "brentq", spy)
    best = search()
    assert best.status == CONVERGED
    # A root-finder that ends on the root to 1e-16 leaves its tolerance alone.
    assert best.squared_norm_error == pytest.approx(given[0] * norm, rel=1e-3)
    assert abs(best.squared_norm - norm) <= 1e-14 * norm
    assert best.squared_norm == pytest.approx(3 * best.omega_bar**2, rel=8 * EPS)
    assert best.mu == STEPS[1]  # by the quadrature that found ω̄
    exact = exact_task_loss(best.omega_bar, best.mu, 3, 2.0, 20, noise=1.0)
    assert (best.loss, best.loss_error) == (exact.value, exact.error)


def test_a_finer_grid_corrects_the_root_and_tells_by_how_much(monkeypatch):
    shift = 1e-6
    valley(monkeypatch, 0.3, shift)
    best = search()
    # The secant over 1e-4 is a slope to 1e-8, as sinh has no second derivative at its root.
    assert math.log(best.squared_norm) == pytest.approx(0.3 + shift, abs=1e-4 * shift)
    assert best.squared_norm_error == pytest.approx(best.squared_norm * shift, rel=2e-4)


@pytest.mark.parametrize(("bottom", "end"), [(1e-6, 1e-4), (9e-5, 1e-4), (1.1e3, 1e3), (1e6, 1e3)])
def test_a_minimum_beyond_the_range_is_told(monkeypatch, bottom, end):
    valley(monkeypatch, math.log(bottom))
    known = ExactLoss(1.0, 0.0, CONVERGED)
    monkeypatch.setattr(optimum, "exact_task_loss", lambda *args, **options: known)
    best = search()
    assert best.status == f"stopped: the loss still falls at |omega|^2 = {end:g}"
    assert best.squared_norm == pytest.approx(end, rel=8 * EPS)
    assert best.squared_norm_error == math.inf


@pytest.mark.parametrize("lowest", [-8, 1, 11])
@pytest.mark.parametrize("beside", [-0.1, 0.1])
def test_the_lowest_of_several_minima_is_found(monkeypatch, lowest, beside):
    """Minima every three steps of the scan: a bracket of more than two steps has two roots."""
    bottom = (lowest + beside) * QUARTER
    rate = 2 * math.pi / (3 * QUARTER)

    def loss(x):
        return -math.cos(rate * (x - bottom)) + 0.01 * (x - bottom) ** 2

    def slope(x, step):
        return 2 * (rate * math.sin(rate * (x - bottom)) + 0.02 * (x - bottom))

    made_to_measure(monkeypatch, loss, slope)
    assert math.log(search().squared_norm) == pytest.approx(bottom, abs=1e-12)


@pytest.mark.parametrize("ends", [0.0, 0.5, -0.5])
def test_a_loss_too_flat_for_a_root_is_told(monkeypatch, ends):
    """A dip at ‖ω‖² = 1 alone, where the optimum of [S] is and the scan stands."""
    made_to_measure(monkeypatch, lambda x: abs(x) > 1e-9, lambda x, step: ends)
    best = search()
    expected = "stopped: the loss is too flat in omega for its derivative to change sign"
    assert best.status == expected
    assert best.squared_norm == pytest.approx(1.0, rel=64 * EPS)
    assert best.squared_norm_error == math.inf


def test_a_loss_that_is_not_known_well_is_told(monkeypatch):
    valley(monkeypatch, 0.0)
    unsure = ExactLoss(1.0, 0.5, "quadrature did not reach tolerance: reached 5.0e-01")
    monkeypatch.setattr(optimum, "exact_task_loss", lambda *args, **options: unsure)
    best = search()
    assert (best.loss, best.loss_error, best.status) == (1.0, 0.5, unsure.status)


def test_one_pair_needs_no_head():
    """p = 1 whatever ω is, and the prediction does not depend on the query."""
    none = ExactOptimum(
        omega_bar=0.0, mu=0.0, squared_norm=0.0, squared_norm_error=0.0, loss=2.0, loss_error=0.0,
        status=CONVERGED,
    )  # fmt: skip
    assert exact_optimum(4, 0.5, 1, noise=1.0) == none


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact_optimum(2, -0.5, 1), "signal must be > 0"),
        (lambda: exact_optimum(2, 1.0, 1, noise=-1e-3), "noise must be >= 0"),
    ],
)
def test_misuse_is_refused_without_a_search_too(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""The best single head by the exact loss: a minimum, its limits and how it ends."""

import math

import numpy as np
import pytest

from numerics.softmax.exact import CONVERGED, exact_task_loss
from numerics.softmax.optimum import exact_optimum

EPS = float(np.finfo(float).eps)


@pytest.mark.parametrize(("d", "L", "noise"), [(10, 1000, 0.0), (3, 25, 0.8), (1, 10, 0.3)])
def test_optimum_is_a_minimum(d, L, noise):
    best = exact_optimum(d, 0.9, L, noise=noise)
    assert best.status == CONVERGED

    def loss(mu, omega):
        return exact_task_loss(best.omega_bar * omega, best.mu * mu, d, 0.9, L, noise=noise).value

    h = 1e-3
    for mu, omega in [(h, 0), (0, h), (h, h), (h, -h)]:
        above, below = loss(1 + mu, 1 + omega), loss(1 - mu, 1 - omega)
        bend = above + below - 2 * best.loss
        assert bend > 0
        # The parabola's vertex: third differences of order h², and 1e-12 loss / bend.
        assert abs(above - below) / bend * h / 2 < 20 * h**2
    for factor in np.geomspace(0.02, 50, 12):  # no lower valley elsewhere, at this μω̄
        assert loss(1 / factor, factor) > best.loss
    assert best.squared_norm == pytest.approx(d * best.omega_bar**2, rel=8 * EPS)
    assert best.squared_norm_error <= 1e-7 * best.squared_norm


def test_optimum_tends_to_that_of_the_expansion():
    """At L → ∞ without noise, w = ω̄² minimises (1 − w)(1 − 2w)^{−d/2−1}/w: a quadratic."""
    d = 10
    w = ((d + 4) - math.sqrt((d + 4) ** 2 - 4 * (d + 2))) / (2 * (d + 2))
    gaps = [exact_optimum(d, 1.0, L).squared_norm - d * w for L in (10**5, 10**6, 10**7)]
    rates = np.log10(np.array(gaps)[:-1] / np.array(gaps)[1:])
    assert rates.min() > 0.85  # 1/L, less the slow tail E e^{4ω̄²r²} at ω̄² = 0.076
    best = exact_optimum(d, 1.0, 10**6)
    limit = (1 - w) / w * (1 - 2 * w) ** (-d / 2 - 1)
    assert best.loss * 10**6 / d == pytest.approx(limit, rel=1e-3)


def test_one_pair_needs_no_head():
    best = exact_optimum(4, 0.5, 1, noise=1.0)
    assert (best.omega_bar, best.mu, best.loss) == (0.0, 0.0, 2.0)


def test_a_loss_without_a_minimum_in_omega_says_so():
    """Noise of 1e6 on two pairs: the loss is λd to within rounding, whatever ω is."""
    best = exact_optimum(1000, 1.0, 2, noise=1e9)
    assert best.status == "converged" or best.status.startswith("stopped: the loss")
    assert np.isfinite(best.loss)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact_optimum(2, 0.0, 5), "signal must be > 0"),
        (lambda: exact_optimum(2, 1.0, 5, noise=math.nan), "noise must be finite"),
        (lambda: exact_optimum(10, 1.0, 10**15), "context_length must be <= 1e"),
    ],
)
def test_misuse_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

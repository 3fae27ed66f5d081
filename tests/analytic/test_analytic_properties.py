"""Properties every spectrum must show, on random ones."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import analytic
from numerics import strategies

positive = st.floats(0.05, 20.0)
lengths = st.floats(1.0, 1e4)
noises = st.floats(0.0, 5.0)


def spectra(largest=6):
    """λ and ω (D,), equal eigenvalues among them."""
    return st.integers(1, largest).flatmap(
        lambda size: st.tuples(*[strategies.spectra(size, smallest=0.05, largest=20.0)] * 2)
    )


@given(spectra(), lengths, noises)
def test_plateaus_decrease_from_the_trace_and_stay_positive(spectrum, length, noise):
    lam, omega = spectrum
    losses = analytic.plateau_losses(lam, length, task_eigenvalues=omega, noise=noise)
    assert losses[0] == np.sum((lam * omega)[np.argsort(-(lam**2) * omega)][::-1]) or np.isclose(
        losses[0], lam @ omega, rtol=1e-14
    )
    assert np.all(np.diff(losses) < 0)
    assert losses[-1] > 0


@given(spectra(), lengths, st.floats(1.01, 10.0), noises)
def test_a_longer_context_lowers_and_noise_raises_every_learned_plateau(
    spectrum, length, factor, noise
):
    lam, omega = spectrum
    base = analytic.plateau_losses(lam, length, task_eigenvalues=omega, noise=noise)
    longer = analytic.plateau_losses(lam, factor * length, task_eigenvalues=omega, noise=noise)
    noisier = analytic.plateau_losses(lam, length, task_eigenvalues=omega, noise=noise + 1)
    assert longer[0] == base[0] == noisier[0]
    # A plateau is dominated by what is unlearned: the change may be below its rounding.
    assert np.all(longer[1:] <= base[1:])
    assert np.all(noisier[1:] >= base[1:])
    assert longer[-1] < base[-1] < noisier[-1]


@given(spectra(), lengths, noises, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_scaling_laws_hold_to_the_last_bit(spectrum, length, noise, c):
    # x → √c x and y → √c y: powers of 4 keep σ√c exact as well, so that every result is exact.
    lam, omega = spectrum
    scale = c * c
    keywords = {"task_eigenvalues": omega, "noise": noise}
    scaled = {"task_eigenvalues": omega, "noise": c * noise}
    for function, power in [
        (analytic.plateau_losses, 1),
        (analytic.mode_gains, 1),
        (analytic.mode_coefficients, -1),
        (analytic.feature_eigenvalues, 2),
        (analytic.mode_curvature, 3),
    ]:
        np.testing.assert_array_equal(
            function(scale * lam, length, **scaled),
            scale**power * function(lam, length, **keywords),
        )


@given(spectra(), lengths, noises, st.randoms(use_true_random=False))
def test_plateaus_do_not_depend_on_the_order_given(spectrum, length, noise, random):
    lam, omega = spectrum
    order = list(range(lam.size))
    random.shuffle(order)
    base = analytic.plateau_losses(lam, length, task_eigenvalues=omega, noise=noise)
    other = analytic.plateau_losses(lam[order], length, task_eigenvalues=omega[order], noise=noise)
    # Sums of at most 7 terms in another order, in the trace and in the losses; tied modes may
    # swap where λ²ω agree and λω do not, which shifts single plateaus.
    growth = np.sort(lam**2 * omega)
    if np.all(np.diff(growth) > 1e-12 * growth[1:]):
        np.testing.assert_allclose(other, base, rtol=1e-14)


@given(spectra(), lengths, noises)
def test_visited_points_are_fixed_points(spectrum, length, noise):
    lam, omega = spectrum
    keywords = {"task_eigenvalues": omega, "noise": noise}
    losses = analytic.plateau_losses(lam, length, **keywords)
    order = analytic.visit_order(lam, task_eigenvalues=omega)
    for m in range(lam.size + 1):
        mask = np.isin(np.arange(lam.size), order[:m])
        one = analytic.fixed_point_loss(mask, lam, length, **keywords)
        assert math.isclose(one, losses[m], rel_tol=1e-14)


@given(spectra(), lengths)
def test_visited_points_are_stable_to_second_order_for_isotropic_tasks(spectrum, length):
    lam = np.unique(spectrum[0])[::-1]
    if np.any(np.diff(lam) > -1e-9):
        return
    for m in range(lam.size + 1):
        mask = np.arange(lam.size) < m
        assert analytic.stability_index(mask, lam, length) == 0


@given(positive, positive, st.floats(0.01, 0.98), st.floats(0.01, 0.98), st.floats(0.01, 0.98))
def test_durations_add_up(growth, curvature, x, y, z):
    limit = (growth / curvature) ** (1 / 3)
    a, b, c = (limit * value for value in (x, y, z))

    def time(end, start):
        return analytic.time_to_reach(end, start, growth, curvature)

    whole, parts = time(c, a), time(b, a) + time(c, b)
    scale = max(abs(time(b, a)), abs(time(c, b)), 1 / (growth * limit))
    # 1 − a³v³ >= 0.05 multiplies the error of some 30 operations by at most 20.
    assert abs(whole - parts) <= 600 * np.finfo(float).eps * scale
    assert (time(b, a) > 0) == (b > a)


@settings(max_examples=50)
@given(
    st.integers(1, 9), lengths, st.floats(1e-4, 0.5), positive, positive, noises, st.floats(0, 50)
)
def test_white_curve_runs_from_start_to_global_minimum(size, length, norm, lam, omega, noise, t):
    keywords = {"eigenvalue": lam, "task_eigenvalue": omega, "noise": noise}
    spectrum = ([lam] * size, length)
    spectral = {"task_eigenvalues": omega, "noise": noise}
    end = analytic.white_time_course(math.inf, size, length, norm, **keywords)
    assert math.isclose(end, analytic.mode_coefficients(*spectrum, **spectral)[0], rel_tol=1e-13)
    last = analytic.white_loss_curve(math.inf, size, length, norm, **keywords)
    assert math.isclose(last, analytic.plateau_losses(*spectrum, **spectral)[-1], rel_tol=1e-13)
    # The loss is the definition at m(t); its terms cancel down from D λω.
    m = analytic.white_time_course(t, size, length, norm, **keywords)
    assert np.isfinite(m)
    curvature = analytic.mode_curvature(*spectrum, **spectral)[0]
    direct = size * (lam * omega - 2 * lam**2 * omega * m + curvature * m * m)
    got = analytic.white_loss_curve(t, size, length, norm, **keywords)
    magnitude = size * (lam * omega + 2 * lam**2 * omega * m + curvature * m * m)
    assert abs(got - direct) <= 60 * np.finfo(float).eps * magnitude


def test_white_curve_does_not_overflow():
    times = np.array([0.0, 1e2, 1e6, 1e300, math.inf])
    m = analytic.white_time_course(times, 4, 31, 1e-3)
    assert np.all(np.isfinite(m))
    np.testing.assert_allclose(m[2:], 31 / 36, rtol=4e-16)


@given(st.floats(0.001, 0.1), positive)
def test_learning_time_approaches_the_exact_time(start, growth):
    # t(v) − t(v0) = (τ/growth)(1/v0 + F(v) + a π/(6√3) + O(v0²)): the gap stays bounded.
    curvature = growth
    exact = analytic.time_to_reach(0.9, start, growth, curvature)
    gap = growth * (exact - analytic.learning_time(start, growth))
    smaller = analytic.time_to_reach(0.9, start / 2, growth, curvature)
    gap_smaller = growth * (smaller - analytic.learning_time(start / 2, growth))
    # Φ(x) + 1/x is x²/2 + const near 0, so halving the start moves the gap by 3/8 start².
    expected = 3 / 8 * start**2
    assert abs((gap_smaller - gap) - expected) < 0.05 * expected + 1e-10

"""The path through the fixed points, detours included."""

import itertools
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analytic
from analytic._spectrum import unstable_pairs

spectra = st.lists(st.floats(0.05, 5.0), min_size=1, max_size=6, unique=True)


@given(spectra, st.floats(1, 1000))
def test_isotropic_path_is_that_of_the_plateaus(eigenvalues, n):
    path = analytic.saddle_path(eigenvalues, n)
    assert path.sum(axis=1).tolist() == list(range(len(eigenvalues) + 1))
    losses = analytic.fixed_point_loss(path, eigenvalues, n)
    # Two sums of at most six terms in different orders.
    np.testing.assert_allclose(losses, analytic.plateau_losses(eigenvalues, n), rtol=1e-13)


@given(spectra, st.data())
def test_losses_fall_along_every_path_and_end_at_the_minimum(eigenvalues, data):
    size = len(eigenvalues)
    omega = data.draw(st.lists(st.floats(0.05, 5.0), min_size=size, max_size=size))
    gains = analytic.mode_gains(eigenvalues, 20, task_eigenvalues=omega)
    path = analytic.saddle_path(eigenvalues, 20, task_eigenvalues=omega)
    losses = analytic.fixed_point_loss(path, eigenvalues, 20, task_eigenvalues=omega)
    assert path[0].sum() == 0
    assert path[-1].all()
    # Gains that differ by rounding alone may leave the loss where it is.
    assert (np.diff(losses) <= 1e-13 * gains.sum()).all()


def test_a_detour_exchanges_the_mode_of_smaller_gain():
    lam, omega = [0.5, 0.3, 0.2], [0.3, 1.2, 0.8]
    path = analytic.saddle_path(lam, 20, task_eigenvalues=omega, noise=0.5)
    assert path.astype(int).tolist() == [[0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]]
    index = analytic.stability_index(path, lam, 20, task_eigenvalues=omega, noise=0.5)
    assert index.tolist() == [0, 0, 1, 0, 0]


def test_every_step_is_the_fastest_way_out():
    """An exchange has the lowest eigenvalue of any; where none is negative, the growth decides."""
    rng = np.random.default_rng(6)
    contested = 0
    for _ in range(120):
        lam, omega = rng.uniform(0.1, 1, (2, 5))
        keywords = {"task_eigenvalues": omega, "noise": 0.7}
        growth = analytic.mode_growth(lam, task_eigenvalues=omega)
        path = analytic.saddle_path(lam, 6, **keywords)
        for before, after in itertools.pairwise(path):
            lowest = {
                (old, new): analytic.rotation_eigenvalues(old, new, lam, 6, **keywords)[0]
                for old in np.flatnonzero(before) for new in np.flatnonzero(~before)
            }  # fmt: skip
            lost, won = np.flatnonzero(before & ~after), np.flatnonzero(after & ~before)
            if lost.size:
                assert lowest[lost[0], won[0]] == min(lowest.values()) < 0
                contested += sum(value < 0 for value in lowest.values()) > 1
            else:
                # 64 roundings of a gain count as none.
                assert all(value > -1e-12 for value in lowest.values())
                assert growth[won[0]] == growth[~before].max()
    assert contested > 10


def test_without_noise_unless_it_is_given():
    rng = np.random.default_rng(6)
    told_apart = 0
    for _ in range(120):
        lam, omega = rng.uniform(0.1, 1, (2, 5))
        plain = analytic.saddle_path(lam, 6, task_eigenvalues=omega).tolist()
        assert plain == analytic.saddle_path(lam, 6, task_eigenvalues=omega, noise=0).tolist()
        noisy = analytic.saddle_path(lam, 6, task_eigenvalues=omega, noise=1)
        told_apart += plain != noisy.tolist()
    assert told_apart


def test_fractions_have_the_path_of_floats():
    lam = [Fraction(1, 2), Fraction(3, 10), Fraction(1, 5)]
    omega = [Fraction(3, 10), Fraction(6, 5), Fraction(4, 5)]
    exact = analytic.saddle_path(lam, 20, task_eigenvalues=omega, noise=Fraction(1, 2))
    plain = analytic.saddle_path(
        [*map(float, lam)], 20, task_eigenvalues=[*map(float, omega)], noise=0.5
    )
    assert exact.tolist() == plain.tolist()


def test_modes_without_signal_are_not_learned():
    path = analytic.saddle_path([2.0, 1.0], 31, task_eigenvalues=[0.0, 1.0])
    assert path.astype(int).tolist() == [[0, 0], [0, 1]]


def test_more_than_one_spectrum_is_refused():
    with pytest.raises(ValueError, match="eigenvalues"):
        analytic.saddle_path(np.ones((2, 3)), 31)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_of_a_degenerate_spectrum_is_no_instability(seed, dtype):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0].astype(dtype)
    eigenvalues = np.linalg.eigvalsh(dtype(0.3) * basis @ basis.T)
    assert eigenvalues.dtype == dtype
    subsets = analytic.fixed_point_subsets(6)
    assert not analytic.stability_index(subsets, eigenvalues, 31).any()
    assert len(analytic.saddle_path(eigenvalues, 31)) == 7


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.vectorize(mpmath.mpf, otypes="O")])
def test_gains_equal_but_for_rounding_make_no_detour(kind):
    # The gain depends on λω alone, which is 1 here, and the growth on λ.
    eigenvalues = kind(np.random.default_rng(3).uniform(0.1, 3, 12))
    with mpmath.workdps(50):
        path = analytic.saddle_path(eigenvalues, 31, task_eigenvalues=1 / eigenvalues)
    assert path.sum(axis=1).tolist() == list(range(13))
    assert [int(np.argmax(step)) for step in path[1:] & ~path[:-1]] == np.argsort(
        -eigenvalues
    ).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gains_within_64_eps_are_equal(dtype):
    eps = np.finfo(dtype).eps
    chosen = np.array([True, False])
    for number, count in ((63, 0), (64, 0), (64.5, 1), (66, 1)):
        gain = np.array([1 - dtype(number) * eps, 1], dtype=dtype)
        assert np.count_nonzero(unstable_pairs(chosen, gain)) == count


def test_exact_gains_are_compared_exactly():
    subset, one = [True, False], Fraction(1)
    for above, index in ((one, 0), (one + Fraction(1, 10**30), 1), (one - Fraction(1, 10**30), 0)):
        assert analytic.stability_index(subset, [one, above], 31) == index


def test_equal_growth_keeps_the_order_of_the_modes():
    lam = 2.0 ** (np.arange(60) % 3)
    for eigenvalues in (lam, np.stack([lam, lam[::-1]])):
        order = analytic.visit_order(eigenvalues)
        for row, own in zip(np.atleast_2d(order), np.atleast_2d(eigenvalues), strict=True):
            assert row.tolist() == sorted(range(60), key=lambda d: -own[d])


@pytest.mark.parametrize("number", [float, Fraction])
def test_a_learned_mode_needs_a_signal(number):
    lam, omega = [number(2), number(1)], [number(0), number(1)]
    with pytest.raises(ValueError, match="learned must be a mode with"):
        analytic.rotation_eigenvalues(0, 1, lam, 31, task_eigenvalues=omega)

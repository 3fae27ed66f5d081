"""The stability index against a Hessian built here from the loss alone."""

import itertools
import math

import numpy as np
import pytest

import analytic

LAM = np.array([1.7, 1.1, 0.6])
# Against the order of λ, so that some visited points rotate towards a more valuable mode.
OMEGA = np.array([0.3, 0.8, 2.9])
N, SIGMA = 12.0, 0.4


def second_moment():
    trace = LAM @ OMEGA + SIGMA**2
    return np.diag((1 + 1 / N) * LAM**2 * OMEGA + trace * LAM / N)


def loss(weights, heads):
    size = LAM.size
    v = weights[:heads]
    k = weights[heads : heads * (1 + size)].reshape(heads, size)
    q = weights[heads * (1 + size) :].reshape(heads, size)
    m = (v[:, None] * k).T @ q
    lam, s = np.diag(LAM), second_moment()
    growth = lam @ np.diag(OMEGA) @ lam
    return LAM @ OMEGA - 2 * np.trace(m.T @ growth) + np.trace(m.T @ s @ m @ lam)


def hessian(function, point, step=1e-3):
    # Along any two coordinates the loss is a polynomial of degree 2 in each weight, so central
    # second differences are exact up to rounding, about eps/step² = 1e-10.
    size = point.size
    unit = step * np.eye(size)
    out = np.empty((size, size))
    for i, j in itertools.product(range(size), repeat=2):
        signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        out[i, j] = sum(a * b * function(point + a * unit[i] + b * unit[j]) for a, b in signs)
    return out / (4 * step**2)


def point_of(mask, heads):
    v, k, q = analytic.ansatz_weights(
        mask, LAM, N, heads=heads, task_eigenvalues=OMEGA, noise=SIGMA
    )
    return np.concatenate([v, k.ravel(), q.ravel()])


@pytest.mark.parametrize("mask", analytic.fixed_point_subsets(3))
@pytest.mark.parametrize("extra", [0, 1])
def test_index_counts_negative_eigenvalues(mask, extra):
    heads = 3 + extra
    values = np.linalg.eigvalsh(hessian(lambda w: loss(w, heads), point_of(mask, heads)))
    index = analytic.stability_index(mask, LAM, N, task_eigenvalues=OMEGA, noise=SIGMA)
    # Rounding leaves about 1e-9; the nearest non-zero eigenvalue here is above 1e-3.
    assert np.sum(values < -1e-6) == index
    assert not np.any((np.abs(values) > 1e-6) & (np.abs(values) < 1e-3))


def test_some_indices_are_not_zero():
    subsets = analytic.fixed_point_subsets(3)
    index = analytic.stability_index(subsets, LAM, N, task_eigenvalues=OMEGA, noise=SIGMA)
    assert sorted(set(index.tolist()))[-1] == 2
    assert index[0] == 0
    assert index[-1] == 0


@pytest.mark.parametrize("mask", analytic.fixed_point_subsets(3)[1:-1])
def test_rotation_eigenvalues_are_hessian_eigenvalues(mask):
    values = np.linalg.eigvalsh(hessian(lambda w: loss(w, 3), point_of(mask, 3)))
    keywords = {"task_eigenvalues": OMEGA, "noise": SIGMA}
    negative = []
    for i, d in itertools.product(np.flatnonzero(mask), np.flatnonzero(~mask)):
        pair = analytic.rotation_eigenvalues(int(i), int(d), LAM, N, **keywords)
        for value in pair:
            assert np.min(np.abs(values - value)) < 1e-7
        negative += [value for value in pair if value < 0]
    np.testing.assert_allclose(sorted(negative), values[: len(negative)], atol=1e-7)
    assert np.all(values[len(negative) :] > -1e-7)


def test_gradient_vanishes_at_all_fixed_points():
    step = 1e-4
    for mask in analytic.fixed_point_subsets(3):
        point = point_of(mask, 3)
        unit = step * np.eye(point.size)
        gradient = [(loss(point + e, 3) - loss(point - e, 3)) / (2 * step) for e in unit]
        # Quadratic in each weight: exact up to eps/step.
        assert np.max(np.abs(gradient)) < 1e-10
        expected = analytic.fixed_point_loss(mask, LAM, N, task_eigenvalues=OMEGA, noise=SIGMA)
        assert loss(point, 3) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("heads", [1, 3])
def test_merged_zero_index(heads):
    growth = np.diag(LAM**2 * OMEGA)

    def merged_loss(weights):
        v, u = weights[:heads], weights[heads:].reshape(heads, 3, 3)
        m = np.tensordot(v, u, axes=1)
        fit = np.trace(m.T @ second_moment() @ m @ np.diag(LAM))
        return LAM @ OMEGA - 2 * np.trace(m.T @ growth) + fit

    values = np.linalg.eigvalsh(hessian(merged_loss, np.zeros(10 * heads)))
    assert np.sum(values < -1e-6) == analytic.merged_zero_index(heads)
    rate = analytic.escape_rate(LAM, task_eigenvalues=OMEGA)
    assert values[0] == pytest.approx(-2 * rate, rel=1e-7)


def test_rotated_ansatz_is_a_fixed_point_of_the_rotated_problem():
    basis, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    v, k, q = analytic.ansatz_weights([True, False, True], LAM, N, heads=4, eigenvectors=basis)
    m = (v[:, None] * k).T @ q
    expected = analytic.fixed_point_coefficients([True, False, True], LAM, N)
    np.testing.assert_allclose(m, basis @ np.diag(expected) @ basis.T, atol=1e-15)
    norm = np.sum(v**2) + np.sum(k**2) + np.sum(q**2)
    assert norm == pytest.approx(analytic.least_norm([True, False, True], LAM, N), rel=1e-14)
    assert math.isclose(v[2], 0.0, abs_tol=0.0)

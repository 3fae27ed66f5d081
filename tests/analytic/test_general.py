"""Non-commuting moments, in-context predictions and conversion of foreign runs."""

import math

import numpy as np
import pytest

import analytic

EPS = np.finfo(float).eps


def problem(seed, size=4, length=9.0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, size, size))
    cov = a @ a.T / size + 0.5 * np.eye(size)
    task = b @ b.T / size + 0.3 * np.eye(size)
    second = analytic.feature_second_moment(cov, length, task_covariance=task, noise=0.4)
    return cov, task, second


def gradient(m, cov, task, second):
    return cov @ task @ cov - second @ m @ cov


@pytest.mark.parametrize("seed", range(3))
def test_every_subset_of_general_modes_is_a_fixed_point(seed):
    cov, task, second = problem(seed)
    modes = analytic.general_modes(cov, second, task_covariance=task)
    for mask in analytic.fixed_point_subsets(4):
        m = modes.matrices[mask].sum(axis=0)
        g = gradient(m, cov, task, second)
        # v̇ = kᵀGq, k̇ = v G q, q̇ = v Gᵀk of each learned head, [L] Eq. 14.
        for matrix in modes.matrices[mask]:
            u, s, vt = np.linalg.svd(matrix)
            assert s[1] < 1e-13 * s[0]
            assert np.max(np.abs(g @ vt[0])) < 1e-12
            assert np.max(np.abs(g.T @ u[:, 0])) < 1e-12
        loss = analytic.population_loss(m, cov, second, task_covariance=task)
        expected = np.trace(task @ cov) - modes.gains[mask].sum()
        assert loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_general_plateaus_end_at_the_global_minimum(seed):
    cov, task, second = problem(seed)
    losses = analytic.general_plateau_losses(cov, second, task_covariance=task)
    modes = analytic.general_modes(cov, second, task_covariance=task)
    assert losses[0] == pytest.approx(np.trace(task @ cov), rel=1e-13)
    least = analytic.minimum_loss(cov, second, task_covariance=task)
    assert losses[-1] == pytest.approx(least, rel=1e-13)
    np.testing.assert_allclose(
        modes.matrices.sum(axis=0),
        analytic.optimal_weights(cov, second, task_covariance=task),
        atol=1e-13,
    )
    assert np.all(np.diff(modes.growth) <= 0)


@pytest.mark.parametrize("seed", range(3))
def test_growth_is_that_of_an_aligned_small_head(seed):
    cov, task, second = problem(seed)
    modes = analytic.general_modes(cov, second, task_covariance=task)
    for matrix, growth in zip(modes.matrices, modes.growth, strict=True):
        u, _, vt = np.linalg.svd(matrix)
        assert u[:, 0] @ cov @ task @ cov @ vt[0] == pytest.approx(growth, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_general_modes_reduce_to_the_spectral_forms(seed):
    rng = np.random.default_rng(seed)
    lam, omega = rng.uniform(0.3, 3, (2, 4))
    basis, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    cov, task = (basis * lam) @ basis.T, (basis * omega) @ basis.T
    second = analytic.feature_second_moment(cov, 9.0, task_covariance=task, noise=0.4)
    keywords = {"task_eigenvalues": omega, "noise": 0.4}
    modes = analytic.general_modes(cov, second, task_covariance=task)
    order = analytic.visit_order(lam, task_eigenvalues=omega)
    np.testing.assert_allclose(modes.gains, analytic.mode_gains(lam, 9, **keywords)[order], 1e-12)
    np.testing.assert_allclose(modes.growth, (lam**2 * omega)[order], 1e-12)
    np.testing.assert_allclose(
        analytic.general_plateau_losses(cov, second, task_covariance=task),
        analytic.plateau_losses(lam, 9, **keywords),
        rtol=1e-12,
    )
    beta, query = rng.normal(size=(2, 5, 4))
    for m in range(5):
        weights = analytic.in_context_weights(m, lam, basis, 9, **keywords)
        np.testing.assert_allclose(
            analytic.principal_component_prediction(
                m, beta, query, cov, 9, task_covariance=task, noise=0.4
            ),
            analytic.predict(weights, beta, query),
            atol=1e-12,
        )


def test_modes_show_their_number_and_ends():
    modes = analytic.general_modes(np.diag([1.0, 2.0, 0.5]), np.diag([2.0, 8.0, 4.0]))
    # Along the axes the gains are λ³/s and the growth is λ².
    assert repr(modes) == "GeneralModes(3 modes, gains 1 … 0.03125, growth 4 … 0.25)"


def test_principal_component_regression_of_a_long_context():
    rng = np.random.default_rng(7)
    basis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    lam = np.array([2.5, 1.2, 0.4])
    cov = (basis * lam) @ basis.T
    w, query = rng.normal(size=(2, 3))
    for m in range(4):
        top = basis[:, :m]
        got = analytic.principal_component_prediction(m, cov @ w, query, cov, math.inf)
        # β → Λw, so ŷ = wᵀ Σ_{d≤m} e_d e_dᵀ x_q, [L] Eq. 22.
        assert got == pytest.approx(w @ top @ top.T @ query, abs=1e-14)


@pytest.mark.parametrize("length", [1.5, 31.0, math.inf])
def test_converged_prediction_is_the_papers(length):
    cov, _, _ = problem(2)
    rng = np.random.default_rng(8)
    beta, query = rng.normal(size=(2, 6, 4))
    kernel = cov + (cov + np.trace(cov) * np.eye(4)) / length  # [L] Eq. 11
    expected = np.sum(beta * np.linalg.solve(kernel, query.T).T, axis=-1)
    got = analytic.converged_prediction(beta, query, cov, length)
    np.testing.assert_allclose(got, expected, rtol=1e-11)
    assert analytic.converged_prediction(beta[0], query[0], cov, length) == pytest.approx(got[0])


def test_converged_prediction_is_all_components():
    cov, task, _ = problem(3)
    beta, query = np.random.default_rng(9).normal(size=(2, 4))
    keywords = {"task_covariance": task, "noise": 0.4}
    full = analytic.principal_component_prediction(4, beta, query, cov, 9.0, **keywords)
    assert full == pytest.approx(
        analytic.converged_prediction(beta, query, cov, 9.0, **keywords), rel=1e-11
    )


@pytest.mark.parametrize("factors", [2, 3])
@pytest.mark.parametrize(("loss_factor", "scale"), [(0.5, 31.0), (2.0, 0.25), (0.5, 7.5)])
def test_a_foreign_run_is_ours_after_conversion(factors, loss_factor, scale):
    # y = c Π w on a scalar problem with target 1.3: plain gradient descent in their units.
    run = analytic.Convention(loss_factor=loss_factor, context_scale=scale, factors=factors)
    rate, steps, target = 1e-3 / scale, 40, 1.3
    theirs = np.linspace(0.3, 0.5, factors) / run.weights(1.0)
    ours = run.weights(theirs)
    dt = run.flow_time(1, rate)
    for _ in range(steps):
        error = scale * np.prod(theirs) - target
        reported = loss_factor * error**2
        theirs = theirs - rate * loss_factor * 2 * error * scale * np.prod(theirs) / theirs
        gap = np.prod(ours) - target
        assert run.loss(reported) == pytest.approx(gap**2, rel=1e-12)
        # Our flow τ dW/dt = −½ ∂L/∂W by Euler steps of the converted length.
        ours = ours - dt * gap * np.prod(ours) / ours
    np.testing.assert_allclose(run.weights(theirs), ours, rtol=1e-12)
    assert run.steps(run.flow_time(steps, rate), rate) == pytest.approx(steps, rel=4 * EPS)

"""The least spectral loss of several heads: its derivatives, and free searches over all weights."""

import mpmath
import numpy as np
import pytest
from scipy.optimize import minimize

from numerics import MultiTask
from numerics.softmax.decomposable import SpectralAttention
from numerics.softmax.heads import _curve, _Problem, optimal_heads
from numerics.softmax.spectral import SpectralSystem
from tests.numerics.support import assert_same, state

TASK = MultiTask((3, 2), [1.0, 0.7], 20, noise=0.3)


def problem_at(heads, seed=0):
    """The reduced problem, and a direction of unit length."""
    U = state(heads * 5, seed).reshape(heads, 5)
    return _Problem(TASK, heads), U / np.linalg.norm(U)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("scale", [1e-2, 0.7, 2.0])
def test_the_reduced_loss_is_that_of_its_weights_and_least_in_mu(heads, scale):
    problem, U = problem_at(heads)
    mu = problem.values(scale, U)
    system = SpectralSystem(SpectralAttention((3, 2), heads, 1), TASK)
    loss = problem.evaluate(scale, U)[0]
    # μ is of order 1/ε, and ℓ of its square before terms cancel.
    allowed = 1e-13 * (1 + np.abs(mu).max() ** 2)
    assert abs(system.task_losses(scale * U, mu).sum() - loss) < allowed
    assert np.abs(system.combined_velocity(scale * U, mu)[1]).max() < allowed


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("scale", [-0.6, 0.0, 1e-3, 0.7, 2.0])
def test_derivatives_of_the_reduced_loss(heads, scale):
    problem, U = problem_at(heads)
    h, E = 1e-3, state(U.size, 1).reshape(U.shape)
    _, by_scale, by_U = problem.evaluate(scale, U)

    def slope(values):  # of order h⁴
        return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * h)

    near = [0, 1, 2, -2, -1]  # as indices
    # Fifth derivatives of some hundred, and rounding over h.
    assert slope([problem.evaluate(scale + k * h, U)[0] for k in near]) == pytest.approx(
        by_scale, abs=1e-8)  # fmt: skip
    assert slope([problem.evaluate(scale, U + k * h * E)[0] for k in near]) == pytest.approx(
        np.vdot(by_U, E), abs=1e-8)  # fmt: skip
    x, step = np.append(scale, 3 * U.ravel()), state(U.size + 1, 2)
    assert slope([problem.objective(x + k * h * step)[0] for k in near]) == pytest.approx(
        problem.objective(x)[1] @ step, abs=1e-8)  # fmt: skip
    assert problem.objective(x)[0] == pytest.approx(problem.evaluate(scale, U)[0], rel=1e-13)
    size, direction = problem.split(x)
    assert size == abs(scale)
    assert_same(direction, U)


def test_an_overflow_sends_a_line_search_back():
    problem, U = problem_at(2)
    loss, gradient = problem.objective(np.append(1e3, U.ravel()))
    assert loss > 1e200
    assert gradient.tolist() == [0.0] * 11


def test_the_kernels_curvature_near_and_far():
    mpmath.mp.dps = 40
    x = np.array([0.0, 1e-12, -1e-6, 9e-4, -9e-4, 1.1e-3, -1.1e-3, 0.3, 5.0, -8.0])
    exact = [
        0.5,
        *(float((y * mpmath.exp(y) - mpmath.expm1(y)) / y**2) for y in map(mpmath.mpf, x[1:])),
    ]
    # Near 0 the series leaves x⁴/144; beyond, differences of order x² lose ε/x² of their digits.
    assert np.allclose(_curve(x), exact, rtol=1e-9, atol=0)
    assert np.allclose(_curve(x[:5]), exact[:5], rtol=2e-14, atol=0)


def free_search(task, heads, seed):
    """Minimum over ω and μ both, without any elimination."""
    model = SpectralAttention(task.block_dims, heads, 1)
    system = SpectralSystem(model, task)
    shape = (heads, model.dimension)

    def objective(x):
        omega, mu = x[: heads * model.dimension].reshape(shape), x[heads * model.dimension :]
        mu = mu.reshape(heads, -1)
        by_omega, by_mu = system.combined_velocity(omega, mu)
        loss = float(system.task_losses(omega, mu).sum())
        return loss, -2 * np.concatenate([by_omega.ravel(), by_mu.ravel()])

    start = np.random.default_rng(seed).uniform(0, 1, heads * (model.dimension + model.tasks))
    options = {"maxiter": 3000, "gtol": 1e-10, "ftol": 1e-15}
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun


def test_one_head_is_found_as_by_a_free_search():
    found = optimal_heads((3, 2), [1.0, 0.7], 20, heads=1, noise=0.3, rng=0)
    free = min(free_search(MultiTask((3, 2), [1.0, 0.7], 20, noise=0.3), 1, s) for s in range(6))
    assert found.loss == pytest.approx(free, rel=1e-9)
    assert found.attained
    assert found.scale == pytest.approx(1.0, abs=1e-5)  # ‖ω‖ = 1
    assert found.gradient_norm < 1e-5


def test_several_heads_reach_less_than_any_free_search_and_only_in_the_limit():
    task = MultiTask((3, 2), [1.0, 0.7], 20, noise=0.3)
    found = optimal_heads((3, 2), [1.0, 0.7], 20, heads=2, noise=0.3, rng=0)
    assert not found.attained
    free = min(free_search(task, 2, s) for s in range(6))
    assert found.loss < free < 1.02 * found.loss
    system = SpectralSystem(SpectralAttention((3, 2), 2, 1), task)
    gaps = []
    for scale in (1e-1, 1e-2, 1e-3):
        omega, mu = found.weights(scale)
        assert np.linalg.norm(omega) == pytest.approx(scale)
        gaps.append(float(system.task_losses(omega, mu).sum()) - found.loss)
    # The loss is even in the scale: each tenth of it takes at least a hundredth of the gap.
    assert 0 < gaps[1] < 0.011 * gaps[0]
    with pytest.raises(ValueError, match="scale must be > 0"):
        found.weights()


def test_heads_beyond_one_per_entry_and_one_stay_idle():
    few, many = (optimal_heads((1, 1), 1.0, 5, heads=heads, rng=0) for heads in (3, 6))
    assert many.loss == pytest.approx(few.loss, rel=1e-9)
    omega, mu = many.weights(0.1)
    assert (omega.shape, mu.shape) == ((6, 2), (6, 2))
    assert not omega[3:].any()
    assert not mu[3:].any()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: optimal_heads((2,), 1.0, 5, heads=0), "heads must be >= 1"),
        (lambda: optimal_heads((2,), 1.0, 5, heads=1, starts=0), "starts must be >= 1"),
        (lambda: optimal_heads((2,), -1.0, 5, heads=1), "signal must be > 0"),
    ],
)
def test_bad_input_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()

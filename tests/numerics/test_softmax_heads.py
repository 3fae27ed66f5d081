"""The least spectral loss of several heads against free searches over all weights."""

import numpy as np
import pytest
from scipy.optimize import minimize

from numerics import MultiTask
from numerics.softmax.decomposable import SpectralAttention
from numerics.softmax.heads import optimal_heads
from numerics.softmax.spectral import SpectralSystem


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

"""The spectral flow of softmax heads: derivatives, invariants, stability, reductions, optima."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from numerics import MultiTask, MultiTaskLayer, stability
from numerics.softmax.decomposable import SpectralAttention
from numerics.softmax.heads import optimal_heads
from numerics.softmax.reduced import ReducedHead
from numerics.softmax.saddle import balanced_directions, balanced_stability, unbalanced
from numerics.softmax.spectral import PAPER_TAU, SpectralSystem, spectral_flow
from tests.numerics.support import (
    EPS,
    assert_same,
    complex_directional,
    complex_gradient,
    state,
)

CASES = {
    "two tasks": (2, (2, 3), 4, MultiTask((2, 3), [0.7, 1.3], 7, noise=0.5)),
    "one head": (1, (3, 1), 2, MultiTask((3, 1), 1.0, 5)),
    "one task": (3, (2,), 9, MultiTask((2,), 2.0, 4, noise=0.1)),
    "idle heads": (4, (1, 2), 1, MultiTask((1, 2), 0.5, 11)),
}


def system_of(name):
    heads, dims, embedding, task = CASES[name]
    return SpectralSystem(SpectralAttention(dims, heads, embedding), task)


def slow_loss(system, theta):
    """The loss of the module's formula, one term at a time."""
    model, task = system.model, system.task
    o, v, k, q = model.unpack(theta)
    omega, mu = k * q / math.sqrt(model.embedding_dim), o * v
    total = 0.0
    for i, block in enumerate(task.blocks):
        lam, d = task.signal[i], task.block_dims[i]
        total += lam * d
        for j in range(block.start, block.stop):
            gain = sum(mu[h, i] * omega[h, j] for h in range(model.heads))
            total += lam * (gain**2 - 2 * gain)
        phi = 1 + task.noise**2 / (lam * d)
        for g, h in itertools.product(range(model.heads), repeat=2):
            inner = sum(omega[g, j] * omega[h, j] for j in range(model.dimension))
            total += lam * d * phi / task.context_length * mu[g, i] * mu[h, i] * np.exp(inner)
    return total


@pytest.mark.parametrize("name", CASES)
def test_loss_is_that_of_explicit_loops(name):
    system = system_of(name)
    states = np.array([state(system.size, seed, 0.8) for seed in range(3)])
    assert_same(system.loss(states), np.array([slow_loss(system, theta) for theta in states]))
    shares = system.task_losses(*system.model.combined(states))
    assert_same(shares.sum(axis=-1), system.loss(states))


@pytest.mark.parametrize("name", CASES)
def test_velocity_and_jacobian_are_derivatives(name):
    system = system_of(name)
    theta = state(system.size, 1, 0.8)
    assert_same(system.velocity(theta), -0.5 * complex_gradient(system.loss, theta))
    columns = [complex_directional(system.velocity, theta, e) for e in np.eye(system.size)]
    assert_same(system.jacobian(theta), np.array(columns).T)
    direction = state(system.size, 2)
    assert_same(
        system.jvp(theta, direction), complex_directional(system.velocity, theta, direction)
    )


@pytest.mark.parametrize("name", CASES)
def test_the_flow_conserves_its_invariants_pointwise(name):
    system = system_of(name)
    theta = state(system.size, 3)
    rate = complex_directional(system.invariants, theta, system.velocity(theta))
    # Each is 2(o v − v o) times one derivative, of the size of the velocity times the weights.
    assert np.abs(rate).max() <= 8 * EPS * np.abs(system.velocity(theta)).max() * 3


@pytest.mark.parametrize("method", ["LSODA", "BDF", "DOP853"])
def test_flow_keeps_its_error_bars(method):
    system = system_of("two tasks")
    run = spectral_flow(system, np.abs(state(system.size, 4)), 20.0, method=method)
    assert run.status == "finished"
    # rtol is 1e-8 a step; some hundred steps on weights and a loss of order one.
    assert run.invariant_drift.max() < 1e-6
    assert np.abs(run.energy_gap).max() < 1e-5
    assert run.loss[-1] < run.loss[0]


def test_time_is_that_of_the_paper():
    """dθ/dt = −∂ℓ/∂θ: the first moments of the flow move by −t ∂ℓ/∂θ."""
    system = system_of("two tasks")
    theta = state(system.size, 5)
    t = 1e-6
    run = spectral_flow(system, theta, t, times=[t], rtol=1e-12, atol=1e-15)
    gradient = complex_gradient(system.loss, theta)
    # The next term is t²/2 times the Jacobian (below 1e3) times the velocity.
    assert np.abs((run.states[-1] - theta) / t + gradient).max() < 1e3 * t * np.abs(gradient).max()
    assert PAPER_TAU == 0.5


def test_combined_rates_are_those_of_the_paper():
    """μ̇ = −(o² + v²) ∂ℓ/∂μ and ω̇ = −((k² + q²)/d_e) ∂ℓ/∂ω."""
    system = system_of("two tasks")
    model = system.model
    theta = state(system.size, 6)
    o, v, k, q = model.unpack(theta)
    by_omega, by_mu = system.combined_velocity(*model.combined(theta))
    d_omega, d_mu = (
        np.imag(part) / 1e-40
        for part in model.combined(theta + 2e-40j * system.velocity(theta))  # at τ = 1/2
    )
    assert_same(d_mu, (o**2 + v**2) * 2 * by_mu)
    assert_same(d_omega, (k**2 + q**2) / model.embedding_dim * 2 * by_omega)


def test_an_overflowing_flow_keeps_what_it_has():
    system = system_of("one head")
    huge = system.model.balanced(np.full((1, 4), 20.0), np.ones((1, 2)))
    run = spectral_flow(system, huge, 1.0)
    assert "overflow" in run.status
    assert np.isfinite(run.states).all()
    assert run.t.tolist() == [0.0]


def test_whole_layer_reads_the_same_weights():
    model = SpectralAttention((2, 2), 3, 5)
    layer = MultiTaskLayer(dimension=4, outputs=2, heads=3, embedding_dim=5)
    theta = state(model.size, 7)
    omega, mu = layer.spectral(layer.embed(*model.unpack(theta)))
    assert_same(omega, model.combined(theta)[0])
    assert_same(mu, model.combined(theta)[1])
    states = np.array([theta, 2 * theta])
    assert_same(model.combined(states)[0][1], 4 * omega)


def test_balanced_weights_and_block_means():
    model = SpectralAttention((2, 1), 2, 3)
    omega = np.array([[1.0, -2.0, 0.0], [0.5, 0.25, -3.0]])
    mu = np.array([[-1.0, 0.0], [2.0, 3.0]])
    theta = model.balanced(omega, mu)
    got = model.combined(theta)
    assert_same(got[0], omega)
    assert_same(got[1], mu)
    o, v, k, q = model.unpack(theta)
    assert (np.abs(o) == np.abs(v)).all()
    assert (np.abs(k) == np.abs(q)).all()
    assert model.block_means(omega).tolist() == [[-0.5, 0.0], [0.375, -3.0]]


def test_leaders_lead():
    model = SpectralAttention((1, 1), 3, 1)
    mu = model.combined(model.leading_weights(0.1, 0.0, 2.0, leaders=[2, 0]))[1]
    assert mu.round(12).tolist() == [[0, 2], [0, 0], [2, 0]]


def zero_pairs(heads=3):
    """Heads on their tasks, at the stationary point of on-task weights; off-task pairs zero."""
    task = MultiTask((2, 2), [1.0, 0.6], 10, noise=0.4)
    model = SpectralAttention(task.block_dims, heads, 3)
    omega, mu = np.zeros((heads, 4)), np.zeros((heads, 2))
    for i, block in enumerate(task.blocks):
        c = 2 * task.noise_factor[i] / 10
        omega[i, block] = math.sqrt(0.5)
        mu[i, i] = math.sqrt(2) / (1 + math.e * c)
    return SpectralSystem(model, task), model.balanced(omega, mu)


def test_stability_on_and_off_the_balanced_manifold():
    system, theta = zero_pairs()
    full, inside = stability(system, theta), balanced_stability(system, theta)
    assert full.gradient_norm < 100 * EPS
    assert (full.index, inside.index) == (4, 0)
    o, v, _, _ = system.model.unpack(full.directions[:, 0])
    assert np.abs(o + v).max() < 1e-12  # leaves along o = −v
    along = balanced_directions(system, theta)
    assert_same(along.T @ along, np.eye(system.size // 2))
    # The manifold is kept: the velocity there has no other part.
    nearby = system.model.balanced(*(part + 0.1 for part in system.model.combined(theta)))
    velocity, along = system.velocity(nearby), balanced_directions(system, nearby)
    assert_same(along @ (along.T @ velocity), velocity)


def test_imbalance_keeps_omega_and_mu_and_moves_the_invariant():
    system, _ = zero_pairs()
    theta = system.model.leading_weights(0.1, 0.5, 1.0)
    moved = unbalanced(system, theta, 0.3)
    for before, after in zip(
        system.model.combined(theta), system.model.combined(moved), strict=True
    ):
        assert_same(before, after)
    assert system.invariants(moved)[0] == pytest.approx(2 * math.sinh(0.6))  # μ(e^{2δ} − e^{−2δ})


def test_reduced_flow_is_the_flow_of_one_head():
    head = ReducedHead(4, signal=0.8, context_length=50, embedding_dim=9, noise=0.6)
    system = SpectralSystem(SpectralAttention((4,), 1, 9), MultiTask((4,), 0.8, 50, noise=0.6))
    t = np.linspace(0, 30, 31)
    full = spectral_flow(
        system, system.model.balanced(np.full((1, 4), 0.05), [[0.7]]), 30.0, times=t, rtol=1e-10
    )
    run = head.flow(0.05, 0.7, 30.0, times=t)
    omega, mu = system.model.combined(full.states)
    # rtol 1e-10 over a growth from 0.05 to 0.5, with room for some hundred steps.
    assert np.abs(omega[:, 0, 2] - run.omega).max() < 1e-6
    assert np.abs(mu[:, 0, 0] - run.mu).max() < 1e-6
    assert np.abs(full.loss - run.loss).max() < 1e-6


def test_emergence_is_the_velocity_on_the_slow_manifold():
    head, omega = ReducedHead(4, 0.8, 50, 9, noise=0.6), np.linspace(0.05, 0.6, 9)
    d_omega, d_mu = head.velocity(omega, head.equilibrium(omega))
    assert_same(d_omega, head.emergence_rate(omega))
    assert np.abs(d_mu).max() < 100 * EPS
    run = head.emergence(0.05, 500.0)
    assert run.status == "finished"
    assert run.omega[-1] == pytest.approx(0.5, abs=1e-8)


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
        (lambda: SpectralAttention((2,), 0, 1), "heads must be >= 1"),
        (lambda: SpectralAttention((), 1, 1), "block_dims must name at least one task"),
        (lambda: SpectralAttention((2, 0), 1, 1), "each of block_dims must be >= 1"),
        (lambda: SpectralAttention((2,), 1, 0), "embedding_dim must be >= 1"),
        (lambda: SpectralAttention((2, 2), 1, 1).leading_weights(0.1, 0.1, 1.0), "heads must be"),
        (lambda: SpectralAttention((2,), 2, 1).leading_weights(0.1, 1.0, 1.0), "leading must be"),
        (
            lambda: SpectralAttention((2, 1), 2, 1).leading_weights(0.1, 0, 1, leaders=[1, 1]),
            "different heads",
        ),
        (lambda: SpectralAttention((2,), 1, 1).balanced([[1.0]], [[1.0]]), "omega must have"),
        (
            lambda: SpectralSystem(SpectralAttention((2,), 1, 1), MultiTask((3,), 1.0, 4)),
            "block_dims",
        ),
        (lambda: spectral_flow(system_of("one head"), np.ones(3), 1.0), "length of initial"),
        (lambda: balanced_stability(system_of("one head"), state(20)), "length of theta"),
        (lambda: balanced_stability(system_of("one head"), state(12)), "theta must be balanced"),
        (lambda: ReducedHead(0, 1.0, 1, 1), "block_dim must be >= 1"),
        (lambda: ReducedHead(1, 0.0, 1, 1), "signal must be > 0"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(-0.1, 1, 1), "omega must be >= 0"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(0.1, 1, 1, times=[0, 2]), "times must increase"),
        (lambda: optimal_heads((2,), 1.0, 5, heads=0), "heads must be >= 1"),
        (lambda: optimal_heads((2,), 1.0, 5, heads=1, starts=0), "starts must be >= 1"),
        (lambda: optimal_heads((2,), -1.0, 5, heads=1), "signal must be > 0"),
    ],
)
def test_bad_input_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_blocks_that_are_no_sequence_are_refused():
    with pytest.raises(TypeError, match="block_dims must be a sequence"):
        SpectralAttention(3, 1, 1)

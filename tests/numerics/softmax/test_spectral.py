"""The spectral flow of softmax heads: derivatives, invariants, stability, balance."""

import itertools
import math

import numpy as np
import pytest

from numerics import MultiTask, MultiTaskLayer, stability
from numerics.softmax.decomposable import SpectralAttention
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


def test_third_derivatives_commute():
    """The Jacobian takes complex weights too, and its derivative is symmetric in directions."""
    system = system_of("two tasks")
    theta, e, f = (state(system.size, seed) for seed in (9, 10, 11))
    assert_same(complex_directional(lambda x: system.jvp(x, f), theta, e),
                complex_directional(lambda x: system.jvp(x, e), theta, f))  # fmt: skip


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


def test_options_of_a_flow_are_passed_on():
    system = system_of("two tasks")
    start = np.abs(state(system.size, 4))
    wanted = 0.9 * float(system.loss(start))
    run = spectral_flow(system, start, 100.0, until_loss=wanted)
    assert run.t[-1] < 100.0
    assert run.loss[-1] == pytest.approx(wanted, rel=1e-6)
    assert run.unit == "dθ/dt = −∂ℓ/∂θ"
    for name, value in (("method", "none"), ("rtol", -1.0), ("atol", -1.0)):
        with pytest.raises(ValueError, match=name):
            spectral_flow(system, start, 1.0, **{name: value})


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
    means = [[-0.5, 0.0], [0.375, -3.0]]
    assert model.block_means(omega).tolist() == means
    assert_same(model.block_means(np.stack([omega, 2 * omega]))[1], 2 * np.array(means))
    assert SpectralAttention([2, 1], 2, 3) == model


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


def test_balanced_stability_is_that_of_the_loss_of_half_the_weights():
    """With v = ±o and q = ±k written in, in coordinates of which each moves two weights."""
    system = system_of("two tasks")
    model = system.model
    theta = model.balanced(*model.combined(state(system.size, 8)))
    o, v, k, q = (part.ravel() for part in model.unpack(theta))
    first, second = np.split(np.eye(len(o) + len(k)), [len(o)])
    lift = np.concatenate([first, np.sign(v)[:, None] * first,
                           second, np.sign(q)[:, None] * second])  # fmt: skip
    x = np.concatenate([o, k])
    assert_same(lift @ x, theta)
    assert min(v.min(), q.min()) < 0
    rates = [complex_directional(lambda y: lift.T @ system.velocity(lift @ y), x, e)
             for e in np.eye(len(x))]  # fmt: skip
    found = balanced_stability(system, theta)
    assert_same(found.eigenvalues, np.linalg.eigvalsh(-np.array(rates)))
    gradient = complex_gradient(lambda y: system.loss(lift @ y), x)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(gradient) / np.sqrt(2))
    assert_same(found.directions.T @ found.directions, np.eye(len(x)))
    along = found.directions.T @ (-2 * system.jacobian(theta)) @ found.directions
    assert_same(along, np.diag(found.eigenvalues))
    assert found.tolerance == len(x) * EPS * np.abs(found.eigenvalues).max()
    assert (found.index, found.flat) == ((found.eigenvalues < 0).sum(), 0)
    lowest = -float(found.eigenvalues[0])
    assert lowest > 0
    wide = balanced_stability(system, theta, tolerance=lowest)
    assert (wide.index, wide.tolerance) == (0, lowest)
    assert wide.flat == (np.abs(found.eigenvalues) <= lowest).sum()


def test_the_origin_is_flat_in_every_direction():
    """The loss is of fourth order there."""
    system = system_of("two tasks")
    found = balanced_stability(system, np.zeros(system.size))
    assert (found.index, found.flat, found.tolerance) == (0, system.size // 2, 0.0)


@pytest.mark.parametrize("scale", [1.0, 2.0, 0.25])
def test_balance_is_asked_for_to_sixteen_roundings(scale):
    system = system_of("one head")
    theta = np.full(system.size, scale)
    exact = balanced_stability(system, theta)
    assert_same(balanced_stability(system, theta.astype(np.float32)).eigenvalues, exact.eigenvalues)
    theta[0] = scale * (1 - 8 * EPS)
    balanced_stability(system, theta)
    theta[0] = scale * (1 - 8.5 * EPS)
    with pytest.raises(ValueError, match="theta must be balanced"):
        balanced_stability(system, theta)


def test_imbalance_keeps_omega_and_mu_and_moves_the_invariant():
    system, _ = zero_pairs()
    theta = system.model.leading_weights(0.1, 0.5, 1.0)
    moved = unbalanced(system, theta, 0.3)
    for before, after in zip(
        system.model.combined(theta), system.model.combined(moved), strict=True
    ):
        assert_same(before, after)
    assert system.invariants(moved)[0] == pytest.approx(2 * math.sinh(0.6))  # μ(e^{2δ} − e^{−2δ})


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
        (
            lambda: SpectralAttention((2, 1), 2, 1).leading_weights(0.1, 0, 1, leaders=[1, 2]),
            "different heads below 2",
        ),
        (lambda: SpectralAttention((2,), 2, 1).leading_weights(0.1, -0.1, 1), "other must be >= 0"),
        (
            lambda: SpectralAttention((2,), 2, 1).leading_weights(-0.1, 0, 1),
            "omega_bar must be >= 0",
        ),
        (lambda: SpectralAttention((2,), 1, 1).balanced([[1.0]], [[1.0]]), "omega must have"),
        (
            lambda: SpectralSystem(SpectralAttention((2,), 1, 1), MultiTask((3,), 1.0, 4)),
            "block_dims",
        ),
        (lambda: spectral_flow(system_of("one head"), np.ones(3), 1.0), "length of initial"),
        (lambda: balanced_stability(system_of("one head"), state(20)), "length of theta"),
        (lambda: balanced_stability(system_of("one head"), state(12)), "theta must be balanced"),
        (lambda: balanced_stability(*zero_pairs(), tolerance=-1e-9), "tolerance must be >= 0"),
    ],
)
def test_bad_input_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_blocks_that_are_no_sequence_are_refused():
    with pytest.raises(TypeError, match="block_dims must be a sequence"):
        SpectralAttention(3, 1, 1)
    for leaders, message in ((0, "leaders must be a sequence"), ([0.5], "each of leaders must be")):
        with pytest.raises(TypeError, match=message):
            SpectralAttention((2,), 1, 1).leading_weights(0.1, 0, 1, leaders=leaders)

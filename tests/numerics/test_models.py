"""Models, networks and whole layers: every derivative against a complex step, and symmetries."""

import numpy as np
import pytest

import numerics
from numerics import (
    AttentionSystem,
    ConvolutionalNetwork,
    FactoredMoments,
    MergedAttention,
    SeparateAttention,
    TwoLayerNetwork,
    gradient,
    loss,
    matrix_loss,
    population_moments,
    random_rotation,
    sample_moments,
)
from tests.numerics.support import (
    TASKS,
    assert_same,
    complex_directional,
    complex_gradient,
    models,
    moment_kinds,
    permuted_heads,
    state,
    systems,
    whole_layers,
)

SYSTEMS = dict(systems())
LAYERS = dict(whole_layers())
MODELS = models()


@pytest.mark.parametrize("name", [*SYSTEMS, *LAYERS])
def test_velocity_is_minus_half_the_gradient(name):
    system = {**SYSTEMS, **LAYERS}[name]
    for seed in range(2):
        theta = state(system.size, seed)
        numeric = complex_gradient(system.loss, theta)
        assert_same(system.velocity(theta), -0.5 * numeric, 2000)


@pytest.mark.parametrize("name", [*SYSTEMS, *LAYERS])
def test_jvp_and_jacobian_differentiate_the_velocity(name):
    system = {**SYSTEMS, **LAYERS}[name]
    theta, direction = state(system.size, 1), state(system.size, 2)
    numeric = complex_directional(system.velocity, theta, direction)
    assert_same(system.jvp(theta, direction), numeric, 2000)
    jacobian = system.jacobian(theta)
    assert_same(jacobian @ direction, numeric, 2000)
    assert_same(jacobian, jacobian.T, 2000)
    columns = np.stack([complex_directional(system.velocity, theta, e)
                        for e in np.eye(system.size)], axis=1)  # fmt: skip
    assert_same(jacobian, columns, 2000)


@pytest.mark.parametrize("name", MODELS)
def test_pushforward_tangent_and_pullback_are_one_linear_map(name):
    model = MODELS[name]
    theta, direction = state(model.size, 1), state(model.size, 2)
    G = np.random.default_rng(3).standard_normal((3, 3))
    forward = model.pushforward(theta, direction)
    assert_same(forward, complex_directional(model.matrix, theta, direction))
    tangent = model.tangent(theta)
    assert tangent.shape == (9, model.size)
    assert_same(tangent @ direction, forward.ravel())
    pulled = model.pullback(theta, G)
    assert_same(tangent.T @ G.ravel(), pulled)
    assert np.sum(G * forward) == pytest.approx(pulled @ direction, rel=1e-12)
    assert_same(model.velocity(theta, lambda M, out: G, model.workspace(float)), pulled)
    seen = []
    model.velocity(theta, lambda M, out: (seen.append(M.copy()), G)[1], model.workspace(float))
    assert_same(seen[0], model.matrix(theta))


@pytest.mark.parametrize("name", MODELS)
def test_curvature_is_the_derivative_of_the_pullback(name):
    model = MODELS[name]
    theta, direction = state(model.size, 1), state(model.size, 2)
    G = np.random.default_rng(3).standard_normal((3, 3))
    numeric = complex_directional(lambda x: model.pullback(x, G), theta, direction)
    assert_same(model.pullback_derivative(theta, direction, G), numeric)
    curvature = model.curvature(theta, G)
    assert_same(curvature @ direction, numeric)
    assert (curvature == curvature.T).all()


@pytest.mark.parametrize("name", MODELS)
def test_matrix_is_the_sum_over_heads_and_pairs(name):
    model = MODELS[name]
    theta = state(model.size, 4)
    M = np.zeros((3, 3))
    if isinstance(model, MergedAttention):
        v, U = model.unpack(theta)
        for h in range(model.heads):
            M += v[h] * U[h]
    else:
        v, k, q = model.unpack(theta)
        for h in range(model.heads):
            for r in range(model.rank):
                M += v[h] * np.outer(k[h, r], q[h, r])
    assert_same(model.matrix(theta), M)
    moments = moment_kinds()["sample"]
    assert_same(loss(model, moments, theta), matrix_loss(moments, M))
    system = AttentionSystem(model, moments)
    assert_same(gradient(model, moments, theta), complex_gradient(system.loss, theta), 2000)


@pytest.mark.parametrize("name", SYSTEMS)
def test_batches_of_states_equal_a_loop(name):
    system = SYSTEMS[name]
    stack = np.array([state(system.size, seed) for seed in range(6)]).reshape(2, 3, -1)
    rows = stack.reshape(6, -1)
    losses = np.array([system.loss(row) for row in rows])
    assert_same(system.loss(stack), losses.reshape(2, 3))
    invariants = np.array([system.invariants(row) for row in rows])
    assert_same(system.invariants(stack), invariants.reshape(2, 3, -1))
    if hasattr(system, "model"):
        matrices = np.array([system.model.matrix(row) for row in rows])
        assert_same(system.model.matrix(stack), matrices.reshape(2, 3, *matrices.shape[1:]))


@pytest.mark.parametrize("name", [*SYSTEMS, *LAYERS])
def test_the_velocity_is_a_fresh_array_and_leaves_its_argument_alone(name):
    system = {**SYSTEMS, **LAYERS}[name]
    theta = state(system.size, 1)
    theta.flags.writeable = False
    first = system.velocity(theta)
    kept = first.copy()
    second = system.velocity(2 * theta)
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, theta)
    assert (first == kept).all()


@pytest.mark.parametrize("name", [*SYSTEMS, *LAYERS])
def test_invariants_do_not_move_along_the_velocity(name):
    """d/dt I(θ(t)) = ∂I·velocity vanishes at any point: conservation without an integrator."""
    system = {**SYSTEMS, **LAYERS}[name]
    theta = state(system.size, 3)
    speed = system.velocity(theta)
    change = complex_directional(system.invariants, theta, speed)
    size = np.abs(system.invariants(theta)).max() + np.linalg.norm(theta) * np.linalg.norm(speed)
    assert np.abs(change).max() < 2000 * np.finfo(float).eps * size
    other = complex_directional(system.invariants, theta, state(system.size, 4))
    assert np.abs(other).max() > 1e-2  # the invariants are not constants


def test_the_number_of_invariants():
    assert MODELS["merged"].invariants(state(MODELS["merged"].size)).shape == (4,)
    assert MODELS["separate-3"].invariants(state(MODELS["separate-3"].size)).shape == (2 * 9 + 2,)


@pytest.mark.parametrize("name", MODELS)
def test_rotated_weights_on_rotated_moments_have_the_same_loss(name):
    model, moments = MODELS[name], population_moments(TASKS["generic"])
    left, right = random_rotation(3, rng=1), random_rotation(3, rng=2)
    rotated = FactoredMoments(
        moments.energy,
        left.T @ moments.correlation @ right,
        left.T @ moments.second_moment @ left,
        right.T @ moments.covariance @ right,
    )
    theta = state(model.size, 5)
    turned = model.rotate(theta, left, right)
    assert_same(model.matrix(turned), left.T @ model.matrix(theta) @ right)
    assert_same(loss(model, rotated, turned), loss(model, moments, theta))
    assert_same(
        gradient(model, rotated, turned),
        model.rotate(gradient(model, moments, theta), left, right),
        2000,
    )
    assert_same(model.rotate(turned, left.T, right.T), theta)
    assert_same(model.invariants(turned), model.invariants(theta))
    stack = np.array([state(model.size, seed) for seed in range(3)])
    loop = np.array([model.rotate(row, left, right) for row in stack])
    assert_same(model.rotate(stack, left, right), loop)


@pytest.mark.parametrize("name", MODELS)
def test_heads_can_be_renumbered(name):
    model, moments = MODELS[name], moment_kinds()["sample"]
    system = AttentionSystem(model, moments)
    theta = state(model.size, 6)
    order = np.roll(np.arange(model.heads), 1)
    other = permuted_heads(model, theta, order)
    assert_same(system.loss(other), system.loss(theta))
    assert_same(system.velocity(other), permuted_heads(model, system.velocity(theta), order))


@pytest.mark.parametrize("name", MODELS)
def test_pack_and_unpack_round_trip(name):
    model = MODELS[name]
    theta = state(model.size, 7)
    parts = model.unpack(theta)
    assert (model.pack(*parts) == theta).all()
    assert model.size == sum(part.size for part in parts)
    assert all(np.shares_memory(part, theta) for part in parts)
    stacked = model.unpack(np.stack([theta, 2 * theta]))
    for part, both in zip(parts, stacked, strict=True):
        assert (both == np.stack([part, 2 * part])).all()


def test_pack_accepts_rank_one_with_and_without_its_axis():
    model = SeparateAttention(2, heads=3)
    v, k, q = (np.random.default_rng(0).standard_normal(s) for s in ((3,), (3, 2), (3, 2)))
    assert (model.pack(v, k, q) == model.pack(v, k[:, None], q[:, None])).all()


def test_pack_refuses_other_shapes_and_names_them():
    merged, separate = MergedAttention(2, 3), SeparateAttention(2, 3, rank=2)
    v, U, k = np.ones(3), np.ones((3, 2, 2)), np.ones((3, 2, 2))
    with pytest.raises(ValueError, match=r"^v must have shape \(3,\), got \(2,\)"):
        merged.pack(np.ones(2), U)
    with pytest.raises(ValueError, match=r"^U must have shape \(3, 2, 2\), got \(3, 2, 3\)"):
        merged.pack(v, np.ones((3, 2, 3)))
    with pytest.raises(ValueError, match=r"^U must have 3 axes"):
        merged.pack(v, np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"^k must have 3 axes"):
        separate.pack(v, np.ones((3, 2)), k)
    with pytest.raises(ValueError, match=r"^q must have shape"):
        separate.pack(v, k, np.ones((3, 1, 2)))
    with pytest.raises(ValueError, match=r"^q must be finite"):
        separate.pack(v, k, np.full((3, 2, 2), np.nan))
    with pytest.raises(TypeError, match=r"^v must hold real numbers"):
        separate.pack(v * 1j, k, k)


@pytest.mark.parametrize("bad", [0, -1])
def test_sizes_are_checked(bad):
    for build in (MergedAttention, SeparateAttention):
        with pytest.raises(ValueError, match=r"^dimension must be >= 1"):
            build(bad, 1)
        with pytest.raises(ValueError, match=r"^heads must be >= 1"):
            build(1, bad)
        with pytest.raises(TypeError, match=r"^heads must be an integer"):
            build(1, 1.0)
    with pytest.raises(ValueError, match=r"^rank must be >= 1"):
        SeparateAttention(1, 1, bad)
    moments = population_moments(TASKS["white"])
    for build in (TwoLayerNetwork, ConvolutionalNetwork):
        with pytest.raises(ValueError, match=r"^width must be >= 1"):
            build(moments, bad)
    with pytest.raises(ValueError, match="model has dimension 2, but the moments have 3"):
        AttentionSystem(MergedAttention(2, 1), moments)


@pytest.mark.parametrize("name", MODELS)
def test_initial_weights_are_normal_at_the_scale_asked_for(name):
    model = MODELS[name]
    big = type(model)(20, 20)
    draw = big.initial_weights(0.3, rng=1)
    # Mean and variance of n normal draws: 5 standard errors, σ/√n and σ²√(2/n).
    assert abs(draw.mean()) < 5 * 0.3 / len(draw) ** 0.5
    assert abs(draw.var() - 0.09) < 5 * 0.09 * (2 / len(draw)) ** 0.5
    assert (draw == big.initial_weights(0.3, rng=1)).all()
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=r"^scale must be"):
            model.initial_weights(bad)


def test_a_sample_of_one_sequence_is_a_valid_data_set():
    moments = sample_moments(TASKS["generic"], 1, rng=0)
    model = SeparateAttention(3, 2)
    system = AttentionSystem(model, moments)
    theta = state(model.size, 0)
    assert_same(system.velocity(theta), -0.5 * complex_gradient(system.loss, theta), 2000)


@pytest.mark.parametrize("name", MODELS)
def test_predictions_have_the_loss_of_their_moments(name):
    model = MODELS[name]
    sequences = numerics.sample_sequences(numerics.LinearTask(np.eye(3), 4), 30, rng=1)
    states = np.stack([state(model.size, 1), state(model.size, 2)])
    errors = numerics.predict(model, sequences, states) - sequences.target
    moments = numerics.moments_of_sequences(sequences)
    # Sums over 30 sequences of products of order 10.
    np.testing.assert_allclose(
        np.mean(errors**2, axis=1), numerics.loss(model, moments, states), rtol=1e-12
    )
    np.testing.assert_array_equal(
        numerics.predict(model, sequences, states[0]) - sequences.target, errors[0]
    )
    other = numerics.sample_sequences(numerics.LinearTask(np.eye(2), 4), 3, rng=1)
    with pytest.raises(ValueError, match="model has dimension 3"):
        numerics.predict(model, other, states[0])

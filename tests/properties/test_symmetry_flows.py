"""Trajectories turn, are renumbered and change sign with their start; networks follow them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numerics import (
    AttentionSystem,
    ConvolutionalNetwork,
    LinearTask,
    MergedAttention,
    MultiTask,
    SeparateAttention,
    SpectralAttention,
    SpectralSystem,
    TwoLayerNetwork,
    dense_moments,
    exact_loss,
    gradient_descent,
    gradient_flow,
    population_moments,
    spectral_flow,
    strategies,
    system_flow,
)

from .support import EPS, RELAXING, assert_same, permuted_heads, share


@st.composite
def runs(draw, tasks=None, scale=0.3):
    """A task, a model of its dimension and a start."""
    task = draw(strategies.linear_tasks(max_dimension=3) if tasks is None else tasks)
    model = draw(strategies.linear_models(task.dimension))
    return task, model, draw(strategies.weights(model, scale=scale))


@share(0.4)
@given(st.data(), runs(), strategies.seeds())
def test_flows_commute_with_rotation_and_renumbering(data, run, seed):
    task, model, theta = run
    Q = data.draw(strategies.rotations(task.dimension))
    order = np.random.default_rng(seed).permutation(model.heads)

    def act(states):
        return permuted_heads(model, model.rotate(states, Q, Q), order)

    turned = LinearTask(
        Q.T @ task.covariance @ Q, task.context_length, Q.T @ task.task_covariance @ Q, task.noise
    )
    times = np.linspace(0, 4, 4)
    here = gradient_flow(model, population_moments(task), theta, 4.0, times=times)
    there = gradient_flow(model, population_moments(turned), act(theta), 4.0, times=times)
    assert np.abs(act(here.states) - there.states).max() < RELAXING
    # Discrete steps commute too: 40 of them, each with some hundred roundings.
    systems = [AttentionSystem(model, population_moments(t)) for t in (task, turned)]
    starts = theta, act(theta)
    steps = [
        gradient_descent(system, start, 40, 0.02).states[-1]
        for system, start in zip(systems, starts, strict=True)
    ]
    assert_same(act(steps[0]), steps[1], 1e5, scale=1.0)


@share(0.3)
@given(st.data(), strategies.moments(max_dimension=3))
def test_the_eigenbasis_changes_nothing(data, moments):
    """The same run on the dense form of the moments, which is not rotated, and as a system."""
    model = data.draw(strategies.linear_models(len(moments.correlation)))
    theta, times = data.draw(strategies.weights(model, scale=0.3)), np.linspace(0, 1.5, 3)
    here = gradient_flow(model, moments, theta, 1.5, times=times)
    assert here.status == "finished"
    scale = max(1.0, np.abs(here.states).max())
    dense = gradient_flow(model, dense_moments(moments), theta, 1.5, times=times)
    plain = system_flow(AttentionSystem(model, moments), theta, 1.5, times=times)
    for other in (dense, plain):
        assert np.abs(here.states - other.states).max() < RELAXING * scale
    assert plain.model is model


@share(0.3)
@given(runs(), st.sampled_from([(1, 2), (0, 2), (0, 1)]), strategies.seeds())
def test_signs_that_leave_the_matrix_alone_commute_with_the_flow(run, pair, seed):
    task, model, theta = run
    merged = isinstance(model, MergedAttention)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=model.heads)

    def act(theta):
        weights = list(model.unpack(theta))
        for i in (0, 1) if merged else pair:
            weights[i] = weights[i] * signs.reshape(-1, *[1] * (weights[i].ndim - 1))
        return model.pack(*weights)

    moments = population_moments(task)
    here = gradient_flow(model, moments, theta, 3.0).states[-1]
    there = gradient_flow(model, moments, act(theta), 3.0).states[-1]
    assert np.abs(act(here) - there).max() < RELAXING


@share(0.3)
@given(st.data(), strategies.multi_tasks(max_tasks=2, max_dimension=3))
def test_spectral_flows_permute_heads_and_tasks(data, task):
    model = data.draw(strategies.softmax_models(task.block_dims))
    theta = data.draw(strategies.weights(model, scale=0.5))
    heads = data.draw(strategies.permutations(model.heads))
    tasks = data.draw(strategies.permutations(task.outputs))
    dims = tuple(task.block_dims[i] for i in tasks)
    columns = np.concatenate([np.arange(task.dimension)[task.blocks[i]] for i in tasks])
    other = SpectralAttention(dims, model.heads, model.embedding_dim)
    moved = MultiTask(dims, task.signal[tasks], task.context_length, noise=task.noise)

    def act(theta):
        o, v, k, q = (part[heads] for part in model.unpack(theta))
        return other.pack(o[:, tasks], v[:, tasks], k[:, columns], q[:, columns])

    systems = SpectralSystem(model, task), SpectralSystem(other, moved)
    here = spectral_flow(systems[0], theta, 1.0).states[-1]
    there = spectral_flow(systems[1], act(theta), 1.0).states[-1]
    assert np.abs(act(here) - there).max() < RELAXING


@given(st.data(), strategies.moments(max_dimension=3))
def test_attention_is_its_network(data, moments):
    """[L] Eq. 6-8 and 13: same loss and same velocity, so the same run under any optimiser."""
    size, heads = len(moments.correlation), data.draw(st.integers(1, 3))
    for model, network in (
        (MergedAttention(size, heads), TwoLayerNetwork(moments, heads)),
        (SeparateAttention(size, heads), ConvolutionalNetwork(moments, heads)),
    ):

        def laid_out(theta, model=model, network=network):
            if isinstance(network, ConvolutionalNetwork):
                return theta  # the two states have one layout at rank 1
            v, U = model.unpack(theta)
            return network.pack(v, U.swapaxes(-1, -2).reshape(len(v), -1))

        system = AttentionSystem(model, moments)
        theta = data.draw(strategies.weights(model))
        scale = moments.energy + float(system.loss(theta))
        assert_same(network.loss(laid_out(theta)), system.loss(theta), 2000, scale=scale)
        velocity = laid_out(system.velocity(theta))
        assert_same(network.velocity(laid_out(theta)), velocity, 5000, scale=scale)
        here = gradient_descent(system, theta, 5, 1e-3).states[-1]
        there = gradient_descent(network, laid_out(theta), 5, 1e-3).states[-1]
        assert_same(laid_out(here), there, 1e4, scale=scale)


@share(0.2)
@given(runs(strategies.linear_tasks(max_dimension=2)))
def test_networks_follow_the_trajectories_of_attention(run):
    task, model, theta = run
    moments, times = population_moments(task), np.linspace(0, 3, 4)
    here = gradient_flow(model, moments, theta, 3.0, times=times)
    if isinstance(model, MergedAttention):
        network = TwoLayerNetwork(moments, model.heads)
        v, U = model.unpack(theta)
        start = network.pack(v, U.swapaxes(1, 2).reshape(model.heads, -1))
    elif model.rank == 1:
        network, start = ConvolutionalNetwork(moments, model.heads), theta
    else:
        return
    there = system_flow(network, start, 3.0, times=times)
    assert np.abs(here.loss - there.loss).max() < RELAXING
    assert there.model is network


@share(0.2)
@given(st.data(), strategies.multi_tasks(max_tasks=2))
def test_the_exact_loss_knows_neither_sign_nor_order(data, task):
    rng = np.random.default_rng(data.draw(strategies.seeds()))
    omega, mu = rng.uniform(0.1, 0.8, size=(2, task.outputs))
    here = exact_loss(omega, mu, task)
    turned = task.block_dims[::-1], task.signal[::-1]
    back = MultiTask(*turned, task.context_length, noise=task.noise)
    there = exact_loss(-omega[::-1], -mu[::-1], back)
    assert abs(here.value - there.value) <= here.error + there.error + 100 * EPS * here.value

"""Symmetries of the task, the weights and the architecture, kept by whole trajectories."""

import numpy as np
import pytest

from numerics import (
    AttentionSystem,
    ConvolutionalNetwork,
    FactoredMoments,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    TwoLayerNetwork,
    dense_moments,
    gradient_flow,
    population_moments,
    random_rotation,
    sample_moments,
    system_flow,
)
from tests.numerics.support import TASKS, assert_same, permuted_heads, spd, state

GENERIC = population_moments(TASKS["generic"])
MERGED, SEPARATE = MergedAttention(3, 2), SeparateAttention(3, 3, rank=2)

# The tolerance on a step is rtol = 1e-8 of the weights. Over a run that starts at order one and
# only relaxes, errors do not grow, and some hundred steps add up to less than 1e-6: measured
# against rtol = 1e-12, LSODA is off by 4e-9, Radau by 5e-10, BDF by 2e-8.
RELAXING = 1e-6


RUNS = {
    "merged": (MERGED, GENERIC),
    "separate": (SEPARATE, GENERIC),
    "sample": (SEPARATE, sample_moments(TASKS["generic"], 50, rng=1)),
    "tokens": (SeparateAttention(3, 2), population_moments(TASKS["tokens"])),
    "diagonal": (MERGED, GENERIC.eigenform()[0]),
}


@pytest.mark.parametrize("name", ["merged", "separate"])
def test_the_eigenbasis_changes_nothing(name):
    """The same run on the dense form of the moments, which is not rotated."""
    model, moments = RUNS[name]
    theta, t = state(model.size, 6, 0.3), np.linspace(0, 8, 5)
    a = gradient_flow(model, moments, theta, 8.0, times=t)
    b = gradient_flow(model, dense_moments(moments), theta, 8.0, times=t)
    c = system_flow(AttentionSystem(model, moments), theta, 8.0, times=t)
    assert np.abs(a.states - b.states).max() < RELAXING
    assert np.abs(a.states - c.states).max() < RELAXING
    assert c.model is model


@pytest.mark.parametrize("model", [MERGED, SEPARATE])
def test_rotating_the_task_rotates_the_trajectory(model):
    Q, task = random_rotation(3, rng=9), TASKS["generic"]
    turned = LinearTask(
        Q.T @ task.covariance @ Q, task.context_length, Q.T @ task.task_covariance @ Q, task.noise
    )
    theta, t = state(model.size, 7, 0.3), np.linspace(0, 8, 5)
    a = gradient_flow(model, GENERIC, theta, 8.0, times=t)
    b = gradient_flow(model, population_moments(turned), model.rotate(theta, Q, Q), 8.0, times=t)
    assert np.abs(model.rotate(a.states, Q, Q) - b.states).max() < RELAXING
    assert_same(a.loss[0], b.loss[0])


@pytest.mark.parametrize("model", [MERGED, SEPARATE])
def test_renumbering_the_heads_renumbers_the_trajectory(model):
    theta, order = state(model.size, 8, 0.3), np.roll(np.arange(model.heads), 1)
    t = np.linspace(0, 8, 5)
    a = gradient_flow(model, GENERIC, theta, 8.0, times=t)
    b = gradient_flow(model, GENERIC, permuted_heads(model, theta, order), 8.0, times=t)
    renumbered = np.array([permuted_heads(model, row, order) for row in a.states])
    assert np.abs(renumbered - b.states).max() < RELAXING


@pytest.mark.parametrize("flipped", ["key and query", "value and query"])
def test_signs_that_leave_the_matrix_alone_commute_with_the_flow(flipped):
    v, k, q = SEPARATE.unpack(state(SEPARATE.size, 8, 0.3))

    def flip(parts):
        v, k, q = parts
        return (v, -k, -q) if flipped == "key and query" else (-v, k, -q)

    a = gradient_flow(SEPARATE, GENERIC, SEPARATE.pack(v, k, q), 5.0)
    b = gradient_flow(SEPARATE, GENERIC, SEPARATE.pack(*flip((v, k, q))), 5.0)
    expected = SEPARATE.pack(*flip(SEPARATE.unpack(a.states[-1])))
    assert np.abs(b.states[-1] - expected).max() < RELAXING


def test_networks_follow_the_trajectories_of_attention():
    moments, t = RUNS["sample"][1], np.linspace(0, 6, 5)
    theta = state(MERGED.size, 9, 0.3)
    v, U = MERGED.unpack(theta)
    network = TwoLayerNetwork(moments, width=2)
    start = network.pack(v, U.swapaxes(1, 2).reshape(2, 9))
    a = gradient_flow(MERGED, moments, theta, 6.0, times=t)
    b = system_flow(network, start, 6.0, times=t)
    assert np.abs(a.loss - b.loss).max() < RELAXING
    w2, W1 = network.unpack(b.states)
    v, U = MERGED.unpack(a.states)
    assert np.abs(w2 - v).max() < RELAXING
    assert np.abs(W1.reshape(5, 2, 3, 3).swapaxes(-1, -2) - U).max() < RELAXING
    assert b.model is network

    model, network = SeparateAttention(3, 2), ConvolutionalNetwork(moments, width=2)
    theta = state(model.size, 9, 0.3)  # the two states have one layout at rank 1
    a = gradient_flow(model, moments, theta, 6.0, times=t)
    b = system_flow(network, theta, 6.0, times=t, method="Radau")
    assert np.abs(a.states - b.states).max() < RELAXING


def test_factored_moments_need_not_come_from_a_task():
    """S and Λ that do not commute, and a C that is not symmetric: left and right bases differ."""
    moments = FactoredMoments(1.0, np.arange(9.0).reshape(3, 3) / 9, spd(3, 1), spd(3, 2))
    theta = state(SEPARATE.size, 1, 0.3)
    a = gradient_flow(SEPARATE, moments, theta, 3.0, times=[1.0, 3.0])
    b = gradient_flow(SEPARATE, dense_moments(moments), theta, 3.0, times=[1.0, 3.0])
    assert np.abs(a.states - b.states).max() < RELAXING

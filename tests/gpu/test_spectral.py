"""[S]'s spectral loss over rows against `numerics.softmax.spectral`, row by row."""

import numpy as np
import pytest

import gpu
from gpu._arrays import to_host
from numerics import LinearTask, MultiTask
from numerics.softmax.spectral import SpectralAttention, SpectralSystem
from tests.gpu.support import PLACES, assert_close

ROWS = 3
MODELS = [
    SpectralAttention(block_dims=(1,), heads=1, embedding_dim=1),
    SpectralAttention(block_dims=(2, 3), heads=3, embedding_dim=7),
    SpectralAttention(block_dims=(4, 1, 3), heads=2, embedding_dim=9),
    SpectralAttention(block_dims=(5, 5), heads=6, embedding_dim=10),
]
FUNCTIONS = ["loss", "velocity", "jacobian", "invariants"]


def tasks(model, count=ROWS):
    """Tasks that differ in context length, signal and noise."""
    signal = 0.5 + np.random.default_rng(3).random((count, model.tasks))
    return [
        MultiTask(model.block_dims, signal=signal[i], context_length=6 + i, noise=0.4 * i)
        for i in range(count)
    ]


def weights(model):
    return 0.7 * np.random.default_rng(1).standard_normal((ROWS, model.size))


def twin(name, model, given, theta):
    each = given * ROWS if len(given) == 1 else given
    systems = (SpectralSystem(model, task) for task in each)
    return np.array([getattr(s, name)(row) for s, row in zip(systems, theta, strict=True)])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_every_function_is_its_twin_in_every_row(model, place):
    theta = weights(model)
    for given in (tasks(model), tasks(model, 1)):
        system = gpu.SpectralSystem(model, gpu.stack_moments(given, **place.options))
        for name in FUNCTIONS:
            found = getattr(system, name)(place.put(theta))
            assert place.holds(found), name
            assert_close(found, twin(name, model, given, theta))


@pytest.mark.parametrize("place", PLACES)
def test_float32_stays_float32(place):
    model = MODELS[1]
    stacked = gpu.stack_moments(tasks(model), dtype=place.dtype("float32"), **place.options)
    system = gpu.SpectralSystem(model, stacked)
    for name in FUNCTIONS:
        found = getattr(system, name)(place.put(weights(model), "float32"))
        assert place.holds(found, "float32"), name
        assert_close(found, twin(name, model, tasks(model), weights(model)))


@pytest.mark.parametrize("place", PLACES)
def test_losses_of_the_tasks_are_their_twins_and_add_up(place):
    model, theta = MODELS[2], weights(MODELS[2])
    system = gpu.SpectralSystem(model, gpu.stack_moments(tasks(model), **place.options))
    shares = system.task_losses(place.put(theta))
    rows = zip(tasks(model), theta, strict=True)
    expected = [SpectralSystem(model, t).task_losses(*model.combined(row)) for t, row in rows]
    assert_close(shares, np.array(expected))
    assert_close(system.loss(place.put(theta)), to_host(shares).sum(axis=1))


def test_taken_rows_are_the_rows():
    model = MODELS[1]
    problem = gpu.SpectralSystem(model, gpu.stack_moments(tasks(model))).problem
    state = weights(model).T
    part = problem.take(np.array([2, 0]))
    assert_close(part.velocity(state[:, [2, 0]]), problem.velocity(state)[:, [2, 0]])


def test_what_does_not_fit_is_refused_by_name():
    model = MODELS[1]
    with pytest.raises(ValueError, match=r"model has block_dims \(2, 3\), but the tasks have"):
        gpu.SpectralSystem(model, gpu.stack_moments([MultiTask((3, 2), 1.0, context_length=4)]))
    with pytest.raises(TypeError, match="moments must be stacked from MultiTask"):
        gpu.SpectralSystem(model, gpu.stack_moments([LinearTask(np.eye(5), 4)]))
    with pytest.raises(ValueError, match="sources must agree in block_dims"):
        gpu.stack_moments([MultiTask((3, 2), 1.0, 4), MultiTask((5,), 1.0, 4)])

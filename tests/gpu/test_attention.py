"""ATTN_M and ATTN_S over rows against `numerics.AttentionSystem`, row by row."""

import numpy as np
import pytest

import gpu
import numerics
from gpu._arrays import rows_last, to_host
from tests.gpu.support import HOST, PLACES, Place, assert_close
from tests.numerics.support import spd

ROWS = 4
# Ranks 1 and 2, and products on both sides of the size from which matmul takes over.
MODELS = [
    numerics.MergedAttention(1, 1),
    numerics.MergedAttention(3, 2),
    numerics.MergedAttention(4, 9),
    numerics.SeparateAttention(1, 1),
    numerics.SeparateAttention(3, 4),
    numerics.SeparateAttention(3, 2, 2),
    numerics.SeparateAttention(6, 3, 2),
]
KINDS = ["factored", "diagonal", "dense"]
FUNCTIONS = ["loss", "velocity", "jacobian", "invariants"]


def sources(kind, dimension, count=ROWS):
    """Moments of tasks that differ in spectrum, context length and noise."""
    tasks = [
        numerics.LinearTask(
            spd(dimension, i), 5 + i, task_covariance=spd(dimension, i + 9), noise=i
        )
        for i in range(count)
    ]
    if kind == "dense":
        return [numerics.sample_moments(task, 50, rng=i) for i, task in enumerate(tasks)]
    found = [numerics.population_moments(task) for task in tasks]
    return found if kind == "factored" else [m.eigenform()[0] for m in found]


def weights(model, seed=0):
    return np.random.default_rng(seed).standard_normal((ROWS, model.size))


def twin(name, model, moments, theta):
    """The same, a row at a time; one of the moments stands for all rows."""
    each = moments * ROWS if len(moments) == 1 else moments
    systems = (numerics.AttentionSystem(model, m) for m in each)
    return np.array([getattr(s, name)(row) for s, row in zip(systems, theta, strict=True)])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_every_function_is_its_twin_in_every_row(model, kind, place):
    theta = weights(model)
    for moments in (sources(kind, model.dimension), sources(kind, model.dimension, 1)):
        system = gpu.AttentionSystem(model, gpu.stack_moments(moments, **place.options))
        for name in FUNCTIONS:
            found = getattr(system, name)(place.put(theta))
            assert place.holds(found), name
            assert_close(found, twin(name, model, moments, theta))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [MODELS[1], MODELS[5]], ids=str)
def test_float32_stays_float32(model, kind, place):
    theta, moments = weights(model), sources(kind, model.dimension)
    stacked = gpu.stack_moments(moments, dtype=place.dtype("float32"), **place.options)
    system = gpu.AttentionSystem(model, stacked)
    for name in FUNCTIONS:
        found = getattr(system, name)(place.put(theta, "float32"))
        assert place.holds(found, "float32"), name
        assert_close(found, twin(name, model, moments, theta))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("model", [MODELS[1], MODELS[6]], ids=str)
def test_the_eigenbases_turn_weights_but_not_the_loss(model, place):
    stacked = gpu.stack_moments(sources("factored", model.dimension), **place.options)
    system = gpu.AttentionSystem(model, stacked)
    form, left, right = stacked.eigenform()
    state = rows_last(place.put(weights(model)))
    turned = system.problem.rotate(state, left, right)
    there = gpu.AttentionSystem(model, form).problem
    assert_close(there.loss(turned), to_host(system.problem.loss(state)))
    # The rotation is an isometry with which the flow commutes.
    velocity = system.problem.rotate(system.problem.velocity(state), left, right)
    assert_close(there.velocity(turned), to_host(velocity))


@pytest.mark.parametrize("model", [MODELS[1], MODELS[4], MODELS[6]], ids=str)
def test_rotation_is_the_models_own(model):
    moments = sources("factored", model.dimension)
    stacked = gpu.stack_moments(moments)
    _, left, right = stacked.eigenform()
    problem = gpu.AttentionSystem(model, stacked).problem
    turned = problem.rotate(rows_last(weights(model)), left, right)
    rows = zip(weights(model), left, right, strict=True)
    assert_close(turned.T, np.array([model.rotate(*row) for row in rows]))


@pytest.mark.parametrize("place", PLACES)
def test_taken_rows_are_the_rows(place):
    model = MODELS[4]
    system = gpu.AttentionSystem(
        model, gpu.stack_moments(sources("dense", model.dimension), **place.options)
    )
    state, rows = rows_last(place.put(weights(model))), place.put([2, 0], "int64")
    part = system.problem.take(rows)
    expected = to_host(system.problem.velocity(state))[:, [2, 0]]
    assert_close(part.velocity(place.xp.take(state, rows, axis=1)), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [MODELS[2], MODELS[5]], ids=str)
def test_a_row_does_not_depend_on_its_batch(model, kind):
    theta, moments = weights(model), sources(kind, model.dimension)
    whole = gpu.AttentionSystem(model, gpu.stack_moments(moments))
    for name in FUNCTIONS:
        together = getattr(whole, name)(theta)
        for i in range(ROWS):
            alone = gpu.AttentionSystem(model, gpu.stack_moments(moments[i : i + 1]))
            # BLAS may add the terms of another shape in another order: some roundings.
            assert_close(getattr(alone, name)(theta[i : i + 1]), together[i : i + 1])


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_gradient_is_that_of_numerics(model):
    theta, moments = weights(model), sources("factored", model.dimension)
    stacked = gpu.stack_moments(moments)
    for name in ("loss", "gradient"):
        rows = zip(moments, theta, strict=True)
        expected = [getattr(numerics, name)(model, m, row) for m, row in rows]
        assert_close(getattr(gpu, name)(model, stacked, theta), np.array(expected))


def test_arguments_are_left_as_they_were():
    model = MODELS[5]
    theta, stacked = weights(model), gpu.stack_moments(sources("diagonal", model.dimension))
    before = theta.copy(), stacked.correlation.copy(), stacked.weights.copy()
    system = gpu.AttentionSystem(model, stacked)
    for name in FUNCTIONS:
        getattr(system, name)(theta)
    for old, new in zip(before, (theta, stacked.correlation, stacked.weights), strict=True):
        assert (old == new).all()


def test_what_does_not_fit_is_refused_by_name():
    model = numerics.SeparateAttention(2, 1)
    moments = gpu.stack_moments(sources("factored", 2))
    system = gpu.AttentionSystem(model, moments)
    theta = weights(model)
    with pytest.raises(ValueError, match="model has dimension 3, but the moments have 2"):
        gpu.AttentionSystem(numerics.SeparateAttention(3, 1), moments)
    with pytest.raises(TypeError, match="model must be a MergedAttention or SeparateAttention"):
        gpu.AttentionSystem(numerics.AttentionLayer(2, 1), moments)
    with pytest.raises(TypeError, match="moments must come from stack_moments"):
        gpu.AttentionSystem(model, sources("factored", 2)[0])
    with pytest.raises(TypeError, match="theta must be an array of NumPy, CuPy"):
        system.loss(theta.tolist())
    with pytest.raises(TypeError, match="theta must hold real floats, got dtype int64"):
        system.loss(np.ones((ROWS, model.size), np.int64))
    with pytest.raises(
        TypeError, match="theta has dtype float32, not that of the moments, float64"
    ):
        system.loss(theta.astype(np.float32))
    with pytest.raises(ValueError, match="theta must have 2 axes"):
        system.loss(theta[0])
    with pytest.raises(ValueError, match="theta must not be empty"):
        system.loss(theta[:0])
    with pytest.raises(ValueError, match="row of theta is 4, but the model has 5"):
        system.loss(theta[:, :-1])
    with pytest.raises(ValueError, match="theta has 3 rows, which is not the 4 of the moments"):
        system.loss(theta[:3])
    theta[1, 2] = np.nan
    with pytest.raises(ValueError, match="theta must be finite"):
        gpu.loss(model, moments, theta)


@pytest.mark.parametrize("name", ["device1", "device2"])
def test_arrays_of_two_kinds_are_refused(name):
    place, other = Place(name), Place("device1" if name == "device2" else "device2")
    model = numerics.SeparateAttention(2, 1)
    system = gpu.AttentionSystem(model, gpu.stack_moments(sources("factored", 2), **place.options))
    with pytest.raises(TypeError, match="theta has library"):
        system.loss(weights(model))
    with pytest.raises(TypeError, match="theta has device"):
        system.loss(other.put(weights(model)))
    assert HOST.holds(to_host(system.loss(place.put(weights(model)))))

"""Derivatives of the batched velocities along a direction, against `numerics` and complex steps."""

import tracemalloc
import warnings

import numpy as np
import pytest

import gpu
import numerics
from gpu._arrays import placed, rows_last, to_host
from numerics.softmax.spectral import SpectralAttention, SpectralSystem
from tests.gpu.support import HOST, PLACES, Place, assert_close
from tests.gpu.test_attention import sources
from tests.numerics.support import EPS, complex_directional

ROWS = 3


def attention(model, kind):
    """A reduced model: how the batch is made in a place, and the single systems."""
    given = sources(kind, model.dimension, ROWS)

    def batch(rows, **options):
        return gpu.AttentionSystem(model, gpu.stack_moments(given[:rows], **options))

    return model, batch, [numerics.AttentionSystem(model, m) for m in given]


def spectral(*args):
    model = SpectralAttention(*args)
    signal = 0.5 + np.random.default_rng(3).random((ROWS, model.tasks))
    given = [
        numerics.MultiTask(model.block_dims, signal=signal[i], context_length=6 + i, noise=0.4 * i)
        for i in range(ROWS)
    ]

    def batch(rows, **options):
        return gpu.SpectralSystem(model, gpu.stack_moments(given[:rows], **options))

    return model, batch, [SpectralSystem(model, task) for task in given]


def samples(layer):
    """Tokens (rows, P, N+1, K) and y_q, different for each row."""
    rng = np.random.default_rng(4)
    tokens = rng.standard_normal((ROWS, 9, 6, layer.dimension + layer.labels))
    tokens[:, :, -1, layer.dimension :] = 0
    return tokens, rng.standard_normal((ROWS, 9, *layer.output_shape))


def by_moments(layer):
    given = [
        numerics.linear_layer_moments([part], divide_by_context=layer.divide_by_context)
        for part in zip(*samples(layer), strict=True)
    ]

    def batch(rows, **options):
        return gpu.LayerMomentsSystem(layer, gpu.stack_moments(given[:rows], **options))

    return layer, batch, [numerics.LayerMomentsSystem(layer, m) for m in given]


class ByComplexStep:
    """A single system whose velocity, of `numerics`, is differentiated by complex step."""

    def __init__(self, system):
        self.velocity = system.velocity

    def jvp(self, theta, direction):
        with warnings.catch_warnings():
            # The kernel hands the loss on as a float; the velocity keeps its imaginary part.
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            return complex_directional(self.velocity, theta, direction)


def by_tokens(layer):
    tokens, target = samples(layer)

    def batch(rows, xp=np, dtype=None, device=None):
        sample = (part[:rows] if rows > 1 else part[0] for part in (tokens, target))
        parts = [placed(part, xp, dtype, device) for part in sample]
        return gpu.LayerSystem(layer, *parts, chunk=4)

    twins = [numerics.LayerSystem(layer, *part) for part in zip(tokens, target, strict=True)]
    return layer, batch, [ByComplexStep(system) for system in twins]


SOFTMAX = {"attention": "softmax"}
CASES = {
    **{f"merged-{kind}": attention(numerics.MergedAttention(3, 2), kind)
       for kind in ("factored", "dense")},
    "merged-wide": attention(numerics.MergedAttention(4, 9), "factored"),
    **{f"separate-{kind}": attention(numerics.SeparateAttention(3, 4), kind)
       for kind in ("factored", "diagonal", "dense")},
    "separate-rank": attention(numerics.SeparateAttention(6, 3, 2), "factored"),
    "spectral": spectral((2, 3), 3, 7),
    "spectral-many": spectral((5, 5), 6, 10),
    "moments-merged": by_moments(numerics.AttentionLayer(2, 2)),
    "moments-1": by_moments(numerics.AttentionLayer(1, 1, 1, divide_by_context=True)),
    "moments-rank": by_moments(numerics.AttentionLayer(3, 2, 2, divide_by_context=True)),
    "linear-merged": by_tokens(numerics.AttentionLayer(2, 3, divide_by_context=True)),
    "linear-rank": by_tokens(numerics.AttentionLayer(3, 2, 2)),
    "softmax-merged": by_tokens(numerics.AttentionLayer(2, 3, **SOFTMAX)),
    "softmax-rank": by_tokens(numerics.AttentionLayer(3, 2, 2, **SOFTMAX)),
    "several-linear": by_tokens(numerics.MultiTaskLayer(3, 2, 2, 4, "linear", True)),
    "several-softmax": by_tokens(numerics.MultiTaskLayer(3, 2, 3, 2)),
}  # fmt: skip
WITH_JACOBIAN = [name for name, (_, batch, _) in CASES.items() if hasattr(batch(1), "jacobian")]


def directions(model):
    """States and directions of order one, (rows, size) each."""
    rng = np.random.default_rng(5)
    return 0.7 * rng.standard_normal((ROWS, model.size)), rng.standard_normal((ROWS, model.size))


def expected(twins, theta, direction):
    return np.array([s.jvp(*pair) for s, *pair in zip(twins, theta, direction, strict=True)])


def test_the_cases_with_a_jacobian_are_those_that_should_have_one():
    assert set(CASES) - set(WITH_JACOBIAN) == {name for name in CASES if name.split("-")[0] in
                                               ("linear", "softmax", "several")}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", CASES)
def test_jvp_is_its_twin_in_every_row(name, place):
    model, batch, twins = CASES[name]
    theta, direction = directions(model)
    for rows, each in ((ROWS, twins), (1, twins[:1] * ROWS)):
        system = batch(rows, **place.options)
        found = system.jvp(place.put(theta), place.put(direction))
        assert place.holds(found)
        assert_close(found, expected(each, theta, direction))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(name, place):
    model, batch, twins = CASES[name]
    theta, direction = directions(model)
    system = batch(ROWS, dtype=place.dtype("float32"), **place.options)
    given = [place.put(x, "float32") for x in (theta, direction)]
    found = system.jvp(*given)
    assert place.holds(found, "float32")
    assert_close(found, expected(twins, *(to_host(x).astype(float) for x in given)))


@pytest.mark.parametrize("name", CASES)
def test_jvp_differentiates_the_velocity(name):
    """By complex step of the batch itself, exact to rounding; the oracle above is numerics."""
    model, batch, _ = CASES[name]
    state, along = (rows_last(x) for x in directions(model))
    problem = batch(ROWS).problem
    assert_close(problem.jvp(state, along), complex_directional(problem.velocity, state, along))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WITH_JACOBIAN)
def test_the_jacobian_is_symmetric_and_the_jvp_is_its_product(name, place):
    model, batch, _ = CASES[name]
    theta, direction = directions(model)
    system = batch(ROWS, **place.options)
    jacobian = system.jacobian(place.put(theta))
    assert place.holds(jacobian)
    J = to_host(jacobian)
    assert_close(jacobian, J.transpose(0, 2, 1))
    found = to_host(system.jvp(place.put(theta), place.put(direction)))
    whole = (J @ direction[..., None])[..., 0]
    # Each entry of the product is a sum of as many terms as there are weights.
    allowed = 500 * EPS * np.abs(J).max() * np.abs(direction).max() * model.size
    assert np.abs(whole - found).max() <= allowed


@pytest.mark.parametrize("name", sorted(set(CASES) - set(WITH_JACOBIAN)))
def test_without_a_jacobian_the_jvp_is_symmetric_still(name):
    """⟨x, J y⟩ = ⟨y, J x⟩, J being −½ Hessian of L."""
    model, batch, _ = CASES[name]
    theta, x = directions(model)
    y, system = x[:, ::-1].copy(), batch(ROWS)
    one, other = (np.sum(a * system.jvp(theta, b), axis=1) for a, b in ((x, y), (y, x)))
    terms = np.sum(np.abs(x) * np.abs(system.jvp(theta, y)), axis=1)
    assert (np.abs(one - other) <= 500 * EPS * terms).all()
    assert (np.abs(one) > 1e-3 * terms).any()  # or zero would be symmetric


@pytest.mark.parametrize("name", ["separate-dense", "spectral", "moments-rank", "several-softmax"])
def test_taken_rows_are_the_rows(name):
    model, batch, _ = CASES[name]
    state, along = (rows_last(x) for x in directions(model))
    problem, rows = batch(ROWS).problem, np.array([2, 0])
    part = problem.take(rows).jvp(state[:, rows], along[:, rows])
    assert_close(part, problem.jvp(state, along)[:, rows])


@pytest.mark.parametrize(
    "case",
    [
        attention(numerics.SeparateAttention(16, 16), "factored"),
        attention(numerics.MergedAttention(8, 8), "factored"),
        spectral((8, 8), 16, 16),
        by_moments(numerics.AttentionLayer(4, 12)),
    ],
    ids=["separate", "merged", "spectral", "moments"],
)
def test_a_jacobian_is_never_formed(case):
    model, batch, _ = case
    system, (theta, direction) = batch(ROWS), directions(model)
    system.jvp(theta, direction)  # moments are laid out at the first call
    tracemalloc.start()
    system.jvp(theta, direction)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ROWS * model.size**2 * 8 / 4


def test_directions_that_do_not_fit_are_refused_by_name():
    model, batch, _ = CASES["separate-dense"]
    system, (theta, direction) = batch(ROWS), directions(model)
    with pytest.raises(ValueError, match="direction has 1 rows, which is not the 3 of theta"):
        system.jvp(theta, direction[:1])
    with pytest.raises(ValueError, match="row of direction is 27, but the model has 28"):
        system.jvp(theta, direction[:, 1:])
    with pytest.raises(TypeError, match="direction has dtype float32, not that of theta"):
        system.jvp(theta, direction.astype(np.float32))
    with pytest.raises(TypeError, match="direction has library"):
        system.jvp(theta, Place("device1").put(direction))
    with pytest.raises(ValueError, match="row of theta is 27"):
        system.jvp(theta[:, 1:], direction)
    assert HOST.holds(system.jvp(theta, direction))

"""Models, systems and moments: the types of their results, where they write, what they refuse."""

import numpy as np
import pytest

from numerics import (
    AttentionSystem,
    ConvolutionalNetwork,
    DenseMoments,
    DiagonalMoments,
    FactoredMoments,
    SeparateAttention,
    TwoLayerNetwork,
    dense_moments,
    minimiser,
    moments_of_sequences,
    pool_moments,
    sample_chunks,
    sample_moments,
)
from tests.numerics.support import TASKS, assert_same, models, moment_kinds, state

MODELS, KINDS = models(), moment_kinds()
EPS = np.finfo(float).eps
FIELDS = {
    FactoredMoments: ("correlation", "second_moment", "covariance"),
    DiagonalMoments: ("correlation", "weights"),
    DenseMoments: ("correlation", "feature_moment"),
}
CASES = [(kind, field) for kind in FIELDS for field in FIELDS[kind]]


def narrowed(moments, dtype):
    """The moments with arrays of another type."""
    arrays = (getattr(moments, name).astype(dtype) for name in FIELDS[type(moments)])
    return type(moments)(moments.energy, *arrays)


def results(system, theta, direction):
    """All that a system computes of states."""
    yield from (system.loss(theta), system.velocity(theta), system.jvp(theta, direction))
    yield from (system.jacobian(theta), system.loss(np.stack([theta, direction])))


@pytest.mark.parametrize(("weights", "data"), [("f4", "f4"), ("f4", "f8"), ("f8", "f4"),
                                               ("c8", "f4"), ("c16", "f4")])  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_results_have_the_type_of_weights_and_moments_together(kind, weights, data):
    moments = narrowed(KINDS[kind], data)
    systems = [AttentionSystem(model, moments) for model in MODELS.values()]
    systems += [TwoLayerNetwork(moments, 2), ConvolutionalNetwork(moments, 3)]
    for system in systems:
        theta, direction = (state(system.size, seed).astype(weights) for seed in (0, 1))
        wide = [x.astype(complex) for x in (theta, direction)]
        for found, exact in zip(results(system, theta, direction), results(system, *wide),
                                strict=True):  # fmt: skip
            assert found.dtype == np.result_type(theta, moments.correlation)
            # Single precision: 500 roundings, as `assert_same` allows of double.
            assert np.abs(found - exact).max() <= 500 * 2.0**-23 * np.abs(exact).max()


@pytest.mark.parametrize(("weights", "residual"), [("f4", "f4"), ("f4", "f8"), ("f8", "f4")])
@pytest.mark.parametrize("name", MODELS)
def test_maps_of_weights_have_their_type_and_that_of_the_residual(name, weights, residual):
    model, both = MODELS[name], np.result_type(weights, residual)
    theta = state(model.size).astype(weights)
    G = np.random.default_rng(3).standard_normal((3, 3)).astype(residual)
    for array in (model.matrix(theta), model.pushforward(theta, theta), model.tangent(theta),
                  model.invariants(theta), model.rotate(theta, np.eye(3, dtype=weights),
                                                        np.eye(3, dtype=weights))):  # fmt: skip
        assert array.dtype == theta.dtype
    for array in (model.pullback(theta, G), model.curvature(theta, G),
                  model.pullback_derivative(theta, theta, G)):  # fmt: skip
        assert array.dtype == both


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", MODELS)
def test_the_velocity_reuses_one_array_for_the_residual(name, dtype):
    outs = []

    class Watched(DenseMoments):
        def residual(self, M, out):
            outs.append(out)
            out[:] = M
            return out

    dense = narrowed(KINDS["dense"], dtype)
    moments = Watched(dense.energy, dense.correlation, dense.feature_moment)
    system = AttentionSystem(MODELS[name], moments)
    theta = state(system.size).astype(dtype)
    for _ in range(2):
        expected = system.model.pullback(theta, system.model.matrix(theta))
        assert (system.velocity(theta) == expected).all()
    assert outs[0] is outs[1]
    assert outs[0].shape == (3, 3)
    assert outs[0].dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_the_residual_is_written_where_one_asks(kind):
    M = np.random.default_rng(2).standard_normal((2, 3, 3))
    expected, other = KINDS[kind].residual(M), np.empty_like(M)
    assert KINDS[kind].residual(M, other) is other
    assert KINDS[kind].residual(M, M) is M
    assert (other == expected).all()
    assert (expected == M).all()


@pytest.mark.parametrize(("kind", "field"), CASES)
def test_moments_check_and_convert_each_of_their_fields(kind, field):
    parts = dict.fromkeys(FIELDS[kind], np.eye(2))
    if kind is DenseMoments:
        parts["feature_moment"] = np.eye(4)
    lists = {name: part.astype(int).tolist() for name, part in parts.items()}
    assert getattr(kind(1, **lists), field).dtype == np.float64
    with pytest.raises(ValueError, match=rf"^{field} must have shape \({len(parts[field])}, "):
        kind(1.0, **parts | {field: np.ones((len(parts[field]), 3))})
    with pytest.raises(TypeError, match=f"^{field} must hold real numbers"):
        kind(1.0, **parts | {field: 1j * parts[field]})


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("form", ["diagonal", "factored"])
def test_the_unit_of_tokens_leaves_the_minimiser_of_singular_moments_as_it_is(form, unit):
    """In another unit E[zzᵀ] and C grow alike, and M* stays: a zero eigenvalue is still one."""
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    second = rotation @ np.diag([2.0, 0.5, 0.0]) @ rotation.T
    C = rotation @ np.diag([1.0, 2.0, 0.0]) @ rotation.T
    moments = FactoredMoments(1.0, unit * C, unit * second, np.diag([1.0, 0.7, 0.3]))
    if form == "diagonal":
        moments = moments.eigenform()[0]
    # Condition 2/0.15 of what is not zero.
    assert_same(minimiser(moments), minimiser(dense_moments(moments)), 5000)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_eigenvalue_of_d_roundings_is_a_zero_and_no_more_is(side):
    """W = s λᵀ with D = 2: 2ε of the largest is what rounding leaves of a zero, 3ε is not."""
    W = np.outer([1.0, 2 * EPS], [1.0, 0.5])
    kept = np.outer([1.0, 3 * EPS], [1.0, 0.5])
    C = np.array([[0.3, 0.2], [1e-3, 1e-4]])
    if side == "right":
        W, kept, C = W.T, kept.T, C.T
    best = minimiser(DiagonalMoments(1.0, C, W))
    zero = best[1] if side == "left" else best[:, 1]
    assert (zero == 0).all()
    assert (minimiser(DiagonalMoments(1.0, C, kept)) == C / kept).all()


def test_the_minimiser_of_weights_that_are_no_product_is_that_of_least_squares():
    W, C = np.array([[2.0, 0.0], [0.5, 1.0]]), np.array([[1.0, 0.7], [0.2, 0.4]])
    moments = DiagonalMoments(1.0, C, W)
    assert_same(minimiser(moments), minimiser(dense_moments(moments)))
    assert minimiser(moments)[0, 1] == 0


def test_pooled_moments_keep_single_precision():
    part = narrowed(KINDS["sample"], "f4")
    for weights in (None, [1.0, 3.0]):
        pooled = pool_moments([part, part], weights)
        assert pooled.feature_moment.dtype == pooled.correlation.dtype == np.float32


def test_moments_of_draws_are_those_of_the_same_draws_by_default():
    """10,001 sequences are more than one chunk, whose size decides what a seed gives."""
    task = TASKS["scalar"]
    drawn = moments_of_sequences(sample_chunks(task, 10_001, rng=1))
    sampled = sample_moments(task, 10_001, rng=1)
    assert sampled.energy == drawn.energy
    assert (sampled.feature_moment == drawn.feature_moment).all()


@pytest.mark.parametrize("chunks", [3, np.ones((2, 3)), [np.ones(3)], "abc"])
def test_what_holds_no_sequences_is_named(chunks):
    with pytest.raises(TypeError, match=r"^chunks must "):
        moments_of_sequences(chunks)


def test_pack_names_keys_and_queries_at_rank_one():
    model, rows = SeparateAttention(2, heads=3), np.ones((3, 2))
    for k, q, name in ((np.ones(3), rows, "k"), (rows, np.ones(3), "q")):
        with pytest.raises(ValueError, match=f"^{name} must have 2 or 3 axes"):
            model.pack(np.ones(3), k, q)

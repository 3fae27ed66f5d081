"""The strategies draw what they are named for, reach its edges, and reject nothing."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import numerics
from numerics import population_moments, strategies

ROOT = Path(numerics.__file__).parent.parent
EPS = float(np.finfo(float).eps)

# No health check is suppressed: a strategy that filters or draws too much fails the test.
strict = settings(suppress_health_check=[], max_examples=25)


def reaches(strategy, condition):
    """Whether an example with the property is found; which is the smallest does not matter."""
    found = settings(max_examples=500, database=None, phases=[Phase.generate])
    find(strategy, condition, settings=found)


def test_all_names_the_public_functions():
    own = {
        name
        for name, value in vars(strategies).items()
        if not name.startswith("_")
        and inspect.isfunction(value)
        and value.__module__ == strategies.__name__
    }
    assert set(strategies.__all__) == own
    assert strategies.__all__ == sorted(strategies.__all__)
    for name in own:
        assert inspect.getdoc(getattr(strategies, name)), name


def test_the_package_does_not_need_hypothesis():
    code = (
        "import sys; sys.modules['hypothesis'] = None; import numerics;"
        "assert 'numerics.strategies' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@strict
@given(strategies.spectra(st.integers(1, 12), smallest=1e-6, largest=1e6, descending=True))
def test_spectra(values):
    assert values.ndim == 1
    assert 1 <= values.size <= 12
    assert (np.diff(values) <= 0).all()
    assert values.min() >= 1e-6
    assert values.max() <= 1e6


def test_spectra_reach_their_edges():
    reaches(strategies.spectra(3), lambda v: len(set(v.tolist())) == 1)
    reaches(strategies.spectra(3), lambda v: len(set(v.tolist())) == 3)
    reaches(
        strategies.spectra(smallest=1e-6, largest=1e6), lambda v: v.min() < 1e-3 < 1e3 < v.max()
    )
    with pytest.raises(ValueError, match="smallest must be positive and at most largest, got 0"):
        strategies.spectra(3, smallest=0.0)


@strict
@given(strategies.rotations())
def test_rotations(Q):
    assert np.abs(Q @ Q.T - np.eye(len(Q))).max() < 20 * EPS


@strict
@given(strategies.covariances(smallest=0.1, largest=3.0))
def test_covariances(matrix):
    assert (matrix == matrix.T).all()
    values = np.linalg.eigvalsh(matrix)
    # Products of 4×4 matrices of size 3 round by less than 30 eps of it.
    assert values.min() > 0.1 - 100 * EPS
    assert values.max() < 3.0 + 100 * EPS


@strict
@given(strategies.linear_tasks() | strategies.token_tasks())
def test_tasks(task):
    assert 1 <= task.dimension <= 4
    assert 0 < task.inverse_context_length <= 1
    assert 0 <= task.noise <= 1
    assert len(numerics.sample_sequences(task, 2, rng=0)) == 2
    assert np.linalg.eigvalsh(population_moments(task).second_moment).min() > 0


@strict
@given(strategies.linear_tasks(commuting=True, infinite=True))
def test_commuting_tasks(task):
    product = task.covariance @ task.task_covariance
    assert np.abs(product - product.T).max() < 100 * EPS * np.abs(product).max()


def test_tasks_reach_their_edges():
    reaches(strategies.linear_tasks(), lambda task: task.noise == 0)
    reaches(strategies.linear_tasks(), lambda task: task.inverse_context_length == 1)
    reaches(strategies.linear_tasks(), lambda task: len(set(task.lengths)) > 1)
    reaches(strategies.linear_tasks(infinite=True), lambda task: task.inverse_context_length == 0)
    reaches(strategies.linear_tasks(), lambda task: task.dimension == 4)


@strict
@given(st.data())
def test_models_and_weights(data):
    task = data.draw(strategies.linear_tasks())
    model = data.draw(strategies.linear_models(task.dimension))
    theta = data.draw(strategies.weights(model))
    assert model.dimension == task.dimension
    assert theta.shape == (model.size,)
    assert np.isfinite(numerics.loss(model, population_moments(task), theta))


def test_models_and_weights_reach_their_edges():
    model = numerics.MergedAttention(2, 1)
    reaches(strategies.weights(model), lambda theta: not theta.any())
    reaches(strategies.weights(model), lambda theta: theta.all())
    kinds = strategies.linear_models(2)
    reaches(kinds, lambda m: isinstance(m, numerics.MergedAttention))
    reaches(kinds, lambda m: isinstance(m, numerics.SeparateAttention) and m.rank == 3)


@strict
@given(st.data())
def test_multi_tasks_and_their_models(data):
    task = data.draw(strategies.multi_tasks())
    model = data.draw(strategies.softmax_models(task.block_dims))
    theta = data.draw(strategies.weights(model))
    loss = numerics.SpectralSystem(model, task).loss(theta)
    # At zero the loss is Σ λ_i d_i.
    energy = float(np.dot(task.signal, task.block_dims))
    assert loss > 0
    assert theta.any() or loss == pytest.approx(energy, rel=10 * EPS)


@strict
@given(strategies.spectrum_pairs(3, smallest=0.1, largest=3.0), st.data())
def test_pairs_subsets_and_orders(pair, data):
    for values in pair:
        assert values.shape == (3,)
        assert ((values >= 0.1) & (values <= 3.0)).all()
    mask = data.draw(strategies.subsets(3))
    assert mask.shape == (3,)
    assert mask.dtype == bool
    assert sorted(data.draw(strategies.permutations(4)).tolist()) == [0, 1, 2, 3]


def test_subsets_and_orders_reach_their_edges():
    reaches(strategies.subsets(3), lambda mask: not mask.any())
    reaches(strategies.subsets(3), lambda mask: mask.all())
    reaches(strategies.permutations(3), lambda order: order.tolist() == [2, 1, 0])
    reaches(strategies.spectrum_pairs(), lambda pair: pair[0].tolist() != pair[1].tolist())


@strict
@given(strategies.moments(max_dimension=3))
def test_moments(moments):
    size = len(moments.correlation)
    assert 1 <= size <= 3
    dense = numerics.dense_moments(moments).feature_moment
    values = np.linalg.eigvalsh(dense)
    assert values.min() >= -100 * EPS * values.max()
    zero = float(numerics.matrix_loss(moments, np.zeros((size, size))))
    assert zero == moments.energy
    # Those of a distribution, or at least with a loss that is nowhere below zero.
    least = float(numerics.matrix_loss(moments, numerics.minimiser(moments)))
    if not isinstance(moments, numerics.FactoredMoments):
        assert least >= -1e-9 * moments.energy


def test_moments_are_of_every_kind():
    kinds = strategies.moments()
    for kind in (numerics.FactoredMoments, numerics.DiagonalMoments, numerics.DenseMoments):
        reaches(kinds, lambda m, kind=kind: isinstance(m, kind))

    def own_bases(m):
        """No symmetric C, as every task has: S and Λ of none."""
        return isinstance(m, numerics.FactoredMoments) and np.ptp(m.correlation - m.correlation.T)

    def singular(m):
        """A sample of fewer sequences than features."""
        if not isinstance(m, numerics.DenseMoments) or len(m.correlation) < 2:
            return False
        return np.linalg.matrix_rank(m.feature_moment) < len(m.feature_moment)

    reaches(kinds, own_bases)
    reaches(kinds, singular)


@strict
@given(strategies.sequences(max_count=5))
def test_sequences(sample):
    assert 1 <= len(sample) <= 5
    assert sample.lengths.min() >= 1
    np.testing.assert_allclose(sample.target, np.sum(sample.w * sample.query, axis=1), atol=1e-12)


def test_sequences_reach_their_edges():
    reaches(strategies.sequences(), lambda sample: len(sample) == 1)
    reaches(strategies.sequences(), lambda sample: len(set(sample.lengths.tolist())) > 1)
    task = numerics.LinearTask([[1.0]], 3)
    reaches(strategies.sequences(task, max_count=4), lambda sample: len(sample) == 4)


@strict
@given(strategies.multi_task_parameters(max_tasks=3), st.data())
def test_parameters_and_heads(parameters, data):
    dims, signal, length, noise = parameters
    assert len(dims) == len(signal) <= 3
    assert signal.min() >= 1 / 20
    assert signal.max() <= 20
    assert 1 <= length <= 1e6
    assert 0 <= noise <= 5
    omega, mu = data.draw(strategies.softmax_heads(dims))
    assert omega.shape == (len(mu), sum(dims))
    assert mu.shape[1] == len(dims)
    assert len(data.draw(strategies.softmax_heads(dims, heads=2))[0]) == 2


def test_parameters_reach_their_edges():
    drawn = strategies.multi_task_parameters()
    reaches(drawn, lambda p: len(p[0]) > 1 and len(set(p[0])) > 1)
    reaches(drawn, lambda p: p[3] == 0)
    reaches(drawn, lambda p: p[2] == 1)


@strict
@given(strategies.gradient_systems(jacobian=False), st.data())
def test_systems_can_be_trained(system, data):
    theta = data.draw(strategies.weights(system, scale=0.1))
    assert np.isfinite(system.loss(theta))
    assert system.velocity(theta).shape == theta.shape
    assert system.invariants(theta).ndim == 1


@strict
@given(strategies.gradient_systems())
def test_systems_have_jacobians(system):
    theta = np.full(system.size, 0.1)
    assert system.jacobian(theta).shape == (system.size, system.size)
    assert system.jvp(theta, theta).shape == theta.shape


def test_systems_and_layers_are_of_every_kind():
    kinds = [numerics.AttentionSystem, numerics.TwoLayerNetwork, numerics.ConvolutionalNetwork,
             numerics.SpectralSystem, numerics.LayerMomentsSystem]  # fmt: skip
    for kind in kinds:
        reaches(strategies.gradient_systems(), lambda s, kind=kind: isinstance(s, kind))

    def softmax_layer(system):
        return isinstance(system, numerics.LayerSystem) and system.layer.attention == "softmax"

    reaches(strategies.gradient_systems(jacobian=False), softmax_layer)
    for kind in (numerics.AttentionLayer, numerics.MultiTaskLayer):
        reaches(strategies.layers(2), lambda layer, kind=kind: isinstance(layer, kind))
    reaches(strategies.layers(2), lambda layer: layer.divide_by_context)
    reaches(strategies.layers(2, outputs=3), lambda layer: layer.output_shape == (3,))

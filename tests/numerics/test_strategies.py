"""The strategies draw what they are named for, reach its edges, and reject nothing."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import numerics
from numerics import population_moments, strategies

ROOT = Path(numerics.__file__).parent.parent
EPS = float(np.finfo(float).eps)

# No health check is suppressed: a strategy that filters or draws too much fails the test.
strict = settings(suppress_health_check=[], max_examples=25)


def reaches(strategy, condition):
    """Whether an example with the property is found."""
    find(strategy, condition, settings=settings(max_examples=500, database=None))


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
    model = data.draw(strategies.softmax_models(task.dimensions))
    theta = data.draw(strategies.weights(model))
    loss = numerics.SpectralSystem(model, task).loss(theta)
    # At zero the loss is Σ λ_i d_i.
    energy = float(np.dot(task.signal, task.dimensions))
    assert loss > 0
    assert theta.any() or loss == pytest.approx(energy, rel=10 * EPS)

"""Hessian spectra against differences of the loss, and the search for fixed points."""

import numpy as np
import pytest

from numerics import (
    AttentionSystem,
    MergedAttention,
    SeparateAttention,
    find_fixed_point,
    gradient,
    gradient_flow,
    loss,
    minimiser,
    population_moments,
    stability,
)
from tests.numerics.support import (
    STEP,
    TASKS,
    assert_same,
    models,
    moment_kinds,
    state,
    systems,
)

SYSTEMS = dict(systems())
GENERIC = population_moments(TASKS["generic"])


def hessian(f, theta, h=1e-4):
    """Complex step in one direction, central difference in the other."""
    axes = np.eye(len(theta))
    return np.array([
        [np.imag(f(theta + 1j * STEP * a + h * b) - f(theta + 1j * STEP * a - h * b))
         / (2 * h * STEP) for a in axes]
        for b in axes
    ])  # fmt: skip


@pytest.mark.parametrize(
    "name", [n for n in SYSTEMS if n.endswith(("scalar", "factored", "sample"))]
)
def test_the_spectrum_is_that_of_the_loss(name):
    system = SYSTEMS[name]
    theta = state(system.size, 1)
    result = stability(system, theta)
    H = hessian(system.loss, theta)
    scale = np.abs(H).max()
    # h² times the fourth derivatives ~ 1e-8 of the scale, and eps/h = 2e-12: 1e-6 is generous
    # and still sees a wrong factor in any block.
    assert np.abs(result.eigenvalues - np.linalg.eigvalsh((H + H.T) / 2)).max() < 1e-6 * scale
    recovered = (result.directions * result.eigenvalues) @ result.directions.T
    assert np.abs(recovered - H).max() < 1e-6 * scale
    gradient = 2 * np.linalg.norm(system.velocity(theta))
    assert_same(result.gradient_norm, gradient)
    assert (np.diff(result.eigenvalues) >= 0).all()


@pytest.mark.parametrize("kind", moment_kinds())
@pytest.mark.parametrize("heads", [1, 2, 5])
def test_zero_of_merged_attention_has_one_escape_direction_for_each_head(kind, heads):
    """Near zero L = const − 2 Σ v_h⟨C, U_h⟩: eigenvalues ±2‖C‖_F once per head, the rest 0."""
    moments = moment_kinds()[kind]
    model = MergedAttention(3, heads)
    result = stability(AttentionSystem(model, moments), np.zeros(model.size))
    size = float(np.linalg.norm(moments.correlation))
    assert result.index == heads
    assert result.flat == model.size - 2 * heads
    expected = np.concatenate([np.full(heads, -2 * size), np.zeros(result.flat),
                               np.full(heads, 2 * size)])  # fmt: skip
    assert_same(result.eigenvalues, expected)
    assert_same(result.escape_rate, size)
    assert result.gradient_norm == 0


def test_zero_of_separate_attention_is_flat():
    model = SeparateAttention(3, 2, rank=2)
    result = stability(AttentionSystem(model, GENERIC), np.zeros(model.size))
    assert (result.index, result.flat, result.escape_rate) == (0, model.size, 0.0)


@pytest.mark.parametrize("kind", moment_kinds())
def test_the_minimum_has_no_escape_direction(kind):
    moments = moment_kinds()[kind]
    M = minimiser(moments)
    model = MergedAttention(3, 2)
    result = stability(
        AttentionSystem(model, moments), model.pack([1.0, 0.5], [0.8 * M, 0.4 * M]), tolerance=1e-8
    )
    assert result.gradient_norm < 1e-10
    assert result.index == 0
    assert result.escape_rate < 1e-8
    # M fills 9 of the 20 directions; the other 11 move along the set of global minima.
    assert result.flat == 11
    assert result.tolerance == 1e-8


def test_the_default_tolerance_is_the_rounding_of_the_spectrum():
    system = AttentionSystem(MergedAttention(3, 2), GENERIC)
    result = stability(system, state(20, 1))
    largest = np.abs(result.eigenvalues).max()
    assert result.tolerance == pytest.approx(20 * np.finfo(float).eps * largest)
    assert result.index == (result.eigenvalues < -result.tolerance).sum()
    wide = stability(system, state(20, 1), tolerance=float(2 * largest))
    assert (wide.index, wide.flat) == (0, 20)


def test_the_flow_leaves_zero_along_the_escape_direction_at_the_escape_rate():
    model = MergedAttention(3, 2)
    result = stability(AttentionSystem(model, GENERIC), np.zeros(model.size))
    start = 1e-6 * result.directions[:, 0]
    time = 3 / result.escape_rate
    run = gradient_flow(model, GENERIC, start, time, rtol=1e-10, atol=1e-18)
    # Linear growth e³; the quadratic remainder is (2e-5)² relatively.
    assert run.states[-1] == pytest.approx(np.exp(3.0) * start, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", models())
@pytest.mark.parametrize("seed", [0, 1])
def test_find_fixed_point_reaches_zero_gradient(name, seed):
    system = AttentionSystem(models()[name], GENERIC)
    point = find_fixed_point(system, state(system.size, seed, 0.5))
    # Solver tolerance 1e-14 on the sum of squares of the velocity relative to its start.
    assert stability(system, point).gradient_norm < 1e-6
    assert np.isfinite(point).all()


def test_find_fixed_point_finds_the_saddle_it_starts_next_to():
    """Gradient flow would leave; root finding returns to M = 0, index and all."""
    model = MergedAttention(3, 2)
    system = AttentionSystem(model, GENERIC)
    point = find_fixed_point(system, state(model.size, 3, 1e-3))
    # v = 0 and U ⊥ C is a whole plane of weights with M = 0, so only M is determined.
    assert np.abs(model.matrix(point)).max() < 1e-12
    assert np.abs(point).max() < 0.02
    assert stability(system, point, tolerance=1e-6).index == 2


@pytest.mark.parametrize("name", models(1))
def test_whole_numbers_and_lists_are_weights_too(name):
    model, moments = models(1)[name], population_moments(TASKS["scalar"])
    system = AttentionSystem(model, moments)
    whole = np.arange(1, model.size + 1)
    floats = whole.astype(float)
    assert_same(system.velocity(whole), system.velocity(floats))
    assert_same(system.jacobian(whole), system.jacobian(floats))
    assert_same(stability(system, whole.tolist()).eigenvalues,
                stability(system, floats).eigenvalues)  # fmt: skip
    assert_same(gradient(model, moments, whole.tolist()), gradient(model, moments, floats))
    assert_same(loss(model, moments, whole.tolist()), loss(model, moments, floats))
    stack = np.array([floats, 2 * floats])
    assert_same(loss(model, moments, stack.tolist()), system.loss(stack))
    assert_same(find_fixed_point(system, whole.tolist()), find_fixed_point(system, floats))


@pytest.mark.parametrize(("value", "error", "text"), [
    (np.ones(3), ValueError, "length of {} is 3, but the model makes it 20"),
    (np.full(20, np.nan), ValueError, "{} must be finite"),
    (np.ones((2, 2, 20)), ValueError, "{} must have 1.* axes"),
    (["a"] * 20, TypeError, "{} must hold real numbers"),
])  # fmt: skip
def test_bad_weights_are_named(value, error, text):
    model = MergedAttention(3, 2)
    system = AttentionSystem(model, GENERIC)
    for call in (lambda: stability(system, value), lambda: loss(model, GENERIC, value),
                 lambda: gradient(model, GENERIC, value)):  # fmt: skip
        with pytest.raises(error, match=text.format("theta")):
            call()
    with pytest.raises(error, match=text.format("start")):
        find_fixed_point(system, value)


def test_bad_tolerances_are_named():
    system = AttentionSystem(MergedAttention(3, 2), GENERIC)
    with pytest.raises(ValueError, match=r"^tolerance must be >= 0"):
        stability(system, np.zeros(20), tolerance=-1.0)
    with pytest.raises(ValueError, match=r"^rtol must be > 0"):
        find_fixed_point(system, np.zeros(20), rtol=0.0)

"""The stabilised method: its polynomials, rates found while walking, rows of unequal stages."""

from dataclasses import replace

import numpy as np
import pytest

import gpu
from gpu._arrays import to_host
from gpu.integrate import FunctionProblem, Status, integrate
from gpu.integrate.choose import choose_method
from gpu.integrate.chunks import numbers_per_weight
from gpu.integrate.polynomials import (
    LARGEST,
    LEAST,
    amplification,
    constants,
    place_of,
    stability,
    stages_of,
)
from gpu.integrate.stabilised import StabilisedStep, cost_of, reach
from gpu.integrate.tableau import _tree_weights
from numerics import LinearTask, SeparateAttention
from tests.gpu.integrate.support import linear, logistic
from tests.gpu.support import PLACES

CLASSES = range(LEAST, LARGEST + 1)
EPS = float(np.finfo(float).eps)


def walk(m, slope):
    """D_s, D_{s−1}, G and h F_s of class m as its recurrences make them, h F being slope(j, D)."""
    table = constants().stages[:, place_of(m) : place_of(m + 1)].T
    before = now = kept = 0.0 * slope(0, 0.0)
    for j, (mu, nu, sigma, weight) in enumerate(table):
        kept = now if j == stages_of(m) - 4 else kept
        before, now = now, mu * now + nu * before + sigma * slope(j, now) + weight * kept
    return now, before, kept, slope(stages_of(m), now)


def test_constants_are_of_order_4():
    defects = constants().order_defects()
    assert defects.shape == (8 + 4, len(CLASSES))
    # Sums of up to 63 terms of order 1, some 10 roundings of which do not cancel.
    assert np.abs(defects).max() < 100 * EPS


@pytest.mark.parametrize("m", CLASSES)
def test_the_conditions_of_order_4_hold_for_the_whole_matrix(m):
    """Row j holds the weights of h F_0, h F_1, … in D_j; the trees are those of `tableau`."""
    s, rows = stages_of(m), []

    def slope(j, D):
        rows.append(np.zeros(s + 1) + D)
        return np.eye(s + 1)[j]

    parts = np.stack([*walk(m, slope), np.eye(s + 1)[0]])
    A, error = np.stack(rows[1:]), constants().error[:, m - LEAST] @ parts
    for size, _, phi, density in _tree_weights(A, A, np.ones(s + 1)):
        if size <= 4:
            assert abs(A[-1] @ phi - float(1 / density)) < 100 * EPS
        if size <= 3:
            assert abs(error @ phi) < 100 * EPS


@pytest.mark.parametrize("m", CLASSES)
def test_the_error_is_a_tenth_of_the_term_of_order_4(m):
    z = -0.01
    parts = np.array([*walk(m, lambda _, D: z * (1.0 + D)), z])
    # The next order's share of z.
    found = constants().error[:, m - LEAST] @ parts
    assert found == pytest.approx(0.1 * z**4 / 24, rel=3 * abs(z))


def test_a_wrong_constant_is_noticed():
    s, first = stages_of(LEAST), place_of(LEAST)
    # Nothing comes before the first stage, and G is but in the last four.
    for row, start in enumerate((1, 2, 0, s - 4)):
        for j in range(start, s):
            stages = constants().stages.copy()
            stages[row, first + j] += 1e-3
            found = replace(constants(), stages=stages).order_defects()
            assert np.abs(found[:8, 0]).max() > 1e-6, (row, j)
            assert np.abs(found[:, 1:]).max() < 100 * EPS
    for row in range(5):
        error = constants().error.copy()
        error[row, 0] += 1e-3
        found = replace(constants(), error=error).order_defects()
        assert np.abs(found[8:, 0]).max() > 1e-6, row


@pytest.mark.parametrize("m", CLASSES)
def test_a_step_damps_down_to_its_bound_and_not_beyond(m):
    end = stability(m)
    # 100 points in each oscillation miss 1e-4 of its height; 2e-4 is the fit's own error, and
    # roundings are amplified by w(−β) of some 0.01 β⁴.
    z = end * np.sin(np.linspace(0, np.pi / 2, 100 * stages_of(m))) ** 2
    found = np.abs(amplification(m, -z[z > 0.1])).max()
    assert found == pytest.approx(0.95, abs=3e-4 + 0.02 * end**4 * EPS)
    assert abs(amplification(m, -1.002 * end)) > 1.0


@pytest.mark.parametrize("m", CLASSES)
def test_a_step_is_an_exponential_to_order_4(m):
    errors = [abs(amplification(m, -z) - np.exp(-z)) for z in (0.4, 0.2)]
    # 2⁵, but for the next order's share of z.
    assert errors[0] / errors[1] == pytest.approx(32, rel=0.3)


def test_classes_follow_one_another_in_the_table():
    for m in CLASSES:
        assert place_of(m) + stages_of(m) == place_of(m + 1)
    assert constants().stages.shape[1] == place_of(LARGEST + 1)
    assert (np.diff([stability(m) for m in CLASSES]) > 0).all()


def test_the_longest_step_shrinks_with_the_tolerance():
    reached = [reach(rtol, EPS) for rtol in (1e-4, 1e-6, 1e-8, 1e-12)]
    assert (np.diff(reached) < 0).all()
    # An evaluation is worth more the longer the step.
    assert (np.diff([cost_of(x) for x in reached]) > 0).all()
    assert reach(1e-5, float(np.finfo(np.float32).eps)) == stability(LEAST) / 1.2


def test_rows_do_not_wait_for_one_another():
    rates, start = np.repeat([1.0, 30.0, 1e3], 2), np.full((1, 6), 0.5)
    run = integrate(logistic(rates), start, 3.0, method="Chebyshev")
    assert run.texts() == ["finished"] * 6
    assert (np.diff(run.evaluations[::2]) > 0).all()
    for pair in (slice(0, 2), slice(2, 4), slice(4, 6)):
        alone = integrate(logistic(rates[pair]), start[:, pair], 3.0, method="Chebyshev")
        # No sum runs over rows, and of two rows or more a stage is summed in one order: the bits
        # are the same. Of one row NumPy sums in another order, see the next test; near rest, where
        # steps are as long as is stable, their lengths carry that on to any later state.
        for name in ("steps", "evaluations", "refused", "state"):
            found, wanted = getattr(run, name)[..., pair], getattr(alone, name)
            np.testing.assert_array_equal(found, wanted)


def step_and_roundings(m, z, y):
    """A step of y' = z y/h and its error, and how far roundings may move each.

    A stage summed in two orders differs by two times four roundings, or 4 EPS, of the sum of its
    terms' moduli, and h F, of Y = y + D and a product, by 2 EPS of itself. The column of each such
    difference follows it through the later stages.
    """
    s, first = stages_of(m), place_of(m)
    D, F = np.zeros((2, s + 1, 2 * s + 3))
    for j in range(s + 1):
        if j > 0:
            mu, nu, sigma, weight = constants().stages[:, first + j - 1]
            terms = [mu * D[j - 1], nu * D[j - 2], sigma * F[j - 1], weight * D[s - 4]]
            D[j] = np.sum(terms, axis=0)
            D[j, j] = 4 * EPS * sum(abs(term[0]) for term in terms)
        F[j] = z * D[j]
        F[j, 0] = z * (y + D[j, 0])
        F[j, s + 1 + j] += 2 * EPS * abs(F[j, 0])
    error = constants().error[:, m - LEAST] @ np.stack([D[s], D[s - 1], D[s - 4], F[s], F[0]])
    made = (y + D[s, 0], error[0])
    return made, (np.abs(D[s, 1:]).sum() + EPS * abs(made[0]), np.abs(error[1:]).sum())


def first_steps(z, y):
    """State, error and evaluations / `PERIOD` of each row's first step of y' = −z y, h = 1."""
    state, none = np.full((1, len(z)), y), np.zeros(len(z), bool)
    problem = FunctionProblem(lambda y, z: -z * y, [z])
    method, found = StabilisedStep(problem, state, problem.velocity(state)), {}
    for attempt in range(1, LARGEST + 1):
        made, error = method.attempt(state, np.ones(len(z)))
        for row in np.nonzero(method.ready)[0]:
            found.setdefault(int(row), (made[0, row], error[0, row], attempt))
        state = method.commit(none, state, made)
    return [found[row] for row in range(len(z))]


def test_steps_of_all_classes_at_once_are_their_recurrences_to_rounding():
    """Of one row NumPy sums stages in another order; the last stages amplify that by up to 0.4 z⁴.

    The longest steps at a tolerance of 1e-8 have z = 99, see `reach`: it may reach 3e-9 of y there.
    """
    y, z = 0.7, np.array([stability(m) / 1.3 for m in CLASSES])  # 1.2 is the safety of the rate
    together = first_steps(z, y)
    for m, end, row in zip(CLASSES, z, together, strict=True):
        (alone,) = first_steps(np.array([end]), y)
        assert (row[2], alone[2]) == (m, m)
        wanted, allowed = step_and_roundings(m, -end, y)
        for one, other in ((row, alone), (row, wanted), (alone, wanted)):
            assert (np.abs(np.subtract(one[:2], other[:2])) <= allowed).all()


def test_stiff_rows_take_the_root_of_the_explicit_evaluations():
    y, problem = np.full((1, 1), 0.5), logistic(np.array([2e3]))
    ours, theirs = (
        integrate(problem, y, 5.0, method=method, rtol=1e-6).evaluations[0]
        for method in ("Chebyshev", "explicit")
    )
    # At rest the bound on hρ is 250, for 32 evaluations; 6 go 3.3 explicitly.
    assert ours < theirs / 8


def test_a_stiffness_that_awakes_is_noticed():
    def velocity(y):
        rate = 1.0 + 2e3 / (1.0 + np.exp(-40.0 * (y[0] - 1.0)))
        return np.stack([np.ones_like(y[0]), -(y[1] - 1.0), -rate * (y[2] - y[1])])

    run = integrate(
        FunctionProblem(velocity), np.array([[0.0], [2.0], [2.0]]), 3.0, method="Chebyshev"
    )
    assert run.texts() == ["finished"]
    assert run.refused[0] < 0.1 * run.steps[0]
    assert run.state[1, 0] == pytest.approx(1 + np.exp(-3), abs=1e-6)
    # Behind y_1 by its speed over the rate.
    assert run.state[2, 0] - run.state[1, 0] == pytest.approx(np.exp(-3) / 2e3, rel=1e-2)


def test_a_linear_system_with_many_real_rates():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    rates = np.geomspace(1e-1, 1e3, 40)
    y, times = rng.standard_normal((40, 3)), np.array([0.01, 0.3, 2.0])
    problem = linear(-(basis * rates) @ basis.T)
    run = integrate(problem, y, 2.0, times=times, method="Chebyshev")
    for t, state in zip(times, run.record, strict=True):
        exact = (basis * np.exp(-rates * t)) @ basis.T @ y
        # Some 100 steps of 1e-8 each, which later steps damp.
        np.testing.assert_allclose(state, exact, rtol=0, atol=1e-6)


def test_float32():
    rates, y = np.array([1.0, 50.0], np.float32), np.full((1, 2), 0.1, np.float32)
    run = integrate(logistic(rates), y, 2.0, method="Chebyshev", rtol=1e-5, atol=1e-7)
    assert run.state.dtype == np.float32
    exact = 1 / (1 + 9 * np.exp(-2.0 * rates.astype(float)))
    np.testing.assert_allclose(run.state[0], exact, rtol=1e-4)


def test_steps_run_out():
    y, rates = np.full((1, 2), 0.5), np.array([1.0, 1e4])
    run = integrate(logistic(rates), y, 20.0, method="Chebyshev", rtol=1e-5, max_steps=99)
    assert run.status.tolist() == [Status.FINISHED, Status.OUT_OF_STEPS]
    assert run.steps[1] == 99


def test_auto_walks_plateaus_without_a_jacobian():
    def bare(rates):
        return FunctionProblem(lambda y, r: r * y * (1.0 - y), [rates])

    def chosen(problem, y, end):
        with np.errstate(all="ignore"):
            return choose_method(problem, y, np.full(y.shape[1], end), 1e-8, 1e-12)

    start = np.full((1, 2), 0.5)
    assert chosen(bare(np.array([1e3, 2e3])), start, 5.0) == "Chebyshev"
    assert chosen(bare(np.array([1.0, 2.0])), start, 5.0) == "explicit"
    # Rates that are not real are beyond the stabilised method.
    turn = FunctionProblem(lambda y: 1e3 * np.stack([y[1], -y[0]]))
    assert chosen(turn, np.ones((2, 1)), 1.0) == "explicit"


def test_memory_of_a_weight():
    assert numbers_per_weight(500, 3, "Chebyshev") == numbers_per_weight(500, 3, "explicit")


def test_a_plateau_of_many_weights():
    model = SeparateAttention(dimension=8, heads=9)
    assert model.size > 128
    moments = gpu.stack_moments([LinearTask(np.diag(1 / np.arange(1.0, 9.0)), 31)])
    theta, times = gpu.initial_weights(model, 1e-2, range(2)), np.linspace(0, 2e3, 30)
    runs = [
        gpu.gradient_flow(model, moments, theta, 2e3, times=times, method=method, rtol=rtol)
        for method, rtol in (("Chebyshev", 1e-7), ("explicit", 1e-8))
    ]
    # 1e-7 of the weights at each of some hundred steps shifts their growth's logarithm by 1e-5; a
    # drop of order 1 that lasts some times its growth's e-folding is as far off.
    assert np.abs(runs[0].loss - runs[1].loss).max() < 1e-4
    assert (runs[0].loss[:, -1] < 0.7 * runs[0].loss[:, 0]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("place", PLACES)
def test_every_library_walks_the_same(place, dtype):
    model, task = SeparateAttention(dimension=2, heads=2), LinearTask(np.diag([1.0, 0.5]), 20)
    theta = gpu.initial_weights(model, 0.1, range(3))
    options = {"times": [2.0, 8.0], "method": "Chebyshev", "rtol": 1e-4, "atol": 1e-6}
    moments = gpu.stack_moments([task], dtype=place.dtype(dtype), **place.options)
    run = gpu.gradient_flow(model, moments, place.put(theta, dtype), 8.0, **options)
    assert place.holds(run.states, dtype)
    there = gpu.gradient_flow(model, gpu.stack_moments([task]), theta, 8.0, **options)
    # Rounding alone, grown tenfold along the escape; in float32 it turns refusals too.
    allowed = 1e-9 if dtype == "float64" else 2e-3
    assert np.abs(to_host(run.states) - there.states).max() < allowed

"""Batched gradient flow against `numerics.gradient_flow`, row by row."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import gpu
import numerics
from gpu._arrays import to_host
from gpu.flow import Dissipating
from numerics.softmax.spectral import PAPER_TAU, SpectralAttention, SpectralSystem, spectral_flow
from tests.gpu.support import PLACES, Place, assert_close
from tests.numerics.support import spd

ROWS, TIME = 3, 15.0
# At D = 2 a basis from eigh is often its own transpose.
MODELS = [numerics.SeparateAttention(3, 2), numerics.MergedAttention(3, 2)]
METHODS = ["explicit", "implicit", "Chebyshev"]
GRID = np.linspace(0.0, TIME, 16)
# Two integrations at rtol 1e-8: errors of weights add up over some hundred steps, and grow along
# the escape from a plateau by its factor of about 1/scale = 10.
TOLERANCES = {"rtol": 1e-8, "atol": 1e-11}
ALLOWED = 1e-5


def moments(kind="factored"):
    tasks = [
        numerics.LinearTask(spd(3, i, ridge=0.5), 5 + 10 * i, task_covariance=spd(3, i + 9))
        for i in range(ROWS)
    ]
    if kind == "dense":
        return [numerics.sample_moments(task, 400, rng=i) for i, task in enumerate(tasks)]
    return [numerics.population_moments(task) for task in tasks]


def weights(model):
    return gpu.initial_weights(model, [0.3, 0.4, 0.5], range(ROWS))


def twins(model, given, **options):
    rows = zip(given, weights(model), strict=True)
    return [
        numerics.gradient_flow(model, m, row, TIME, times=GRID, **TOLERANCES, **options)
        for m, row in rows
    ]


@pytest.mark.parametrize(
    ("method", "kind"),
    [("explicit", "factored"), ("implicit", "factored"), ("Chebyshev", "dense"), ("auto", "dense")],
)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_flows_are_their_twins(model, method, kind):
    stacked = gpu.stack_moments(moments(kind))
    options = {"times": GRID, "method": method, **TOLERANCES}
    run = gpu.gradient_flow(model, stacked, weights(model), TIME, **options)
    assert run.status == ("finished",) * ROWS
    assert_close(run.t, GRID)
    for i, one in enumerate(twins(model, moments(kind))):
        for name in ("states", "loss", "loss_rate"):
            assert np.abs(getattr(run, name)[i] - getattr(one, name)).max() < ALLOWED, name
    # It learned something, or the comparison says little.
    assert (run.loss[:, -1] < 0.7 * run.loss[:, 0]).all()


@pytest.mark.parametrize("place", PLACES)
def test_every_library_gives_the_same_flow(place):
    model = MODELS[0]
    options = {"times": GRID[::5], "method": "explicit", "rtol": 1e-6}
    given = gpu.stack_moments(moments(), **place.options)
    run = gpu.gradient_flow(model, given, place.put(weights(model)), TIME, **options)
    columns = ("t", "states", "loss", "loss_rate", "invariant_drift", "energy_gap")
    assert all(place.holds(getattr(run, name)) for name in columns)
    there = gpu.gradient_flow(model, gpu.stack_moments(moments()), weights(model), TIME, **options)
    # Products rounded in another order, over the few hundred steps of both.
    assert_close(run.states, there.states, roundings=1e6)


@pytest.mark.parametrize("method", METHODS)
def test_error_bars_shrink_with_the_tolerance(method):
    model, stacked = MODELS[0], gpu.stack_moments(moments())
    bars = []
    for rtol in (1e-4, 1e-7):
        run = gpu.gradient_flow(
            model, stacked, weights(model), TIME, method=method, rtol=rtol, atol=rtol * 1e-3
        )
        bars.append((run.invariant_drift.max(), np.abs(run.energy_gap).max()))
    # A thousandfold tolerance; errors per step to the power 4/5 at least would give 250.
    for loose, tight in zip(*bars, strict=True):
        assert 0 < tight < loose / 30


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_the_jacobian_knows_the_dissipated_energy(tau):
    system = gpu.AttentionSystem(MODELS[0], gpu.stack_moments(moments()))
    problem = Dissipating(system.problem, tau)
    state = np.concatenate([weights(MODELS[0]).T, np.ones((1, ROWS))])
    step = 1e-30j
    for i, column in enumerate(np.eye(problem.size)[:, :, None]):
        derivative = problem.velocity(state + step * column).imag / 1e-30
        assert_close(problem.jacobian(state)[:, i, :], derivative)


@pytest.mark.parametrize("place", PLACES)
def test_float32_stays_float32(place):
    model = MODELS[0]
    stacked = gpu.stack_moments(moments(), dtype=place.dtype("float32"), **place.options)
    theta = place.put(weights(model), "float32")
    options = {"times": GRID[::5], "method": "explicit", "rtol": 1e-5, "atol": 1e-7}
    run = gpu.gradient_flow(model, stacked, theta, TIME, **options)
    assert place.holds(run.states, "float32")
    assert place.holds(run.loss, "float32")
    for i, one in enumerate(twins(model, moments())):
        # 1e-5 per unit of weight at each of the steps, grown tenfold along the escape.
        assert np.abs(to_host(run.loss)[i] - one.loss[::5]).max() < 1e-2


def test_a_row_does_not_depend_on_its_batch_or_chunk():
    model, given = MODELS[0], moments()
    theta = weights(model)
    options = {"times": GRID, "method": "explicit", **TOLERANCES}
    whole = gpu.gradient_flow(model, gpu.stack_moments(given), theta, TIME, **options)
    pieces = gpu.gradient_flow(model, gpu.stack_moments(given), theta, TIME, memory=1, **options)
    for i in range(ROWS):
        alone = gpu.gradient_flow(
            model, gpu.stack_moments(given[i : i + 1]), theta[i : i + 1], TIME, **options
        )
        assert np.abs(alone.states[0] - whole.states[i]).max() < ALLOWED
        assert np.abs(pieces.states[i] - whole.states[i]).max() < ALLOWED


def test_drop_times_are_those_of_single_runs():
    model = numerics.SeparateAttention(1, 1)
    lengths = (5, 50)
    tasks = [numerics.LinearTask([[1.0]], n) for n in lengths]
    theta, grid = np.full((2, 3), 1e-2), np.linspace(0.0, 200.0, 401)
    run = gpu.gradient_flow(model, gpu.stack_moments(tasks), theta, 200.0, times=grid)
    plateaus = run.loss[:, [0, -1]]
    found = run.drop_times(plateaus)
    for i, task in enumerate(tasks):
        one = numerics.gradient_flow(
            model, numerics.population_moments(task), theta[i], 200.0, times=grid
        )
        expected = numerics.drop_times(one.t, one.loss, plateaus[i], loss_rate=one.loss_rate)
        # rtol 1e-8 on a weight that grows a hundredfold: 1e-6 of its time of about 100.
        assert np.abs(found[i] - expected).max() < 1e-4
        assert expected[0] > 10


def test_the_spectral_flow_is_its_twin():
    model = SpectralAttention(block_dims=(3, 4), heads=2, embedding_dim=7)
    tasks = [numerics.MultiTask((3, 4), 1.0, context_length=n) for n in (20, 60)]
    start = model.leading_weights(0.1, 0.1, 0.3)
    system = gpu.SpectralSystem(model, gpu.stack_moments(tasks))
    run = gpu.system_flow(
        system, np.stack([start, start]), 3.0, tau=PAPER_TAU, times=[0.0, 1.5, 3.0], **TOLERANCES
    )
    for i, task in enumerate(tasks):
        options = {"times": [0.0, 1.5, 3.0], **TOLERANCES}
        one = spectral_flow(SpectralSystem(model, task), start, 3.0, **options)
        assert np.abs(run.loss[i] - one.loss).max() < ALLOWED
    assert (run.loss[:, -1] < 0.9 * run.loss[:, 0]).all()


def test_a_row_that_cannot_finish_says_so_and_the_others_do():
    model, theta = MODELS[0], weights(MODELS[0])
    theta[1] *= 1e90
    run = gpu.gradient_flow(
        model, gpu.stack_moments(moments()), theta, TIME, times=GRID, method="explicit",
        max_steps=3000,
    )  # fmt: skip
    assert run.status[0] == run.status[2] == "finished"
    assert run.status[1].startswith("stopped")
    assert np.isnan(run.loss[1, -1])
    assert np.isfinite(run.loss[[0, 2]]).all()


def test_a_layer_flows_without_a_jacobian():
    layer = numerics.AttentionLayer(1, 1, attention="softmax")
    drawn = numerics.sample_sequences(numerics.LinearTask([[1.0]], 9), 30, rng=0)
    tokens = numerics.tokens_of(drawn)
    system, theta = gpu.LayerSystem(layer, tokens, drawn.target), np.full((2, layer.size), 0.3)
    run = gpu.system_flow(system, theta, 1.0, times=[0.0, 1.0], **TOLERANCES)
    one = numerics.LayerSystem(layer, tokens, drawn.target)
    end = solve_ivp(lambda t, y: one.velocity(y), (0.0, 1.0), theta[0], **TOLERANCES).y[:, -1]
    assert np.abs(run.states[:, -1] - end).max() < ALLOWED
    with pytest.raises(ValueError, match="method must be explicit"):
        gpu.system_flow(system, theta, 1.0, method="implicit")


@pytest.mark.parametrize("rank", [None, 1])
def test_a_linear_layer_by_moments_flows_by_every_method(rank):
    layer = numerics.AttentionLayer(2, 2, rank, divide_by_context=True)
    task = numerics.LinearTask(np.diag([0.8, 1.2]), 20)
    drawn = [numerics.sample_sequences(task, 300, rng=i) for i in range(2)]
    given = [
        numerics.linear_layer_moments([(numerics.tokens_of(s), s.target)], divide_by_context=True)
        for s in drawn
    ]
    system = gpu.LayerMomentsSystem(layer, gpu.stack_moments(given))
    theta = gpu.initial_weights(layer, 0.1, range(2))
    grid = np.linspace(0.0, 40.0, 9)
    runs = {
        method: gpu.system_flow(system, theta, 40.0, times=grid, method=method, **TOLERANCES)
        for method in METHODS
    }
    twins = [
        numerics.system_flow(numerics.LayerMomentsSystem(layer, m), row, 40.0, times=grid)
        for m, row in zip(given, theta, strict=True)
    ]
    for run in runs.values():
        assert run.status == ("finished",) * 2
        for i, one in enumerate(twins):
            assert np.abs(run.states[i] - one.states).max() < ALLOWED
    assert (runs["implicit"].loss[:, -1] < 0.5 * runs["implicit"].loss[:, 0]).all()


def test_what_is_out_of_range_is_refused_by_name():
    model = MODELS[0]
    stacked, theta = gpu.stack_moments(moments()), weights(model)
    for options, message in (
        ({"times": [0.0, 50.0]}, "times must increase within"),
        ({"tau": 0.0}, "tau must be > 0"),
        ({"method": "LSODA"}, "method must be auto"),
        ({"rtol": -1.0}, "rtol must be > 0"),
        ({"max_steps": 0}, "max_steps must be >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            gpu.gradient_flow(model, stacked, theta, TIME, **options)
    with pytest.raises(ValueError, match="duration must be > 0"):
        gpu.gradient_flow(model, stacked, theta, 0.0)
    with pytest.raises(TypeError, match="initial has library"):
        gpu.gradient_flow(model, stacked, Place("device1").put(theta), TIME)

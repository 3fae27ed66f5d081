"""The reduced flows of one softmax head against the flow of the whole head."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.optimize import OptimizeResult

from numerics import MultiTask
from numerics.softmax.decomposable import SpectralAttention
from numerics.softmax.reduced import ReducedHead
from numerics.softmax.spectral import SpectralSystem, spectral_flow
from tests.numerics.support import EPS, assert_same


def test_reduced_flow_is_the_flow_of_one_head():
    head = ReducedHead(4, signal=0.8, context_length=50, embedding_dim=9, noise=0.6)
    system = SpectralSystem(SpectralAttention((4,), 1, 9), MultiTask((4,), 0.8, 50, noise=0.6))
    t = np.linspace(0, 30, 31)
    full = spectral_flow(
        system, system.model.balanced(np.full((1, 4), 0.05), [[0.7]]), 30.0, times=t, rtol=1e-10
    )
    run = head.flow(0.05, 0.7, 30.0, times=t)
    omega, mu = system.model.combined(full.states)
    # rtol 1e-10 over a growth from 0.05 to 0.5, with room for some hundred steps.
    assert np.abs(omega[:, 0, 2] - run.omega_bar).max() < 1e-6
    assert np.abs(mu[:, 0, 0] - run.mu).max() < 1e-6
    assert np.abs(full.loss - run.loss).max() < 1e-6


def test_emergence_is_the_velocity_on_the_slow_manifold():
    head, omega = ReducedHead(4, 0.8, 50, 9, noise=0.6), np.linspace(0.05, 0.6, 9)
    d_omega, d_mu = head.velocity(omega, head.equilibrium(omega))
    assert_same(d_omega, head.emergence_rate(omega))
    assert np.abs(d_mu).max() < 100 * EPS
    run = head.emergence(0.05, 500.0)
    assert run.status == "finished"
    assert run.omega_bar[-1] == pytest.approx(0.5, abs=1e-8)


def test_the_loss_is_the_formula_for_numbers_and_arrays():
    head, omega, mu = ReducedHead(4, 0.8, 50, 9, noise=0.6), np.array([0.1, -0.4]), 1.3
    spread = (1 + 0.36 / 3.2) * np.exp(4 * omega**2) / 50
    assert_same(head.spread(omega), spread)
    assert_same(head.loss(omega, mu), 3.2 * ((1 - mu * omega) ** 2 + mu**2 * spread))
    assert_same(head.loss(omega, np.full(2, mu)), head.loss(omega, mu))
    assert_same(head.loss(0.1, np.full(2, mu)), np.repeat(head.loss(0.1, mu), 2))
    whole = ReducedHead(4, 1, 50, 9, noise=0)
    assert (type(whole.signal), type(whole.noise)) == (float, float)


@pytest.mark.parametrize("emerges", [False, True])
def test_a_run_tells_how_it_went_and_draws_itself(emerges):
    head, times = ReducedHead(4, 0.8, 50, 9), [0.0, 1.0, 3.0, 4.0]
    run = (head.emergence(0.05, 4.0, times=times) if emerges
           else head.flow(0.05, 0.7, 4.0, times=times))  # fmt: skip
    assert run.t.tolist() == times
    assert_same(run.loss, head.loss(run.omega_bar, run.mu))
    assert repr(run) == (
        f"ReducedRun(finished, t=0…4, 4 points, loss {run.loss[0]:.6g} → {run.loss[-1]:.6g})"
    )
    ax = Figure().subplots()
    assert run.plot(ax, color="black") is ax
    assert ax.get_xlabel() == "time t  (dθ/dt = −∂ℓ/∂θ)"
    (line,) = ax.lines
    assert line.get_xydata().tolist() == np.column_stack([run.t, run.loss]).tolist()
    assert line.get_color() == "black"


def test_the_picture_begins_where_the_loss_changes():
    """Not at the solver's first step, which a logarithmic axis would give most of its room."""
    run = ReducedHead(4, 0.8, 50, 9).flow(0.05, 0.7, 400.0)
    (line,) = run.plot(Figure().subplots()).lines
    t, loss = line.get_data()
    late = np.searchsorted(run.t, t[1])
    assert t[0] == 0 < run.t[1] < t[1] / 10
    assert t[1:].tolist() == run.t[late:].tolist()
    assert loss.tolist() == [run.loss[0], *run.loss[late:]]


def test_the_limits_of_a_start_and_of_times_are_allowed():
    head = ReducedHead(1, 1.0, 1, 1)
    assert head.flow(0.0, 1e6, 1e-13).status == "finished"
    assert head.flow(0.1, 0.1, 1.0, times=[1.0]).t.tolist() == [1.0]


def test_long_times_take_few_steps():
    """μ relaxes at a rate of 4λd(ω̄² + φE/L) > 4: an explicit method needs T such steps or more."""
    run = ReducedHead(30, 1.0, 300, 100).flow(0.01, 1.0, 4000.0)
    assert len(run.t) < 2000


def test_a_flow_that_the_solver_gives_up_says_so(monkeypatch):
    def stops(*_, **__):
        return OptimizeResult(t=np.zeros(1), y=np.full((2, 1), 0.1), success=False, message="tired")

    monkeypatch.setattr("scipy.integrate.solve_ivp", stops)
    assert ReducedHead(4, 1.0, 10, 1).flow(0.1, 0.1, 1.0).status == "stopped: tired"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ReducedHead(0, 1.0, 1, 1), "block_dim must be >= 1"),
        (lambda: ReducedHead(1, 0.0, 1, 1), "signal must be > 0"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(-0.1, 1, 1), "omega_bar must be >= 0"),
        (lambda: ReducedHead(1, 1.0, 1, 1, noise=-0.1), "noise must be >= 0"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(0.1, -1, 1), "mu must be >= 0"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(0.1, 1e6 + 0.5, 1), r"mu must be <= 1e\+06"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(0.1, 1, 0), "duration must be > 0"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(0.1, 1, 1, times=[0, 2]), "times must increase"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(0.1, 1, 1, times=[0, 0.5, 2]), "within"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(0.1, 1, 1, times=[-0.1, 1]), "times must increase"),
        (lambda: ReducedHead(1, 1.0, 1, 1).flow(0.1, 1, 1, times=[0, 0]), "times must increase"),
        (lambda: ReducedHead(1, 1.0, 1, 1).emergence(-0.1, 1), "omega_bar must be >= 0"),
        (lambda: ReducedHead(1, 1.0, 1, 1).loss([0.1, 0.2], [1, 2, 3]), "must have one shape"),
        (
            lambda: ReducedHead(1, 1.0, 1, 1).spread(np.zeros((1,) * 9)),
            "omega_bar must have 0 or 1",
        ),
    ],
)
def test_bad_input_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()

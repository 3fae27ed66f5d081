"""The three phases, read off an integrated trajectory of the balanced flow."""

import math

import numpy as np

from analytic import softmax


def trajectory(omega, mu, times, *world):
    """Classical Runge–Kutta on `balanced_velocity`, one step for each interval of `times`."""
    state, path = np.array([omega, mu]), []

    def rate(y):
        return np.array(softmax.balanced_velocity(y[0], y[1], *world))

    for step in np.append(np.diff(times), 0.0):
        path.append(state)
        k1 = rate(state)
        k2 = rate(state + step / 2 * k1)
        k3 = rate(state + step / 2 * k2)
        k4 = rate(state + step * k3)
        state = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.array(path).T


def test_a_run_passes_through_the_phases_to_the_limit():
    times = np.linspace(0.0, 30.0, 6001)
    omega, mu = trajectory(0.03, 1.0, times, 10, 1.0, 100, 30)
    phase = softmax.training_phase(omega, mu, 10, 1.0, 100)
    assert set(phase.tolist()) == {0, 1, 2}
    assert np.all(np.diff(phase) >= 0)
    point = softmax.limit_weights(10, 1.0, 100)
    # What is left decays at about the convergence rate, from order 1 at the start.
    left = math.exp(-0.5 * softmax.convergence_rate(10, 1.0, 100, 30) * times[-1])
    assert abs(omega[-1] / point.omega_bar - 1) < left
    assert abs(mu[-1] / point.mu - 1) < left


def test_late_decay_is_the_convergence_rate_up_to_the_lag_of_the_read_out():
    # The lag shrinks as the scores slow down, by √d_e: the measured rate tends to the predicted.
    gaps = []
    for width in (100, 400, 1600):
        rate = softmax.convergence_rate(10, 1.0, 100, width)
        times = np.linspace(0.0, 4.0 / rate, 4001)
        start = 0.98 * 10**-0.5
        value = softmax.equilibrium_value(start, 10, 1.0, 100)
        omega, _ = trajectory(start, value, times, 10, 1.0, 100, width)
        left = 1 - 10 * omega**2
        measured = math.log(left[2000] / left[-1]) / (times[-1] - times[2000])
        gaps.append(abs(measured / rate - 1))
    # 1/√d_e halves from one to the next.
    assert 1.6 < gaps[0] / gaps[1] < 2.4
    assert 1.6 < gaps[1] / gaps[2] < 2.4


def test_warm_up_runs_early_by_the_share_it_neglects():
    # dt = dt_warm-up/(1 − s) with s = μω̄, and s dt_warm-up = √d_e dω̄/(4λ): the run is late by
    # √d_e (ω̄ − ω̄(0))/(4λ), times a factor between 1 and 1/(1 − share).
    world, width, start = (10, 1.0, 1e9), 100, 1e-3
    times = np.linspace(0.0, 25.0, 10001)
    omega, mu = trajectory(start, 0.15, times, *world, width)
    slow, _ = softmax.neglected_share(omega, mu, *world)
    for share in (0.2, 0.1, 0.05):
        end = softmax.warmup_end(start, 0.15, *world, width, share=share)
        late = np.interp(share, slow, times) - end.time
        least = math.sqrt(width) * (end.omega_bar - start) / 4
        # Linear interpolation between steps of 0.0025 misses by step²/8 times the growth rate.
        assert least - 1e-5 < late < least / (1 - share) + 1e-5

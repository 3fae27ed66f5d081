"""What the flow conserves, and the energy it dissipates, for every system and along random runs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import analytic
import gpu
import numerics
from analytic import softmax
from numerics import (
    LinearTask,
    MergedAttention,
    SpectralSystem,
    gradient_descent,
    gradient_flow,
    matrix_loss,
    minimiser,
    population_moments,
    spectral_flow,
    strategies,
    system_flow,
)

from .support import EPS, assert_same, complex_directional, rejects, share

positive, small = st.floats(0.05, 20.0), st.floats(0.01, 1.0)


def check_pointwise(invariants, system, seed):
    """Their derivative along the velocity is zero: a difference of two equal products."""
    theta = 0.5 * np.random.default_rng(seed).standard_normal(system.size)
    velocity = system.velocity(theta)
    change = complex_directional(lambda x: invariants(system, x), theta, velocity)
    size = np.abs(theta).max() * np.abs(velocity).max() * system.size
    assert np.abs(change).max(initial=0.0) <= 2000 * EPS * size


def own(system, theta):
    return system.invariants(theta)


@given(strategies.gradient_systems(jacobian=False), strategies.seeds())
def test_invariants_do_not_move_along_the_velocity(system, seed):
    check_pointwise(own, system, seed)


def test_what_is_not_conserved_is_rejected():
    def norm(_, theta):
        return np.sum(theta**2)[None]

    def sums(system, theta):
        """Sums in place of the differences, of separate attention."""
        v, k, q = system.model.unpack(theta)
        return np.sum(k * k + q * q, axis=-1).ravel() + 0 * v.sum()

    @st.composite
    def separate(draw):
        task = draw(strategies.linear_tasks())
        model = numerics.SeparateAttention(task.dimension, 2)
        return numerics.AttentionSystem(model, population_moments(task))

    seeds = strategies.seeds()
    rejects(lambda *x: check_pointwise(norm, *x), strategies.gradient_systems(), seeds)
    rejects(lambda *x: check_pointwise(sums, *x), separate(), seeds)


def check_run(run, rtol):
    """Drift, energy identity and descent; rtol times weights of order one and some fifty steps."""
    assert run.status == "finished"
    slack = 100 * rtol * max(1.0, float(np.max(run.loss)))
    assert run.invariant_drift.max() < slack
    assert np.abs(run.energy_gap).max() < slack
    assert np.diff(run.loss).max(initial=0.0) <= slack / 100
    assert run.loss_rate.min() >= 0


@share(0.5)
@given(
    st.data(), strategies.linear_tasks(max_dimension=3) | strategies.token_tasks(max_dimension=3)
)
def test_flows_conserve_dissipate_and_descend(data, task):
    moments, model = population_moments(task), data.draw(strategies.linear_models(task.dimension))
    theta = data.draw(strategies.weights(model, scale=0.3))
    run = gradient_flow(model, moments, theta, 2.0)
    check_run(run, 1e-8)
    assert run.loss[-1] >= matrix_loss(moments, minimiser(moments)) - 1e-12
    check_run(gradient_flow(model, moments, theta, 2.0, rtol=1e-10, method="Radau"), 1e-10)


def short(system, theta):
    """A time over which no weight moves by more than a third: gradients may be of any size."""
    speed = np.linalg.norm(system.velocity(theta))
    return float(min(1.0, 0.3 * max(1e-3, np.linalg.norm(theta)) / max(speed, 1e-3)))


@share(0.5)
@given(st.data(), strategies.gradient_systems())
def test_every_system_s_flow_conserves_dissipates_and_descends(data, system):
    theta = data.draw(strategies.weights(system, scale=0.3))
    duration = short(system, theta)
    check_run(system_flow(system, theta, duration, method="DOP853"), 1e-8)
    if isinstance(system, SpectralSystem):
        check_run(spectral_flow(system, theta, duration), 1e-8)
    else:
        check_run(system_flow(system, theta, duration, method="BDF"), 1e-7)


@share(0.3)
@given(st.data(), strategies.linear_tasks(max_dimension=3))
def test_a_batch_of_flows_conserves_and_dissipates_row_by_row(data, task):
    model = data.draw(strategies.linear_models(task.dimension))
    rows = [data.draw(strategies.weights(model, scale=0.3)) for _ in range(3)]
    run = gpu.gradient_flow(model, gpu.stack_moments([task]), np.stack(rows), 2.0)
    assert set(run.status) == {"finished"}
    assert run.invariant_drift.max() < 1e-6
    assert np.abs(run.energy_gap).max() < 1e-6
    assert np.diff(run.loss, axis=1).max() <= 1e-8


def test_energy_at_another_tau_is_rejected():
    """The identity knows the factor 2/τ: a loss scaled by 1.1 breaks it."""

    class Louder(numerics.AttentionSystem):
        def loss(self, theta):
            return 1.1 * super().loss(theta)

    system = Louder(MergedAttention(1, 1), population_moments(LinearTask([[1.0]], 10)))

    def check(theta):
        check_run(system_flow(system, np.array(theta), 2.0), 1e-8)

    rejects(check, st.just([0.3, 0.4]))


@share(0.5)
@given(st.data(), strategies.gradient_systems(jacobian=False))
def test_discrete_steps_drift_in_proportion_to_the_rate(data, system):
    """A step changes v² − ‖U‖² and its like by η² times the same form of the gradient.

    Over a fixed time T = 2ηn that is ηT/2 times an average: half the rate, half the drift.
    """
    theta = data.draw(strategies.weights(system))
    duration = short(system, theta)
    drifts = [
        gradient_descent(system, theta, steps, duration / 2 / steps, every=steps).invariant_drift[
            -1
        ]
        for steps in (200, 400)
    ]
    # The next order is 1/200 of T times the largest rate, of order one over so short a time; a
    # drift at the rounding of some hundred steps is none.
    size = 1 + np.max(np.abs(theta)) ** 2
    assert drifts[0] < 1e-12 * size or 1.8 < drifts[0] / drifts[1] < 2.2


@given(st.data(), st.floats(1.0, 1e4), strategies.noises(), strategies.seeds())
def test_reduced_equations_conserve_the_balance(data, length, noise, seed):
    lam, omega = data.draw(strategies.spectrum_pairs())
    keys = {"task_eigenvalues": omega, "noise": noise}
    rng = np.random.default_rng(seed)
    v, u = float(rng.standard_normal()), rng.standard_normal(len(lam))
    dv, du = analytic.aligned_velocity(v, u, lam, length, **keys)
    curvature = analytic.mode_curvature(lam, length, **keys)
    growth = analytic.mode_growth(lam, task_eigenvalues=omega)
    size = np.sum(abs(v * u) * (growth + curvature * abs(v * u)))
    assert abs(v * dv - u @ du) <= 100 * EPS * size  # v² − ‖u‖²
    heads, kappa = rng.standard_normal(2), rng.standard_normal((2, 2))
    modes = rng.integers(0, len(lam), size=(2, 2))
    dh, dk = analytic.low_rank_velocity(heads, kappa, modes, growth, curvature)
    weights = np.abs(heads[:, None]) * kappa**2
    size = np.sum(weights) * (growth.max() + curvature.max() * np.sum(weights))
    # v_h² − ½ Σ_r (‖k‖² + ‖q‖²) = v_h² − Σ_r κ².
    assert_same(heads * dh, np.sum(kappa * dk, axis=1), 200, scale=size)
    # dL/dt = −2 Σ (dw/dt)² with one w for each weight: κ stands for k and q.
    force = growth - curvature * np.bincount(
        modes.ravel(), (heads[:, None] * kappa**2).ravel(), len(lam)
    )
    fall = np.sum(dh**2) + 2 * np.sum(dk**2)
    change = np.bincount(
        modes.ravel(),
        (dh[:, None] * kappa**2 + 2 * heads[:, None] * kappa * dk).ravel(),
        len(lam),
    )
    assert_same(force @ change, fall, 500, scale=fall + np.sum(np.abs(force) * np.abs(change)))


@given(small, small, st.integers(1, 40), positive, st.integers(1, 64), st.floats(0.05, 0.9),
       st.floats(1.0, 1e4), strategies.noises())  # fmt: skip
def test_the_warm_up_conserves_its_invariant(omega, mu, d, lam, width, part, length, noise):
    start = omega / 50, mu / 50
    end = softmax.blow_up_time(*start, d, lam, width)
    course = softmax.warmup_time_course(part * end, *start, d, lam, width)
    before = softmax.warmup_invariant(*start, d, 1.0, np.inf, width)
    after = softmax.warmup_invariant(course.omega_bar, course.mu, d, 1.0, np.inf, width)
    # μ − κω̄ is a difference of what has grown by 1/(1 − t/t_end) <= 10.
    assert abs(after - before) <= 200 * EPS * (course.mu + d * width**0.5 * course.omega_bar) * 10
    # At finite L along dω̄/dt = 4λμω̄/√d_e, dμ/dt = 4λdμ(ω̄ − φμ/L): by complex step of its log.
    phi, kappa = 1 + noise**2 / (lam * d), d * width**0.5
    power = kappa * phi / length
    rates = 4 * lam * mu * omega / width**0.5, 4 * lam * d * mu * (omega - phi * mu / length)
    w, m = omega + 1e-40j * rates[0], mu + 1e-40j * rates[1]
    slope = np.imag(np.exp(power * np.log(w / omega)) * (m - kappa * w / (1 + power))) / 1e-40
    value = softmax.warmup_invariant(omega, mu, d, lam, length, width, noise=noise)
    wanted = omega**power * (mu - kappa * omega / (1 + power))
    terms = mu + kappa * omega / (1 + power)
    assert abs(value - wanted) <= 100 * EPS * omega**power * terms * (
        1 + power * abs(np.log(omega))
    )
    speed = abs(rates[1]) + kappa * rates[0] + 4 * lam * mu * power * terms
    speed += 4 * lam * d * mu * phi * mu / length
    assert abs(slope) <= 200 * EPS * speed

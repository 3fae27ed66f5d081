"""Large D: the matrix-free implicit solver and its preconditioner, against other solvers."""

import numpy as np
import pytest

from numerics import (
    AttentionSystem,
    DiagonalMoments,
    LinearTask,
    MergedAttention,
    SeparateAttention,
    gradient_flow,
    population_moments,
    random_rotation,
    system_flow,
)
from numerics.integrate.krylov import Krylov
from numerics.integrate.linearised import Linearised, LinearisedHeads, linearised, preconditioned
from numerics.integrate.preconditioner import _crosses
from numerics.integrate.solver import augmented
from tests.numerics.support import TASKS, assert_same, power_law, state

GENERIC = population_moments(TASKS["generic"])


def learned(D, heads=None, duration=3000.0):
    """A point on the way of a cascade, some modes learned."""
    system, theta = power_law(D, heads)
    run = system_flow(system, theta, duration, times=[duration], method="LSODA")
    return system, run.states[-1]


@pytest.mark.parametrize(("D", "heads"), [(4, 4), (5, 8), (6, 3)])
def test_the_product_with_the_jacobian_and_a_symmetric_preconditioner(D, heads):
    system, theta = learned(D, heads)
    linear = linearised(system)
    assert isinstance(linear, LinearisedHeads)
    linear.move(theta)
    identity = np.eye(system.size)
    assert_same(np.array([linear.apply(e) for e in identity]), system.jacobian(theta))
    for c in (0.1, 10.0, 1e3):
        linear.prepare(c)
        P = np.array([linear.precondition(e) for e in identity])
        assert_same(P, P.T, 5e4)  # inverses of blocks of condition c
        assert np.linalg.eigvalsh((P + P.T) / 2).min() > 0


def test_the_preconditioner_collects_the_spectrum():
    """Conjugate gradients need about as many products as there are eigenvalues far from one."""
    system, theta = learned(8, duration=2e4)
    c, identity = 300.0, np.eye(system.size)
    A = identity - c * system.jacobian(theta)
    linear = linearised(system)
    linear.move(theta)
    linear.prepare(c)

    def spectrum():
        P = np.array([linear.precondition(e) for e in identity])
        return np.linalg.eigvals(P @ A).real

    # A condition below four: an error falls by (√4 + 1)/(√4 − 1) = 3 with each product.
    assert spectrum().max() < 2
    assert spectrum().min() > 1 / 2
    assert np.mean(np.linalg.eigvalsh(A) > 3) > 0.3
    # Without the elimination of the pairs the values of heads that share modes are left over.
    linear.precondition.learned.along = (0.0, 0.0)
    assert spectrum().max() > 2 or spectrum().min() < 1 / 2


def test_a_smooth_kernel_is_a_sum_of_few_products():
    u, w = 1 / np.arange(1, 41), 2 / np.arange(1, 41)
    kernel = 1 / (1 / np.outer(u, w) + u * u + (w * w)[:, None])
    crosses = list(_crosses(kernel))
    rest = kernel - sum(np.outer(s, lam) for s, lam in crosses)
    assert np.abs(rest).max() <= 1e-6 * kernel.max()
    assert len(crosses) < 12


def test_weights_of_moments_that_are_no_product_are_not_preconditioned():
    system, _ = power_law(4)
    assert preconditioned(system)
    weights = system.moments.weights + 0.1 * np.eye(4)
    other = DiagonalMoments(1.0, system.moments.correlation, weights)
    assert not preconditioned(AttentionSystem(system.model, other))
    for unit in (1.0, 1e-9):  # of tokens; the least entry, which no absolute tolerance would see
        weights = unit * system.moments.weights
        for change, product in ((1.0, True), (1 + 1e-6, False)):
            weights[np.unravel_index(weights.argmin(), weights.shape)] *= change
            moments = DiagonalMoments(1.0, system.moments.correlation, weights)
            assert preconditioned(AttentionSystem(system.model, moments)) == product


@pytest.mark.parametrize("c", [1.0, 3.0])
def test_the_preconditioner_leaves_no_more_than_the_threshold_of_a_stiff_head(c):
    """Heads whose c·J is below it are not turned: eigenvalues then lie within it of one."""
    system, theta = learned(8, duration=2e4)
    linear, identity = linearised(system), np.eye(system.size)
    linear.move(theta)
    linear.prepare(c)
    P = np.array([linear.precondition(e) for e in identity])
    spectrum = np.linalg.eigvals(P @ (identity - c * system.jacobian(theta)))
    assert np.abs(spectrum - 1).max() < 0.3


def test_a_turn_of_the_preconditioner_serves_while_the_same_heads_are_stiff():
    system, theta = learned(4)
    linear = linearised(system)
    linear.move(theta)
    linear.prepare(10.0)
    turn = linear.turn
    linear.prepare(11.0)
    assert linear.turn is turn
    linear.prepare(1e-6)
    assert len(linear.turn.T) == 0


def test_aligned_heads_are_preconditioned_exactly():
    """Heads along distinct modes leave no coupling outside the blocks."""
    system, _ = power_law(4)
    heights = (np.diagonal(system.moments.correlation) / np.diagonal(system.moments.weights)) ** (
        1 / 3
    )
    modes = np.abs(system.moments.correlation).argmax(axis=1)
    heights = (
        system.moments.correlation[np.arange(4), modes] / system.moments.weights[range(4), modes]
    ) ** (1 / 3)
    k, q = np.zeros((2, 4, 4))
    k[np.arange(4), np.arange(4)] = heights
    q[np.arange(4), modes] = heights
    k[3], q[3], heights[3] = 0.0, 0.0, 0.0  # one mode left
    theta = system.model.pack(heights, k, q)
    linear = linearised(system)
    linear.move(theta)
    linear.prepare(20.0)
    r = state(system.size, 3)
    assert_same(linear.precondition(r) - 20.0 * linear.apply(linear.precondition(r)), r, 5e4)


@pytest.mark.parametrize(("D", "heads", "duration"), [(4, 4, 3e3), (4, 6, 3e3), (8, 8, 2e4)])
def test_agrees_with_lsoda_and_obeys_its_tolerance(D, heads, duration):
    system, theta = power_law(D, heads)
    t = np.linspace(0, duration, 40)
    exact = system_flow(system, theta, duration, times=t, method="LSODA", rtol=1e-12, atol=1e-14)
    errors = []
    for rtol in (1e-6, 1e-9):
        run = system_flow(
            system, theta, duration, times=t, method="Krylov", rtol=rtol, atol=rtol / 1e4
        )
        assert run.status == "finished"
        assert run.t.tolist() == t.tolist()
        errors.append(np.abs(run.states - exact.states).max())
        # Local errors of rtol a step, some thousand steps, weights of order one.
        assert np.abs(run.energy_gap).max() < 1e3 * rtol
        assert run.invariant_drift.max() < 1e3 * rtol
    # A cascade amplifies the errors of small weights by the ratio of learned to initial ones, 30.
    assert errors[1] < 30 * 1e3 * 1e-9
    # Errors follow the tolerance: a factor 1,000, to within its safety factors.
    assert errors[0] / errors[1] > 30


def test_agrees_with_an_explicit_solver_at_dimension_16():
    system, theta = power_law(16, scale=0.3)
    t = np.linspace(0, 300.0, 20)
    exact = system_flow(system, theta, 300.0, times=t, method="DOP853", rtol=1e-11, atol=1e-14)
    run = system_flow(system, theta, 300.0, times=t, method="Krylov", rtol=1e-9, atol=1e-12)
    assert exact.loss[0] - exact.loss[-1] > 0.1
    assert np.abs(run.states - exact.states).max() < 1e-6  # as above: some hundred steps


def test_fewer_evaluations_than_an_explicit_solver_and_no_dense_jacobian():
    system, theta = power_law(8)

    def refuse(theta):
        raise AssertionError("a dense Jacobian was made")

    system.jacobian = refuse
    run = system_flow(system, theta, 2e4, method="Krylov")
    explicit = system_flow(system, theta, 2e4, method="DOP853")
    assert run.loss[-1] == pytest.approx(explicit.loss[-1], rel=1e-6)
    assert run.evaluations < explicit.evaluations


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 6])
def test_each_order_converges_at_its_rate(order):
    """θ̇ = −θ with equal steps and exact history: errors fall as h^order."""

    class Decay:
        size = 1

        def velocity(self, theta):
            return -theta

        def jvp(self, theta, direction):
            return -direction

    def error(h):
        velocity = augmented(Decay(), 1.0)[0]
        start = np.array([1.0, 0.0])
        solver = Krylov(velocity, 0.0, start, 2.0, system=Decay(), tau=1.0, rtol=1e-14, atol=1e-14)
        past = np.exp(h * np.arange(order + 1))  # 1, e^h, …: the values at 0, −h, …
        table = np.column_stack([past, (1 - past**2)])  # dissipated: 1 − e^{−2t}
        for m in range(order + 1):
            solver.differences[m] = table[0]
            table = table[:-1] - table[1:]
        solver.order, solver.h = order, h
        solver._norm = lambda x, scale: 1e-20 if (scale is not None) else 0.0  # accept all
        solver._record = lambda d, error, scale: _equal_steps(solver, d)
        while solver.t < 1.0 - h / 2:
            solver.step()
        return abs(solver.y[0] - np.exp(-solver.t))

    def _equal_steps(solver, d):
        D, q = solver.differences, solver.order
        D[q + 1] = d
        for i in reversed(range(q + 1)):
            D[i] += D[i + 1]

    rate = np.log2(error(1 / 32) / error(1 / 64))
    assert rate == pytest.approx(order, abs=0.35)  # the next order is 1/32 · (a few) of this one


def test_systems_without_a_preconditioner_are_integrated_all_the_same():
    for model in (MergedAttention(3, 2), SeparateAttention(3, 2, rank=2), SeparateAttention(3, 3)):
        system = AttentionSystem(model, GENERIC)
        assert isinstance(linearised(system), Linearised)
        theta, t = state(model.size, 5, 0.3), np.linspace(0, 8, 9)
        exact = gradient_flow(model, GENERIC, theta, 8.0, times=t, rtol=1e-12, atol=1e-14)
        run = gradient_flow(model, GENERIC, theta, 8.0, times=t, method="Krylov")
        assert np.abs(run.states - exact.states).max() < 2e-7  # as for every other method


def test_tokens_and_tasks_that_share_no_basis():
    """The correlation is not diagonal then: the preconditioner is worse, the solution is not."""
    rotation = random_rotation(4, rng=1)
    omega = rotation @ np.diag([2.0, 1.0, 0.7, 0.3]) @ rotation.T
    moments = population_moments(LinearTask(np.diag([0.4, 0.3, 0.2, 0.1]), 31, omega))
    model = SeparateAttention(4, 4)
    assert preconditioned(AttentionSystem(model, moments.eigenform()[0]))
    theta, t = model.initial_weights(0.1, rng=2), np.linspace(0, 2000, 20)
    exact = gradient_flow(model, moments, theta, 2000.0, times=t, rtol=1e-11, atol=1e-14)
    run = gradient_flow(model, moments, theta, 2000.0, times=t, rtol=1e-9, method="Krylov")
    assert exact.loss[0] - exact.loss[-1] > 0.3
    assert np.abs(run.states - exact.states).max() < 3e-5  # as in the test of the tolerance


def test_auto_takes_it_for_many_weights_of_rank_one(monkeypatch):
    made = []
    monkeypatch.setattr(
        "numerics.integrate.solver.Krylov",
        lambda *args, **kwargs: made.append(1) or Krylov(*args, **kwargs),
    )
    system, theta = power_law(14)
    system_flow(system, theta, 1e6, times=[1.0], until_loss=0.9)
    assert made == [1]
    system, theta = power_law(4)
    system_flow(system, theta, 1e6, times=[1.0], until_loss=0.9)
    assert made == [1]


@pytest.mark.parametrize("times", [None, [0.0, 100.0, 3000.0]])
def test_an_early_end_is_recorded(times):
    system, theta = power_law(4)
    run = system_flow(system, theta, 3000.0, times=times, until_loss=0.5, method="Krylov")
    assert run.status == "finished"
    assert run.loss[-1] == pytest.approx(0.5, abs=1e-12)
    assert (np.diff(run.t) > 0).all()


def test_a_step_that_cannot_be_made_is_told_by_the_status():
    class Wall:
        size = 2

        def loss(self, theta):
            return np.zeros(theta.shape[:-1])

        def velocity(self, theta):
            return np.where(theta > 2, np.nan, 1.0)

        def jvp(self, theta, direction):
            return 0 * direction

        def invariants(self, theta):
            return 0 * theta

    run = system_flow(Wall(), [1.0, 1.0], 5.0, method="Krylov")
    assert run.status == "stopped: the step became too small"
    assert run.t[-1] <= 1 + 1e-12
    assert np.isfinite(run.states).all()


def test_a_step_that_follows_a_fast_growth_is_halved_until_the_system_is_definite():
    class Growth:
        size = 1

        def loss(self, theta):
            return -0.5 * theta[..., 0] ** 2

        def velocity(self, theta):
            return theta

        def jvp(self, theta, direction):
            return direction

    solver = Krylov(
        augmented(Growth(), 1.0)[0], 0.0, np.array([1e-9, 0.0]), 20.0,
        system=Growth(), tau=1.0, rtol=1e-6, atol=1e-8,
    )  # fmt: skip
    solver._stretch(10.0 / solver.h)
    solver.step()
    assert solver.failures >= 3  # c = h/1.185 has to come below 1: 10, 5, 2.5, 1.25
    assert 0 < solver.t < 1.185

"""Hand-written gradients against complex steps, and Jacobians against those of the velocity.

A complex step has the error of rounding alone; where NumPy cannot carry one (closed forms refuse
complex numbers) the derivative is taken with 50 digits, and steps far below their last ones.
"""

import mpmath  # comes with SymPy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analytic
import gpu
from analytic import softmax
from numerics import (
    AttentionSystem,
    MergedAttention,
    SeparateAttention,
    SpectralAttention,
    SpectralSystem,
    gradient,
    loss,
    matrix_loss,
    population_moments,
    strategies,
)

from .support import (
    EPS,
    STEP,
    assert_same,
    complex_directional,
    complex_gradient,
    rejects,
    share,
)

tasks = strategies.linear_tasks() | strategies.token_tasks()


def scale_of(system, theta):
    """The size of the terms that a loss sums and a gradient cancels, each at most four weights."""
    zero, value = float(system.loss(0 * theta)), float(system.loss(theta))
    return (zero + value) * (1 + np.abs(theta).max()) ** 4


def check_gradient(velocity, system, theta):
    """−½ ∂L/∂θ by complex step of the loss."""
    wanted = -0.5 * complex_gradient(system.loss, theta)
    assert_same(velocity(system, theta), wanted, 2000, scale=scale_of(system, theta))


@given(st.data(), strategies.gradient_systems(jacobian=False))
def test_velocities_are_the_complex_step_of_the_loss(data, system):
    theta = data.draw(strategies.weights(system))
    check_gradient(lambda s, x: s.velocity(x), system, theta)
    assert system.velocity(theta).dtype == np.float64


@st.composite
def systems_and_states(draw):
    system = draw(strategies.gradient_systems())
    return system, 0.5 * np.random.default_rng(draw(strategies.seeds())).standard_normal(
        system.size
    )


def test_a_gradient_without_its_half_or_with_one_wrong_entry_is_rejected():
    def whole(system, theta):
        return 2 * system.velocity(theta)

    def mistaken(system, theta):
        velocity = system.velocity(theta)
        velocity[-1] *= 1 + 1e-6
        return velocity

    for wrong in (whole, mistaken):
        rejects(lambda case, w=wrong: check_gradient(w, *case), systems_and_states())


def check_jacobian(jacobian, system, theta):
    """Its columns are complex steps of the velocity, and it is symmetric."""
    J = jacobian(system, theta)
    columns = [complex_directional(system.velocity, theta, e) for e in np.eye(system.size)]
    scale = scale_of(system, theta)
    assert_same(J, np.array(columns).T, 5000, scale=scale)
    assert np.abs(J - J.T).max() <= 1000 * EPS * scale


@given(st.data(), strategies.gradient_systems())
def test_jacobians_are_the_complex_step_of_the_velocity(data, system):
    theta = data.draw(strategies.weights(system))
    check_jacobian(lambda s, x: s.jacobian(x), system, theta)
    direction = np.random.default_rng(data.draw(strategies.seeds())).standard_normal(system.size)
    product = system.jacobian(theta) @ direction
    scale = scale_of(system, theta) * np.abs(direction).sum()
    assert_same(system.jvp(theta, direction), product, 500, scale=scale)


def test_a_jacobian_of_the_wrong_curvature_is_rejected():
    def gauss_newton(system, theta):
        """−Bᵀ E[zzᵀ] B alone, without the second derivative of M."""
        G = system.moments.residual(system.model.matrix(theta))
        return system.jacobian(theta) - system.model.curvature(theta, G)

    @st.composite
    def cases(draw):
        model = MergedAttention(2, draw(st.integers(1, 2)))
        task = draw(strategies.linear_tasks(max_dimension=2).filter(lambda t: t.dimension == 2))
        return AttentionSystem(model, population_moments(task)), model.initial_weights(0.5, rng=0)

    rejects(lambda case: check_jacobian(gauss_newton, *case), cases())


@given(st.data(), tasks)
def test_a_taylor_step_along_the_gradient(data, task):
    """L(θ + hg) − L(θ − hg) = 2h‖g‖² + O(h³): the gradient from values of the loss alone."""
    moments = population_moments(task)
    model = data.draw(strategies.linear_models(task.dimension))
    theta = data.draw(strategies.weights(model))
    g = gradient(model, moments, theta)
    square = float(g @ g)
    h = 1e-4 / (1 + np.linalg.norm(g))
    rise = float(loss(model, moments, theta + h * g) - loss(model, moments, theta - h * g))
    # Third derivatives are at most some hundred here, and h‖g‖ ≤ 1e-4; rounding is eps·L/h.
    slack = 1e-6 * square + 1e-9 * (1 + float(loss(model, moments, theta)))
    assert rise / (2 * h) == pytest.approx(square, rel=1e-4, abs=slack)


@given(st.data(), strategies.moments())
def test_the_residual_is_the_complex_step_of_the_matrix_loss(data, moments):
    size = len(moments.correlation)
    M = np.random.default_rng(data.draw(strategies.seeds())).standard_normal((size, size))
    slopes = complex_gradient(lambda x: matrix_loss(moments, x.reshape(size, size)), M.ravel())
    scale = moments.energy + float(matrix_loss(moments, M))
    assert_same(moments.residual(M).ravel(), -0.5 * slopes, 2000, scale=scale)


@given(st.data(), tasks)
def test_batches_of_gradients_are_complex_steps(data, task):
    model = data.draw(strategies.linear_models(task.dimension))
    rows = np.stack([data.draw(strategies.weights(model)) for _ in range(2)])
    moments = population_moments(task)
    slopes = gpu.gradient(model, gpu.stack_moments([task]), rows)
    system = AttentionSystem(model, moments)
    for theta, slope in zip(rows, slopes, strict=True):
        wanted = complex_gradient(system.loss, theta)
        assert_same(slope, wanted, 4000, scale=scale_of(system, theta))


@given(st.data(), strategies.noises(), st.floats(1.0, 1e4), strategies.seeds())
def test_reduced_velocities_are_gradients_of_the_loss_on_their_manifold(data, noise, length, seed):
    """−½ ∂/∂w of Σ (λω − 2 growth m + curvature m²), m of the reduced weights."""
    lam, omega = data.draw(strategies.spectrum_pairs())
    keys = {"task_eigenvalues": omega, "noise": noise}
    growth = analytic.mode_growth(lam, task_eigenvalues=omega)
    curvature = analytic.mode_curvature(lam, length, **keys)
    rng = np.random.default_rng(seed)

    def value(m):
        return np.sum(curvature * m * m - 2 * growth * m)

    v, u = rng.standard_normal(), rng.standard_normal(len(lam))
    dv, du = analytic.aligned_velocity(v, u, lam, length, **keys)
    slopes = complex_gradient(lambda w: value(w[0] * w[1:]), np.append(v, u))
    scale = np.sum(growth + curvature * abs(v * u)) * (1 + abs(v) + np.abs(u).max())
    assert_same(np.append(dv, du), -0.5 * slopes, 200, scale=scale)
    heads, kappa = rng.standard_normal(2), rng.standard_normal((2, 2))
    modes = rng.integers(0, len(lam), size=(2, 2))
    one_hot = modes.ravel()[:, None] == np.arange(len(lam))

    def of_heads(w):
        return value((w[:2, None] * w[2:].reshape(2, 2) ** 2).ravel() @ one_hot)

    dh, dk = analytic.low_rank_velocity(heads, kappa, modes, growth, curvature)
    slopes = complex_gradient(of_heads, np.concatenate([heads, kappa.ravel()]))
    scale = (
        np.sum(growth + curvature) * (1 + np.abs(heads).sum()) ** 2 * (1 + np.sum(kappa**2)) ** 2
    )
    # κ is k and q alike, each of which moves by half of what one weight κ would.
    assert_same(np.concatenate([dh, 2 * dk.ravel()]), -0.5 * slopes, 200, scale=scale)
    single = analytic.value_velocity(v, growth[0], curvature[0])
    dh, dk = analytic.low_rank_velocity([v], [[v]], [[0]], growth, curvature)
    assert_same([dh[0], dk[0, 0]], [single, single], 50, scale=growth[0] + curvature[0] * v**6)


@share(0.4)
@given(st.data(), strategies.multi_task_parameters(max_tasks=3, max_dimension=4))
def test_gradient_is_the_derivative_in_fifty_digits(data, parameters):
    dims, signal, length, noise = parameters
    omega, mu = data.draw(strategies.softmax_heads(dims, heads=data.draw(st.integers(1, 3))))
    rng = np.random.default_rng(0)
    with mpmath.workdps(50):
        convert = np.frompyfunc(mpmath.mpf, 1, 1)
        omega, mu = convert(omega), convert(mu)
        along = convert(rng.normal(size=omega.shape)), convert(rng.normal(size=mu.shape))
        step = mpmath.mpf(10) ** -15

        def loss(t):
            arrays = omega + t * along[0], mu + t * along[1]
            return softmax.spectral_loss(*arrays, dims, convert(signal), length, noise=noise)

        d_omega, d_mu = softmax.spectral_gradient(
            omega, mu, dims, convert(signal), length, noise=noise
        )
        slope = np.sum(d_omega * along[0]) + np.sum(d_mu * along[1])
        central = (loss(step) - loss(-step)) / (2 * step)
        # step² times a third derivative, which grows with the fifth power of weights below 200.
        scale = 1 + abs(loss(0))
        assert abs(slope - central) < mpmath.mpf(10) ** -18 * scale


@given(st.data(), strategies.multi_tasks())
def test_spectral_velocities_are_those_of_the_closed_form(data, task):
    """By the chain rule from `spectral_gradient`, and of one balanced head `balanced_velocity`."""
    model = data.draw(strategies.softmax_models(task.block_dims))
    theta = data.draw(strategies.weights(model))
    system, root = SpectralSystem(model, task), model.embedding_dim**0.5
    arguments = task.block_dims, task.signal, task.context_length
    omega, mu = model.combined(theta)
    d_omega, d_mu = softmax.spectral_gradient(omega, mu, *arguments, noise=task.noise)
    o, v, k, q = model.unpack(theta)
    wanted = model.pack(v * d_mu, o * d_mu, q * d_omega / root, k * d_omega / root)
    assert_same(-2 * system.velocity(theta), wanted, 2000, scale=scale_of(system, theta))
    assert_same(
        softmax.spectral_loss(omega, mu, *arguments, noise=task.noise), system.loss(theta), 500
    )
    one = SpectralAttention(task.block_dims[:1], 1, model.embedding_dim)
    single = type(task)(task.block_dims[:1], task.signal[:1], task.context_length, noise=task.noise)
    w, m = np.random.default_rng(model.size).uniform(0.05, 0.5, size=2)
    state = one.balanced(np.full((1, one.dimension), w), [[m]])
    # In [S]'s time, −∂ℓ/∂θ, twice the velocity.
    moved = state + 2j * STEP * SpectralSystem(one, single).velocity(state)
    rates = [np.imag(part).ravel()[0] / STEP for part in one.combined(moved)]
    expected = softmax.balanced_velocity(
        w,
        m,
        one.dimension,
        task.signal[0],
        task.context_length,
        one.embedding_dim,
        noise=task.noise,
    )
    assert_same(rates, expected, 500, scale=4 * task.signal[0] * one.dimension)


@given(strategies.linear_tasks(max_dimension=3), strategies.seeds())
def test_separate_attention_of_full_rank_reaches_what_merged_does(task, seed):
    """The same loss, and the same slope by v: the two pull back one −½ ∂L/∂M."""
    moments, size = population_moments(task), task.dimension
    K, Q = np.random.default_rng(seed).standard_normal((2, 1, size, size))
    separate, merged = SeparateAttention(size, 1, size), MergedAttention(size, 1)
    a, b = separate.pack([1.0], K, Q), merged.pack([1.0], K.swapaxes(1, 2) @ Q)
    value = loss(merged, moments, b)
    scale = moments.energy + float(value)
    assert_same(loss(separate, moments, a), value, 2000, scale=scale)
    assert_same(gradient(separate, moments, a)[0], gradient(merged, moments, b)[0], 5000, scale)

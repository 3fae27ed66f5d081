"""Rotations, orders and signs: what leaves the loss alone commutes with gradient and flow."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import analytic
from analytic import softmax
from numerics import (
    LayerSystem,
    LinearTask,
    Sequences,
    TokenTask,
    dense_moments,
    gradient,
    loss,
    moments_of_sequences,
    population_moments,
    strategies,
)

from .forms import SOFTMAX_LOSSES, keywords, shared_two_by_two
from .support import (
    assert_each,
    assert_same,
    joined,
    parts,
    permuted_heads,
    rejects,
    rotated_tokens,
)

tasks = strategies.linear_tasks() | strategies.token_tasks()
lengths = st.floats(1.0, 1e4)


def turned(task, Q):
    """The task of tokens Qᵀx."""
    omega = Q.T @ task.task_covariance @ Q
    if isinstance(task, TokenTask):
        return TokenTask(task.tokens @ Q, task.context_length, omega, task.noise)
    return LinearTask(Q.T @ task.covariance @ Q, task.context_length, omega, task.noise)


def model_of(system):
    return getattr(system, "model", getattr(system, "layer", system))


def flipped(system, theta, pair, seed):
    """Signs of two weights of each head that meet in a product; None if they do not."""
    model, weights = model_of(system), parts(model_of(system), theta)
    softmax_scores = getattr(model, "attention", "linear") == "softmax"
    allowed = {2: [(0, 1)], 3: [(1, 2), (0, 2)], 4: [(0, 1), (2, 3)]}[len(weights)]
    if softmax_scores:
        allowed = [p for p in allowed if p[0] > 0 or len(weights) == 4]
    if not allowed:
        return None
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=len(weights[0]))
    for i in allowed[pair % len(allowed)]:
        weights[i] = weights[i] * signs.reshape(-1, *[1] * (weights[i].ndim - 1))
    return joined(weights, ())


@given(st.data(), lengths, strategies.noises(5.0))
def test_modes_are_renumbered_with_their_eigenvalues(data, length, noise):
    lam, omega = data.draw(strategies.spectrum_pairs(strategies.dimensions(6)))
    order = data.draw(strategies.permutations(len(lam)))
    here, there = keywords(omega, noise), keywords(omega[order], noise)
    for function in (
        analytic.mode_curvature,
        analytic.mode_coefficients,
        analytic.mode_gains,
        analytic.feature_eigenvalues,
    ):
        # The trace is a sum of at most 6 terms in another order.
        value = function(lam[order], length, **there)
        assert_each(value, function(lam, length, **here)[order], 20)
    mask = data.draw(strategies.subsets(len(lam)))
    for function in (analytic.fixed_point_loss, analytic.least_norm):
        assert_each(
            function(mask[order], lam[order], length, **there),
            function(mask, lam, length, **here),
            40,
        )
    assert analytic.stability_index(
        mask[order], lam[order], length, **there
    ) == analytic.stability_index(mask, lam, length, **here)
    rates = [
        analytic.escape_rate(x, task_eigenvalues=y)
        for x, y in ((lam, omega), (lam[order], omega[order]))
    ]
    assert_each(*rates, 12)
    growth = np.sort(analytic.mode_growth(lam, task_eigenvalues=omega))
    if np.all(np.diff(growth) > 1e-12 * growth[1:]):  # tied modes may swap, and shift one plateau
        assert_each(
            analytic.plateau_losses(lam[order], length, **there),
            analytic.plateau_losses(lam, length, **here),
            64,
        )


@given(st.data(), lengths, strategies.noises())
def test_closed_forms_of_matrices_turn_with_the_tokens(data, length, noise):
    cov = data.draw(strategies.covariances())
    size = len(cov)
    task, Q = data.draw(strategies.covariances(size)), data.draw(strategies.rotations(size))
    rng = np.random.default_rng(data.draw(strategies.seeds()))
    M, beta, query = rng.standard_normal((size, size)), *rng.standard_normal((2, size))

    def turn(A):
        return Q.T @ A @ Q

    def forms(cov, task, M, beta, query):
        cov, task = (cov + cov.T) / 2, (task + task.T) / 2
        second = analytic.feature_second_moment(cov, length, task_covariance=task, noise=noise)
        fourth = analytic.gaussian_fourth_moment(cov, task)
        given_task = {"task_covariance": task}
        matrices = [
            analytic.input_target_moment(cov, task),
            fourth,
            second,
            analytic.token_second_moment(cov, fourth, length, noise=noise, **given_task),
            analytic.optimal_weights(cov, second, **given_task),
        ]
        return matrices, [
            analytic.population_loss(M, cov, second, **given_task),
            analytic.minimum_loss(cov, second, **given_task),
            *analytic.general_plateau_losses(cov, second, **given_task),
            *np.sort(analytic.general_modes(cov, second, **given_task).gains),
            analytic.converged_prediction(beta, query, cov, length, noise=noise, **given_task),
        ]

    matrices, numbers = forms(cov, task, M, beta, query)
    others, other_numbers = forms(turn(cov), turn(task), turn(M), Q.T @ beta, Q.T @ query)
    # Eigenvalues lie in 0.2 … 2, so that κ(Λ) <= 10, κ(S) <= 1000, and M* is of order 1/λ.
    for A, B in zip(matrices, others, strict=True):
        assert_same(turn(A), B, 1e4)
    # Tied growths may be visited in another order, and shift single plateaus.
    growth = analytic.general_modes(cov, matrices[2], task_covariance=task).growth
    skip = slice(3, 2 + size) if np.any(-np.diff(growth) < 1e-9) else slice(0, 0)
    keep = np.delete(np.arange(len(numbers)), skip)
    assert_same(np.array(other_numbers)[keep], np.array(numbers)[keep], 1e5)


@given(st.data(), tasks)
def test_moments_and_gradients_turn_with_the_tokens(data, task):
    Q = data.draw(strategies.rotations(task.dimension))
    model = data.draw(strategies.linear_models(task.dimension))
    theta = data.draw(strategies.weights(model))
    here, there = population_moments(task), population_moments(turned(task, Q))
    assert_same(there.second_moment, Q.T @ here.second_moment @ Q)
    other = model.rotate(theta, Q, Q)
    assert_same(loss(model, there, other), loss(model, here, theta), 2000)
    moved = model.rotate(gradient(model, here, theta), Q, Q)
    assert_same(gradient(model, there, other), moved, 2000, scale=1.0)


@given(st.data())
def test_loss_and_gradient_do_not_depend_on_the_basis(data):
    moments = data.draw(strategies.moments())
    model = data.draw(strategies.linear_models(len(moments.correlation)))
    theta = data.draw(strategies.weights(model))
    form, left, right = moments.eigenform()
    if left is None:
        form, left, right = dense_moments(moments), *[np.eye(model.dimension)] * 2
    other = model.rotate(theta, left, right)
    assert_same(loss(model, form, other), loss(model, moments, theta), 2000)
    size = max(1.0, float(loss(model, moments, theta)))
    moved = model.rotate(gradient(model, moments, theta), left, right)
    assert_same(gradient(model, form, other), moved, 5000, scale=size)


@given(st.data(), strategies.gradient_systems(jacobian=False), strategies.seeds())
def test_orders_and_signs_of_heads_do_not_matter(data, system, seed):
    theta = data.draw(strategies.weights(system))
    model = model_of(system)
    order = np.random.default_rng(seed).permutation(len(parts(model, theta)[0]))
    pair = data.draw(st.integers(0, 1))
    for act in (
        lambda theta: permuted_heads(model, theta, order),
        lambda theta: flipped(system, theta, pair, seed),
    ):
        if (other := act(theta)) is None:
            continue
        value, velocity = float(system.loss(theta)), system.velocity(theta)
        # Sums over heads in another order; a small loss is a difference of larger terms.
        size = float(system.loss(0 * theta)) + value
        assert_same(system.loss(other), value, 2000, scale=size)
        assert_same(system.velocity(other), act(velocity), 2000, scale=size)


def test_one_head_s_sign_alone_does_matter():
    def check(system, seed):
        theta = 0.5 * np.random.default_rng(seed).standard_normal(system.size)
        wrong = theta.copy()
        wrong[0] *= -1
        assert_same(system.loss(wrong), float(system.loss(theta)), 2000)

    rejects(check, strategies.gradient_systems(), strategies.seeds())


@given(st.data(), strategies.sequences(max_count=6), strategies.seeds())
def test_whole_layers_turn_with_the_tokens_and_read_a_context_as_a_set(data, sample, seed):
    rng, size = np.random.default_rng(seed), sample.query.shape[1]
    layer = data.draw(strategies.layers(size))
    theta = data.draw(strategies.weights(layer))
    Q, order = data.draw(strategies.rotations(size)), np.arange(sample.x.shape[1])
    if (sample.lengths == len(order)).all():  # zeros fill up what is shorter
        order = rng.permutation(order)
    turn = Sequences(
        sample.x[:, order] @ Q,
        sample.y[:, order],
        sample.query @ Q,
        sample.target,
        sample.lengths,
        sample.w @ Q,
    )
    system, other = LayerSystem.of(layer, sample), LayerSystem.of(layer, turn)
    moved = rotated_tokens(layer, theta, Q)
    value = float(system.loss(theta))
    size = value + float(np.mean(sample.target**2))
    assert_same(other.loss(moved), value, 5000, scale=size)
    along = rotated_tokens(layer, system.velocity(theta), Q)
    # Gradients carry one more token's worth of products than the loss.
    tokens = np.abs(sample.x).max() ** 2 + np.abs(sample.y).max() ** 2 + 1
    assert_same(other.velocity(moved), along, 5000, scale=size * tokens)


@given(strategies.sequences())
def test_mirrored_labels_have_the_same_moments(sample):
    mirror = Sequences(sample.x, -sample.y, sample.query, -sample.target, sample.lengths, -sample.w)
    here, there = moments_of_sequences(sample), moments_of_sequences(mirror)
    assert here.energy == there.energy
    np.testing.assert_array_equal(here.correlation, there.correlation)
    np.testing.assert_array_equal(here.feature_moment, there.feature_moment)


@given(st.data(), strategies.multi_task_parameters())
def test_softmax_forms_do_not_know_the_order_of_tasks(data, parameters):
    dims, signal, length, noise = parameters
    order = data.draw(strategies.permutations(len(dims)))
    other = [dims[i] for i in order], signal[order]
    for function in SOFTMAX_LOSSES:
        if function is shared_two_by_two:
            continue
        value = function(dims, signal, length, noise=noise)
        assert_each(function(*other, length, noise=noise), value, 100)
    heads = np.random.default_rng(data.draw(strategies.seeds())).integers(0, 3, size=len(dims))
    for function in (softmax.allocated_loss, softmax.separation):
        value = function(heads, dims, signal, length, noise=noise)
        assert_each(function(heads[order], *other, length, noise=noise), value, 200)


@given(st.data(), strategies.multi_task_parameters(max_dimension=4))
def test_spectral_forms_permute_tasks_coordinates_and_heads(data, parameters):
    dims, signal, length, noise = parameters
    omega, mu = data.draw(strategies.softmax_heads(dims))
    order = data.draw(strategies.permutations(len(dims)))
    heads = data.draw(strategies.permutations(len(mu)))
    ends = np.cumsum(dims)
    blocks = [data.draw(strategies.permutations(dims[i])) + ends[i] - dims[i] for i in order]
    columns = np.concatenate(blocks)

    def act(omega, mu):
        return -omega[heads][:, columns], -mu[heads][:, order]

    here = (omega, mu, dims, signal, length)
    there = (*act(omega, mu), [dims[i] for i in order], signal[order], length)
    # Terms of either sign, H² of them for each task.
    kernel = np.exp(omega @ omega.T)
    scale = np.sum(np.abs(mu).T @ kernel @ np.abs(mu)) * max(signal) * (max(dims) + noise**2 / 0.05)
    scale += np.sum((1 + np.abs(mu).max() * np.abs(omega).sum(0)) ** 2) * max(signal)
    functions = [softmax.spectral_loss, softmax.linear_attention_loss]
    if 2 * np.max(omega**2) < 0.9:
        functions.append(softmax.first_order_loss)
    for function in functions:
        value = function(*here, noise=noise)
        assert_same(function(*there, noise=noise), value, 2000, scale=10 * scale)
    moved = act(*softmax.spectral_gradient(*here, noise=noise))
    steep = scale * (1 + np.abs(omega).max() + 1 / np.abs(mu).max())
    for a, b in zip(softmax.spectral_gradient(*there, noise=noise), moved, strict=True):
        assert_same(a, b, 2000, scale=steep)

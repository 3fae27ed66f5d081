"""f(stack) = f of each slice: batch axes, recorded states, chunks and sequences.

Sums in another order and vectorised transcendental functions differ by a few roundings.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import analytic
import numerics
from analytic import softmax
from numerics import LayerSystem, strategies

from .support import assert_same, rejects

ROWS = 3


def check_slices(function, stack, roundings=100):
    """Arguments with ROWS first: every row of the result is the result of the row."""
    whole = function(*stack)
    whole = whole if isinstance(whole, tuple) else (whole,)
    for i in range(ROWS):
        one = function(*(argument[i] for argument in stack))
        one = one if isinstance(one, tuple) else (one,)
        for a, b in zip(whole, one, strict=True):
            assert np.asarray(a).shape[0] == ROWS
            assert_same(np.asarray(a)[i], np.asarray(b), roundings)


@st.composite
def spectra(draw):
    """λ, ω (ROWS, D), N, σ (ROWS,)."""
    size = draw(strategies.dimensions(5))
    pairs = [draw(strategies.spectrum_pairs(size)) for _ in range(ROWS)]
    lengths = draw(st.lists(st.floats(1.0, 1e4), min_size=ROWS, max_size=ROWS))
    noises = draw(st.lists(strategies.noises(), min_size=ROWS, max_size=ROWS))
    return *map(np.array, zip(*pairs, strict=True)), np.array(lengths), np.array(noises)


SPECTRAL = [
    analytic.mode_curvature,
    analytic.mode_coefficients,
    analytic.mode_gains,
    analytic.plateau_losses,
    analytic.feature_eigenvalues,
]


def of_spectrum(function):
    def call(lam, omega, length, noise):
        return function(lam, length, task_eigenvalues=omega, noise=noise)

    return call


@given(st.data(), spectra())
def test_closed_forms_of_spectra(data, stack):
    for function in SPECTRAL:
        check_slices(of_spectrum(function), stack)
    size = stack[0].shape[1]
    masks = np.array([data.draw(strategies.subsets(size)) for _ in range(ROWS)])
    for function in (
        analytic.fixed_point_coefficients,
        analytic.fixed_point_loss,
        analytic.least_norm,
        analytic.stability_index,
    ):
        check_slices(
            lambda mask, *x, f=function: of_spectrum(lambda *a, **k: f(mask, *a, **k))(*x),
            (masks, *stack),
        )
    for function in (analytic.mode_growth, analytic.visit_order, analytic.escape_rate):
        check_slices(lambda lam, omega, f=function: f(lam, task_eigenvalues=omega), stack[:2])
    rng = np.random.default_rng(data.draw(strategies.seeds()))
    weights = rng.standard_normal((ROWS, size)), rng.standard_normal(ROWS)
    check_slices(
        lambda u, v, lam, omega, length, noise: analytic.aligned_velocity(
            v, u, lam, length, task_eigenvalues=omega, noise=noise
        ),
        (*weights, *stack),
        500,
    )
    if size > 1:
        turns = of_spectrum(lambda *a, **k: analytic.rotation_eigenvalues(0, 1, *a, **k))
        check_slices(turns, stack, 1e4)
    growth = analytic.mode_growth(stack[0], task_eigenvalues=stack[1])
    curvature = of_spectrum(analytic.mode_curvature)(*stack)
    modes = rng.integers(0, size, size=(2, 2))
    heads = rng.standard_normal((ROWS, 2)), rng.standard_normal((ROWS, 2, 2))
    check_slices(
        lambda v, k, g, c: analytic.low_rank_velocity(v, k, modes, g, c),
        (*heads, growth, curvature),
        500,
    )


def test_a_form_that_mixes_its_rows_is_rejected():
    def normalised(lam, omega, length, noise):
        """Divided by the largest of all rows."""
        plateaus = of_spectrum(analytic.plateau_losses)(lam, omega, length, noise)
        return plateaus / plateaus.max()

    def first_length(lam, omega, length, noise):
        return of_spectrum(analytic.plateau_losses)(lam, omega, np.ravel(length)[0], noise)

    for wrong in (normalised, first_length):
        rejects(lambda stack, w=wrong: check_slices(w, stack), spectra())


@st.composite
def matrices(draw):
    """Λ, Ω (ROWS, D, D), N and σ (ROWS,)."""
    size = draw(strategies.dimensions(4))
    stacks = [[draw(strategies.covariances(size)) for _ in range(ROWS)] for _ in range(2)]
    _, _, lengths, noises = draw(spectra())
    return *map(np.array, stacks), lengths, noises


@given(matrices(), strategies.seeds())
def test_closed_forms_of_matrices(stack, seed):
    cov, task, *_ = stack
    rng, size = np.random.default_rng(seed), cov.shape[-1]
    check_slices(analytic.input_target_moment, (cov, task))
    check_slices(analytic.gaussian_fourth_moment, (cov, task))

    def second(cov, task, length, noise):
        return analytic.feature_second_moment(cov, length, task_covariance=task, noise=noise)

    def tokens(cov, task, length, noise):
        fourth = analytic.gaussian_fourth_moment(cov, task)
        return analytic.token_second_moment(cov, fourth, length, task_covariance=task, noise=noise)

    check_slices(second, stack)
    check_slices(tokens, stack)
    S, M = second(*stack), rng.standard_normal(cov.shape)
    for function in (analytic.optimal_weights, analytic.minimum_loss):
        # κ(S) <= 1000.
        check_slices(lambda c, s, t, f=function: f(c, s, task_covariance=t), (cov, S, task), 1e5)
    check_slices(lambda m, c, s, t: analytic.population_loss(m, c, s, task_covariance=t),
                 (M, cov, S, task), 1e4)  # fmt: skip
    beta, query = rng.standard_normal((2, ROWS, size))
    check_slices(analytic.predict, (M, beta, query), 1e4)
    check_slices(
        lambda b, q, c, t, n, s: analytic.converged_prediction(
            b, q, c, n, task_covariance=t, noise=s
        ),
        (beta, query, *stack),
        1e6,
    )


@st.composite
def tasks(draw):
    """Blocks, and λ (ROWS, I), L and σ (ROWS,)."""
    parameters = [draw(strategies.multi_task_parameters(max_tasks=3)) for _ in range(ROWS)]
    dims = parameters[0][0]
    signal = [draw(strategies.spectra(len(dims))) for _ in range(ROWS)]
    _, _, lengths, noises = zip(*parameters, strict=True)
    return dims, (np.array(signal), np.array(lengths), np.array(noises))


@given(st.data(), tasks())
def test_softmax_forms(data, case):
    dims, stack = case
    heads = np.arange(len(dims)) // 2
    for function in (
        softmax.limit_loss,
        softmax.task_limit_losses,
        lambda *a, noise: softmax.limit_weights(*a, noise=noise).mu,
        softmax.limit_escape_rate,
        softmax.optimality_factor,
        softmax.long_context_optimum_loss,
        softmax.dimension_coefficient,
        softmax.single_head_optimum,
        softmax.water_filling,
        lambda *a, noise: softmax.lower_bound(*a, 2, noise=noise),
        lambda *a, noise: softmax.optimality_ratio(*a, 2, noise=noise),
        lambda *a, noise: softmax.allocation_loss(0.3, *a, noise=noise),
        lambda *a, noise: softmax.generalised_loss(*a, 2 * a[-1], noise=noise),
        lambda *a, noise: softmax.allocated_loss(heads, *a, noise=noise),
        lambda *a, noise: softmax.separation(heads, *a, noise=noise),
    ):
        check_slices(lambda s, L, n, f=function: f(dims, s, L, noise=n), stack, 200)
    signal, length, noise = stack[0][0], float(stack[1][0]), float(stack[2][0])
    if sum(dims) <= 30:
        pairs = [data.draw(strategies.softmax_heads(dims, heads=2)) for _ in range(ROWS)]
        weights = tuple(map(np.array, zip(*pairs, strict=True)))
        for function in (softmax.spectral_loss, softmax.linear_attention_loss,
                         softmax.spectral_gradient):  # fmt: skip
            check_slices(
                lambda o, m, f=function: f(o, m, dims, signal, length, noise=noise), weights, 1e4
            )


unit = st.lists(st.floats(0.05, 1.0), min_size=ROWS, max_size=ROWS).map(np.array)


@given(unit, unit, unit, st.integers(1, 40), st.integers(1, 40))
def test_elementwise_forms(x, y, z, size, length):
    calls = [
        lambda x, y, z: analytic.white_time_course(9 * x, y, size, length, noise=z),
        lambda x, y, z: analytic.white_loss_curve(9 * x, y, size, length, noise=z),
        lambda x, y, z: analytic.value_velocity(x, y, z),
        lambda x, y, z: analytic.learning_time(x, y, tau=z),
        lambda x, y, z: analytic.time_to_reach(0.9 * x, 0.5 * x, y, y * z),
        lambda x, y, z: softmax.balanced_velocity(x, y, size, z, length, 4),
        lambda x, y, z: softmax.emergence_velocity(x, size, y, length, 4, noise=z),
        lambda x, y, z: softmax.equilibrium_value(x, size, y, length, noise=z),
        lambda x, y, z: softmax.convergence_rate(size, y, length, 4, noise=z),
        lambda x, y, z: softmax.warmup_time(x, 0.01 * y, 0.02 * z, size, 1.0, 4),
        lambda x, y, z: softmax.blow_up_time(x, y, size, z, 4),
        lambda x, y, z: softmax.warmup_invariant(x, y, size, 1.0, np.inf, 4, noise=z),
        lambda x, y, z: softmax.neglected_share(x, y, size, 1.0, length, noise=z),
        lambda x, y, z: softmax.training_phase(x, y, size, 1.0, length, noise=z),
        lambda x, y, z: softmax.bayes_risk(x, y),
        lambda x, y, z: softmax.ridge_risk(x, y, z),
        lambda x, y, z: softmax.marchenko_pastur_moments(x, y),
        lambda x, y, z: softmax.participation_exponent(3 * x),
        lambda x, y, z: softmax.equiangular_allocation(3, x, x * y),
        lambda x, y, z: softmax.hermite_response(3, x, y),
        lambda x, y, z: softmax.hermite_error(3, x),
    ]
    for call in calls:
        # Differences in the velocities and in the approach of a head to its end.
        check_slices(call, (x, y, z), 1e4)


@given(st.data(), strategies.gradient_systems(jacobian=False))
def test_losses_and_invariants_of_recorded_states(data, system):
    states = np.stack([data.draw(strategies.weights(system)) for _ in range(ROWS)])
    check_slices(system.loss, (states,), 1e4)
    check_slices(system.invariants, (states,), 1e4)


@given(st.data(), strategies.sequences(max_count=12), st.integers(1, 11))
def test_samples_are_the_sequences_they_hold(data, sample, cut):
    """Moments pool, predictions are those of each sequence, and chunks do not matter."""
    whole, size = numerics.moments_of_sequences(sample), sample.query.shape[1]
    parts = [slice(0, cut), slice(cut, None)] if cut < len(sample) else [slice(None)]
    split = [
        numerics.Sequences(**{name: array[part] for name, array in vars(sample).items()})
        for part in parts
    ]
    pooled = numerics.pool_moments(
        [numerics.moments_of_sequences(p) for p in split], [len(p) for p in split]
    )
    streamed = numerics.moments_of_sequences(split)
    for other in (pooled, streamed):
        assert_same(other.energy, whole.energy)
        assert_same(other.correlation, whole.correlation)
        assert_same(other.feature_moment, whole.feature_moment)
    layer = data.draw(strategies.layers(size))
    theta = data.draw(strategies.weights(layer))
    values = [float(LayerSystem.of(layer, p).loss(theta)) for p in split]
    mean = np.average(values, weights=[len(p) for p in split])
    system = LayerSystem.of(layer, sample)
    assert_same(float(system.loss(theta)), mean, 2000)
    small = LayerSystem.of(layer, sample, chunk=2)
    scale = float(system.loss(theta)) + float(np.mean(sample.target**2))
    assert_same(small.velocity(theta), system.velocity(theta), 5000, scale=scale)
    model = data.draw(strategies.linear_models(size))
    weights = data.draw(strategies.weights(model))
    predictions = numerics.predict(model, sample, weights)
    apart = np.concatenate([numerics.predict(model, p, weights) for p in split])
    assert_same(predictions, apart)
    beta_form = analytic.predict(model.matrix(weights), sample.beta, sample.query)
    assert_same(predictions, beta_form, 2000, scale=1.0)

"""Stacked moments, initial weights, drop times and closed forms on every array library."""

import numpy as np
import pytest

import analytic
import gpu
import numerics
from gpu._arrays import placed, product, to_host
from tests.gpu.support import PLACES, assert_close
from tests.gpu.test_attention import KINDS, ROWS, sources


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_moments_act_as_their_twins(kind, place):
    moments = sources(kind, 3)
    stacked = gpu.stack_moments(moments, **place.options)
    M = np.random.default_rng(0).standard_normal((ROWS, 3, 3))
    assert stacked.rows == ROWS
    for name in ("quadratic", "residual"):
        found = getattr(stacked, name)(place.put(M))
        assert place.holds(found)
        rows = zip(moments, M, strict=True)
        assert_close(found, np.array([getattr(m, name)(row) for m, row in rows]))


@pytest.mark.parametrize("place", PLACES)
def test_a_stack_holds_each_kind_of_source(place):
    task = numerics.LinearTask(np.diag([0.5, 1.0]), 7, noise=0.1)
    tokens = numerics.TokenTask(np.random.default_rng(0).standard_normal((50, 2)), 7)
    population = gpu.stack_moments([task, tokens], **place.options)
    assert isinstance(population, gpu.FactoredMoments)
    expected = [numerics.population_moments(t).second_moment for t in (task, tokens)]
    assert_close(population.second_moment, np.array(expected))
    mixed = gpu.stack_moments([task, numerics.sample_moments(task, 9, rng=0)], **place.options)
    assert isinstance(mixed, gpu.DenseMoments)


@pytest.mark.parametrize("place", PLACES)
def test_a_source_alone_is_one_row(place):
    task = numerics.LinearTask(np.diag([0.5, 1.0]), 7, noise=0.1)
    several = numerics.MultiTask((2, 1), 1.0, 7)
    layer = numerics.linear_layer_moments([([[[2.0, 1.0], [1.0, 0.0]]], [3.0])])
    for source in (task, numerics.population_moments(task), layer, several):
        alone = gpu.stack_moments(source, **place.options)
        assert alone.rows == 1
        listed = gpu.stack_moments([source], **place.options)
        assert type(alone) is type(listed)
        assert_close(alone.reference, to_host(listed.reference), 0.0)


def test_sources_that_do_not_go_together_are_refused():
    task = numerics.LinearTask(np.eye(2), 7)
    with pytest.raises(ValueError, match="sources must hold at least one"):
        gpu.stack_moments([])
    with pytest.raises(TypeError, match="sources must hold tasks or moments of numerics"):
        gpu.stack_moments([task, "task"])
    with pytest.raises(TypeError, match="sources must be tasks or moments of numerics, one or"):
        gpu.stack_moments(7)
    with pytest.raises(TypeError, match="one or many, got FactoredMoments"):
        gpu.stack_moments(gpu.stack_moments(task))
    with pytest.raises(ValueError, match="sources must agree in their shape"):
        gpu.stack_moments([task, numerics.LinearTask(np.eye(3), 7)])
    layer = numerics.linear_layer_moments([([[[2.0, 1.0], [1.0, 0.0]]], [3.0])])
    with pytest.raises(TypeError, match="sources must not mix"):
        gpu.stack_moments([task, layer])
    with pytest.raises(TypeError, match="xp must be an array library"):
        gpu.stack_moments([task], xp="numpy")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", [(2, 3, 2), (4, 4, 4), (7, 6, 5)], ids=str)
@pytest.mark.parametrize("rows", [(5, 5), (1, 5), (5, 1), (1, 1)], ids=str)
def test_products_of_rows(shape, rows, place):
    n, k, m = shape
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((n, k, rows[0])), rng.standard_normal((k, m, rows[1]))
    expected = np.stack(
        [A[..., i % rows[0]] @ B[..., i % rows[1]] for i in range(max(rows))], axis=-1
    )
    assert_close(product(place.put(A), place.put(B)), expected)


@pytest.mark.parametrize("place", PLACES)
def test_initial_weights_are_those_of_numerics_bit_for_bit(place):
    seeds, scales = [3, 1, np.random.SeedSequence(5)], [0.1, 0.2, 0.3]
    models = [
        numerics.MergedAttention(2, 3),
        numerics.SeparateAttention(2, 3, 2),
        numerics.AttentionLayer(2, 1, attention="softmax"),
    ]
    for model in models:
        found = gpu.initial_weights(model, scales, seeds, **place.options)
        assert place.holds(found)
        rows = zip(scales, seeds, strict=True)
        expected = [model.initial_weights(scale, rng=seed) for scale, seed in rows]
        assert (to_host(found) == np.array(expected)).all()
        alone = gpu.initial_weights(model, 0.2, seeds[1:2], **place.options)
        assert (to_host(alone)[0] == expected[1]).all()


def test_seeds_that_make_no_rows_are_refused():
    model = numerics.SeparateAttention(2, 1)
    with pytest.raises(TypeError, match="seeds must be one seed for each row, got the number 3"):
        gpu.initial_weights(model, 0.1, 3)
    with pytest.raises(ValueError, match="seeds must hold at least one"):
        gpu.initial_weights(model, 0.1, [])
    with pytest.raises(TypeError, match="seeds must not hold generators"):
        gpu.initial_weights(model, 0.1, [np.random.default_rng(0)])
    with pytest.raises(ValueError, match="scale must be one number or 2"):
        gpu.initial_weights(model, [0.1] * 3, [0, 1])
    with pytest.raises(ValueError, match="scale must be > 0"):
        gpu.initial_weights(model, 0.0, [0, 1])
    with pytest.raises(TypeError, match="model must draw its own initial weights"):
        gpu.initial_weights("attention", 0.1, [0])


# `analytic` asks an array for its own library, which PyTorch's tensors cannot name.
OF_THE_STANDARD = [place for place in PLACES if place.id != "torch"]


def curves():
    """Losses that fall at different times, one that never falls, and their rates."""
    t = np.linspace(0.0, 10.0, 41)
    centre, width = np.array([[2.0], [5.0], [30.0]]), np.array([[0.5], [1.0], [1.0]])
    fall = np.tanh((t - centre) / width)
    return t, 2.0 - fall, (1 - fall**2) / width


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("cubic", [False, True])
def test_crossings_and_drops_are_their_twins(cubic, place):
    t, loss, rate = curves()
    levels, plateaus = np.array([5.0, 2.9, 2.0, 1.1, 0.5]), np.array([3.0, 1.5, 1.0])
    options = {"loss_rate": place.put(rate)} if cubic else {}
    for function, heights in (("crossing_times", levels), ("drop_times", plateaus)):
        for given in (heights, np.tile(heights, (3, 1)) * [[1.0], [1.01], [0.99]]):
            found = getattr(gpu, function)(
                place.put(t), place.put(loss), place.put(given), **options
            )
            assert place.holds(found)
            each = np.broadcast_to(given, (3, len(heights)))
            for i, row in enumerate(to_host(found)):
                one = {"loss_rate": rate[i]} if cubic else {}
                expected = getattr(numerics, function)(t, loss[i], each[i], **one)
                np.testing.assert_allclose(row, expected, rtol=1e-13)


def test_curves_that_do_not_fit_are_refused():
    t, loss, rate = curves()
    levels = np.array([2.0])
    with pytest.raises(ValueError, match="t has 40 times, but loss has 41"):
        gpu.crossing_times(t[1:], loss, levels)
    with pytest.raises(ValueError, match="loss_rate has shape"):
        gpu.crossing_times(t, loss, levels, loss_rate=rate[:2])
    with pytest.raises(ValueError, match="loss has 3 rows, which is not the 2 of levels"):
        gpu.crossing_times(t, loss, np.ones((2, 1)))
    with pytest.raises(TypeError, match="t has dtype float32"):
        gpu.crossing_times(t.astype(np.float32), loss, levels)
    with pytest.raises(ValueError, match="plateaus must be"):
        gpu.drop_times(t, loss, levels)


@pytest.mark.parametrize("place", OF_THE_STANDARD)
def test_closed_forms_take_a_batch_as_it_is(place):
    spectra = np.sort(np.random.default_rng(0).uniform(0.1, 1.0, (ROWS, 4)))[:, ::-1]
    lengths, start = np.array([5.0, 10.0, 20.0, 40.0]), 1e-2
    forms = {
        "plateau_losses": lambda x, n: analytic.plateau_losses(x, context_length=n),
        "mode_growth": lambda x, n: analytic.mode_growth(x),
        "learning_time": lambda x, n: analytic.learning_time(start, analytic.mode_growth(x)),
    }
    for name, form in forms.items():
        found = form(place.put(spectra), place.put(lengths))
        assert place.holds(found), name
        rows = zip(spectra, lengths.tolist(), strict=True)
        assert_close(found, np.array([form(row, n) for row, n in rows]))


def test_placing_needs_a_library():
    assert_close(placed([1, 2], np, None, None), np.array([1.0, 2.0]))
    with pytest.raises(TypeError, match="xp must be an array library"):
        placed([1.0], None, None, None)

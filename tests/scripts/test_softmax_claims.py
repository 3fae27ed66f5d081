"""What L19 and fig5 are made of: the flow at zero, the images of a sample, readings of a run."""

import csv

import numpy as np
import pytest

import analytic
import figures
from claims.cases import EIGENVALUES, reference_task
from claims.linear.softmax_layer import (
    LAYERS,
    Linearised,
    direction_gains,
    larger_first,
    with_images,
)
from drawing.runs import CONTEXT, FOUR
from numerics import LayerSystem, sample_sequences, tokens_of

LAYER = LAYERS["merged"]


def values_and_scores(theta):
    a, W = LAYER.unpack(theta)
    return a, W[:, :-1]


@pytest.mark.parametrize("mirrored", [False, True])
def test_linearised_flow_is_the_derivative_of_the_layer_at_zero(mirrored):
    sequences = sample_sequences(reference_task(), 60, rng=1)
    sequences = with_images(sequences) if mirrored else sequences
    system = LayerSystem(LAYER, tokens_of(sequences), sequences.target)
    flow = Linearised.on(sequences)
    direction = LAYER.initial_weights(1.0, rng=2)
    step = 1e-4
    # One Euler step of length 1 gives a(0) + f + (∂ȧ/∂θ) θ(0).
    a, B = values_and_scores(step * direction)
    predicted = (flow.values(a, B, 1, 1.0) - a - flow.drive) / step
    ends = [values_and_scores(system.velocity(s * direction))[0] for s in (step, -step)]
    # Central difference: the error is third order, relative step² = 1e-8, times numbers near 10.
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), predicted, atol=1e-6)
    at_zero = system.velocity(np.zeros(LAYER.size))
    drive = np.broadcast_to(flow.drive, a.shape)
    np.testing.assert_allclose(values_and_scores(at_zero)[0], drive, atol=1e-15)
    assert not values_and_scores(at_zero)[1].any()
    # A plain sample pushes the values, by about P^(-1/2); images cancel but for rounding.
    assert (np.abs(flow.drive).max() < 1e-15) == mirrored


def test_leading_part_grows_at_the_rate():
    flow = Linearised.on(with_images(sample_sequences(reference_task(), 60, rng=1)))
    a, B = values_and_scores(LAYER.initial_weights(1.0, rng=3))
    step = 1e-6
    a_next = flow.values(a, B, 1, step)
    B_next = B + step * np.tensordot(a, flow.cross, (1, 0))
    ratio = flow.leading_part(a_next, B_next) / flow.leading_part(a, B)
    # ln(1 + ε σ) / ε rounds at 2e-16 / ε = 2e-10 and leaves out ε σ² / 2 = 2e-8.
    assert np.log(ratio) / step == pytest.approx(flow.rate, abs=1e-7)


def test_images_cancel_what_is_odd_and_keep_the_rest():
    sequences = sample_sequences(reference_task(), 7, rng=0)
    four = with_images(sequences)
    assert len(four) == 28
    np.testing.assert_allclose(four.target, np.sum(four.w * four.query, axis=1), atol=1e-15)
    np.testing.assert_allclose(four.y, np.einsum("pnd,pd->pn", four.x, four.w), atol=1e-14)
    for odd in (four.w.sum(axis=0), four.query.sum(axis=0)):
        assert np.abs(odd).max() < 1e-14


def test_order_of_learning():
    never = np.inf
    assert larger_first(np.array([[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, never, never]])) == [True] * 3
    assert larger_first(np.array([[3, 1, 2, 4], [1, 2, 4, 3], [never] * 4])) == [False] * 3


def test_gains_are_linear_in_the_values():
    theta = LAYER.initial_weights(0.5, rng=4)
    doubled = theta.copy()
    values_and_scores(doubled)[0][:] *= 2
    gains = direction_gains(LAYER, np.stack([0 * theta, theta, doubled]), count=200)
    assert gains.shape == (3, len(EIGENVALUES))
    assert not gains[0].any()
    np.testing.assert_allclose(gains[2], 2 * gains[1], rtol=1e-5)  # tokens in single precision


def test_figure_shows_what_it_says(tmp_path):
    figures.make("fig5", tmp_path, quick=True, seed=1)
    with (tmp_path / "fig5.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    lines = [float(row["y"]) for row in table if row["kind"] == "reference"]
    np.testing.assert_allclose(lines, analytic.plateau_losses(FOUR, CONTEXT), rtol=1e-9)
    assert not [row for row in table if row["kind"] == "predicted"]
    for kind in LAYERS:
        for seed in ("seed 1", "seed 2"):
            loss = [float(r["y"]) for r in table if (r["panel"], r["series"]) == (kind, seed)]
            assert loss[-1] < 0.5 * loss[0]
        series = "seed 1, eigenvalue 0.4"
        gain = [
            float(r["y"]) for r in table if (r["panel"], r["series"]) == (f"{kind}, gain", series)
        ]
        assert abs(gain[0]) < 0.1 < 0.5 < gain[-1]

"""Drops, plateaus and dwell times on curves made by hand."""

import itertools

import numpy as np
import pytest

from numerics import Trajectory, crossing_times, drop_times, dwell_times, find_plateaus

T = np.linspace(0.0, 60.0, 1201)  # spacing 0.05
SPACING = 0.05


def curve(t, loss, rate):
    zeros = np.zeros(len(t))
    return Trajectory(
        t=t, states=zeros[:, None], loss=np.asarray(loss, float), loss_rate=np.asarray(rate, float),
        invariant_drift=zeros, energy_gap=zeros, status="finished", evaluations=0, model=None,
    )  # fmt: skip


def staircase(centres, sizes, width=0.5, top=4.0, t=T):
    """Logistic steps down from `top`, with their exact rate."""
    loss, rate = np.full(len(t), top), np.zeros(len(t))
    for centre, size in zip(centres, sizes, strict=True):
        sigma = 1 / (1 + np.exp(-(t - centre) / width))
        loss -= size * sigma
        rate += size * sigma * (1 - sigma) / width
    return curve(t, loss, rate)


@pytest.mark.parametrize("centres", [[30.0], [10.0, 30.0], [10.0, 25.0, 45.0]])
def test_drops_and_plateaus_of_a_staircase(centres):
    sizes = [1.0, 0.5, 0.3][: len(centres)]
    found = find_plateaus(staircase(centres, sizes))
    assert found.drops == pytest.approx(centres, abs=SPACING / 2)
    # Flat to the logistic's tail, e^{-7.5/0.5} = 3e-7 of a step at half the least distance.
    assert found.heights == pytest.approx(4.0 - np.cumsum([0.0, *sizes]), abs=1e-6)
    assert (found.heights == np.interp(found.times, T, staircase(centres, sizes).loss)).all()
    assert (T[found.indices] == found.times).all()
    assert found.times[0] == 0.0
    assert found.times[-1] == 60.0
    for i, (a, b) in enumerate(itertools.pairwise(centres)):
        assert a < found.times[i + 1] < b


def test_a_constant_curve_has_one_plateau_and_no_drop():
    found = find_plateaus(curve(T, np.full(len(T), 2.0), np.zeros(len(T))))
    assert found.drops.size == 0
    assert found.heights.tolist() == [2.0]
    assert found.indices.tolist() == [0]


def test_decay_without_a_plateau_is_no_drop():
    found = find_plateaus(curve(T, np.exp(-T), np.exp(-T)))
    assert found.drops.size == 0
    assert found.heights.tolist() == [1.0]


def test_a_run_that_ends_in_the_middle_of_its_drop():
    t = T[T <= 29.0]
    found = find_plateaus(staircase([10.0, 30.0], [1.0, 0.5], t=t))
    assert found.drops == pytest.approx([10.0, 29.0], abs=SPACING / 2)
    assert found.heights[1] == pytest.approx(3.0, abs=1e-6)
    assert found.times[-1] == found.drops[-1]


def test_the_first_plateau_is_where_the_start_is_flattest():
    """A run that first relaxes to its plateau: e^{-t} on top of a step at t = 30."""
    step = staircase([30.0], [1.0])
    found = find_plateaus(curve(T, step.loss + np.exp(-T), step.loss_rate + np.exp(-T)))
    assert found.drops == pytest.approx([30.0], abs=SPACING / 2)
    # The rates e^{-t} and 2 e^{2(t − 30)} add up to least near t = 20.
    assert found.times[0] == pytest.approx(20 - np.log(4) / 3, abs=SPACING)
    assert found.heights[0] == pytest.approx(4.0, abs=1e-8)


def test_exactly_flat_ends():
    rate = np.where((T > 20) & (T < 22), 1.0 - np.abs(T - 21), 0.0)
    loss = 3.0 - np.cumsum(rate) * SPACING
    found = find_plateaus(curve(T, loss, rate))
    assert found.drops == pytest.approx([21.0], abs=SPACING / 2)
    assert found.heights == pytest.approx([loss[0], loss[-1]])


def test_contrast_decides_what_counts_as_two():
    """Peaks 1 and 0.9 over a valley of 0.05: the lower stands out from it by a factor of 18."""
    log_rate = np.interp(T, [0, 10, 20, 30, 60], np.log([1e-6, 1, 0.05, 0.9, 1e-6]))
    run = curve(T, 100 - np.cumsum(np.exp(log_rate)) * SPACING, np.exp(log_rate))
    assert find_plateaus(run).drops == pytest.approx([10.0, 30.0])
    assert find_plateaus(run, contrast=17.0).drops == pytest.approx([10.0, 30.0])
    assert find_plateaus(run, contrast=19.0).drops == pytest.approx([10.0])
    assert find_plateaus(run).times[1] == pytest.approx(20.0)


def test_ripples_below_the_floor_are_not_drops():
    run = staircase([20.0], [1.0])
    ripple = 1e-13 * (2 + np.sin(7 * T)) * (T > 45)
    rate = np.where(T > 45, ripple, run.loss_rate)
    assert len(find_plateaus(curve(T, run.loss, rate)).drops) == 1
    louder = np.where(T > 45, 1e-6 * (1 + np.cos(T)) + 1e-12, run.loss_rate)
    assert len(find_plateaus(curve(T, run.loss, louder)).drops) > 1  # these are above it


def test_scale_of_loss_and_time_do_not_matter():
    run = staircase([10.0, 30.0], [1.0, 0.5])
    other = curve(1e3 * T, 1e-9 * run.loss, 1e-12 * run.loss_rate)
    assert (find_plateaus(other).indices == find_plateaus(run).indices).all()


@pytest.mark.parametrize(
    ("contrast", "error"),
    [(1.0, ValueError), (0.5, ValueError), (np.nan, ValueError), ("x", TypeError)],
)
def test_contrast_is_checked(contrast, error):
    with pytest.raises(error, match=r"^contrast must be"):
        find_plateaus(staircase([10.0], [1.0]), contrast=contrast)


def test_crossing_times_interpolate_the_first_crossing():
    t, loss = [0.0, 1.0, 3.0, 4.0, 5.0], [4.0, 2.0, 1.0, 3.0, 0.0]
    levels = [5.0, 4.0, 3.0, 2.0, 1.5, 1.0, 0.75, 0.0, -1.0]
    # The curve comes back up to 3 at t = 4: only the first passage counts.
    expected = [0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.75, 5.0, np.inf]
    assert crossing_times(t, loss, levels) == pytest.approx(expected)


def test_crossing_times_are_exact_on_a_line():
    t = np.linspace(0, 3, 7) ** 2  # uneven
    levels = np.array([4.2, 1.1])
    assert crossing_times(t, 5 - t / 2, levels) == pytest.approx(2 * (5 - levels), rel=1e-14)


@pytest.mark.parametrize("centres", [[30.0], [10.0, 30.0]])
def test_drop_times_of_a_staircase(centres):
    sizes = [1.0, 0.5][: len(centres)]
    run = staircase(centres, sizes)
    plateaus = 4.0 - np.cumsum([0.0, *sizes])
    # Linear interpolation on a grid that holds the centre; the other step's tail is e^{-40}.
    assert drop_times(run.t, run.loss, plateaus) == pytest.approx(centres, abs=1e-9)
    assert drop_times(run.t, run.loss, [*plateaus, 0.0])[-1] == np.inf


def test_dwell_times_of_a_piecewise_linear_curve():
    """Plateaus 3, 2, 0: falls 3 → 2 over t 4…5 and 2 → 0 over t 9…13, then rests until 20."""
    t, loss = [0.0, 4.0, 5.0, 9.0, 13.0, 20.0], [3.0, 3.0, 2.0, 2.0, 0.0, 0.0]
    dwell = dwell_times(t, loss, [3.0, 2.0, 0.0], band=0.1)
    # Bands ±0.1, ±0.1 (nearer neighbour at distance 1) and ±0.2 (its only one at distance 2).
    first = 4.1
    second = 9.2 - 4.9
    third = 20 - (13 - 0.4)
    assert dwell == pytest.approx([first, second, third])


def test_a_plateau_never_reached_has_no_dwell_time():
    dwell = dwell_times([0.0, 1.0, 2.0], [3.0, 3.0, 2.5], [3.0, 2.0, 0.0], band=0.1)
    # The first is left when the loss is down by 0.1, a fifth of the way from t = 1 to 2.
    assert dwell == pytest.approx([1.2, 0.0, 0.0])


@pytest.mark.parametrize("call", [
    lambda: crossing_times([0.0, 1.0], [1.0], [0.5]),
    lambda: drop_times([0.0, 1.0], [1.0], [1.0, 0.5]),
    lambda: dwell_times([0.0, 1.0], [1.0], [1.0, 0.5], band=0.1),
])  # fmt: skip
def test_lengths_must_agree(call):
    with pytest.raises(ValueError, match="length of loss is 1, but t makes it 2"):
        call()


@pytest.mark.parametrize("call", [
    lambda: drop_times([0.0, 1.0], [2.0, 1.0], [1.5]),
    lambda: dwell_times([0.0, 1.0], [2.0, 1.0], [1.5], band=0.1),
])  # fmt: skip
def test_one_plateau_is_refused_by_name(call):
    with pytest.raises(ValueError, match=r"^plateaus must be at least 2, .*got 1"):
        call()


def test_bad_curves_are_named():
    with pytest.raises(ValueError, match=r"^loss must be finite"):
        crossing_times([0.0, 1.0], [1.0, np.nan], [0.5])
    with pytest.raises(ValueError, match=r"^levels must have 1 axes"):
        crossing_times([0.0, 1.0], [1.0, 0.0], 0.5)
    with pytest.raises(ValueError, match=r"^band must be > 0"):
        dwell_times([0.0, 1.0], [1.0, 0.0], [1.0, 0.0], band=0.0)
    with pytest.raises(ValueError, match=r"^plateaus must have 1 axes"):
        drop_times([0.0, 1.0], [1.0, 0.0], 0.5)

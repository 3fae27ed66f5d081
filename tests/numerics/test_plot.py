"""Records draw their own numbers into the axes given, and say in one line what they are."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import analytic
import gpu
import numerics as nm
from numerics import _plot
from numerics._repr import OneLine

ROOT = Path(__file__).parents[2]
MODEL = nm.SeparateAttention(dimension=2, heads=2)
TASK = nm.LinearTask.from_eigenvalues([0.4, 0.2], 31)
HEAD = nm.ReducedHead(block_dim=10, signal=1.0, context_length=100, embedding_dim=30)


def flow():
    initial = MODEL.initial_weights(0.05, rng=0)
    return nm.gradient_flow(MODEL, nm.population_moments(TASK), initial, 2000.0)


def descent():
    system = nm.AttentionSystem(MODEL, nm.population_moments(TASK))
    return nm.gradient_descent(system, MODEL.initial_weights(0.05, rng=0), 20, 0.1)


def cascade():
    return nm.task_cascade(MODEL, TASK, MODEL.initial_weights(1e-2, rng=0), 4000.0)


def training():
    layer = nm.AttentionLayer(dimension=2, heads=1, attention="softmax")
    sequences = nm.sample_sequences(TASK, 8, rng=0)
    test = nm.LayerSystem.of(layer, nm.sample_sequences(TASK, 8, rng=1))
    batches = nm.Minibatches(layer, sequences, 4)
    return nm.train(batches, layer.initial_weights(0.1, rng=0), 10, 0.01, rng=0,
                    tests={"new tokens": test})  # fmt: skip


def ensemble():
    moments = gpu.stack_moments([nm.population_moments(TASK)])
    initial = gpu.initial_weights(MODEL, 0.05, seeds=range(3))
    return gpu.gradient_flow(MODEL, moments, initial, 2000.0)


def spectral():
    model = nm.SpectralAttention(block_dims=(10,), heads=1, embedding_dim=30)
    system = nm.SpectralSystem(model, nm.MultiTask((10,), 1.0, context_length=100))
    return nm.spectral_flow(system, model.leading_weights(0.01, 0.5, 1.0), 5.0)


# How to make one, its curves, and the label of the time axis.
CASES = {
    "flow": (flow, lambda r: [(r.t, r.loss)], "time t  [τ]"),
    "descent": (descent, lambda r: [(r.t, r.loss)], "step"),
    "spectral": (spectral, lambda r: [(r.t, r.loss)], "time t  (dθ/dt = −∂ℓ/∂θ)"),
    "cascade": (cascade, lambda r: [(r.t, r.loss)], "time t  [τ]"),
    "training": (
        training,
        lambda r: [(r.step, r.loss), *((r.step, loss) for loss in r.tests.values())],
        "step",
    ),
    "reduced": (
        lambda: HEAD.flow(0.01, 1.0, 50.0),
        lambda r: [(r.t, r.loss)],
        "time t  (dθ/dt = −∂ℓ/∂θ)",
    ),
    "ensemble": (ensemble, lambda r: [(r.t, loss) for loss in r.loss], "time t  [τ]"),
    "plateaus": (
        lambda: nm.find_plateaus(flow()),
        lambda r: [(r.times, r.heights)],
        "time t",
    ),
}


def drawn(ax):
    """The curves, without the grey lines at plateaus and drops."""
    return [line for line in ax.lines if line.get_color() != _plot.QUIET]


@pytest.mark.parametrize("name", CASES)
def test_lines_carry_the_record(name):
    make, curves, label = CASES[name]
    record = make()
    before = dict(mpl.rcParams)
    ax = Figure().subplots()
    assert record.plot(ax) is ax
    expected = curves(record)
    assert len(drawn(ax)) == len(expected)
    for line, (t, loss) in zip(drawn(ax), expected, strict=True):
        first = len(t) - len(line.get_xdata())  # what is left out lies after t = 0
        np.testing.assert_array_equal(line.get_xdata(), [t[0], *t[first + 1 :]])
        np.testing.assert_array_equal(line.get_ydata(), [loss[0], *loss[first + 1 :]])
        assert first == 0 or t[first] < 1e-4 * t[-1]
    assert ax.get_xlabel() == label
    assert ax.get_ylabel().startswith("loss")
    assert dict(mpl.rcParams) == before


def test_plateaus_and_drops_are_drawn_where_the_record_has_them():
    ax = Figure().subplots()
    run = cascade()
    run.plot(ax)
    heights = [line.get_ydata()[0] for line in ax.lines if line not in drawn(ax)]
    np.testing.assert_array_equal(heights, run.plateaus)
    ax = Figure().subplots()
    found = nm.find_plateaus(flow())
    assert len(found.drops) == 2
    found.plot(ax)
    times = [line.get_xdata()[0] for line in ax.lines if line not in drawn(ax)]
    np.testing.assert_array_equal(times, found.drops)


def test_style_reaches_the_lines_and_rows_share_a_colour():
    ax = ensemble().plot(Figure().subplots(), linewidth=3.0, label="seeds")
    assert {line.get_linewidth() for line in ax.lines} == {3.0}
    assert len({line.get_color() for line in ax.lines}) == 1
    assert [line.get_label() for line in ax.lines].count("seeds") == 1


@pytest.mark.parametrize("name", ["flow", "spectral", "cascade"])
@pytest.mark.parametrize("before", [True, False])
def test_a_log_time_axis_begins_where_the_loss_does(name, before):
    """Not at the first step of the solver; whether the axis is logarithmic before or after."""
    record = CASES[name][0]()
    ax = Figure().subplots()
    if before:
        ax.set_xscale("log")
    record.plot(ax)
    ax.set_xscale("log")
    t, change = record.t, np.abs(record.loss - record.loss[0]) / np.ptp(record.loss)
    (line,) = drawn(ax)
    zero, first = line.get_xdata()[:2]
    unseen = t[np.argmax(change > _plot.SEEN) - 1]
    assert zero == 0 < t[1] < first  # the solver's first step is left out
    assert min(unseen, _plot.EARLY * t[-1]) <= first <= unseen
    # The limits of the axis are those of the line, and 5 % on both sides.
    left, right = np.log(ax.get_xlim())
    assert left == pytest.approx(np.log(first) - 0.05 / 1.1 * (right - left), rel=1e-12)


def test_only_points_at_which_nothing_is_to_be_seen_are_left_out():
    t = np.array([0.0, 1e-8, 1e-7, 1e-6, 0.5, 3.0, 4.0])
    for loss in ([9, 5, 4, 3, 2, 1, 0], [np.inf, 5, 4, 3, 2, 1, 0], [np.nan] * 7):
        np.testing.assert_array_equal(_plot.visible(t, loss), (t, loss))  # changes at once
    late, loss = _plot.visible(t, [9, 9, 9, 5, 4, np.inf, np.nan])
    assert late.tolist() == [0.0, 1e-7, 1e-6, 0.5, 3.0, 4.0]  # from the last at which it has not
    assert loss[:3].tolist() == [9, 9, 5]
    assert _plot.visible(t[1:], [9] * 6)[0].tolist() == [0.5, 3.0, 4.0]


def test_labels_that_are_there_stay():
    ax = Figure().subplots()
    ax.set(xlabel="updates", ylabel="error")
    descent().plot(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("updates", "error")


def test_new_axes_without_one_given(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    try:
        ax = descent().plot()
        assert len(drawn(ax)) == 1
        assert not ax.spines["top"].get_visible()
    finally:
        pyplot.close("all")


def test_axes_that_are_none_are_refused():
    with pytest.raises(TypeError, match="ax must be matplotlib Axes or None"):
        descent().plot("figure.png")


def test_drawing_is_imported_when_something_is_drawn():
    code = "import sys, numerics, gpu; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", [name for name in CASES if name != "plateaus"])
def test_a_run_says_how_it_ended_in_one_line(name):
    record = CASES[name][0]()
    text = repr(record)
    assert text.startswith(type(record).__name__ + "(")
    assert "finished" in text
    assert "array" not in text
    assert "\n" not in text


def records():
    moments = nm.population_moments(TASK)
    system = nm.AttentionSystem(MODEL, moments)
    sequences = nm.sample_sequences(TASK, 8, rng=0)
    return [
        TASK, moments, moments.eigenform()[0], nm.dense_moments(moments), sequences,
        nm.TokenTask(sequences.x[0], 5), nm.MultiTask((2,) * 9, 1.0, 100),
        nm.linear_layer_moments([(nm.tokens_of(sequences), sequences.target)]),
        nm.find_plateaus(flow()),
        nm.stability(system, MODEL.initial_weights(0.1, rng=0)),
        nm.optimal_heads((1, 2), 1.0, 10, heads=2, starts=1, rng=0),
        gpu.stack_moments([moments]), analytic.general_modes(np.eye(30), np.eye(30)),
    ]  # fmt: skip


def test_records_of_arrays_name_their_sizes_in_one_line():
    for record in records():
        text = repr(record)
        assert text.startswith(type(record).__name__ + "(")
        assert len(text) < 160, text
        assert "array" not in text
        assert "\n" not in text


def test_every_field_is_in_the_line_and_completes():
    for record in records():
        if isinstance(record, OneLine):
            names = {f.name for f in dataclasses.fields(record) if f.name[0] != "_"} - {"status"}
            assert all(name in repr(record) for name in names)
        assert {field.name for field in dataclasses.fields(record)} <= {*dir(record)}


def generated(kind):
    """Whether the repr is the one that `dataclass` writes, which is compiled from a string."""
    return inspect.unwrap(kind.__repr__).__code__.co_filename == "<string>"


def test_no_public_record_prints_its_arrays():
    assert generated(nm.Adam)
    for package in (nm, gpu, analytic):
        for name in package.__all__:
            kind = getattr(package, name)
            if dataclasses.is_dataclass(kind) and generated(kind):
                assert not [f for f in dataclasses.fields(kind) if "rray" in str(f.type)], name


def test_unit_of_time_is_the_label():
    assert _plot.time_label("steps") == "step"
    assert _plot.time_label("epochs") == "time t  (epochs)"

"""`predict.py softmax --overlay`: a user's curve in our units, beside the losses it may end at."""

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import numerics
import predict
import style
from prediction import inputs, overlay
from prediction.softmax import measured, run_picture, theory
from prediction.softmax.phases import find_phases
from tests.scripts import support_predict

_in_empty_folder = support_predict.in_empty_folder

DIMS, LENGTH = (5, 8), 100
GIVEN = ["--block-dims", "5", "8", "--context-length", "100"]
ROUNDING = 1e-13


def softmax(*arguments):
    """Run `predict.py softmax`, and read what it wrote."""
    assert predict.main(["softmax", *arguments, "--json", "out.json"]) == 0
    return json.loads(Path("out.json").read_text(encoding="utf-8"))


def trained(factor, rate, *, duration=30.0, every=20):
    """Gradient descent on `factor` times our loss, as its user writes it down; and the system."""
    model = numerics.SpectralAttention(block_dims=DIMS, heads=2, embedding_dim=13)
    system = numerics.SpectralSystem(model, numerics.MultiTask(DIMS, 1.0, context_length=LENGTH))
    start, step = model.leading_weights(0.01, 0.1, 0.5), rate * factor
    run = numerics.gradient_descent(system, start, round(duration / step), step, every=every)
    curve = np.column_stack([run.t, factor * run.loss])
    np.savetxt("loss.csv", curve, delimiter=",", header="step,loss", comments="")
    return system, start, step


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_steps_and_losses_are_those_of_the_flow(factor):
    """t = η f n and loss/f: the curve then lies on the flow from the same weights."""
    rate = 0.002
    system, start, step = trained(factor, rate)
    options = ["--overlay", "loss.csv", "--lr", str(rate), "--loss-factor", str(factor)]
    parsed = predict.make_parser().parse_args(["softmax", *GIVEN, *options])
    predict.check_softmax(parsed)
    curve = inputs.read_curve(parsed.overlay, parsed.steps_per_row)
    run = measured.compare(theory.predict(parsed), parsed, curve).curve
    flow = numerics.spectral_flow(system, start, run.t[-1], times=run.t)
    # Growth at rate r is late by r t/2 steps; at r of about 2 until the drop at t = 3 these are 3.
    assert np.abs(run.loss - flow.loss).max() < 3 * step * flow.loss_rate.max()
    twice = np.abs(run.loss - numerics.spectral_flow(system, start, 60.0, times=2 * run.t).loss)
    assert twice.max() > 1.0
    result = softmax(*GIVEN, *options)["measured"]["your_run"]
    assert result["time_per_step"] == pytest.approx(step, rel=ROUNDING)
    assert result["last_time"] == pytest.approx(30.0, rel=ROUNDING)
    assert result["loss_factor"] == factor
    assert result["final_loss"] == pytest.approx(float(run.loss[-1]), rel=ROUNDING)
    # Leading-order heads end at the formula of the limit; 30 times the slower rate of 0.52 is 16.
    assert abs(result["relative_differences"]["flow_limit"]) < 1e-2


def test_the_end_is_held_against_every_prediction(capsys):
    noisy = np.full(100, 2.5)
    noisy[::3] += 0.5  # the median of the last tenth is free of it
    np.savetxt("loss.csv", np.concatenate([[13.0, 8.0], noisy]))
    given = [*GIVEN, "--overlay", "loss.csv", "--lr", "0.1", "--steps-per-row", "10"]
    result = softmax(*given)
    run = result["measured"]["your_run"]
    assert run["settled_loss"] == 2.5
    assert run["final_loss"] == 3.0
    assert run["last_time"] == pytest.approx(101.0, rel=ROUNDING)
    expected = {key: 2.5 / result[f"{key}_loss"] - 1
                for key in ("flow_limit", "exact_optimum", "lower_bound")}  # fmt: skip
    assert run["relative_differences"] == pytest.approx(expected, rel=1e-10)
    out = capsys.readouterr().out
    for key, name in {"flow_limit": "limit of the flow", "exact_optimum": "best heads, exact",
                      "lower_bound": "lower bound, H = 2"}.items():  # fmt: skip
        (line,) = (x for x in out.splitlines() if x.startswith(name) and x.endswith("%"))
        assert float(line.split()[-2]) == pytest.approx(100 * expected[key], rel=1e-2)
    assert "note: your run starts" not in out
    few = softmax(*given, "--heads", "1")["measured"]["your_run"]["relative_differences"]
    assert set(few) == {"single_head_optimum", "lower_bound"}


def test_a_forgotten_factor_of_the_loss_is_named(capsys):
    np.savetxt("loss.csv", np.linspace(6.5, 1.2, 40))
    given = [*GIVEN, "--overlay", "loss.csv", "--lr", "0.1", "--steps-per-row", "10"]
    softmax(*given)
    assert "--loss-factor 0.5" in capsys.readouterr().out
    softmax(*given, "--loss-factor", "0.5")
    assert "--loss-factor" not in capsys.readouterr().out


def test_the_picture_has_the_curve_the_levels_and_the_phases():
    rate = 0.002
    trained(1.0, rate)
    options = ["softmax", *GIVEN, "--overlay", "loss.csv", "--lr", str(rate)]
    parsed = predict.make_parser().parse_args(options)
    predict.check_softmax(parsed)
    prediction = theory.predict(parsed)
    curve = inputs.read_curve(parsed.overlay, None)
    run = measured.compare(prediction, parsed, curve)
    phases = find_phases(prediction.tasks, LENGTH, 0.01, 0.5)
    _, ax = style.figure(5.6, 3.6)
    run_picture.draw(ax, run, phases)
    levels = {line.get_label(): line.get_ydata()[0] for line in ax.lines[:3]}
    assert levels == {level.name: level.loss for level in run.levels}
    np.testing.assert_array_equal(ax.lines[3].get_xydata(), np.column_stack(
        [run.curve.t, run.curve.loss]))  # fmt: skip
    ends = sorted(line.get_xdata()[0] for line in ax.lines[4:])
    assert ends == sorted(chain(*run_picture.phase_ends(phases)))
    assert len(ends) == 4
    assert ax.get_xscale() == "linear"
    for name in ("run.png", "run.svg"):
        assert predict.main([*options, "--init", "0.01", "0.5", "--plot", name]) == 0
        assert Path(name).stat().st_size > 0


def test_time_is_logarithmic_where_the_loss_falls_early():
    t = np.arange(0.0, 1001.0)
    early, late = np.exp(-t / 5), np.exp(-t / 500)
    levels = (measured.Level("lower_bound", "lower bound", 1.0),)
    for loss, scale in ((early, "log"), (late, "linear")):
        curve = overlay.Curve(t, 12 * loss + 1, {})
        run = measured.Compared(curve, 1.0, 13.0, levels)
        ax = style.figure()[1]
        run_picture.draw(ax, run, None)
        assert ax.get_xscale() == scale
        assert ax.get_xlim()[1] == 1000.0
    assert measured.half_time(run) == np.ceil(500 * np.log(2))


MISUSE = [
    (["--overlay", "good.csv"], "--overlay", "--lr"),
    (["--lr", "1"], "--lr", "--overlay"),
    (["--loss-factor", "1"], "--loss-factor", "--overlay"),
    (["--steps-per-row", "1"], "--steps-per-row", "--overlay"),
    (["--overlay", "", "--lr", "1"], "--overlay", "must name a file"),
    (["--overlay", "good.csv", "--lr", "0"], "--lr", "> 0"),
    (["--overlay", "missing.csv", "--lr", "1"], "--overlay missing.csv", "No such file"),
    (["--overlay", "loss.csv", "--lr", "1"], "--overlay loss.csv", "--steps-per-row"),
    (["--overlay", "back.csv", "--lr", "1"], "--overlay back.csv", "row 3"),
    (["--overlay", "nan.csv", "--lr", "1"], "--overlay nan.csv", "finite"),
    (["--overlay", "in.json", "--lr", "1", "--json", "in.json"], "--json", "inputs"),
    (["--overlay", "good.csv", "--lr", "1", "--no-context-scale"], "--no-context", "unrecognized"),
    (["--block-dims", "5,8"], "--block-dims", "separate numbers by spaces"),
]


@pytest.mark.parametrize(("arguments", "name", "says"), MISUSE)
def test_misuse_is_one_line_and_writes_nothing(arguments, name, says, capsys):
    for file, text in {"good.csv": "0,1\n1,0.5\n", "back.csv": "0,1\n5,0.5\n5,0.4\n",
                       "loss.csv": "1\n0.5\n", "nan.csv": "0,nan\n1,1\n"}.items():  # fmt: skip
        Path(file).write_text(text)
    before = set(Path().iterdir())
    outputs = [] if "--json" in arguments else ["--json", "o.json", "--plot", "o.png"]
    assert predict.main(["softmax", *GIVEN, *arguments, *outputs]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert name in captured.err
    assert says in captured.err
    assert set(Path().iterdir()) == before

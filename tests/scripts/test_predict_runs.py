"""Somebody's run, and runs of gradient descent, laid over what is predicted."""

from pathlib import Path

import numpy as np
import pytest

import numerics
from tests.scripts import support_predict
from tests.scripts.support_predict import LAMBDA, REFERENCE, linear

_in_empty_folder = support_predict.in_empty_folder
heavy_tokens = support_predict.heavy_tokens


def test_overlay_converts_steps_weights_and_loss():
    length, factor, rate, s = 31, 0.5, 0.004, 0.05
    scale = length ** (1 / 3)  # ours over theirs; see `analytic.Convention`
    model = numerics.SeparateAttention(4, 4)
    moments = numerics.population_moments(numerics.LinearTask.from_eigenvalues(LAMBDA, length))
    run = numerics.gradient_descent(
        numerics.AttentionSystem(model, moments),
        model.initial_weights(s, rng=5),
        12_000,
        rate * scale**2,
        loss_factor=factor,
        every=20,
    )
    np.savetxt("loss.csv", factor * run.loss)
    result = linear(
        *REFERENCE, "--init", str(s), "--seed", "5", "--flow", "--overlay", "loss.csv",
        "--steps-per-row", "20", "--lr", str(rate), "--loss-factor", "0.5", "--no-context-scale",
        "--plot", "run.svg",
    )  # fmt: skip
    overlay, flow = (result["measured"][name] for name in ("your_run", "gradient_flow"))
    assert overlay["weights_factor"] == pytest.approx(scale)
    assert overlay["time_per_step"] == pytest.approx(2 * rate * factor * scale**2)
    assert overlay["compared_with"] == "the gradient flow"
    # Gradient descent follows the flow to first order in a step, 0.04 of time, of some 100.
    assert overlay["rms_distance"] < 2e-3
    reached = [t for t in overlay["drop_times"] if t is not None]
    assert len(reached) >= 2
    np.testing.assert_allclose(reached, flow["drop_times"][: len(reached)], rtol=5e-3)
    assert Path("run.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_any_factor_on_the_attention_converts():
    np.savetxt("loss.csv", np.linspace(1.0, 0.2, 40))
    given = [*REFERENCE, "--overlay", "loss.csv", "--steps-per-row", "2", "--lr", "0.1"]
    named = linear(*given, "--no-context-scale")["measured"]["your_run"]
    assert linear(*given, "--context-scale", "31")["measured"]["your_run"] == named
    other = linear(*given, "--context-scale", "0.125")["measured"]["your_run"]
    assert other["weights_factor"] == pytest.approx(0.5)
    assert other["time_per_step"] == pytest.approx(2 * 0.1 / 4)


def test_a_forgotten_factor_of_the_loss_is_named(capsys):
    np.savetxt("loss.csv", np.linspace(0.5, 0.07, 40))
    given = [*REFERENCE, "--overlay", "loss.csv", "--steps-per-row", "2", "--lr", "0.1"]
    linear(*given)
    assert "--loss-factor 0.5" in capsys.readouterr().out
    linear(*given, "--loss-factor", "0.5")
    assert "--loss-factor" not in capsys.readouterr().out


def test_overlay_finds_its_columns_by_name():
    steps, loss = np.arange(0.0, 40.0), np.linspace(1.0, 0.2, 40)
    runs = {"two.csv": ("step,loss", [steps, loss]),
            "four.csv": ("Loss, time, step, x", [loss, 7 * steps, steps, -loss])}  # fmt: skip
    found = []
    for name, (header, columns) in runs.items():
        np.savetxt(name, np.transpose(columns), delimiter=",", header=header, comments="")
        found.append(linear(*REFERENCE, "--overlay", name, "--lr", "0.1")["measured"]["your_run"])
    assert found[0] == found[1]


def test_overlay_with_its_own_steps():
    Path("loss.csv").write_text("step,loss\n0,1\n10,0.9\n30,0.8\n")
    overlay = linear(*REFERENCE, "--overlay", "loss.csv", "--lr", "0.1")["measured"]["your_run"]
    assert overlay["time_per_step"] == pytest.approx(0.2)
    assert overlay["compared_with"] == "the predicted run"


@pytest.mark.parametrize("sampled", [False, True])
def test_gradient_descent_on_population_and_sample(sampled):
    sample = ["--sequences", "4000"] if sampled else []
    result = linear(
        *REFERENCE, "--init", "0.05", "--gradient-descent", "3000", "--learning-rate", "1", *sample
    )
    run = result["measured"]["gradient_descent"]
    assert run["final_loss"] == pytest.approx(result["minimum_loss"], rel=0.05 if sampled else 1e-6)
    assert ("minimum_loss_of_sample" in run) is sampled


def test_sampled_run_is_held_against_the_plateaus_of_its_sample(heavy_tokens, capsys):
    result = linear(
        "--tokens", "tokens.npy", "--init", "0.02", "--seed", "1", "--gradient-descent", "40000",
        "--learning-rate", "0.1", "--sequences", "300",
    )  # fmt: skip
    run = result["measured"]["gradient_descent"]
    own = np.array(run["sample_plateau_losses"])
    gap = own / [visit["loss"] for visit in result["path"]] - 1
    assert np.abs(gap).max() > 0.05
    np.testing.assert_allclose(run["plateau_losses"], own, rtol=1e-4)
    assert None not in run["drop_times"]
    assert run["plateaus_compared_with"] == "sample"
    assert own[-1] == run["minimum_loss_of_sample"]
    task = numerics.TokenTask(heavy_tokens, 31)
    moments = numerics.sample_moments(task, 300, rng=[1, 1])
    best = numerics.matrix_loss(moments, numerics.minimiser(moments))
    assert own[-1] == pytest.approx(float(best), rel=1e-10)
    out = capsys.readouterr().out
    assert "sample's own" in out
    assert "± sampling" in out


def test_standard_error_of_a_sample_is_the_scatter_over_samples():
    errors, own = [], []
    for seed in range(40):
        run = linear(
            *REFERENCE[:4], "--seed", str(seed), "--gradient-descent", "1",
            "--learning-rate", "0.1", "--sequences", "400",
        )["measured"]["gradient_descent"]  # fmt: skip
        errors.append(run["sample_standard_errors"])
        own.append(run["sample_plateau_losses"])
    # Each is known to 1/√80 = 11 % from 40 draws.
    np.testing.assert_allclose(np.mean(errors, axis=0), np.std(own, axis=0), rtol=0.3)


def test_a_sample_of_a_path_with_a_detour_and_one_of_a_single_sequence():
    detour = linear(
        "--eigenvalues", "0.84", "0.456", "0.388", "--task-eigenvalues", "0.785", "1.569", "1.57",
        "--context-length", "10", "--gradient-descent", "9", "--learning-rate", "0.1",
        "--sequences", "50000",
    )  # fmt: skip
    own = detour["measured"]["gradient_descent"]["sample_plateau_losses"]
    np.testing.assert_allclose(own, [visit["loss"] for visit in detour["path"]], rtol=0.05)
    single = linear(
        *REFERENCE, "--gradient-descent", "9", "--learning-rate", "1", "--sequences", "1"
    )["measured"]["gradient_descent"]
    assert single["sample_standard_errors"] == [None] * 5
    assert single["sample_plateau_losses"][-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("sample", [[], ["--sequences", "100"]])
@pytest.mark.parametrize(("rate", "step"), [("500", None), ("1e20", 1)])
def test_divergence_is_said_and_has_no_plateaus(rate, step, sample, capsys):
    result = linear(
        *REFERENCE, "--init", "0.1", "--gradient-descent", "300", "--learning-rate", rate,
        "--plot", "run.svg", *sample,
    )  # fmt: skip
    run = result["measured"]["gradient_descent"]
    out = capsys.readouterr().out
    assert "\ndiverged after step " in out
    if step is not None:
        assert run["status"] == f"diverged after step {step}"
    assert run["final_loss"] is None
    assert all(h is None or 0 <= h <= 1.1 for h in run["plateau_losses"])

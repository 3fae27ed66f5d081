import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

import analytic
import console
import numerics
import predict
import style
from prediction import picture, theory

REFERENCE = ["--eigenvalues", "0.4", "0.3", "0.2", "0.1"]
LAMBDA = [0.4, 0.3, 0.2, 0.1]


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def linear(*arguments):
    """Run `predict.py linear`, and read what it wrote."""
    assert predict.main(["linear", *arguments, "--json", "out.json"]) == 0
    return json.loads(Path("out.json").read_text(encoding="utf-8"))


@pytest.fixture
def heavy_tokens():
    rng = np.random.default_rng(0)
    tokens = rng.standard_t(5, size=(400, 3)) * [1.0, 0.7, 0.4]
    np.save("tokens.npy", tokens)
    return tokens


# What is predicted


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_eigenvalues_give_the_closed_forms(noise):
    omega = [1.0, 0.2, 3.0, 2.0]
    result = linear(
        *REFERENCE, "--context-length", "12.5", "--noise", str(noise),
        "--task-eigenvalues", *map(str, omega),
    )  # fmt: skip
    law = {"task_eigenvalues": omega, "noise": noise}
    plateaus = analytic.plateau_losses(LAMBDA, 12.5, **law)
    assert result["plateau_losses"] == plateaus.tolist()
    assert result["minimum_loss"] == plateaus[-1]
    order = analytic.visit_order(LAMBDA, task_eigenvalues=omega)
    assert result["visit_order"] == order.tolist()
    assert result["eigenvalues"] == np.array(LAMBDA)[order].tolist()
    assert result["gaussian"]
    assert result["commuting"]
    learned = np.zeros((5, 4), bool)
    for m in range(5):
        learned[m, order[:m]] = True
    assert (
        result["stability_index"] == analytic.stability_index(learned, LAMBDA, 12.5, **law).tolist()
    )


def test_covariance_is_its_eigenvalues_in_any_basis():
    task = numerics.LinearTask.from_eigenvalues(LAMBDA, 31, rng=3)
    np.savez("two.npz", other=np.eye(2), covariance=task.covariance)
    np.savetxt("covariance.csv", task.covariance, delimiter=",")
    plateaus = analytic.plateau_losses(LAMBDA, 31, task_eigenvalues=[1, 2, 3, 4])
    for source in ("two.npz:covariance", "covariance.csv"):
        result = linear("--covariance", source, "--task-eigenvalues", "1", "2", "3", "4")
        np.testing.assert_allclose(result["plateau_losses"], plateaus, rtol=1e-12)


def test_tokens_count_with_their_own_fourth_moment(heavy_tokens):
    result = linear("--tokens", "tokens.npy", "--context-length", "9", "--noise", "0.5")
    task = numerics.TokenTask(heavy_tokens, 9, noise=0.5)
    second = analytic.token_second_moment(task.covariance, task.fourth_moment, 9, noise=0.5)
    np.testing.assert_allclose(
        result["plateau_losses"], analytic.general_plateau_losses(task.covariance, second), 1e-12
    )
    values = np.linalg.eigvalsh(task.covariance)
    gaussian = analytic.plateau_losses(values, 9, noise=0.5)
    np.testing.assert_allclose(result["gaussian_plateau_losses"], gaussian, 1e-12)
    assert not result["gaussian"]
    assert not result["commuting"]
    (note,) = (warning for warning in result["warnings"] if "commute" in warning)
    assert "--flow" in note
    assert "photograph" not in note


def test_two_mirror_tokens_commute_with_themselves():
    np.savetxt("tokens.csv", [[1, 0], [-1, 0], [0, 2], [0, -2]], header="a b", comments="")
    assert linear("--tokens", "tokens.csv")["commuting"]


def test_flow_agrees_with_the_prediction():
    result = linear(*REFERENCE, "--flow", "--init", "1e-3")
    flow = result["measured"]["gradient_flow"]
    assert flow["status"] == "finished"
    assert len(flow["drops_found_unaided"]) == 4
    # The cascade's error at these weights is 6e-4 in the median draw; plateaus end after t ~ 1/s.
    np.testing.assert_allclose(flow["drop_times"], result["drop_times"], rtol=2e-3)
    np.testing.assert_allclose(flow["plateau_losses"], result["plateau_losses"], rtol=1e-6)


def test_flow_on_tokens_stops_at_the_general_plateaus(heavy_tokens):
    result = linear("--tokens", "tokens.npy", "--flow", "--init", "1e-4")
    flow = result["measured"]["gradient_flow"]
    np.testing.assert_allclose(flow["plateau_losses"], result["plateau_losses"], rtol=1e-6)
    gap = np.array(result["gaussian_plateau_losses"]) / flow["plateau_losses"] - 1
    assert np.abs(gap).max() > 0.02


def test_heads_turn_where_growth_and_gain_disagree(capsys):
    result = linear(
        "--eigenvalues", "0.84", "0.456", "0.388", "--task-eigenvalues", "0.785", "1.569", "1.57",
        "--context-length", "10", "--init", "1e-4", "--flow",
    )  # fmt: skip
    assert result["stability_index"] == [0, 1, 0, 0]
    path = result["path"]
    assert [visit["modes"] for visit in path] == [[], [0], [1], [0, 1], [0, 1, 2]]
    assert [visit["reached_by"] for visit in path][1:4] == ["learning", "turning", "learning"]
    assert path[-1]["loss"] == pytest.approx(result["minimum_loss"], rel=1e-12)
    flow = result["measured"]["gradient_flow"]
    assert len(flow["drops_found_unaided"]) == 4
    np.testing.assert_allclose(flow["plateau_losses"], [visit["loss"] for visit in path], rtol=1e-3)
    assert "⇒ {2}" in capsys.readouterr().out


def test_rank_sets_the_default_heads():
    result = linear(*REFERENCE, "--rank", "3")
    assert result["settings"]["heads"] == 2
    assert None not in result["drop_times"]


def test_few_heads_learn_the_first_modes():
    result = linear(*REFERENCE, "--heads", "3", "--modes", "3")
    assert result["plateau_losses"] == analytic.plateau_losses(LAMBDA, 31).tolist()[:4]
    assert any("minimum loss" in warning for warning in result["warnings"])


def test_drop_times_scale_with_tau():
    slow, fast = (linear(*REFERENCE, "--tau", tau)["drop_times"] for tau in ("3", "1"))
    np.testing.assert_allclose(slow, 3 * np.array(fast), rtol=1e-12)


def test_reservations_are_said():
    assert any("not small" in w for w in linear(*REFERENCE, "--init", "0.5")["warnings"])
    dead = linear("--eigenvalues", "1", "2", "--task-eigenvalues", "1", "0")
    assert dead["drop_times"][1] is None
    assert any("ω = 0" in warning for warning in dead["warnings"])
    failed = linear("--eigenvalues", "1", "1e-9")
    assert any("could be predicted" in warning for warning in failed["warnings"])
    many = linear("--eigenvalues", *["1"] * 40)
    assert many["drop_times"] is None
    assert len(many["plateau_losses"]) == 41


def test_infinite_context_is_written_as_valid_json():
    result = linear("--eigenvalues", "2", "1", "--context-length", "inf")
    assert result["settings"]["context_length"] == "inf"
    assert result["plateau_losses"] == [3.0, 1.0, 0.0]


# Somebody's run


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


# Pictures and the terminal


@pytest.mark.parametrize(
    "values", [["0.4444", "0.3708", "0.02", "0.01"], [str(1 / d**2) for d in range(1, 17)]]
)
def test_labels_of_plateaus_do_not_overlap(values):
    options = predict.make_parser().parse_args(["linear", "--eigenvalues", *values])
    prediction = theory.predict(options)
    figure, ax = style.figure(5.6, 3.3)
    picture.draw(ax, prediction, [])
    figure.canvas.draw()
    labels = [text for text in ax.texts if text.get_text().startswith("{")]
    assert {"{}", prediction.visits[-1].name} <= {label.get_text() for label in labels}
    places = [ax.transData.transform(label.get_position())[1] for label in labels]
    heights = [Text.get_window_extent(label).height for label in labels]
    assert min(-np.diff(places)) > max(heights)
    if len(values) == 4:
        assert len(labels) == 5


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plots(suffix):
    assert predict.main(["linear", *REFERENCE, "--plot", f"run.{suffix}"]) == 0
    assert [path.name for path in Path().iterdir()] == [f"run.{suffix}"]


def test_table_has_no_colour_codes_in_a_pipe(capsys):
    assert predict.main(["linear", *REFERENCE]) == 0
    captured = capsys.readouterr()
    assert "\033" not in captured.out
    assert "minimum loss 0.135995" in captured.out
    assert captured.err == ""


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert console.colours(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.colours(Terminal())


def test_help_teaches_and_imports_nothing_heavy():
    script = Path(predict.__file__)
    code = (
        f"import sys; sys.path.insert(0, {str(script.parent)!r}); import predict; "
        "status = predict.main(['linear', '--help']); "
        "assert not {'numpy', 'scipy', 'matplotlib', 'analytic', 'numerics'} & set(sys.modules); "
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--tokens patches.npy" in done.stdout
    assert "predict.py linear --eigenvalues 0.4 0.3 0.2 0.1" in done.stdout


# Misuse


def _write_bad_files():
    texts = {
        "text.csv": "1 2\n3 x\n", "ragged.csv": "a,b\n1,2\n3\n", "one.csv": "1,2\n",
        "empty.csv": "", "skew.csv": "1 0.5\n0 1\n", "indefinite.csv": "1 2\n2 1\n",
        "nan.csv": "1,nan\nnan,1\n", "wide.csv": "2 0 0\n0 1 0\n", "huge.csv": "1e40 0\n0 1\n",
        "back.csv": "0,1\n5,0.5\n5,0.4\n", "loss.csv": "1\n0.5\n", "notes.md": "1\n",
        "tiny.csv": "1e-40 0\n0 1e-40\n",
    }  # fmt: skip
    for name, text in texts.items():
        Path(name).write_text(text)
    Path("latin.csv").write_bytes(b"1,2\n\xff\xfe,4\n")
    junk = np.random.default_rng(0).bytes(300)
    Path("junk.npy").write_bytes(junk)
    Path("junk.npz").write_bytes(junk)
    np.save("whole.npy", np.ones((100, 2)))
    Path("truncated.npy").write_bytes(Path("whole.npy").read_bytes()[:500])
    np.save("flat.npy", np.ones((100, 2)) * [1, 0])
    np.save("complex.npy", np.eye(2) + 1j)
    np.save("vector.npy", np.ones(3))
    np.save("norows.npy", np.ones((0, 3)))
    np.savez("two.npz", a=np.eye(2), b=np.eye(3))
    np.savez("none.npz")


MISUSE = [
    (["--covariance", "skew.csv"], "--covariance skew.csv", "symmetric"),
    (["--covariance", "indefinite.csv"], "--covariance indefinite.csv", "positive definite"),
    (["--covariance", "nan.csv"], "--covariance nan.csv", "row 1, column 2"),
    (["--covariance", "wide.csv"], "--covariance wide.csv", "square"),
    (["--covariance", "huge.csv"], "--covariance huge.csv", "at most"),
    (["--covariance", "tiny.csv"], "--covariance", "rescale"),
    (["--covariance", "two.npz"], "--covariance two.npz", "a, b"),
    (["--covariance", "none.npz"], "--covariance none.npz", "holds no arrays"),
    (["--covariance", "none.npz:a"], "--covariance none.npz:a", "holds no arrays"),
    (["--covariance", ""], "--covariance", "must name a file"),
    (["--tokens", ""], "--tokens", "must name a file"),
    ([*REFERENCE, "--overlay", ""], "--overlay", "must name a file"),
    ([*REFERENCE, "--json", ""], "--json", "must name a file"),
    ([*REFERENCE, "--plot", ""], "--plot", "must name a file"),
    ([*REFERENCE, "--heads", "1000000000"], "--heads:", "at most 1e+07"),
    ([*REFERENCE, "--rank", "9" * 23], "--rank:", "at most 1e+07"),
    ([*REFERENCE, "--rank", "2000", "--heads", "2000"], "--heads and --rank:", "at most"),
    ([*REFERENCE, "--context-length", "1e400"], "--context-length", "or inf, got 1e400"),
    (["--covariance", "two.npz:c"], "--covariance two.npz:c", "'c'"),
    (["--tokens", "text.csv"], "--tokens text.csv", "line 2, column 2: 'x'"),
    (["--tokens", "ragged.csv"], "--tokens ragged.csv", "line 3"),
    (["--tokens", "one.csv"], "--tokens one.csv", "2 rows"),
    (["--tokens", "empty.csv"], "--tokens empty.csv", "no numbers"),
    (["--tokens", "latin.csv"], "--tokens latin.csv", "text file"),
    (["--tokens", "missing.npy"], "--tokens missing.npy", "No such file"),
    (["--tokens", "junk.npy"], "--tokens junk.npy", "format"),
    (["--tokens", "junk.npz"], "--tokens junk.npz", "format"),
    (["--tokens", "truncated.npy"], "--tokens truncated.npy", "damaged"),
    (["--tokens", "flat.npy"], "--tokens flat.npy", "positive definite"),
    (["--tokens", "complex.npy"], "--tokens complex.npy", "real"),
    (["--tokens", "vector.npy"], "--tokens vector.npy", "matrix"),
    (["--tokens", "norows.npy"], "--tokens norows.npy", "empty"),
    (["--tokens", "notes.md"], "--tokens notes.md", "kind of file"),
    (["--eigenvalues", "1", "-1"], "--eigenvalues", "> 0"),
    (["--eigenvalues", "1", "nan"], "--eigenvalues", "finite"),
    (["--eigenvalues", "1", "1e200"], "--eigenvalues", "<= 1e+30"),
    (["--eigenvalues"], "--eigenvalues", "at least one"),
    ([], "--eigenvalues --covariance --tokens", "required"),
    ([*REFERENCE, "--tokens", "whole.npy"], "--tokens", "not allowed"),
    ([*REFERENCE, "--context-length", "0.5"], "--context-length", ">= 1"),
    ([*REFERENCE, "--noise", "-1"], "--noise", ">= 0"),
    ([*REFERENCE, "--heads", "1.5"], "--heads", "whole"),
    ([*REFERENCE, "--init", "0"], "--init", "> 0"),
    ([*REFERENCE, "--frob"], "--frob", "unrecognized"),
    ([*REFERENCE, "--heads", "3"], "--heads", "heads × rank = 3 is less than the 4 modes"),
    ([*REFERENCE, "--modes", "5"], "--modes", "4 modes"),
    ([*REFERENCE, "--heads", "1", "--modes", "2"], "--modes", "heads × rank = 1"),
    ([*REFERENCE, "--task-eigenvalues", "1"], "--task-eigenvalues", "needs 4"),
    ([*REFERENCE, "--task-eigenvalues", *"0000"], "--task-eigenvalues", "all 0"),
    ([*REFERENCE, "--gradient-descent", "9"], "--gradient-descent", "--learning-rate"),
    ([*REFERENCE, "--sequences", "9"], "--sequences", "--gradient-descent"),
    ([*REFERENCE, "--gradient-descent", "9", "--learning-rate", "1", "--sequences", "9",
      "--context-length", "2.5"], "--sequences", "whole"),
    ([*REFERENCE, "--lr", "1"], "--lr", "--overlay"),
    ([*REFERENCE, "--overlay", "whole.npy"], "--overlay", "--lr"),
    ([*REFERENCE, "--overlay", "loss.csv", "--lr", "1"], "--overlay loss.csv", "--steps-per-row"),
    ([*REFERENCE, "--overlay", "back.csv", "--lr", "1"], "--overlay back.csv", "row 3"),
    ([*REFERENCE, "--overlay", "one.csv", "--lr", "1"], "--overlay one.csv", "2 rows"),
    ([*REFERENCE, "--overlay", "wide.csv", "--lr", "1"], "--overlay wide.csv", "3 columns"),
    ([*REFERENCE, "--overlay", "back.csv", "--lr", "1", "--steps-per-row", "2"],
     "--steps-per-row", "back.csv has a column of steps"),
    ([*REFERENCE, "--overlay", "loss.csv", "--lr", "1", "--steps-per-row", "2",
      "--no-context-scale", "--context-length", "inf"], "--no-context-scale", "finite"),
    ([*REFERENCE, "--plot", "none/run.png"], "--plot", "no folder"),
    ([*REFERENCE, "--plot", "run.jpg"], "--plot", ".png"),
    ([*REFERENCE, "--plot", "folder.png"], "--plot", "is a folder"),
    ([*REFERENCE, "--json", "loss.csv"], "--json", ".json"),
    (["--tokens", "whole.json", "--json", "whole.json"], "--json", "inputs"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "name", "says"), MISUSE)
def test_misuse_is_one_line_and_writes_nothing(arguments, name, says, capsys):
    _write_bad_files()
    Path("folder.png").mkdir()
    before = {path: path.stat().st_mtime_ns for path in Path().iterdir()}
    outputs = (
        [] if {"--json", "--plot"} & set(arguments) else ["--json", "o.json", "--plot", "o.png"]
    )
    assert predict.main(["linear", *arguments, *outputs]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("predict.py: error: ")
    assert name in captured.err
    assert says in captured.err
    assert {path: path.stat().st_mtime_ns for path in Path().iterdir()} == before


def test_failed_writing_leaves_the_old_file(monkeypatch, capsys):
    Path("out.json").write_text("old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(console.os, "fsync", full)
    assert predict.main(["linear", *REFERENCE, "--json", "out.json"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert Path("out.json").read_text() == "old"
    assert [path.name for path in Path().iterdir()] == ["out.json"]


def test_interrupt_is_130(monkeypatch, capsys):
    def interrupt(_argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "body", interrupt)
    assert predict.main([]) == 130
    assert capsys.readouterr().err == "predict.py: interrupted\n"


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    def bug(_argv):
        raise ValueError("not the user's")

    monkeypatch.setattr(predict, "body", bug)
    with pytest.raises(ValueError, match="not the user's"):
        predict.main([])


def test_a_link_is_followed_when_writing():
    Path("real.json").write_text("old")
    Path("link.json").symlink_to("real.json")
    assert predict.main(["linear", *REFERENCE, "--json", "link.json"]) == 0
    assert Path("link.json").is_symlink()
    assert json.loads(Path("real.json").read_text(encoding="utf-8"))["gaussian"]

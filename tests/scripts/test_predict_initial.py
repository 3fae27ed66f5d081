"""`predict.py linear --initial`: drops from weights of the user's own, in the user's units."""

import json
from pathlib import Path

import numpy as np
import pytest

import analytic
import numerics
import predict
from tests.scripts import support_predict
from tests.scripts.support_predict import LAMBDA, REFERENCE, linear

_in_empty_folder = support_predict.in_empty_folder

LENGTH = 31
# Both follow the same equations, here in a basis that is given and there in one that is found.
SOLVER = 1e-6


def saved(model, theta, *, flat=False):
    """Write weights as a user would; (H, D) for rank 1 where `flat`."""
    v, k, q = model.unpack(theta)
    np.savez("start.npz", v=v, k=k[:, 0] if flat else k, q=q)
    return ["--initial", "start.npz"]


@pytest.mark.parametrize(("heads", "rank", "flat"), [(4, 1, False), (4, 1, True), (2, 3, False)])
def test_the_cascade_starts_from_the_file(heads, rank, flat):
    model = numerics.SeparateAttention(4, heads, rank)
    theta = model.initial_weights(1e-3, rng=11)
    result = linear(*REFERENCE, *saved(model, theta, flat=flat))
    task = numerics.LinearTask.from_eigenvalues(LAMBDA, LENGTH)
    expected = numerics.task_cascade(model, task, theta)
    assert result["learned_order"] == list(expected.learned)
    np.testing.assert_allclose(result["drop_times"], expected.drop_times, rtol=SOLVER)
    settings = result["settings"]
    assert (settings["heads"], settings["rank"], settings["init"]) == (heads, rank, None)
    assert settings["initial"] == "start.npz"


def test_the_weights_are_in_the_coordinates_of_the_tokens():
    """A covariance with another basis, and the same weights turned into it."""
    task = numerics.LinearTask.from_eigenvalues(LAMBDA, LENGTH, rng=3)
    np.savetxt("covariance.csv", task.covariance)
    basis = np.linalg.eigh(task.covariance)[1][:, ::-1]
    model = numerics.SeparateAttention(4, 4)
    theta = model.initial_weights(1e-3, rng=11)
    straight = linear(*REFERENCE, *saved(model, theta))
    turned = saved(model, model.rotate(theta, basis.T, basis.T))
    result = linear("--covariance", "covariance.csv", *turned)
    np.testing.assert_allclose(result["drop_times"], straight["drop_times"], rtol=SOLVER)
    other = linear("--covariance", "covariance.csv", *saved(model, theta))
    assert np.abs(np.divide(other["drop_times"], straight["drop_times"]) - 1).max() > 0.1


def test_the_same_weights_as_drawn_predict_the_same():
    model = numerics.SeparateAttention(4, 4)
    theta = model.initial_weights(1e-2, rng=5)
    drawn = linear(*REFERENCE, "--init", "1e-2", "--seed", "5", "--flow")
    given = linear(*REFERENCE, *saved(model, theta), "--flow")
    assert given["drop_times"] == drawn["drop_times"]
    assert given["measured"] == drawn["measured"]


@pytest.mark.parametrize(
    ("given", "scale"),
    [(["--no-context-scale"], LENGTH), (["--context-scale", "0.5"], 0.5), ([], 1)],
)
def test_with_an_overlay_the_weights_are_in_the_units_of_the_run(given, scale, capsys):
    factor, rate = 0.5, 0.2
    root = scale ** (1 / 3)  # ours over theirs; see `analytic.Convention`
    model = numerics.SeparateAttention(4, 4)
    ours = model.initial_weights(0.01, rng=3)
    moments = numerics.population_moments(numerics.LinearTask.from_eigenvalues(LAMBDA, LENGTH))
    step = rate * factor * root**2  # of ours, on L, that is one of theirs
    run = numerics.gradient_descent(
        numerics.AttentionSystem(model, moments), ours, int(750 / step), step,
        every=max(1, int(0.5 / step)),
    )  # fmt: skip
    np.savetxt("loss.csv", np.column_stack([run.t, factor * run.loss]))
    result = linear(
        *REFERENCE, *saved(model, ours / root), "--overlay", "loss.csv", "--lr", str(rate),
        "--loss-factor", str(factor), *given,
    )  # fmt: skip
    alone = linear(*REFERENCE, *saved(model, ours))
    np.testing.assert_allclose(result["drop_times"], alone["drop_times"], rtol=SOLVER)
    overlay = result["measured"]["your_run"]
    reached = [t for t in overlay["drop_times"] if t is not None]
    assert len(reached) == 2
    # From weights of 0.01 the cascade is a few percent off; another draw by factors.
    np.testing.assert_allclose(reached, result["drop_times"][:2], rtol=0.1)
    out = capsys.readouterr().out
    assert "another draw" not in out
    assert ("those of start.npz count" in out) is (scale != 1)


def test_without_a_file_the_note_says_that_there_is_one(capsys):
    np.savetxt("loss.csv", np.linspace(1.0, 0.2, 40))
    linear(*REFERENCE, "--overlay", "loss.csv", "--steps-per-row", "2", "--lr", "0.1")
    assert "another draw may drop at several times these. --initial FILE" in capsys.readouterr().out


def test_large_weights_are_warned_of_and_enormous_ones_refused(capsys):
    model = numerics.SeparateAttention(4, 4)
    theta = model.initial_weights(1.0, rng=0)
    (note,) = (
        w for w in linear(*REFERENCE, *saved(model, 0.5 * theta))["warnings"] if "small" in w
    )
    assert "--init" not in note
    size = float(np.sqrt(np.mean((0.5 * theta) ** 2)))
    assert f"{size:.4g} are not small" in note
    capsys.readouterr()
    for given in (saved(model, 1e6 * theta), ["--init", "1e6"]):
        assert predict.main(["linear", *REFERENCE, *given]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"predict.py: error: {given[0]}")
        assert "initial must be small" in error
    assert predict.main(["linear", "--eigenvalues", "1e20"]) == 2
    assert capsys.readouterr().err.startswith("predict.py: error: --eigenvalues: ")


def test_sampled_sequences_may_have_a_seed():
    model = numerics.SeparateAttention(2, 2)
    start = saved(model, model.initial_weights(0.1, rng=0))
    given = ["--eigenvalues", "0.4", "0.3", *start, "--gradient-descent", "5", "--learning-rate",
             "0.1", "--sequences", "50"]  # fmt: skip
    runs = [linear(*given, *seed)["measured"] for seed in ([], ["--seed", "0"], ["--seed", "1"])]
    assert runs[0] == runs[1] != runs[2]


def test_few_heads_in_the_file_want_fewer_modes(capsys):
    model = numerics.SeparateAttention(4, 3)
    start = saved(model, model.initial_weights(1e-3, rng=0))
    assert predict.main(["linear", *REFERENCE, *start]) == 2
    assert "--initial: heads × rank = 3 is less than the 4 modes" in capsys.readouterr().err
    result = linear(*REFERENCE, *start, "--modes", "3")
    assert result["plateau_losses"] == analytic.plateau_losses(LAMBDA, LENGTH).tolist()[:4]
    text = Path("out.json").read_text(encoding="utf-8")
    assert json.loads(text)["settings"]["modes"] == 3

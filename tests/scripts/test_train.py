"""Training a layer from the command line: what it writes and shows, and what it takes for given."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

import analytic
import numerics
import train
from numerics.layers.system import LayerSystem
from numerics.training.batches import keyed_generator
from tests.scripts import support_train
from tests.scripts.support_train import FULL, KINDS, SMALL, arrays, planned, trained
from training import engine, rate, theory

_in_empty_folder, quickly = support_train.in_empty_folder, support_train.quickly


# What is written


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_of_a_run(kind, capsys):
    result = trained(*KINDS[kind])
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "run.csv", "run.json", "run.npz", "run.png",
    ]  # fmt: skip
    assert Path("out/run.png").read_bytes().startswith(b"\x89PNG")
    assert (result["status"], result["diverged_at_step"]) == ("finished", None)
    stored = arrays()
    with open("out/run.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name, column in (("step", stored["record_step"]), ("loss", stored["record_loss"]),
                         ("held_out", stored["record_tests"][0])):  # fmt: skip
        assert [float(row[name]) for row in rows] == column.tolist()
    assert result["final_loss"] == stored["record_loss"][-1]
    assert result["final_held_out_loss"] < result["initial_held_out_loss"]
    assert f"step {result['steps']} reached" in capsys.readouterr().out


def test_the_command_alone_shows_all_the_predicted_plateaus(capsys):
    """Nothing given: four drops; each plateau within the errors of its samples.

    The held-out loss has the standard error that is printed; the weights, fitted to another sample
    of as many sequences, move it by as much at most. 4 of these, as squares of products of four
    Gaussians have heavy tails, and 0.5 % for what weights of 0.02 leave between two drops.
    """
    result = trained()
    assert result["settings"]["sequences"] == 100_000
    assert result["plateau_modes"] == [0, 1, 2, 3, 4]
    expected = analytic.plateau_losses([0.4, 0.3, 0.2, 0.1], 31)
    np.testing.assert_allclose(result["plateau_losses"], expected, rtol=1e-12)
    measured = np.array(result["measured_held_out_plateau_losses"])
    error = np.array(result["held_out_standard_errors"])
    bound = 4 * error + 0.005 * expected
    assert (np.abs(measured - expected) < bound).all()
    assert (np.abs(np.diff(expected)) > 2 * bound[1:]).all()  # one plateau is not the next
    assert all(a < b for a, b in itertools.pairwise(result["drop_steps"]))
    assert "drop at step" in capsys.readouterr().out


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("design", ["separate", "merged"])
def test_moments_train_as_the_sequences_do(design):
    """Rounding: 200 steps of weights of order 1, as ε·200·O(10)."""
    arguments = [*FULL, "--design", design, "--init", "0.3", "--learning-rate", "0.05"]
    result = trained(*arguments)
    assert result["computed_from"] == "moments"
    plan = planned(*arguments)
    # `sample_chunks` draws in pieces of 10,000: this sample is one.
    sequences = engine.drawn(plan, 300, engine.SAMPLE)
    theta = plan.layer.initial_weights(0.3, rng=keyed_generator((0,), engine.WEIGHTS))
    run = numerics.train(LayerSystem.of(plan.layer, sequences), theta, 200, 0.05,
                         record=arrays()["record_step"])  # fmt: skip
    assert run.loss[-1] < 0.7 * run.loss[0]
    np.testing.assert_allclose(arrays()["record_loss"], run.loss, rtol=1e-12)
    np.testing.assert_allclose(arrays()["record_states"], run.states, rtol=0, atol=1e-12)


def test_several_lengths_count_by_the_mean_of_their_inverses():
    plan = planned("--eigenvalues", "0.6", "0.4", "--context-length", "5", "20", "--noise", "0.3")
    expected = analytic.plateau_losses([0.6, 0.4], 8.0, noise=0.3)
    np.testing.assert_allclose(plan.theory.losses, expected, rtol=1e-12)


@pytest.mark.usefixtures("quickly")
def test_tokens_are_predicted_from_their_fourth_moment(capsys):
    tokens = np.random.default_rng(0).standard_t(6, size=(500, 2)) * [1.0, 0.6]
    np.save("tokens.npy", tokens)
    arguments = ["--tokens", "tokens.npy", *FULL[3:]]
    result = trained(*arguments, out="tokens")
    gaussian = analytic.plateau_losses(np.linalg.eigvalsh(tokens.T @ tokens / 500), 6)
    assert result["plateau_losses"][0] == pytest.approx(gaussian[0])
    assert result["plateau_losses"][-1] > 1.01 * gaussian[-1]  # heavy tails cost
    Path("moved.npy").write_bytes(Path("tokens.npy").read_bytes())
    trained("--tokens", "moved.npy", *FULL[3:], out="tokens")  # the same run
    np.save("tokens.npy", 1.1 * tokens)
    assert train.main([*arguments, "--out", "tokens"]) == 2
    assert "its --tokens is 500×2:" in capsys.readouterr().err


def test_few_heads_and_softmax_and_merged_have_the_plateaus_they_have():
    assert planned(*SMALL, "--heads", "1").theory.modes == [0, 1]
    assert planned(*SMALL, "--heads", "1", "--rank", "2").theory.modes == [0, 1, 2]
    assert planned(*SMALL, "--design", "merged", "--heads", "1").theory.modes == [0, 2]
    softmax = planned(*SMALL, "--attention", "softmax").theory
    assert softmax.losses == []
    assert "no closed form" in softmax.note


# Defaults


@pytest.mark.parametrize("design", ["separate", "merged"])
def test_the_default_rate_is_a_share_of_the_largest_stable_one(design):
    """The Hessian by powers on the very sample, against all its eigenvalues from the moments."""
    task = numerics.LinearTask.from_eigenvalues([0.9, 0.2], 8, noise=0.3)
    layer, theta = rate.learned(task, design)
    sequences = numerics.sample_sequences(task, rate.COUNT, rng=0)
    moments = numerics.linear_layer_moments(
        numerics.token_blocks(sequences), divide_by_context=True
    )
    system = numerics.LayerMomentsSystem(layer, moments)
    exact = -2 * np.linalg.eigvalsh(system.jacobian(theta))[0]
    # Powers converge as (h_2/h_1)^30; two digits are kept of it.
    assert 2 / rate.largest_stable_rate(task, design) == pytest.approx(exact, rel=0.01)
    # All modes are learned there: the loss of the population is the last plateau.
    predicted = theory.predict(task, "separate", "linear", 2).losses[-1]
    reduced = numerics.population_moments(task)
    a, *rest = layer.unpack(theta)
    keys = rest[0][..., :2] if design == "separate" else rest[0][:, :2, :2].swapaxes(1, 2)
    M = a[0, -1] * keys[0] if design == "merged" else sum(
        value * np.outer(k[0], q[0])
        for value, k, q in zip(a[:, -1], keys, rest[1][..., :2], strict=True)
    )  # fmt: skip
    assert float(numerics.matrix_loss(reduced, M)) == pytest.approx(predicted, rel=1e-10)


def test_defaults_depend_on_what_is_trained():
    alone, fresh = planned().settings, planned("--batch", "50").settings
    softmax = planned("--attention", "softmax").settings
    assert (alone["sequences"], alone["batch"]) == (100_000, None)
    assert (fresh["sequences"], fresh["batch"]) == (None, 50)
    assert (softmax["sequences"], softmax["batch"]) == (None, 1000)
    momentum = planned("--optimiser", "momentum").settings
    assert momentum["learning_rate"] == pytest.approx(alone["learning_rate"] / 10, rel=0.06)
    assert planned("--sequences", "70", "--batch", "70").on_moments

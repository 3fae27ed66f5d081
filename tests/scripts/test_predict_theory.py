"""What `scripts/predict.py` predicts, against closed forms and the flow."""

import numpy as np
import pytest

import analytic
import numerics
from tests.scripts import support_predict
from tests.scripts.support_predict import LAMBDA, REFERENCE, linear

_in_empty_folder = support_predict.in_empty_folder
heavy_tokens = support_predict.heavy_tokens


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

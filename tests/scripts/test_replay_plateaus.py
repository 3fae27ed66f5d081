"""The plateaus of the very sample a run was trained on."""

import numpy as np
import pytest

from replaying import theory
from tests.scripts import support_replay
from tests.scripts.support_replay import D, P, initial, problem, read, replayed, sample

_in_empty_folder = support_replay.in_empty_folder


def least_squares(z, y):
    """The least mean square of a linear map of z."""
    fit = z @ np.linalg.lstsq(z, y, rcond=None)[0]
    return np.mean((y - fit) ** 2)


@pytest.mark.parametrize("kind", ["merged linear", "separate linear", "two-layer network"])
def test_plateaus_begin_at_zero_and_end_at_the_least_squares_of_the_sample(kind):
    run = problem(kind)
    losses = replayed(run, "--steps", "2")["plateau_losses"]
    z = run["x"]
    if z.ndim == 3:
        beta = np.einsum("pn,pnd->pd", z[..., -1], z[..., :-1])
        z = np.einsum("pj,pi->pji", z[:, -1, :-1], beta).reshape(P, -1)
    assert losses[0] == pytest.approx(np.mean(run["y_q"] ** 2), rel=1e-12)
    assert losses[-1] == pytest.approx(least_squares(z, run["y_q"]), rel=1e-9)
    assert len(losses) == (D + 1 if kind == "separate linear" else 2)
    assert sorted(losses, reverse=True) == losses


def test_least_loss_of_the_whole_layer_is_where_a_long_run_ends():
    run = problem("merged linear")  # as many heads as rows of a value block: no constraint
    result = replayed(run | {"lr": 5e-3}, "--steps", "20000")
    floor = result["least_loss_of_whole_layer"]
    x = run["x"]
    features = np.einsum("pni,pnj,pd->pijd", x, x, x[:, -1, :-1]).reshape(P, -1)
    assert floor == pytest.approx(least_squares(features, run["y_q"]), rel=1e-9)
    assert floor < result["plateau_losses"][-1]
    # Slow directions are still on their way.
    assert floor < result["final_loss"] < 1.01 * floor


def test_intermediate_plateaus_are_saddles_of_the_sample_where_a_run_pauses():
    rng = np.random.default_rng(5)
    x, target = sample(rng, 20_000)
    weights = {
        "init_value_weight": 0.003 * rng.standard_normal((4 * (D + 1), D + 1)),
        "init_key_weight": 0.003 * rng.standard_normal((4, D + 1)),
        "init_query_weight": 0.003 * rng.standard_normal((4, D + 1)),
    }
    result = replayed({"x": x, "y_q": target, "lr": 0.004, **weights}, "--steps", "12000")
    predicted, seen = result["plateau_losses"][:3], result["replayed_plateau_losses"][:3]
    # The whole layer has blocks that the theory leaves out; on 20,000 sequences they drift by
    # 1/√20,000 = 0.7 % of what drives the modes, and there are several.
    np.testing.assert_allclose(seen, predicted, rtol=0.02)
    assert len([d for d in result["drop_steps"] if d is not None]) >= 2


def test_formula_and_exact_plateaus_meet_as_the_sample_grows():
    gaps = []
    for count in (300, 30_000):
        rng = np.random.default_rng(1)
        x, target = sample(rng, count)
        run = read({"x": x, "y_q": target, "lr": 0.1, **initial("separate", rng)})
        found = theory.predict(*run)
        gaps.append(np.abs(np.array(found.losses) / found.formula - 1).max())
    # Sampling errors fall as 1/√P: by 10 here, and by 3 at the very least.
    assert gaps[1] < gaps[0] / 3


def test_few_heads_reach_few_plateaus():
    rng = np.random.default_rng(2)
    x, target = sample(rng)
    weights = {
        "init_value_weight": rng.standard_normal((D + 1, D + 1)),
        "init_key_weight": rng.standard_normal((2, D + 1)),
        "init_query_weight": rng.standard_normal((2, D + 1)),
    }
    found = theory.predict(*read({"x": x, "y_q": target, "lr": 0.1, **weights}))
    assert found.modes == [0, 1, 2]


@pytest.mark.parametrize(("count", "ends"), [(2, 2), (1, 2)])
def test_too_few_sequences_for_modes_still_have_ends(count, ends):
    rng = np.random.default_rng(3)
    x, target = sample(rng, count)
    run = read({"x": x, "y_q": target, "lr": 0.1, **initial("separate", rng)})
    found = theory.predict(*run)
    assert len(found.losses) == ends
    assert "too few" in found.note


def test_softmax_has_no_plateaus_and_says_why(capsys):
    result = replayed(problem("separate softmax"), "--attention", "softmax", "--steps", "3")
    assert result["plateau_losses"] == []
    assert "no closed form" in capsys.readouterr().out

"""Runs made by PyTorch, and by a naive trainer, replayed to rounding."""

from pathlib import Path

import numpy as np
import pytest

import replay
from replaying import compare, engine
from tests.scripts import support_replay
from tests.scripts.support_replay import (
    KINDS,
    STEPS,
    H,
    N,
    curve,
    flags,
    naive,
    problem,
    read,
    replayed,
    same_run,
)

_in_empty_folder = support_replay.in_empty_folder


def autograd(kind, run, steps=STEPS):
    """The same by automatic differentiation, with nn.Linear and torch.optim.SGD."""
    torch = pytest.importorskip("torch", reason="PyTorch is the extra `torch`")
    torch.set_num_threads(1)
    x, y = torch.tensor(run["x"]), torch.tensor(run["y_q"])
    layers = {}
    for name, weight in run.items():
        if name.startswith("init_"):
            layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=x.dtype)
            layer.weight.data = torch.tensor(weight)
            layers[name.split("_")[1]] = layer
    optimiser = torch.optim.SGD([layer.weight for layer in layers.values()], lr=run["lr"])
    losses = []
    for _ in range(steps):
        error = _predict(torch, kind, layers, x) - y
        loss = (error**2).mean()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return np.array(losses)


def _predict(torch, kind, layers, x):
    if kind == "two-layer network":
        return layers["fc2"](layers["fc1"](x))[:, 0]
    heads = (len(x), N + 1, H, -1)
    values = layers["value"](x).reshape(heads)
    if "kq" in layers:
        scores = torch.einsum("pi,pnhi->phn", x[:, -1], layers["kq"](x).reshape(heads))
    else:
        keys, query = layers["key"](x).reshape(heads), layers["query"](x[:, -1])
        scores = torch.einsum("phr,pnhr->phn", query.reshape(len(x), H, -1), keys)
    if "softmax" in kind:
        scores = scores.softmax(dim=-1)
    return torch.einsum("phn,pnhi->pi", scores, values)[:, -1]


# Agreement


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("oracle", [naive, autograd])
def test_replay_agrees_over_the_whole_run(oracle, kind, capsys):
    run = problem(kind)
    run["loss"] = oracle(kind, run)
    result = replayed(run, *flags(kind))
    assert result["kind"] == kind
    assert result["status"] == "finished"
    assert result["steps"] == result["compared_steps"] == STEPS
    assert result["max_abs_difference"] < same_run(kind)
    assert result["first_step_exceeding"] is None
    assert result["given_loss_is_offset_by"] == 0
    # A run that stays where it began would prove nothing.
    assert result["final_loss"] < 0.7 * result["initial_loss"]
    assert 0 < result["seconds_moments"] < result["seconds"]
    assert (
        f"largest |given − replayed| {result['max_abs_difference']:.3g}" in capsys.readouterr().out
    )
    rows = curve()
    assert [int(row["step"]) for row in rows] == list(range(STEPS))
    assert [float(row["given_loss"]) for row in rows] == run["loss"].tolist()
    gaps = [abs(float(row["given_loss"]) - float(row["loss"])) for row in rows]
    assert max(gaps) == result["max_abs_difference"]


@pytest.mark.parametrize("kind", KINDS)
def test_another_rate_is_another_run(kind):
    run = problem(kind)
    run["loss"] = naive(kind, run, 300)
    run["lr"] *= 1.001
    result = replayed(run, *flags(kind))
    assert result["max_abs_difference"] > 1e3 * same_run(kind)
    assert result["first_step_exceeding"] >= 1


def test_attention_has_to_be_the_right_one():
    run = problem("merged softmax")
    run["loss"] = naive("merged softmax", run, 50)
    assert replayed(run, "--attention", "linear")["first_step_exceeding"] is not None


@pytest.mark.parametrize("kind", ["merged linear", "separate linear"])
def test_many_copies_of_a_sample_make_the_same_run(kind):
    run = problem(kind)
    copies = run | {"x": np.tile(run["x"], (100, 1, 1)), "y_q": np.tile(run["y_q"], 100)}
    one, other = (
        engine.replay(held, "linear", gathered, 200) for held, gathered in map(read, (run, copies))
    )
    # Averages over 100 copies round differently, by up to a few ε.
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-12)


# What is said about the curve


def test_loss_recorded_after_each_update_is_noticed(capsys):
    run = problem("merged linear")
    run["loss"] = naive("merged linear", run, 301)[1:]
    result = replayed(run)
    assert result["given_loss_is_offset_by"] == 1
    assert result["compared_steps"] == 300
    assert result["max_abs_difference"] < same_run("merged linear")
    assert "offset by one" in capsys.readouterr().out


def test_steps_may_be_fewer_or_more_than_losses():
    run = problem("merged linear")
    run["loss"] = naive("merged linear", run, 100)
    assert replayed(run, "--steps", "40")["compared_steps"] == 40
    result = replayed(run, "--steps", "160")
    assert (result["steps"], result["compared_steps"]) == (160, 100)
    rows = curve()
    assert len(rows) == 160
    assert rows[99]["given_loss"]
    assert not rows[100]["given_loss"]
    del run["loss"]
    result = replayed(run, "--steps", "1")
    assert (result["steps"], result["max_abs_difference"]) == (1, None)
    assert list(curve()[0]) == ["step", "loss"]


def test_single_precision_is_computed_in_double_and_said(capsys):
    run = problem("separate linear")
    single = {name: np.asarray(value, np.float32) for name, value in run.items()}
    double = {name: np.asarray(value, np.float64) for name, value in single.items()}
    single["loss"] = naive("separate linear", double, 400)
    result = replayed(single)
    assert (result["stored_as"], result["computed_in"]) == ("float32", "float64")
    assert result["max_abs_difference"] < same_run("separate linear")
    assert "computed in float64" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_that_diverges_keeps_the_curve_so_far(kind, capsys):
    run = problem(kind)
    run["lr"] = 1e4
    with np.errstate(all="ignore"):
        run["loss"] = naive(kind, run, 60)
    result = replayed(run, *flags(kind))
    last = result["diverged_at_step"]
    assert 1 <= last < 60
    assert result["steps"] == last == len(curve())
    assert f"before update {last} is not finite" in result["status"]
    assert f"diverged: the loss before update {last}" in capsys.readouterr().out
    # Once it explodes, roundings explode with it; up to the first update all agree.
    first, second = curve()[:2]
    assert abs(float(first["difference"])) < same_run(kind)
    assert abs(float(second["difference"])) < 1e-9 * float(second["loss"])
    assert Path("run-replay.png").stat().st_size > 0


def test_outputs_go_where_they_are_sent(tmp_path):
    run = problem("merged linear")
    Path("data").mkdir()
    np.savez("data/a.npz", **run)
    steps = ["--steps", "5"]
    assert replay.main(["data/a.npz", *steps]) == 0
    assert sorted(p.name for p in Path("data").iterdir()) == [
        "a-replay.csv", "a-replay.png", "a.npz",
    ]  # fmt: skip
    assert replay.main(["data/a.npz", *steps, "--out", "new/folder"]) == 0
    assert len(list(Path("new/folder").iterdir())) == 2
    assert replay.main(["data/a.npz", *steps, "--csv", "c.csv", "--plot", "p.svg"]) == 0
    assert Path("p.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.csv", "data", "new", "p.svg"]
    first = Path("p.svg").read_bytes()
    assert replay.main(["data/a.npz", *steps, "--csv", "c.csv", "--plot", "p.svg"]) == 0
    assert Path("p.svg").read_bytes() == first


def test_a_shift_is_believed_only_if_it_fits_far_better():
    ours = np.array([4.0, 3.0, 2.0, 1.0])
    assert compare.compare(ours[:3], ours).shift == 0
    assert compare.compare(ours[1:], ours).shift == 1
    assert compare.compare(ours[:3] - 0.6, ours).shift == 0
    assert compare.compare(np.ones(3), np.ones(4)).shift == 0

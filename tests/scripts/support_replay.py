"""What tests of `scripts/replay.py` share: runs, a naive trainer, and ways to replay."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import replay
from replaying import gather, inputs

P, N, D, H, R = 150, 8, 3, 4, 2
STEPS = 1500
ATTENTION = ["merged linear", "separate linear", "merged softmax", "separate softmax"]
KINDS = [*ATTENTION, "two-layer network"]
LINEAR = {"merged linear", "separate linear", "two-layer network"}
# Rates at which the loss falls within STEPS, by up to three drops, and stays stable.
RATE = {
    "merged linear": 1e-3,
    "separate linear": 2e-3,
    "merged softmax": 0.03,
    "separate softmax": 0.03,
    "two-layer network": 0.02,
}


def same_run(kind):
    """Bound on |given − replayed|.

    Each step rounds weights of order 1 by some ε = 1.1e-16; STEPS of them, with a loss that sums
    errors of order 1, add up to STEPS·ε·O(1) = 2e-13 if all roundings point one way. Small weights
    that grow from a saddle keep the relative error they have. Softmax adds exponentials and is not
    linear in z, so that late small differences may grow: 1e-9 is what replay.py calls the same run.
    """
    return 1e-12 if kind in LINEAR else 1e-9


def sample(rng, count=P, noise=0.0):
    """Tokens (count, N+1, D+1) with the query last, its label hidden, and targets."""
    x = rng.standard_normal((count, N + 1, D)) * np.sqrt([1.2, 0.7, 0.4])
    w = rng.standard_normal((count, D))
    y = np.einsum("pnd,pd->pn", x, w)
    target = y[:, -1].copy()
    y[:, -1] = 0
    return np.concatenate([x, y[..., None]], axis=-1), target


def initial(kind, rng, scale=0.1):
    """Initial weights as nn.Linear stores them."""
    shapes = {
        "merged": {"value": (H * (D + 1), D + 1), "kq": (H * (D + 1), D + 1)},
        "separate": {"value": (H * (D + 1), D + 1), "key": (H * R, D + 1), "query": (H * R, D + 1)},
        "two-layer": {"fc1": (H, D * D), "fc2": (1, H)},
    }[kind.split()[0]]
    return {
        f"init_{name}_weight": scale * rng.standard_normal(shape) for name, shape in shapes.items()
    }


def problem(kind, seed=0):
    """A run without its loss."""
    rng = np.random.default_rng(seed)
    x, target = sample(rng)
    if kind == "two-layer network":
        beta = np.einsum("pn,pnd->pd", x[..., -1], x[..., :-1]) / N
        x = np.einsum("pj,pi->pji", x[:, -1, :-1], beta).reshape(P, D * D)
    return {"x": x, "y_q": target, "lr": RATE[kind], **initial(kind, rng)}


# A naive trainer


def naive_attention(run, softmax, steps):
    """All N+1 tokens, nothing saved; only the last row of each value block meets the loss."""
    x, y, lr = run["x"], run["y_q"], run["lr"]
    width, query = x.shape[2], x[:, -1]
    a = run["init_value_weight"].reshape(-1, width, width)[:, -1].copy()
    merged = "init_kq_weight" in run
    if merged:
        W = run["init_kq_weight"].reshape(-1, width, width).copy()
    else:
        k, q = (run[f"init_{name}_weight"].reshape(len(a), -1, width).copy()
                for name in ("key", "query"))  # fmt: skip
    losses = []
    for _ in range(steps):
        if not merged:
            W = np.einsum("hri,hrj->hij", q, k)
        p = np.einsum("pi,hij,pnj->phn", query, W, x, optimize=True)
        if softmax:
            p = np.exp(p - p.max(axis=-1, keepdims=True))
            p /= p.sum(axis=-1, keepdims=True)
        values = np.einsum("hj,pnj->phn", a, x)
        error = (p * values).sum(axis=(1, 2)) - y
        losses.append(np.mean(error**2))
        outer = 2 * error[:, None, None] / len(y)
        ds = outer * values
        if softmax:
            ds = p * (ds - (p * ds).sum(axis=-1, keepdims=True))
        dW = np.einsum("phn,pi,pnj->hij", ds, query, x, optimize=True)
        a = a - lr * np.einsum("phn,pnj->hj", outer * p, x)
        if merged:
            W = W - lr * dW
        else:
            k, q = (
                k - lr * np.einsum("hij,hri->hrj", dW, q),
                q - lr * np.einsum("hij,hrj->hri", dW, k),
            )
    return np.array(losses)


def naive_network(run, steps):
    z, y, lr = run["x"], run["y_q"], run["lr"]
    first, second = run["init_fc1_weight"], run["init_fc2_weight"]
    losses = []
    for _ in range(steps):
        hidden = z @ first.T
        error = hidden @ second[0] - y
        losses.append(np.mean(error**2))
        outer = 2 * error / len(y)
        first, second = (
            first - lr * np.outer(second[0], outer @ z),
            second - lr * (outer @ hidden)[None],
        )
    return np.array(losses)


def naive(kind, run, steps=STEPS):
    if kind == "two-layer network":
        return naive_network(run, steps)
    return naive_attention(run, "softmax" in kind, steps)


# Running the script


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Take as `_in_empty_folder = support_replay.in_empty_folder`, and each test has its own."""
    monkeypatch.chdir(tmp_path)


def replayed(run, *arguments):
    """Save a run, replay it, and read what was written."""
    np.savez("run.npz", **run)
    assert replay.main(["run.npz", *arguments, "--json", "run.json"]) == 0
    return json.loads(Path("run.json").read_text(encoding="utf-8"))


def flags(kind):
    return ["--attention", "softmax"] if "softmax" in kind else []


def curve(path="run-replay.csv"):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(run):
    """A run and what a linear layer needs of its sample."""
    np.savez("held.npz", **run)
    held = inputs.read_run("held.npz")
    return held, gather.gather(held, "linear")


def refused(capsys, *arguments):
    """Run, expect a refusal that leaves nothing behind, and return its one line."""
    before = sorted(Path().rglob("*"))
    assert replay.main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.startswith("replay.py: error: ")
    assert captured.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return captured.err

"""The heads that the claims of [S]'s bounds build, and the figures beside them."""

import csv

import numpy as np
import pytest

import figures
from analytic import softmax as closed
from claims.softmax import regression
from claims.softmax.bounds import allocated_flow, built_heads, frame, random_heads
from claims.softmax.optimum import best_losses, bound
from numerics import MultiTask
from numerics.softmax.heads import optimal_heads

TASK = MultiTask((4, 6, 3), signal=(1.0, 0.3, 2.0), context_length=30, noise=0.5)


@pytest.mark.parametrize("seed", range(20))
def test_frame_has_the_lengths_and_orthonormal_rows(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 8))
    rows = int(rng.integers(1, count + 1))
    # Random lengths of the right sum, none above 1.
    lengths = np.linalg.qr(rng.standard_normal((count, rows)))[0]
    lengths = np.sum(lengths**2, axis=1)
    V = frame(lengths, rows)
    np.testing.assert_allclose(V @ V.T, np.eye(rows), atol=1e-12)
    np.testing.assert_allclose(np.sum(V**2, axis=0), lengths, atol=1e-9)


@pytest.mark.parametrize("heads", [2, 3, 4, 6])
def test_built_and_random_heads_are_equiangular(heads):
    rng = np.random.default_rng(heads)
    omega = random_heads(TASK, heads, 5, rng)
    built = built_heads(TASK, heads, 0.3, rng)
    off = ~np.eye(heads, dtype=bool)
    for gram in [*(omega @ omega.swapaxes(1, 2)), built @ built.T]:
        assert np.ptp(np.diag(gram)) < 1e-12 * gram[0, 0]
        assert np.ptp(gram[off]) < 1e-12 * gram[0, 0]
    np.testing.assert_allclose(
        built @ built.T, 0.3 * (np.eye(heads) - off / (heads - 1)), atol=1e-12
    )


def test_best_losses_are_those_of_the_reduced_search():
    """At the optimum of one head the loss is the search's; any other μ has a larger one."""
    found = optimal_heads(TASK.block_dims, TASK.signal, 30, heads=1, noise=0.5, rng=0)
    omega, mu = found.weights()
    assert best_losses(omega[None], TASK)[0] == pytest.approx(found.loss, rel=1e-12)
    sizes = (np.array(TASK.block_dims), np.asarray(TASK.signal), 30)
    for factor in (0.9, 1.1):
        assert closed.spectral_loss(omega, factor * mu, *sizes, noise=0.5) > found.loss


def test_loss_of_built_heads_tends_to_the_bound_from_above():
    rng = np.random.default_rng(0)
    for heads in (2, 3, 5):
        losses = [best_losses(built_heads(TASK, heads, a, rng)[None], TASK)[0]
                  for a in (1.0, 0.1, 0.01)]  # fmt: skip
        excess = np.array(losses) - bound(TASK, heads)
        assert (excess > 0).all()
        assert excess[2] < 0.2 * excess[1] < 0.2 * 0.2 * excess[0]


def test_flow_of_assigned_heads_ends_at_the_allocated_loss():
    groups = (0, 1, 0)
    ended = allocated_flow(TASK, groups, 2)
    expected = closed.allocated_loss(
        groups, np.array(TASK.block_dims), np.asarray(TASK.signal), 30, noise=0.5
    )
    assert ended == pytest.approx(float(expected), rel=1e-6)


def test_figures_overlay_finite_sizes(tmp_path):
    assert figures.main(["softmax-fig4", "softmax-fig5", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "softmax-fig5.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    points = [r for r in table if r["kind"] == "measured" and r["y_name"] == "loss_over_energy"]
    assert {r["series"] for r in points} == {"ridge 0.05", "ridge 5", "Bayes", "flow, H ≥ I"}
    lines = {
        "ridge 0.05": lambda g: closed.ridge_risk(g, 1.0, 0.05),
        "ridge 5": lambda g: closed.ridge_risk(g, 1.0, 5.0),
        "Bayes": lambda g: closed.bayes_risk(g, 1.0),
        "flow, H ≥ I": regression.flow_risk,
    }
    for row in points:
        # Corrections of order 1/d at d = 40, and the noise of 100 samples.
        expected = float(lines[row["series"]](float(row["x"])))
        assert float(row["y"]) == pytest.approx(expected, rel=0.1)

"""S2, S9, S12, B3 and their figures: oracles, scales, and the numbers they show."""

import csv
import math

import numpy as np
import pytest

import figures
from analytic import softmax as closed
from claims.softmax.exact_loss import two_pairs_loss
from claims.softmax.finite_size import exact_at_limit, ladder_losses, some_heads
from claims.softmax.saturation import half_point, participation
from drawing.base import HEADER
from numerics import MultiTask
from numerics.softmax.exact import exact_task_loss


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    out = tmp_path_factory.mktemp("figures")
    assert figures.main(["formula", "regimes", "--quick", "--out", str(out)]) == 0
    read = {}
    for name in ("formula", "regimes"):
        assert (out / f"{name}.svg").stat().st_size > 10_000
        with (out / f"{name}.csv").open(newline="") as file:
            read[name] = list(csv.DictReader(file))
        assert tuple(read[name][0]) == HEADER
        assert np.isfinite([float(row["y"]) for row in read[name]]).all()
    return read


def column(table, panel, series, kind):
    rows = [r for r in table if (r["panel"], r["series"], r["kind"]) == (panel, series, kind)]
    assert rows
    return np.array([(float(r["x"]), float(r["y"])) for r in rows]).T


def test_two_pairs_without_scores_are_a_mean_of_two_labels():
    # ω̄ = 0: E(μ x̄ − q)² + ρ μ²/2 = d + μ² (d + ρ)/2.
    assert two_pairs_loss(1.3, 0.0, 3, 0.4) == pytest.approx(3 + 1.69 * 3.4 / 2, rel=1e-13)


def test_participation_at_equal_variance_is_the_limit_of_wide_heads():
    wide = participation(2.0, 1000, 10**7)
    # E over ‖q‖² of a function of ω̄²‖q‖², whose variance is 2‖ω‖⁴/d.
    assert wide == pytest.approx(participation(2.0, 1000), rel=1e-5)
    assert participation(1e-12, 50) == pytest.approx(1 / 50, rel=1e-9)
    L = 10**6
    x = half_point(L)
    assert L * participation(x, L) == pytest.approx(math.exp(x) / 2, rel=1e-5)


def test_limit_weights_are_those_of_the_paper():
    d, L = 12, 240
    c = 1.5 * d / L
    noise = math.sqrt(0.5 * d)
    m = math.sqrt(d) / (1 + math.e * c)
    expected = exact_task_loss(d**-0.5, m, d, 1.0, 100, noise=noise).value
    assert exact_at_limit(d, L, 1.5, 100) == pytest.approx(expected, rel=1e-12)
    exact, formula, first = ladder_losses(np.array([d]), np.array([L]), 1.5)
    assert formula[0] == pytest.approx(d * math.e * c / (1 + math.e * c), rel=1e-12)
    assert exact[0] == pytest.approx(exact_at_limit(d, L, 1.5), rel=1e-12)
    assert abs(first - exact) < abs(formula - exact)


def test_read_outs_of_the_sampled_heads_are_the_best():
    task = MultiTask((4, 5), signal=(0.8, 1.5), context_length=300, noise=0.5)
    omega, mu = some_heads(task)
    arguments = (np.array(task.block_dims), np.array(task.signal), 300)
    _, gradient = closed.spectral_gradient(omega, mu, *arguments, noise=0.5)
    # Sums of some ten products of the size of μ.
    assert np.abs(gradient).max() < 1e-12 * np.abs(mu).max()


@pytest.mark.parametrize("d", [10, 30, 100])
def test_the_floor_of_the_formula_is_on_the_figure(tables, d):
    _, exact = column(tables["formula"], "over L", f"d = {d}, exact", "measured")
    _, formula = column(tables["formula"], "over L", f"d = {d}, Lemma 2", "predicted")
    _, long = column(tables["formula"], "over L", f"d = {d}, closed in d", "predicted")
    # At L = 10⁶ what is left is 100/L or less.
    assert exact[-1] / formula[-1] == pytest.approx(closed.dimension_correction(d, 1.0), rel=1e-3)
    assert long[-1] == pytest.approx(exact[-1], rel=1e-3)


@pytest.mark.parametrize("d", [10, 30, 100])
def test_the_best_norm_ends_on_its_limit(tables, d):
    _, norm = column(tables["regimes"], "best norm", f"d = {d}", "measured")
    _, limit = column(tables["regimes"], "best norm", f"d = {d}, L → ∞", "predicted")
    assert norm[-1] == pytest.approx(limit[0], rel=1e-3)
    assert norm[0] > 1 > norm[-1]
    _, excess = column(tables["regimes"], "excess", f"d = {d}", "measured")
    assert (excess > 0).all()


def test_attention_leaves_the_exponential_and_stays_below_one_token(tables):
    for L in (100, 10**4, 10**8):
        norm, growth = column(tables["regimes"], "growth", f"L = {L:.0e}", "measured")
        assert (growth < np.minimum(np.exp(norm), L)).all()
        assert (np.diff(growth) > 0).all()

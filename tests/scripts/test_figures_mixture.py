"""The figures of mixed tasks and of varying lengths: their files and what the numbers say."""

import csv

import numpy as np
import pytest

import figures
from drawing.base import HEADER


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    out = tmp_path_factory.mktemp("figures")
    assert figures.main(["mixture", "lengths", "--quick", "--out", str(out)]) == 0
    read = {}
    for name in ("mixture", "lengths"):
        assert (out / f"{name}.svg").stat().st_size > 10_000
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        with (out / f"{name}.csv").open(newline="") as file:
            read[name] = list(csv.DictReader(file))
        assert tuple(read[name][0]) == HEADER
        assert np.isfinite([float(row["y"]) for row in read[name]]).all()
    return read


def column(table, panel, series, kind):
    """Values by abscissa."""
    rows = [r for r in table if (r["panel"], r["series"], r["kind"]) == (panel, series, kind)]
    assert rows
    return {float(r["x"]): float(r["y"]) for r in rows}


def test_final_losses_lie_on_the_predicted_lines(tables):
    for law in ("training", "in context", "in weights"):
        predicted = column(tables["mixture"], "final", law, "predicted")
        for share, loss in column(tables["mixture"], "final", law, "measured").items():
            # Weights start at 1e-2; what is left of that at the end of the flow is far less.
            assert abs(loss / predicted[share] - 1) < 1e-4


@pytest.mark.parametrize("c", ["0", "0.3", "1"])
def test_the_curves_end_on_their_last_plateau(tables, c):
    for law in ("training", "in context", "in weights"):
        levels = list(column(tables["mixture"], f"c={c}", law, "predicted").values())
        curve = list(column(tables["mixture"], f"c={c}", law, "measured").values())
        assert len(levels) == (2 if c == "0" else 4)
        np.testing.assert_allclose([curve[0], curve[-1]], [levels[0], levels[-1]], rtol=1e-4)


def test_lists_of_one_mean_inverse_length_share_a_curve(tables):
    first, second = (
        column(tables["lengths"], "a", f"N ∈ {{{n}}}", "predicted") for n in ("3, 21", "4, 4, 14")
    )
    np.testing.assert_allclose(list(first.values()), list(second.values()), rtol=1e-14)
    other = column(tables["lengths"], "a", "N = 12", "predicted")
    assert other[2.0] < first[2.0]


def test_spread_lengths_cost_more_without_division(tables):
    for name, spread in (("N ∈ {3, 21}", True), ("N = 12", False)):
        by_division = [
            next(iter(column(tables["lengths"], "b", f"{name}, {n}divided by N", kind).values()))
            for kind in ("predicted", "measured")
            for n in ("", "not ")
        ]
        divided, summed, measured_divided, measured_summed = by_division
        assert (summed > 1.1 * divided) == (measured_summed > 1.1 * measured_divided) == spread
        if not spread:
            assert abs(summed / divided - 1) < 1e-12

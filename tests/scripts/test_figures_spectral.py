"""The figures of softmax heads: what they plot agrees with what they predict."""

import csv

import numpy as np
import pytest

import figures
from drawing import load
from drawing.base import HEADER, Settings


def columns(table, **wanted):
    rows = [r for r in table if all(r[HEADER.index(name)] == v for name, v in wanted.items())]
    return np.array([(row[4], row[6]) for row in rows]).T


def test_files_are_written(tmp_path):
    assert figures.main(["softmax-fig3", "--quick", "--out", str(tmp_path)]) == 0
    with (tmp_path / "softmax-fig3.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == HEADER
    assert len(rows) > 100
    assert (tmp_path / "softmax-fig3.svg").exists()


@pytest.fixture(scope="module")
def leaving():
    drawing = load("leaving")
    result = drawing.compute(Settings(quick=True))
    assert drawing.draw(result).axes
    return list(drawing.table(result))


def test_the_limit_is_left_when_predicted(leaving):
    limit = columns(leaving, series="limit")[1, 0]
    least = columns(leaving, series="least of 3 heads")[1, 0]
    for delta in ("0.01", "1e-06"):
        t, loss = columns(leaving, series=f"delta={delta}")
        marked = columns(leaving, series=f"delta={delta}, escape")[0, 0]
        left = t[np.flatnonzero(loss > limit - 0.1 * (limit - least))[-1]]
        # Both are ln(1/δ)/g up to a constant of the order of 1/g = 2.
        assert abs(left - marked) < 4
        assert loss[-1] < limit - 0.9 * (limit - least)


def test_the_end_follows_the_power_law(leaving):
    t, excess = columns(leaving, panel="late", kind="measured")
    _, predicted = columns(leaving, panel="late", kind="predicted")
    late = t > 0.5 * t[-1]
    # What remains of the start: it lies at a tenth of the last time.
    assert np.abs(excess[late] / predicted[late] - 1).max() < 0.1


def test_layer_and_flow_allocate_the_same_heads():
    drawing = load("softmax-fig1")
    result = drawing.compute(Settings(quick=True))
    assert len(drawing.draw(result).axes) == 5  # four panels and a scale
    table = list(drawing.table(result))
    for kind in ("measured", "predicted"):
        ends = [
            [columns(table, panel="omega", kind=kind, series=f"head {h}, task {i}")[1, -1]
             for i in (1, 2)]
            for h in (1, 2)
        ]  # fmt: skip
        assert np.argmax(ends, axis=0).tolist() == [0, 1]

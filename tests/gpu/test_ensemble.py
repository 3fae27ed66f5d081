"""The record of many runs: its picture begins where the loss of some row does."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gpu.ensemble import Ensemble


def recorded(t, loss):
    """An ensemble of losses alone."""
    t, loss = np.asarray(t, float), np.asarray(loss, float)
    empty = np.zeros_like(loss)
    status = ("finished",) * len(loss)
    return Ensemble(t, empty[..., None], loss, empty, empty, empty, status, np.ones(len(loss), int),
                    None)  # fmt: skip


def drawn(t, loss):
    return [line.get_xydata().tolist() for line in
            recorded(t, loss).plot(Figure().subplots()).lines]  # fmt: skip


TIMES = [0.0, 1e-8, 1e-7, 1e-6, 0.5, 1.0]


@pytest.mark.parametrize(
    ("early", "kept"),
    [
        (lambda row: [9, 9, 9, 9, 5, 0], [0, 3, 4, 5]),  # each still rests at 1e-6
        (lambda row: [9, 9, 9 - row, 5, 4, 0], [0, 1, 2, 3, 4, 5]),  # the second falls from 1e-8 on
        (lambda row: [9, 9, 9, 5, np.nan, np.nan], [0, 2, 3, 4, 5]),  # stopped early
    ],
)
def test_a_time_is_left_out_where_no_row_changes(early, kept):
    loss = [early(row) for row in range(2)]
    expected = [np.column_stack([TIMES, row])[kept] for row in loss]
    np.testing.assert_array_equal(drawn(TIMES, loss), expected)


def test_a_grid_of_equal_distances_is_drawn_whole():
    t = np.linspace(0, 1, 201)
    assert [len(line) for line in drawn(t, [1 - t, np.full(201, np.nan)])] == [201, 201]

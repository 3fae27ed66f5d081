"""What is known of a whole cascade: its curve, which mode is learned when, and by which head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics import _plot

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Cascade:
    """A predicted run of ATTN_S; mode d is the d-th entry of growth and curvature.

    Attributes
    ----------
    t : (T,)
        Flow time; a unit is τ over the unit of growth (the caller's units, as in `gradient_flow`).
    v : (T, H)
        Values of the heads.
    mode_coefficients : (T, D)
        m_d = M_dd. Within a degenerate eigenspace d counts the basis that the heads choose.
    loss : (T,)
        energy − Σ_d (2 growth_d m_d − curvature_d m_d²), no factor ½.
    learned : tuple of int
        Modes in the order in which they are learned.
    heads : tuple of int
        The head that learns each of them.
    plateaus : (D+1,)
        Loss before and after each drop, in the order learned; modes that are not learned
        follow in order of falling growth.
    drop_times : (D,)
        First time at which the loss is midway between consecutive plateaus; inf if never. Apply
        `drop_times(run.t, run.loss, cascade.plateaus)` to a full run to compare.
    overtaken : tuple of int
        Learned modes that some other mode of lower growth exceeds in loss reduction
        growth²/curvature: the full flow may leave them, and times after that are not predicted.
    status : str
        ``"finished"``, or why the run stopped early.
    """

    t: Array
    v: Array
    mode_coefficients: Array
    loss: Array
    learned: tuple[int, ...]
    heads: tuple[int, ...]
    plateaus: Array
    drop_times: Array
    overtaken: tuple[int, ...]
    status: str

    def __repr__(self) -> str:
        return (
            f"Cascade({self.status}, t={self.t[0]:g}…{self.t[-1]:g}, modes {self.learned} "
            f"by heads {self.heads}, drops at {np.array2string(self.drop_times, precision=4)})"
        )

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw the loss over time, plateaus dashed, into `ax` or new axes; return the axes.

        As `Trajectory.plot`, without the first steps of the solver.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from numerics import LinearTask, SeparateAttention, task_cascade
        >>> model = SeparateAttention(dimension=1, heads=1)
        >>> task = LinearTask([[1.0]], 10)
        >>> cascade = task_cascade(model, task, model.pack([0.1], [[0.1]], [[0.1]]))
        >>> cascade.plot(Figure().subplots(), label="predicted").get_xlabel()
        'time t  [τ]'
        """
        ax = _plot.axes(ax, _plot.time_label("τ"))
        _plot.plateaus(ax, self.plateaus)
        _plot.curve(ax, *_plot.visible(self.t, self.loss), style)
        return ax

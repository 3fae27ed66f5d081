"""One restrained look for every picture: colour-blind safe, readable in grey and in print."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's palette, dark to light where order matters.
MEASURED = "#0072B2"
PREDICTED = "#D55E00"
OTHER = "#009E73"
QUIET = "#8C8C8C"
PALE = "#94C7E5"  # a wide measured line…
OVER = "#8F3500"  # …and a thin predicted one over it
SHADES = ["#08306B", "#2171B5", "#4292C6", "#6BAED6", "#9ECAE1", "#C6DBEF"]
DASHES = (0, (4, 3))
LOG_TIME_FROM = 20.0  # last over first of what happens, from which linear time hides the first

RC: Any = {  # matplotlib types its keys one by one
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": "cycler('color', ['#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9'])",
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "iclflow",
    "figure.dpi": 110,
}


def look() -> AbstractContextManager[None]:
    """The settings above, for as long as the context lasts.

    What is drawn outside it (a legend, an annotation) takes matplotlib's own defaults.
    """
    from matplotlib import rc_context

    return rc_context(RC)


def canvas(width: float, height: float) -> Figure:
    """An empty figure, made without pyplot so that no global state changes."""
    from matplotlib.figure import Figure

    with look():
        return Figure(figsize=(width, height), layout="constrained")


def figure(width: float = 4.6, height: float = 3.1, **grid: Any) -> tuple[Figure, Any]:
    """A figure and its axes, made without pyplot so that no global state changes."""
    fig = canvas(width, height)
    with look():
        return fig, fig.subplots(**grid)


def save(fig: Figure, path: Any, **options: Any) -> None:
    """Write a figure with no time stamp in it, so that equal pictures are equal files."""
    metadata = {"Date": None} if str(getattr(path, "suffix", options.get("format"))) in (
        ".svg", "svg") else {}  # fmt: skip
    with look():
        fig.savefig(path, metadata=metadata, **options)


def shades(count: int) -> list[Any]:
    """Pale blues in order, as many as wanted; a predicted line shows on them, in grey too."""
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("shades", [SHADES[2], SHADES[5]])
    return [scale(x) for x in np.linspace(0.0, 1.0, count)]


def measured(ax: Axes, x: ArrayLike, y: ArrayLike, **options: Any) -> None:
    """A wide pale line: what a run did, drawn so that a prediction over it stays readable."""
    given: dict[str, Any] = {"color": PALE, "lw": 3.2, "solid_capstyle": "round"} | options
    ax.plot(x, y, **given)


def predicted(ax: Axes, x: ArrayLike, y: ArrayLike, **options: Any) -> None:
    """A thin dashed line over the measured one: what the theory says."""
    given: dict[str, Any] = {"color": OVER, "lw": 1.2, "ls": DASHES}
    ax.plot(x, y, **(given | options))


def plateau_lines(ax: Axes, heights: ArrayLike, label: str = "predicted plateaus") -> None:
    """Dashed horizontal lines at predicted losses."""
    for i, height in enumerate(np.asarray(heights, float)):
        ax.axhline(
            height,
            color=PREDICTED,
            lw=0.9,
            ls=DASHES,
            zorder=0,
            label=label if i == 0 else None,
        )


def loss_axes(ax: Axes, *, log_time: bool = False, unit: str = "τ") -> None:
    """Label the axes of a loss curve."""
    ax.set_xlabel(f"training time  [{unit}]")
    ax.set_ylabel("loss  E(ŷ − y)²")
    if log_time:
        ax.set_xscale("log")


def loss_curves(
    ax: Axes,
    runs: Iterable[Any],
    *,
    plateaus: ArrayLike | None = None,
    label: str = "gradient flow",
) -> None:
    """Loss of several runs over linear time, with the predicted plateaus."""
    if plateaus is not None:
        plateau_lines(ax, plateaus)
    for i, run in enumerate(runs):
        ax.plot(
            run.t, run.loss, color=MEASURED, lw=1.1, alpha=0.85, label=label if i == 0 else None
        )
    loss_axes(ax)
    ax.legend(loc="upper right")


def errors_against_tolerances(ax: Axes, checks: list[Any]) -> None:
    """The default picture of a claim: each check's error, its tolerance and its control."""
    floor = 1e-18
    rows = np.arange(len(checks))[::-1]
    for row, check in zip(rows, checks, strict=True):
        ax.plot([floor, check.tolerance or floor], [row, row], color=QUIET, lw=0.8, zorder=0)
        ax.plot(max(check.tolerance, floor), row, "|", color=PREDICTED, ms=12, mew=1.6)
        ax.plot(max(check.error, floor), row, "o", color=MEASURED, ms=5)
    ax.set_xscale("log")
    ax.set_yticks(rows, [_short(check.quantity) for check in checks])
    ax.set_ylim(-0.7, len(checks) - 0.3)
    ax.set_xlabel("error (dot) against tolerance (bar); exact zeros at the left edge")


def _short(text: str, limit: int = 44) -> str:
    head = text.split(":")[0]
    return head if len(head) <= limit else head[: limit - 1] + "…"

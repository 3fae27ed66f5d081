"""Phase diagrams: drop time over initial scale and rank, gaps of the loss over (d, L)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import style
from numerics.files import written_atomically

from .report import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

MOST_PANELS = 4  # settings in one picture, the first ones; the CSV has all
FEW = 60  # cells that are large enough for a number in each
SUFFIXES = (".png", ".svg")


@dataclass(frozen=True)
class Quantity:
    """What a column of the picture shows: medians over seeds of `value`."""

    title: str
    value: Callable[[Row], float]
    show: Callable[[float], str]
    colours: str
    logarithmic: bool = False


@dataclass(frozen=True)
class Plane:
    """The axes of a diagram; settings that differ in nothing but these and the seed share one."""

    name: str
    x: str
    y: str
    x_label: str
    y_label: str
    quantities: tuple[Quantity, ...]


def _two(x: float) -> str:
    return f"{x:.2g}"


def _percent(name: str) -> Callable[[Row], float]:
    return lambda row: 100 * row.numbers[name]


LINEAR = Plane(
    "drops", "init", "rank", "initial scale  s", "rank  R",
    (Quantity("last drop  [τ]", lambda row: row.numbers["last_drop"], lambda x: f"{x:.3g}",
              "cividis", True),
     Quantity("worst drop time against theory  [%]",
              lambda row: 100 * abs(row.numbers["worst_drop_error"]), _two, "cividis", True)),
)  # fmt: skip
SOFTMAX = Plane(
    "gaps", "context_length", "block_dims", "context pairs  L", "dimension of a task  d",
    (Quantity("exact loss at the limit over [S]'s formula − 1  [%]", _percent("formula_gap"), _two,
              "PuOr_r"),
     Quantity("over the exact loss of the best heads − 1  [%]", _percent("optimum_gap"), _two,
              "cividis", True)),
)  # fmt: skip


def save(rows: list[Row], folder: Path) -> list[Path]:
    """Draw what there is of a diagram; return the files, none if no axis varies."""
    plane = LINEAR if rows[0].kind == "linear" else SOFTMAX
    figure = draw(rows, plane)
    if figure is None:
        return []
    paths = [folder / f"{plane.name}{suffix}" for suffix in SUFFIXES]
    for path in paths:
        with written_atomically(path) as temporary:
            style.save(figure, temporary, dpi=200)
    return paths


def draw(rows: list[Row], plane: Plane) -> Figure | None:
    """One line of diagrams for each setting in which an axis varies."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if plane is LINEAR or len(set(row.case.block_dims)) == 1:  # type: ignore[union-attr]
            groups.setdefault(_setting(row, plane), []).append(row)
    grids = [(group, *_axes(group, plane)) for group in groups.values()]
    grids = [grid for grid in grids if len(grid[1]) * len(grid[2]) > 1]
    if not grids:
        return None
    shown = grids[:MOST_PANELS]
    tall = sum(0.9 + 0.36 * max(len(ys), 2) for _, _, ys in shown)
    fig, axes = style.figure(8.2, tall + 0.3 * (len(grids) > len(shown)), nrows=len(shown),
                             ncols=len(plane.quantities), squeeze=False,
                             height_ratios=[2.5 + max(len(ys), 2) for _, _, ys in shown]
                             )  # fmt: skip
    with style.look():
        for column, quantity in zip(axes.T, plane.quantities, strict=True):
            values = [medians(group, plane, quantity, xs, ys) for group, xs, ys in shown]
            norm = _norm(np.concatenate([cells.ravel() for cells in values]), quantity)
            for ax, cells, (_, xs, ys) in zip(column, values, shown, strict=True):
                _diagram(ax, cells, xs, ys, quantity, norm)
                ax.set_xlabel(plane.x_label)
        for ax, (group, _, _) in zip(axes[:, 0], shown, strict=True):
            ax.set_ylabel(plane.y_label)
            if len(shown) > 1:
                ax.annotate(name_of(group, [g for g, _, _ in shown], plane), (0, 1),
                            xytext=(0, 18), xycoords="axes fraction", textcoords="offset points",
                            fontsize=8, fontweight="bold")  # fmt: skip
        if len(grids) > len(shown):
            fig.supxlabel(f"{len(grids) - len(shown)} settings more are in the CSV", fontsize=8)
    return fig


def _varied(plane: Plane) -> tuple[str, ...]:
    # Heads and width follow the tasks' dimension where they are left to their defaults.
    return ("seed", plane.x, plane.y, *(() if plane is LINEAR else ("embedding", "signal")))


def _setting(row: Row, plane: Plane) -> tuple[Any, ...]:
    setting = row.setting(*_varied(plane))
    if plane is LINEAR:
        return setting
    case: Any = row.case
    return (*setting, len(case.block_dims), tuple(sorted(set(case.signal))),
            case.embedding / sum(case.block_dims))  # fmt: skip


def name_of(group: list[Row], groups: list[list[Row]], plane: Plane) -> str:
    """What tells a setting from the others shown."""
    symbols = {"eigenvalues": "λ", "context_length": "N", "heads": "H", "noise": "σ",
               "duration": "T", "init": "ω(0)", "tasks": "I"}  # fmt: skip

    def values(rows: list[Row]) -> dict[str, Any]:
        case: Any = rows[0].case
        own = {name: getattr(case, name, None) for name in symbols if name not in _varied(plane)}
        return own if plane is LINEAR else {**own, "tasks": len(case.block_dims)}

    mine, all_values = values(group), [values(rows) for rows in groups]
    differ = [name for name in mine if len({str(each.get(name)) for each in all_values}) > 1]
    return ",  ".join(f"{symbols[name]} = {_text(mine[name])}" for name in differ)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{x:.3g}" for x in value[:6]) + " …" * (len(value) > 6)
    return "–" if value is None else f"{value:g}"


def _axis_value(row: Row, name: str) -> float:
    value = getattr(row.case, name)
    return float(value[0] if isinstance(value, tuple) else value)


def _axes(group: list[Row], plane: Plane) -> tuple[list[float], list[float]]:
    return tuple(  # type: ignore[return-value]
        sorted({_axis_value(row, name) for row in group}) for name in (plane.x, plane.y)
    )


def medians(
    group: list[Row], plane: Plane, quantity: Quantity, xs: list[float], ys: list[float]
) -> Array:
    """Medians over the seeds of each cell, (y, x); NaN where there is none."""
    cells: dict[tuple[float, float], list[float]] = {}
    for row in group:
        value = quantity.value(row)
        if math.isfinite(value):
            cells.setdefault((_axis_value(row, plane.y), _axis_value(row, plane.x)), []).append(
                value
            )
    return np.array([[float(np.median(cells.get((y, x), [math.nan]))) for x in xs] for y in ys])


def _norm(values: Array, q: Quantity) -> Any:
    """One scale of colours for all diagrams of a quantity."""
    from matplotlib.colors import LogNorm, Normalize

    known = values[np.isfinite(values)]
    positive = known[known > 0]
    if q.logarithmic and len(positive):
        return LogNorm(positive.min(), max(positive.max(), positive.min() * 1.01), clip=True)
    reach = float(np.abs(known).max(initial=0.0)) or 1.0
    return Normalize(-reach, reach)


def _diagram(
    ax: Axes, values: Array, xs: list[float], ys: list[float], q: Quantity, norm: Any
) -> None:
    """Coloured cells, with their numbers where they are few."""
    from matplotlib import colormaps

    colours = colormaps[q.colours].with_extremes(bad="#EEEEEE")
    ax.imshow(values, origin="lower", aspect="auto", cmap=colours, norm=norm)
    ax.set_xticks(range(len(xs)), [f"{x:g}" for x in xs], rotation=0 if len(xs) < 7 else 45)
    ax.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    ax.set_title(q.title, loc="left")
    ax.tick_params(length=0)
    if values.size > FEW:
        ax.figure.colorbar(ax.images[0], ax=ax)
        return
    for (i, j), value in np.ndenumerate(values):
        missing = not math.isfinite(value)
        red, green, blue, _ = colours(norm(max(value, norm.vmin)))
        dark = not missing and 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        ax.text(j, i, "–" if missing else q.show(value), ha="center", va="center", fontsize=7.5,
                color="white" if dark else "black")  # fmt: skip

"""Phase diagrams: drop time over initial scale and rank, or shape and D; gaps over (d, L)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

import style
from numerics.files import written_atomically

from . import spectra
from .rows import Row

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
    free: tuple[str, ...] = ()  # fields that may differ too


def _two(x: float) -> str:
    return f"{x:.2g}"


def _percent(name: str) -> Callable[[Row], float]:
    return lambda row: 100 * row.numbers[name]


def _three(x: float) -> str:
    return f"{x:.0f}" if 1e3 <= x < 1e5 else f"{x:.3g}"


def _drop_error(row: Row) -> float:
    """In percent; inf if a drop did not come when it was due."""
    return math.inf if row.numbers["missed_drops"] > 0 else _percent("worst_drop_error")(row)


DROPS = (
    Quantity("last drop  [τ]", lambda row: row.numbers["last_drop"], _three, "cividis", True),
    Quantity("worst drop time against theory  [%]", lambda row: abs(_drop_error(row)), _two,
             "cividis", True),
)  # fmt: skip
LINEAR = Plane("drops", "init", "rank", "initial scale  s", "rank  R", DROPS)
MERGED = Plane("merged_drops", "init", "heads", "initial scale  s", "heads  H", DROPS)
# Heads follow D where they are left to their default, and the trace is rounded.
SHAPES = Plane("shapes", "exponent", "dimension", "exponent  a,  λ ∝ d⁻ᵃ", "dimension  D",
               DROPS, ("eigenvalues", "heads"))  # fmt: skip
SOFTMAX = Plane(
    "gaps", "context_length", "block_dims", "context pairs  L", "dimension of a task  d",
    (Quantity("exact loss at the limit over [S]'s formula − 1  [%]", _percent("formula_gap"), _two,
              "PuOr_r"),
     Quantity("over the exact loss of the best heads − 1  [%]", _percent("optimum_gap"), _two,
              "cividis", True)),
    # Heads and width follow the tasks' dimension where they are left to their defaults.
    ("embedding_dim", "signal"),
)  # fmt: skip
PLANES = {"linear": (LINEAR, SHAPES), "merged": (MERGED, replace(SHAPES, name="merged_shapes")),
          "softmax": (SOFTMAX,)}  # fmt: skip


def save(rows: list[Row], folder: Path) -> list[Path]:
    """Draw the diagrams of a kind in which an axis varies; return their files."""
    paths: list[Path] = []
    for plane in PLANES[rows[0].kind]:
        figure = draw(rows, plane)
        if figure is None:
            continue
        for suffix in SUFFIXES:
            paths.append(folder / f"{plane.name}{suffix}")
            with written_atomically(paths[-1]) as temporary:
                style.save(figure, temporary, dpi=200)
    return paths


def draw(rows: list[Row], plane: Plane) -> Figure | None:
    """One line of diagrams for each setting in which an axis varies."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    inside = [row for row in rows if all(map(math.isfinite, _place(row, plane)))]
    sizes: dict[int, set[float]] = {}
    for row in inside:
        sizes.setdefault(row.case.heads, set()).add(_axis_value(row, plane.y))
    for row in inside:
        groups.setdefault(_setting(row, plane, sizes), []).append(row)
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
    return ("seed", plane.x, plane.y, *plane.free)


def _setting(row: Row, plane: Plane, sizes: dict[int, set[float]]) -> tuple[Any, ...]:
    setting, case = row.setting(*_varied(plane)), cast(Any, row.case)
    if plane.x == "exponent":
        # H = D counts as the default, unless other D have this H.
        heads = "D" if sizes[case.heads] == {case.heads} else case.heads
        return (*setting, heads, _trace(case))
    if plane is not SOFTMAX:
        return setting
    return (*setting, len(case.block_dims), tuple(sorted(set(case.signal))),
            case.embedding_dim / sum(case.block_dims))  # fmt: skip


def name_of(group: list[Row], groups: list[list[Row]], plane: Plane) -> str:
    """What tells a setting from the others shown."""
    symbols = {"eigenvalues": "λ", "context_length": "N", "heads": "H", "noise": "σ",
               "duration": "T", "init": "ω(0)" if plane is SOFTMAX else "s", "rank": "R",
               "tasks": "I", "trace": "tr Λ"}  # fmt: skip

    def values(rows: list[Row]) -> dict[str, Any]:
        case: Any = rows[0].case
        own = {name: getattr(case, name, None) for name in symbols if name not in _varied(plane)}
        if plane.x == "exponent":
            counts = {row.case.heads for row in rows}
            own["heads"] = case.heads if len(counts) == 1 else "D"
            own["trace"] = _trace(case)
        return {**own, "tasks": len(case.block_dims)} if plane is SOFTMAX else own

    mine, all_values = values(group), [values(rows) for rows in groups]
    differ = [name for name in mine if len({str(each.get(name)) for each in all_values}) > 1]
    return ",  ".join(f"{symbols[name]} = {_text(mine[name])}" for name in differ)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return spectra.text(value)
    return "–" if value is None else value if isinstance(value, str) else f"{value:g}"


def _trace(case: Any) -> float:
    return float(f"{math.fsum(case.eigenvalues):.6g}")  # eigenvalues are rounded


def _place(row: Row, plane: Plane) -> tuple[float, float]:
    return _axis_value(row, plane.x), _axis_value(row, plane.y)


def _axis_value(row: Row, name: str) -> float:
    """A coordinate of a row; NaN for one that is in no such plane."""
    case: Any = row.case
    if name == "exponent":
        return spectra.exponent_of(case.eigenvalues)
    if name == "dimension":
        return float(len(case.eigenvalues))
    if name == "block_dims":
        return float(case.block_dims[0]) if len(set(case.block_dims)) == 1 else math.nan
    value = getattr(case, name)
    return math.nan if value is None else float(value)


def _axes(group: list[Row], plane: Plane) -> tuple[list[float], list[float]]:
    return tuple(  # type: ignore[return-value]
        sorted({_axis_value(row, name) for row in group}) for name in (plane.x, plane.y)
    )


def medians(
    group: list[Row], plane: Plane, quantity: Quantity, xs: list[float], ys: list[float]
) -> Array:
    """Medians over the seeds of each cell, (y, x); NaN where there is none, inf for missed."""
    cells: dict[tuple[float, float], list[float]] = {}
    for row in group:
        value = quantity.value(row)
        if not math.isnan(value):
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
    known = np.where(np.isfinite(values), values, np.nan)
    ax.imshow(known, origin="lower", aspect="auto", cmap=colours, norm=norm)
    ax.set_xticks(range(len(xs)), [f"{x:g}" for x in xs], rotation=0 if len(xs) < 7 else 45)
    ax.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    ax.set_title(q.title, loc="left")
    ax.tick_params(length=0)
    if values.size > FEW:
        ax.figure.colorbar(ax.images[0], ax=ax)
        return
    for (i, j), value in np.ndenumerate(values):
        missing = not math.isfinite(value)
        text = q.show(value) if not missing else "missed" if value == math.inf else "–"
        red, green, blue, _ = colours(norm(norm.vmin if missing else max(value, norm.vmin)))
        dark = not missing and 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        ax.text(j, i, text, ha="center", va="center", fontsize=7.5,
                color="white" if dark else "black")  # fmt: skip

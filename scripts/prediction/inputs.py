"""Reading matrices and loss curves from files; every error is one line that names the place."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXT = (".csv", ".tsv", ".txt", ".dat")
LARGEST = 1e30
FORMATS = ".npy, .npz (one array, or FILE.npz:NAME), " + ", ".join(TEXT)


def read_matrix(source: str, argument: str) -> NDArray[np.float64]:
    """Return the numbers in a file as a (rows, columns) float64 array.

    Raises
    ------
    console.InputError
        If the file is missing, damaged, of another kind, or holds anything but a matrix of real,
        finite numbers.
    """
    import numpy as np

    where = f"{argument} {source}"
    path, key = _split(source)
    if path.suffix.lower() in TEXT:
        array: Any = _read_text(path, where)
    elif path.suffix.lower() in (".npy", ".npz"):
        array = _read_binary(path, key, where)
    else:
        raise console.InputError(f"{where}: unknown kind of file; known are {FORMATS}")
    check_real(array, where)
    if array.ndim != 2:
        raise console.InputError(f"{where}: must be a matrix, got shape {array.shape}")
    if not array.size:
        raise console.InputError(f"{where}: is empty, shape {array.shape}")
    check_finite(array, where)
    return np.asarray(array, np.float64)


def check_real(array: Any, where: str) -> None:
    """Raise `InputError` unless an array holds real numbers."""
    if array.dtype.kind not in "fiu":
        raise console.InputError(f"{where}: must hold real numbers, got dtype {array.dtype}")


def check_finite(array: Any, where: str) -> None:
    """Raise `InputError` naming the first number that is not finite, or is enormous."""
    import numpy as np

    bad = np.argwhere(~(np.abs(array) <= LARGEST))
    if len(bad):
        place = ", ".join(str(i + 1) for i in bad[0])
        if array.ndim == 2:
            place = "row {}, column {}".format(*(bad[0] + 1))
        raise console.InputError(
            f"{where}: {array[tuple(bad[0])]} in {place}; "
            f"numbers must be finite and at most {LARGEST:g}"
        )


def _split(source: str) -> tuple[Path, str | None]:
    """FILE or FILE.npz:NAME."""
    path, colon, key = source.rpartition(":")
    return (Path(path), key) if colon and path.lower().endswith(".npz") else (Path(source), None)


def _read_binary(path: Path, key: str | None, where: str) -> Any:
    with _loaded(path, where) as loaded:
        if not hasattr(loaded, "files"):  # a .npy
            return loaded
        return _member(loaded, _key(loaded.files, key, where), where)


def read_named(source: str, names: Sequence[str], where: str) -> dict[str, Any]:
    """Return arrays of an .npz file by their names."""
    path = Path(source)
    if path.suffix.lower() != ".npz":
        raise console.InputError(f"{where}: must be an .npz with {', '.join(names)}")
    with _loaded(path, where) as loaded:
        if not hasattr(loaded, "files"):
            raise console.InputError(f"{where}: holds one array without a name")
        return {name: _member(loaded, _key(loaded.files, name, where), where) for name in names}


def _member(archive: Any, name: str, where: str) -> Any:
    """One array of an .npz; NumPy gives the bytes of what is none."""
    array = archive[name]
    if isinstance(array, bytes):
        raise console.InputError(f"{where}: {name} is not in NumPy's format")
    return array


@contextmanager
def _loaded(path: Path, where: str) -> Iterator[Any]:
    """What NumPy reads in a file, with one line for whatever it cannot."""
    import numpy as np

    try:
        # Opened here: NumPy leaves open what turns out to be damaged.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not hasattr(loaded, "files"):
                yield loaded
                return
            with loaded:
                yield loaded
    except OSError as error:
        if error.strerror:
            raise console.InputError(f"{where}: {error.strerror}") from error
        raise console.InputError(f"{where}: damaged: {console.one_line(error)}") from error
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        # NumPy takes whatever it does not know for a pickle.
        text = console.one_line(error)
        reason = "not in NumPy's format" if "pickle" in text.lower() else f"damaged: {text}"
        raise console.InputError(f"{where}: {reason}") from error


def _key(names: list[str], key: str | None, where: str) -> str:
    listed = ", ".join(names)
    if not names:
        raise console.InputError(f"{where}: holds no arrays")
    if key is not None:
        if key not in names:
            raise console.InputError(f"{where}: has no array {key!r}, only {listed}")
        return key
    if len(names) != 1:
        raise console.InputError(f"{where}: choose one of its arrays, FILE.npz:NAME, from {listed}")
    return names[0]


def _read_text(path: Path, where: str) -> Any:
    """Numbers separated by commas, semicolons or white space; # begins a comment."""
    import numpy as np

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise console.InputError(f"{where}: is not a text file") from None
    except OSError as error:
        raise console.InputError(f"{where}: {error.strerror}") from error
    rows: list[list[float]] = []
    first = True
    for number, line in enumerate(lines, start=1):
        cells = _cells(line)
        if not cells:
            continue
        # One line of names may come before the numbers.
        header = first and not any(_is_number(cell) for cell in cells)
        first = False
        if header:
            continue
        rows.append(_numbers(cells, f"{where}: line {number}"))
        if len(rows[-1]) != len(rows[0]):
            raise console.InputError(
                f"{where}: line {number} has {len(rows[-1])} columns, the first has {len(rows[0])}"
            )
    if not rows:
        raise console.InputError(f"{where}: holds no numbers")
    return np.array(rows, dtype=np.float64)


def _cells(line: str) -> list[str]:
    line = line.partition("#")[0].strip()
    if not line:
        return []
    return [c.strip() for c in re.split("[,;]", line)] if re.search("[,;]", line) else line.split()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(cells: list[str], where: str) -> list[float]:
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        column = next(i for i, cell in enumerate(cells) if not _is_number(cell))
        shown = cells[column] if len(cells[column]) <= 40 else cells[column][:39] + "…"
        raise console.InputError(
            f"{where}, column {column + 1}: {shown!r} is not a number"
        ) from None


def _column_names(path: Path) -> list[str]:
    """The first line of a .csv that holds anything, in small letters; nothing for other files."""
    if path.suffix.lower() != ".csv":
        return []
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return next(([c.lower() for c in cells] for cells in map(_cells, lines) if cells), [])


def read_curve(source: str, steps_per_row: float | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the steps and losses of somebody's run: columns step and loss, or loss alone.

    Among more columns these two are found by their names.
    """
    import numpy as np

    where = f"--overlay {source}"
    table = read_matrix(source, "--overlay")
    if table.shape[1] > 2:
        names = _column_names(Path(source))
        if {"step", "loss"} <= set(names):
            table = table[:, [names.index("step"), names.index("loss")]]
    if len(table) < 2:
        raise console.InputError(f"{where}: needs at least 2 rows, got {len(table)}")
    if table.shape[1] == 1:
        if steps_per_row is None:
            raise console.InputError(f"{where}: has a loss column only; give --steps-per-row")
        return np.arange(len(table)) * steps_per_row, table[:, 0]
    if table.shape[1] != 2:
        raise console.InputError(
            f"{where}: needs columns step and loss, or loss alone, got {table.shape[1]} columns "
            "whose first line does not name them"
        )
    if steps_per_row is not None:
        raise console.InputError(f"--steps-per-row: {source} has a column of steps already")
    steps, loss = table[:, 0], table[:, 1]
    wrong = np.flatnonzero(np.diff(steps) <= 0)
    if steps[0] < 0 or len(wrong):
        row = 1 if steps[0] < 0 else int(wrong[0]) + 2
        raise console.InputError(f"{where}: steps must be >= 0 and increase; row {row} breaks that")
    return steps, loss

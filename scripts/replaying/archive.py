"""Arrays of somebody's .npz file: small ones whole, large ones a few rows at a time.

Every error is one line that names the file and the array.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

import console

Array = NDArray[Any]

READ_BYTES = 2**18  # at a time: a ZipFile copies what it reads more than once
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def wrong(source: str, name: str, what: str) -> console.InputError:
    """The error for an array."""
    return console.InputError(f"{source}: {name} {what}")


def check_finite(source: str, name: str, array: Array, finite: Array, start: int = 0) -> None:
    """Refuse an array where it is not `finite`, telling the place; its rows count from `start`."""
    if finite.all():
        return
    place = np.unravel_index(int(np.argmin(finite)), finite.shape)
    index = [start + int(place[0]), *map(int, place[1:])] if place else []
    where = f" at [{', '.join(map(str, index))}]" if index else ""
    raise wrong(source, name, f"must be finite, got {array[place]}{where}")


@dataclass(frozen=True)
class Stored:
    """An array of a .npz file, of which only the header has been read.

    `streams` tells whether it lies in the file row after row (C order). Otherwise it is loaded
    whole when rows are asked for.
    """

    source: str
    name: str
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    streams: bool

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    def rows(self, count: int) -> Iterator[Array]:
        """Blocks of `count` rows and a last one of what is left, in the type of the file.

        Raises
        ------
        console.InputError
            Where the file turns out to be damaged: a wrong checksum shows with the last block.
        """
        if not self.streams:
            array = _whole(self)
            yield from (array[start : start + count] for start in range(0, len(array), count))
            return
        with (
            _damage(self.source, self.name),
            zipfile.ZipFile(self.source) as archive,
            archive.open(self.member) as file,
        ):
            if _header(file) != (self.shape, self.dtype, self.streams):
                raise ValueError("changed while it was read")
            for start in range(0, self.shape[0], count):
                length = min(count, self.shape[0] - start)
                block = np.empty((length, *self.shape[1:]), self.dtype)
                _fill(block, file)
                yield block


def load(source: str, names: Collection[str], large: Collection[str]) -> dict[str, Any]:
    """Those of `names` that are there: as `Stored` if in `large`, else whole.

    Raises
    ------
    console.InputError
        If the file is not an .npz file, or an array is damaged or no array.
    """
    try:
        # Opened here, because NumPy leaves a damaged archive open.
        with Path(source).open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise console.InputError(f"{source}: must be a .npz file, holds a single array")
            with loaded:
                return {
                    name: (_stored if name in large else _array)(source, name, loaded)
                    for name in names
                    if name in loaded.files
                }
    except OSError as error:
        reason = error.strerror or f"damaged: {console.one_line(error)}"
        raise console.InputError(f"{source}: {reason}") from error
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        # NumPy takes whatever it does not know for a pickle.
        raise console.InputError(f"{source}: is not a .npz file, or damaged") from error


@contextmanager
def _damage(source: str, name: str) -> Iterator[None]:
    """What can go wrong inside an archive, as an error that names the array."""
    try:
        yield
    except (OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise wrong(source, name, f"damaged: {console.one_line(error)}") from error
    except (ValueError, NotImplementedError, RuntimeError) as error:
        text = console.one_line(error)
        objects = "holds Python objects, not numbers"
        raise wrong(source, name, objects if "pickle" in text else f"damaged: {text}") from error


def _stored(source: str, name: str, loaded: Any) -> Stored:
    member = name if name in loaded.zip.namelist() else name + ".npy"
    with _damage(source, name), loaded.zip.open(member) as file:
        header = _header(file)
    if header is None:
        # Not a plain array, or a later format than we know: NumPy decides.
        array = _array(source, name, loaded)
        header = (array.shape, array.dtype, False)
    if header[1].hasobject:
        raise wrong(source, name, "holds Python objects, not numbers")
    return Stored(source, name, member, *header)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool] | None:
    """Shape, type and whether rows follow each other; None where that is NumPy's to find out."""
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        return None
    if version not in HEADERS:
        return None
    shape, fortran, dtype = HEADERS[version](file)
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    return shape, dtype, not (fortran or dtype.hasobject)


def _fill(block: Array, file: IO[bytes]) -> None:
    """Read a block's bytes."""
    flat, place = block.reshape(-1).view(np.uint8), 0
    while place < len(flat):
        part = file.read(min(READ_BYTES, len(flat) - place))
        if not part:
            raise ValueError(f"EOF: {len(flat) - place} bytes are missing")
        flat[place : place + len(part)] = np.frombuffer(part, np.uint8)
        place += len(part)


def _whole(stored: Stored) -> Array:
    with Path(stored.source).open("rb") as file, np.load(file, allow_pickle=False) as loaded:
        return _array(stored.source, stored.name, loaded)


def _array(source: str, name: str, loaded: Any) -> Array:
    with _damage(source, name):
        array = loaded[name]
    if not isinstance(array, np.ndarray):
        raise wrong(source, name, "is not an array in NumPy's format")
    return array

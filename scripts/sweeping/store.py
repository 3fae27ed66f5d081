"""The folder of a sweep: one file for each case, whole or not at all, and checked when read.

A file is an .npz with the SHA-256 of all its other bytes as the zip's comment: any flipped bit is
found, in the arrays or around them. It holds the case in full, and no pickle is ever read.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.files import written_atomically

from .case import FORMAT, AnyCase, case_of

Array = NDArray[Any]

FINISHED = "finished"
_NAME = re.compile(r"[0-9a-f]{32}\.npz")
_LEFT = re.compile(r"\.[0-9a-f]{32}\.\d+\.part\.npz")
_SEAL = b"sha256 "
_SEAL_LENGTH = len(_SEAL) + 64
_LONG_AGO = 3600.0  # seconds; no file takes so long to write


class DamagedError(ValueError):
    """A file that is not what was written."""


class OtherFormatError(DamagedError):
    """A whole file, of another version of the format."""


@dataclass(frozen=True, eq=False)
class Record:
    """What one case gave.

    Attributes
    ----------
    case : LinearCase, MergedCase or SoftmaxCase
    status : str
        ``"finished"``, ``"stopped: …"`` by a limit or the solver, or ``"failed: …"``.
    values : mapping of str to array
        Numbers (axes: none) and arrays of float64 by name, as `sweeping.run` lists them.
    software : str
        Versions of NumPy and SciPy.
    """

    case: AnyCase
    status: str
    values: Mapping[str, Array]
    software: str = ""

    def number(self, name: str) -> float:
        """A number by name, NaN where there is none."""
        value = self.values.get(name)
        return float("nan") if value is None or value.ndim else float(value)


def packed(record: Record) -> bytes:
    """The bytes of a record's file, the same wherever they are made."""
    arrays: dict[str, Any] = {
        "version": np.int64(FORMAT), "case": np.str_(record.case.canonical),
        "status": np.str_(record.status), "software": np.str_(record.software),
        **{f"value_{name}": np.asarray(x, np.float64) for name, x in record.values.items()},
    }  # fmt: skip
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    body = buffer.getvalue()
    seal = _SEAL + hashlib.sha256(body).hexdigest().encode()
    return body[:-2] + len(seal).to_bytes(2, "little") + seal  # a zip ends in its comment


def unpacked(content: bytes) -> Record:
    """Read what `packed` made.

    Raises
    ------
    DamagedError
        If the bytes are not that.
    """
    seal = content[-_SEAL_LENGTH:]
    body = content[: -_SEAL_LENGTH - 2] + b"\0\0"
    expected = _SEAL + hashlib.sha256(body).hexdigest().encode()
    length = content[-_SEAL_LENGTH - 2 : -_SEAL_LENGTH]
    if seal != expected or length != _SEAL_LENGTH.to_bytes(2, "little"):
        raise DamagedError("its checksum is wrong")
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        if int(arrays["version"]) != FORMAT:
            raise OtherFormatError(f"has format {arrays['version']}, not {FORMAT}")
        return Record(
            case_of(json.loads(str(arrays["case"]))),
            str(arrays["status"]),
            {name[6:]: arrays[name] for name in arrays.files if name.startswith("value_")},
            str(arrays["software"]),
        )


class Store:
    """The folder of a sweep; several processes, on several machines, may share one.

    Examples
    --------
    >>> import tempfile
    >>> from sweeping import LinearCase
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store, case = Store(folder), LinearCase([1.0], 5)
    ...     store.prepare()
    ...     store.save(Record(case, "finished", {"loss": np.array([1.0, 0.5])}))
    ...     store.load(case.key).values["loss"].tolist()
    [1.0, 0.5]
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()
        self.cases = self.folder / "cases"
        self.aside = self.folder / "damaged"

    def prepare(self) -> None:
        """Make the folder, try that it can be written, and clear what long-dead runs left.

        Raises
        ------
        OSError
            If it cannot be made or written.
        """
        self.cases.mkdir(parents=True, exist_ok=True)
        probe = self.cases / f"probe-{uuid.uuid4().hex}"
        with written_atomically(probe) as temporary:
            temporary.write_bytes(b"")
        probe.unlink()
        for file in self.cases.iterdir():
            if _LEFT.fullmatch(file.name) and time.time() - file.stat().st_mtime > _LONG_AGO:
                file.unlink(missing_ok=True)

    def path(self, key: str) -> Path:
        """Where a case is kept."""
        return self.cases / f"{key}.npz"

    def keys(self) -> list[str]:
        """Keys of all files there are, sorted."""
        if not self.cases.is_dir():
            return []
        return sorted(f.stem for f in self.cases.iterdir() if _NAME.fullmatch(f.name))

    def save(self, record: Record) -> None:
        """Write a record: to a temporary name, synced, renamed.

        Raises
        ------
        OSError
            If it cannot be written; what was there before is untouched.
        """
        target = self.path(record.case.key)
        try:
            with written_atomically(target) as temporary:
                temporary.write_bytes(packed(record))
        except FileNotFoundError:
            # Of two machines at the same case, with the same process number, one was first.
            if not target.exists():
                raise

    def load(self, key: str) -> Record | None:
        """Read a record; None if there is no file.

        Raises
        ------
        DamagedError
            If the file is not whole, or holds another case than its name says.
        OSError
            If it cannot be read.
        """
        try:
            content = self.path(key).read_bytes()
        except FileNotFoundError:
            return None
        record = unpacked(content)
        if record.case.key != key:
            raise DamagedError("holds another case than its name says")
        return record

    def find(self, key: str) -> tuple[Record | None, Path | None]:
        """Read a record or, if its file is damaged, set that aside and say where it is now."""
        try:
            return self.load(key), None
        except DamagedError:
            return None, self.set_aside(key)

    def set_aside(self, key: str) -> Path | None:
        """Move a file out of the way, keeping every one; None if another process has done so."""
        self.aside.mkdir(exist_ok=True)
        number = 0
        while True:
            target = self.aside / f"{key}{f'.{number}' if number else ''}.npz"
            try:
                target.open("xb").close()  # the name is ours, whoever else looks for one
                break
            except FileExistsError:
                number += 1
        try:
            self.path(key).replace(target)
        except FileNotFoundError:
            target.unlink()
            return None
        return target

    def records(self) -> Iterator[Record | str]:
        """All records in the folder, or for a file that cannot be read a line that says why."""
        for key in self.keys():
            try:
                record = self.load(key)
            except OtherFormatError as error:
                yield f"{key}.npz: {error} (of another version of this program)"
            except DamagedError as error:
                yield f"{key}.npz: {error} (sweep.py run sets it aside and computes its case again)"
            except OSError as error:
                yield f"{key}.npz: {error.strerror or error}"
            else:
                if record is not None:
                    yield record

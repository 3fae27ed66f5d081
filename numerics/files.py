"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def temporary_beside(target: Path) -> Path:
    """A name beside `target`, of the same ending, that no other process uses."""
    return target.with_name(f".{target.stem[:80]}.{os.getpid()}.part{target.suffix}")


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, of the same ending, to write to.

    On leaving, what was written is flushed to disk and takes the place of `path` in one step;
    after an error, Ctrl-C included, it is removed and `path` is as it was.
    """
    target = Path(os.path.realpath(path))
    temporary = temporary_beside(target)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)

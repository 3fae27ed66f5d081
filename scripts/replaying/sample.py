"""The sequences of a run, read from its file in pieces of float64 and checked on the way.

A pass over a sample holds a few pieces at a time, whatever the number of sequences; only an array
in Fortran order, whose rows are spread over the file, is loaded whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import console

from .archive import Stored, check_finite, wrong

Array = NDArray[Any]

PIECE = 2**18  # numbers of x in a piece: 2 MB of float64


@dataclass(frozen=True)
class Sample:
    """x and y_q of a run, still in its file.

    Attributes
    ----------
    x : Stored
        (P, N+1, D+1) tokens, the query with label 0 last; or (P, D²) features of a network.
    target : Stored
        (P,) y_q.
    """

    x: Stored
    target: Stored

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of x."""
        return self.x.shape

    @property
    def piece(self) -> int:
        """Sequences that make up a piece, at least one."""
        return max(1, PIECE * len(self) // self.x.size)

    def chunks(self, rows: int | None = None) -> Iterator[tuple[Array, Array]]:
        """X and y_q of `rows` sequences at a time, in float64.

        Raises
        ------
        console.InputError
            If the file is damaged, a number is not finite, or a query shows its label. Damage
            comes first: the numbers of a damaged array are not the user's.
        """
        rows = rows or self.piece
        both = self.x.rows(rows), self.target.rows(rows)
        for i, blocks in enumerate(zip(*both, strict=True)):
            x, y = (block.astype(np.float64, copy=False) for block in blocks)
            try:
                self._check(x, y, i * rows)
            except console.InputError:
                for rest in both:
                    deque(rest, maxlen=0)  # up to the checksum
                raise
            yield x, y

    def _check(self, x: Array, y: Array, start: int) -> None:
        check_finite(self.x.source, "x", x, np.isfinite(x), start)
        check_finite(self.x.source, "y_q", y, np.isfinite(y), start)
        if x.ndim == 3 and x[:, -1, -1].any():
            row = int(np.flatnonzero(x[:, -1, -1])[0])
            raise wrong(self.x.source, "x", "must have the query as the last token, its y set to "
                        f"0; got {x[row, -1, -1]:g} in sequence {start + row}")  # fmt: skip

    def whole(self) -> tuple[Array, Array]:
        """All of X and y_q at once."""
        try:
            x, y = np.empty(self.shape), np.empty(len(self))
        except (MemoryError, ValueError) as error:
            raise wrong(
                self.x.source, "x", f"does not fit into memory, shape {self.shape}"
            ) from error
        start = 0
        for x_part, y_part in self.chunks():
            stop = start + len(x_part)
            x[start:stop], y[start:stop] = x_part, y_part
            start = stop
        return x, y

"""States at the times that a caller wants, from the polynomial of the step that passes them.

What is recorded is a log of pieces, each with keys (place in the grid)·rows + row, sorted once at
the end: the array API standard has no assignment to scattered places.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import device

from gpu._arrays import Array, namespace


class Record:
    """Recorder of one chunk: times (T,) for all rows or (rows, T), float64, increasing.

    After each step it asks the device once which rows have passed a time; without times, never.
    """

    def __init__(self, times: Array | None, state: Array) -> None:
        xp = namespace(state)
        self.xp, self.rows, self.length = xp, state.shape[1], 0
        self._log: list[tuple[Array, Array]] = []
        if times is None:
            return
        at = device(state)
        self.length = times.shape[-1]
        self._index = xp.arange(self.rows, dtype=xp.int64, device=at)
        self._passed = xp.zeros(self.rows, dtype=xp.int64, device=at)
        # A last time that never comes stands after each grid.
        never = xp.full((*times.shape[:-1], 1), float("inf"), dtype=xp.float64, device=at)
        self._grid = xp.reshape(xp.concat([times, never], axis=-1), (-1,))
        self._offset = self._index * (self.length + 1) * (times.ndim - 1)
        self._next = xp.take(self._grid, self._offset)
        self._start(state)

    def _start(self, state: Array) -> None:
        xp = self.xp
        due = self._next <= 0.0
        rows = xp.nonzero(due)[0]
        if rows.shape[0]:
            self._write(due, rows, xp.take(state, rows, axis=1))

    def _write(self, due: Array, rows: Array, values: Array) -> None:
        xp = self.xp
        keys = self._passed * self.rows + self._index
        self._log.append((xp.take(keys, rows), values))
        self._passed = self._passed + xp.astype(due, xp.int64)
        self._next = xp.take(self._grid, self._offset + self._passed)

    def update(
        self,
        method: Any,
        accepted: Array,
        t: Array,
        t_new: Array,
        dt: Array,
        y: Array,
        y_new: Array,
    ) -> None:
        """Record what the accepted steps from t to t_new have passed."""
        if not self.length:
            return
        xp = self.xp
        while True:
            due = accepted & (self._next <= t_new)
            rows = xp.nonzero(due)[0]
            if not rows.shape[0]:
                return
            past, whole = (xp.take(x, rows) for x in (self._next - t, t_new - t))
            share = xp.astype(past / whole, y.dtype)
            self._write(due, rows, method.interpolate(rows, share, y, y_new, dt))

    def take(self, rows: Array, ended: Array) -> None:
        """Go on with some rows alone; the `ended` ones get NaN for what they did not reach."""
        if not self.length:
            return
        self._close(ended)
        for name in ("_index", "_passed", "_offset", "_next"):
            setattr(self, name, self.xp.take(getattr(self, name), rows))

    def _close(self, ended: Array) -> None:
        xp = self.xp
        passed, index = xp.take(self._passed, ended), xp.take(self._index, ended)
        short = xp.nonzero(passed < self.length)[0]
        if not short.shape[0]:
            return
        passed, index = xp.take(passed, short), xp.take(index, short)
        for place in range(self.length):
            rows = xp.nonzero(passed <= place)[0]
            if rows.shape[0]:
                self._log.append((xp.take(index, rows) + place * self.rows, rows))

    def states(self, state: Array) -> Array | None:
        """The record (T, size, rows), once all rows have ended."""
        if not self.length:
            return None
        xp, size = self.xp, state.shape[0]
        pieces = [
            values
            if values.ndim == 2
            else xp.full(
                (size, values.shape[0]), float("nan"), dtype=state.dtype, device=device(state)
            )
            for _, values in self._log
        ]
        order = xp.argsort(xp.concat([keys for keys, _ in self._log]))
        whole = xp.take(xp.concat(pieces, axis=1), order, axis=1)
        return xp.permute_dims(xp.reshape(whole, (size, self.length, self.rows)), (1, 0, 2))

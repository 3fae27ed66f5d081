"""How a row of a batch ended."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """How a row ended; `text` says it in words.

    Examples
    --------
    >>> Status.DIVERGED.text
    'stopped: the weights overflowed'
    >>> Status(0).text
    'finished'
    """

    FINISHED = 0
    RUNNING = 1
    OUT_OF_STEPS = 2
    DIVERGED = 3
    STEP_TOO_SMALL = 4
    BAD_START = 5

    @property
    def text(self) -> str:
        """The status as a `numerics` trajectory words it."""
        return _TEXTS[self]


_TEXTS = {
    Status.FINISHED: "finished",
    Status.RUNNING: "running",
    Status.OUT_OF_STEPS: "stopped: the steps allowed did not suffice",
    Status.DIVERGED: "stopped: the weights overflowed",
    Status.STEP_TOO_SMALL: "stopped: the step became too small",
    Status.BAD_START: "stopped: the start or its velocity is not finite",
}

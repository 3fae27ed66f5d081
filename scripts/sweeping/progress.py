"""Progress of a sweep: a bar with rate and time left on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any

from .drive import Outcome

QUIET = 30.0  # seconds between two lines where there is no terminal


class Progress:
    """To be called with the outcome so far; `outcome` is the last one seen."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.bar: Any = None
        self.begun = self.said = time.monotonic()
        self.before = 0

    def __call__(self, outcome: Outcome) -> None:
        """Show how far it is."""
        first, self.outcome = self.outcome is None, outcome
        if first:
            self.begun = self.said = time.monotonic()
            self.before = outcome.done
            if sys.stderr.isatty():
                self._open(outcome)
        elif self.bar is not None:
            self.bar.update(outcome.done - self.bar.n)
            if outcome.unfinished:
                self.bar.set_postfix_str(f"{len(outcome.unfinished)} failed", refresh=False)
        elif time.monotonic() - self.said > QUIET:
            self.said = time.monotonic()
            print(self.line(self.said), file=sys.stderr, flush=True)

    def _open(self, outcome: Outcome) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=len(outcome.cases), initial=outcome.done, unit="case", leave=False,
                        file=sys.stderr, smoothing=0.05)  # fmt: skip

    def line(self, now: float) -> str:
        """Counts, rate and time left, in words."""
        assert self.outcome is not None
        done, total = self.outcome.done, len(self.outcome.cases)
        rate = (done - self.before) / max(now - self.begun, 1e-9)
        text = f"{done} of {total} cases, {rate:.3g} a second"
        if rate > 0 and done < total:
            text += f", about {duration((total - done) / rate)} left"
        bad = len(self.outcome.unfinished)
        return text + (f", {bad} failed" if bad else "")

    def close(self) -> None:
        """Clear the bar away."""
        if self.bar is not None:
            self.bar.close()


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(45), duration(150), duration(7300)
    ('45 s', '2 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

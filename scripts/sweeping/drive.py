"""A sweep as a library function: any cases, any engine, one file for each case."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .case import AnyCase
from .engines import Lost, one_blas_thread, outcomes
from .run import Limits, work
from .store import FINISHED, Record, Store


@dataclass(eq=False)
class Outcome:
    """How a sweep stands; complete when `sweep` returns it.

    Attributes
    ----------
    store : Store
        Where the records are.
    cases : dict of str to case
        What was asked for, by key, each once.
    found : int
        How many were there already.
    status : dict of str to str
        Of every case that is there.
    lost : dict of str to str
        Cases whose worker never answered, and why; another sweep tries them again.
    set_aside : list of Path
        Damaged files, where they are now.
    """

    store: Store
    cases: dict[str, AnyCase]
    found: int = 0
    status: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    set_aside: list[Path] = field(default_factory=list)

    @property
    def unfinished(self) -> dict[str, str]:
        """Cases that failed, were stopped or got lost, and why."""
        bad = {key: text for key, text in self.status.items() if text != FINISHED}
        return bad | self.lost

    @property
    def done(self) -> int:
        """How many cases have a record or got lost."""
        return len(self.status) + len(self.lost)

    def records(self) -> Iterator[Record]:
        """The records in the order of the cases, read one by one; lost cases are left out."""
        for key in self.cases:
            record = self.store.load(key)
            if record is not None:
                yield record

    def summary(self) -> str:
        """Counts on one line.

        >>> Outcome(Store("."), {}).summary()
        '0 of 0 cases done'
        """
        kinds = Counter(text.split(":")[0] for text in self.status.values() if text != FINISHED)
        if self.lost:
            kinds["lost"] = len(self.lost)
        parts = [f"{count} {kind}" for kind, count in sorted(kinds.items())]
        if self.found:
            parts.append(f"{self.found} found in the folder")
        if self.set_aside:
            parts.append(f"{len(self.set_aside)} damaged and set aside")
        tail = f" ({', '.join(parts)})" if parts else ""
        return f"{len(self.status)} of {len(self.cases)} cases done{tail}"


class UnwritableError(OSError):
    """A record could not be kept; the message says why, and what is."""


def sweep(
    cases: Iterable[AnyCase],
    folder: str | Path,
    engine: Any = None,
    *,
    limits: Limits | None = None,
    retry: bool = False,
    watch: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Compute every case that the folder does not hold yet; each worker writes its own files.

    The files are the same to the bit for any engine, number of workers, order of cases and number
    of interruptions, on machines of one kind with the same NumPy and SciPy.

    Parameters
    ----------
    cases : iterable of LinearCase, MergedCase and SoftmaxCase
        What is wanted; a case that comes twice counts once.
    folder : str or Path
        Of the sweep, made if there is none; workers must see it under the same name.
    engine
        None for this process; a number of processes; any `concurrent.futures.Executor`, or a
        function like `map`: see `sweeping.engines`. With a number, a script must keep what it
        does under ``if __name__ == "__main__":``, as its workers import it.
    limits : Limits, optional
        On the time and the evaluations of each case.
    retry : bool
        Whether to compute again the cases that failed or were stopped.
    watch : callable, optional
        Called with the `Outcome` so far, when the folder has been read and after each case.

    Returns
    -------
    Outcome
        A failing case is no error: its status says what happened.

    Raises
    ------
    OSError
        If the folder cannot be written, or no longer (a full disk, say); what is done is kept.
    TypeError
        If the engine is none.

    Examples
    --------
    >>> import tempfile
    >>> from sweeping import LinearCase
    >>> cases = [LinearCase([1.0], 10, init=0.1, seed=seed) for seed in (0, 1)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sweep(cases, folder).summary(), sweep(cases, folder).summary()
    ('2 of 2 cases done', '2 of 2 cases done (2 found in the folder)')
    """
    outcome = Outcome(Store(folder), {case.key: case for case in cases})
    outcome.store.prepare()
    todo = [case for key, case in outcome.cases.items() if not _known(outcome, key, retry)]
    if watch:
        watch(outcome)
    function = functools.partial(work, folder=str(outcome.store.folder), limits=limits or Limits())
    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        results = outcomes(engine, function, todo)
        if hasattr(results, "close"):
            stack.callback(results.close)
        for result in results:
            if isinstance(result, Lost):
                outcome.lost[result.case.key] = result.reason
            elif result.unkept:
                raise UnwritableError(
                    f"cannot write into {outcome.store.cases}: {result.unkept}; "
                    f"{outcome.summary()}, and kept"
                )
            else:
                outcome.status[result.key] = result.status
            if watch:
                watch(outcome)
    return outcome


def _known(outcome: Outcome, key: str, retry: bool) -> bool:
    """Note what the folder holds of a case; False if it has to be computed."""
    record, moved = outcome.store.find(key)
    if moved is not None:
        outcome.set_aside.append(moved)
    if record is None or (retry and record.status != FINISHED):
        return False
    outcome.found += 1
    outcome.status[key] = record.status
    return True


def kept(outcome: Outcome) -> int:
    """How many of the cases have a file now, those of a sweep that was cut short included."""
    with suppress(OSError):
        return len(outcome.cases.keys() & set(outcome.store.keys()))
    return len(outcome.status)

"""Where cases are computed: here, in processes of ours, or on an engine that the user has.

An engine is None for this process; a number of processes; anything with a `submit` like that of
`concurrent.futures.Executor` (threads, loky, mpi4py's, Dask's `client.get_executor(pure=False)`);
or a function like `map`, which may give results in any order (`Pool.imap_unordered`). Workers have
to import `sweeping`, `numerics` and `analytic`, and to write the folder of the sweep.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import console

# Cases sent to a foreign engine at once: enough for many workers, few enough for its scheduler.
WINDOW = 2000
Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Lost:
    """A case whose worker never answered; nothing is written, so that it will be tried again."""

    case: Any
    reason: str


class _BrokenError(Exception):
    """The executor is of no more use; `cases` were under way."""

    def __init__(self, cases: list[Any], reason: str) -> None:
        super().__init__(reason)
        self.cases, self.reason = cases, reason


def outcomes(engine: Any, function: Function, cases: list[Any]) -> Iterator[Any]:
    """`function` of every case as it comes, or `Lost`; closing the iterator stops the engine.

    Raises
    ------
    TypeError
        If the engine is none of those above.

    Examples
    --------
    >>> list(outcomes(None, abs, [-1, 2])), sorted(outcomes(map, abs, [-1, 2]))
    ([1, 2], [1, 2])
    """
    if engine is None:
        return map(function, cases)
    if isinstance(engine, int) and not isinstance(engine, bool):
        if engine < 1:
            raise ValueError(f"engine must be a number of processes >= 1, got {engine}")
        if engine == 1:
            return map(function, cases)
        return _processes(min(engine, max(len(cases), 1)), function, cases)
    if type(engine).__module__.partition(".")[0] == "distributed":
        return _executor(_Carrier(engine), function, cases)
    if hasattr(engine, "submit"):
        return _executor(engine, function, cases)
    if callable(engine):
        return iter(engine(function, cases))
    raise TypeError(f"engine must be None, a number, an executor or like map, got {engine!r}")


def _executor(executor: Any, function: Function, cases: list[Any]) -> Iterator[Any]:
    waiting = iter(cases)
    try:
        yield from _submitted(executor, function, waiting, WINDOW)
    except _BrokenError as broken:
        for case in [*broken.cases, *waiting]:
            yield Lost(case, broken.reason)


def _submitted(
    executor: Any, function: Function, waiting: Iterator[Any], window: int
) -> Generator[Any, None, None]:
    """Keep `window` cases under way; what is not begun when the iterator is closed is cancelled."""
    ready: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    running: dict[Future[Any], Any] = {}
    try:
        while True:
            while len(running) < window:
                try:
                    case = next(waiting)
                except StopIteration:
                    break
                try:
                    with _sigint_held():
                        future = executor.submit(function, case)
                except BrokenExecutor as error:
                    raise _BrokenError([case, *running.values()], _reason(error)) from error
                running[future] = case
                future.add_done_callback(ready.put)
            if not running:
                return
            future = _next(ready)
            case = running.pop(future)
            try:
                result = future.result()
            except BrokenExecutor as error:
                raise _BrokenError([case, *running.values()], _reason(error)) from error
            except Exception as error:
                result = Lost(case, _reason(error))
            yield result
    finally:
        for future in running:
            future.cancel()


def _next(ready: queue.SimpleQueue[Future[Any]]) -> Future[Any]:
    while True:
        with suppress(queue.Empty):
            return ready.get(timeout=1.0)  # without one, Windows would not see Ctrl-C


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {console.one_line(error)}".rstrip(": ")


# Processes of ours


def _processes(count: int, function: Function, cases: list[Any]) -> Iterator[Any]:
    """Worker processes; where one dies, those under way are tried again, one at a time.

    A case that kills its worker twice when it is alone is given up, and the others go on.
    """
    todo, suspects = deque(cases), deque[tuple[Any, int]]()
    while todo or suspects:
        deaths = None
        source, workers = _popped(todo), count
        if suspects:
            case, deaths = suspects.popleft()
            source, workers = iter([case]), 1
        try:
            # One more than there are workers waits, so that none is idle.
            with (
                pool(workers) as executor,
                closing(_submitted(executor, function, source, workers + 1)) as results,
            ):
                yield from results
        except _BrokenError as broken:
            if deaths is None:
                suspects.extend((case, 0) for case in broken.cases)
            elif deaths == 0:
                suspects.append((broken.cases[0], 1))
            else:
                yield Lost(broken.cases[0], "its worker process died")


def _popped(cases: deque[Any]) -> Iterator[Any]:
    while cases:
        yield cases.popleft()


@contextmanager
def pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes, each with one BLAS thread, that end with this one whatever ends it."""
    context = multiprocessing.get_context("spawn")
    with one_blas_thread():
        executor = ProcessPoolExecutor(workers, context, _begin)
        try:
            yield executor
        except BaseException:
            # What is under way cannot be cancelled; its file will be whole or not there at all.
            for process in list((executor._processes or {}).values()):
                process.kill()
            executor.shutdown(wait=True, cancel_futures=True)
            raise
        executor.shutdown()


def _begin() -> None:
    """Leave Ctrl-C to the process that started this one, and do not outlive it."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        parent.join()  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """The environment that new workers inherit."""
    before = dict(os.environ)
    console.single_thread_blas()
    added = [name for name in os.environ if name not in before]
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _sigint_held() -> Iterator[None]:
    """Let Ctrl-C wait while a process starts, which then never sees any (where masks exist)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# Dask


@contextmanager
def dask_executor(address: str) -> Iterator[Any]:
    """The executor of a running Dask cluster.

    Raises
    ------
    console.InputError
        If `distributed` is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise console.InputError(
            f"--dask: needs the package distributed (pip install 'iclflow[dask]'): {error}"
        ) from None
    with console.blame("--dask"):
        client = Client(address, timeout=10)
    try:
        yield client.get_executor(pure=False)
    finally:
        client.close()


class _Carrier:
    """Submits to Dask what its scheduler, which reads all tasks, need not be able to import."""

    def __init__(self, executor: Any) -> None:
        self.executor, self.call = executor, _portable_call()

    def submit(self, function: Function, case: Any) -> Any:
        """As an executor's."""
        return self.executor.submit(self.call, _homes(), pickle.dumps((function, case)))


def _portable_call() -> Any:
    """A function that travels by value, as it is none of its module's, and finds our modules."""

    def call(homes: list[str], content: bytes) -> Any:
        sys.path += [home for home in homes if home not in sys.path]
        function, case = pickle.loads(content)
        return function(case)

    return call


def _homes() -> list[str]:
    """Folders from which `sweeping`, `numerics` and `analytic` are imported here."""
    import numerics

    return [str(Path(__file__).resolve().parents[1]), str(Path(numerics.__file__).parents[1])]

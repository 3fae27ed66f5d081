"""Forks with limits: run functions in processes of their own, a few at a time."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

MEMORY = 6 * 2**30  # address space, above what a suite needs
PATIENCE = 600.0  # seconds by the clock without the processor: waiting, not computing


class Forks:
    """Run functions in forks, a few at a time, and give back what each returns."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._folder = ""

    def run(self, tasks: Iterator[tuple[Any, Callable[[], Any]]]) -> Iterator[tuple[Any, Any, int]]:
        """Yield (label, result or None, wait status) in the order in which the forks end."""
        running: dict[int, Any] = {}
        exhausted = False
        self._folder = tempfile.mkdtemp(prefix="mutation-")
        try:
            while running or not exhausted:
                while len(running) < self._jobs and not exhausted:
                    task = next(tasks, None)
                    exhausted = task is None
                    if task is not None:
                        running[self._start(task[1])] = task[0]
                if running:
                    pid, status = os.wait()
                    yield running.pop(pid), self._result(pid), status
        finally:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, body: Callable[[], Any]) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _child(lambda result: self._write(os.getpid(), result), body)
        return pid

    def _write(self, pid: int, result: Any) -> None:
        Path(self._folder, str(pid)).write_text(json.dumps(result), encoding="utf-8")

    def _result(self, pid: int) -> Any:
        path = Path(self._folder, str(pid))
        if not path.exists():
            return None
        text = path.read_text(encoding="utf-8")
        path.unlink()
        return json.loads(text)


def _child(write: Callable[[Any], None], body: Callable[[], Any]) -> NoReturn:
    """The whole life of a fork."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1) if os.environ.get("MUTATION_DEBUG") else (0, 1, 2):
            os.dup2(null, stream)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        write(body())
    except BaseException:
        traceback.print_exc()
        os._exit(70)
    os._exit(0)


def limit(seconds: float) -> None:
    """From now on, end this process after so much processor time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)  # kills with SIGPROF
    signal.setitimer(signal.ITIMER_REAL, PATIENCE + seconds)  # kills with SIGALRM

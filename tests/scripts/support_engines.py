"""What workers do in tests of engines; it imports nothing large, as each of them starts with it."""

import os
import signal
from pathlib import Path


def fragile(item):
    """Kill the worker: always for "fatal", the first time for the name of a file."""
    if item == "fatal":
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(item, str) and not Path(item).exists():
        Path(item).write_bytes(b"")
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def boom(item):
    if item == 2:
        raise RuntimeError("no such luck")
    return item

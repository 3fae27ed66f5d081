"""What all scripts share: one-line errors, files that appear whole, typed arguments.

A mistake of the user is an `InputError`: one line on stderr and exit status 2. Anything else that
is raised is a mistake of ours and keeps its traceback.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

MISUSE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BROKEN_PIPE = 141  # 128 + SIGPIPE


class InputError(Exception):
    """The user's input is at fault; the message is one line that names it."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and which leaves texts as they are written."""

    def __init__(self, *args: Any, **options: Any) -> None:
        ours = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(*args, **{**ours, **options})

    def error(self, message: str) -> NoReturn:
        """Raise `InputError` in place of printing the usage and exiting."""
        raise InputError(f"{message} (see {self.prog} --help)")


def single_thread_blas() -> None:
    """Hold BLAS to one thread, unless the user says otherwise; call it before NumPy is imported.

    The matrices here are small, and two threads that share out a 4×4 product wait for each other.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def run(body: Callable[[list[str] | None], int], argv: list[str] | None, program: str) -> int:
    """Run a script's body and return its exit status.

    `InputError` and `OSError` (a full disk, say) give one line on stderr and status 2; Ctrl-C
    gives 130; ``--help`` gives 0. Other exceptions propagate.
    """
    single_thread_blas()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without Greek letters gets question marks, not an error.
            stream.reconfigure(errors="replace")
    try:
        status = body(argv)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # argparse, after --help
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else MISUSE
    except BrokenPipeError:
        # The reader (`head`, say) has had enough; keep the interpreter from flushing again.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (InputError, OSError) as error:
        print(f"{program}: error: {one_line(error)}", file=sys.stderr)
        return MISUSE
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return INTERRUPTED


def one_line(error: BaseException | str) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())


@contextmanager
def blame(argument: str) -> Iterator[None]:
    """Turn what a library says about bad input into an `InputError` that names the argument."""
    try:
        yield
    except OSError as error:
        reason = _in_the_way(error) or error.strerror or one_line(error)
        raise InputError(f"{argument}: {reason}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{argument}: {one_line(error)}") from error


def _in_the_way(error: OSError) -> str | None:
    """Which file stands where a folder is wanted, if that is the error."""
    if not isinstance(error, FileExistsError | NotADirectoryError) or error.filename is None:
        return None
    return _file_on(Path(os.fsdecode(error.filename)))


def _file_on(path: Path) -> str | None:
    """Which file stands on the way to a folder, or in its place."""
    files = [place for place in (path, *path.parents) if place.exists() and not place.is_dir()]
    return f"{files[0].name} is a file, not a folder" if files else None


# Files


def check_named(path: str | Path, argument: str, kind: str = "file") -> None:
    """Raise `InputError` where a file, or a folder, is to be named and is not."""
    if not str(path).strip():
        raise InputError(f"{argument}: must name a {kind}, got nothing")


def no_folder(path: str | Path) -> str:
    """Why there is no such folder."""
    return _file_on(Path(path)) or f"there is no folder {path}"


def make_folder(path: str | Path, argument: str = "--out", *, files: Sequence[str] = ()) -> Path:
    """Return a folder, made if there is none, in which these files can be written.

    Raises
    ------
    InputError
        If it cannot be made, or one of the files cannot be written.
    """
    check_named(path, argument, "folder")
    with blame(argument):
        folder = Path(os.path.realpath(path))  # unlike resolve(), at peace with a loop of links
        folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        check_writable(folder / name, argument)
    return folder


def check_writable(path: str | Path, argument: str, *, suffixes: Sequence[str] = ()) -> Path:
    """Return where to write, or raise `InputError` naming the argument; call it before long work.

    Links are followed. `suffixes` lists the endings that are allowed, in small letters.
    """
    check_named(path, argument)
    if "\0" in str(path):
        raise InputError(f"{argument}: must name a file, got a name with a null character")
    target = Path(os.path.realpath(path))
    if suffixes and target.suffix.lower() not in suffixes:
        raise InputError(f"{argument}: must end in {' or '.join(suffixes)}, got {path}")
    if not target.parent.is_dir():
        raise InputError(f"{argument}: {no_folder(Path(path).parent)}")
    if target.is_dir():
        raise InputError(f"{argument}: {path} is a folder")
    if target.exists() and not target.is_file():
        raise InputError(f"{argument}: {path} is not a regular file")
    if target.exists() and not os.access(target, os.W_OK):
        raise InputError(f"{argument}: {path} is write-protected")
    from numerics.files import temporary_beside

    probe = temporary_beside(target)
    try:
        # Permission bits do not tell all: a read-only disk, /proc, the rights of root.
        probe.open("xb").close()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{argument}: cannot write into {Path(path).parent}: "
                         f"{error.strerror}") from error  # fmt: skip
    return target


def write_atomically(path: str | Path, data: str | bytes) -> None:
    """Write a whole file, or nothing."""
    from numerics.files import written_atomically

    with written_atomically(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


# Types of arguments


def real(
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    infinite: bool = False,
) -> Callable[[str], float]:
    """An argparse type: a number within bounds, finite unless `infinite`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"must be a number, got {text!r}{_separators(text)}"
            ) from None
        if math.isnan(value) or (math.isinf(value) and not (infinite and value > 0)):
            raise argparse.ArgumentTypeError(f"must be finite, got {text}")
        if value <= above:
            raise argparse.ArgumentTypeError(f"must be > {above:g}, got {text}")
        if value < at_least:
            raise argparse.ArgumentTypeError(f"must be >= {at_least:g}, got {text}")
        if value > at_most and not math.isinf(value):
            raise argparse.ArgumentTypeError(f"must be <= {at_most:g}, got {text}")
        return value

    return parse


def integer(at_least: int) -> Callable[[str], int]:
    """An argparse type: a whole number that is at least `at_least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"must be a whole number, got {text!r}{_separators(text)}"
            ) from None
        if value < at_least:
            raise argparse.ArgumentTypeError(f"must be >= {at_least}, got {text}")
        return value

    return parse


def _separators(text: str) -> str:
    """What to say of 1.6,1.0 beside that it is no number; it may be 1.6 and 1.0, or 1,6."""
    if "," not in text and ";" not in text:
        return ""
    return "; separate numbers by spaces, write decimals with a point"


# Fourth powers of these neither overflow nor vanish.
LEAST, MOST = 1e-30, 1e30
POSITIVE = real(above=0, at_least=LEAST, at_most=MOST)
NOT_NEGATIVE = real(at_least=0, at_most=MOST)


def flag(name: str) -> str:
    """The option that argparse stores under a name."""
    return "--" + name.replace("_", "-")


# The terminal


def colours(stream: Any = None) -> bool:
    """Whether to colour what goes to `stream` (stdout): a terminal, and NO_COLOR not set."""
    stream = sys.stdout if stream is None else stream
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")


def paint(text: str, code: str) -> str:
    """`text` between ANSI codes (``"1"`` bold, ``"33"`` yellow) where the terminal shows them."""
    return f"\033[{code}m{text}\033[0m" if colours() else text


def say(text: str) -> None:
    """Print a line at once; if the reader has gone, the work goes on without one."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def wrote(*paths: str | Path | None) -> None:
    """Say which files were written, as seen from here; None is a file not asked for."""
    shown = [os.path.relpath(path) for path in paths if path is not None]
    if shown:
        say("\nwrote " + ", ".join(shown))


def progress(note: str) -> None:
    """Say on stderr what takes long, if a person is looking."""
    if sys.stderr.isatty():
        print(note, file=sys.stderr, flush=True)

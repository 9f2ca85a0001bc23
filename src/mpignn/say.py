"""What the program says on standard output and error, which may fail.

A reader may have seen enough, a disk be full, a terminal know few letters, a descriptor be closed: none of that may
end work that goes well.  A line may be drawn that the next one replaces, such as a bar.
"""

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from mpignn.errors import MpignnError, ResourceError, Stopped

log = logging.getLogger(__name__)

_ERASE = "\r\x1b[K"
_START_S = 0.7      # that Python may have taken to start


class _Screen:
    """What was said last.

    Attributes:
        lock: Held while something is said: the work and what shows how far it is are two threads.
        said_at: `time.monotonic` of the last line.
        drawn_on: Where a line stands that is to be replaced; None: there is none.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.said_at = time.monotonic() - _START_S
        self.drawn_on: TextIO | None = None


_screen = _Screen()


def set_up() -> None:
    """Make both streams take any text.  Not collective; to be called before any file is opened.

    A descriptor that is closed would go to the next file that is opened, and what is said into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)      # gets the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = _stream(1)
    if sys.stderr is None:
        sys.stderr = _stream(2)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):      # others stand in its place in a notebook, or in tests
            stream.reconfigure(errors="backslashreplace")


def tell(text: str, on_stderr: bool = False) -> None:
    """Say how work goes; where that fails, the work goes on in silence.  Not collective.

    Args:
        on_stderr: Whether standard output is for something else.
    """
    with line():
        _write(text + "\n", on_stderr)


def draw(text: str, on_stderr: bool = False) -> None:
    """Draw a line over the one that was drawn before; other lines make it vanish.  Not collective."""
    with _screen.lock:
        _write(_ERASE + text, on_stderr)
        _screen.drawn_on = sys.stderr if on_stderr else sys.stdout


def erase() -> None:
    """Let the line vanish that was drawn.  Not collective."""
    with _screen.lock:
        drawn_on, _screen.drawn_on = _screen.drawn_on, None
        if drawn_on is not None:
            _write(_ERASE, drawn_on is sys.stderr)


@contextmanager
def line() -> Iterator[None]:
    """A block that says a line by other means, such as the log.  Not collective."""
    with _screen.lock:
        erase()
        yield
        _screen.said_at = time.monotonic()


def quiet_s() -> float:
    """For how many seconds nothing was said.  Not collective."""
    return time.monotonic() - _screen.said_at


def deliver(text: str, end: str = "\n") -> None:
    """Write to standard output what the command is for.  Not collective.

    Raises:
        BrokenPipeError: Its reader has gone.
        ResourceError: It cannot be written.
    """
    try:
        with line():
            print(text, end=end, flush=True)
    except OSError as error:
        _silence()
        if error.errno == errno.EPIPE:
            raise
        raise ResourceError(f"standard output: cannot be written: {error.strerror}") from error


def complain(text: str) -> None:
    """One line on standard error, if that can be.  Not collective."""
    with line():
        _write(f"mpignn: {text}\n", on_stderr=True)


def print_error(error: MpignnError) -> None:
    """One line on standard error.  Not collective."""
    complain(f"{'stopped' if isinstance(error, Stopped) else 'error'}: {error}")


def _write(text: str, on_stderr: bool) -> None:
    """Write at once, if that can be."""
    stream = sys.stderr if on_stderr else sys.stdout
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _silence(2 if on_stderr else 1)     # if nobody is there to be told, the exit code still tells
        if not on_stderr and error.errno != errno.EPIPE:
            log.warning("standard output takes no more: %s; the work goes on", error.strerror)


def _stream(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", closefd=False)


def _silence(number: int = 1) -> None:
    """Let a stream lead nowhere, so that what is left of it in a buffer does no harm at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)

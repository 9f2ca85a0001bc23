"""What the program says on standard output and error, which may fail.

A reader may have seen enough, a disk be full, a terminal know few letters, a descriptor be closed: none of that may
end work that goes well.
"""

import errno
import logging
import os
import sys
from typing import TextIO

from mpignn.errors import MpignnError, ResourceError, Stopped

log = logging.getLogger(__name__)


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


def tell(text: str, end: str = "\n") -> None:
    """Say on standard output how work goes; where that fails, the work goes on in silence.  Not collective."""
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        _silence()
        if error.errno != errno.EPIPE:
            log.warning("standard output takes no more: %s; the work goes on", error.strerror)


def deliver(text: str, end: str = "\n") -> None:
    """Write to standard output what the command is for.  Not collective.

    Raises:
        BrokenPipeError: Its reader has gone.
        ResourceError: It cannot be written.
    """
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        _silence()
        if error.errno == errno.EPIPE:
            raise
        raise ResourceError(f"standard output: cannot be written: {error.strerror}") from error


def complain(text: str) -> None:
    """One line on standard error, if that can be.  Not collective."""
    try:
        print(f"mpignn: {text}", file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)        # nobody is there to be told; the exit code still tells


def print_error(error: MpignnError) -> None:
    """One line on standard error.  Not collective."""
    complain(f"{'stopped' if isinstance(error, Stopped) else 'error'}: {error}")


def _stream(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", closefd=False)


def _silence() -> None:
    """Let standard output lead nowhere, so that what is left of it in a buffer does no harm at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

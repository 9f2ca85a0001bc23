"""Whether somebody watches what this process prints, and how wide the terminal is.

A launcher hands its ranks a pipe (MPICH's) or a terminal of its own making (Open MPI's), whatever it does with what
comes through it.  So its own standard output counts, as the kernel shows it to processes of the same machine and user.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mpignn.launcher import launched

_LAUNCHERS = ("mpirun", "mpiexec", "prterun", "orterun")        # how their processes are called
_TO_FILES = (b"output", b"outfile")         # in options by which they write what ranks say to files


def columns(stream: int = 1, proc: Path = Path("/proc")) -> int | None:
    """Width of the terminal at which a stream is read; None if it is not, or nobody can tell.  Not collective.

    Args:
        stream: 1 for standard output, 2 for standard error.
        proc: Where the kernel shows processes.
    """
    if os.environ.get("TERM") == "dumb" or _is_file(stream):
        return None
    if launched() is None:
        return _width(stream)
    for pid in _ancestors(proc, os.getpid()):
        if _text(proc / str(pid) / "comm").startswith(_LAUNCHERS):
            words = _bytes(proc / str(pid) / "cmdline").split(b"\0")
            to_files = any(word.startswith(b"-") and what in word for word in words for what in _TO_FILES)
            return None if to_files else _width_of(proc / str(pid) / "fd" / str(stream))
    return None


def _ancestors(proc: Path, pid: int) -> Iterator[int]:
    while pid > 1:
        found = _text(proc / str(pid) / "stat").rpartition(")")[2].split()
        pid = int(found[1]) if len(found) > 1 else 0
        yield pid


def _width_of(path: Path) -> int | None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:         # of another user, or gone
        return None
    try:
        return _width(handle)
    finally:
        os.close(handle)


def _width(handle: int) -> int | None:
    return os.get_terminal_size(handle).columns or 80 if os.isatty(handle) else None


def _is_file(handle: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(handle).st_mode)
    except OSError:
        return True


def _text(path: Path) -> str:
    return _bytes(path).decode(errors="replace")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""

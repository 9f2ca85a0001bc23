"""A long call of a library in a child process: a signal ends it at once, while no handler runs inside the call."""

import ctypes
import mmap
import os
import signal
import sys
from collections.abc import Callable

import numpy as np

_DIES_WITH_PARENT = 1       # PR_SET_PDEATHSIG of prctl(2)
_TEXT_BYTES = 4096


def call_apart(function: Callable[[], np.ndarray], count: int) -> np.ndarray:
    """What a function returns, found in a child process.  Not collective.

    The child is forked, so it sees all that the caller has.  An exception that a signal handler raises here ends it.
    Where MPI runs no process may be started: the function is called as it is.

    Args:
        function: Returns (count,) integers.
        count: How many.

    Returns:
        (count,) int64.

    Raises:
        RuntimeError: The function failed, no child could be made, or something ended it, as the system does when memory
            is out.
    """
    if "mpi4py.MPI" in sys.modules:
        return function().astype(np.int64)
    try:
        shared = mmap.mmap(-1, count * 8 + _TEXT_BYTES)
        pid = os.fork()
    except OSError as error:
        raise RuntimeError(f"no process of its own could be started: {error.strerror}") from error
    if pid == 0:
        _work(function, shared, count)
    try:
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise RuntimeError(f"ended by {signal.Signals(-code).name}")
    if code:
        raise RuntimeError(shared[count * 8:].rstrip(b"\0").decode(errors="replace"))
    return np.frombuffer(shared, np.int64, count).copy()


def _work(function: Callable[[], np.ndarray], shared: mmap.mmap, count: int) -> None:
    """What the child does; does not return."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
        np.frombuffer(shared, np.int64, count)[:] = function()
        code = 0
    except BaseException as error:
        text = f"{type(error).__name__}: {error}".encode()[:_TEXT_BYTES]
        shared[count * 8:count * 8 + len(text)] = text
    finally:
        os._exit(code)      # past all that belongs to the parent

"""What a call in a child process returns, and how it fails."""

import errno
import os
import signal
import time

import numpy as np
import pytest

from mpignn.child import call_apart


def test_a_call_apart_returns_what_it_finds():
    seen = np.arange(5, dtype=np.int32)
    found = call_apart(lambda: seen + os.getpid(), 5)
    assert found.dtype == np.int64 and np.array_equal(found - found[0], seen) and found[0] != os.getpid()
    assert call_apart(lambda: np.empty(0, np.int64), 0).shape == (0,)


def test_a_call_apart_that_fails_says_how():
    def fail() -> np.ndarray:
        raise MemoryError("no room for π")

    with pytest.raises(RuntimeError, match="^MemoryError: no room for π$"):
        call_apart(fail, 3)
    with pytest.raises(RuntimeError, match="^ended by SIGKILL$"):
        call_apart(lambda: os.kill(os.getpid(), signal.SIGKILL), 3)


@pytest.mark.parametrize("call", ["os.fork", "mmap.mmap"])
def test_a_call_apart_that_cannot_start_says_why(call, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(call, refuse)
    with pytest.raises(RuntimeError, match="^no process of its own could be started: Cannot allocate memory$"):
        call_apart(lambda: np.zeros(1), 1)


def test_an_exception_of_a_handler_ends_a_call_apart(tmp_path):
    def give_up(*_):
        raise KeyboardInterrupt

    def work() -> np.ndarray:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(100)
        return np.zeros(1)

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            call_apart(work, 1)
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)

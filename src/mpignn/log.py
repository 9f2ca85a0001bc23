"""Lines that say which rank speaks, and what it is doing.

A rank is always in a phase, such as ``load graph``; errors are reported with it.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_state = {"who": "rank 0/1", "phase": "start"}


def set_up(level: str, who: str, is_first: bool) -> None:
    """Write log lines to stderr, prefixed by ``who``.  Not collective.

    Args:
        level: debug, info or warning.  At debug all ranks speak, at info only the first of each role,
            warnings are everybody's.
        who: Role and rank, such as ``trainer 0/3 [world 1]``.
        is_first: Whether this rank is the first of its role.
    """
    _state["who"] = who
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {who} %(message)s", "%H:%M:%S"))
    root = logging.getLogger("mpignn")
    root.handlers[:] = [handler]
    root.propagate = False
    wanted = logging.getLevelName(level.upper())
    root.setLevel(wanted if is_first or level == "debug" else max(wanted, logging.WARNING))


def who() -> str:
    """Role and rank of this process, as in its log lines."""
    return _state["who"]


def current_phase() -> str:
    """What this process is doing."""
    return _state["phase"]


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Name what happens inside; the name stays the current one if an error leaves the block."""
    before, _state["phase"] = _state["phase"], name
    started = time.perf_counter()
    yield
    logging.getLogger(__name__).debug("%s: %.3f s", name, time.perf_counter() - started)
    _state["phase"] = before

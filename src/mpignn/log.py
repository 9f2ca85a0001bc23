"""Lines that say which rank speaks, and what it is doing.

A rank is always in a phase, such as ``load graph``; errors are reported with it.  What it waits for, and when
something last happened, are noted for the `watchdog`.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from mpignn import say

_LAST_PHASES = 20


@dataclass
class Activity:
    """What this process is doing.

    Attributes:
        who: Role and rank, as in log lines.
        phase: What it does.
        idle: Whether nothing needs to happen in that phase, as where a server only serves.
        steady: Whether something happens in it all the time, as where batch follows batch.
        detail: Where in the phase it is; empty where that is not said.
        waits_for: Whom it waits for; empty while it works.
        began: `time.monotonic` when the phase began.
        beat: `time.monotonic` when something last happened.
        phases: The last phases, and when they began, by `time.time`.
    """

    who: str = "rank 0/1"
    phase: str = "start"
    idle: bool = False
    steady: bool = False
    detail: str = ""
    waits_for: str = ""
    began: float = 0.0
    beat: float = 0.0
    phases: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=_LAST_PHASES))


activity = Activity(began=time.monotonic(), beat=time.monotonic())


def set_up(level: str, who: str, is_first: bool) -> None:
    """Write log lines to stderr, prefixed by ``who``.  Not collective.

    Args:
        level: debug, info or warning.  At debug all ranks speak, at info only the first of each role,
            warnings are everybody's.
        who: Role and rank, such as ``trainer 0/3 [world 1]``.
        is_first: Whether this rank is the first of its role.
    """
    activity.who = who
    handler = _Lines(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {who} %(message)s", "%H:%M:%S"))
    root = logging.getLogger("mpignn")
    root.handlers[:] = [handler]
    root.propagate = False
    wanted = logging.getLevelName(level.upper())
    root.setLevel(wanted if is_first or level == "debug" else max(wanted, logging.WARNING))


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines as all others that are said."""

    def emit(self, record: logging.LogRecord) -> None:
        with say.line():
            super().emit(record)


def who() -> str:
    """Role and rank of this process, as in its log lines."""
    return activity.who


def current_phase() -> str:
    """What this process is doing."""
    return activity.phase


def beat(detail: str | None = None) -> None:
    """Note that something has happened; and where in the phase, unless that is still the same.  Not collective."""
    activity.beat = time.monotonic()
    if detail is not None:
        activity.detail = detail


@contextmanager
def phase(name: str, idle: bool = False, steady: bool = False) -> Iterator[None]:
    """Name what happens inside; the name stays the current one if an error leaves the block.

    Args:
        name: Name of the phase.
        idle, steady: As in `Activity`.
    """
    before = activity.phase, activity.idle, activity.steady, activity.began
    activity.phase, activity.idle, activity.steady, activity.began = name, idle, steady, time.monotonic()
    activity.phases.append((time.time(), name))
    beat("")
    started = time.perf_counter()
    yield
    logging.getLogger(__name__).debug("%s: %.3f s", name, time.perf_counter() - started)
    activity.phase, activity.idle, activity.steady, activity.began = before
    beat("")

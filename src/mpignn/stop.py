"""Being asked to stop, by a signal or a time limit.

A handler only notes the wish, however often it comes; the training loop looks for it at every step, and all trainers
stop at the same one.  Ctrl-C (SIGINT) is such a wish, too; when it comes again, the process ends at once.  Where
nothing looks for wishes, Ctrl-C interrupts.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mpignn.errors import Stopped
from mpignn.launcher import is_first

if TYPE_CHECKING:
    import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 130
"""Exit code of what Ctrl-C has ended, as shells give it."""

_SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
_ENDING = (signal.SIGTERM, signal.SIGINT)
_SAME_S = 0.5           # what comes so soon after a Ctrl-C is the same one: from the terminal, and from the launcher
_AGAIN_S = 0.02
_BY_HAND = 1 << 20      # more than there are ranks

_wishes: list[str] = []         # why to stop, in the order in which the wishes came
_interrupted_at: list[float] = []       # when the first Ctrl-C came
_ended_by = [int(signal.SIGINT)]        # what has raised KeyboardInterrupt
_deadline = [float("inf")]
_heard_by_hand = [False]        # whether all know that a rank was interrupted
_unbreakable: set[CodeType] = set()


class _Group(Protocol):
    """What of a `comm.group.Group` is needed here."""

    def all_sum(self, array: "np.ndarray") -> "np.ndarray": ...


def listen() -> None:
    """From now on take SIGUSR1, SIGTERM and SIGINT for a wish.  Not collective; harmless when done already."""
    for number in _SIGNALS:
        _handle(number, _note)


def stop_listening() -> None:
    """Let signals end the process again; one that was noted meanwhile does so at once.  Not collective.

    SIGINT and SIGTERM raise KeyboardInterrupt, so that what was begun is removed; where a library loses it, and in what
    is `unbreakable`, a little later.
    """
    sys.unraisablehook = _lost
    for number in _SIGNALS:
        _handle(number, _interrupt if number in _ENDING else signal.SIG_DFL)
    noted = _wishes[:]
    _wishes.clear()
    for name in noted:
        os.kill(os.getpid(), getattr(signal, name))


def interrupted() -> tuple[str, int]:
    """What to say of a KeyboardInterrupt, and the exit code of the signal that raised it.  Not collective.

    From now on such signals are ignored, as the process is about to end.
    """
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    return ("terminated", 128 + signal.SIGTERM) if _ended_by[0] == signal.SIGTERM else ("interrupted", INTERRUPTED)


def unbreakable(function: F) -> F:
    """Mark a function that a library calls, which would lose a KeyboardInterrupt: it is raised a little later."""
    _unbreakable.add(function.__code__)
    return function


def limit(seconds: float | None) -> None:
    """Wish to stop when so many seconds have passed from now on; None: never.  Not collective."""
    _deadline[0] = float("inf") if seconds is None else time.monotonic() + seconds


def wish() -> str | None:
    """Why this process was asked to stop; None if it was not.  Not collective."""
    if _wishes:
        return _wishes[0]
    return "--time-limit" if time.monotonic() >= _deadline[0] else None


def vote() -> int:
    """What this process has to say to a sum over a group, which all then give to `heard`.  Not collective."""
    return (wish() is not None) + _BY_HAND * ("SIGINT" in _wishes)


def heard(votes: float) -> bool:
    """Whether a rank was asked to stop, by the sum of all votes.  Not collective."""
    _heard_by_hand[0] |= votes >= _BY_HAND
    return votes > 0


def asked(group: _Group) -> bool:
    """Whether a rank of a group was asked to stop, the same on all of them.  Collective over the group."""
    import numpy as np  # here, so that signals are listened to before it is loaded
    return heard(int(group.all_sum(np.array([vote()], np.int64))[0]))


def stopped(text: str) -> Stopped:
    """What to raise on all ranks that have heard of a wish; its exit code is that of the wish.  Not collective."""
    error = Stopped(text)
    if _heard_by_hand[0]:
        error.exit_code = INTERRUPTED
    return error


def check(group: _Group, when: str = "") -> None:
    """Raise `Stopped` on all ranks of a group if one of them was asked to stop.  Collective over the group.

    Args:
        group: Such as ``g.trainers``.
        when: Said in the message.
    """
    if asked(group):
        raise stopped(f"asked to stop{when and ' '}{when}")


def _handle(number: int, handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """Set a handler; a shell that puts a job in the background lets it ignore SIGINT, and so it shall be."""
    if number != signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, handler)


def _note(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if number == signal.SIGINT:
        _interrupted_at.append(now)
        if now - _interrupted_at[0] > _SAME_S:
            _end()
    _wishes.append(signal.Signals(number).name)


def _end() -> None:
    """End the process at once, and so the job; the first rank says so."""
    if is_first():
        os.write(2, b"mpignn: interrupted again: ended at once\n")      # past buffers, which may be in use
    else:
        time.sleep(0.1)
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _ended_by[0] = number
    inner = frame
    while inner is not None:
        if inner.f_code in _unbreakable:
            _interrupt_again()
            return
        inner = inner.f_back
    raise KeyboardInterrupt


def _lost(unraisable: "sys.UnraisableHookArgs") -> None:
    """Told by Python of an exception that nobody can catch, as in what happens when an object is collected."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        _interrupt_again()
    else:
        sys.__unraisablehook__(unraisable)


def _interrupt_again() -> None:
    later = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), _ended_by[0]))
    later.daemon = True
    later.start()

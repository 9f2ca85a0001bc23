"""Being asked to stop, by a signal or a time limit.

A handler only notes the wish, however often it comes; the training loop looks for it at every step, and all trainers
stop at the same one.
"""

import os
import signal
import time

from mpignn.errors import Stopped

_SIGNALS = (signal.SIGUSR1, signal.SIGTERM)

_wishes: list[str] = []         # why to stop, in the order in which the wishes came
_deadline = [float("inf")]


def listen() -> None:
    """From now on take SIGUSR1 and SIGTERM for a wish.  Not collective; harmless when done already."""
    for number in _SIGNALS:
        signal.signal(number, _note)


def stop_listening() -> None:
    """Let signals end the process again; one that was noted meanwhile does so at once.  Not collective."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    for name in _wishes:
        os.kill(os.getpid(), getattr(signal, name))


def limit(seconds: float | None) -> None:
    """Wish to stop when so many seconds have passed from now on; None: never.  Not collective."""
    _deadline[0] = float("inf") if seconds is None else time.monotonic() + seconds


def wish() -> str | None:
    """Why this process was asked to stop; None if it was not.  Not collective."""
    if _wishes:
        return _wishes[0]
    return "--time-limit" if time.monotonic() >= _deadline[0] else None


def asked(group) -> bool:
    """Whether a rank of a group was asked to stop, the same on all of them.  Collective over the group."""
    import numpy as np  # here, so that signals are listened to before it is loaded
    return bool(group.all_sum(np.array([wish() is not None], np.int64))[0])


def check(group, when: str = "") -> None:
    """Raise `Stopped` on all ranks of a group if one of them was asked to stop.  Collective over the group.

    Args:
        group: Such as ``g.trainers``.
        when: Said in the message.
    """
    if asked(group):
        raise Stopped(f"asked to stop{when and ' '}{when}")


def _note(number: int, frame) -> None:
    _wishes.append(signal.Signals(number).name)

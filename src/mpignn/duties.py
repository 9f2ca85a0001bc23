"""What a process does for others, and ahead of time, whenever its main thread waits or has a moment.

MPI's progress is one for the process, and so is this: a wait that did not serve could wait for a rank that waits to be
served.
"""

import time
from collections.abc import Callable

Duty = Callable[[], None]

_duties: list[Duty] = []
_began_s: float | None = None       # of the duties that are being done
_spent_s = 0.0


def serve_while_waiting(duty: Duty) -> None:
    """From now on call ``duty`` over and over in every wait of this process, and in `serve`.  Not collective.

    It must not wait, and what it raises is raised by whoever waits.
    """
    _duties.append(duty)


def stop_serving(duty: Duty) -> None:
    """Undo `serve_while_waiting`.  Not collective."""
    _duties.remove(duty)


def serve() -> None:
    """Do all duties once.  Not collective."""
    global _began_s, _spent_s
    if not _duties:
        return
    outermost = _began_s is None        # a duty may call what serves
    if outermost:
        _began_s = time.perf_counter()
    try:
        for duty in tuple(_duties):     # one may end another
            duty()
    finally:
        if outermost and _began_s is not None:
            _spent_s += time.perf_counter() - _began_s
            _began_s = None


def own_time() -> float:
    """Seconds of a clock that stands still while duties are done.  Not collective."""
    return time.perf_counter() - _spent_s


def has_duties() -> bool:
    """Whether there are any.  Not collective."""
    return bool(_duties)

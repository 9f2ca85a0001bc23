"""What a process does for others, and ahead of time, whenever its main thread waits or has a moment.

MPI's progress is one for the process, and so is this: a wait that did not serve could wait for a rank that waits to be
served.
"""

from collections.abc import Callable

Duty = Callable[[], None]

_duties: list[Duty] = []


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
    for duty in tuple(_duties):     # one may end another
        duty()


def has_duties() -> bool:
    """Whether there are any.  Not collective."""
    return bool(_duties)

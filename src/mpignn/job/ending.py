"""How a job ends: all ranks leave together, or one that an exception leaves ends the others.

An error that all ranks share is raised on all of them, and all leave in order.  Anything else that leaves the program
on one rank ends the whole job, since the others would wait for ever.
"""

import ctypes
import os
import sys
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeGuard

from mpignn import log, say, stop
from mpignn.errors import LeftBehind, MpignnError, ResourceError
from mpignn.storage import claim

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported

FIRST_TELLS_S = 0.3    # that the others leave to the first rank, where all are interrupted together
_RELEASE_S = 1.0        # that a disk is waited for when the job is aborted


def hook_exceptions(world: "World") -> None:
    """Let an exception that leaves the program end the job with rank, role and phase.  Not collective.

    Where another hook is in place, it tells of the exception, and the job ends behind it.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda kind, error, trace: _uncaught(world, error)


def is_agreed(error: BaseException | None) -> TypeGuard[MpignnError]:
    """Whether an error is one that all ranks share.  Not collective."""
    return isinstance(error, MpignnError) and error.agreed


def _uncaught(world: "World", error: BaseException) -> None:
    """End a program that an exception leaves."""
    if is_agreed(error):
        if world.trainer_index == 0:
            say.print_error(error)
        raise SystemExit(error.exit_code)
    if world.size == 1:
        sys.__excepthook__(type(error), error, error.__traceback__)
    else:
        abort(world, error)


def leave(world: "World") -> None:
    """The end of the process: in order with all others, unless an exception has led here past all that is ours."""
    error = getattr(sys, "last_value", None)
    if error is not None and not is_agreed(error) and world.size > 1:
        abort(world, error, told=True)
    try:
        # Also with an error that only the trainers share: the servers wait in here, or hear of it where they wait.
        world.leave(error.exit_code if is_agreed(error) else 0)
    except MpignnError as lonely:
        abort(world, lonely)
    if is_agreed(error):      # another hook may have told of it, which leaves no exit code
        world.end()
        _exit(error.exit_code)


def _exit(code: int) -> None:
    """End the process past what Python has left to do, not past what the libraries have.

    MPICH tells its launcher there that the rank is done; else that would end the other ranks by SIGKILL, and have its
    exit code from these.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    ctypes.CDLL(None).exit(code)


def abort(world: "World | None", error: BaseException, told: bool = False) -> NoReturn:
    """Print an exception with rank, role and phase, and end the whole job.  Does not return.

    Args:
        told: Whether its traceback has been printed.
    """
    where, code = f"{log.who()} failed in phase {log.current_phase()!r}", 1
    if isinstance(error, KeyboardInterrupt):
        told_as, code = stop.interrupted()
        if world is not None and world.rank > 0:
            time.sleep(FIRST_TELLS_S)      # which ends this rank, too, if it was interrupted itself
        say.complain(f"{told_as}: {log.who()} in phase {log.current_phase()!r}")
    elif isinstance(error, ResourceError | MemoryError):
        say.complain(f"error: {where}: {error}")        # which line asked for what is not there says little
        code = ResourceError.exit_code
    elif isinstance(error, LeftBehind):
        code = error.exit_code
    elif told:
        say.complain(f"{where}: {type(error).__name__}, told above: the job is ended")
    else:
        say.complain(f"{where}:\n{''.join(traceback.format_exception(error))}")
    claim.release_all(_RELEASE_S)
    time.sleep(0.2)     # MPICH's launcher drops what it has not passed on when the job is aborted
    if world is not None:
        world.abort(code)
    os._exit(code)

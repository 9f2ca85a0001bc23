"""What can go wrong, by family; the exit code of a job follows from the class.

Exit codes: 2 usage, 3 data, 4 memory or disk, 75 stopped on request, 1 anything else.
"""

import errno
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Self


class MpignnError(Exception):
    """Root of all errors that mpignn raises on purpose.

    Attributes:
        exit_code: Exit code of the process, if the error leaves the program.
        agreed: Whether every rank of the job raises the same error, so that all can leave in order.
    """

    exit_code = 1
    agreed = False

    def on_all(self) -> Self:
        """The error, as one that every rank of the job raises."""
        self.agreed = True
        return self


class ConfigError(MpignnError):
    """A command line, a configuration file or an argument that cannot be meant."""

    exit_code = 2


class DataError(MpignnError):
    """A graph, a file or an id that is not what it should be."""

    exit_code = 3


class IDError(DataError, IndexError):
    """An id outside the graph; the message names the first one."""


class UnknownName(DataError, KeyError):
    """A node type, edge type, feature or split that the graph does not have."""

    __str__ = Exception.__str__     # KeyError would show the repr of the message


class ResourceError(MpignnError):
    """Memory or disk that does not suffice."""

    exit_code = 4


class CommError(MpignnError):
    """Rows asked for or handed out in a way that the transport cannot carry."""


class LeftBehind(CommError):
    """This rank waits for others that an error has ended, which they shared and told: ``exit_code`` is theirs."""


class Stopped(MpignnError):
    """The job was asked to stop and did so, with all that it needs to go on on disk: start it again."""

    exit_code = 75
    agreed = True


class TrainingError(MpignnError):
    """Training that cannot go on, such as a loss that is not finite: found on all trainers at once."""

    agreed = True


FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says of a disk that takes no more."""


@contextmanager
def os_errors(family: type[MpignnError], before: str, after: str = "", only: Container[int] | None = None
              ) -> Iterator[None]:
    """Turn what the system says into one of our errors: ``before``, a colon, the system's words, and ``after``.

    Args:
        family: Class of the error.
        before: What it is about, such as a path and what cannot be done there.
        after: How to mend it.
        only: Numbers of the system's errors that are meant; others stay as they are.  None: all.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise family(f"{before}: {error.strerror}{after}") from error


@contextmanager
def paths_named() -> Iterator[None]:
    """Turn what the system says of a path, or of memory, into one of our errors, where no better one was made of it.

    Raises:
        DataError: It cannot be what it is asked to be: not allowed, a part of it is no folder, its name is too long.
        ResourceError: The disk is full, too many files are open, or there is less memory than was asked for.
    """
    try:
        yield
    except MemoryError as error:
        raise ResourceError(f"not enough memory: {error or 'none is left'}; take a machine with more of it, or look "
                            "for a number that is far too large") from error
    except OSError as error:
        if error.filename is None:
            raise
        family = ResourceError if error.errno in (*FULL_DISK, errno.EMFILE, errno.ENFILE) else DataError
        raise family(f"{error.filename}: {error.strerror}") from error

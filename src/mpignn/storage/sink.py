"""HDF5 files written through Python, so that a full disk is an error and nothing worse.

The HDF5 library that meets a full disk can close neither the file nor itself: it crashes when the process ends.  So
it is given a file whose writes never fail; the first error is kept, and raised when the library is done.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from mpignn.stop import unbreakable


@contextmanager
def writing(path: Path, mode: str = "w", **options: Any) -> Iterator[h5py.File]:
    """An HDF5 file open for writing.

    Args:
        mode: ``w`` makes the file, ``r+`` changes it.
        options: As `h5py.File` takes them.

    Raises:
        OSError: Something could not be written.
    """
    sink = _Sink(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if mode == "w" else 0))
    try:
        with h5py.File(sink, mode, **options) as file:
            yield file
    except (SystemError, OSError, RuntimeError) as error:
        if _is_interrupt(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        os.close(sink.handle)
        if sink.error is not None:
            raise sink.error


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether an error began as Ctrl-C that came while h5py called the sink: it makes one or more others of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


class _Sink:
    """What h5py asks of a file object; positions are kept here, the bytes by the system."""

    def __init__(self, path: Path, flags: int) -> None:
        self.handle = os.open(path, flags, 0o666)
        self.error: OSError | None = None
        self._position = 0

    @unbreakable
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self.handle).st_size}[whence]
        self._position = base + offset
        return self._position

    @unbreakable
    def tell(self) -> int:
        return self._position

    @unbreakable
    def read(self, size: int) -> bytes:         # by its presence h5py knows a file object
        return os.pread(self.handle, size, self._position)

    @unbreakable
    def readinto(self, buffer: memoryview) -> int:
        return os.preadv(self.handle, [buffer], self._position)

    @unbreakable
    def write(self, data: memoryview) -> int:
        rest = memoryview(data).cast("B")
        try:
            while rest and self.error is None:
                written = os.pwrite(self.handle, rest, self._position)
                self._position += written
                rest = rest[written:]
        except OSError as error:
            self.error = error
        return len(data)

    @unbreakable
    def truncate(self, size: int) -> int:
        try:
            os.ftruncate(self.handle, size)
        except OSError as error:
            self.error = self.error or error
        return size

    @unbreakable
    def flush(self) -> None:
        """Nothing waits here."""

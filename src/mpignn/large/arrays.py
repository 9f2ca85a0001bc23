"""Arrays that are read some rows at a time, since the whole may be larger than memory.

They are indexed by slices and by arrays of row numbers, as NumPy's are, and ``np.asarray`` maps or makes the whole.

Shapes: N rows of an array, n of them in hand.
"""

import math
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class FileArray:
    """Rows in a file, one after the other.  What is read of it is not kept.

    Attributes:
        path: The file.
        dtype: Type of an element.
        shape: (N, ...).
        offset: Byte of the file at which they begin.
    """

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int = 0

    @staticmethod
    def of(array: np.ndarray) -> "FileArray | np.ndarray":
        """The rows of a file that NumPy has mapped, without the mapping; other arrays as they are."""
        # A part of a mapping has the offset of the whole.
        if (not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap) or not array.flags.c_contiguous
                or not array.ndim or array.filename is None):
            return array
        return FileArray(Path(array.filename), array.dtype, array.shape, array.offset)

    @property
    def rows(self) -> np.ndarray:
        """This, for who expects an array of NumPy and asks no more of it than this has."""
        return cast(np.ndarray, self)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice) and rows.step in (None, 1):
            first, last, _ = rows.indices(self.shape[0])
            return self._read(first, max(first, last))
        found: np.ndarray = self.mapped()[rows]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.mapped(), dtype, copy=copy)

    def part(self, first: int, last: int) -> "FileArray":
        """The rows ``first:last``, as an array of their own."""
        return replace(self, shape=(last - first, *self.shape[1:]), offset=self.offset + first * self.row_bytes)

    def astype(self, dtype: DTypeLike, copy: bool = False) -> "FileArray | Cast":
        """The same numbers in another type."""
        return self if self.dtype == np.dtype(dtype) else Cast(self, np.dtype(dtype))

    def mapped(self) -> np.ndarray:
        """All rows, as part of this process's memory that the system reads when it is touched, and may take back."""
        if not self.size:
            return np.empty(self.shape, self.dtype)
        # One that may not be written to is of another type for kernels, which would be compiled once more.
        return np.asarray(np.memmap(self.path, self.dtype, "c", self.offset, self.shape))

    @contextmanager
    def changed(self) -> Iterator[np.ndarray]:
        """All rows, mapped likewise; what a block changes of them is in the file, for other machines, too, at its end.

        Make room for them by `reserve` before: the system kills who changes rows for which there is none.

        Raises:
            OSError: They could not be written.
        """
        if not self.size:
            yield np.empty(self.shape, self.dtype)
            return
        rows = np.memmap(self.path, self.dtype, "r+", self.offset, self.shape)
        yield np.asarray(rows)
        rows.flush()        # on a network file system the end of the mapping alone does not show it to others

    def create(self) -> None:
        """Make the file, of no values yet.

        Raises:
            OSError: The disk is full.
        """
        with open(self.path, "wb") as file:
            file.truncate(self.offset + self.nbytes)

    def reserve(self) -> None:
        """Take the room on the disk that all rows of the file, which is there, need.

        Raises:
            OSError: The disk is full.
        """
        if self.size:
            with open(self.path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self.offset + self.nbytes)

    def write(self, first: int, rows: np.ndarray) -> None:
        """Write the (n, ...) rows from ``first`` on.

        Raises:
            OSError: The disk is full, or worse.
        """
        rows = np.ascontiguousarray(rows, self.dtype)
        assert rows.shape[1:] == self.shape[1:] and 0 <= first <= self.shape[0] - len(rows), f"{first} {rows.shape}"
        rest, place = rows.reshape(-1).view(np.uint8), self.offset + first * self.row_bytes
        handle = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            while rest.size:
                done = os.pwrite(handle, rest.data, place)
                rest, place = rest[done:], place + done
        finally:
            os.close(handle)

    def _read(self, first: int, last: int) -> np.ndarray:
        rows = np.empty((last - first, *self.shape[1:]), self.dtype)
        rest, place = rows.reshape(-1).view(np.uint8), self.offset + first * self.row_bytes
        if rest.size:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(place)
                while rest.size:
                    done = file.readinto(rest.data)
                    if not done:
                        raise EOFError(f"{self.path} ends within its rows {first}..{last - 1}: it became shorter")
                    rest = rest[done:]
        return rows


@dataclass(frozen=True)
class Cast:
    """An array that is read in another type."""

    source: "np.ndarray | FileArray"
    dtype: np.dtype

    @property
    def rows(self) -> np.ndarray:
        """As `FileArray.rows`."""
        return cast(np.ndarray, self)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def ndim(self) -> int:
        return self.source.ndim

    @property
    def size(self) -> int:
        return self.source.size

    @property
    def nbytes(self) -> int:
        return self.source.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        read: np.ndarray = self.source[rows].astype(self.dtype)
        return read

    def astype(self, dtype: DTypeLike, copy: bool = False) -> "Cast":
        """The same numbers in another type."""
        return self if self.dtype == np.dtype(dtype) else Cast(self.source, np.dtype(dtype))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.source).astype(self.dtype if dtype is None else dtype)


LargeArray = np.ndarray | FileArray | Cast


def rows_of(array: np.ndarray | FileArray) -> np.ndarray:
    """An array for who expects one of NumPy, and asks no more of it than `FileArray` has."""
    return array.rows if isinstance(array, FileArray) else array

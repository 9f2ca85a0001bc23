"""Datasets whose every block of rows has a checksum.

Shapes: N rows of a dataset.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from mpignn.errors import DataError, MpignnError
from mpignn.storage.schema import BLOCK_BYTES, MEND

_CRCS = "crc32"


class ArrayWriter:
    """Writes a dataset from its first row to its last."""

    def __init__(self, group: h5py.Group, name: str, shape: tuple[int, ...], dtype):
        self._data = group.create_dataset(name, shape, dtype)
        self._block = rows_per_block(self._data.dtype, shape[1:])
        self._next = 0
        self._crc = 0
        self.crcs: list[int] = []

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows."""
        rows = np.ascontiguousarray(rows, self._data.dtype)
        taken = 0
        while taken < rows.shape[0]:
            piece = rows[taken:taken + self._block - self._next % self._block]
            self._data.write_direct(piece, None, np.s_[self._next:self._next + piece.shape[0]])
            self._crc = zlib.crc32(piece, self._crc)
            taken += piece.shape[0]
            self._next += piece.shape[0]
            if self._next % self._block == 0:
                self._end_block()

    def close(self) -> None:
        """Write the checksums.  All rows must have been appended."""
        assert self._next == self._data.shape[0], f"{self._data.name}: {self._next} of {self._data.shape[0]} rows"
        if self._next % self._block or not self.crcs:
            self._end_block()
        self._data.attrs[_CRCS] = np.array(self.crcs, np.uint32)

    def _end_block(self) -> None:
        self.crcs.append(self._crc)
        self._crc = 0


def write_array(group: h5py.Group, name: str, rows: np.ndarray, dtype=None) -> list[int]:
    """Write a whole dataset; returns the checksums of its blocks."""
    writer = ArrayWriter(group, name, rows.shape, rows.dtype if dtype is None else dtype)
    writer.append(rows)
    writer.close()
    return writer.crcs


def read_rows(data: h5py.Dataset, where: str, lo: int, hi: int, out: np.ndarray) -> None:
    """Read the rows ``lo:hi`` into ``out``, verifying each block that they touch.

    A whole block goes straight to its place; one that is wanted in part passes through a buffer of its size.

    Args:
        where: What the dataset is called in messages.
        out: (hi - lo, ...), C-contiguous, dtype of the dataset.

    Raises:
        DataError: A checksum that is missing or does not match.
    """
    block = rows_per_block(data.dtype, data.shape[1:])
    num_rows = data.shape[0]
    crcs = np.asarray(data.attrs.get(_CRCS, ()))
    if crcs.shape != (max(1, -(-num_rows // block)),):
        raise DataError(f"{where}: expected {max(1, -(-num_rows // block))} checksums, got {crcs.size}; {MEND}")
    for number in range(lo // block, -(-hi // block) if lo < hi else 0):
        first, last = number * block, min((number + 1) * block, num_rows)
        begin, end = max(first, lo), min(last, hi)
        whole = (begin, end) == (first, last)
        rows = out[begin - lo:end - lo] if whole else np.empty((last - first, *data.shape[1:]), data.dtype)
        data.read_direct(rows, np.s_[first:last])
        found = zlib.crc32(rows)
        if found != crcs[number]:
            raise DataError(f"{where}: rows {first}..{last - 1} are damaged: expected CRC-32 {crcs[number]:08x}, "
                            f"got {found:08x}; {MEND}")
        if not whole:
            out[begin - lo:end - lo] = rows[begin - first:end - first]


def rows_per_block(dtype: np.dtype, row_shape: tuple[int, ...]) -> int:
    """Whole rows that fit a block, at least one."""
    return max(1, BLOCK_BYTES // max(1, dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))))


@contextmanager
def damage_named(where: str) -> Iterator[None]:
    """Turn whatever the HDF5 library says of a file that it cannot read into a `DataError`.

    h5py has no error class of its own: damaged bytes come out as OSError, RuntimeError, KeyError, ValueError,
    TypeError and others.
    """
    try:
        yield
    except MpignnError:
        raise
    except Exception as error:
        raise DataError(f"{where}: cannot be read, the file is damaged or incomplete ({error}); {MEND}") from error


def file_crc(path, skip: int = 0) -> int:
    """CRC-32 of a file's bytes after the first ``skip``."""
    crc = 0
    with open(path, "rb") as file:
        file.seek(skip)
        while chunk := file.read(1 << 24):
            crc = zlib.crc32(chunk, crc)
    return crc

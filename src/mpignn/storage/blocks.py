"""Datasets whose every block of rows has a checksum.

Shapes: N rows of a dataset.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import DTypeLike
from zlib_ng.zlib_ng import crc32  # 57 GB/s where zlib's own does 4

from mpignn.errors import DataError, MpignnError
from mpignn.storage.schema import BLOCK_BYTES, MEND

CRCS = "crc32"      # attribute of a dataset
_CRCS = CRCS.encode()
_PIECE_BYTES = 1 << 18      # of a read: small enough to stay in the core's cache until it is summed and stored

Store = Callable[[np.ndarray, np.ndarray], object]      # copies its second array into its first; both flat, uint8


class ArrayWriter:
    """Writes a dataset from its first row to its last."""

    def __init__(self, group: h5py.Group, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> None:
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
            self._crc = crc32(piece, self._crc)
            taken += piece.shape[0]
            self._next += piece.shape[0]
            if self._next % self._block == 0:
                self._end_block()

    def close(self) -> None:
        """Write the checksums.  All rows must have been appended."""
        assert self._next == self._data.shape[0], f"{self._data.name}: {self._next} of {self._data.shape[0]} rows"
        if self._next % self._block or not self.crcs:
            self._end_block()
        self._data.attrs[CRCS] = np.array(self.crcs, np.uint32)

    def _end_block(self) -> None:
        self.crcs.append(self._crc)
        self._crc = 0


def make_room(file: h5py.File, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> int:
    """Make a dataset whose bytes have their place though nobody has written them; returns that place."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return file.create_dataset(name, shape, dtype, dcpl=plan).id.get_offset() or 0


def write_array(group: h5py.Group, name: str, rows: np.ndarray, dtype: DTypeLike | None = None) -> list[int]:
    """Write a whole dataset; returns the checksums of its blocks."""
    writer = ArrayWriter(group, name, rows.shape, rows.dtype if dtype is None else dtype)
    writer.append(rows)
    writer.close()
    return writer.crcs


@dataclass(frozen=True, slots=True)
class Stored:
    """What HDF5 says of a dataset, asked once: it takes as long as reading some hundred kB.

    Attributes:
        path: The file.
        name: The dataset.
        dtype: Type of an element.
        shape: (N, ...).
        offset: Byte of the file at which its rows begin, one after the other; None: they do not, or are not there.
        crcs: CRC-32 of each block.
    """

    path: str
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int | None
    crcs: tuple[int, ...]

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return f"{self.path}: {self.name}"

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def start(self) -> int:
        """``offset``, where there is one; raises `DataError` else."""
        if self.offset is None:
            raise DataError(f"{self.where}: expected contiguous numbers, got some in chunks or none that are written; "
                            f"{MEND}")
        return self.offset


def stored(file: h5py.File, path: str, name: str) -> Stored:
    """What HDF5 says of a dataset.

    By its functions of lower level: h5py's own objects take 1 ms, and graphs may have thousands of datasets.

    Args:
        file: Open.
        path: Its path.
        name: Name of the dataset.

    Raises:
        Exception: Whatever h5py makes of damage, see `damage_named`.
    """
    data = h5py.h5d.open(file.id, name.encode())
    crcs: tuple[int, ...] = ()
    if h5py.h5a.exists(data, _CRCS):
        attribute = h5py.h5a.open(data, _CRCS)
        values = np.empty(attribute.shape, np.uint32)
        attribute.read(values, h5py.h5t.NATIVE_UINT32)
        crcs = tuple(values.reshape(-1).tolist())
    return Stored(path, name, data.dtype, data.shape, data.get_offset(), crcs)


def read_rows(data: Stored, lo: int, hi: int, out: np.ndarray) -> None:
    """Read the rows ``lo:hi`` into ``out``, verifying each block that they touch.

    Args:
        data: What HDF5 says of them.
        out: (hi - lo, ...), C-contiguous, dtype of the dataset.

    Raises:
        DataError: A checksum that is missing or does not match.
    """
    for stretch in stretches(data, lo, hi, out):
        stretch.read()


@dataclass(frozen=True)
class Stretch:
    """Bytes of one block, and where they go.  Needs no HDF5 any more, so threads may read several.

    Attributes:
        where: The dataset, for messages.
        path: The file.
        rows: First row of the block, and one past the last.
        offset: Byte of the file at which the block starts.
        size: Bytes in the block.
        crc: CRC-32 of the block.
        begin: Byte of the block at which the wanted ones start.
        out: (wanted,) uint8, the place of the wanted bytes.
        store: Puts pieces of them there, whole elements each, which are verified only when `read` returns.
    """

    where: str
    path: str
    rows: tuple[int, int]
    offset: int
    size: int
    crc: int
    begin: int
    out: np.ndarray
    store: Store

    def read(self) -> None:
        """Read the block, verify it, and store what is wanted of it.

        A piece is summed and stored while it is still in the core's cache.

        Raises:
            DataError: The checksum does not match, or the file ends before.
        """
        end, found = self.begin + self.out.size, 0
        buffer = np.empty(min(_PIECE_BYTES, self.size), np.uint8)
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for first, last in self._pieces():
                piece = buffer[:last - first]
                _read_fully(file, piece, self.offset + first, self.where)
                found = crc32(piece, found)
                if self.begin <= first and last <= end:
                    self.store(self.out[first - self.begin:last - self.begin], piece)
        finally:
            os.close(file)
        if found != self.crc:
            raise DataError(f"{self.where}: rows {self.rows[0]}..{self.rows[1] - 1} are damaged: expected CRC-32 "
                            f"{self.crc:08x}, got {found:08x}; {MEND}")

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """The bytes of the block in pieces that are wanted whole or not at all."""
        for start, stop in ((0, self.begin), (self.begin, self.begin + self.out.size),
                            (self.begin + self.out.size, self.size)):
            for first in range(start, stop, _PIECE_BYTES):
                yield first, min(first + _PIECE_BYTES, stop)


def stretches(data: Stored, lo: int, hi: int, out: np.ndarray, store: Store = np.copyto) -> list[Stretch]:
    """What there is to read for the rows ``lo:hi``, a `Stretch` for each block; arguments and errors of `read_rows`."""
    block, num_rows = rows_per_block(data.dtype, data.shape[1:]), data.shape[0]
    wanted = max(1, -(-num_rows // block))
    if len(data.crcs) != wanted:
        raise DataError(f"{data.where}: expected {wanted} checksums, got {len(data.crcs)}; {MEND}")
    if lo == hi or out.size == 0:
        return []
    flat, size, start, found = out.reshape(-1).view(np.uint8), data.row_bytes, data.start(), []
    for number in range(lo // block, -(-hi // block)):
        first, last = number * block, min((number + 1) * block, num_rows)
        begin, end = max(first, lo), min(last, hi)
        found.append(Stretch(data.where, data.path, (first, last), start + first * size, (last - first) * size,
                             data.crcs[number], (begin - first) * size, flat[(begin - lo) * size:(end - lo) * size],
                             store))
    return found


def read_number(data: Stored, row: int) -> int:
    """One number of a dataset of (N,), without its block's checksum; errors of `read_rows`."""
    out = np.empty(1, data.dtype)
    file = os.open(data.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _read_fully(file, out.view(np.uint8), data.start() + row * data.row_bytes, data.where)
    finally:
        os.close(file)
    return int(out[0])


def _read_fully(file: int, piece: np.ndarray, offset: int, where: str) -> None:
    done = 0
    while done < piece.size:
        count = os.preadv(file, [piece[done:].data], offset + done)
        if count == 0:
            raise DataError(f"{where}: the file ends at byte {offset + done}: it is incomplete; {MEND}")
        done += count


def write_at(handle: int, piece: np.ndarray, place: int) -> None:
    """Write all of some (n,) uint8 to a file from byte ``place`` on; raises OSError."""
    done = 0
    while done < piece.size:
        done += os.pwrite(handle, piece[done:].data, place + done)


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


def file_crc(path: str | Path, skip: int = 0) -> int:
    """CRC-32 of a file's bytes after the first ``skip``."""
    crc = 0
    with open(path, "rb") as file:
        file.seek(skip)
        while chunk := file.read(1 << 24):
            crc = crc32(chunk, crc)
    return crc

"""Arrays in HDF5 files with a checksum of every block of rows: what describes and reads all of them.

A block is as many whole rows as fit `BLOCK_BYTES`, at least one; its checksum is the CRC-32 of their bytes.  The
checksums of an array are an attribute of its dataset; those of a checkpoint are in its manifest.

Shapes: N rows of an array, B blocks of rows.
"""

import errno
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from zlib_ng.zlib_ng import crc32  # 57 GB/s where zlib's own does 4

from mpignn.errors import DataError, MpignnError
from mpignn.large.arrays import FileArray
from mpignn.storage.schema import BLOCK_BYTES, MEND

CRCS = "crc32"      # attribute of a dataset
PIECE_BYTES = 1 << 18       # of a read or write: small enough to stay in the core's cache until it is summed and stored
_CRCS = CRCS.encode()
_CHUNK_BYTES = 1 << 24      # of a file that is summed whole

Store = Callable[[np.ndarray, np.ndarray], object]      # copies its second array into its first; both flat, uint8


@dataclass(frozen=True, slots=True)
class ArrayType:
    """What an array is, wherever it lies.

    Attributes:
        shape: (N, ...); one number is an array of one row.
        dtype: Type of an element in the file.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])

    @property
    def num_bytes(self) -> int:
        return self.shape[0] * self.row_bytes

    @property
    def block_rows(self) -> int:
        """Rows of a block; the last one may have fewer."""
        return rows_per_block(self.dtype, self.shape[1:])

    def blocks(self) -> list[tuple[int, int]]:
        """First row of each block, and one past its last; an array without bytes has none."""
        step = self.block_rows
        return [(first, min(first + step, self.shape[0])) for first in range(0, self.shape[0] * bool(self.row_bytes),
                                                                             step)]


@dataclass(frozen=True, slots=True)
class StoredArray(ArrayType):
    """An array in a file, asked for once: to ask HDF5 takes as long as reading some hundred kB.

    Attributes:
        path: The file.
        name: The dataset.
        offset: Byte of the file at which its rows begin, one after the other; None: they do not, or are not there.
        crcs: CRC-32 of each block; of an array without bytes, anything.
        mend: What helps where it is damaged; empty for arrays of a checkpoint, where the one before it does.
    """

    path: str
    name: str
    offset: int | None
    crcs: tuple[int, ...] = ()
    mend: str = ""

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return f"{self.path}: {self.name}" if self.mend else self.path

    def start(self) -> int:
        """``offset``, where there is one; raises `DataError` else."""
        if self.offset is None:
            raise self.damaged("expected contiguous numbers, got some in chunks or none that are written")
        return self.offset

    def unverified(self) -> FileArray:
        """Its rows, without their checksums; raises `DataError` as `start`."""
        return FileArray(Path(self.path), self.dtype, self.shape, self.start())

    def damaged(self, how: str) -> DataError:
        """The error that says so."""
        return DataError(f"{self.where}: {how}" + (f"; {self.mend}" if self.mend else ""))


def rows_per_block(dtype: np.dtype, row_shape: tuple[int, ...]) -> int:
    """Whole rows that fit a block, at least one."""
    return max(1, BLOCK_BYTES // max(1, dtype.itemsize * math.prod(row_shape)))


def stored_array(file: h5py.File, path: str, name: str, mend: str = MEND) -> StoredArray:
    """What HDF5 says of a dataset.

    By its functions of lower level: h5py's own objects take 1 ms, and graphs may have thousands of datasets.

    Args:
        file: Open.
        path: Its path.
        name: Name of the dataset.
        mend: What helps where it is damaged.

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
    return StoredArray(data.shape, data.dtype, path, name, data.get_offset(), crcs, mend)


def read_rows(array: StoredArray, lo: int, hi: int, out: np.ndarray) -> None:
    """Read the rows ``lo:hi`` into ``out``, verifying each block that they touch.

    Args:
        array: Where they are.
        out: (hi - lo, ...), C-contiguous, dtype of the array.

    Raises:
        DataError: A checksum that is missing or does not match.
    """
    for stretch in stretches(array, lo, hi, out):
        stretch.read()


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of one block, and where they go.  Needs no HDF5 any more, so threads may read several.

    Attributes:
        array: The array.
        rows: First row of the block, and one past the last.
        crc: CRC-32 of the block.
        begin: Byte of the block at which the wanted ones start.
        out: (wanted,) uint8, the place of the wanted bytes, which are verified only when `read` returns.
        store: Puts pieces of them there, whole elements each; None: they are read into it.
    """

    array: StoredArray
    rows: tuple[int, int]
    crc: int
    begin: int
    out: np.ndarray
    store: Store | None

    def read(self) -> None:
        """Read the block, verify it, and store what is wanted of it.

        A piece is summed and stored while it is still in the core's cache.

        Raises:
            DataError: The checksum does not match, or the file ends before.
        """
        (first_row, last_row), row_bytes = self.rows, self.array.row_bytes
        size, offset = (last_row - first_row) * row_bytes, self.array.start() + first_row * row_bytes
        end, found = self.begin + self.out.size, 0
        buffer = np.empty(min(PIECE_BYTES, size), np.uint8)
        with _opened(self.array) as file:
            for first, last in self._pieces(size):
                is_wanted = self.begin <= first and last <= end
                place = self.out[first - self.begin:last - self.begin] if is_wanted else buffer[:0]
                piece = place if is_wanted and self.store is None else buffer[:last - first]
                _read_fully(file, piece, offset + first, self.array)
                found = crc32(piece, found)
                if is_wanted and self.store is not None:
                    self.store(place, piece)
        if found != self.crc:
            of_array = "" if self.array.mend else f" of {self.array.name}"
            raise self.array.damaged(f"rows {first_row}..{last_row - 1}{of_array} are damaged: expected CRC-32 "
                                     f"{self.crc:08x}, got {found:08x}")

    def _pieces(self, size: int) -> Iterator[tuple[int, int]]:
        """The bytes of the block in pieces that are wanted whole or not at all."""
        end = self.begin + self.out.size
        for start, stop in ((0, self.begin), (self.begin, end), (end, size)):
            for first in range(start, stop, PIECE_BYTES):
                yield first, min(first + PIECE_BYTES, stop)


def stretches(array: StoredArray, lo: int, hi: int, out: np.ndarray, store: Store | None = None) -> list[Stretch]:
    """What there is to read for the rows ``lo:hi``, a `Stretch` for each block; arguments and errors of `read_rows`."""
    block, num_rows = array.block_rows, array.shape[0]
    expected = -(-num_rows // block)
    if array.num_bytes and len(array.crcs) != expected:
        raise array.damaged(f"expected {expected} checksums, got {len(array.crcs)}")
    if lo == hi or out.size == 0:
        return []
    flat, size, found = out.reshape(-1).view(np.uint8), array.row_bytes, []
    for number in range(lo // block, -(-hi // block)):
        first, last = number * block, min((number + 1) * block, num_rows)
        begin, end = max(first, lo), min(last, hi)
        found.append(Stretch(array, (first, last), array.crcs[number], (begin - first) * size,
                             flat[(begin - lo) * size:(end - lo) * size], store))
    return found


def read_number(array: StoredArray, row: int) -> int:
    """One number of an array of (N,), without its block's checksum; errors of `read_rows`."""
    out = np.empty(1, array.dtype)
    with _opened(array) as file:
        _read_fully(file, out.view(np.uint8), array.start() + row * array.row_bytes, array)
    return int(out[0])


def verify_block(array: StoredArray, number: int) -> None:
    """Read a block of an array and compare it with its checksum.

    Raises:
        DataError: A checksum that is missing or does not match.
    """
    first, last = array.blocks()[number]
    nothing = np.empty(0, array.dtype)
    for stretch in stretches(array, first, first, nothing):
        stretch.read()
    Stretch(array, (first, last), array.crcs[number], 0, nothing.view(np.uint8), None).read()


def read_pieces(array: StoredArray, pieces: Iterable[tuple[int, int]], out: np.ndarray) -> None:
    """Read stretches of an array of (N,), one after the other, into ``out``, without their blocks' checksums.

    Args:
        pieces: First element of each, and one past its last.

    Raises:
        DataError: The file ends before.
    """
    flat, size, place = out.view(np.uint8), array.row_bytes, 0
    with _opened(array) as file:
        for first, last in pieces:
            end = place + (last - first) * size
            _read_fully(file, flat[place:end], array.start() + first * size, array)
            place = end


@contextmanager
def _opened(array: StoredArray) -> Iterator[int]:
    file = os.open(array.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _read_fully(file: int, piece: np.ndarray, offset: int, array: StoredArray) -> None:
    done = 0
    while done < piece.size:
        count = os.preadv(file, [piece[done:].data], offset + done)
        if count == 0:
            raise array.damaged(f"the file ends at byte {offset + done}: it is incomplete")
        done += count


@contextmanager
def damage_named(where: str, mend: str = MEND) -> Iterator[None]:
    """Turn whatever the HDF5 library says of a file that it cannot read into a `DataError`.

    h5py has no error class of its own: damaged bytes come out as OSError, RuntimeError, KeyError, ValueError,
    TypeError and others.
    """
    try:
        yield
    except MpignnError:
        raise
    except PermissionError as error:
        raise DataError(f"{where}: cannot be read: {os.strerror(errno.EACCES)}") from error
    except Exception as error:
        raise DataError(f"{where}: cannot be read, the file is damaged or incomplete ({error}); {mend}") from error


def file_crc(path: str | Path, first: int = 0, last: int | None = None, crc: int = 0) -> int:
    """CRC-32 of a file's bytes ``first:last``, those that are there, begun at ``crc``."""
    with open(path, "rb", buffering=0) as file:
        file.seek(first)
        left = os.fstat(file.fileno()).st_size - first if last is None else last - first
        while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            crc = crc32(chunk, crc)
    return crc

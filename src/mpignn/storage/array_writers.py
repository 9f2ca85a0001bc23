"""Writers of arrays with a checksum of every block of rows: one row after the other, or many ranks at a time.

Equal rows give equal bytes, however many wrote them.

Shapes: N rows of an array, n of them in hand, B blocks of rows.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import DTypeLike
from zlib_ng.zlib_ng import crc32, crc32_combine

from mpignn.large.arrays import LargeArray
from mpignn.storage.arrays import CRCS, PIECE_BYTES, ArrayType, StoredArray
from mpignn.storage.atomic import sync_and_close
from mpignn.storage.sink import writing


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that were written, all of one block.

    Attributes:
        name: Name of the array.
        first: Row.
        size: Bytes.
        crc: Their CRC-32.
    """

    name: str
    first: int
    size: int
    crc: int


def joined(array: ArrayType, pieces: Iterable[Piece]) -> list[Piece]:
    """The same pieces of an array, those that follow each other in a block as one.

    Args:
        array: The array.
        pieces: In order of their rows.
    """
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if (last is not None and last.first + last.size // array.row_bytes == piece.first
                and last.first // array.block_rows == piece.first // array.block_rows):
            found[-1] = Piece(piece.name, last.first, last.size + piece.size,
                              crc32_combine(last.crc, piece.crc, piece.size))
        else:
            found.append(piece)
    return found


def block_crcs(array: ArrayType, pieces: Iterable[Piece]) -> tuple[int, ...]:
    """The checksums of an array's blocks, by all pieces that were written of it, in any order."""
    ordered = sorted(pieces, key=lambda piece: piece.first)
    crcs, row, block_rows = [0] * len(array.blocks()), 0, array.block_rows
    for piece in ordered:
        assert piece.first == row, f"{piece.name}: row {row} is missing, {piece.first} comes next"
        block, row = row // block_rows, row + piece.size // array.row_bytes
        crcs[block] = crc32_combine(crcs[block], piece.crc, piece.size)
    assert row == array.shape[0] or not array.row_bytes, f"{row} of {array.shape[0]} rows"
    return tuple(crcs)


class ArrayWriter:
    """Writes a dataset from its first row to its last, through HDF5.

    Attributes:
        crcs: CRC-32 of each block, once it is closed.
    """

    def __init__(self, group: h5py.Group, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._data = group.create_dataset(name, shape, dtype)
        self._type = ArrayType(shape, self._data.dtype)
        self._next = 0
        self._pieces: list[Piece] = []
        self.crcs: list[int] = []

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows."""
        rows = np.ascontiguousarray(rows, self._type.dtype)
        for lo, hi in _cut(self._type, self._next, self._next + rows.shape[0]):
            piece = rows[lo - self._next:hi - self._next]
            self._data.write_direct(piece, None, np.s_[lo:hi])
            if piece.size:
                self._pieces.append(Piece(self._data.name, lo, piece.nbytes, crc32(piece)))
        self._next += rows.shape[0]

    def close(self) -> None:
        """Write the checksums.  All rows must have been appended."""
        self.crcs = _kept_crcs(self._type, block_crcs(self._type, self._pieces))
        self._data.attrs[CRCS] = np.array(self.crcs, np.uint32)


def write_array(group: h5py.Group, name: str, rows: LargeArray, dtype: DTypeLike | None = None) -> list[int]:
    """Write a whole dataset; returns the checksums of its blocks."""
    array = ArrayType(rows.shape, np.dtype(rows.dtype if dtype is None else dtype))
    writer = ArrayWriter(group, name, array.shape, array.dtype)
    for first in range(0, len(rows), array.block_rows):
        writer.append(rows[first:first + array.block_rows])
    writer.close()
    return writer.crcs


def make_file(path: Path, arrays: Mapping[str, ArrayType], attributes: Mapping[str, str] | None = None
              ) -> dict[str, StoredArray]:
    """Make a file with room for some arrays, whose rows `RowWriter` writes.  Not collective.

    Args:
        path: Path of the file to make.
        arrays: By name of the dataset.
        attributes: Attributes of the file; its datasets then have room for their checksums, which `write_crcs` fills.
            None: neither is kept here.

    Raises:
        OSError: The disk is full.
    """
    made = {}
    with writing(path) as file:
        file.attrs.update(attributes or {})
        for name, array in arrays.items():
            place = _make_room(file, name, array)
            made[name] = StoredArray(array.shape, array.dtype, str(path), name, place)
            if attributes is not None:
                file[name].attrs[CRCS] = np.zeros(len(_kept_crcs(array)), np.uint32)
    end = max((array.start() + array.num_bytes for array in made.values()), default=0)
    os.truncate(path, max(end, path.stat().st_size))
    return made


def write_crcs(path: Path, arrays: Mapping[str, ArrayType], pieces: Iterable[Piece]) -> dict[str, tuple[int, ...]]:
    """Complete a file of `make_file` by its checksums.  Not collective.

    Args:
        path: Path of the file.
        arrays: As it was given.
        pieces: What all writers wrote: every row once.

    Returns:
        Those of each array, by name.

    Raises:
        OSError: The disk is full.
    """
    crcs = {name: tuple(_kept_crcs(arrays[name], found)) for name, found in crcs_by_name(arrays, pieces).items()}
    with writing(path, "r+") as file:
        for name in arrays:
            file[name].attrs.modify(CRCS, np.array(crcs[name], np.uint32))
    return crcs


def crcs_by_name(arrays: Mapping[str, ArrayType], pieces: Iterable[Piece]) -> dict[str, tuple[int, ...]]:
    """`block_crcs` of several arrays."""
    written: dict[str, list[Piece]] = {name: [] for name in arrays}
    for piece in pieces:
        written[piece.name].append(piece)
    return {name: block_crcs(array, written[name]) for name, array in arrays.items()}


class RowWriter:
    """Writes rows to the arrays of a file of `make_file`; several ranks may do so at a time, each its own rows.

    Attributes:
        pieces: What was written.
    """

    def __init__(self, path: Path, arrays: Mapping[str, StoredArray]):
        """Not collective.

        Args:
            path: Path of the file.
            arrays: What `make_file` returned.

        Raises:
            OSError: The file cannot be opened.
        """
        self._arrays = arrays
        self.pieces: list[Piece] = []
        self._handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def write(self, name: str, first: int, rows: np.ndarray) -> None:
        """Write the (n, ...) rows from ``first`` on.

        Raises:
            OSError: The disk is full, or worse.
        """
        self.write_to(self._arrays[name], first, rows)

    def write_to(self, array: StoredArray, first: int, rows: np.ndarray) -> None:
        """`write` to an array of the file that is given."""
        rows = np.ascontiguousarray(rows, array.dtype)
        last = first + len(rows)
        assert rows.shape[1:] == array.shape[1:] and last <= array.shape[0], f"{array.name}: {rows.shape}"
        for lo, hi in _cut(array, first, last) if rows.size else ():
            self._write_piece(array, lo, rows[lo - first:hi - first].reshape(-1).view(np.uint8))

    def _write_piece(self, array: StoredArray, first: int, rows: np.ndarray) -> None:
        place, crc = array.start() + first * array.row_bytes, 0
        for begin in range(0, rows.size, PIECE_BYTES):
            piece = rows[begin:begin + PIECE_BYTES]
            crc, done = crc32(piece, crc), 0
            while done < piece.size:
                done += os.pwrite(self._handle, piece[done:].data, place + begin + done)
        # Asks the system to begin to write now, while the next rows are being made; nothing is waited for.
        os.posix_fadvise(self._handle, place, rows.size, os.POSIX_FADV_DONTNEED)
        self.pieces.append(Piece(array.name, first, rows.size, crc))

    def close(self, sync: bool = True) -> None:
        """Close the file; with ``sync``, when all that was written is on the disk.

        Raises:
            OSError: It cannot be written.
        """
        (sync_and_close if sync else os.close)(self._handle)


def _cut(array: ArrayType, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Some rows, cut where blocks end: first row of each stretch, and one past its last."""
    step = array.block_rows
    while first < last:
        end = min(last, (first // step + 1) * step)
        yield first, end
        first = end


def _kept_crcs(array: ArrayType, crcs: Sequence[int] = ()) -> list[int]:
    """The checksums as a dataset has them: at least one, and zeros where there are no bytes."""
    return list(crcs) or [0] * max(1, -(-array.shape[0] // array.block_rows))


def _make_room(file: h5py.File, name: str, array: ArrayType) -> int:
    """Make a dataset whose bytes have their place though nobody has written them; returns that place."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return file.create_dataset(name, array.shape, array.dtype, dcpl=plan).id.get_offset() or 0

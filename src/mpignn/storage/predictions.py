"""What a model says of nodes and edges, as one HDF5 file in original ids that many ranks write together.

One rank makes the file, with room for all rows; each writes rows of its own to their places; the one that began adds
the checksums.  Equal rows give equal bytes, however many ranks wrote.

Shapes: N rows of a dataset, n of them written at a time.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from zlib_ng.zlib_ng import crc32, crc32_combine

from mpignn.errors import ResourceError
from mpignn.storage.blocks import CRCS, make_room, rows_per_block, write_at
from mpignn.storage.folder import check_space, sync_and_close
from mpignn.storage.sink import writing


@dataclass(frozen=True)
class Dataset:
    """One dataset to write.

    Attributes:
        shape: (N, ...).
        dtype: Type of an element.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    @property
    def block_rows(self) -> int:
        """Rows with a checksum of their own."""
        return rows_per_block(self.dtype, self.shape[1:])


@dataclass(frozen=True)
class Piece:
    """Rows that were written, all of one block.

    Attributes:
        name: Name of the dataset.
        first: Row.
        size: Bytes.
        crc: Their CRC-32.
    """

    name: str
    first: int
    size: int
    crc: int


@contextmanager
def problems_named(out: Path) -> Iterator[None]:
    """Turn whatever the system says of a write into a `ResourceError`."""
    try:
        yield
    except OSError as error:
        raise ResourceError(f"{out}: cannot be written: {error.strerror}; it must lie where all trainers see it, with "
                            "room for all rows") from error


def begin(path: Path, out: Path, datasets: Mapping[str, Dataset], attributes: Mapping[str, str]) -> dict[str, int]:
    """Make a file with room for some datasets; returns the byte at which each begins.  Not collective.

    Args:
        path: Path of the file to make.
        out: What it will be called.
        datasets: By name.
        attributes: Attributes of the file.

    Raises:
        OSError: The disk is full.
        ResourceError: It is nearly so.
    """
    check_space(out, sum(data.shape[0] * data.row_bytes for data in datasets.values()))
    with writing(path) as file:
        file.attrs.update(attributes)
        places = {}
        for name, data in datasets.items():
            places[name] = make_room(file, name, data.dtype, data.shape)
            file[name].attrs[CRCS] = np.zeros(max(1, -(-data.shape[0] // data.block_rows)), np.uint32)
    end = max((places[name] + data.shape[0] * data.row_bytes for name, data in datasets.items()), default=0)
    os.truncate(path, max(end, path.stat().st_size))
    return places


class RowWriter:
    """Writes rows of the datasets of a file that was begun; several ranks may, each its own rows.

    Attributes:
        pieces: What was written.
    """

    def __init__(self, path: Path, datasets: Mapping[str, Dataset], places: Mapping[str, int]):
        """Not collective.

        Args:
            path, datasets: As for `begin`.
            places: What it returned.

        Raises:
            OSError: The file cannot be opened.
        """
        self._datasets, self._places = datasets, places
        self.pieces: list[Piece] = []
        self._handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def write(self, name: str, first: int, rows: np.ndarray) -> None:
        """Write the (n, ...) rows from ``first`` on.

        Raises:
            OSError: The disk is full, or worse.
        """
        data = self._datasets[name]
        rows = np.ascontiguousarray(rows, data.dtype)
        assert rows.shape[1:] == data.shape[1:] and first + len(rows) <= data.shape[0], f"{name}: {rows.shape}"
        last = first + len(rows)
        while first < last:
            end = min(last, (first // data.block_rows + 1) * data.block_rows)
            piece = rows[len(rows) - (last - first):len(rows) - (last - end)].reshape(-1).view(np.uint8)
            write_at(self._handle, piece, self._places[name] + first * data.row_bytes)
            self.pieces.append(Piece(name, first, piece.size, crc32(piece)))
            first = end

    def close(self) -> None:
        """Return when all that was written is on the disk.

        Raises:
            OSError: It cannot be written.
        """
        sync_and_close(self._handle)


def complete(path: Path, datasets: Mapping[str, Dataset], pieces: Iterable[Piece]) -> None:
    """Add the checksums, by what all ranks wrote; all rows must have been written.  Not collective.

    Raises:
        OSError: The disk is full.
    """
    written: dict[str, list[Piece]] = {name: [] for name in datasets}
    for piece in pieces:
        written[piece.name].append(piece)
    with writing(path, "r+") as file:
        for name, data in datasets.items():
            crcs, row = file[name].attrs[CRCS], 0
            for piece in sorted(written[name], key=lambda piece: piece.first):
                assert piece.first == row, f"{name}: row {row} is missing, {piece.first} comes next"
                block, row = row // data.block_rows, row + piece.size // max(1, data.row_bytes)
                crcs[block] = crc32_combine(int(crcs[block]), piece.crc, piece.size)
            assert row == data.shape[0] or not data.row_bytes, f"{name}: {row} of {data.shape[0]} rows"
            file[name].attrs.modify(CRCS, crcs)

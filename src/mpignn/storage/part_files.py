"""The part files of a graph that is being made: with room for all of their arrays from the first, filled by any rank.

Shapes: P partitions, A arrays of a part file, n rows in hand.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from mpignn.graph.array_key import ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo
from mpignn.large.arrays import FileArray
from mpignn.large.scratch import Scratch
from mpignn.progress import each
from mpignn.storage.array_writers import Piece, RowWriter, joined, make_file, write_crcs
from mpignn.storage.arrays import ArrayType, StoredArray
from mpignn.storage.schema import axis, part_file

Of = TypeVar("Of")

_OPEN_FILES = 256       # at a time: there may be more parts than handles


@dataclass(frozen=True)
class _Column:
    """An array of all parts.

    Attributes:
        info: Its name, and what a row is.
        ranges: (P + 1,) int64 which rows each part has.
        more: How many each has beyond.
        number: Its place among the arrays of a part.
    """

    info: ArrayInfo
    ranges: np.ndarray
    more: int
    number: int

    def of(self, part: int) -> ArrayType:
        """What a part has of it."""
        rows = int(self.ranges[part + 1] - self.ranges[part]) + self.more
        return ArrayType((rows, *self.info.row_shape), self.info.dtype)


class PartFiles:
    """Part files in a folder; each rank writes rows of its own to them.

    Attributes:
        paths: (P,) the files.
    """

    def __init__(self, folder: Path, infos: Iterable[ArrayInfo], book: RangePartitionBook, scratch: Scratch) -> None:
        """Make the files.  Collective over the group of ``scratch``.

        Args:
            folder: An empty one.
            infos: A arrays, in the order in which they lie in a file.
            book: Which rows each part has.
            scratch: Says who writes, and what.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        self.paths = [folder / part_file(part) for part in range(book.num_partitions())]
        self._columns = {info.name: _Column(info, *axis(ArrayKey.parse(info.name), book), number)
                         for number, info in enumerate(infos)}
        self._scratch = scratch
        self._offsets = np.zeros((len(self.paths), len(self._columns)), np.int64)
        self._open: dict[int, RowWriter] = {}
        self._pieces: dict[int, dict[str, list[Piece]]] = {}
        with scratch.alone():
            for part in self.own():
                made = make_file(self.paths[part], self._arrays(part), {})
                self._offsets[part] = [array.offset or 0 for array in made.values()]
        scratch.group.all_sum(self._offsets)

    def write(self, part: int, name: str, first: int, rows: np.ndarray) -> None:
        """Write the (n, ...) rows of an array of a part from ``first`` on.  Not collective.

        Raises:
            OSError: The disk is full.
        """
        writer = self._open.pop(part, None)
        if writer is None:
            if len(self._open) == _OPEN_FILES:
                self._close(next(iter(self._open)))     # the one that was not written to for longest
            writer = RowWriter(self.paths[part], {})
        self._open[part] = writer
        array = self._stored(part, name)
        writer.write_to(array, first, rows)
        pieces = self._pieces.setdefault(part, {}).setdefault(name, [])
        pieces[-1:] = joined(array, [*pieces[-1:], *writer.pieces])
        writer.pieces.clear()

    def read(self, part: int, name: str) -> FileArray:
        """What lies in a part file.  Not collective."""
        return self._stored(part, name).unverified()

    def finish(self) -> list[dict[str, tuple[int, ...]]]:
        """Write the checksums, when all rows are written.  Collective over the group.

        Returns:
            For each part the checksums of the blocks of its arrays, by name.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        with self._scratch.alone():
            for part in list(self._open):
                self._close(part)
        of_all: dict[int, list[Piece]] = {part: [] for part in self.own()}
        for told in self._scratch.group.allgather(self._pieces):
            for part in of_all.keys() & told.keys():
                of_all[part] += [piece for pieces in told[part].values() for piece in pieces]
        return self.each(lambda part: write_crcs(self.paths[part], self._arrays(part), of_all[part]))

    def each(self, work: Callable[[int], Of]) -> list[Of]:
        """Let each part be worked on by the rank that has the care of it; returns what they made of them, by part.

        Collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        with self._scratch.alone():
            made = {part: work(part) for part in each(self.own(), "partition")}
        return [of for _, of in sorted(pair for told in self._scratch.group.allgather(made) for pair in told.items())]

    def own(self) -> range:
        """The parts of which this rank has the care.  Not collective."""
        return range(self._scratch.group.rank, len(self.paths), self._scratch.group.size)

    def _arrays(self, part: int) -> Mapping[str, ArrayType]:
        return {name: column.of(part) for name, column in self._columns.items()}

    def _stored(self, part: int, name: str) -> StoredArray:
        column = self._columns[name]
        array = column.of(part)
        place = int(self._offsets[part, column.number])
        return StoredArray(array.shape, array.dtype, str(self.paths[part]), name, place)

    def _close(self, part: int) -> None:
        self._open.pop(part).close(sync=False)      # the folder's files are synced all at once

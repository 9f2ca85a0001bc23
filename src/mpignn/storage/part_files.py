"""The part files of a graph that is being made: with room for all of their arrays from the first, filled by any rank.

Shapes: P partitions, A arrays of a part file, n rows in hand.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from mpignn.storage.array_writers import Piece, RowWriter, joined, make_file, write_crcs
from mpignn.storage.arrays import ArrayType, StoredArray
from mpignn.storage.large_arrays import FileArray
from mpignn.storage.schema import part_file
from mpignn.storage.scratch import Scratch

Of = TypeVar("Of")

_OPEN_FILES = 256       # at a time: there may be more parts than handles


class PartFiles:
    """Part files in a folder; each rank writes rows of its own to them.

    Attributes:
        paths: (P,) the files.
    """

    def __init__(self, folder: Path, num_parts: int, arrays: Callable[[int], Mapping[str, ArrayType]],
                 scratch: Scratch) -> None:
        """Make the files.  Collective over the group of ``scratch``.

        Args:
            folder: An empty one.
            num_parts: P.
            arrays: Those of a part by name, in the order in which they lie in its file; the same A names for all.
            scratch: Says who writes, and what.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        self.paths = [folder / part_file(part) for part in range(num_parts)]
        self._arrays, self._scratch = arrays, scratch
        self._offsets = np.zeros((num_parts, len(arrays(0))), np.int64)
        self._open: dict[int, RowWriter] = {}
        self._pieces: dict[int, list[Piece]] = {}
        with scratch.alone():
            for part in self.own():
                made = make_file(self.paths[part], arrays(part), {})
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
            writer = RowWriter(self.paths[part], self._stored(part))
        self._open[part] = writer
        writer.write(name, first, rows)

    def read(self, part: int, name: str) -> FileArray:
        """What lies in a part file.  Not collective."""
        return FileArray.stored(self._stored(part)[name])

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
        for pieces in self._scratch.group.allgather(self._pieces):
            for part in of_all:
                of_all[part] += pieces.get(part, ())
        return self.each(lambda part: write_crcs(self.paths[part], self._arrays(part), of_all[part]))

    def each(self, work: Callable[[int], Of]) -> list[Of]:
        """Let each part be worked on by the rank that has the care of it; returns what they made of them, by part.

        Collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        with self._scratch.alone():
            made = {part: work(part) for part in self.own()}
        return [of for _, of in sorted(pair for told in self._scratch.group.allgather(made) for pair in told.items())]

    def own(self) -> range:
        """The parts of which this rank has the care.  Not collective."""
        return range(self._scratch.group.rank, len(self.paths), self._scratch.group.size)

    def _stored(self, part: int) -> dict[str, StoredArray]:
        return {name: StoredArray(array.shape, array.dtype, str(self.paths[part]), name, int(offset))
                for (name, array), offset in zip(self._arrays(part).items(), self._offsets[part], strict=True)}

    def _close(self, part: int) -> None:
        writer = self._open.pop(part)
        writer.close(sync=False)        # the folder's files are synced all at once
        self._pieces[part] = joined([*self._pieces.get(part, ()), *writer.pieces], self._arrays(part))

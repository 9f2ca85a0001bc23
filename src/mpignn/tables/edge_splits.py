"""Splits of edges that have no labels, and are to be predicted themselves: each rank knows those of its own.

Shapes: R rows of a table that this rank reads, K of these that are kept, E edges of all ranks.
"""

import numpy as np

from mpignn.graph.likeness import SPLITS
from mpignn.large.arrays import FileArray
from mpignn.large.spool import Spool
from mpignn.tables.description import Edges
from mpignn.tables.kept import Kept
from mpignn.tables.room import Room
from mpignn.tables.seeds import begins_of_files
from mpignn.tables.splits import SplitReader
from mpignn.tables.table import Block, Table
from mpignn.tables.values import Where

_STEP = 1 << 20     # rows in hand
_ROW_BYTES = 16     # of one, and of one while its split is in memory
_PART = 8           # the ids of splits may take this part of the memory


class EdgeSplits:
    """Splits, but those by shares, taken block by block.

    Attributes:
        columns: Those that tell them.
    """

    def __init__(self, edges: Edges, room: Room) -> None:
        self._edges, self._room = edges, room
        self._reader = SplitReader(edges.split, edges.seed, room)
        self.columns = self._reader.columns

    def add(self, block: Block, where: Where) -> None:
        """Take a block.  Not collective.

        Raises:
            DataError: A value cannot be what it should be.
            ResourceError: The disk is full.
        """
        self._reader.add(block.columns, where)

    def numbers(self, kept: Kept, table: Table) -> np.ndarray | FileArray | None:
        """(E,) int8 split of each edge, -1 for none; None: they have no splits.  Collective over the group.

        Args:
            kept: This rank's rows that count.
            table: The table, which was read.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        if self._edges.split is None:
            return None
        room = self._room
        first_row = sum(room.group.allgather(kept.num_rows)[:room.group.rank])
        of_rows, own = self._reader.of_rows(begins_of_files(self._edges, table), first_row), room.growing(_ROW_BYTES)
        with room.alone():
            for first in range(0, max(1, kept.num_rows), _STEP):
                last = min(kept.num_rows, first + _STEP)
                own.add(of_rows(first, last)[kept.rows(first, last)])
        return room.joined(own.whole())


def num_splits(numbers: np.ndarray | FileArray | None, room: Room) -> int:
    """How many splits have edges.  Collective over the group.

    Args:
        numbers: (E,) int8 split of each edge; None: none is in one.
    """
    counts = np.zeros(len(SPLITS) + 1, np.int64)
    with room.alone():
        for first, last in room.pieces(0 if numbers is None else numbers.size, _ROW_BYTES):
            counts += 0 if numbers is None else np.bincount(numbers[first:last] + 1, minlength=counts.size)
    return int(np.count_nonzero(room.group.all_sum(counts)[1:]))


def ids_of_splits(numbers: np.ndarray | FileArray | None, room: Room) -> dict[str, np.ndarray]:
    """The sorted int64 edges of each split that has some; on the first rank, others get none.  Not collective.

    Args:
        numbers: (E,) int8 split of each edge; None: none is in one.

    Raises:
        ResourceError: The disk is full.
    """
    if numbers is None or room.group.rank > 0:
        return {}
    scratch = room.scratch
    if scratch is None or 8 * numbers.size <= scratch.memory // _PART:
        whole = numbers[0:numbers.size]
        found = {name: np.flatnonzero(whole == number) for number, name in enumerate(SPLITS)}
    else:
        spools = {name: Spool(scratch, np.int64) for name in SPLITS}
        step = scratch.rows(_ROW_BYTES)
        for first in range(0, numbers.size, step):
            some = numbers[first:first + step]
            for number, name in enumerate(SPLITS):
                spools[name].append(first + np.flatnonzero(some == number))
        found = {name: spool.array.rows for name, spool in spools.items()}
    return {name: ids for name, ids in found.items() if ids.size}

"""Labels and splits of the rows of a table: the first rank makes them of what all ranks have read.

Shapes: N rows of a table, K of them that are kept.
"""

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc

from mpignn.graph.likeness import SPLITS
from mpignn.large.arrays import FileArray
from mpignn.tables.description import ByFile, Rows
from mpignn.tables.kept import Kept
from mpignn.tables.labels import LabelReader, Labels
from mpignn.tables.room import Room
from mpignn.tables.splits import SplitReader
from mpignn.tables.table import Block, Table
from mpignn.tables.values import Where

log = logging.getLogger(__name__)


class Seeds:
    """Labels and splits, taken block by block.

    Attributes:
        columns: Those that tell them.
    """

    def __init__(self, rows: Rows, room: Room) -> None:
        learnt = None if rows.learnt is None else rows.learnt.labels
        self._labels = LabelReader(rows.labels, learnt) if rows.labels else None
        self._split = SplitReader(rows.split, rows.seed, room)
        self._are_wanted = bool(rows.labels) or rows.split is not None
        self._rows = rows
        self._room, self._columns = room, _Columns(room)
        self.columns = tuple(dict.fromkeys((*rows.labels, *self._split.columns)))

    def add(self, block: Block, where: Where) -> None:
        """Take a block.  Not collective.

        Raises:
            DataError: A value cannot be what it should be.
        """
        if self._room.group.size == 1:
            self._take(block, where)
        elif self.columns:
            self._columns.write(pa.RecordBatch.from_arrays([block.columns[name] for name in self.columns],
                                                           list(self.columns)))

    def found(self, kept: Kept, table: Table, kinds: np.ndarray | FileArray | None = None
              ) -> tuple[Labels | None, np.ndarray | FileArray | None]:
        """What is known of the rows that are kept; warns where there are no rows at all.  Collective over the group.

        Args:
            kept: The rows that count; no other takes part in anything.
            table: Theirs, for messages.
            kinds: As in `mpignn.tables.splits.SplitReader.splits`, of all ranks.

        Returns:
            On the first rank the labels of the rows of all ranks that are kept, on others none; and on all (K,) int8
            the split of each of these rows, `NO_SPLIT` for none; None: no row is in one.

        Raises:
            DataError: A value cannot be what it should be, or a class was not learnt; names the file and the line.
        """
        group, what = self._room.group, str(table.paths[0])
        with self._room.alone():
            path = self._columns.end()
        of_ranks = group.allgather((path, kept if self._are_wanted else kept.num_rows))
        labels: Labels | None = None
        numbers: np.ndarray | None = None
        with group.all_or_none():
            if group.rank == 0:
                if not any(some.num_rows if isinstance(some, Kept) else some for _, some in of_ranks):
                    log.warning("%s: there are no rows in it", what)
                self._take_all([of_rank for of_rank, _ in of_ranks if of_rank], table)
            if group.rank == 0 and self._are_wanted:
                mask = np.concatenate([some.mask() for _, some in of_ranks if isinstance(some, Kept)])
                labels = None if self._labels is None else self._labels.labels(mask, table.where)
                numbers = self._split.splits(mask, labels, None if kinds is None else np.asarray(kinds), what,
                                             begins_of_files(self._rows, table))
        return labels, self._room.of_first(numbers) if group.bcast(numbers is not None) else None

    def _take_all(self, paths: Sequence[str], table: Table) -> None:
        row = 0
        for path in paths:
            for batch in _read(path):
                block = Block(dict(zip(batch.schema.names, batch.columns, strict=True)), row, batch.num_rows)
                self._take(block, where_of(table, block))
                row += batch.num_rows

    def _take(self, block: Block, where: Where) -> None:
        if self._labels is not None:
            self._labels.add(block.columns, where)
        self._split.add(block.columns, where)


class _Columns:
    """Columns that this rank has read, in a file for the first rank."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._path = ""
        self._writer: ipc.RecordBatchStreamWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            assert self._room.scratch is not None, "there are several ranks"
            self._path = str(self._room.scratch.own(np.uint8, 0).path)
            self._writer = ipc.new_stream(self._path, batch.schema)
        self._writer.write_batch(batch)

    def end(self) -> str:
        """The path; empty, if nothing was written."""
        if self._writer is not None:
            self._writer.close()
        return self._path


def _read(path: str) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(path) as file:
        yield from ipc.open_stream(file)


def where_of(table: Table, block: Block) -> Where:
    """Where the rows of a block stand."""
    return lambda row: table.where(block.first_row + row)


def begins_of_files(rows: Rows, table: Table) -> Sequence[int]:
    """The row that comes first in each entry of the files, where these are splits.  Not collective.

    Args:
        rows: The description.
        table: The table, which was read.
    """
    if not isinstance(rows.split, ByFile):
        return ()
    first = dict(zip(reversed(table.paths), reversed(table.first_rows()), strict=True))
    folders = {path.parent: row for path, row in first.items()}
    return [first[entry] if entry in first else folders[entry] for entry in rows.files]


def in_train(numbers: np.ndarray | FileArray | None, kept: Kept, room: Room) -> Callable[[slice], np.ndarray]:
    """What tells by booleans which of some of this rank's rows are for training.  Collective over the group.

    Args:
        numbers: (N,) split of each row of all ranks that is kept, or None, as `Seeds.found` returns it.
        kept: The rows of this rank.
    """
    begin = sum(room.group.allgather(kept.count)[:room.group.rank])

    def of_rows(rows: slice) -> np.ndarray:
        if numbers is None:
            return np.zeros(rows.stop - rows.start, bool)
        found: np.ndarray = numbers[begin + rows.start:begin + rows.stop] == SPLITS.index("train")
        return found

    return of_rows

"""What finds the nodes of a type by the ids that users give them.

Ids are asked about in passes: some blocks of a table, one after the other, and then the answers to all of them, since
ids that do not fit memory are looked up all at once.

Shapes: R ids of a block.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.graph.user_ids import UserIds
from mpignn.large.scratch import Scratch
from mpignn.large.spool import Spool
from mpignn.tables.id_map import IdMap, id_twice, no_id
from mpignn.tables.key_file import KeyFile
from mpignn.tables.key_map import MOST_IDS
from mpignn.tables.kinds import is_text
from mpignn.tables.sharded_ids import IdsWriter, ShardedIds
from mpignn.tables.table import Block, Table
from mpignn.tables.values import plain

_ANSWERS = 8        # a lookup may hold this part of the memory


class Lookup(Protocol):
    """What is asked of the ids of a type in one pass over a table."""

    def add(self, array: pa.Array) -> None:
        """Ask about the R ids of the next block.  Not collective.

        Raises:
            DataError: What is of this type is no id.
        """

    def answers(self) -> Iterator[np.ndarray]:
        """For each block in order (R,) int32 or int64 nodes, -1 where the id is missing or unknown; once.

        Collective over the group of those who read the table.
        """


class Ids(Protocol):
    """The ids of the nodes of a type."""

    def __len__(self) -> int:
        """How many nodes there are, or are by now."""

    def ask(self) -> Lookup:
        """Begin a pass.  Not collective."""

    def user_ids(self) -> UserIds | None:
        """The ids in the order of the nodes; None: they are their numbers."""


class RowNumbers:
    """Nodes that have no ids: they are numbered from 0."""

    def __init__(self, count: int, scratch: Scratch | None = None) -> None:
        self._count, self._scratch = count, scratch

    def __len__(self) -> int:
        return self._count

    def ask(self) -> Lookup:
        return _AtOnce(self._find, self._count, self._scratch)

    def user_ids(self) -> None:
        return None

    def _find(self, array: pa.Array) -> np.ndarray:
        if is_text(array.type):
            whole = pc.match_substring_regex(array, r"^\s*\d{1,18}\s*$").fill_null(False)
            array = pc.utf8_trim_whitespace(pc.if_else(whole, array, pa.scalar(None, array.type))).cast(pa.int64())
        if pt.is_null(array.type):
            return np.full(len(array), -1, np.int64)
        if not pt.is_integer(array.type):
            raise DataError(f"ends of edges are of type {array.type}, but their nodes have no ids, and are the rows of "
                            "their table, counted from 0: name the column of their ids, id = ...")
        values, missing = plain(array)
        return np.where(missing | (values < 0) | (values >= self._count), -1, values).astype(np.int64)


class TableIds:
    """The ids that a table of nodes gives."""

    def __init__(self, found: IdMap | ShardedIds, scratch: Scratch | None = None) -> None:
        """Collective over the group of ``scratch``, if there is one."""
        self._ids, self._scratch = found, scratch
        self._find = found.find if isinstance(found, IdMap) else found.held()

    @staticmethod
    def read(blocks: Iterable[Block], column: str, table: Table, scratch: Scratch | None = None) -> "TableIds":
        """Those of a column.  Collective over the group of ``scratch``, if there is one.

        Args:
            blocks: Those of this rank.
            column: Its name.
            table: Theirs, for messages.
            scratch: Where to keep what does not fit memory; None: all fits.

        Raises:
            DataError: On all ranks: an id is missing, or stands in two rows; names the file and the lines.
            ResourceError: On all ranks: the disk is full.
        """
        arrays = (block.columns[column] for block in blocks)
        if scratch is None:
            return TableIds(IdMap.build(arrays, table.where))
        share = _MapShare(scratch)
        found = IdMap() if share.is_there else None
        written = None
        with scratch.alone():
            for array in arrays:
                if found is not None:
                    found.add(array, table.where)
                    if share.holds(found.num_bytes):
                        continue
                    written = IdsWriter(scratch, found.sign)
                    written.add_map(found)
                    found = None
                else:
                    written = written or IdsWriter(scratch, None)
                    written.add(array)
            if found is not None:
                return TableIds(found, scratch)
            written = written or IdsWriter(scratch, None)
        ids = ShardedIds(scratch, written.sign)
        wrong = ids.add_rows(written)
        if wrong is not None:
            raise _of_row(wrong, column, table, scratch.group.allgather(written.keys.count), scratch)
        return TableIds(ids, scratch)

    def __len__(self) -> int:
        return len(self._ids)

    def ask(self) -> Lookup:
        if self._find is not None:
            return _AtOnce(self._find, len(self), self._scratch)
        assert isinstance(self._ids, ShardedIds) and self._scratch is not None, "others are in memory"
        return _InFiles(self._ids, self._scratch)

    def user_ids(self) -> UserIds:
        return self._ids.user_ids()


class NewIds:
    """Ids that edges give: each that comes for the first time is a new node."""

    def __init__(self, scratch: Scratch | None = None) -> None:
        self._scratch = scratch
        self._share = None if scratch is None else _MapShare(scratch)
        self._ids: IdMap | ShardedIds = IdMap()
        if scratch is not None and self._share is not None and not self._share.is_there:
            self._ids = ShardedIds(scratch, None)

    def __len__(self) -> int:
        return len(self._ids)

    def ask(self) -> Lookup:
        return _New(self, self._scratch)

    def user_ids(self) -> UserIds:
        return self._ids.user_ids()

    def in_memory(self) -> IdMap | None:
        """The ids, if memory has room for them.  Not collective."""
        if (isinstance(self._ids, IdMap) and self._scratch is not None and self._share is not None
                and not self._share.holds(self._ids.num_bytes)):
            files = ShardedIds(self._scratch, self._ids.sign)
            files.add_map(self._ids)
            self._ids = files
        return self._ids if isinstance(self._ids, IdMap) else None

    def in_files(self) -> ShardedIds:
        """The ids, once memory has no room for them.  Not collective."""
        assert isinstance(self._ids, ShardedIds), "there was room"
        return self._ids


class _MapShare:
    """What a map takes of the memory.

    Attributes:
        is_there: Whether there is any: many ranks have the ids in files, which all of them see.
    """

    def __init__(self, scratch: Scratch) -> None:
        self._scratch, self._held = scratch, 0
        self.is_there = scratch.group.size == 1

    def holds(self, num_bytes: int) -> bool:
        """Whether there is room for so many bytes; if not, all that was taken is given back."""
        more = num_bytes - self._held
        if self._scratch.hold(more):
            self._held += more
            return True
        self._scratch.hold(-self._held)
        self._held = 0
        return False


class _AtOnce:
    """A `Lookup` of ids that are in memory; the answers are not, where they are too many."""

    def __init__(self, find: Callable[[pa.Array], np.ndarray], num_ids: int, scratch: Scratch | None) -> None:
        self._find, self._found, self._scratch = find, deque[np.ndarray](), scratch
        self._dtype = np.dtype(np.int32 if num_ids <= np.iinfo(np.int32).max else np.int64)
        self._spool: Spool | None = None
        self._sizes: list[int] = []
        self._num_bytes = 0

    def add(self, array: pa.Array) -> None:
        found = self._find(array).astype(self._dtype, copy=False)
        self._sizes.append(found.size)
        self._found.append(found)
        self._num_bytes += found.nbytes
        if self._scratch is not None and self._num_bytes > self._scratch.memory // _ANSWERS:
            self._spool = self._spool or Spool(self._scratch, self._dtype)
            while self._found:
                self._spool.append(self._found.popleft())

    def close(self) -> None:
        """Let go of the ids: no other block comes.  Not collective."""
        del self._find

    def answers(self) -> Iterator[np.ndarray]:
        if self._spool is None:
            while self._found:      # what was taken is let go
                yield self._found.popleft()
            return
        first = 0
        for size in self._sizes:
            yield self._spool.array[first:first + size]
            first += size
        self._spool.remove()


class _InFiles:
    """A `Lookup` of ids that are in files."""

    def __init__(self, ids: ShardedIds, scratch: Scratch, grows: bool = False) -> None:
        """Not collective.

        Args:
            grows: Whether those that are unknown are new ones.
        """
        self._ids, self._scratch, self._grows = ids, scratch, grows
        self._asked = IdsWriter(scratch, ids.sign, keep=grows)
        self._sizes: list[int] = []

    def add(self, array: pa.Array) -> None:
        self._asked.add(array)
        self._sizes.append(len(array))

    def answers(self) -> Iterator[np.ndarray]:
        with self._scratch.alone():
            file = self._asked.keys.close(answered=True)
        if self._grows:
            self._ids.add_new(self._asked, file)
        return self._by_block(self._ids.numbers(file), file)

    def _by_block(self, batches: Iterator[np.ndarray], file: KeyFile) -> Iterator[np.ndarray]:
        rest = np.empty(0, np.int64)
        for size in self._sizes:
            parts, missing = [rest[:size]], size - rest.size
            rest = rest[size:]
            while missing > 0:
                batch = next(batches)
                parts.append(batch[:missing])
                rest, missing = batch[missing:], missing - batch.size
            yield np.concatenate(parts)
        file.remove()


class _New:
    """A `Lookup` in which unknown ids become new ones, in memory so long as there is room."""

    def __init__(self, ids: NewIds, scratch: Scratch | None) -> None:
        self._ids, self._scratch = ids, scratch
        found = ids.in_memory()
        self._first = None if found is None else _AtOnce(found.grow, MOST_IDS, scratch)
        self._rest = None if scratch is None or found is not None else _InFiles(ids.in_files(), scratch, grows=True)

    def add(self, array: pa.Array) -> None:
        if self._rest is not None:
            self._rest.add(array)
        elif self._first is not None:
            self._first.add(array)
            if self._ids.in_memory() is None and self._scratch is not None:
                self._first.close()
                self._rest = _InFiles(self._ids.in_files(), self._scratch, grows=True)

    def answers(self) -> Iterator[np.ndarray]:
        return itertools.chain(*(some.answers() for some in (self._first, self._rest) if some is not None))


def _of_row(wrong: tuple[int, int], column: str, table: Table, counts: Sequence[int], scratch: Scratch) -> DataError:
    """The error of a row whose id is missing or was there before.  Collective over the group.

    Args:
        wrong: The row, and that where the id was; -1: it is missing.
        column: Name of the column of ids.
        table: Theirs.
        counts: How many rows each rank has.
        scratch: Knows the group.
    """
    row, before = wrong
    told = None
    begin = sum(counts[:scratch.group.rank])
    if begin <= row < begin + counts[scratch.group.rank]:
        place = table.where(row)
        told = no_id(place) if before < 0 else id_twice(place, table.where(before), table.values(row, [column])[0])
    error: DataError = next(error for error in scratch.group.allgather(told) if error is not None)
    return error.on_all()

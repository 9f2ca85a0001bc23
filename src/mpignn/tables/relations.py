"""Relations of edges that a column names: each value becomes an edge type.

Shapes: R rows of a table that this rank reads, E edges of all ranks that are kept, C relations.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from mpignn.comm.group import Group
from mpignn.errors import DataError
from mpignn.large.arrays import FileArray, LargeArray
from mpignn.tables.id_map import IdMap, first_places
from mpignn.tables.room import Chain, Room
from mpignn.tables.table import Block, Table
from mpignn.tables.values import Where

MOST_RELATIONS = 10_000
"""How many values a column may have; one with more is hardly of relations."""

_ROW_BYTES = 40     # of an edge while its numbers are in memory
_EDGE_BYTES = 32    # of one in hand


@dataclass(frozen=True)
class Relations:
    """The relations of the rows of all ranks.

    Attributes:
        column: The one that names them.
        values: C values, in the order of the names that `type_name` makes of them.
        names: What each of the numbers stands for that this rank has given; texts.
        places: For each of these its place among ``values``, int16, -1 where it is no relation; and -1.
        numbers: (R,) int16 number of the value of each row; -1 where there is none.
    """

    column: str
    values: tuple[str, ...]
    names: Sequence[str]
    places: np.ndarray
    numbers: LargeArray

    def of_rows(self, first: int, last: int) -> np.ndarray:
        """(last - first,) int16 place among ``values`` of some rows; -1 where there is no relation."""
        found: np.ndarray = self.places[self.numbers[first:last]]
        return found

    def complaint(self, row: int, place: str) -> DataError:
        """The error of a row whose relation is missing, or was not learnt.

        Args:
            row: One of this rank, counted from 0.
            place: Where the row stands.
        """
        number = int(self.numbers[row:row + 1][0])
        value = self.names[number] if number >= 0 else ""
        if not value:
            return DataError(f"{place}: {self.column} is missing, which says of what type the edge is: write it there, "
                             "or leave the row out")
        return DataError(f"{place}: {self.column} is {value!r}, which no edge had in training: leave such rows out")


def type_name(value: str) -> str:
    """The relation of an edge type that a value becomes: itself, but for what no name of a type may hold.

    ``%``, ``/``, ``:`` and NUL become ``%25``, ``%2F``, ``%3A`` and ``%00``, as in URLs, and a value that is one dot
    ``%2E``.  Values that differ become names that differ.  Not collective.
    """
    return "%2E" if value == "." else re.sub("[%/:\0]", lambda found: f"%{ord(found[0]):02X}", value)


class RelationReader:
    """Takes the column of relations block by block, and knows them once all ranks have read theirs.

    Args:
        column: Its name.
        learnt: The relations of the tables that these shall be like; None: all that are found.
        room: Where numbers go.

    Attributes:
        columns: The one that it takes.
        is_full: Whether there are too many values: no other block need come.
    """

    def __init__(self, column: str, learnt: Sequence[str] | None, room: Room) -> None:
        self.columns: tuple[str, ...] = (column,)
        self.is_full = False
        self._learnt = learnt
        self._most = max(MOST_RELATIONS, 0 if learnt is None else len(learnt))
        self._ids = IdMap()
        if learnt:
            self._ids.grow(pa.array(learnt, pa.string()))
        self._rows = [-1] * len(self._ids)      # where each value is for the first time
        self._numbers = room.growing(_ROW_BYTES)
        self._numbers.add(np.empty(0, np.int16))

    def add(self, block: Block, where: Where) -> None:
        """Take a block.  Not collective.

        Raises:
            DataError: These are of a type that tells no relations.
            ResourceError: The disk is full.
        """
        before = len(self._ids)
        try:
            found = self._ids.grow(block.columns[self.columns[0]])
        except DataError as error:
            raise DataError(f"{where(0)}: {self.columns[0]}: {error}") from error
        self._rows += (block.first_row + first_places(found, before)).tolist()
        self._numbers.add(found.astype(np.int16))
        self.is_full = len(self._ids) > self._most

    def found(self, table: Table, group: Group) -> Relations:
        """The relations, once all ranks have read their rows.  Collective over the group.

        Args:
            table: The table, for messages.
            group: Those who have read it.

        Raises:
            DataError: On all ranks: these are too many to be relations; names the file and the line.
        """
        count = min(len(self._ids), self._most + 1)
        names = [str(value) for value in self._ids.user_ids().of(0, count)]
        rows: dict[str, int] = {}
        for of_rank in group.allgather(list(zip(names, self._rows, strict=False))):
            for value, row in of_rank:
                rows.setdefault(value, row)
        if len(rows) > self._most:
            raise _too_many(table.where(list(rows.values())[self._most]), self.columns[0], self._most).on_all()
        known = set(rows if self._learnt is None else self._learnt) - {""}
        values = sorted(known, key=type_name)
        places = {value: place for place, value in enumerate(values)}
        of_names = np.array([*(places.get(name, -1) for name in names), -1], np.int16)
        return Relations(self.columns[0], tuple(values), names, of_names, self._numbers.whole())


class Apart:
    """Takes arrays of edges apart by relation.

    Args:
        kinds: (E,) int16 relation of each edge.
        num_kinds: C.
        room: Where arrays go, and who shares the work.

    Collective over the group.
    """

    def __init__(self, kinds: np.ndarray | FileArray, num_kinds: int, room: Room) -> None:
        self._kinds, self._room = kinds, room
        own = np.zeros(num_kinds, np.int64)
        with room.alone():
            for first, last in room.pieces(kinds.size, _EDGE_BYTES):
                own += np.bincount(kinds[first:last], minlength=num_kinds)
        counts = np.array(room.group.allgather(own))
        self._bounds = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
        self._places = self._bounds[:-1] + counts[:room.group.rank].sum(axis=0)
        self._order = np.argsort(kinds, kind="stable") if isinstance(kinds, np.ndarray) else None

    def parts(self, array: np.ndarray | FileArray | Chain) -> list[np.ndarray | FileArray]:
        """The rows of each relation, in the order in which they are in the array.  Collective over the group.

        Raises:
            ResourceError: On all ranks: the disk is full.
        """
        if self._order is not None and isinstance(array, np.ndarray):
            rows = array[self._order]
            return [rows[first:last] for first, last in pairwise(self._bounds.tolist())]
        shape = array.shape[1:] if not isinstance(array, Chain) else ()
        made, places = self._room.files().array(array.dtype, self._kinds.size, *shape), self._places.copy()
        with self._room.alone():
            for first, last in self._room.pieces(self._kinds.size, _EDGE_BYTES + 2 * made.row_bytes):
                kinds = self._kinds[first:last]
                order, counts = np.argsort(kinds, kind="stable"), np.bincount(kinds, minlength=places.size)
                rows, begin = array[first:last][order], 0
                for kind in np.flatnonzero(counts).tolist():
                    made.write(int(places[kind]), rows[begin:begin + counts[kind]])
                    begin += int(counts[kind])
                places += counts
        return [made.part(first, last) for first, last in pairwise(self._bounds.tolist())]


def _too_many(place: str, column: str, most: int) -> DataError:
    return DataError(f"{place}: {column} has more than {most} values by this line, each of which would be an edge "
                     "type, with 8 bytes for each node: write into graph.toml the column that holds the relations, "
                     "relation = ..., or let all be of one type, a name in the place of * and no relation; "
                     f'data = {{relation = {{column = "{column}", as = "code"}}}} keeps them as numbers')

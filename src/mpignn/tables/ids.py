"""What finds the nodes of a type by the ids that users give them.

Ids are asked about in passes: some blocks of a table, one after the other, and then the answers to all of them, since
ids that do not fit memory are looked up all at once.

Shapes: R ids of a block.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.graph.user_ids import UserIds
from mpignn.tables.id_map import MOST_IDS, IdMap
from mpignn.tables.kinds import is_text
from mpignn.tables.values import plain


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

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def ask(self) -> Lookup:
        return _AtOnce(self._find, self._count)

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

    def __init__(self, found: IdMap) -> None:
        self._found = found

    @staticmethod
    def read(chunks: Iterable[pa.Array], where: Callable[[int], str] | None = None) -> "TableIds":
        """Those of a column; args and errors as for `mpignn.tables.id_map.IdMap.build`.  Not collective."""
        return TableIds(IdMap.build(chunks, where))

    def __len__(self) -> int:
        return len(self._found)

    def ask(self) -> Lookup:
        return _AtOnce(self._found.find, len(self))

    def user_ids(self) -> UserIds:
        return self._found.user_ids()


class NewIds:
    """Ids that edges give: each that comes for the first time is a new node."""

    def __init__(self) -> None:
        self._found = IdMap()

    def __len__(self) -> int:
        return len(self._found)

    def ask(self) -> Lookup:
        return _AtOnce(self._found.grow, MOST_IDS)

    def user_ids(self) -> UserIds:
        return self._found.user_ids()


class _AtOnce:
    """A `Lookup` of ids that are in memory."""

    def __init__(self, find: Callable[[pa.Array], np.ndarray], num_ids: int) -> None:
        self._find, self._found = find, deque[np.ndarray]()
        self._dtype = np.int32 if num_ids <= np.iinfo(np.int32).max else np.int64

    def add(self, array: pa.Array) -> None:
        self._found.append(self._find(array).astype(self._dtype, copy=False))

    def answers(self) -> Iterator[np.ndarray]:
        while self._found:      # what was taken is let go
            yield self._found.popleft()

"""What finds the nodes of a type by the ids that users give them.

Shapes: R ids asked about.
"""

from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.errors import DataError
from mpignn.graph.user_ids import UserIds
from mpignn.tables.id_map import IdMap
from mpignn.tables.kinds import is_text
from mpignn.tables.values import plain


class Ids(Protocol):
    """The ids of the nodes of a type."""

    def __len__(self) -> int:
        """How many nodes there are, or are by now."""

    def find(self, array: pa.Array) -> np.ndarray:
        """(R,) int64 nodes, -1 where there is none of this id."""

    def user_ids(self) -> UserIds | None:
        """The ids in the order of the nodes; None: they are their numbers."""


class RowNumbers:
    """Nodes that have no ids: they are numbered from 0."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def find(self, array: pa.Array) -> np.ndarray:
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

    def user_ids(self) -> None:
        return None


class NewIds:
    """Ids that edges give: each that comes for the first time is a new node."""

    def __init__(self) -> None:
        self._found = IdMap()

    def __len__(self) -> int:
        return len(self._found)

    def find(self, array: pa.Array) -> np.ndarray:
        return self._found.grow(array)

    def user_ids(self) -> UserIds:
        return self._found.user_ids()

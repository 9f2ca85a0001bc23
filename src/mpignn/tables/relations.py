"""Relations of edges that a column names: each value becomes an edge type.

Shapes: R rows of a table, K of them that are kept, C relations.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mpignn.errors import DataError
from mpignn.tables.id_map import IdMap
from mpignn.tables.table import Block, Table
from mpignn.tables.values import Where

MOST_RELATIONS = 10_000
"""How many values a column may have; one with more is hardly of relations."""


@dataclass(frozen=True)
class Relations:
    """The relations of the rows that are kept.

    Attributes:
        values: C values, in the order of the names that `type_name` makes of them.
        rows: For each of these the ascending places, among the rows that are kept, of its edges; may be empty.
    """

    values: tuple[str, ...]
    rows: Sequence[np.ndarray]


def type_name(value: str) -> str:
    """The relation of an edge type that a value becomes: itself, but for what no name of a type may hold.

    ``%``, ``/``, ``:`` and NUL become ``%25``, ``%2F``, ``%3A`` and ``%00``, as in URLs, and a value that is one dot
    ``%2E``.  Values that differ become names that differ.  Not collective.
    """
    return "%2E" if value == "." else re.sub("[%/:\0]", lambda found: f"%{ord(found[0]):02X}", value)


class RelationReader:
    """Takes the column of relations block by block, and knows them once it has all.

    Args:
        column: Its name.
        learnt: The relations of the tables that these shall be like; None: all that are found.
    """

    def __init__(self, column: str, learnt: Sequence[str] | None) -> None:
        self.columns = (column,)
        self._learnt = learnt
        self._ids = IdMap()
        if learnt:
            self._ids.grow(pa.array(learnt, pa.string()))
        self._blocks = [np.empty(0, np.int16)]

    def add(self, block: Block, where: Where) -> None:
        """Take a block.  Not collective.

        Raises:
            DataError: These are too many to be relations, or of a type that tells none.
        """
        column, before = self.columns[0], len(self._ids)
        array = block.columns[column]
        try:
            found = self._ids.grow(array)
        except DataError as error:
            raise DataError(f"{where(0)}: {column}: {error}") from error
        most = max(MOST_RELATIONS, 0 if self._learnt is None else len(self._learnt))
        if len(self._ids) > most:
            row = int(np.flatnonzero(found >= max(before, most))[0])
            raise DataError(f"{where(row)}: {column} has more than {most} values by this line, each of which would be "
                            "an edge type, with 8 bytes for each node: write into graph.toml the column that holds the "
                            "relations, relation = ..., or let all be of one type, a name in the place of * and no "
                            f'relation; data = {{relation = {{column = "{column}", as = "code"}}}} keeps them as '
                            "numbers")
        self._blocks.append(found.astype(np.int16))

    def numbers(self) -> np.ndarray:
        """(R,) int16: equal where relations are; -1 where there is none."""
        numbers: np.ndarray = np.concatenate(self._blocks)
        return numbers

    def found(self, numbers: np.ndarray, kept: np.ndarray, table: Table) -> Relations:
        """The relations of the rows that are kept.  Not collective.

        Args:
            numbers: (R,) what `numbers` has returned.
            kept: (R,) booleans: the rows that count.
            table: Theirs, for messages.

        Raises:
            DataError: One is missing, or was not learnt; names the file and the line.
        """
        values = [str(value) for value in self._ids.user_ids().of(0, len(self._ids))]
        usable = np.array([bool(value) and (self._learnt is None or i < len(self._learnt))
                           for i, value in enumerate(values)] + [False])
        wrong = np.flatnonzero(kept & ~usable[numbers])
        if wrong.size:
            row, column = int(wrong[0]), self.columns[0]
            value = values[numbers[row]] if numbers[row] >= 0 else ""
            if not value:
                raise DataError(f"{table.where(row)}: {column} is missing, which says of what type the edge is: write "
                                "it there, or leave the row out")
            raise DataError(f"{table.where(row)}: {column} is {value!r}, which no edge had in training: leave such "
                            "rows out")
        order = sorted((i for i in range(len(values)) if usable[i]), key=lambda i: type_name(values[i]))
        place = np.full(len(values) + 1, -1, np.int16)
        place[order] = np.arange(len(order))
        return Relations(tuple(values[i] for i in order), list(_grouped(place[numbers[kept]], len(order))))


def _grouped(numbers: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """The ascending places of each of the numbers ``0:count``."""
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(count + 1))
    for begin, end in zip(bounds, bounds[1:], strict=False):
        yield order[begin:end]

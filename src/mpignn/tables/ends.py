"""The ends of the edges of a table.

Shapes: R rows of a block.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from mpignn.comm.group import LocalGroup
from mpignn.errors import DataError
from mpignn.graph.types import EType
from mpignn.large.scratch import Scratch
from mpignn.tables.description import Edges
from mpignn.tables.ids import Ids, NewIds
from mpignn.tables.seeds import where_of
from mpignn.tables.table import Block, Table
from mpignn.tables.values import Where


class Taker(Protocol):
    """Who takes columns of a table block by block.

    Attributes:
        columns: Their names.
    """

    columns: tuple[str, ...]

    def add(self, block: Block, where: Where) -> None:
        """Take a block.  Not collective.

        Raises:
            DataError: A value cannot be what it should be.
        """


class Ends:
    """The ends of the edges of a table, found in one pass over it.

    Attributes:
        unknown: How many edges of this rank have an end that is no node, once all is found.
    """

    def __init__(self, etype: EType, edges: Edges, ids: Mapping[str, Ids], table: Table, scratch: Scratch | None
                 ) -> None:
        self._table, self._drop_unknown = table, edges.drop_unknown
        self._group = LocalGroup() if scratch is None else scratch.group
        self._ends = (edges.src, etype[0]), (edges.dst, etype[2])
        src_ids, dst_ids = ids[etype[0]], ids[etype[2]]
        # New nodes get their numbers in the order in which a reader meets them.
        self._in_turns = src_ids is dst_ids and isinstance(src_ids, NewIds)
        self._ids = [src_ids] if self._in_turns else [src_ids, dst_ids]
        self._lookups = [of_type.ask() for of_type in self._ids]
        self._first_rows: list[int] = []        # of each block
        self._first_unknown: tuple[int, int] | None = None      # row and end
        self.unknown = 0

    def add_all(self, others: Sequence[Taker], is_enough: Callable[[], bool]) -> None:
        """Read the ends of all edges; others get their columns.  Collective over the group.

        Args:
            others: Those.
            is_enough: Whether no other block need come.

        Raises:
            DataError: A value cannot be what it should be.
        """
        (src, _), (dst, _) = self._ends
        columns = list(dict.fromkeys((src, dst, *(column for taker in others for column in taker.columns))))
        for block in itertools.takewhile(lambda _: not is_enough(), self._table.batches(columns, what="read ends of")):
            ends = block.columns[src], block.columns[dst]
            for lookup, array in zip(self._lookups, [_zipped(*ends)] if self._in_turns else ends, strict=True):
                lookup.add(array)
            self._first_rows.append(block.first_row)
            for taker in others:
                taker.add(block, where_of(self._table, block))

    @property
    def first_row(self) -> int:
        """The row of the table with which those of this rank begin."""
        return self._first_rows[0] if self._first_rows else 0

    def answers(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(R,) sources and destinations of each block, -1 where an end is no node; once.  Collective over the group."""
        found = zip(*[lookup.answers() for lookup in self._lookups], strict=True)
        small = all(len(of_type) <= np.iinfo(np.int32).max for of_type in self._ids)     # with those that are new
        kind = np.dtype(np.int32 if small else np.int64)
        yield np.empty(0, kind), np.empty(0, kind)
        for first_row, nodes in zip(self._first_rows, found, strict=True):
            src, dst = (end.astype(kind, copy=False) for end in (
                (nodes[0][::2], nodes[0][1::2]) if self._in_turns else nodes))
            unknown = np.flatnonzero((src < 0) | (dst < 0))
            self.unknown += unknown.size
            if unknown.size and self._first_unknown is None:
                self._first_unknown = first_row + int(unknown[0]), 0 if src[unknown[0]] < 0 else 1
            yield src, dst

    def check(self) -> None:
        """Raise if an edge has an end that is no node, and these are not to be left out; once all is found.

        Collective over the group.

        Raises:
            DataError: On all ranks: names the first one.
        """
        if self._drop_unknown:
            return
        told = None if self._first_unknown is None else (self._first_unknown[0], self._complaint(*self._first_unknown))
        of_ranks = self._group.allgather((told, self.unknown))
        complaints = [some for some, _ in of_ranks if some is not None]
        if complaints:
            others = sum(count for _, count in of_ranks) - 1
            more = f"; so it is with {others} more edges" if others else ""
            raise DataError(f"{min(complaints)[1]}{more}: mend the table, or leave such edges out by on_unknown = "
                            "\"drop\" in the description, or by --on-unknown drop").on_all()

    def _complaint(self, row: int, end: int) -> str:
        column, ntype = self._ends[end]
        value, place = self._table.values(row, [column])[0], self._table.where(row)
        return (f"{place}: {column} is missing" if value is None else
                f"{place}: {column} is {value!r}, which is no node of type {ntype}")


def _zipped(one: pa.Array, other: pa.Array) -> pa.Array:
    """The entries of two arrays in turns."""
    if one.type != other.type:
        one, other = one.cast(pa.string()), other.cast(pa.string())
    turns = np.arange(2 * len(one)).reshape(2, -1).T.reshape(-1)
    return pa.concat_arrays([one, other]).take(pa.array(turns))

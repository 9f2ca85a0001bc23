"""The edges of one type, or of all relations that a column names, out of their table.

Shapes: R rows of a table or a block, E edges that are kept, and with those the other way round.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from mpignn.comm.group import Group, LocalGroup
from mpignn.errors import DataError
from mpignn.graph.likeness import SPLITS
from mpignn.graph.types import EType
from mpignn.large.arrays import FileArray, LargeArray
from mpignn.large.scratch import Scratch
from mpignn.tables.alike import again, first_alike, spread
from mpignn.tables.description import LABELS, Edges
from mpignn.tables.ids import Ids, NewIds
from mpignn.tables.kept import Kept
from mpignn.tables.learnt import Learnt
from mpignn.tables.relations import RelationReader, Relations, type_name
from mpignn.tables.room import Chain, Room, chained, put
from mpignn.tables.rows import open_table, read_data
from mpignn.tables.seeds import Seeds, in_split, own_in_train, where_of
from mpignn.tables.table import Table

log = logging.getLogger(__name__)

SORT_BYTES, _EDGE_BYTES = 40, 64      # of an edge while all are sorted in memory; of one in hand
_STEP = 1 << 20     # edges of a mask in hand

MESSAGE = "message"
"""Edge data that is false on the edges of val and test, and on all that join the same nodes: they are to be predicted.

Where edges hold both ways, those the other way round join the same nodes."""


@dataclass(frozen=True)
class EdgeRows:
    """What a table says of the edges of a type.

    Attributes:
        src, dst: (E,) int32 or int64 nodes; edge i goes from ``src[i]`` to ``dst[i]``.
        data: By name, (E, ...); labels and messages the first rank knows alone.
        splits: Sorted edges of each split; on the first rank.
        class_names: By name of the data, what users call its numbers, where that is something else.
    """

    src: np.ndarray | Chain
    dst: np.ndarray | Chain
    data: dict[str, np.ndarray]
    splits: dict[str, np.ndarray]
    class_names: dict[str, tuple[str, ...]]


def read_edges(etype: EType, edges: Edges, ids: Mapping[str, Ids], what: str, keep_dtype: bool,
               room: Room) -> tuple[dict[EType, EdgeRows], Learnt]:
    """Read the edges of a type, or of several, by name, of which a column names the relation.  Collective.

    Shares of a split are drawn in each type, and duplicates are those within a type; all else is learnt of the rows of
    the table together.

    Args:
        etype: The type.
        edges: Its description.
        ids: What finds nodes, by node type.
        what: Where the description stands, for messages.
        keep_dtype: As in `mpignn.tables.rows.read_data`.
        room: Where arrays go, and who reads together.

    Returns:
        The edges by type, and what makes those of other tables likewise.

    Raises:
        DataError: An end that is missing or is no node, a column that is not there, a value that is not what it should
            be; names the file and the line.
    """
    group, alone = room.group, _is_whole(edges)
    texts = [edges.src, edges.dst] + ([] if edges.relation is None else [edges.relation])
    table, seeds = open_table(edges, what, texts, group, alone), Seeds(edges, room)
    reader = None
    if edges.relation is not None:
        reader = RelationReader(edges.relation, None if edges.learnt is None else edges.learnt.relations)
    ends = _Ends(etype, edges, ids, table, room.scratch)
    with room.alone():
        ends.add_all([seeds] if reader is None else [seeds, reader])
    src, dst, kept = _known(ends, edges, etype, room)
    ends.check()
    if edges.drop_duplicates and not alone:
        num_nodes = len(ids[etype[0]]), len(ids[etype[2]])
        twice = again(room.together(src), room.together(dst), num_nodes, edges.reverse is True, src.size, room)
        src, dst, kept = _without(src, twice, room), _without(dst, twice, room), kept.without(twice)
    relations, alike, kinds = None, None, None
    with room.alone():
        if alone and group.rank == 0:
            src, dst = np.asarray(src), np.asarray(dst)
            kinds = None if reader is None else reader.numbers()[kept.mask()]
            if edges.drop_duplicates:
                twice = first_alike(src, dst, kinds, edges.reverse is True) != np.arange(src.size)
                src, dst, kept = src[~twice], dst[~twice], kept.without(twice)
                kinds = None if kinds is None else kinds[~twice]
            if reader is not None:
                relations = reader.found(reader.numbers(), kept.mask(), table)
            if edges.split is not None and not edges.labels and not edges.drop_duplicates:
                alike = first_alike(src, dst, kinds, edges.reverse is True)
    _tell_dropped(table, kept, ends.unknown, group)
    labels, splits = seeds.found(kept, table, alike, None if relations is None else relations.rows)
    data, names, columns = read_data(table, edges.made(), own_in_train(splits, kept, room), what, keep_dtype, kept,
                                     edges.learnt, room)
    if labels is not None:
        data[LABELS] = labels.values
        if labels.names is not None:
            names[LABELS] = labels.names
    holds_out = len(splits) > 1 if edges.learnt is None else edges.learnt.held_out
    if not edges.labels and holds_out and MESSAGE not in data and group.rank == 0:
        held_out = np.any([in_split(splits, name, kept.count) for name in SPLITS[1:]], axis=0)
        data[MESSAGE] = ~(held_out if alike is None else spread(held_out, alike))
    learnt = Learnt(columns, None if labels is None else labels.learnt, labels is None and holds_out,
                    None if relations is None else relations.values)
    if not alone:
        found = EdgeRows(room.together(src), room.together(dst), data, splits, names)
        return {etype: both_ways(found, room) if edges.reverse is True else found}, learnt
    by_type: dict[EType, EdgeRows] = {}
    with room.alone():
        if group.rank == 0:
            found = EdgeRows(np.asarray(src), np.asarray(dst), data, splits, names)
            by_type = {etype: found} if relations is None else dict(_apart(found, etype, relations))
            if edges.reverse is True:
                by_type = {of: _both_ways_in_memory(rows) for of, rows in by_type.items()}
    return _told(by_type, room), learnt


def _is_whole(edges: Edges) -> bool:
    """Whether something is asked of all edges together, for which the first rank reads them all into its memory."""
    held_out = edges.learnt is not None and edges.learnt.held_out
    return bool(edges.relation is not None or held_out or (edges.split is not None and not edges.labels)
                or (edges.labels and edges.reverse is True))


def _known(ends: "_Ends", edges: Edges, etype: EType, room: Room) -> tuple[LargeArray, LargeArray, Kept]:
    """(E,) sources and destinations of this rank's edges whose ends are nodes, and which these are.  Collective."""
    src, dst, kept = room.growing(SORT_BYTES), room.growing(SORT_BYTES), Kept()
    answers = ends.answers()
    with room.alone():
        for one, other in answers:
            mask = (one >= 0) & (other >= 0)
            if edges.drop_self_loops and etype[0] == etype[2]:
                mask &= one != other
            kept.add(mask)
            is_all = mask.all()
            src.add(one if is_all else one[mask])
            dst.add(other if is_all else other[mask])
    return src.whole(), dst.whole(), kept


def _without(ends: LargeArray, dropped: np.ndarray, room: Room) -> LargeArray:
    """The ends of this rank's edges but some.  Collective over the group."""
    kept, step = room.growing(SORT_BYTES), _STEP
    with room.alone():
        for first in range(0, max(1, dropped.size), step):
            kept.add(ends[first:first + step][~dropped[first:first + step]])
    return kept.whole()


def _told(by_type: dict[EType, EdgeRows], room: Room) -> dict[EType, EdgeRows]:
    """What the first rank has, on others the ends alone.  Collective over the group."""
    if room.group.size == 1:
        return by_type
    ends: list[tuple[EType, Chain, Chain]] = []
    with room.alone():
        if room.group.rank == 0:
            ends = [(etype, Chain([room.files().kept(rows.src)]), Chain([room.files().kept(rows.dst)]))
                    for etype, rows in by_type.items() if not isinstance(rows.src, Chain)
                    and not isinstance(rows.dst, Chain)]
    return {etype: replace(by_type.get(etype, EdgeRows(src, dst, {}, {}, {})), src=src, dst=dst)
            for etype, src, dst in room.group.bcast(ends)}


def both_ways(found: EdgeRows, room: Room) -> EdgeRows:
    """The edges, and behind them each the other way round; a self loop is that already.  Collective over the group."""
    src, dst = found.src, found.dst
    if not isinstance(src, Chain) and all(isinstance(array, np.ndarray) for array in found.data.values()):
        return _both_ways_in_memory(found)
    back_src, back_dst = room.growing(SORT_BYTES), room.growing(SORT_BYTES)
    with room.alone():
        for first, last in room.files().pieces(src.size, _EDGE_BYTES):
            some, others = src[first:last], dst[first:last]
            back = some != others
            back_src.add(others[back])
            back_dst.add(some[back])
        back_src.add(np.empty(0, src.dtype))
        back_dst.add(np.empty(0, src.dtype))
    counts = room.group.allgather(back_src.size)
    data = {name: room.array(array.dtype, src.size + sum(counts), *array.shape[1:])
            for name, array in found.data.items()}
    with room.alone():
        for name, array in found.data.items():
            place = src.size + sum(counts[:room.group.rank])
            for first, last in room.files().pieces(src.size, _EDGE_BYTES + array.nbytes // max(1, src.size)):
                rows = array[first:last]
                again = rows[src[first:last] != dst[first:last]]
                put(data[name], first, rows)
                put(data[name], place, again)
                place += len(again)
    return replace(found, src=chained(src, room.together(back_src.whole())),
                   dst=chained(dst, room.together(back_dst.whole())), data={
                       name: array.rows if isinstance(array, FileArray) else array for name, array in data.items()})


def _both_ways_in_memory(found: EdgeRows) -> EdgeRows:
    src, dst = np.asarray(found.src), np.asarray(found.dst)
    back = np.flatnonzero(src != dst)
    return replace(found, src=np.concatenate([src, dst[back]]), dst=np.concatenate([dst, src[back]]),
                   data={name: np.concatenate([array, array[back]]) for name, array in found.data.items()})


def turned(found: EdgeRows) -> EdgeRows:
    """The same edges the other way round, with their data, but not what is to be learnt of them."""
    data = {name: array for name, array in found.data.items() if name != LABELS}
    names = {name: some for name, some in found.class_names.items() if name != LABELS}
    return EdgeRows(found.dst, found.src, data, {}, names)


def _apart(found: EdgeRows, etype: EType, relations: Relations) -> Iterator[tuple[EType, EdgeRows]]:
    """The edges of each relation, in the order in which they are in the table."""
    src, dst = np.asarray(found.src), np.asarray(found.dst)
    marks = {name: in_split(found.splits, name, src.size) for name in found.splits}
    for value, rows in zip(relations.values, relations.rows, strict=True):
        splits = {name: np.flatnonzero(mark[rows]) for name, mark in marks.items()}
        yield (etype[0], type_name(value), etype[2]), replace(
            found, src=src[rows], dst=dst[rows],
            data={name: array[rows] for name, array in found.data.items()},
            splits={name: places for name, places in splits.items() if places.size})


class _Ends:
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

    def add_all(self, others: Sequence[Seeds | RelationReader]) -> None:
        """Read the ends of all edges; others get their columns.  Not collective."""
        (src, _), (dst, _) = self._ends
        columns = list(dict.fromkeys((src, dst, *(column for taker in others for column in taker.columns))))
        for block in self._table.batches(columns):
            ends = block.columns[src], block.columns[dst]
            for lookup, array in zip(self._lookups, [_zipped(*ends)] if self._in_turns else ends, strict=True):
                lookup.add(array)
            self._first_rows.append(block.first_row)
            for taker in others:
                taker.add(block, where_of(self._table, block))

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


def _tell_dropped(table: Table, kept: Kept, unknown: int, group: Group) -> None:
    """Tell of edges of all ranks that are left out.  Collective over the group."""
    num_rows, dropped, unknown = group.all_sum(np.array([kept.num_rows, kept.num_rows - kept.count, unknown])).tolist()
    if group.rank == 0 and unknown:
        log.warning("%s: %d of %d edges are left out, which have an end that is no node", table.paths[0], unknown,
                    num_rows)
    if group.rank == 0 and dropped > unknown:
        log.info("%s: %d of %d edges are left out, as duplicates or self loops", table.paths[0], dropped - unknown,
                 num_rows)

"""The edges of one type, or of all relations that a column names, out of their table.

Shapes: R rows of a table that this rank reads, K of these that are kept, E edges of all ranks.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mpignn.comm.group import Group
from mpignn.graph.types import EType
from mpignn.large.arrays import LargeArray, rows_of
from mpignn.tables.alike import Alike, EdgeEnds, each_alone
from mpignn.tables.description import LABELS, ByShare, Edges
from mpignn.tables.draws import drawn, messages
from mpignn.tables.edge_rows import SORT_BYTES, EdgeRows, both_ways, by_relation
from mpignn.tables.edge_splits import EdgeSplits, ids_of_splits, num_splits
from mpignn.tables.ends import Ends, Taker
from mpignn.tables.ids import Ids
from mpignn.tables.kept import Kept
from mpignn.tables.learnt import Learnt
from mpignn.tables.relations import RelationReader, Relations
from mpignn.tables.room import Room
from mpignn.tables.rows import open_table, read_data
from mpignn.tables.seeds import Seeds, in_train
from mpignn.tables.table import Table

log = logging.getLogger(__name__)

_STEP = 1 << 20     # edges of a mask in hand

MESSAGE = "message"
"""Edge data that is false on the edges of val and test, and on all that join the same nodes: they are to be predicted.

Where edges hold both ways, those the other way round join the same nodes."""


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
    texts = [edges.src, edges.dst] + ([] if edges.relation is None else [edges.relation])
    table, no_split = open_table(edges, what, texts, room), replace(edges, split=None)
    seeds = Seeds(edges if edges.labels else no_split, room)
    splits = EdgeSplits(no_split if edges.labels else edges, room)
    own, relations = _read(etype, edges, ids, table, [seeds, splits], room)
    every, num_kinds = own.together(room), 1 if relations is None else len(relations.values)
    alike = partial(Alike, num_kinds=num_kinds, num_nodes=(len(ids[etype[0]]), len(ids[etype[2]])),
                    both_ways=edges.reverse is True, room=room)
    if edges.drop_duplicates:
        own = own.without(alike(every).later(own.kept.count), room)
        every = own.together(room)
    _tell_dropped(table, own, room.group)
    labels, numbers = seeds.found(own.kept, table, every.kinds)
    size, by_share = every.src.size, not edges.labels and isinstance(edges.split, ByShare)
    if not edges.labels and isinstance(edges.split, ByShare):
        groups = partial(each_alone, every, room) if edges.drop_duplicates else alike(every).some
        numbers = drawn(groups, edges.split.shares, edges.seed, num_kinds, size, room)
    elif not edges.labels:
        numbers = splits.numbers(own.kept, table)
    data, names, columns = read_data(table, edges.made(), in_train(numbers, own.kept, room), what, keep_dtype, own.kept,
                                     edges.learnt, room)
    if edges.labels:
        data[LABELS] = rows_of(room.of_first(None if labels is None else labels.values))
        if labels is not None and labels.names is not None:
            names[LABELS] = labels.names
    holds_out = num_splits(numbers, room) > 1 if edges.learnt is None else edges.learnt.held_out
    if not edges.labels and holds_out and MESSAGE not in data:
        is_same = numbers is None or edges.drop_duplicates or by_share      # in all edges between the same nodes
        data[MESSAGE] = rows_of(messages(numbers, size, None if is_same else alike(every), room))
    learnt = Learnt(columns, None if labels is None else labels.learnt, not edges.labels and holds_out,
                    None if relations is None else relations.values)
    found = EdgeRows(every.src, every.dst, data, {}, names)
    if relations is not None and every.kinds is not None:
        return by_relation(found, etype, relations.values, every.kinds, numbers, edges.reverse is True, room), learnt
    with room.alone():
        found = replace(found, splits=ids_of_splits(numbers, room))
    return {etype: both_ways(found, room) if edges.reverse is True else found}, learnt


@dataclass(frozen=True)
class _Own:
    """The edges of this rank.

    Attributes:
        src, dst: (K,) nodes.
        kinds: (K,) int16 relation of each; None: all are of one type.
        kept: Which rows they are.
        unknown: How many rows are left out since an end is no node.
    """

    src: LargeArray
    dst: LargeArray
    kinds: LargeArray | None
    kept: Kept
    unknown: int

    def together(self, room: Room) -> EdgeEnds:
        """Those of all ranks.  Collective over the group."""
        return EdgeEnds(room.together(self.src), room.together(self.dst),
                        None if self.kinds is None else room.joined(self.kinds))

    def without(self, dropped: np.ndarray, room: Room) -> "_Own":
        """The same but some, by (K,) booleans.  Collective over the group."""
        def left(array: LargeArray) -> LargeArray:
            growing = room.growing(SORT_BYTES)
            with room.alone():
                for first in range(0, max(1, dropped.size), _STEP):
                    growing.add(array[first:first + _STEP][~dropped[first:first + _STEP]])
            return growing.whole()

        return replace(self, src=left(self.src), dst=left(self.dst),
                       kinds=None if self.kinds is None else left(self.kinds), kept=self.kept.without(dropped))


def _read(etype: EType, edges: Edges, ids: Mapping[str, Ids], table: Table, takers: list[Taker], room: Room
          ) -> tuple[_Own, Relations | None]:
    """The edges of this rank whose ends are nodes, and the relations, if a column names these.  Collective.

    Args:
        takers: Who takes other columns in the same pass.
    """
    ends, reader = Ends(etype, edges, ids, table, room.scratch), None
    if edges.relation is not None:
        reader = RelationReader(edges.relation, None if edges.learnt is None else edges.learnt.relations, room)
    with room.alone():
        ends.add_all(takers if reader is None else [*takers, reader], lambda: reader is not None and reader.is_full)
    relations = None if reader is None else reader.found(table, room.group)
    src, dst, kinds, kept = room.growing(SORT_BYTES), room.growing(SORT_BYTES), room.growing(SORT_BYTES), Kept()
    answers, wrong = ends.answers(), None
    with room.alone():
        for one, other in answers:
            mask = (one >= 0) & (other >= 0)
            if edges.drop_self_loops and etype[0] == etype[2]:
                mask &= one != other
            is_all = mask.all()
            if relations is not None:
                of_rows = relations.of_rows(kept.num_rows, kept.num_rows + mask.size)
                bad = np.flatnonzero(mask & (of_rows < 0))
                wrong = kept.num_rows + int(bad[0]) if bad.size and wrong is None else wrong
                kinds.add(of_rows if is_all else of_rows[mask])
            kept.add(mask)
            src.add(one if is_all else one[mask])
            dst.add(other if is_all else other[mask])
    ends.check()
    with room.alone():
        if relations is not None and wrong is not None:
            raise relations.complaint(wrong, table.where(ends.first_row + wrong))
    return _Own(src.whole(), dst.whole(), None if reader is None else kinds.whole(), kept, ends.unknown), relations


def _tell_dropped(table: Table, own: _Own, group: Group) -> None:
    """Tell of edges of all ranks that are left out.  Collective over the group."""
    num_rows, count, unknown = group.all_sum(np.array([own.kept.num_rows, own.kept.count, own.unknown])).tolist()
    if group.rank == 0 and unknown:
        log.warning("%s: %d of %d edges are left out, which have an end that is no node", table.paths[0], unknown,
                    num_rows)
    if group.rank == 0 and num_rows - count > unknown:
        log.info("%s: %d of %d edges are left out, as duplicates or self loops", table.paths[0],
                 num_rows - count - unknown, num_rows)

"""The edges of one type out of their table.

Shapes: R rows of a table or a block, E edges that are kept, and with those the other way round.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from mpignn.errors import DataError
from mpignn.graph.likeness import SPLITS
from mpignn.graph.types import EType
from mpignn.tables.description import LABELS, Edges
from mpignn.tables.ids import Ids, NewIds
from mpignn.tables.learnt import Learnt
from mpignn.tables.rows import Seeds, in_split, open_table, read_data, where_of
from mpignn.tables.table import Block, Table

log = logging.getLogger(__name__)

MESSAGE = "message"
"""Edge data that is false on the edges of val and test, and on all that join the same nodes: they are to be predicted.

Where edges hold both ways, those the other way round join the same nodes."""


@dataclass(frozen=True)
class EdgeRows:
    """What a table says of the edges of a type.

    Attributes:
        src, dst: (E,) int32 or int64 nodes; edge i goes from ``src[i]`` to ``dst[i]``.
        data: By name, (E, ...).
        splits: Sorted edges of each split.
        class_names: By name of the data, what users call its numbers, where that is something else.
        learnt: What makes data of other rows likewise.
    """

    src: np.ndarray
    dst: np.ndarray
    data: dict[str, np.ndarray]
    splits: dict[str, np.ndarray]
    class_names: dict[str, tuple[str, ...]]
    learnt: Learnt


def read_edges(etype: EType, edges: Edges, ids: Mapping[str, Ids], what: str, keep_dtype: bool) -> EdgeRows:
    """Read the edges of a type.  Not collective.

    Args:
        etype: The type.
        edges: Its description.
        ids: What finds nodes, by node type.
        what: Where the description stands, for messages.
        keep_dtype: As in `mpignn.tables.rows.read_data`.

    Raises:
        DataError: An end that is missing or is no node, a column that is not there, a value that is not what it should
            be; names the file and the line.
    """
    table, seeds = open_table(edges, what, [edges.src, edges.dst]), Seeds(edges)
    ends = _Ends(etype, edges, ids, table)
    src, dst = ends.read(seeds)
    kept = _kept(src, dst, edges, etype)
    _tell_dropped(table, src, kept, ends.unknown)
    if not kept.all():
        src, dst = src[kept], dst[kept]
    predicted = edges.split is not None and not edges.labels
    alike = _first_alike(src, dst, edges) if predicted and not edges.drop_duplicates else None
    labels, splits = seeds.found(kept, table, alike)
    in_train = in_split(splits, SPLITS[0], src.size)
    data, names, columns = read_data(table, edges.made(), in_train, what, keep_dtype, kept, edges.learnt)
    if labels is not None:
        data[LABELS] = labels.values
        if labels.names is not None:
            names[LABELS] = labels.names
    holds_out = len(splits) > 1 if edges.learnt is None else edges.learnt.held_out
    if labels is None and holds_out and MESSAGE not in data:
        held_out = np.any([in_split(splits, name, src.size) for name in SPLITS[1:]], axis=0)
        data[MESSAGE] = ~(held_out if alike is None else _spread(held_out, alike))
    learnt = Learnt(columns, None if labels is None else labels.learnt, labels is None and holds_out)
    found = EdgeRows(src, dst, data, splits, names, learnt)
    return _both_ways(found) if edges.reverse is True else found


def turned(found: EdgeRows) -> EdgeRows:
    """The same edges the other way round, with their data, but not what is to be learnt of them."""
    data = {name: array for name, array in found.data.items() if name != LABELS}
    names = {name: some for name, some in found.class_names.items() if name != LABELS}
    return EdgeRows(found.dst, found.src, data, {}, names, found.learnt)


class _Ends:
    """The ends of the edges of a table, found block by block.

    Attributes:
        unknown: How many edges have an end that is no node.
    """

    def __init__(self, etype: EType, edges: Edges, ids: Mapping[str, Ids], table: Table) -> None:
        self._table, self._edges = table, edges
        self._ends = [(edges.src, etype[0], ids[etype[0]]), (edges.dst, etype[2], ids[etype[2]])]
        self._first_unknown: str | None = None
        self.unknown = 0

    def read(self, seeds: Seeds) -> tuple[np.ndarray, np.ndarray]:
        """(R,) sources and destinations of all rows, -1 where an end is no node; seeds get their columns."""
        columns = list(dict.fromkeys((self._edges.src, self._edges.dst, *seeds.columns)))
        small = all(len(ids) <= np.iinfo(np.int32).max for _, _, ids in self._ends)
        kind = np.dtype(np.int32 if small else np.int64)
        found: list[list[np.ndarray]] = [[np.empty(0, kind)], [np.empty(0, kind)]]
        for block in self._table.batches(columns):
            for end, nodes in zip(found, self._of(block), strict=True):
                end.append(nodes.astype(kind, copy=False))
            seeds.add(block, where_of(self._table, block))
        if self._first_unknown is not None and not self._edges.drop_unknown:
            others = f"; so it is with {self.unknown - 1} more edges" if self.unknown > 1 else ""
            raise DataError(f"{self._first_unknown}{others}: mend the table, or leave such edges out by on_unknown = "
                            "\"drop\" in the description, or by --on-unknown drop")
        src, dst = (np.concatenate(end) for end in found)
        return src, dst

    def _of(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        (src_column, _, src_ids), (dst_column, _, dst_ids) = self._ends
        arrays = [block.columns[src_column], block.columns[dst_column]]
        if src_ids is dst_ids and isinstance(src_ids, NewIds):
            # New nodes get their numbers in the order in which a reader meets them.
            both = src_ids.find(_zipped(*arrays))
            nodes = [both[::2], both[1::2]]
        else:
            nodes = [src_ids.find(arrays[0]), dst_ids.find(arrays[1])]
        unknown = np.flatnonzero((nodes[0] < 0) | (nodes[1] < 0))
        self.unknown += unknown.size
        if unknown.size and self._first_unknown is None:
            row = int(unknown[0])
            self._first_unknown = self._complaint(block, row, 0 if nodes[0][row] < 0 else 1)
        return nodes[0], nodes[1]

    def _complaint(self, block: Block, row: int, end: int) -> str:
        column, ntype, _ = self._ends[end]
        value = block.columns[column][row].as_py()
        place = where_of(self._table, block)(row)
        return (f"{place}: {column} is missing" if value is None else
                f"{place}: {column} is {value!r}, which is no node of type {ntype}")


def _zipped(one: pa.Array, other: pa.Array) -> pa.Array:
    """The entries of two arrays in turns."""
    if one.type != other.type:
        one, other = one.cast(pa.string()), other.cast(pa.string())
    turns = np.arange(2 * len(one)).reshape(2, -1).T.reshape(-1)
    return pa.concat_arrays([one, other]).take(pa.array(turns))


def _kept(src: np.ndarray, dst: np.ndarray, edges: Edges, etype: EType) -> np.ndarray:
    """(R,) booleans: the edges that are not dropped."""
    kept: np.ndarray = (src >= 0) & (dst >= 0)
    if edges.drop_self_loops and etype[0] == etype[2]:
        kept &= src != dst
    if edges.drop_duplicates:
        kept &= _first_alike(src, dst, edges) == np.arange(src.size)
    return kept


def _first_alike(src: np.ndarray, dst: np.ndarray, edges: Edges) -> np.ndarray:
    """(E,) int64: the first edge that joins the same nodes as each.

    Where edges hold both ways, the same two nodes joined the other way round are the same edge.
    """
    one, other = (np.minimum(src, dst), np.maximum(src, dst)) if edges.reverse is True else (src, dst)
    order = np.lexsort((one, other))
    begins = np.ones(src.size, bool)
    begins[1:] = (one[order[1:]] != one[order[:-1]]) | (other[order[1:]] != other[order[:-1]])
    first = np.empty(src.size, np.int64)
    first[order] = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
    return first


def _spread(marked: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """(E,) booleans: the edges that are marked, and all that join the same nodes as one of these."""
    found = np.zeros_like(marked)
    found[alike[marked]] = True
    spread: np.ndarray = found[alike]
    return spread


def _tell_dropped(table: Table, src: np.ndarray, kept: np.ndarray, unknown: int) -> None:
    if unknown:
        log.warning("%s: %d of %d edges are left out, which have an end that is no node", table.paths[0], unknown,
                    src.size)
    others = src.size - int(np.count_nonzero(kept)) - unknown
    if others:
        log.info("%s: %d of %d edges are left out, as duplicates or self loops", table.paths[0], others, src.size)


def _both_ways(found: EdgeRows) -> EdgeRows:
    """The edges, and behind them each the other way round; a self loop is that already."""
    back = np.flatnonzero(found.src != found.dst)
    return replace(found, src=_joined(found.src, found.dst[back]), dst=_joined(found.dst, found.src[back]),
                   data={name: _joined(array, array[back]) for name, array in found.data.items()})


def _joined(*arrays: np.ndarray) -> np.ndarray:
    joined: np.ndarray = np.concatenate(arrays)
    return joined



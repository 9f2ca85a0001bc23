"""Which partition owns a node or an edge.

Shapes: P partitions, T types, N ids asked about.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from mpignn.errors import DataError, IDError
from mpignn.graph.types import EType, Kind, Schema, etype_key, short


class PartitionBook(ABC):
    """Who owns what.  Methods carry the names of DGL's partition book; none is collective.

    Ids are integer arrays of one dimension, or one integer; results are int64.  A method that takes the name of a
    type may go without it where there is only one.  In the *homogeneous* numbering, partitions follow each other,
    in a partition the types in the order of the schema, in a type the ids.

    Raises (all methods):
        IDError: An id, the first of which is named, or a partition is outside the graph.
        UnknownName: No such type.
    """

    schema: Schema

    def __repr__(self) -> str:
        nodes = {ntype: self.num_nodes(ntype) for ntype in self.ntypes}
        edges = {etype_key(etype): self.num_edges(etype) for etype in self.canonical_etypes}
        return f"{type(self).__name__}({self.num_partitions()} partitions, nodes={short(nodes)}, edges={short(edges)})"

    @property
    def ntypes(self) -> tuple[str, ...]:
        return self.schema.ntypes

    @property
    def etypes(self) -> tuple[str, ...]:
        """Names of the relations, which may repeat."""
        return tuple(relation for _, relation, _ in self.schema.etypes)

    @property
    def canonical_etypes(self) -> tuple[EType, ...]:
        return self.schema.etypes

    def to_canonical_etype(self, etype: str | EType) -> EType:
        """The edge type meant by the name of a relation, or a triple."""
        return self.schema.etype(etype)

    def metadata(self) -> list[dict[str, int]]:
        """``part_id``, ``num_nodes`` and ``num_edges`` of each partition."""
        return [{"part_id": part,
                 "num_nodes": sum(self.partid2nids(part, t).size for t in self.ntypes),
                 "num_edges": sum(self.partid2eids(part, e).size for e in self.canonical_etypes)}
                for part in range(self.num_partitions())]

    @abstractmethod
    def num_partitions(self) -> int: ...

    @abstractmethod
    def num_nodes(self, ntype: str | None = None) -> int:
        """Nodes of a type; without a type, of all."""

    @abstractmethod
    def num_edges(self, etype: str | EType | None = None) -> int:
        """Edges of a type; without a type, of all."""

    @abstractmethod
    def nid2partid(self, ids: ArrayLike, ntype: str | None = None) -> np.ndarray:
        """(N,) partition that owns each node."""

    @abstractmethod
    def eid2partid(self, ids: ArrayLike, etype: str | EType | None = None) -> np.ndarray:
        """(N,) partition that owns each edge."""

    @abstractmethod
    def partid2nids(self, part: int, ntype: str | None = None) -> np.ndarray:
        """Ids of a partition's nodes of a type, ascending."""

    @abstractmethod
    def partid2eids(self, part: int, etype: str | EType | None = None) -> np.ndarray:
        """Ids of a partition's edges of a type, ascending."""

    @abstractmethod
    def nid2localnid(self, ids: ArrayLike, part: int, ntype: str | None = None) -> np.ndarray:
        """(N,) row of each node in the partition that must own them all."""

    @abstractmethod
    def eid2localeid(self, ids: ArrayLike, part: int, etype: str | EType | None = None) -> np.ndarray:
        """(N,) row of each edge in the partition that must own them all."""

    @abstractmethod
    def map_to_per_ntype(self, ids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """(N,) number of the node type and (N,) id in it, of each homogeneous id."""

    @abstractmethod
    def map_to_per_etype(self, ids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """(N,) number of the edge type and (N,) id in it, of each homogeneous id."""

    @abstractmethod
    def map_to_homo_nid(self, ids: ArrayLike, ntype: str | None = None) -> np.ndarray:
        """(N,) homogeneous id of each node of a type."""

    @abstractmethod
    def map_to_homo_eid(self, ids: ArrayLike, etype: str | EType | None = None) -> np.ndarray:
        """(N,) homogeneous id of each edge of a type."""


class RangePartitionBook(PartitionBook):
    """A book in which each partition owns one range of ids of each type, possibly empty.

    Attributes:
        schema: Names of the types.
        node_ranges: (P + 1,) int64 for each node type: partition p owns the ids ``ranges[p]:ranges[p + 1]``.
        edge_ranges: (P + 1,) int64 for each edge type, likewise.
        out_ranges: (P + 1,) int64 for each edge type whose edges are also stored by source: partition p owns the
            places ``ranges[p]:ranges[p + 1]`` of that list, the out-edges of its nodes.
    """

    def __init__(self, schema: Schema, node_ranges: Mapping[str, np.ndarray], edge_ranges: Mapping[EType, np.ndarray],
                 out_ranges: Mapping[EType, np.ndarray] | None = None) -> None:
        """Not collective.

        Raises:
            DataError: Ranges that do not ascend from 0, of unequal lengths, or missing for a type.
        """
        if not schema.ntypes or not schema.etypes:
            raise DataError("a graph has at least one node type and one edge type")
        self.schema = schema
        self.node_ranges = {t: _ranges(node_ranges, t, t) for t in schema.ntypes}
        self.edge_ranges = {e: _ranges(edge_ranges, e, etype_key(e)) for e in schema.etypes}
        self.out_ranges = {e: _ranges(out_ranges or {}, e, etype_key(e)) for e in out_ranges or ()}
        lengths = {r.size for r in (*self.node_ranges.values(), *self.edge_ranges.values(), *self.out_ranges.values())}
        if len(lengths) != 1:
            raise DataError(f"the types disagree about the number of partitions: {sorted(n - 1 for n in lengths)}")
        self._parts = lengths.pop() - 1
        self._node_layout = _Layout([self.node_ranges[t] for t in schema.ntypes])
        self._edge_layout = _Layout([self.edge_ranges[e] for e in schema.etypes])

    def num_partitions(self) -> int:
        """Number of partitions."""
        return self._parts

    def num_nodes(self, ntype: str | None = None) -> int:
        types = self.ntypes if ntype is None else [self.schema.ntype(ntype)]
        return sum(int(self.node_ranges[t][-1]) for t in types)

    def num_edges(self, etype: str | EType | None = None) -> int:
        types = self.canonical_etypes if etype is None else [self.schema.etype(etype)]
        return sum(int(self.edge_ranges[e][-1]) for e in types)

    def nid2partid(self, ids: ArrayLike, ntype: str | None = None) -> np.ndarray:
        return _owners(ids, *self._nodes(ntype))

    def eid2partid(self, ids: ArrayLike, etype: str | EType | None = None) -> np.ndarray:
        return _owners(ids, *self._edges(etype))

    def partid2nids(self, part: int, ntype: str | None = None) -> np.ndarray:
        return np.arange(*_range_of(part, *self._nodes(ntype)), dtype=np.int64)

    def partid2eids(self, part: int, etype: str | EType | None = None) -> np.ndarray:
        return np.arange(*_range_of(part, *self._edges(etype)), dtype=np.int64)

    def nid2localnid(self, ids: ArrayLike, part: int, ntype: str | None = None) -> np.ndarray:
        return _local(ids, part, *self._nodes(ntype))

    def eid2localeid(self, ids: ArrayLike, part: int, etype: str | EType | None = None) -> np.ndarray:
        return _local(ids, part, *self._edges(etype))

    def map_to_per_ntype(self, ids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        return self._node_layout.split(checked_ids(ids, self.num_nodes(), "homogeneous node id"))

    def map_to_per_etype(self, ids: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        return self._edge_layout.split(checked_ids(ids, self.num_edges(), "homogeneous edge id"))

    def map_to_homo_nid(self, ids: ArrayLike, ntype: str | None = None) -> np.ndarray:
        ranges, what = self._nodes(ntype)
        number = self.ntypes.index(self.schema.ntype(ntype))
        return self._node_layout.join(checked_ids(ids, ranges[-1], what), number, ranges)

    def map_to_homo_eid(self, ids: ArrayLike, etype: str | EType | None = None) -> np.ndarray:
        ranges, what = self._edges(etype)
        number = self.canonical_etypes.index(self.schema.etype(etype))
        return self._edge_layout.join(checked_ids(ids, ranges[-1], what), number, ranges)

    def _nodes(self, ntype: str | None) -> tuple[np.ndarray, str]:
        name = self.schema.ntype(ntype)
        return self.node_ranges[name], f"id of a {name!r} node"

    def _edges(self, etype: str | EType | None) -> tuple[np.ndarray, str]:
        name = self.schema.etype(etype)
        return self.edge_ranges[name], f"id of a {etype_key(name)!r} edge"


class _Layout:
    """The homogeneous numbering of one kind: P x T pieces, laid end to end."""

    def __init__(self, ranges: list[np.ndarray]) -> None:
        table = np.stack(ranges, axis=1)                                    # (P + 1, T)
        self._types = table.shape[1]
        self._first = table[:-1].ravel()                                    # typed id at which a piece starts
        self._start = np.concatenate([[0], np.cumsum(np.diff(table, axis=0).ravel())])

    def split(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Of pieces that start at the same id only the last holds any: side="right" skips the empty ones.
        piece = np.searchsorted(self._start, ids, side="right") - 1
        return piece % self._types, self._first[piece] + ids - self._start[piece]

    def join(self, ids: np.ndarray, number: int, ranges: np.ndarray) -> np.ndarray:
        piece = (np.searchsorted(ranges, ids, side="right") - 1) * self._types + number
        joined: np.ndarray = self._start[piece] + ids - self._first[piece]
        return joined


def checked_ids(ids: ArrayLike, count: int, what: str) -> np.ndarray:
    """``ids`` as (N,) int64, all in ``0:count``.  Not collective.

    Args:
        ids: Integers: an array of one dimension, a sequence, or one number.
        count: How many there are.
        what: What an id is called in messages.

    Raises:
        IDError: Not integers, or the first id that is outside.
    """
    array = np.atleast_1d(np.asarray(ids))
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise IDError(f"{what}: expected integers in one dimension, got {array.dtype} of shape {array.shape}")
    outside = (array < 0) | (array >= count)
    if outside.any():
        raise IDError(f"{what}: {array[outside][0]} is not in 0..{count - 1}" if count else
                      f"{what}: {array[0]} asked for, but there are none")
    return array.astype(np.int64, copy=False)


def _ranges(given: Mapping[Kind, np.ndarray], key: Kind, name: str) -> np.ndarray:
    if key not in given:
        raise DataError(f"{name}: no ranges of ids are given")
    ranges = np.asarray(given[key])
    if ranges.ndim != 1 or ranges.size < 2 or ranges.dtype.kind not in "iu":
        raise DataError(f"{name}: ranges must be at least two integers, got {ranges.dtype} of shape {ranges.shape}")
    ranges = ranges.astype(np.int64)
    if ranges[0] != 0 or (np.diff(ranges) < 0).any():
        raise DataError(f"{name}: ranges must ascend from 0, got {ranges.tolist()}")
    return ranges


def _owners(ids: ArrayLike, ranges: np.ndarray, what: str) -> np.ndarray:
    # Of partitions that start at the same id only the last owns any: side="right" skips the empty ones.
    return np.searchsorted(ranges, checked_ids(ids, ranges[-1], what), side="right") - 1


def _range_of(part: int, ranges: np.ndarray, what: str) -> tuple[int, int]:
    if not 0 <= part < ranges.size - 1:
        raise IDError(f"partition {part} is not in 0..{ranges.size - 2}")
    return int(ranges[part]), int(ranges[part + 1])


def _local(ids: ArrayLike, part: int, ranges: np.ndarray, what: str) -> np.ndarray:
    lo, hi = _range_of(part, ranges, what)
    array = checked_ids(ids, ranges[-1], what)
    foreign = array[(array < lo) | (array >= hi)]
    if foreign.size:
        raise IDError(f"{what}: {foreign[0]} is not in partition {part}, which owns {lo}..{hi - 1}" if lo < hi else
                      f"{what}: {foreign[0]} is not in partition {part}, which owns none")
    return array - lo

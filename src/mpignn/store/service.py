"""A published graph: its structure and data as arrays cut by rows, filled by the servers.

Shapes: N nodes of a type, E edges of a type, S servers, P partitions.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpignn.comm.sharded import ArraySpec, array_spec
from mpignn.comm.transport import GraphArray, Transport
from mpignn.errors import DataError, UnknownName
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, EType, Schema, array_part, etype_key
from mpignn.roles import Topology

REPLICATED = ("none", "topology", "all")
"""What each node, or each group of nodes, may hold a copy of: nothing, the structure, or everything."""


IN, OUT = DIRECTIONS = ("in", "out")


@dataclass(frozen=True)
class Adjacency:
    """The edges of one edge type, in-edges by destination or out-edges by source.

    A row's edges are in order of the original id of their other ends, equal ones of original edge id.  So the original
    id of the row's node and the place in the row say which edge it is, whatever the partitioning.

    Attributes:
        rows: Row v is (start, end): the edges of node v, destination or source, are at the places ``start:end``.
        orig: Row v is the original id of node v.
        indices: Row i is the other end of the edge at place i: its source, or its destination.
        edge_ids: Row i is the global id of the edge at place i; None of in-edges, where it is i.
    """

    rows: GraphArray
    orig: GraphArray
    indices: GraphArray
    edge_ids: GraphArray | None = None


class GraphService:
    """The arrays of one graph by meaning.

    Attributes:
        book: Types, sizes, and who owns what.
        infos: The arrays, by name.
        transport: What carries the rows.
        pivots: Rows of other nodes that `lookup` has read, by edge type.
    """

    def __init__(self, book: RangePartitionBook, infos: Mapping[str, ArrayInfo], transport: Transport) -> None:
        self.book = book
        self.transport = transport
        self.infos = dict(infos)
        self.pivots: dict[EType, Any] = {}

    @property
    def schema(self) -> Schema:
        return self.book.schema

    def adjacency(self, etype: EType, direction: str = IN) -> Adjacency:
        """Where the edges of an edge type are.  Not collective.

        Args:
            etype: Edge type.
            direction: ``in`` by destination, ``out`` by source.

        Raises:
            DataError: No out-edges were stored.
        """
        arrays, key = self.transport.arrays, etype_key(etype)
        if direction == IN:
            return Adjacency(arrays[f"edge/{key}/indptr"], self.orig_ids(etype[2]), arrays[f"edge/{key}/indices"])
        if etype not in self.book.out_ranges:
            raise DataError(f"out-edges of {key!r} were asked for, but the graph holds in-edges only: partition it "
                            "with --out-edges, or add the reversed edges as an edge type")
        return Adjacency(arrays[f"out/{key}/indptr"], self.orig_ids(etype[0]), arrays[f"out/{key}/indices"],
                         arrays[f"out/{key}/edge_id"])

    def orig_ids(self, ntype: str) -> GraphArray:
        """(N, 1) original ids of a node type.  Not collective."""
        return self.transport.arrays[f"node/{ntype}/orig_id"]

    def new_ids(self, ntype: str) -> GraphArray:
        """(N, 1) new ids of a node type, by original id.  Not collective."""
        return self.transport.arrays[f"node/{ntype}/new_id"]

    def node_data(self, ntype: str, name: str) -> tuple[GraphArray, tuple[int, ...]]:
        """A node feature and the shape of its rows.  Not collective.

        Raises:
            UnknownName: The node type has no data of that name.
        """
        return self._data(f"node/{ntype}/data/", name)

    def edge_data(self, etype: EType, name: str) -> tuple[GraphArray, tuple[int, ...]]:
        """An edge feature and the shape of its rows.  Not collective.

        Raises:
            UnknownName: The edge type has no data of that name.
        """
        return self._data(f"edge/{etype_key(etype)}/data/", name)

    def home_bounds(self, ntype: str) -> np.ndarray:
        """(S + 1,) int64 first node of each server's own range, whatever copies there are.  Not collective."""
        return server_rows(self.book.node_ranges[ntype], len(self.orig_ids(ntype).spec.bounds) - 1)

    def _data(self, base: str, name: str) -> tuple[GraphArray, tuple[int, ...]]:
        if base + name not in self.infos:
            known = ", ".join(n.removeprefix(base) for n in self.infos if n.startswith(base)) or "none"
            raise UnknownName(f"{base}{name} is not in the graph; data there: {known}")
        return self.transport.arrays[base + name], self.infos[base + name].row_shape


def server_rows(ranges: np.ndarray, num_servers: int) -> np.ndarray:
    """Where the rows of one type are cut for the servers.

    Server s owns the stretch from s P / S to (s + 1) P / S of the partitions laid end to end, so a server
    holds several partitions, one, or a slice of one.

    Args:
        ranges: (P + 1,) first row of each partition.
        num_servers: S.

    Returns:
        (S + 1,) int64 first row of each server.
    """
    parts = ranges.shape[0] - 1
    place = np.arange(num_servers + 1, dtype=np.int64) * parts
    part, rest = place // num_servers, place % num_servers
    after = np.minimum(part + 1, parts)
    first: np.ndarray = ranges[part] + (ranges[after] - ranges[part]) * rest // num_servers
    return first


@dataclass(frozen=True)
class Replication:
    """What is held more than once, and by whom.

    Attributes:
        what: One of `REPLICATED`.
        first, last: The servers ``first`` to ``last - 1`` hold this node's copy together.
    """

    what: str
    first: int
    last: int

    def covers(self, name: str) -> bool:
        """Whether the array of that name is held more than once."""
        return self.what == "all" or self.what == "topology" and is_structure(name)


def is_structure(name: str) -> bool:
    """Whether an array is part of the graph's structure, and no feature."""
    return array_part(name) in ("orig_id", "indptr", "indices", "edge_id")


def array_specs(book: RangePartitionBook, infos: Iterable[ArrayInfo], num_servers: int,
                edge_start: Callable[..., int], copies: Replication | None = None) -> list[ArraySpec]:
    """How the arrays of a graph are cut over the servers, as seen from one node.

    Without copies that is the same everywhere.  A replicated array is cut over the servers of the node's own copy, and
    all others own none of its rows.  Such arrays come last, so that where the other ones lie in the memory
    of a node does not depend on the copies there.

    Args:
        book: Sizes and ranges.
        infos: The arrays.
        num_servers: S.
        edge_start: ``edge_start(etype, row)`` is the first global edge id of destination ``row``; where the book has
            out-edges, ``edge_start(etype, row, "out")`` the first place of those of source ``row``.
        copies: What is replicated.
    """
    def cut(first: int, last: int) -> dict[str, list[int]]:
        nodes = {t: server_rows(book.node_ranges[t], last - first).tolist() for t in book.schema.ntypes}
        edges = {etype_key(e): [edge_start(e, row) for row in nodes[e[2]]] for e in book.schema.etypes}
        out = {f"out/{etype_key(e)}": [edge_start(e, row, OUT) for row in nodes[e[0]]] for e in book.out_ranges}
        return {key: [0] * first + rows + rows[-1:] * (num_servers - last)
                for key, rows in (nodes | edges | out).items()}

    def cut_all(infos: list[ArrayInfo], bounds: Mapping[str, list[int]]) -> list[ArraySpec]:
        specs = []
        for info in infos:
            direction, owner, what = info.name.split("/", 2)
            if what == "indptr":
                node = owner.split(":")[0 if direction == OUT else 2]
                specs.append(array_spec(info.name, info.dtype, 2, bounds[node], 1, "structure"))
            else:
                kind = "structure" if is_structure(info.name) else "feature"
                cuts = bounds[f"out/{owner}" if direction == OUT else owner]
                specs.append(array_spec(info.name, info.dtype, info.width, cuts, kind=kind))
        return specs

    copied = [] if copies is None else [info for info in infos if copies.covers(info.name)]
    single = [info for info in infos if info not in copied]
    specs = cut_all(single, cut(0, num_servers)) if single else []
    if copies is not None and copied:
        specs += cut_all(copied, cut(copies.first, copies.last))
    return specs


@dataclass(frozen=True)
class Placement:
    """Where the arrays of a graph lie in a job.  Made on one rank, which reads the files, and sent to all.

    Attributes:
        book: Sizes and ranges.
        infos: The arrays by name.
        topology: Node and role of every rank.
        replicate: One of `REPLICATED`.
        groups: First server and one past the last that hold the copy for each node.
        edge_starts: First edge of the rows at which servers cut, by edge type, row and direction.
    """

    book: RangePartitionBook
    infos: Mapping[str, ArrayInfo]
    topology: Topology
    replicate: str
    groups: tuple[tuple[int, int], ...]
    edge_starts: Mapping[tuple[EType, int, str], int]

    def specs(self, node: int) -> list[ArraySpec]:
        """How the arrays are cut over the servers, as seen from a node; see `array_specs`.  Not collective."""
        return array_specs(self.book, list(self.infos.values()), len(self.topology.server_ranks),
                           lambda etype, row, direction=IN: self.edge_starts[etype, row, direction],
                           Replication(self.replicate, *self.groups[node]))


def place(book: RangePartitionBook, infos: Mapping[str, ArrayInfo], topology: Topology,
          edge_start: Callable[..., int], replicate: str = "none", width: int = 1) -> Placement:
    """Place the arrays of a graph in a job.  Not collective.

    Args:
        book, infos: Partition book and arrays of the graph.
        topology: Node and role of every rank.
        edge_start: As in `array_specs`.
        replicate: One of `REPLICATED`.
        width: Nodes that share a copy, see `Topology.copy_groups`.
    """
    groups = topology.copy_groups(width)
    cuts = {len(topology.server_ranks)} | {last - first for first, last in groups if replicate != "none"}
    starts = {(e, row, IN): edge_start(e, row) for servers in cuts for e in book.schema.etypes
              for row in server_rows(book.node_ranges[e[2]], servers).tolist()}
    starts |= {(e, row, OUT): edge_start(e, row, OUT) for servers in cuts for e in book.out_ranges
               for row in server_rows(book.node_ranges[e[0]], servers).tolist()}
    return Placement(book, dict(infos), topology, replicate, groups, starts)

"""A published graph: its structure and data as arrays cut by rows, filled by the servers.

Shapes: N nodes of a type, E edges of a type, S servers, R rows asked for, W elements in a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpignn.comm.transport import GraphArray, Request, Transport
from mpignn.errors import DataError
from mpignn.graph.array_key import IN, NODE, ArrayKey, find_info
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, EType, Schema, etype_key
from mpignn.store.cut import server_rows


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


class PublishedGraph:
    """A graph whose rows every rank reads: its arrays by meaning, and what brings them.

    What is inside a `DistGraph`, without torch; samplers and loaders read this.  The thread that prepares batches has
    one with another transport, see `mpignn.loader.ahead`.

    Attributes:
        book: Types, sizes, and who owns what.
        infos: The arrays, by name.
        transport: What carries the rows.
        pivots: Rows of other nodes that `mpignn.store.lookup` has read, by edge type.
    """

    def __init__(self, book: RangePartitionBook, infos: Mapping[str, ArrayInfo], transport: Transport) -> None:
        self.book = book
        self.transport = transport
        self.infos = dict(infos)
        self.pivots: dict[EType, Any] = {}
        # Arrays are looked up in each hop of each batch: their paths are put together once.
        self._orig_paths = {t: ArrayKey.node(t, "orig_id").path for t in book.schema.ntypes}
        self._new_paths = {t: ArrayKey.node(t, "new_id").path for t in book.schema.ntypes}
        self._in_paths = {e: [ArrayKey.edge(e, what).path for what in ("indptr", "indices")]
                          for e in book.schema.etypes}
        self._out_paths = {e: [ArrayKey.out(e, what).path for what in ("indptr", "indices", "edge_id")]
                           for e in book.out_ranges}
        self._data: dict[str | EType, dict[str, ArrayInfo]] = {}
        for path, info in self.infos.items():
            key = ArrayKey.parse(path)
            if key.data_name is not None:
                self._data.setdefault(key.owner if key.kind == NODE else key.etype, {})[key.data_name] = info

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
        arrays = self.transport.arrays
        if direction == IN:
            rows, indices = self._in_paths[etype]
            return Adjacency(arrays[rows], self.orig_ids(etype[2]), arrays[indices])
        if etype not in self._out_paths:
            raise DataError(f"out-edges of {etype_key(etype)!r} were asked for, but the graph holds in-edges only: "
                            "partition it with --out-edges, or add the reversed edges as an edge type")
        rows, indices, edge_ids = self._out_paths[etype]
        return Adjacency(arrays[rows], self.orig_ids(etype[0]), arrays[indices], arrays[edge_ids])

    def orig_ids(self, ntype: str) -> GraphArray:
        """(N, 1) original ids of a node type.  Not collective."""
        return self.transport.arrays[self._orig_paths[ntype]]

    def new_ids(self, ntype: str) -> GraphArray:
        """(N, 1) new ids of a node type, by original id.  Not collective."""
        return self.transport.arrays[self._new_paths[ntype]]

    def node_data(self, ntype: str, name: str) -> tuple[GraphArray, tuple[int, ...]]:
        """A node feature and the shape of its rows.  Not collective.

        Raises:
            UnknownName: The node type has no data of that name.
        """
        info = self.data_of(ntype).get(name) or find_info(self.infos, ArrayKey.node_data(ntype, name))
        return self.transport.arrays[info.name], info.row_shape

    def edge_data(self, etype: EType, name: str) -> tuple[GraphArray, tuple[int, ...]]:
        """An edge feature and the shape of its rows.  Not collective.

        Raises:
            UnknownName: The edge type has no data of that name.
        """
        info = self.data_of(etype).get(name) or find_info(self.infos, ArrayKey.edge_data(etype, name))
        return self.transport.arrays[info.name], info.row_shape

    def data_of(self, kind: str | EType) -> Mapping[str, ArrayInfo]:
        """The data of a node type, or of an edge type, by name.  Not collective."""
        return self._data.get(kind, {})

    def read(self, array: GraphArray, ids: np.ndarray) -> np.ndarray:
        """(R, W) rows of an array, wherever they are.  Not collective.

        Args:
            array: One of this graph's.
            ids: (R,) int64 rows of it.
        """
        rows = np.empty((ids.size, array.spec.width), array.spec.dtype)
        # Not by the transport of the array: the preparing thread has another one.
        self.transport.gather([Request(array, ids, rows)]).wait()
        return rows

    def home_bounds(self, ntype: str) -> np.ndarray:
        """(S + 1,) int64 first node of each server's own range, whatever copies there are.  Not collective."""
        return server_rows(self.book.node_ranges[ntype], len(self.orig_ids(ntype).spec.bounds) - 1)

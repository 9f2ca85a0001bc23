"""A published graph: its structure and data as windows, filled by the servers.

Shapes: N nodes of a type, E edges of a type, S servers, P partitions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.errors import UnknownName
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, EType, Schema, etype_key
from mpignn.transport.api import ArraySpec, Transport, Window, array_spec


@dataclass(frozen=True)
class Adjacency:
    """The in-edges of one edge type.

    Attributes:
        rows: Row v is (start, end): the in-edges of destination v have the global ids ``start:end``.
        orig: Row v is the original id of destination v.
        indices: Row e is the source of edge e.
    """

    rows: Window
    orig: Window
    indices: Window


class GraphService:
    """The windows of one graph by meaning.

    Attributes:
        book: Types, sizes, and who owns what.
        transport: What carries the rows.
    """

    def __init__(self, book: RangePartitionBook, infos: Mapping[str, ArrayInfo], transport: Transport):
        self.book = book
        self.transport = transport
        self._infos = dict(infos)

    @property
    def schema(self) -> Schema:
        return self.book.schema

    def adjacency(self, etype: EType) -> Adjacency:
        """Where the in-edges of an edge type are.  Not collective."""
        windows, base = self.transport.windows, f"edge/{etype_key(etype)}"
        return Adjacency(windows[f"{base}/indptr"], self.orig_ids(etype[2]), windows[f"{base}/indices"])

    def orig_ids(self, ntype: str) -> Window:
        """(N, 1) original ids of a node type.  Not collective."""
        return self.transport.windows[f"node/{ntype}/orig_id"]

    def node_data(self, ntype: str, name: str) -> tuple[Window, tuple[int, ...]]:
        """A node feature and the shape of its rows.  Not collective.

        Raises:
            UnknownName: The node type has no data of that name.
        """
        return self._data(f"node/{ntype}/data/", name)

    def edge_data(self, etype: EType, name: str) -> tuple[Window, tuple[int, ...]]:
        """An edge feature and the shape of its rows.  Not collective.

        Raises:
            UnknownName: The edge type has no data of that name.
        """
        return self._data(f"edge/{etype_key(etype)}/data/", name)

    def _data(self, base: str, name: str) -> tuple[Window, tuple[int, ...]]:
        if base + name not in self._infos:
            known = ", ".join(n.removeprefix(base) for n in self._infos if n.startswith(base)) or "none"
            raise UnknownName(f"{base}{name} is not in the graph; data there: {known}")
        return self.transport.windows[base + name], self._infos[base + name].row_shape


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
    return ranges[part] + (ranges[after] - ranges[part]) * rest // num_servers


def array_specs(book: RangePartitionBook, infos: Sequence[ArrayInfo], num_servers: int,
                edge_start) -> list[ArraySpec]:
    """How the arrays of a graph are cut over the servers.

    Args:
        book: Sizes and ranges.
        infos: The arrays.
        num_servers: S.
        edge_start: ``edge_start(etype, row)`` is the first global edge id of destination ``row``.
    """
    nodes = {t: server_rows(book.node_ranges[t], num_servers) for t in book.schema.ntypes}
    edges = {etype_key(e): [edge_start(e, int(row)) for row in nodes[e[2]]] for e in book.schema.etypes}
    specs = []
    for info in infos:
        kind, owner, what = info.name.split("/", 2)
        if kind == "node":
            specs.append(array_spec(info.name, info.dtype, info.width, nodes[owner]))
        elif what == "indptr":
            specs.append(array_spec(info.name, info.dtype, 2, nodes[owner.split(":")[2]], step=1))
        else:
            specs.append(array_spec(info.name, info.dtype, info.width, edges[owner]))
    return specs

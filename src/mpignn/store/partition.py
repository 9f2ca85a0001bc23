"""One partition of a graph by itself, in one process: to look at, or for programs that were written for DGL.

Training needs none of this: there every rank sees the whole graph, see `DistGraph`.

Shapes: P partitions, N local nodes of a type, E edges of a type.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpignn.arguments import whole_number
from mpignn.errors import IDError
from mpignn.graph.array_key import EDGE, NODE, ArrayKey
from mpignn.graph.block import EID, NID
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.csc import CSC
from mpignn.graph.types import EType, Schema, etype_key
from mpignn.storage.read import GraphFile
from mpignn.store.views import TypeViews
from mpignn.unique import unique

if TYPE_CHECKING:
    import torch

Frame = dict[str, "torch.Tensor"]
Loaded = tuple["Partition", Frame, Frame, RangePartitionBook, str, list[str], list[EType]]


@dataclass(frozen=True)
class Partition:
    """The nodes that a partition owns, their in-edges, and the halo: sources of these that other partitions own.

    Nodes have local ids: first those owned, ascending by global id, then the halo, ascending by global id.  Edges are
    in order of their global ids, by destination.

    Attributes:
        schema: Names of the types.
        node_frames: For each node type, (N,) ``_ID`` (`mpignn.NID`) global ids, ``inner_node`` whether owned,
            ``orig_id`` ids of the source data.
        edge_frames: For each edge type, (E,) ``_ID`` (`mpignn.EID`) global ids and ``inner_edge``, all true: an edge is
            where its destination is.
        csc: For each edge type, (owned destinations + 1,) int64 ``indptr`` and (E,) int64 ``indices``, local sources.
    """

    schema: Schema
    node_frames: Mapping[str, Frame]
    edge_frames: Mapping[EType, Frame]
    csc: Mapping[EType, CSC]

    @property
    def nodes(self) -> TypeViews[str, Frame]:
        """``nodes[ntype].data``: ``node_frames`` as DGL writes it."""
        return TypeViews(self.node_frames, self.schema.ntype)

    @property
    def edges(self) -> TypeViews[EType, Frame]:
        """``edges[etype].data``: ``edge_frames`` as DGL writes it."""
        return TypeViews(self.edge_frames, self.schema.etype)

    @property
    def ndata(self) -> Frame:
        """The frame of the nodes, of a graph with one node type."""
        return self.nodes[None].data

    @property
    def edata(self) -> Frame:
        """The frame of the edges, of a graph with one edge type."""
        return self.edges[None].data

    def num_nodes(self, ntype: str | None = None) -> int:
        """Local nodes of a type, halo included; without a type, of all."""
        types = self.schema.ntypes if ntype is None else [self.schema.ntype(ntype)]
        return sum(len(self.node_frames[t][NID]) for t in types)

    def num_edges(self, etype: str | EType | None = None) -> int:
        """Edges of a type; without a type, of all."""
        types = self.schema.etypes if etype is None else [self.schema.etype(etype)]
        return sum(self.csc[e].num_edges for e in types)

    def ends(self, etype: str | EType | None = None) -> "tuple[torch.Tensor, torch.Tensor]":
        """(E,) local source and (E,) local destination of each edge of a type."""
        csc = self.csc[self.schema.etype(etype)]
        return _tensor(csc.indices), _tensor(np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr)))


def load_partition(path: str | Path, part: int, load_feats: bool = True) -> Loaded:
    """Read one partition.  Not collective.

    Args:
        path: A partitioned graph: its folder, or graph.h5 in it.
        part: In 0..P-1.
        load_feats: Whether to read data of nodes and edges, too; if not, there is none in what is returned.

    Returns:
        As in DGL: the partition, data of its own nodes, data of its edges (both as `load_partition_feats` has them),
        the book, the graph's name, node types and edge types.

    Raises:
        IDError: No such partition.
        DataError: A file that is missing or damaged.
    """
    with GraphFile(path) as file:
        part = _check_part(file, part)
        found = _read(file, part)
        feats = _read_feats(file, part, load_feats, load_feats)
        return found, *feats, file.book, _name(file), list(file.schema.ntypes), list(file.schema.etypes)


def load_partition_feats(path: str | Path, part: int, load_nodes: bool = True,
                         load_edges: bool = True) -> tuple[Frame, Frame]:
    """Read the data of one partition's own nodes, and of its edges.  Not collective.

    Args:
        path, part: As for `load_partition`.
        load_nodes, load_edges: Whether to read these.

    Returns:
        (n, ...) rows in order of global id, by ``ntype/name`` and by ``src:rel:dst/name``.

    Raises:
        IDError, DataError: As `load_partition`.
    """
    with GraphFile(path) as file:
        part = _check_part(file, part)
        return _read_feats(file, part, load_nodes, load_edges)


def load_partition_book(path: str | Path) -> tuple[RangePartitionBook, str, list[str], list[EType]]:
    """Read who owns what: the book, the graph's name, node types and edge types.  Not collective.

    Raises:
        DataError: A file that is missing or damaged.
    """
    with GraphFile(path) as file:
        return file.book, _name(file), list(file.schema.ntypes), list(file.schema.etypes)


def _read(file: GraphFile, part: int) -> Partition:
    book = file.book
    indptr, sources = {}, {}
    for etype in file.schema.etypes:
        lo, hi = _range(book.node_ranges[etype[2]], part)
        indptr[etype] = _rows(file, ArrayKey.edge(etype, "indptr"), lo, hi)
        sources[etype] = _rows(file, ArrayKey.edge(etype, "indices"), *_range(book.edge_ranges[etype], part))
    nodes, local = {}, {}
    for ntype in file.schema.ntypes:
        lo, hi = _range(book.node_ranges[ntype], part)
        met = [np.empty(0, np.int64), *(src for etype, src in sources.items() if etype[0] == ntype)]
        halo = unique(np.concatenate([src[(src < lo) | (src >= hi)] for src in met])).astype(np.int64)
        own = np.arange(lo, hi)
        nodes[ntype] = {
            NID: _tensor(np.concatenate([own, halo])),
            "inner_node": _tensor(np.arange(own.size + halo.size) < own.size),
            "orig_id": _tensor(np.concatenate([_rows(file, ArrayKey.node(ntype, "orig_id"), lo, hi),
                                               _orig_ids(file, ntype, halo)]))}
        local[ntype] = lo, hi, halo
    csc, edges = {}, {}
    for etype in file.schema.etypes:
        lo, hi, halo = local[etype[0]]
        ids = np.arange(*_range(book.edge_ranges[etype], part))
        src = sources[etype].astype(np.int64)
        inside = (src >= lo) & (src < hi)
        csc[etype] = CSC(indptr[etype] - indptr[etype][0],
                         np.where(inside, src - lo, hi - lo + np.searchsorted(halo, src)))
        edges[etype] = {EID: _tensor(ids), "inner_edge": _tensor(np.ones(ids.size, bool))}
    return Partition(file.schema, nodes, edges, csc)


def _orig_ids(file: GraphFile, ntype: str, ids: np.ndarray) -> np.ndarray:
    """(N,) original ids of nodes that ascend; reads the partitions that own any, one after the other."""
    ranges = file.book.node_ranges[ntype]
    found = [_rows(file, ArrayKey.node(ntype, "orig_id"), int(lo), int(hi))[ids[(ids >= lo) & (ids < hi)] - lo]
             for lo, hi in zip(ranges[:-1], ranges[1:], strict=True) if ((ids >= lo) & (ids < hi)).any()]
    return np.concatenate([np.empty(0, np.int64), *found])


def _read_feats(file: GraphFile, part: int, load_nodes: bool, load_edges: bool) -> tuple[Frame, Frame]:
    book = file.book
    nodes: Frame = {}
    edges: Frame = {}
    for ntype in file.schema.ntypes if load_nodes else ():
        nodes |= _data(file, NODE, ntype, _range(book.node_ranges[ntype], part))
    for etype in file.schema.etypes if load_edges else ():
        edges |= _data(file, EDGE, etype_key(etype), _range(book.edge_ranges[etype], part))
    return nodes, edges


def _data(file: GraphFile, kind: str, owner: str, rows: tuple[int, int]) -> Frame:
    keys = [key for key in map(ArrayKey.parse, file.infos) if (key.kind, key.owner) == (kind, owner)]
    return {f"{owner}/{key.data_name}": _tensor(_rows(file, key, *rows)) for key in keys if key.data_name is not None}


def _rows(file: GraphFile, key: ArrayKey, lo: int, hi: int) -> np.ndarray:
    info = file.infos[key.path]
    rows = np.empty((hi - lo + (key.what == "indptr"), *info.row_shape), info.dtype)
    file.read(key.path, lo, hi, rows.reshape(-1))
    return rows


def _range(ranges: np.ndarray, part: int) -> tuple[int, int]:
    return int(ranges[part]), int(ranges[part + 1])


def _check_part(file: GraphFile, part: int) -> int:
    part = whole_number(part, "part", -(1 << 63))
    if not 0 <= part < file.num_parts:
        raise IDError(f"{file.path}: partition {part} is not in 0..{file.num_parts - 1}")
    return part


def _name(file: GraphFile) -> str:
    return file.path.resolve().parent.name


def _tensor(array: np.ndarray) -> "torch.Tensor":
    import torch
    return torch.from_numpy(array)

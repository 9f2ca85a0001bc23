"""A published graph as trainers see it.

Shapes: N ids.
"""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from mpignn.comm.group import Group
from mpignn.comm.stats import Stats
from mpignn.errors import CommError, ConfigError, DataError, UnknownName
from mpignn.graph.book import RangePartitionBook, checked_ids
from mpignn.graph.pairs import PairGraph
from mpignn.graph.types import ByEType, EType, Schema, etype_key, short
from mpignn.log import phase
from mpignn.roles import Topology
from mpignn.storage.user_names import UserNames
from mpignn.store import lookup
from mpignn.store.cut import server_rows
from mpignn.store.naming import Naming
from mpignn.store.published import PublishedGraph
from mpignn.store.registry import TensorRegistry
from mpignn.store.views import DataView, TypeViews

if TYPE_CHECKING:
    import torch

    from mpignn.mpi.world import World  # MPI starts when it is imported
    from mpignn.store.tensor import DistTensor

_T = TypeVar("_T")


class Stoppable(Protocol):
    """What reads the memory of a graph until it is stopped."""

    def stop(self) -> None:
        """Come to an end.  Not collective."""


@dataclass(frozen=True)
class LocalPartition:
    """What of a graph lies in the memory of this rank's node: views of it, no copies, read only.

    Attributes:
        nodes: The nodes of each type.
        edges: The edges of each type: the in-edges of ``nodes``.
        indptr: (nodes + 1,) int64 for each edge type: first edge id of each destination, and the end.
        indices: (edges,) sources, for each edge type; those that ``nodes`` lacks are the halo.
    """

    nodes: Mapping[str, range]
    edges: Mapping[EType, range]
    indptr: Mapping[EType, np.ndarray]
    indices: Mapping[EType, np.ndarray]

    def __repr__(self) -> str:
        edges = {etype_key(etype): ids for etype, ids in self.edges.items()}
        return f"LocalPartition(nodes={short(self.nodes)}, edges={short(edges)})"


class DistGraph:
    """One graph, whole to every rank; `mpignn.open_graph` and `mpignn.run` make it.

    Ids are given as tensor, array, list or one number, and come back as int64 tensors.  A method that takes the name of
    a type may go without it where there is only one.  Methods are not collective unless they say so.

    A context manager: where the ``with`` block ends it is closed, unless an error that only this rank has is on its
    way, which will end the job.

    Attributes:
        topology: Where the ranks of the job sit.
        splits: (N,) int64 global ids by node type or edge type key, and by name; in order of original id.
        source_id: Hash of the graph in original ids, the same in every cut.
        names: What users call nodes and classes.
        nodes, edges: ``nodes[ntype].data`` and ``edges[etype].data`` map names to the `DistTensor` of a type.

    Raises (all methods):
        IDError: An id outside the graph; the first is named.
        UnknownName: No such type or data.
        CommError: The graph is closed.
    """

    def __init__(self, graph: PublishedGraph, topology: Topology, trainers: Group | None,
                 splits: Mapping[str, Mapping[str, np.ndarray]], world: "World | None" = None,
                 source_id: str = "", names: UserNames | None = None) -> None:
        """Not collective.  ``world`` is the job that closes the graph together; None where there is none."""
        self.topology, self.splits, self.source_id = topology, splits, source_id
        self.names = Naming(names or UserNames())
        self._trainers = trainers
        self._graph: PublishedGraph | None = graph
        self._world = world
        self._readers: weakref.WeakSet[Stoppable] = weakref.WeakSet()
        self._registry = (None if trainers is None else
                          TensorRegistry(graph.book, topology, graph.transport, trainers))
        schema, book = graph.schema, graph.book
        self.nodes = TypeViews({t: DataView(f"node type {t!r}", book.num_nodes(t), [*graph.data_of(t)],
                                            partial(self._node_tensor, t)) for t in schema.ntypes}, schema.ntype)
        self.edges = TypeViews({e: DataView(f"edge type {etype_key(e)!r}", book.num_edges(e),
                                            [*graph.data_of(e)], partial(self._edge_tensor, e))
                                for e in schema.etypes}, schema.etype)

    def __repr__(self) -> str:
        if self._graph is None:
            return "DistGraph(closed)"
        nodes = {ntype: self.book.num_nodes(ntype) for ntype in self.ntypes}
        edges = {etype_key(etype): self.book.num_edges(etype) for etype in self.canonical_etypes}
        return f"DistGraph(nodes={short(nodes)}, edges={short(edges)})"

    @property
    def trainers(self) -> Group:
        """The trainers, who act together.  Not collective.

        Raises:
            ConfigError: This rank only serves.
        """
        return self._of_trainers(self._trainers)

    @property
    def registry(self) -> TensorRegistry:
        """The tensors that the trainers make.  Not collective; errors are those of `trainers`."""
        return self._of_trainers(self._registry)

    def _of_trainers(self, found: _T | None) -> _T:
        if found is None:
            raise ConfigError("this rank only serves: it has a graph to close, and no more")
        return found

    def __enter__(self) -> "DistGraph":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if error is None or getattr(error, "agreed", False) or isinstance(error, SystemExit):
            self.close()        # a SystemExit of one rank alone is noticed by those who wait for it elsewhere

    def close(self) -> None:
        """Meet all ranks and give the memory back; harmless when done already.  Collective over the world.

        A rank that only serves calls it at once: what it does in there is serving.
        """
        if self._graph is None:
            return
        for reader in list(self._readers):
            reader.stop()
        with phase(*(("serve", True) if self._trainers is None else ("leave",))):
            if self._registry is not None:
                self._registry.close()
            if self._world is not None:
                self._world.finish()
            self._graph.transport.free()
        self._graph = None

    @property
    def _published(self) -> PublishedGraph:
        if self._graph is None:
            raise CommError("the graph is closed")
        return self._graph

    @property
    def schema(self) -> Schema:
        """Node types and edge types."""
        return self._published.schema

    @property
    def book(self) -> RangePartitionBook:
        """Who owns what; homogeneous ids; answers are arrays."""
        return self._published.book

    @property
    def ntypes(self) -> tuple[str, ...]:
        """Node types."""
        return self.schema.ntypes

    @property
    def etypes(self) -> tuple[str, ...]:
        """Names of the relations, which may repeat."""
        return self.book.etypes

    @property
    def canonical_etypes(self) -> tuple[EType, ...]:
        """Edge types as (source type, relation, destination type)."""
        return self.schema.etypes

    @property
    def is_homogeneous(self) -> bool:
        """Whether there is one node type and one edge type."""
        return self.schema.is_homogeneous

    @property
    def ndata(self) -> DataView:
        """Name -> `DistTensor`, of a graph with one node type."""
        return self.nodes[None].data

    @property
    def edata(self) -> DataView:
        """Name -> `DistTensor`, of a graph with one edge type."""
        return self.edges[None].data

    def num_nodes(self, ntype: str | None = None) -> int:
        """Nodes of a type; without a type, of all."""
        return self.book.num_nodes(ntype)

    def num_edges(self, etype: str | EType | None = None) -> int:
        """Edges of a type; without a type, of all."""
        return self.book.num_edges(etype)

    number_of_nodes, number_of_edges = num_nodes, num_edges

    def in_degrees(self, ids: ArrayLike, etype: str | EType | None = None) -> "torch.Tensor":
        """(N,) number of in-edges of each destination."""
        etype = self.schema.etype(etype)
        return _tensor(lookup.in_degrees(self._published, etype, self._checked(ids, etype[2])))

    def out_degrees(self, ids: ArrayLike, etype: str | EType | None = None) -> "torch.Tensor":
        """(N,) number of out-edges of each source.

        Raises:
            DataError: The graph was partitioned without ``--out-edges``.
        """
        etype = self.schema.etype(etype)
        return _tensor(lookup.out_degrees(self._published, etype, self._checked(ids, etype[0])))

    def find_edges(self, eids: ArrayLike, etype: str | EType | None = None) -> "tuple[torch.Tensor, torch.Tensor]":
        """(N,) source and (N,) destination of each edge."""
        etype = self.schema.etype(etype)
        ids = checked_ids(eids, self.num_edges(etype), f"id of a {etype_key(etype)!r} edge")
        src, dst = lookup.find_edges(self._published, etype, ids)
        return _tensor(src), _tensor(dst)

    def edge_ids(self, u: ArrayLike, v: ArrayLike, etype: str | EType | None = None,
                 return_uv: bool = False) -> "torch.Tensor | tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        """The edges from ``u[i]`` to ``v[i]``.

        Args:
            u, v: (N,) sources and destinations; one number goes with all of the other.
            etype: Edge type.
            return_uv: Return all of parallel edges, K in all, with their ends: (K,) source, (K,) destination and (K,)
                id.  Without, (N,) ids, of parallel edges the first.

        Raises:
            IDError: No edge joins a pair.
        """
        etype = self.schema.etype(etype)
        src, dst = self._checked(u, etype[0]), self._checked(v, etype[2])
        if src.size != dst.size and 1 not in (src.size, dst.size):
            raise DataError(f"edge_ids: {src.size} sources and {dst.size} destinations are no pairs")
        src, dst = np.broadcast_arrays(src, dst)
        first, count = lookup.edge_ids(self._published, etype, np.ascontiguousarray(src), np.ascontiguousarray(dst))
        if not return_uv:
            return _tensor(first)
        ids = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())
        return _tensor(np.repeat(src, count)), _tensor(np.repeat(dst, count)), _tensor(ids)

    def edge_subgraph(self, edges: ArrayLike | ByEType[ArrayLike]) -> PairGraph:
        """Some edges and their ends, each of these once: a graph with node ids of its own, positions in ``node_ids``.

        Args:
            edges: (N,) ids of edges, or a dict of them by edge type; where an edge is there twice, the subgraph has it
                twice.

        Returns:
            The edges in the order given, their ids in the graph under `mpignn.EID`; nodes in ascending order.
        """
        from mpignn.store.subgraph import edge_subgraph  # a rank that only serves needs no torch
        return edge_subgraph(self, edges)

    def orig_nids(self, ids: ArrayLike, ntype: str | None = None) -> "torch.Tensor":
        """(N,) original id of each node: that of the source data, whatever the partitioning."""
        ntype = self.schema.ntype(ntype)
        return _tensor(self._published.read(self._published.orig_ids(ntype), self._checked(ids, ntype))[:, 0])

    def new_nids(self, orig: ArrayLike, ntype: str | None = None) -> "torch.Tensor":
        """(N,) id of each original id.

        The map is an array like a feature of one number a node, since a search would take as many round trips as
        a partition has halves.
        """
        ntype = self.schema.ntype(ntype)
        return _tensor(self._published.read(self._published.new_ids(ntype), self._checked(orig, ntype))[:, 0])

    def user_ids(self, ids: ArrayLike, ntype: str | None = None) -> list[str] | list[int]:
        """What the graph's source calls each node: texts, or numbers; the original ids where it gave no others.

        Read from graph.h5, which this rank must see.
        """
        ntype = self.schema.ntype(ntype)
        orig = self.orig_nids(ids, ntype).numpy()
        return self.names.read_ids(orig, ntype).of(0, orig.size)

    def class_names(self, label: str = "labels", of: str | EType | None = None) -> tuple[str, ...]:
        """The names of the classes that a label stands for: that of class c has place c.  Empty where they have none.

        Args:
            label: Name of the data.
            of: Node type or canonical edge type; None: the only type whose classes have names.

        Raises:
            UnknownName: No such type; or no type is given, and several have such names.
        """
        return self.names.classes_of(self.schema, label, of)

    def rank_of(self, ids: ArrayLike, ntype: str | None = None) -> "torch.Tensor":
        """(N,) world rank of the server that owns each node."""
        ntype = self.schema.ntype(ntype)
        ranks = np.asarray(self.topology.server_ranks, np.int64)
        return _tensor(ranks[_piece(self._published.home_bounds(ntype), self._checked(ids, ntype))])

    @property
    def local_partition(self) -> LocalPartition:
        """What lies in the memory of this rank's node."""
        adjacency = {e: self._published.adjacency(e) for e in self.canonical_etypes}
        nodes = {t: self._published.orig_ids(t) for t in self.ntypes}
        return LocalPartition(
            {t: range(array.lo, array.hi) for t, array in nodes.items()},
            {e: range(a.indices.lo, a.indices.hi) for e, a in adjacency.items()},
            {e: a.rows.flat for e, a in adjacency.items()}, {e: a.indices.flat for e, a in adjacency.items()})

    def stats(self, reset: bool = False) -> Stats:
        """`Stats` of what was moved for this rank since the graph was opened, or since the last reset."""
        return self._published.transport.stats(reset)

    def split(self, name: str, of: str | EType | None = None) -> np.ndarray:
        """(N,) int64 global ids of a split in order of original id, the same on all ranks.

        Args:
            name: Such as train, val or test.
            of: Node type or canonical edge type; None: the only type that has such a split.

        Raises:
            UnknownName: No such split.
        """
        if of is None:
            found = [key for key, names in self.splits.items() if name in names]
        else:
            key = of if isinstance(of, str) else etype_key(of)
            found = [key] if name in self.splits.get(key, {}) else []
        if len(found) != 1:
            known = ", ".join(f"{key}/{n}" for key, names in self.splits.items() for n in names) or "none"
            raise UnknownName(f"split {name!r} of {of or 'any type'} is not one of the graph's: {known}")
        return self.splits[found[0]][name]

    def home(self, ntype: str, ids: np.ndarray) -> np.ndarray:
        """The node whose servers own each id, (N,) int64."""
        nodes: np.ndarray = self._server_nodes()[_piece(self._published.home_bounds(ntype), ids)]
        return nodes

    def home_of_edges(self, etype: EType, ids: np.ndarray) -> np.ndarray:
        """The node whose servers own each edge, to rounding where servers own parts of partitions; (N,) int64."""
        bounds = server_rows(self.book.edge_ranges[etype], len(self.topology.server_ranks))
        nodes: np.ndarray = self._server_nodes()[_piece(bounds, ids)]
        return nodes

    def _server_nodes(self) -> np.ndarray:
        return np.asarray([self.topology.node_of_rank[r] for r in self.topology.server_ranks], np.int64)

    def _checked(self, ids: ArrayLike, ntype: str) -> np.ndarray:
        return checked_ids(ids, self.num_nodes(ntype), f"id of a {ntype!r} node")

    def _node_tensor(self, ntype: str, name: str) -> "DistTensor":
        from mpignn.store.graph_tensor import GraphTensor  # a rank that only serves needs no torch
        array, shape = self._published.node_data(ntype, name)
        return GraphTensor(array, shape, array.spec.name, ntype, self.registry)

    def _edge_tensor(self, etype: EType, name: str) -> "DistTensor":
        from mpignn.store.graph_tensor import GraphTensor
        array, shape = self._published.edge_data(etype, name)
        return GraphTensor(array, shape, array.spec.name, etype_key(etype), self.registry)


def published_graph(g: DistGraph | PublishedGraph) -> PublishedGraph:
    """What holds the arrays of a graph.  Not collective.

    Raises:
        CommError: The graph is closed.
    """
    return g._published if isinstance(g, DistGraph) else g


def stop_when_closed(g: DistGraph, reader: Stoppable) -> None:
    """Have what reads a graph's memory beside the main thread stopped when the graph is closed.  Not collective."""
    g._readers.add(reader)


def _piece(bounds: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Which of the ranges ``bounds[i]:bounds[i + 1]`` holds each id; empty ones hold none."""
    return np.searchsorted(bounds, ids, side="right") - 1


def _tensor(array: np.ndarray) -> "torch.Tensor":
    import torch  # here, so that a rank that only serves does not load it
    return torch.from_numpy(np.ascontiguousarray(array))

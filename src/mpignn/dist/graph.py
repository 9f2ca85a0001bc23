"""A published graph as trainers see it.

Shapes: N ids of a split.
"""

from collections.abc import Mapping

import numpy as np

from mpignn.dist.service import GraphService
from mpignn.dist.tables import Tables
from mpignn.errors import CommError, UnknownName
from mpignn.graph.types import EType, Schema, etype_key
from mpignn.log import phase
from mpignn.roles import Topology
from mpignn.transport.group import Group


class DistGraph:
    """One graph, whole to every rank; `mpignn.open_graph` and `mpignn.run` make it.

    A context manager: where the ``with`` block ends it is closed, unless an error that only this rank has is on its
    way, which will end the job.

    Attributes:
        service: Its windows.
        topology: Where the ranks of the job sit.
        trainers: The trainers, who act together; None on a rank that only serves.
        splits: (N,) int64 global ids by node type or edge type key, and by name; in order of original id.
        tables: The tensors that the trainers made; None on a rank that only serves.
    """

    def __init__(self, service: GraphService, topology: Topology, trainers: Group | None,
                 splits: Mapping[str, Mapping[str, np.ndarray]], world=None):
        """Not collective.  ``world`` is the job that closes the graph together; None where there is none."""
        self.topology, self.trainers, self.splits = topology, trainers, splits
        self._service: GraphService | None = service
        self._world = world
        self.tables = None if trainers is None else Tables(service.book, topology, service.transport, trainers)

    def __enter__(self) -> "DistGraph":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is None or getattr(error, "agreed", False):
            self.close()

    def close(self) -> None:
        """Meet all ranks and give the memory back; harmless when done already.  Collective over the world.

        A rank that only serves calls it at once: what it does in there is serving.
        """
        if self._service is None:
            return
        with phase("serve" if self.trainers is None else "leave"):
            if self.tables is not None:
                self.tables.close()
            if self._world is not None:
                self._world.finish()
            self._service.transport.free()
        self._service = None

    @property
    def service(self) -> GraphService:
        if self._service is None:
            raise CommError("the graph is closed")
        return self._service

    @property
    def schema(self) -> Schema:
        return self.service.schema

    def num_nodes(self, ntype: str | None = None) -> int:
        """Nodes of a type; without a type, of all.  Not collective."""
        return self.service.book.num_nodes(ntype)

    def num_edges(self, etype: str | EType | None = None) -> int:
        """Edges of a type; without a type, of all.  Not collective."""
        return self.service.book.num_edges(etype)

    def split(self, name: str, of: str | EType | None = None) -> np.ndarray:
        """(N,) int64 global ids of a split in order of original id, the same on all ranks.  Not collective.

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
        """The node whose servers own each id, (N,) int64.  Not collective."""
        bounds = self.service.home_bounds(ntype)
        server = np.searchsorted(bounds, ids, side="right") - 1
        return np.asarray([self.topology.node_of_rank[r] for r in self.topology.server_ranks], np.int64)[server]

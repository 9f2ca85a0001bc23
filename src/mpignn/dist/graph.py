"""A published graph as trainers see it.

Shapes: N ids of a split.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mpignn.dist.service import GraphService
from mpignn.errors import UnknownName
from mpignn.graph.types import EType, Schema, etype_key
from mpignn.roles import Topology
from mpignn.transport.group import Group


@dataclass(frozen=True)
class DistGraph:
    """One graph, whole to every trainer.

    Attributes:
        service: Its windows.
        topology: Where the ranks of the job sit.
        trainers: The trainers, who act together.
        splits: (N,) int64 global ids by node type or edge type key, and by name; in order of original id.
    """

    service: GraphService
    topology: Topology
    trainers: Group
    splits: Mapping[str, Mapping[str, np.ndarray]]

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

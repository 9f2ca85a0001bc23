"""The neighbors of nodes, of which each rank of a group holds those of some nodes.

Shapes: N nodes of all types together, n of them of this rank, E neighbors of these.
"""

from dataclasses import dataclass

import numpy as np

from mpignn.comm.group import Group, LocalGroup
from mpignn.graph.types import GraphData
from mpignn.partition.union import union_graph


@dataclass(frozen=True)
class Neighbors:
    """Rows of the symmetric graph of all types, without self loops and parallel edges; see `union_graph`.

    Attributes:
        group: Those who hold the rows: each has a stretch of them, in order of rank.
        num_nodes: N.
        first: First node of this rank.
        indptr: (n + 1,) int64.
        indices: (E,) int32 or int64 neighbors.
    """

    group: Group
    num_nodes: int
    first: int
    indptr: np.ndarray
    indices: np.ndarray

    @property
    def last(self) -> int:
        """One past the last node of this rank."""
        return self.first + self.indptr.size - 1

    @staticmethod
    def of(data: GraphData) -> "Neighbors":
        """All rows, in one process.  Not collective."""
        indptr, indices = union_graph(data)
        return Neighbors(LocalGroup(), indptr.size - 1, 0, indptr, indices)

"""Rows of a tensor in an order that does not depend on how the graph is cut: by original id.

Nodes go by their original ids; edges by the original id of their destination, then by their place among its in-edges,
which is the same in every cut.

Shapes: N rows of a tensor, D destinations of an edge type, K rows asked about.
"""

from collections.abc import Callable

import numpy as np

from mpignn.comm.group import Group
from mpignn.graph.types import EType
from mpignn.store.lookup import in_degrees
from mpignn.store.placement import is_even
from mpignn.store.published import PublishedGraph

Order = Callable[[int, int], np.ndarray]
"""Called with ``first, last``: (K,) int64 rows, as the tensor numbers them, that are ``first:last`` by original id."""

_CHUNK = 1 << 16        # destinations whose edges are counted together


def original_order(graph: PublishedGraph, trainers: Group, policy: str) -> Order:
    """The rows of a tensor of some policy by original id.  Collective over the trainers; what it returns is not.

    Args:
        graph: The graph's.
        trainers: All of them.
        policy: A node type, the key of an edge type, or ``even``, as `placement.resolve_policy` returns it.
    """
    if is_even(graph.book, policy):
        return lambda first, last: np.arange(first, last, dtype=np.int64)
    if policy in graph.schema.ntypes:
        return lambda first, last: graph.read(graph.new_ids(policy), np.arange(first, last))[:, 0]
    return _EdgeOrder(graph, trainers, graph.schema.etype(policy))


class _EdgeOrder:
    """The edges of a type by original id of the destination."""

    def __init__(self, graph: PublishedGraph, trainers: Group, etype: EType) -> None:
        """Count the edges of every `_CHUNK` destinations, each trainer some.  Collective over the trainers."""
        self._graph, self._etype = graph, etype
        self._num_dst = graph.book.num_nodes(etype[2])
        chunks = -(-self._num_dst // _CHUNK)
        counts = np.zeros(chunks, np.int64)
        for chunk in range(trainers.rank, chunks, trainers.size):
            counts[chunk] = in_degrees(graph, etype, self._destinations(chunk)).sum()
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(trainers.all_sum(counts))])

    def __call__(self, first: int, last: int) -> np.ndarray:
        begin = int(np.searchsorted(self._starts, first, side="right")) - 1
        end = int(np.searchsorted(self._starts, last, side="left"))
        found = [np.empty(0, np.int64)]
        for chunk in range(begin, end):
            edges = self._edges(chunk)
            start = int(self._starts[chunk])
            found.append(edges[max(0, first - start):last - start])
        return np.concatenate(found)

    def _destinations(self, chunk: int) -> np.ndarray:
        """(K,) ids, in order of original id."""
        first, last = chunk * _CHUNK, min((chunk + 1) * _CHUNK, self._num_dst)
        return self._graph.read(self._graph.new_ids(self._etype[2]), np.arange(first, last))[:, 0]

    def _edges(self, chunk: int) -> np.ndarray:
        """(K,) ids of the in-edges of a chunk's destinations, in order."""
        bounds = self._graph.read(self._graph.adjacency(self._etype).rows, self._destinations(chunk))
        degree = bounds[:, 1] - bounds[:, 0]
        before = np.cumsum(degree) - degree
        return np.repeat(bounds[:, 0] - before, degree) + np.arange(degree.sum())

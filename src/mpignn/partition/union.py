"""All types of a graph as one symmetric graph, which is what partitioners cut.

Shapes: N nodes of all types together, N_t of one type, E edges of the symmetric graph.
"""

import itertools
from collections.abc import Mapping

import numpy as np

from mpignn.graph.types import GraphData

Assignment = Mapping[str, np.ndarray]       # (N_t,) partitions by node type
Amounts = tuple[str, np.ndarray]        # what is counted; (N,) int64 how much of it each node has


def union_graph(data: GraphData) -> tuple[np.ndarray, np.ndarray]:
    """The nodes and edges of all types as one symmetric graph without self loops or parallel edges.

    Returns:
        (N + 1,) indptr and (E,) indices; the types follow each other in the order of the schema.
    """
    from mpignn.kernels import union  # here, for commands that cut nothing need no kernels
    from mpignn.kernels.threads import over_rows

    first, total = first_nodes(data), sum(data.num_nodes.values())
    edges = [(np.asarray(csc.indptr), np.asarray(csc.indices), first[src], first[dst])
             for (src, _, dst), csc in data.csc.items()]
    counts = np.zeros(total, np.int64)
    for some in edges:
        union.count_ends(*some, counts)
    starts = np.zeros(total + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    neighbors, places = np.empty(starts[-1], np.int32 if total < 1 << 31 else np.int64), starts[:-1].copy()
    for some in edges:
        union.place_ends(*some, places, neighbors)
    over_rows(starts, lambda begin, end: union.sort_rows(starts, neighbors, begin, end, counts))
    indptr = np.empty(total + 1, np.int64)
    union.pack_rows(starts, counts, neighbors, indptr)
    neighbors.resize(indptr[-1], refcheck=False)        # gives back what no row needs any more
    return indptr, neighbors


def first_nodes(data: GraphData) -> dict[str, int]:
    """Where each type begins among the nodes of all.  Not collective."""
    return dict(zip(data.num_nodes, itertools.accumulate(data.num_nodes.values(), initial=0), strict=False))


def by_ntype(data: GraphData, parts: np.ndarray) -> dict[str, np.ndarray]:
    """(N_t,) by node type, out of (N,) partitions with one type after the other.  Not collective."""
    return dict(zip(data.num_nodes, np.split(parts, np.cumsum(list(data.num_nodes.values()))[:-1]), strict=True))

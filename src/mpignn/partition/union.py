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
    from scipy import sparse  # here, for servers read this package's neighbors and need no SciPy

    first = first_nodes(data)
    total = sum(data.num_nodes.values())
    union = sparse.csr_matrix((total, total), dtype=bool)
    for (src, _, dst), csc in data.csc.items():
        indptr = np.zeros(total + 1, np.int64)
        lo = first[dst]
        indptr[lo:lo + csc.num_dst + 1] = csc.indptr
        indptr[lo + csc.num_dst + 1:] = csc.num_edges
        indices = np.asarray(csc.indices, np.int32 if total < 1 << 31 else np.int64)
        union = union + sparse.csr_matrix((np.ones(csc.num_edges, bool), indices + first[src], indptr),
                                          shape=(total, total))
    union = union + union.T.tocsr()
    union.sum_duplicates()
    rows = np.repeat(np.arange(total, dtype=union.indices.dtype), np.diff(union.indptr))
    keep = rows != union.indices
    indptr = np.zeros(total + 1, np.int64)
    np.cumsum(np.bincount(rows[keep], minlength=total), out=indptr[1:])
    return indptr, union.indices[keep]


def first_nodes(data: GraphData) -> dict[str, int]:
    """Where each type begins among the nodes of all.  Not collective."""
    return dict(zip(data.num_nodes, itertools.accumulate(data.num_nodes.values(), initial=0), strict=False))


def by_ntype(data: GraphData, parts: np.ndarray) -> dict[str, np.ndarray]:
    """(N_t,) by node type, out of (N,) partitions with one type after the other.  Not collective."""
    return dict(zip(data.num_nodes, np.split(parts, np.cumsum(list(data.num_nodes.values()))[:-1]), strict=True))

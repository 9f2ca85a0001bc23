"""Cutting a graph by the library METIS.

Shapes: N nodes, E edges of a symmetric graph, P partitions.
"""

import numpy as np

from mpignn.child import call_apart
from mpignn.errors import ResourceError


def cut_by_metis(indptr: np.ndarray, indices: np.ndarray, num_parts: int, seed: int,
                 node_weights: np.ndarray | None = None, edge_weights: np.ndarray | None = None) -> np.ndarray:
    """Few edges between partitions, which are of equal weight.  Not collective.

    Args:
        indptr: (N + 1,) int64.
        indices: (E,) int32 or int64.
        num_parts: P, more than 1.
        seed: Seed of METIS, below 2^31.
        node_weights, edge_weights: (N,) and (E,) int64, each with a sum below 2^31; None: all weigh the same.

    Returns:
        (N,) int64 partitions.

    Raises:
        ResourceError: METIS ran out of memory, or does not count so many edges.
    """
    import pymetis  # here, for a cluster's node that only reads partitions need not have it

    dtype = np.dtype(pymetis.zero_copy_dtype())     # of METIS's own indices; any other array would be copied
    if indices.size > np.iinfo(dtype).max:
        raise ResourceError(f"METIS here counts edges in {dtype} and the graph has {indices.size}: "
                            "use --method propagation or random, or a file of partitions")
    adjacency = pymetis.CSRAdjacency(indptr.astype(dtype), indices.astype(dtype, copy=False))
    of_nodes, of_edges = (weights if weights is None else weights.astype(dtype)
                          for weights in (node_weights, edge_weights))

    def part() -> np.ndarray:
        return np.asarray(pymetis.part_graph(num_parts, adjacency, vweights=of_nodes, eweights=of_edges,
                                             options=pymetis.Options(seed=seed))[1])

    try:
        return call_apart(part, indptr.size - 1)
    except (RuntimeError, MemoryError) as error:
        raise ResourceError(f"METIS failed ({error}): use --method propagation or random, or a machine with more memory"
                            ) from error

"""Edges of several types as the rows of one symmetric graph.

Shapes: N nodes of all types together, D destinations and E edges of one type, K ends of edges.
"""

import numpy as np

from mpignn.kernels.compiled import kernel


@kernel
def count_ends(indptr: np.ndarray, indices: np.ndarray, src: int, dst: int, counts: np.ndarray) -> None:
    """Count the ends of the edges of one type at each node; self loops have none.

    Args:
        indptr: (D + 1,) int64.
        indices: (E,) int32 or int64 sources.
        src, dst: The first node of the type of the sources, and of the destinations.
        counts: (N,) int64, added to.
    """
    for d in range(indptr.shape[0] - 1):
        for e in range(indptr[d], indptr[d + 1]):
            if src + indices[e] != dst + d:
                counts[src + indices[e]] += 1
                counts[dst + d] += 1


@kernel
def place_ends(indptr: np.ndarray, indices: np.ndarray, src: int, dst: int, places: np.ndarray,
               neighbors: np.ndarray) -> None:
    """Write each end of an edge into the row of the other one.

    Args:
        indptr, indices, src, dst: As `count_ends`.
        places: (N,) int64 where the next neighbor of each node goes; counted up.
        neighbors: (K,) int32 or int64, written.
    """
    for d in range(indptr.shape[0] - 1):
        v = dst + d
        for e in range(indptr[d], indptr[d + 1]):
            u = src + indices[e]
            if u != v:
                neighbors[places[v]] = u
                places[v] += 1
                neighbors[places[u]] = v
                places[u] += 1


@kernel
def sort_rows(starts: np.ndarray, neighbors: np.ndarray, first: int, last: int, lengths: np.ndarray) -> None:
    """Sort some rows, and leave the first of equal neighbors at their beginning.

    Args:
        starts: (N + 1,) int64.
        neighbors: (K,) int32 or int64; changed in place.
        first, last: Rows, the last one excluded.
        lengths: (N,) int64 what is left of each row, written.
    """
    for v in range(first, last):
        row = neighbors[starts[v]:starts[v + 1]]
        row.sort()
        kept = 0
        for k in range(row.shape[0]):
            if kept == 0 or row[k] != row[kept - 1]:
                row[kept] = row[k]
                kept += 1
        lengths[v] = kept


@kernel
def pack_rows(starts: np.ndarray, lengths: np.ndarray, neighbors: np.ndarray, indptr: np.ndarray) -> None:
    """Move what is left of each row to where that of the one before ends.

    Args:
        starts, lengths, neighbors: As `sort_rows` left them; the neighbors are changed in place.
        indptr: (N + 1,) int64, written.
    """
    place = 0
    indptr[0] = 0
    for v in range(lengths.shape[0]):
        for k in range(starts[v], starts[v] + lengths[v]):
            neighbors[place] = neighbors[k]
            place += 1
        indptr[v + 1] = place

"""New ids after partitioning: each partition's nodes of a type become one range, ascending by original id.

Shapes: N nodes of a type, D destinations of an edge type, P partitions.
"""

from dataclasses import dataclass

import numpy as np

from mpignn.graph.csc import CSC

_CHUNK = 1 << 20        # nodes numbered at a time


@dataclass(frozen=True)
class Relabeling:
    """New ids of the nodes of one type.

    Attributes:
        new_id: (N,) int64 new id of each original id.
        ranges: (P + 1,) int64; partition p owns the new ids ``ranges[p]:ranges[p + 1]``.
    """

    new_id: np.ndarray
    ranges: np.ndarray


def relabel(parts: np.ndarray, num_parts: int) -> Relabeling:
    """Number nodes by partition, within a partition by original id.

    Args:
        parts: (N,) integers in ``0:num_parts``, the partition of each node.
    """
    ranges, new_id = np.zeros(num_parts + 1, np.int64), np.empty(parts.size, np.int64)
    np.cumsum(np.bincount(parts, minlength=num_parts), out=ranges[1:])
    free = ranges[:-1].copy()       # the next id of each partition
    for first in range(0, parts.size, _CHUNK):      # the order of all at a time would be three more arrays like these
        some = parts[first:first + _CHUNK]
        # NumPy sorts 16 bits by radix.
        order = np.argsort(some.astype(np.uint16) if num_parts <= 1 << 16 else some, kind="stable")
        counts = np.bincount(some, minlength=num_parts)
        new_id[first + order] = np.arange(some.size) + np.repeat(free - np.cumsum(counts) + counts, counts)
        free += counts
    return Relabeling(new_id, ranges)


def new_indptr(csc: CSC, new_id: np.ndarray) -> np.ndarray:
    """(D + 1,) int64: the in-edges of the new id v get the edge ids ``result[v]:result[v + 1]``.

    Args:
        csc: The in-edges, in original ids.
        new_id: (D,) int64 new id of each destination.
    """
    indptr = np.zeros(csc.num_dst + 1, np.int64)
    indptr[1:][new_id] = np.diff(csc.indptr)
    np.cumsum(indptr, out=indptr)
    return indptr

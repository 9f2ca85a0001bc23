"""In-edges of one edge type as compressed sparse columns.

The *neighbor order* of a row is by source, equal sources by edge id, both original ids.  With it the place of an
edge in the row of its destination does not depend on how a graph is partitioned.

Shapes: D destinations, E edges, R rows asked for, e edges in them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_CHUNK_EDGES = 1 << 22
_BUCKET_EDGES, _MOST_BUCKETS, _BITS = 1 << 15, 1 << 12, 63


@dataclass(frozen=True)
class CSC:
    """In-edges by destination.

    Attributes:
        indptr: (D + 1,) int64; the in-edges of ``d`` are ``indptr[d]:indptr[d + 1]``.
        indices: (E,) int32 or int64 sources.
        edge_ids: (E,) int64 original edge id of each place, or None where place and id are the same.
    """

    indptr: np.ndarray
    indices: np.ndarray
    edge_ids: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"CSC({self.num_dst} destinations, {self.num_edges} edges)"

    @property
    def num_dst(self) -> int:
        return self.indptr.size - 1

    @property
    def num_edges(self) -> int:
        return self.indices.size


def csc_from_coo(src: np.ndarray, dst: np.ndarray, num_dst: int) -> CSC:
    """Group edges by destination, each row in neighbor order; the id of an edge is its position in ``src``.

    Args:
        src, dst: (E,) ends of each edge, in any order, repeats allowed; ``dst`` in ``0:num_dst``.
    """
    indptr = np.zeros(num_dst + 1, np.int64)
    np.cumsum(np.bincount(dst, minlength=num_dst), out=indptr[1:])
    if _in_place(src, dst):
        return CSC(indptr, src)
    order = _in_neighbor_order(src, dst, num_dst)
    return CSC(indptr, src[order], order)


def _in_place(src: np.ndarray, dst: np.ndarray) -> bool:
    """Whether edges lie in the order of `csc_from_coo` already."""
    for first in range(0, src.size, _CHUNK_EDGES):
        some = slice(first, first + _CHUNK_EDGES + 1)
        one, other = dst[some], src[some]
        if ((one[1:] < one[:-1]) | ((one[1:] == one[:-1]) & (other[1:] < other[:-1]))).any():
            return False
    return True


def _in_neighbor_order(src: np.ndarray, dst: np.ndarray, num_dst: int) -> np.ndarray:
    """(E,) int64 edges by destination, equal ones by source, equal ones of these by position.

    NumPy sorts 16 bits by radix.  So edges go to the bucket of their destination first, and in a bucket one integer
    holds both ends and the place.
    """
    num_src = int(src.max(initial=-1)) + 1
    rows = -(-num_dst // max(1, min(_MOST_BUCKETS, src.size // _BUCKET_EDGES)))      # of a bucket
    bucket = (dst // rows).astype(np.uint16)
    order = np.argsort(bucket, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(bucket))])
    for number in np.flatnonzero(np.diff(bounds)).tolist():
        some = order[bounds[number]:bounds[number + 1]]
        if (rows * num_src).bit_length() > _BITS:
            within = np.lexsort((src[some], dst[some]))
        else:
            within = stable_argsort(np.multiply(dst[some] - number * rows, num_src, dtype=np.int64) + src[some])
        order[bounds[number]:bounds[number + 1]] = some[within]
    return order


def stable_argsort(keys: np.ndarray) -> np.ndarray:
    """(n,) int64 places of (n,) int64 keys, none negative, in order, equal ones as they come.

    Where a key and its place fit one integer, NumPy sorts these several times faster than it finds a stable order.
    """
    bits = keys.size.bit_length()
    if not keys.size or int(keys.max()).bit_length() + bits > _BITS:
        return np.argsort(keys, kind="stable")
    packed = (keys << bits) | np.arange(keys.size)
    packed.sort()
    return packed & ((1 << bits) - 1)


def rows_of_places(indptr: np.ndarray, first: int, last: int) -> np.ndarray:
    """(last - first,) int64 row of each place from ``first`` on, of rows that begin where ``indptr`` says."""
    return np.searchsorted(indptr, np.arange(first, last), side="right") - 1


def out_edges(csc: CSC, num_src: int) -> CSC:
    """The same edges by source instead: ``indices`` are destinations, and each row is ordered by destination, equal
    ones by edge id.

    Args:
        csc: In-edges.
        num_src: Number of sources.
    """
    src, dst = np.empty(csc.num_edges, csc.indices.dtype), np.empty(csc.num_edges, np.int64)
    order = slice(None) if csc.edge_ids is None else csc.edge_ids
    src[order] = csc.indices
    dst[order] = np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))
    return csc_from_coo(dst, src, num_src)


def in_edges(csc: CSC, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The in-edges of some destinations, row after row, each in neighbor order.

    Args:
        rows: (R,) int64 destinations.

    Returns:
        (R,) int64 in-degrees, (e,) sources and (e,) int64 edge ids.
    """
    first = csc.indptr[rows]
    degree = csc.indptr[rows + 1] - first
    end = np.cumsum(degree)
    total = int(end[-1]) if end.size else 0
    place = np.repeat(first - (end - degree), degree)
    place += np.arange(total)
    src = csc.indices[place]
    ids = place if csc.edge_ids is None else csc.edge_ids[place]
    if total and not _ordered(src, ids, end[:-1]):
        order = np.lexsort((ids, src, np.repeat(np.arange(rows.size), degree)))
        src, ids = src[order], ids[order]
    return degree, src, ids


def with_self_loops(csc: CSC) -> CSC:
    """Each destination once more among its own in-neighbors, last in its row; without edge ids.

    The destinations must be the first sources.
    """
    indptr = csc.indptr + np.arange(csc.num_dst + 1)
    indices = np.insert(csc.indices, csc.indptr[1:], np.arange(csc.num_dst, dtype=csc.indices.dtype))
    return CSC(indptr, indices)


def row_chunks(indptr: np.ndarray, lo: int, hi: int, max_edges: int) -> Iterator[tuple[int, int]]:
    """Cut the rows ``lo:hi`` into stretches ``(first, last)`` of at most ``max_edges`` edges, or of one row."""
    while lo < hi:
        fitting = int(np.searchsorted(indptr, indptr[lo] + max_edges, side="right")) - 1
        last = min(max(fitting, lo + 1), hi)
        yield lo, last
        lo = last


def _ordered(src: np.ndarray, ids: np.ndarray, row_starts: np.ndarray) -> bool:
    """Whether each row is in neighbor order; rows start at 0 and at ``row_starts``."""
    rises = src[1:] > src[:-1]
    rises |= (src[1:] == src[:-1]) & (ids[1:] > ids[:-1])
    rises[row_starts[(row_starts > 0) & (row_starts < src.size)] - 1] = True
    return bool(rises.all())

"""Edges by their destinations, where they do not fit memory: a sort in two passes through files.

The first pass sends each edge to the bucket of its destination, a stretch of destinations whose edges fit memory; the
second sorts each bucket.  Each rank has a share of the edges in the first pass, and of the buckets in the second.

Shapes: D destinations, E edges, e of them in hand, B buckets.
"""

from collections.abc import Callable, Iterator

import numpy as np

from mpignn.graph.csc import CSC, row_chunks, stable_argsort
from mpignn.large.arrays import FileArray
from mpignn.large.scratch import Scratch

Edges = tuple[np.ndarray, np.ndarray, np.ndarray]       # (e,) sources, destinations, ids

_EDGE_BYTES = 96        # of an edge in hand: what is read, keys, their order, what is written
_MOST_EDGES = 1 << 24       # in hand at a time: more gain nothing
_MOST_BUCKETS = 1 << 16     # whose numbers NumPy sorts fast
_BITS = 63      # of a key that int64 holds


def sort_edges(edges: Callable[[], Iterator[Edges]], num_edges: int, num_src: int, num_dst: int, dtype: np.dtype,
               scratch: Scratch) -> CSC:
    """Group edges by destination, equal ones by source, equal ones of these as they come.

    Args:
        edges: The share of this rank, some at a time; asked for twice.  Those of rank 0 come first, then those of
            rank 1, and so on.
        num_edges: E, of all ranks.
        num_src, num_dst: Number of sources, and D.
        dtype: Type of the sources that are returned.
        scratch: Where to.

    Returns:
        Sources and ids in files; no ids where they are 0, 1, ... in this order.

    Raises:
        MpignnError: What ``edges`` raises, on all ranks.

    Collective over the group of ``scratch``.
    """
    group = scratch.group
    if not num_edges:
        return CSC(np.zeros(num_dst + 1, np.int64), np.empty(0, dtype))
    indptr = np.zeros(num_dst + 1, np.int64)
    with scratch.alone():
        for _, dst, _ in edges():
            low, high = int(dst.min()), int(dst.max()) + 1
            indptr[low + 1:high + 1] += np.bincount(dst - low, minlength=high - low)
    own = indptr[1:].copy()
    np.cumsum(group.all_sum(indptr), out=indptr)
    bounds = np.array(_bucket_bounds(indptr, num_src, scratch))
    of_ranks = np.array(group.allgather(np.add.reduceat(own, bounds[:-1])))      # (ranks, B)
    places = indptr[bounds[:-1]] + of_ranks[:group.rank].sum(axis=0)
    records = scratch.array(np.int64, num_edges, 2)
    with scratch.alone(), scratch.stage("send edges to buckets", int(own.sum())) as advance:
        for some in edges():
            _send(some, bounds, num_src, records, places)
            advance(some[0].size)
    group.barrier()
    indices, edge_ids = scratch.array(dtype, num_edges), scratch.array(np.int64, num_edges)
    buckets = [(int(indptr[bounds[number]]), int(indptr[bounds[number + 1]]))
               for number in range(group.rank, bounds.size - 1, group.size)]
    moved = np.zeros(1, np.int64)
    with scratch.alone(), scratch.stage("sort buckets of edges", sum(hi - lo for lo, hi in buckets)) as advance:
        for lo, hi in buckets:
            sources, ids = _sorted(records[lo:hi], num_src)
            indices.write(lo, sources)
            edge_ids.write(lo, ids)
            moved += not np.array_equal(ids, np.arange(lo, hi))
            advance(hi - lo)
    group.all_sum(moved)
    if group.rank == 0:
        records.path.unlink()
    return CSC(indptr, indices.rows, edge_ids.rows if moved[0] else None)


def _send(edges: Edges, bounds: np.ndarray, num_src: int, records: FileArray, places: np.ndarray) -> None:
    """Write edges to their buckets.

    Args:
        edges: (e,) sources, destinations and ids.
        bounds: (B + 1,) int64 first destination of each bucket.
        num_src: Number of sources.
        records: (E, 2) int64, bucket after bucket: place of the destination in the bucket and source in one number,
            and the id.
        places: (B,) int64 where the next record of each bucket goes; counted up.
    """
    src, dst, ids = edges
    bucket = np.searchsorted(bounds, dst, side="right") - 1
    order = np.argsort(bucket.astype(np.uint16), kind="stable")
    counts = np.bincount(bucket, minlength=bounds.size - 1)
    rows = np.empty((dst.size, 2), np.int64)
    rows[:, 0] = (dst - bounds[bucket])[order] * np.int64(num_src) + src[order]
    rows[:, 1] = ids[order]
    first = 0
    for number in np.flatnonzero(counts).tolist():
        records.write(int(places[number]), rows[first:first + counts[number]])
        first += int(counts[number])
    places += counts


def _bucket_bounds(indptr: np.ndarray, num_src: int, scratch: Scratch) -> list[int]:
    """(B + 1,) first destination of each bucket, and D.  A destination with more edges than fit is one of its own."""
    num_dst = indptr.size - 1
    most = max(scratch.rows(_EDGE_BYTES, _MOST_EDGES), int(indptr[-1]) // (_MOST_BUCKETS // 2))
    rows = max(1, (1 << (_BITS - 1)) // max(1, num_src))        # whose keys int64 holds
    return [0, *(end for lo, hi in row_chunks(indptr, 0, num_dst, most)
                 for end in (*range(lo + rows, hi, rows), hi))]


def _sorted(records: np.ndarray, num_src: int) -> tuple[np.ndarray, np.ndarray]:
    """Sources and ids of a bucket, by keys, equal ones as they came."""
    order = stable_argsort(records[:, 0])
    return records[order, 0] % max(num_src, 1), records[order, 1]

"""The symmetric graph of all types in shares, one for each rank, which need not fit memory.

Shapes: N nodes of all types together, n of them of this rank, E ends of edges.
"""

from collections.abc import Iterator

import numpy as np

from mpignn.graph.csc import CSC, row_chunks, rows_of_places
from mpignn.graph.types import GraphData
from mpignn.large.arrays import FileArray
from mpignn.large.scratch import Scratch
from mpignn.large.sort_edges import Edges, sort_edges
from mpignn.partition.neighbors import Neighbors
from mpignn.partition.union import first_nodes

_EDGE_BYTES = 64        # of an edge in hand


def shared_neighbors(data: GraphData, scratch: Scratch) -> Neighbors:
    """The neighbors of the nodes of which this rank has the care: about as many of them as every other rank has.

    Collective over the group of ``scratch``.

    Raises:
        ResourceError: On all ranks: the disk is full.
    """
    group, count = scratch.group, sum(data.num_nodes.values())
    dtype = np.dtype(np.int32 if count < 1 << 31 else np.int64)
    both_ways = sort_edges(lambda: _ends(data, scratch), 2 * sum(csc.num_edges for csc in data.csc.values()), count,
                           count, dtype, scratch)
    first, last = scratch.rows_of_share(both_ways.indptr)
    with scratch.alone():
        return Neighbors(group, count, first, *_own_rows(both_ways, first, last, dtype, scratch))


def _ends(data: GraphData, scratch: Scratch) -> Iterator[Edges]:
    """This rank's share of the edges of all types, each from both ends; their ids are not needed."""
    first = first_nodes(data)
    for (src_type, _, dst_type), csc in data.csc.items():
        for lo, hi in scratch.pieces(csc.num_edges, 2 * _EDGE_BYTES):
            dst = first[dst_type] + rows_of_places(csc.indptr, lo, hi)
            src = first[src_type] + csc.indices[lo:hi].astype(np.int64)
            yield np.concatenate([src, dst]), np.concatenate([dst, src]), np.zeros(2 * (hi - lo), np.int64)


def _own_rows(both_ways: CSC, begin: int, end: int, dtype: np.dtype, scratch: Scratch
              ) -> tuple[np.ndarray, np.ndarray]:
    """(n + 1,) indptr and neighbors of some rows, each neighbor once and no node its own."""
    starts = np.asarray(both_ways.indptr)
    most = int(starts[end] - starts[begin])
    fits = most * dtype.itemsize <= scratch.memory
    kept = np.empty(most, dtype) if fits else scratch.own(dtype, most)
    indptr, place = np.zeros(end - begin + 1, np.int64), 0
    for lo, hi in row_chunks(starts, begin, end, scratch.rows(_EDGE_BYTES)):
        neighbors = both_ways.indices[int(starts[lo]):int(starts[hi])]
        of_rows = starts[lo:hi + 1] - starts[lo]
        own = np.repeat(np.arange(lo, hi), np.diff(of_rows))
        new = neighbors != own
        new[1:] &= (neighbors[1:] != neighbors[:-1]) | (own[1:] != own[:-1])
        some = neighbors[new]
        indptr[lo - begin + 1:hi - begin + 1] = np.add.reduceat(np.append(new, False), of_rows[:-1]) * (
            np.diff(of_rows) > 0)
        if isinstance(kept, FileArray):
            kept.write(place, some)
        else:
            kept[place:place + some.size] = some
        place += some.size
    np.cumsum(indptr, out=indptr)
    whole = kept.mapped() if isinstance(kept, FileArray) else kept
    return indptr, whole[:place]

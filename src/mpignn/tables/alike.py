"""Edges that join the same nodes.

Shapes: E edges, K of them of this rank.
"""

from collections.abc import Iterator

import numpy as np

from mpignn.graph.csc import CSC, csc_from_coo, row_chunks
from mpignn.large.scratch import Scratch
from mpignn.large.sort_edges import Edges, sort_edges
from mpignn.tables.room import Chain, Room

_EDGE_BYTES = 64        # of an edge in hand


def first_alike(src: np.ndarray, dst: np.ndarray, kinds: np.ndarray | None, both_ways: bool) -> np.ndarray:
    """(E,) int64: the first edge that joins the same nodes as each, and is of the same kind.  Not collective.

    Args:
        src, dst: (E,) nodes.
        kinds: (E,) kinds; None: all are of one.
        both_ways: The same two nodes joined the other way round are the same edge.
    """
    one, other = (np.minimum(src, dst), np.maximum(src, dst)) if both_ways else (src, dst)
    begins = np.ones(src.size, bool)
    if kinds is None:       # grouped by one node and then the other, several times faster than sorted by both
        grouped = csc_from_coo(one, other, int(other.max(initial=-1)) + 1)
        order = np.arange(src.size) if grouped.edge_ids is None else grouped.edge_ids
        begins[1:] = grouped.indices[1:] != grouped.indices[:-1]
        begins[grouped.indptr[:-1][np.diff(grouped.indptr) > 0]] = True
    else:
        keys = one, other, kinds
        order = np.lexsort(keys)
        begins[1:] = np.any([key[order[1:]] != key[order[:-1]] for key in keys], axis=0)
    first = np.empty(src.size, np.int64)
    first[order] = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
    return first


def spread(marked: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """(E,) booleans: the edges that are marked, and all that join the same nodes as one of these.  Not collective."""
    found = np.zeros_like(marked)
    found[alike[marked]] = True
    whole: np.ndarray = found[alike]
    return whole


def again(src: np.ndarray | Chain, dst: np.ndarray | Chain, num_nodes: tuple[int, int], both_ways: bool, count: int,
          room: Room) -> np.ndarray:
    """(K,) booleans: the edges of this rank that join the same nodes as an earlier one.  Collective over the group.

    Each rank holds a bit for each edge of all.

    Args:
        src, dst: (E,) nodes of the edges of all ranks, those of lower ones first.
        num_nodes: How many there are of the types of sources and of destinations.
        both_ways: As for `first_alike`.
        count: K.
        room: Who shares the work.

    Raises:
        ResourceError: On all ranks: the disk is full.
    """
    if not isinstance(src, Chain) and not isinstance(dst, Chain):
        found: np.ndarray = first_alike(src, dst, None, both_ways) != np.arange(src.size)
        return found
    scratch, counts = room.files(), room.group.allgather(count)

    def edges() -> Iterator[Edges]:
        for first, last in scratch.pieces(src.size, _EDGE_BYTES):
            one, other = src[first:last], dst[first:last]
            if both_ways:
                one, other = np.minimum(one, other), np.maximum(one, other)
            yield one, other, np.arange(first, last)

    sorted_edges = sort_edges(edges, src.size, *num_nodes, src.dtype, scratch)
    bits = np.zeros(-(-src.size // 8), np.uint8)
    with scratch.alone():
        for ids in _first_ids(sorted_edges, scratch):
            np.bitwise_or.at(bits, ids >> 3, (128 >> (ids & 7)).astype(np.uint8))
    room.group.all_sum(bits)
    begin = sum(counts[:room.group.rank])
    own = np.unpackbits(bits[begin // 8:-(-(begin + count) // 8)])[begin % 8:begin % 8 + count]
    return np.equal(own, 0)


def _first_ids(edges: CSC, scratch: Scratch) -> Iterator[np.ndarray]:
    """The id of the first edge of all that join the same nodes, in this rank's share, some at a time."""
    indptr = np.asarray(edges.indptr)
    for lo, hi in row_chunks(indptr, *scratch.rows_of_share(indptr), scratch.rows(_EDGE_BYTES)):
        begin, end = int(indptr[lo]), int(indptr[hi])
        sources = edges.indices[begin:end]
        is_first = np.ones(sources.size + 1, bool)      # rows without edges may begin at the end
        is_first[1:-1] = sources[1:] != sources[:-1]
        is_first[indptr[lo:hi] - begin] = True
        places = np.flatnonzero(is_first[:-1])
        yield begin + places if edges.edge_ids is None else edges.edge_ids[begin:end][places]

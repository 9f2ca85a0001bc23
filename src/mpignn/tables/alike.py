"""Edges in groups: those that join the same nodes, and are of the same relation.

Shapes: E edges, K of them of this rank, C relations; e edges in hand, g groups of these.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpignn.graph.bits import Bits
from mpignn.graph.csc import csc_from_coo, row_chunks
from mpignn.large.arrays import FileArray
from mpignn.large.sort_edges import Edges, sort_edges
from mpignn.tables.room import Array, Room

_EDGE_BYTES = 96        # of an edge in hand
_MOST_EDGES = 1 << 22


@dataclass(frozen=True)
class Groups:
    """Some groups, one after the other.

    Attributes:
        ids: (e,) int64 edges, those of a group in ascending order.
        begins: (e,) booleans: the first of each group.
        kinds: (g,) relation of each group; None: there is one.
    """

    ids: np.ndarray
    begins: np.ndarray
    kinds: np.ndarray | None


@dataclass(frozen=True)
class EdgeEnds:
    """The ends of edges, of all ranks or of this one.

    Attributes:
        src, dst: (E,) nodes.
        kinds: (E,) int16 relation of each edge; None: all are of one.
    """

    src: Array
    dst: Array
    kinds: np.ndarray | FileArray | None


class Alike:
    """The groups of all edges, in the order of their destination, relation and source.

    Args:
        ends: Those of the edges of all ranks, those of lower ones first.
        num_kinds: C.
        num_nodes: How many there are of the types of sources and of destinations.
        both_ways: The same two nodes joined the other way round are the same edge.
        room: Where arrays go, and who shares the work.

    Raises:
        ResourceError: On all ranks: the disk is full.

    Collective over the group.
    """

    def __init__(self, ends: EdgeEnds, num_kinds: int, num_nodes: tuple[int, int], both_ways: bool, room: Room
                 ) -> None:
        self._room, self._num_src = room, None if ends.kinds is None else num_nodes[0]

        def joined(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
            one, other = ends.src[first:last], ends.dst[first:last]
            if both_ways:
                one, other = np.minimum(one, other), np.maximum(one, other)
            if ends.kinds is not None:
                one = one + ends.kinds[first:last] * np.int64(num_nodes[0])
            return one, other

        def edges() -> Iterator[Edges]:
            for first, last in room.pieces(ends.src.size, _EDGE_BYTES):
                yield *joined(first, last), np.arange(first, last)

        if all(array is None or isinstance(array, np.ndarray) for array in (ends.src, ends.dst, ends.kinds)):
            # Grouped by one node and then the other: several times faster than sorted by both.
            self._csc = csc_from_coo(*joined(0, ends.src.size), num_nodes[1])
        else:
            dtype = ends.src.dtype if ends.kinds is None else np.dtype(np.int64)
            self._csc = sort_edges(edges, ends.src.size, num_nodes[0] * num_kinds, num_nodes[1], dtype, room.files())

    def some(self) -> Iterator[Groups]:
        """This rank's share of the groups, some at a time.  Not collective."""
        indptr, scratch = np.asarray(self._csc.indptr), self._room.scratch
        share = (0, indptr.size - 1) if scratch is None else scratch.rows_of_share(indptr)
        for lo, hi in row_chunks(indptr, *share, _MOST_EDGES if scratch is None else
                                 scratch.rows(_EDGE_BYTES, _MOST_EDGES)):
            begin, end = int(indptr[lo]), int(indptr[hi])
            sources = self._csc.indices[begin:end]
            begins = np.ones(sources.size + 1, bool)        # rows without edges may begin at the end
            begins[1:-1] = sources[1:] != sources[:-1]
            begins[indptr[lo:hi] - begin] = True
            begins = begins[:-1]
            ids = np.arange(begin, end) if self._csc.edge_ids is None else self._csc.edge_ids[begin:end]
            yield Groups(ids, begins, None if self._num_src is None else sources[begins] // self._num_src)

    def later(self, count: int) -> np.ndarray:
        """(K,) booleans: the edges of this rank that are not the first of their group.  Collective over the group.

        Each rank holds a bit for each edge of all.

        Args:
            count: K.

        Raises:
            MpignnError: On all ranks: what is wrong with the disk.
        """
        group, num_edges = self._room.group, self._csc.num_edges
        counts = group.allgather(count)
        if group.size == 1:
            mask = np.ones(num_edges, bool)
            with self._room.alone():
                for some in self.some():
                    mask[some.ids[some.begins]] = False
            return mask
        bits = Bits(num_edges)
        with self._room.alone():
            for some in self.some():
                bits.mark(some.ids[some.begins])
        group.all_sum(bits.octets)      # no two ranks mark the same
        begin = sum(counts[:group.rank])
        return ~bits.of_stretch(begin, begin + count)


def each_alone(ends: EdgeEnds, room: Room) -> Iterator[Groups]:
    """This rank's share of groups of one edge each, in the order of the edges.  Not collective.

    Args:
        ends: Those of the edges of all ranks.
        room: Who shares the work.
    """
    for first, last in room.pieces(ends.src.size, _EDGE_BYTES):
        kinds = None if ends.kinds is None else ends.kinds[first:last]
        yield Groups(np.arange(first, last), np.ones(last - first, bool), kinds)

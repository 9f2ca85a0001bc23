"""What gives the nodes of a block their positions in it.

Shapes: T threads, N nodes of a type, V words of a bitmap of them, D destinations, S sources, E edges.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from mpignn.buffers import Pool
from mpignn.kernels import threads
from mpignn.kernels.relabel import find_new, look_up, place_dst, place_new, place_sorted, sort_keys, tag
from mpignn.samplers import MOST_IN_BITMAPS


class Positions(Protocol):
    """Gives positions to the nodes of a type, in one block after the other.

    Attributes:
        seen: (T, V) uint64: where kernels mark neighbors while these are in the cache, a bit for each; V is 0 where
            that is no use.
    """

    @property
    def seen(self) -> np.ndarray: ...

    def place(self, dst: np.ndarray, neighbors: Sequence[np.ndarray], pool: Pool
              ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The sources of a block, destinations first, others ascending.  Not collective.

        Args:
            dst: (D,) int64 destinations, unique.
            neighbors: (E,) int32 or int64 for each edge type: what the edges come from, all marked in ``seen``.  They
                may be overwritten.
            pool: Where results lie.

        Returns:
            (S,) int64 sources, and for each edge type (E,) int32 positions of the neighbors among them.
        """


def positions(num_nodes: int) -> Positions:
    """What is fast for so many nodes, in the memory that `mpignn.samplers.positions_bytes` says.

    It is meant for as many threads as there are now.
    """
    return _Marked(num_nodes) if num_nodes <= MOST_IN_BITMAPS else _Sorted(num_nodes)


def warm(dtypes: Iterable[np.dtype]) -> None:
    """Make the kernels for very many nodes ready, whose ids are of these types."""
    for dtype in dtypes:
        _Sorted(2).place(np.zeros(1, np.int64), [np.zeros(1, dtype)], Pool())


class _Marked:
    """By bitmaps over all nodes, which are swept."""

    def __init__(self, num_nodes: int) -> None:
        words = -(-num_nodes // 64)
        self.seen = np.zeros((threads.num_threads(), words), np.uint64)     # all 0 between uses
        self._known = np.empty(words, np.uint64)        # a bit for each node that has a position
        self._slot = np.empty(num_nodes, np.int32)      # the positions of these
        self._placed: Callable[[], np.ndarray | None] = lambda: None        # the sources whose positions they are

    def place(self, dst: np.ndarray, neighbors: Sequence[np.ndarray], pool: Pool
              ) -> tuple[np.ndarray, list[np.ndarray]]:
        # By one thread: another one would take the positions out of this one's cache only to look them up, and all
        # that was won, and more, is lost when they are written again (measured where two cores share no cache).
        if self._placed() is not dst:       # else they are the sources of the hop before, which have their positions
            place_dst(dst, self._known, self._slot)
        src = pool.empty(dst.size + int(find_new(self.seen, self._known)), np.int64)
        src[:dst.size] = dst
        place_new(self.seen[0], self._slot, dst.size, src)
        self._placed = weakref.ref(src)
        found = []
        for ids in neighbors:
            found.append(ids if ids.dtype == np.int32 else pool.empty(ids.size, np.int32))
            look_up(ids, self._slot, found[-1])
        return src, found


class _Sorted:
    """By sorting, in a time and memory that do not depend on the number of nodes."""

    def __init__(self, num_nodes: int) -> None:
        self.seen = np.empty((threads.num_threads(), 0), np.uint64)
        self._id_bits = max(1, (num_nodes - 1).bit_length())

    def place(self, dst: np.ndarray, neighbors: Sequence[np.ndarray], pool: Pool
              ) -> tuple[np.ndarray, list[np.ndarray]]:
        begins = np.cumsum([0, dst.size, *(ids.size for ids in neighbors)]).tolist()
        size = begins[-1]
        place_bits = size.bit_length()
        assert place_bits + self._id_bits <= 64, f"{size} edges of one block, of {1 << self._id_bits} nodes"
        keys, other = pool.empty(size, np.uint64), pool.empty(size, np.uint64)
        for first, ids in zip(begins, (dst, *neighbors), strict=False):
            tag(ids, first, place_bits, keys)
        if sort_keys(keys, other, place_bits, self._id_bits):
            keys, other = other, keys
        found, new = pool.empty(size, np.int32), other.view(np.int64)
        count = place_sorted(keys, place_bits, dst.size, new, found)
        src = pool.empty(dst.size + int(count), np.int64)
        src[:dst.size], src[dst.size:] = dst, new[:count]
        return src, [found[first:last] for first, last in zip(begins[1:], begins[2:], strict=False)]

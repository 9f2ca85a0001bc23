"""Where rows lie in the memory of a node, and which stretches of it to read for some of them.

Shapes: K rows wanted, B stretches of memory that they lie in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.comm.sharded import ArraySpec
from mpignn.roles import Topology

ALIGN = 64      # bytes; a cache line, and the widest vector register


@dataclass(frozen=True)
class Layout:
    """Where the rows of one node lie in its segment.

    Attributes:
        first, last: The servers of the node are ``first`` to ``last - 1``.
        offsets: Byte at which the node's part of each array starts, by name.
        nbytes: Size of the segment; 0 if the node has no server.
    """

    first: int
    last: int
    offsets: dict[str, int]
    nbytes: int


def lay_out(specs: Sequence[ArraySpec], topology: Topology, node: int) -> Layout:
    """Place the arrays of a node one after the other.  Not collective: the same on all ranks."""
    first, last = topology.servers_of(node)
    offsets, end = {}, 0
    for spec in specs:
        offsets[spec.name] = end
        end += -(-spec.elements(first, last) * spec.dtype.itemsize // ALIGN) * ALIGN
    return Layout(first, last, offsets, end)


class Layouts:
    """The layout of each node, worked out when it is first asked for: most ranks read from few of many nodes."""

    def __init__(self, specs: Sequence[ArraySpec], topology: Topology) -> None:
        """Not collective.

        Args:
            specs: The arrays, in the same order on all ranks.
            topology: Where the servers sit.
        """
        self._specs, self._topology = specs, topology
        self._known: dict[int, Layout] = {}

    def of_node(self, node: int) -> Layout:
        """Where rows lie in the memory of a node.  Not collective."""
        found = self._known.get(node)
        if found is None:
            found = self._known[node] = lay_out(self._specs, self._topology, node)
        return found

    def of_server(self, server: int) -> Layout:
        """Where rows lie in the memory of a server's node.  Not collective."""
        topology = self._topology
        return self.of_node(topology.node_of_rank[topology.server_ranks[server]])


def merge(starts: np.ndarray, size: int, landed: int, gap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join rows that lie close to each other into stretches.  Not collective.

    Args:
        starts: (K,) first byte of each row, ascending; rows may overlap.
        size: Bytes in a row.
        landed: Where the first stretch goes when all are laid end to end.
        gap: Join rows with at most this many unwanted bytes between them.

    Returns:
        (B,) first byte and (B,) size of each stretch, (K,) where each row goes.
    """
    if starts.size == 0:
        return starts, starts, starts
    first = np.flatnonzero(np.concatenate(([True], starts[1:] - starts[:-1] > size + gap)))
    counts = np.diff(np.append(first, starts.size))
    begins = starts[first]
    sizes = starts[first + counts - 1] + size - begins
    moved = landed + np.cumsum(sizes) - sizes - begins
    return begins, sizes, starts + np.repeat(moved, counts)


def chunks(starts: np.ndarray, sizes: np.ndarray, limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut a list of stretches into lists of at most ``limit`` bytes, through a stretch where need be.

    Args:
        starts: (B,) first byte of each stretch, B > 0.
        sizes: (B,) of each, more than 0.
        limit: Bytes.

    Not collective.
    """
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    if total <= limit:
        yield starts, sizes
        return
    for begin in range(0, total, limit):
        stop = min(begin + limit, total)
        a, b = np.searchsorted(ends, begin, "right"), np.searchsorted(ends, stop, "left") + 1
        some_starts, some_sizes = starts[a:b].copy(), sizes[a:b].copy()
        before = begin - (ends[a] - sizes[a])
        some_starts[0] += before
        some_sizes[0] -= before
        some_sizes[-1] -= ends[b - 1] - stop
        yield some_starts, some_sizes


def cut_rows(counts: Sequence[int], sizes: Sequence[int], limit: int) -> Iterator[list[tuple[int, int, int]]]:
    """Cut several lists of rows into messages, in order, whole rows only.

    Args:
        counts: Rows in each list.
        sizes: Bytes of a row of each.
        limit: Bytes of a message; one with a single row may be longer.

    Yields:
        What a message has: (list, first row, number of rows), one after the other.

    Not collective.
    """
    message: list[tuple[int, int, int]] = []
    room = limit
    for p, (count, size) in enumerate(zip(counts, sizes, strict=True)):
        first = 0
        while first < count:
            rows = min(count - first, room // size)
            if rows == 0 and message:
                yield message
                message, room = [], limit
                continue
            rows = max(rows, 1)
            message.append((p, first, rows))
            room = max(room - rows * size, 0)
            first += rows
    if message:
        yield message

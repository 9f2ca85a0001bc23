"""Splits by shares of edges that are to be predicted, of which no rank needs to hold all.

Edges that join the same nodes are a group, and all of it is in the same split.

Shapes: E edges, C relations; g groups in hand.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from mpignn.graph.likeness import SPLITS
from mpignn.kernels.rng import derive, units
from mpignn.large.arrays import FileArray
from mpignn.large.scattered import scattered
from mpignn.tables.alike import Alike, Groups
from mpignn.tables.room import Room, put
from mpignn.tables.splits import NO_SPLIT

_STEP = 1 << 20     # numbers drawn at a time
_IN_BIN = 12        # about 2 to this numbers are in a bin
_EDGE_BYTES = 8     # of an edge in hand


def drawn(groups: Callable[[], Iterable[Groups]], shares: tuple[float, float, float], seed: int, num_kinds: int,
          num_edges: int, room: Room) -> np.ndarray | FileArray:
    """Draw the split of each group; each has its share of the groups of a relation, to the nearest whole number.

    The i-th group of a relation draws the i-th number of a stream, and the lowest are for training.

    Args:
        groups: This rank's share of the groups, which ascend by rank; asked for twice.
        shares: Those of train, val and test.
        seed: That of the stream.
        num_kinds: C.
        num_edges: E.
        room: Where arrays go, and who draws together.

    Returns:
        (E,) int8 split of each edge, `NO_SPLIT` for none.

    Raises:
        ResourceError: On all ranks: the disk is full.

    Collective over the group.
    """
    counts = np.zeros(num_kinds, np.int64)
    with room.alone():
        for some in groups():
            counts += np.bincount(_kinds(some), minlength=num_kinds)
    of_ranks, key = room.group.allgather(counts), derive(seed)
    bounds = np.array([_bounds(shares, int(count), key) for count in sum(of_ranks)]).reshape(num_kinds, len(SPLITS))

    def numbers() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        first = sum(of_ranks[:room.group.rank], np.zeros(num_kinds, np.int64))
        for some in groups():
            kinds = _kinds(some)
            unit = units(key, _numbered(kinds, first))
            number = np.add.reduce([unit >= bounds[kinds, place] for place in range(len(SPLITS))], dtype=np.int8)
            number[number == len(SPLITS)] = NO_SPLIT
            first += np.bincount(kinds, minlength=num_kinds)
            yield some.ids, number[np.cumsum(some.begins) - 1]

    return scattered(numbers(), num_edges, room.scratch, np.int8)


def messages(numbers: np.ndarray | FileArray | None, num_edges: int, alike: Alike | None, room: Room
             ) -> np.ndarray | FileArray:
    """Which edges may carry messages: all but those of val and test, and their groups.  Collective over the group.

    Args:
        numbers: (E,) int8 split of each edge; None: none is in one.
        num_edges: E.
        alike: The groups; None: all edges of a group are in the same split.

    Returns:
        (E,) booleans.

    Raises:
        ResourceError: On all ranks: the disk is full.
    """
    if numbers is not None and alike is not None:
        return scattered(_spread(numbers, alike), num_edges, room.scratch, np.bool_)
    made = room.array(np.bool_, num_edges)
    with room.alone():
        for first, last in room.pieces(num_edges, _EDGE_BYTES):
            put(made, first, np.ones(last - first, bool) if numbers is None else numbers[first:last] < 1)
    return made


def _spread(numbers: np.ndarray | FileArray, alike: Alike) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for some in alike.some():
        held_out = np.logical_or.reduceat(numbers[some.ids] >= 1, np.flatnonzero(some.begins))
        yield some.ids, ~held_out[np.cumsum(some.begins) - 1]


def _kinds(some: Groups) -> np.ndarray:
    return np.zeros(np.count_nonzero(some.begins), np.int64) if some.kinds is None else some.kinds


def _numbered(kinds: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(g,) int64 number of each group among those of its relation, of which the first has the number ``first``."""
    if first.size == 1:
        return np.arange(int(first[0]), int(first[0]) + kinds.size)
    order = np.argsort(kinds, kind="stable")
    counts = np.bincount(kinds, minlength=first.size)
    number = np.empty(kinds.size, np.int64)
    number[order] = np.arange(kinds.size) - np.repeat(np.cumsum(counts) - counts - first, counts)
    return number


def _bounds(shares: tuple[float, float, float], count: int, key: int) -> list[float]:
    """For each split a number below which so many of the first ``count`` of the stream lie as are in it or before it.

    A histogram says in which stretch the number lies, and those in the stretch are sorted.
    """
    wanted = np.rint(np.cumsum(shares) * count + 1e-9).astype(np.int64)
    num_bins = 1 << max(0, count.bit_length() - _IN_BIN)
    sizes = np.zeros(num_bins, np.int64)
    for unit in _stream(key, count):
        sizes += np.bincount((unit * num_bins).astype(np.int64), minlength=num_bins)
    ends = np.cumsum(sizes)
    bins = np.searchsorted(ends, wanted, side="right")      # beyond the last, where all are wanted
    inside = [unit[np.isin((unit * num_bins).astype(np.int64), bins)] for unit in _stream(key, count)]
    lowest = np.sort(np.concatenate([*inside, [1.0]]))
    place = np.searchsorted(lowest, bins / num_bins) + wanted - np.concatenate([[0], ends])[bins]
    return [float(unit) for unit in lowest[np.minimum(place, lowest.size - 1)]]


def _stream(key: int, count: int) -> Iterator[np.ndarray]:
    for first in range(0, count, _STEP):
        yield units(key, np.arange(first, min(count, first + _STEP)))

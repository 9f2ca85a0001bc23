"""Positions in a block for node ids, by a bitmap over all ids.

Neighbors set bits; the set bits in ascending order are the block's new sources.  Against a hash map this is twice as
fast on a large graph, and what follows walks memory in order.

Shapes: T threads, N nodes of a type, V = ceil(N / 64) words of its bitmap, D destinations, S sources, E edges.
"""

import numpy as np

from mpignn.kernels.compiled import inlined, kernel

_U64 = np.uint64
_1, _2, _4, _56, _63 = _U64(1), _U64(2), _U64(4), _U64(56), _U64(63)
_5555, _3333 = _U64(0x5555555555555555), _U64(0x3333333333333333)
_0F0F, _0101 = _U64(0x0F0F0F0F0F0F0F0F), _U64(0x0101010101010101)


@kernel
def mark(ids: np.ndarray, seen: np.ndarray) -> None:
    """Set the bits of ``ids``.

    Args:
        ids: (E,) int32 or int64.
        seen: (V,) uint64 bitmap.
    """
    for e in range(ids.shape[0]):
        seen[ids[e] >> 6] |= _1 << (_U64(ids[e]) & _63)


@kernel
def place_dst(ids: np.ndarray, known: np.ndarray, slot: np.ndarray) -> None:
    """Give destination i the position i, and set its bit, and no others.

    Args:
        ids: (D,) int64, unique.
        known: (V,) uint64 bitmap.
        slot: (N,) int32 position of each node.
    """
    known[:] = _U64(0)
    for i in range(ids.shape[0]):
        known[ids[i] >> 6] |= _1 << (_U64(ids[i]) & _63)
        slot[ids[i]] = i


@kernel
def find_new(seen: np.ndarray, known: np.ndarray) -> np.int64:
    """Leave set, of all bits, those that are new, and add them to those known.

    Args:
        seen: (T, V) uint64 bitmaps, one of each thread that marked; what is new is left in the first one, and the
            others are cleared.
        known: (V,) uint64 bitmap of the nodes that have a position.

    Returns:
        The number of new ones.
    """
    count = np.int64(0)
    for t in range(1, seen.shape[0]):
        for w in range(seen.shape[1]):
            seen[0, w] |= seen[t, w]
            seen[t, w] = _U64(0)
    for w in range(seen.shape[1]):
        seen[0, w] &= ~known[w]
        known[w] |= seen[0, w]
        count += np.int64(_popcount(seen[0, w]))
    return count


@kernel
def place_new(seen: np.ndarray, slot: np.ndarray, first: int, src: np.ndarray) -> None:
    """Give the nodes with set bits the positions from ``first`` on, in ascending order, and clear all bits.

    Args:
        seen: (V,) uint64 bitmap.
        slot: (N,) int32 position of each node.
        first: D.
        src: (S,) int64, written from ``first`` on: the new sources.
    """
    position = first
    for w in range(seen.shape[0]):
        bits = seen[w]
        seen[w] = _U64(0)
        while bits:
            lowest = bits & (~bits + _1)
            node = (w << 6) + np.int64(_popcount(lowest - _1))
            src[position] = node
            slot[node] = position
            position += 1
            bits ^= lowest


@kernel
def look_up(ids: np.ndarray, slot: np.ndarray, out: np.ndarray) -> None:
    """``out[e] = slot[ids[e]]``; ``out`` may be ``ids``.

    Args:
        ids: (E,) int32 or int64 nodes.
        slot: (N,) int32 position of each node.
        out: (E,) int32.
    """
    for e in range(ids.shape[0]):
        out[e] = slot[ids[e]]


@inlined
def _popcount(x: np.uint64) -> np.uint64:
    # Written so that LLVM makes one instruction of it, and of the bit scan above.
    x = x - (x >> _1 & _5555)
    x = (x & _3333) + (x >> _2 & _3333)
    x = (x + (x >> _4)) & _0F0F
    return (x * _0101) >> _56

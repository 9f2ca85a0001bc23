"""Positions in a block for node ids: destinations first, then what else edges come from, ascending.

By a bitmap over all ids: neighbors set bits; the set bits in ascending order are the block's new sources.  Against a
hash map this is twice as fast, and what follows walks memory in order.  By sorting: the ids of destinations and of
neighbors are sorted with their places, by their digits, lowest first; that takes the same time for any number of nodes.

Shapes: T threads, N nodes of a type, V = ceil(N / 64) words of its bitmap, D destinations, S sources, E edges, and
M = D + E.
"""

import numpy as np

from mpignn.kernels.compiled import inlined, kernel

_U64 = np.uint64
_1, _2, _4, _56, _63 = _U64(1), _U64(2), _U64(4), _U64(56), _U64(63)
_5555, _3333 = _U64(0x5555555555555555), _U64(0x3333333333333333)
_DIGIT_BITS = 10        # 1,024 stretches that are written to at a time
_0F0F, _0101 = _U64(0x0F0F0F0F0F0F0F0F), _U64(0x0101010101010101)


@kernel
def mark(ids: np.ndarray, seen: np.ndarray) -> None:
    """Set the bits of ``ids``.

    Args:
        ids: (E,) int32 or int64.
        seen: (V,) uint64 bitmap; without words nothing is marked.
    """
    for e in range(ids.shape[0] if seen.shape[0] else 0):
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


@kernel
def tag(ids: np.ndarray, first: int, place_bits: int, keys: np.ndarray) -> None:
    """Put ids and their places into one number each: what the one at place i is goes to ``keys[i]``.

    Args:
        ids: (E,) int32 or int64, of which bits that ``place_bits`` leaves of 64 are enough.
        first: Place of the first one.
        place_bits: Bits of a place, the lower ones of a key.
        keys: (M,) uint64, written.
    """
    for e in range(ids.shape[0]):
        keys[first + e] = _U64(ids[e]) << _U64(place_bits) | _U64(first + e)


@kernel
def sort_keys(keys: np.ndarray, other: np.ndarray, place_bits: int, id_bits: int) -> bool:
    """Sort keys by their ids, equal ones by their places.

    Args:
        keys: (M,) uint64, as left by `tag` in order of the places.
        other: (M,) uint64, of any values; the two arrays are filled in turns.
        place_bits: As for `tag`.
        id_bits: Bits of an id.

    Returns:
        Whether they are in ``other``.
    """
    passes = (id_bits + _DIGIT_BITS - 1) // _DIGIT_BITS
    width = (id_bits + passes - 1) // passes
    mask = (_1 << _U64(width)) - _1
    begins = np.zeros((passes, 1 << width), np.int64)
    for e in range(keys.shape[0]):
        rest = keys[e] >> _U64(place_bits)
        for p in range(passes):
            begins[p, rest & mask] += 1
            rest >>= _U64(width)
    for p in range(passes):
        begin = 0
        for digit in range(1 << width):
            begins[p, digit], begin = begin, begin + begins[p, digit]
    for p in range(passes):
        shift = _U64(place_bits + p * width)
        for e in range(keys.shape[0]):
            digit = keys[e] >> shift & mask
            other[begins[p, digit]] = keys[e]
            begins[p, digit] += 1
        keys, other = other, keys
    return passes % 2 == 1


@kernel
def place_sorted(keys: np.ndarray, place_bits: int, num_dst: int, new: np.ndarray, out: np.ndarray) -> np.int64:
    """Give each id its position in the block.

    Args:
        keys: (M,) uint64, sorted: those of the D destinations, whose places are 0 to D - 1, and of the neighbors.
        place_bits: As for `tag`.
        num_dst: D.
        new: (M,) int64, written: the new sources, ascending.
        out: (M,) int32, written: position of the id at each place.

    Returns:
        The number of new ones.
    """
    low = (_1 << _U64(place_bits)) - _1
    last, position, count = ~_U64(0), np.int64(0), np.int64(0)
    for e in range(keys.shape[0]):      # selects rather than branches: which ids are new cannot be foreseen
        node, place = keys[e] >> _U64(place_bits), np.int64(keys[e] & low)
        is_other = node != last
        is_new = is_other & (place >= num_dst)      # of equal ids a destination comes first
        new[count] = node
        position = num_dst + count if is_new else (place if is_other else position)
        count += np.int64(is_new)
        out[place] = position
        last = node
    return count


@inlined
def _popcount(x: np.uint64) -> np.uint64:
    # Written so that LLVM makes one instruction of it, and of the bit scan above.
    x = x - (x >> _1 & _5555)
    x = (x & _3333) + (x >> _2 & _3333)
    x = (x + (x >> _4)) & _0F0F
    return (x * _0101) >> _56

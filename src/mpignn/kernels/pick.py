"""Which in-edges of a destination are kept.

A pick is a position in the destination's row.  What a destination draws is a function of (key, its original id, number
of the draw), so it is the same whoever draws it, and whether its row is in the view (`pick_neighbors`) or
elsewhere (`pick_edges`).  Rows have fewer than 2**31 in-edges.

Excluded edges are taken out before the draw: of a row of d edges without x of them, ranks among the d - x others are
drawn, and turned into positions.

Shapes: D destinations, E picks, M edges in the view, X excluded edges.
"""

import numpy as np

from mpignn.kernels.compiled import helper, inlined, kernel
from mpignn.kernels.rng import draw, scale, word
from mpignn.kernels.simd import prefetch, read_only

_U64 = np.uint64
_1, _6, _32, _63, _64 = _U64(1), _U64(6), _U64(32), _U64(63), _U64(64)
_LOW = _U64((1 << 32) - 1)

_GROUP = 8      # rows picked while the lines of the group before arrive; 8 to 32 are equally good
_STRETCHES = 1 << 18        # bits that say where excluded edges lie: 32 KiB
_SHORT = 64     # stretches looked at one by one; a row that spans more is searched at once

NONE_GONE = read_only(np.empty(0, np.int64))
NONE_TAKEN = np.empty((0, 2), np.int32)
"""For rows that nothing is excluded from."""


@kernel
def find_excluded(bounds: np.ndarray, gone: np.ndarray, taken: np.ndarray) -> None:
    """Find the excluded edges of each row.

    Args:
        bounds: (D, 2) int64 global edge ids of the start and end of each row.
        gone: (X,) int64 excluded global edge ids, sorted and unique; at least one.
        taken: (D, 2) int32, written: those of row i are ``gone[taken[i, 0]:taken[i, 1]]``.

    A bit for each stretch of edge ids tells most rows at once that nothing of theirs is excluded: two binary searches
    a row instead cost as much as the draw.
    """
    low, high = gone[0], gone[gone.shape[0] - 1]
    shift = 0
    while (high - low) >> shift >= _STRETCHES:
        shift += 1
    marks = np.zeros(((high - low) >> shift) // 64 + 1, np.uint64)
    for x in range(gone.shape[0]):
        stretch = (gone[x] - low) >> shift
        marks[stretch >> 6] |= _1 << (_U64(stretch) & _63)
    for i in range(bounds.shape[0]):
        taken[i, 0] = taken[i, 1] = 0
        start, end = bounds[i, 0], bounds[i, 1]
        if start < end and start <= high and end > low:
            first, last = (max(start, low) - low) >> shift, (min(end - 1, high) - low) >> shift
            hit = last - first > _SHORT
            if not hit:
                for stretch in range(first, last + 1):
                    hit |= marks[stretch >> 6] >> (_U64(stretch) & _63) & _1 != 0
            if hit:
                taken[i, 0], taken[i, 1] = _first_from(gone, start), _first_from(gone, end)


@helper
def _first_from(gone: np.ndarray, edge: int) -> int:
    """How many excluded edges come before an edge."""
    low, high = 0, gone.shape[0]
    while low < high:
        middle = (low + high) // 2
        if gone[middle] < edge:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def plan_rows(bounds: np.ndarray, taken: np.ndarray, fanout: int, replace: bool, lo: int, hi: int,
              indptr: np.ndarray) -> tuple[int, int]:
    """Count the picks of each row.

    Args:
        bounds: (D, 2) int64 global edge ids of the start and end of each row.
        taken: As left by `find_excluded`, or `NONE_TAKEN`.
        fanout: Picks wanted of a row; -1 for all, and then ``replace`` must be False.
        replace: Whether an edge may be picked again.
        lo, hi: The view holds edges ``lo:hi``.
        indptr: (D + 1,) int64, written: where the picks of each row go.

    Returns:
        The most in-edges of a row, and the number of rows with in-edges outside the view.
    """
    longest, outside = 0, 0
    indptr[0] = 0
    for i in range(bounds.shape[0]):
        start, end = bounds[i, 0], bounds[i, 1]
        degree = end - start
        if taken.shape[0]:
            degree -= taken[i, 1] - taken[i, 0]
        count = degree
        if degree > 0 and fanout >= 0 and (replace or degree > fanout):
            count = fanout
        if degree > 0 and (start < lo or end > hi):
            outside += 1
        longest = max(longest, degree)
        indptr[i + 1] = indptr[i] + count
    return longest, outside


@kernel
def pick_edges(key: np.uint64, replace: bool, orig: np.ndarray, bounds: np.ndarray, gone: np.ndarray, taken: np.ndarray,
               indptr: np.ndarray, bits: np.ndarray, out: np.ndarray) -> None:
    """Pick from rows that may be anywhere.

    Args:
        key: uint64 of the hop and edge type.
        replace: As for `plan_rows`.
        orig: (D,) int64 original ids of the destinations.
        bounds, taken, indptr: As left by `plan_rows`.
        gone: As for `find_excluded`, or `NONE_GONE`.
        bits: One bit for each position of the longest row, all 0, uint64; left so.
        out: (E,) int64, written: the global edge ids of the picks, in the order drawn.
    """
    for i in range(orig.shape[0]):
        _pick_row(key, replace, orig[i], bounds, i, gone, taken, taken.shape[0] > 0, bits, out, indptr[i],
                  indptr[i + 1])
        for e in range(indptr[i], indptr[i + 1]):
            out[e] += bounds[i, 0]


@kernel
def pick_neighbors(key: np.uint64, replace: bool, orig: np.ndarray, bounds: np.ndarray, gone: np.ndarray,
                   taken: np.ndarray, indptr: np.ndarray, bits: np.ndarray, indices: np.ndarray, lo: int,
                   seen: np.ndarray, out: np.ndarray) -> None:
    """Pick from rows in the view that nothing is excluded from, and mark the neighbors met.

    Args:
        key, replace, orig, bounds, gone, taken, indptr, bits: As for `pick_edges`.
        indices: (M,) int32 or int64 sources of the edges in the view.
        lo: Global id of the first of them.
        seen: Bitmap over the sources' ids, uint64; the bits of the neighbors are set, if it has any words.
        out: (E,) of the type of ``indices``, written: the neighbors in the order drawn.

    A group's picks are first stored as positions and their lines asked for; they are read while the next group is
    drawn.  Without that each pick waits for memory: half the speed.
    """
    _pick_in_groups(key, replace, orig, bounds, gone, taken, False, indptr, bits, indices, lo, seen, out)


@kernel
def pick_neighbors_left(key: np.uint64, replace: bool, orig: np.ndarray, bounds: np.ndarray, gone: np.ndarray,
                        taken: np.ndarray, indptr: np.ndarray, bits: np.ndarray, indices: np.ndarray, lo: int,
                        seen: np.ndarray, out: np.ndarray) -> None:
    """`pick_neighbors` where edges are excluded: by itself, that without is a tenth faster, and all that many need."""
    _pick_in_groups(key, replace, orig, bounds, gone, taken, True, indptr, bits, indices, lo, seen, out)


@inlined
def _pick_in_groups(key: np.uint64, replace: bool, orig: np.ndarray, bounds: np.ndarray, gone: np.ndarray,
                    taken: np.ndarray, excludes: bool, indptr: np.ndarray, bits: np.ndarray, indices: np.ndarray,
                    lo: int, seen: np.ndarray, out: np.ndarray) -> None:
    num_dst, marks = orig.shape[0], seen.shape[0] > 0
    base, size = indices.ctypes.data, indices.itemsize
    for first in range(0, num_dst + _GROUP, _GROUP):
        for i in range(first, min(first + _GROUP, num_dst)):
            _pick_row(key, replace, orig[i], bounds, i, gone, taken, excludes, bits, out, indptr[i], indptr[i + 1])
            for e in range(indptr[i], indptr[i + 1]):
                prefetch(base + (bounds[i, 0] - lo + out[e]) * size)
        for i in range(max(first - _GROUP, 0), min(first, num_dst)):
            for e in range(indptr[i], indptr[i + 1]):
                neighbor = indices[bounds[i, 0] - lo + out[e]]
                out[e] = neighbor
                if marks:
                    seen[neighbor >> 6] |= _1 << (_U64(neighbor) & _63)


@inlined
def _pick_row(key: np.uint64, replace: bool, orig: int, bounds: np.ndarray, i: int, gone: np.ndarray, taken: np.ndarray,
              excludes: bool, bits: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    """Write the positions picked in row ``i`` to ``out[first:last]``."""
    degree = bounds[i, 1] - bounds[i, 0]
    excluded = 0
    if excludes:
        excluded = taken[i, 1] - taken[i, 0]
    pick_ranks(key, replace, orig, degree - excluded, bits, out, first, last)
    if excludes and excluded:
        step_over(gone, taken[i, 0], taken[i, 1], bounds[i, 0], out, first, last)


@helper
def step_over(gone: np.ndarray, a: int, b: int, start: int, out: np.ndarray, first: int, last: int) -> None:
    """Turn ranks among the edges that are left of a row into positions in it.

    Args:
        gone: (X,) int64 excluded edge ids; those of the row are ``gone[a:b]``, and it begins with edge ``start``.
        out: ``out[first:last]`` is changed.
    """
    for e in range(first, last):
        rank, low, high = out[e], a, b
        while low < high:       # how many excluded edges have as many others before them, or fewer
            middle = (low + high) // 2
            if gone[middle] - start - (middle - a) <= rank:
                low = middle + 1
            else:
                high = middle
        out[e] = rank + (low - a)


@inlined
def pick_ranks(key: np.uint64, replace: bool, orig: int, degree: int, bits: np.ndarray, out: np.ndarray, first: int,
               last: int) -> None:
    """Write which of ``degree`` things are picked to ``out[first:last]``, in the order drawn."""
    if replace:
        stream = draw(key, _U64(orig))
        _with_replacement(stream, _U64(degree), out, first, last)
    elif last - first == degree:
        for e in range(first, last):
            out[e] = e - first
    elif degree <= 64:
        stream = draw(key, _U64(orig))
        _from_short(stream, _U64(degree), out, first, last)
    else:
        stream = draw(key, _U64(orig))
        _from_long(stream, _U64(degree), bits, out, first, last)


@inlined
def _below(stream: np.uint64, number: np.uint64, n: np.uint64) -> np.uint64:
    """Draw ``number`` of a stream: below n, each equally likely.  Two draws share a word."""
    return scale(word(stream, number >> _1) >> ((number & _1) * _32) & _LOW, n, stream, number)


@inlined
def _with_replacement(stream: np.uint64, degree: np.uint64, out: np.ndarray, first: int, last: int) -> None:
    number = _U64(0)
    for e in range(first, last):
        out[e] = np.int64(_below(stream, number, degree))
        number += _1


@inlined
def _from_short(stream: np.uint64, degree: np.uint64, out: np.ndarray, first: int, last: int) -> None:
    """Floyd's algorithm (Bentley and Floyd 1987), the positions taken being the bits of one word."""
    number, taken = _U64(0), _U64(0)
    top = degree - _U64(last - first)
    for e in range(first, last):
        position = _below(stream, number, top + _1)
        if taken >> position & _1:
            position = top
        taken |= _1 << position
        out[e] = np.int64(position)
        number += _1
        top += _1


@inlined
def _from_long(stream: np.uint64, degree: np.uint64, bits: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    """The same with the positions taken in ``bits``, where the picks themselves clear them again."""
    number = _U64(0)
    top = degree - _U64(last - first)
    for e in range(first, last):
        position = _below(stream, number, top + _1)
        if bits[position >> _6] >> (position & _63) & _1:
            position = top
        bits[position >> _6] |= _1 << (position & _63)
        out[e] = np.int64(position)
        number += _1
        top += _1
    for e in range(first, last):
        bits[out[e] >> 6] = _U64(0)

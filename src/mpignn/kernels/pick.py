"""Which in-edges of a destination are kept.

A pick is a position in the destination's row.  What a destination draws is a function of (key, its original id, number
of the draw), so it is the same whoever draws it, and whether its row is in the view (`pick_neighbors`) or
elsewhere (`pick_edges`).  Rows have fewer than 2**31 in-edges.

Shapes: D destinations, E picks, M edges in the view.
"""

import numba
import numpy as np

from mpignn.kernels.rng import draw, scale, word
from mpignn.kernels.simd import prefetch

_U64 = np.uint64
_1, _6, _32, _63, _64 = _U64(1), _U64(6), _U64(32), _U64(63), _U64(64)
_LOW = _U64((1 << 32) - 1)

_GROUP = 8      # rows picked while the lines of the group before arrive; 8 to 32 are equally good


@numba.njit(nogil=True, cache=True)
def plan_rows(bounds, fanout, replace, lo, hi, indptr):
    """Count the picks of each row.

    Args:
        bounds: (D, 2) int64 global edge ids of the start and end of each row.
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
        count = degree
        if degree > 0 and fanout >= 0 and (replace or degree > fanout):
            count = fanout
        if degree > 0 and (start < lo or end > hi):
            outside += 1
        longest = max(longest, degree)
        indptr[i + 1] = indptr[i] + count
    return longest, outside


@numba.njit(nogil=True, cache=True)
def pick_edges(key, replace, orig, bounds, indptr, bits, out):
    """Pick from rows that may be anywhere.

    Args:
        key: uint64 of the hop and edge type.
        replace: As for `plan_rows`.
        orig: (D,) int64 original ids of the destinations.
        bounds, indptr: As left by `plan_rows`.
        bits: One bit for each position of the longest row, all 0, uint64; left so.
        out: (E,) int64, written: the global edge ids of the picks, in the order drawn.
    """
    for i in range(orig.shape[0]):
        _pick_row(key, replace, orig[i], bounds[i, 1] - bounds[i, 0], bits, out, indptr[i], indptr[i + 1])
        for e in range(indptr[i], indptr[i + 1]):
            out[e] += bounds[i, 0]


@numba.njit(nogil=True, cache=True)
def pick_neighbors(key, replace, orig, bounds, indptr, bits, indices, lo, seen, out):
    """Pick from rows in the view, and mark the neighbors met.

    Args:
        key, replace, orig, bounds, indptr, bits: As for `pick_edges`.
        indices: (M,) int32 or int64 sources of the edges in the view.
        lo: Global id of the first of them.
        seen: Bitmap over the sources' ids, uint64; the bits of the neighbors are set.
        out: (E,) of the type of ``indices``, written: the neighbors in the order drawn.

    A group's picks are first stored as positions and their lines asked for; they are read while the next group is
    drawn.  Without that each pick waits for memory: half the speed.
    """
    num_dst = orig.shape[0]
    base, size = indices.ctypes.data, indices.itemsize
    for first in range(0, num_dst + _GROUP, _GROUP):
        for i in range(first, min(first + _GROUP, num_dst)):
            _pick_row(key, replace, orig[i], bounds[i, 1] - bounds[i, 0], bits, out, indptr[i], indptr[i + 1])
            for e in range(indptr[i], indptr[i + 1]):
                prefetch(base + (bounds[i, 0] - lo + out[e]) * size)
        for i in range(max(first - _GROUP, 0), min(first, num_dst)):
            for e in range(indptr[i], indptr[i + 1]):
                neighbor = indices[bounds[i, 0] - lo + out[e]]
                out[e] = neighbor
                seen[neighbor >> 6] |= _1 << (_U64(neighbor) & _63)


@numba.njit(inline="always")
def _pick_row(key, replace, orig, degree, bits, out, first, last):
    """Write the positions picked in a row to ``out[first:last]``."""
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


@numba.njit(inline="always")
def _below(stream, number, n):
    """Draw ``number`` of a stream: below n, each equally likely.  Two draws share a word."""
    return scale(word(stream, number >> _1) >> ((number & _1) * _32) & _LOW, n, stream, number)


@numba.njit(inline="always")
def _with_replacement(stream, degree, out, first, last):
    number = _U64(0)
    for e in range(first, last):
        out[e] = np.int64(_below(stream, number, degree))
        number += _1


@numba.njit(inline="always")
def _from_short(stream, degree, out, first, last):
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


@numba.njit(inline="always")
def _from_long(stream, degree, bits, out, first, last):
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

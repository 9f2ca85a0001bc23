"""Which in-edges of a destination are kept where each has a weight, a mark, or both.

As in `pick`, a pick depends on (key, original id of the destination, number of the draw), and excluded edges are taken
out first.  An edge of weight 0 or mark False is never picked.

Shapes: D destinations, E picks, M edges in the view, X excluded edges, A edges of rows that were fetched.
"""

import math

import numpy as np

from mpignn.kernels.compiled import helper, inlined, kernel
from mpignn.kernels.pick import pick_ranks
from mpignn.kernels.rng import draw, word
from mpignn.kernels.simd import prefetch, read_only

_U64 = np.uint64
_12 = _U64(12)
_STEP = 2.0**-52
_FEW = 32       # up to so many picks the largest key kept is looked for anew each time; more are kept in a heap
_AHEAD = 16     # picks
_ROWS_AHEAD, _LINES_AHEAD = 4, 4

NO_WEIGHTS = read_only(np.empty(0, np.float32))
NO_MARKS = read_only(np.empty(0, np.bool_))
"""For edges that have none."""


@kernel
def pick_weighted(key: np.uint64, fanout: int, replace: bool, orig: np.ndarray, bounds: np.ndarray, gone: np.ndarray,
                  taken: np.ndarray, indptr: np.ndarray, weights: np.ndarray, weights_away: np.ndarray, weighted: bool,
                  marks: np.ndarray, marks_away: np.ndarray, masked: bool, lo: int, away: np.ndarray,
                  marks_at: np.ndarray, longest: int, out: np.ndarray, counts: np.ndarray) -> np.int64:
    """Pick from rows.

    Args:
        key, orig, bounds, gone, taken: As for `pick.pick_edges`.
        fanout, replace: As for `pick.plan_rows`.
        indptr: (D + 1,) int64, as left by `pick.plan_rows`: room for the picks of each row.
        weights, marks: (M,) weight and mark of each edge in the view, read only; `NO_WEIGHTS` or `NO_MARKS`.
        weights_away, marks_away: (A,) the same of the rows that were fetched.
        weighted, masked: Whether there are weights, and marks.
        lo: Global id of the first edge in the view.
        away: (D,) int64 where a row that was fetched begins in what was; -1 for one in the view.
        marks_at: (D,) int64 the same of the marks.
        longest: Most in-edges of a row.
        out: (E,) int64, written: the global edge ids of the picks of row i from ``indptr[i]`` on, in the order drawn.
        counts: (D,) int64, written: how many there are.

    Returns:
        The least id of an edge whose weight is negative, infinite or not a number; -1 if there is none.

    Without replacement: an edge of weight w gets the key -log(u) / w, and those with the least keys are kept, the
    least first (Efraimidis and Spirakis 2006): that is drawing one after the other, in proportion to the weights of
    those left.  A row of which all are kept keeps them in its order.  With replacement: a search in the running sums.
    Marks alone: `pick.pick_ranks` among those marked.
    """
    bad = np.int64(-1)
    keys, units, places = np.empty(longest), np.empty(longest), np.empty(longest, np.int64)
    bits = np.zeros(longest // 64 + 1, np.uint64)
    base, size = (weights.ctypes.data, weights.itemsize) if weighted else (marks.ctypes.data, marks.itemsize)
    for i in range(orig.shape[0]):
        if i + _ROWS_AHEAD < orig.shape[0]:       # a wrong guess, if that row is away, does no harm
            for line in range(_LINES_AHEAD):
                prefetch(base + (bounds[i + _ROWS_AHEAD, 0] - lo) * size + line * 64)
        start, degree = bounds[i, 0], bounds[i, 1] - bounds[i, 0]
        first, room = indptr[i], indptr[i + 1] - indptr[i]
        a, b = np.int64(0), np.int64(0)
        if taken.shape[0]:
            a, b = np.int64(taken[i, 0]), np.int64(taken[i, 1])
        excluded = gone[a:b]
        row = _row(weights, weights_away, lo, start, degree if weighted else 0, away[i])
        marked = _row(marks, marks_away, lo, start, degree if masked else 0, marks_at[i])
        if not weighted:
            left = _allowed(row, marked, start, excluded, places, degree)
            count = room if replace and left else min(room, left)
            pick_ranks(key, replace, orig[i], left, bits, out, first, first + count)
            for e in range(first, first + count):
                out[e] = places[out[e]]
        else:
            wrong = 0
            for p in range(degree):
                wrong += not 0.0 <= row[p] < np.inf
            if wrong:
                bad = _first_bad(row, start, bad)
            stream = draw(key, _U64(orig[i]))
            if replace:
                count = _in_proportion(stream, row, marked, start, excluded, keys, places, out, first, room)
            elif room == degree - (b - a):
                count = _allowed(row, marked, start, excluded, out[first:], degree)
            else:
                count = _least(stream, row, marked, start, excluded, keys, places, units, out, first, room)
        for e in range(first, first + count):
            out[e] += start
        counts[i] = count
    return bad


@kernel
def count_allowed(bounds: np.ndarray, gone: np.ndarray, taken: np.ndarray, weights: np.ndarray,
                  weights_away: np.ndarray, weighted: bool, marks: np.ndarray, marks_away: np.ndarray, masked: bool,
                  lo: int, away: np.ndarray, marks_at: np.ndarray, counts: np.ndarray) -> None:
    """Count the edges of each row that may be picked; arguments as for `pick_weighted`, ``counts`` (D,) written."""
    for i in range(bounds.shape[0]):
        start, degree = bounds[i, 0], bounds[i, 1] - bounds[i, 0]
        a, b = np.int64(0), np.int64(0)
        if taken.shape[0]:
            a, b = np.int64(taken[i, 0]), np.int64(taken[i, 1])
        row = _row(weights, weights_away, lo, start, degree if weighted else 0, away[i])
        marked = _row(marks, marks_away, lo, start, degree if masked else 0, marks_at[i])
        count = 0
        for p in range(degree):
            count += _weight(row, marked, p) > 0.0
        for x in range(a, b):
            count -= _weight(row, marked, gone[x] - start) > 0.0
        counts[i] = count


@kernel
def close_gaps(counts: np.ndarray, indptr: np.ndarray, out: np.ndarray) -> None:
    """Move the picks of all rows together: row i has the first ``counts[i]`` of ``out[indptr[i]:indptr[i + 1]]``.

    Args:
        counts: (D,) int64.
        indptr: (D + 1,) int64, changed: where the picks of each row go.
        out: (E,) int64, changed.
    """
    to = 0
    for i in range(counts.shape[0]):
        first = indptr[i]
        indptr[i] = to
        for e in range(first, first + counts[i]):
            out[to] = out[e]
            to += 1
    indptr[counts.shape[0]] = to


@kernel
def take(indices: np.ndarray, indices_away: np.ndarray, lo: int, away: np.ndarray, bounds: np.ndarray,
         indptr: np.ndarray, edge_ids: np.ndarray, out: np.ndarray) -> None:
    """Read the neighbors that were picked.

    Args:
        indices: (M,) int32 or int64 sources of the edges in the view, the first being edge ``lo``; read only.
        indices_away: (A,) of its type, of the rows that were fetched.
        away, bounds, indptr: As for `pick_weighted`.
        edge_ids: (E,) int64.
        out: (E,) of the type of ``indices``, written.
    """
    base, size = indices.ctypes.data, indices.itemsize
    for i in range(away.shape[0]):
        for e in range(indptr[i], indptr[i + 1]):
            if e + _AHEAD < edge_ids.shape[0]:      # a wrong guess, if that edge is away, does no harm
                prefetch(base + (edge_ids[e + _AHEAD] - lo) * size)
            if away[i] < 0:
                out[e] = indices[edge_ids[e] - lo]
            else:
                out[e] = indices_away[away[i] + edge_ids[e] - bounds[i, 0]]


@helper
def _first_bad(row: np.ndarray, start: np.int64, bad: np.int64) -> np.int64:
    for p in range(row.shape[0]):
        if not 0.0 <= row[p] < np.inf:
            return start + p if bad < 0 else min(bad, start + p)
    return bad


@inlined
def _row(flat: np.ndarray, away: np.ndarray, lo: int, start: int, degree: int, at: int) -> np.ndarray:
    if degree == 0:
        return flat[:0]
    return flat[start - lo:start - lo + degree] if at < 0 else away[at:at + degree]


@inlined
def _weight(row: np.ndarray, marked: np.ndarray, p: int) -> float:
    weight = np.float64(row[p]) if row.shape[0] else 1.0
    if marked.shape[0]:
        weight = weight if marked[p] else 0.0
    return weight


@helper
def _allowed(row: np.ndarray, marked: np.ndarray, start: int, excluded: np.ndarray, places: np.ndarray,
             degree: int) -> int:
    """Write the positions that may be picked, in order; return their number."""
    count, x = 0, 0
    for p in range(degree):
        if x < excluded.shape[0] and excluded[x] == start + p:
            x += 1
        elif _weight(row, marked, p) > 0.0:
            places[count] = p
            count += 1
    return count


@inlined
def _unit(stream: np.uint64, p: int) -> float:
    """A number between 0 and 1, both excluded, of 52 random bits: 1 less it is exact, so that keys near 0 are, too."""
    return (np.float64(word(stream, _U64(p)) >> _12) + 0.5) * _STEP


@helper
def _in_proportion(stream: np.uint64, row: np.ndarray, marked: np.ndarray, start: int, excluded: np.ndarray,
                   sums: np.ndarray, places: np.ndarray, out: np.ndarray, first: int, room: int) -> int:
    count = _allowed(row, marked, start, excluded, places, row.shape[0])
    total = 0.0
    for j in range(count):
        total += row[places[j]]
        sums[j] = total
    if count == 0:
        return 0
    for number in range(room):
        x = _unit(stream, number) * total
        low, high = 0, count - 1
        while low < high:       # the first sum above x; the last one if rounding leaves none
            middle = (low + high) // 2
            if sums[middle] > x:
                high = middle
            else:
                low = middle + 1
        out[first + number] = places[low]
    return room


@helper
def _least(stream: np.uint64, row: np.ndarray, marked: np.ndarray, start: int, excluded: np.ndarray, keys: np.ndarray,
           places: np.ndarray, units: np.ndarray, out: np.ndarray, first: int, room: int) -> int:
    """Keep the least keys, the largest of them at hand, and sort them in the end.

    -log(1 - v) is at least v, so an edge with v above the largest key that is kept times its weight needs no logarithm.
    The numbers of a row are made in a loop of its own, of which the compiler makes vector instructions.
    """
    degree = row.shape[0]
    for p in range(degree):
        units[p] = _unit(stream, p)
    if marked.shape[0]:
        for p in range(degree):
            units[p] = units[p] if marked[p] else np.inf
    for x in range(excluded.shape[0]):
        units[excluded[x] - start] = np.inf
    kept, positive, last, bound = 0, 0, 0, 0.0
    for p in range(degree):
        v, weight = units[p], np.float64(row[p])
        positive += (v < 1.0) & (weight > 0.0)
        if v < bound * weight if kept == room else (v < 1.0) & (weight > 0.0):
            key = -math.log(1.0 - v) / weight
            if kept < room:
                keys[kept], places[kept] = key, p
                kept += 1
                if kept == room and room > _FEW:
                    for j in range(room // 2 - 1, -1, -1):
                        _sift(keys, places, j, room)
            elif key < bound:
                keys[last], places[last] = key, p
                if room > _FEW:
                    _sift(keys, places, 0, room)
            if kept == room and room > _FEW:
                bound = keys[0]
            elif kept == room:
                bound, last = keys[0], 0
                for j in range(1, room):
                    last = j if keys[j] > bound else last
                    bound = max(bound, keys[j])
    if positive <= room:
        return _allowed(row, marked, start, excluded, out[first:], degree)
    if room > _FEW:
        for size in range(room - 1, 0, -1):
            keys[0], keys[size] = keys[size], keys[0]
            places[0], places[size] = places[size], places[0]
            _sift(keys, places, 0, size)
    for j in range(room):       # an insertion sort, of which a heap has left nothing to do
        key, at = keys[j], j
        while at > 0 and keys[at - 1] > key:
            keys[at], out[first + at] = keys[at - 1], out[first + at - 1]
            at -= 1
        keys[at], out[first + at] = key, places[j]
    return room


@helper
def _sift(keys: np.ndarray, places: np.ndarray, at: int, size: int) -> None:
    """Let the entry ``at`` sink to its place in a heap of the largest key first."""
    key, place = keys[at], places[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and keys[child + 1] > keys[child]:
            child += 1
        if keys[child] <= key:
            break
        keys[at], places[at] = keys[child], places[child]
        at = child
    keys[at], places[at] = key, place

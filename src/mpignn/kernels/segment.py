"""Rows gathered along the edges of a block and reduced per destination, without a row per edge in between.

The backward of a sum is the sum over the transposed block: no row has two writers, hence no atomics, and the order
of summation is fixed, so results repeat bit for bit, on any number of threads.

Shapes: S sources, D destinations, E edges, F columns.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike

from mpignn.kernels.compiled import kernel
from mpignn.kernels.simd import (
    LANES,
    add_lanes,
    lanes,
    narrow,
    no_lanes,
    prefetch_row,
    read_only,
    store_lanes,
    widen,
)
from mpignn.kernels.threads import over_rows

_AHEAD = 16     # edges; 8 to 32 are about equally good


def segment_sum(indptr: np.ndarray, indices: np.ndarray, x: np.ndarray, out: np.ndarray, *,
                mean: bool = False, start: np.ndarray | None = None, own: np.ndarray | None = None) -> None:
    """``out[d]`` is the sum of ``x[indices[e]]`` over the in-edges e of d, in their order; 0 if there are none.

    Rows are float32 or float64, or bfloat16 as uint16 or float16 as int16, which are summed as float32.  Each of the
    arrays may be some adjacent columns of a wider one.

    Args:
        indptr: (D + 1,) int64.
        indices: (E,) int32 or int64, rows of ``x``; not checked.
        x: (S, F).
        out: (D, F).
        mean: Divide by the number of in-edges.
        start: (K, F) with K <= D, of the type of ``x``: the sums of the first K destinations begin with these rows
            instead of 0.
        own: (D, F), of the type of ``out``, filled with ``x[:D]``.

    Not collective.
    """
    rows, columns = indptr.size - 1, x.shape[1]
    start, own = x[:0] if start is None else start, out[:0] if own is None else own
    assert out.shape == (rows, columns) and start.shape[0] <= rows and own.shape in ((0, columns), (rows, columns))
    assert start.dtype == x.dtype and own.dtype == out.dtype
    indptr, indices, x, start = (read_only(a) for a in (indptr, indices, _wide(x), _wide(start)))
    out, own = _wide(out), _wide(own)
    over_rows(indptr, lambda lo, hi: _sum(
        indptr[lo:hi + 1], indices, x, columns, mean, start[lo:hi], lo, own[lo:hi], out[lo:hi]))


def segment_max(indptr: np.ndarray, indices: np.ndarray, x: np.ndarray, out: np.ndarray, winner: np.ndarray) -> None:
    """``out[d, j]`` is the greatest ``x[indices[e], j]`` over the in-edges e of d; 0 if there are none.

    Not a number wins over all numbers, as in torch; of equal values, the first.

    Args:
        indptr, indices, x, out: As in `segment_sum`.
        winner: (D, F) int32, filled with the row of ``x`` that each value is from; -1 if there are no in-edges.

    Not collective.
    """
    assert out.shape == winner.shape == (indptr.size - 1, x.shape[1]) and x.flags.c_contiguous
    indptr, indices, x = read_only(indptr), read_only(indices), read_only(x)
    over_rows(indptr, lambda lo, hi: _max(indptr[lo:hi + 1], indices, x, out[lo:hi], winner[lo:hi]))


def spread_max(grad: np.ndarray, winner: np.ndarray, out: np.ndarray) -> None:
    """The backward of `segment_max`: every gradient goes to the row that its value was from.

    Args:
        grad: (D, F) gradients of the maxima.
        winner: (D, F) int32, from `segment_max`.
        out: (S, F), filled with the gradients of ``x``.

    Not collective.
    """
    assert grad.shape == winner.shape and grad.shape[1] == out.shape[1]
    _spread(read_only(grad), read_only(winner), out)


def transpose(indptr: np.ndarray, indices: np.ndarray, num_src: int) -> tuple[np.ndarray, np.ndarray]:
    """Out-edges by source, in the order of destinations: a stable counting sort.

    Returns:
        (S + 1,) int64 ``indptr`` over the sources and (E,) int32 destinations.

    Not collective.
    """
    return transpose_edges(indptr, indices, num_src)[:2]


def transpose_edges(indptr: np.ndarray, indices: np.ndarray,
                    num_src: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `transpose`, and the (E,) int32 place that each out-edge had among the in-edges."""
    out_indptr = np.zeros(num_src + 1, np.int64)
    out_indices, out_edges = np.empty(indices.size, np.int32), np.empty(indices.size, np.int32)
    _transpose(read_only(indptr), read_only(indices), out_indptr, out_indices, out_edges)
    return out_indptr, out_indices, out_edges


def warm(dtype: DTypeLike = np.float32) -> None:
    """Compile the kernels for a dtype and int32 indices, or load them from the cache."""
    indptr, indices, x = np.array([0, 1]), np.zeros(1, np.int32), np.zeros((1, 1), dtype)
    out, winner = np.empty_like(x), np.empty((1, 1), np.int32)
    segment_sum(*transpose(indptr, indices, 1), x, out)
    if x.dtype.kind == "f":
        segment_max(indptr, indices, x, out, winner)
        spread_max(x, winner, out)


def _wide(rows: np.ndarray) -> np.ndarray:
    """Some columns of a wider array as a contiguous array that begins with them: one type, hence one compilation.

    What lies right of the columns is not theirs: kernels are told how many there are.
    """
    if rows.flags.c_contiguous:
        return rows
    assert rows.strides[1] == rows.itemsize and rows.strides[0] % rows.itemsize == 0
    return as_strided(rows, (rows.shape[0], rows.strides[0] // rows.itemsize))


@kernel
def _sum(indptr: np.ndarray, indices: np.ndarray, x: np.ndarray, columns: int, mean: bool, start: np.ndarray,
         first: int, own: np.ndarray, out: np.ndarray) -> None:
    kind, result = x.dtype.type(0), out.dtype.type(0)
    rows, size, stride = x.ctypes.data, x.itemsize, x.shape[1] * x.itemsize
    begin, begin_stride = start.ctypes.data, start.shape[1] * size
    target, target_size, target_stride = out.ctypes.data, out.itemsize, out.shape[1] * out.itemsize
    one = widen(kind) + np.float32(1)
    for d in range(out.shape[0]):
        low, high = indptr[d], indptr[d + 1]
        for e in range(low, high):
            if e + _AHEAD < indices.shape[0]:
                ahead = rows + indices[e + _AHEAD] * stride
                for at in range(0, columns * size, 64):
                    prefetch_row(ahead + at)
        count = one * np.float32(high - low) if mean and high > low else one
        started, at = d < start.shape[0], 0
        while at + 4 * LANES <= columns:
            head = begin + d * begin_stride + at * size
            a = lanes(head, kind) if started else no_lanes(kind)
            b = lanes(head + LANES * size, kind) if started else no_lanes(kind)
            c = lanes(head + 2 * LANES * size, kind) if started else no_lanes(kind)
            f = lanes(head + 3 * LANES * size, kind) if started else no_lanes(kind)
            for e in range(low, high):
                row = rows + indices[e] * stride + at * size
                a = add_lanes(a, lanes(row, kind))
                b = add_lanes(b, lanes(row + LANES * size, kind))
                c = add_lanes(c, lanes(row + 2 * LANES * size, kind))
                f = add_lanes(f, lanes(row + 3 * LANES * size, kind))
            place = target + d * target_stride + at * target_size
            store_lanes(place, a, count, result)
            store_lanes(place + LANES * target_size, b, count, result)
            store_lanes(place + 2 * LANES * target_size, c, count, result)
            store_lanes(place + 3 * LANES * target_size, f, count, result)
            at += 4 * LANES
        while at + LANES <= columns:
            a = lanes(begin + d * begin_stride + at * size, kind) if started else no_lanes(kind)
            for e in range(low, high):
                a = add_lanes(a, lanes(rows + indices[e] * stride + at * size, kind))
            store_lanes(target + d * target_stride + at * target_size, a, count, result)
            at += LANES
        for j in range(at, columns):
            total = widen(start[d, j]) if started else one - one
            for e in range(low, high):
                total += widen(x[indices[e], j])
            out[d, j] = narrow(total / count, result)
        if d < own.shape[0]:
            for j in range(columns):
                own[d, j] = narrow(widen(x[first + d, j]), result)


@kernel
def _max(indptr: np.ndarray, indices: np.ndarray, x: np.ndarray, out: np.ndarray, winner: np.ndarray) -> None:
    for d in range(out.shape[0]):
        first, end = indptr[d], indptr[d + 1]
        for j in range(x.shape[1]):
            out[d, j] = x[indices[first], j] if first < end else 0
            winner[d, j] = indices[first] if first < end else -1
        for e in range(first + 1, end):
            source = indices[e]
            for j in range(x.shape[1]):
                value, best = x[source, j], out[d, j]
                better = value > best or (value != value and best == best)
                out[d, j] = value if better else best
                winner[d, j] = source if better else winner[d, j]


@kernel
def _spread(grad: np.ndarray, winner: np.ndarray, out: np.ndarray) -> None:
    out[:] = 0
    for d in range(grad.shape[0]):
        for j in range(grad.shape[1]):
            if winner[d, j] >= 0:
                out[winner[d, j], j] += grad[d, j]


@kernel
def _transpose(indptr: np.ndarray, indices: np.ndarray, out_indptr: np.ndarray, out_indices: np.ndarray,
               out_edges: np.ndarray) -> None:
    for e in range(indices.shape[0]):
        out_indptr[indices[e] + 1] += 1
    for s in range(1, out_indptr.shape[0]):
        out_indptr[s] += out_indptr[s - 1]
    place = out_indptr[:-1].copy()
    for d in range(indptr.shape[0] - 1):
        for e in range(indptr[d], indptr[d + 1]):
            source = indices[e]
            out_indices[place[source]] = d
            out_edges[place[source]] = e
            place[source] += 1

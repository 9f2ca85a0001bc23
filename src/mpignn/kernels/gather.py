"""Rows picked out of an array, of any type and width.

Shapes: N rows picked, W elements in a row.  Rows are moved as bytes, so one compiled kernel serves all types.
"""

import numpy as np

from mpignn.kernels import runs
from mpignn.kernels.compiled import inlined, kernel
from mpignn.kernels.runs import MOST_RUNS, in_order
from mpignn.kernels.simd import copy, prefetch, read_only, stream

_AHEAD = 8      # rows; 4 to 16 are equally good, none is 1.5 times slower for random ids
_MERGE_ROWS = 4096      # from here on, and for rows of so many bytes, it pays to take ascending runs of ids together
_MERGE_BYTES = 64
_STREAM_BYTES = 8 << 20     # an output that is read only after it has left the caches


def gather_rows(rows: np.ndarray, ids: np.ndarray, lo: int, out: np.ndarray) -> None:
    """``out[i] = rows[ids[i] - lo]``.  Fastest where ids ascend, or are a few ascending runs.

    A sampler's sources are such runs, one a hop.  One after the other they pass over the rows several times; merged,
    and written past the caches, they pass once, which is 1.4 times faster.

    Args:
        rows: (R, W) or (R,), elements of a row adjacent; rows may overlap, as those of an array on `indptr` do.
        ids: (N,) int64, all of them in ``lo:lo + R``; not checked.
        lo: Id of the first row.
        out: (N, W) or (N,), C-contiguous, dtype of ``rows``.

    Not collective.
    """
    size = _row_bytes(rows, out)
    if size >= _MERGE_BYTES and ids.shape[0] >= _MERGE_ROWS:
        breaks = np.flatnonzero(ids[1:] < ids[:-1])
        if 0 < breaks.size < MOST_RUNS:
            order, merged = in_order(ids)
            scatter_rows(rows, merged, lo, order, out)
            return
    _gather(rows.ctypes.data, rows.strides[0], size, read_only(ids), lo, out.ctypes.data, _streams(size, out))


def scatter_rows(rows: np.ndarray, ids: np.ndarray, lo: int, positions: np.ndarray, out: np.ndarray) -> None:
    """``out[positions[i]] = rows[ids[i] - lo]``; the other rows of ``out`` stay as they are.

    Args:
        rows, ids, lo: As in `gather_rows`.
        positions: (N,) int64 rows of ``out``; not checked.
        out: (M, W) or (M,), C-contiguous, dtype of ``rows``.

    Not collective.
    """
    size = _row_bytes(rows, out)
    _scatter(rows.ctypes.data, rows.strides[0], size, read_only(ids), lo, read_only(positions), out.ctypes.data,
             _streams(size, out))


def warm() -> None:
    """Compile the kernels, or load them from the cache."""
    rows, ids, out = np.zeros((1, 1), np.int8), np.zeros(1, np.int64), np.empty((1, 1), np.int8)
    gather_rows(rows, ids, 0, out)
    scatter_rows(rows, ids, 0, ids, out)
    runs.warm()


def _row_bytes(rows: np.ndarray, out: np.ndarray) -> int:
    assert rows.dtype == out.dtype and rows.shape[1:] == out.shape[1:] and out.flags.c_contiguous
    assert rows.ndim == 1 or rows[:1].flags.c_contiguous
    return rows.dtype.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64))


def _streams(size: int, out: np.ndarray) -> bool:
    """Whether to write past the caches: more than they hold, in pieces that fit the instruction."""
    return out.nbytes >= _STREAM_BYTES and size % 16 == 0 and out.ctypes.data % 16 == 0


@kernel
def _gather(rows: int, stride: int, size: int, ids: np.ndarray, lo: int, out: int, streams: bool) -> None:
    for i in range(ids.shape[0]):
        _prefetch_row(rows, stride, size, ids, i + _AHEAD, lo)
        _copy_row(out + i * size, rows + (ids[i] - lo) * stride, size, streams)


@kernel
def _scatter(rows: int, stride: int, size: int, ids: np.ndarray, lo: int, positions: np.ndarray, out: int,
             streams: bool) -> None:
    for i in range(ids.shape[0]):
        _prefetch_row(rows, stride, size, ids, i + _AHEAD, lo)
        _copy_row(out + positions[i] * size, rows + (ids[i] - lo) * stride, size, streams)


@inlined
def _prefetch_row(rows: int, stride: int, size: int, ids: np.ndarray, i: int, lo: int) -> None:
    if i < ids.shape[0]:
        row = rows + (ids[i] - lo) * stride
        for at in range(0, size, 64):
            prefetch(row + at)


@inlined
def _copy_row(target: int, source: int, size: int, streams: bool) -> None:
    at = 0
    if streams:
        while at < size:
            stream(target + at, source + at, 16)
            at += 16
    while at + 16 <= size:
        copy(target + at, source + at, 16)
        at += 16
    while at + 4 <= size:
        copy(target + at, source + at, 4)
        at += 4
    while at < size:
        copy(target + at, source + at, 1)
        at += 1

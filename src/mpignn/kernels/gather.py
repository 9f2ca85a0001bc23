"""Rows picked out of an array, of any type and width.

Shapes: N rows picked, W elements in a row.  Rows are moved as bytes, so one compiled kernel serves all types.
"""

import numba
import numpy as np

from mpignn.kernels.simd import copy, prefetch, read_only

_AHEAD = 8      # rows; 4 to 16 are equally good, none is 1.5 times slower for random ids


def gather_rows(rows: np.ndarray, ids: np.ndarray, lo: int, out: np.ndarray) -> None:
    """``out[i] = rows[ids[i] - lo]``.  Fastest where ids ascend.

    Args:
        rows: (R, W) or (R,), elements of a row adjacent; rows may overlap, as those of a window on `indptr` do.
        ids: (N,) int64, all of them in ``lo:lo + R``; not checked.
        lo: Id of the first row.
        out: (N, W) or (N,), C-contiguous, dtype of ``rows``.

    Not collective.
    """
    size = _row_bytes(rows, out)
    _gather(rows.ctypes.data, rows.strides[0], size, read_only(ids), lo, out.ctypes.data)


def scatter_rows(rows: np.ndarray, ids: np.ndarray, lo: int, positions: np.ndarray, out: np.ndarray) -> None:
    """``out[positions[i]] = rows[ids[i] - lo]``; the other rows of ``out`` stay as they are.

    Args:
        rows, ids, lo: As in `gather_rows`.
        positions: (N,) int64 rows of ``out``; not checked.
        out: (M, W) or (M,), C-contiguous, dtype of ``rows``.

    Not collective.
    """
    size = _row_bytes(rows, out)
    _scatter(rows.ctypes.data, rows.strides[0], size, read_only(ids), lo, read_only(positions), out.ctypes.data)


def warm() -> None:
    """Compile the kernels, or load them from the cache."""
    rows, ids, out = np.zeros((1, 1), np.int8), np.zeros(1, np.int64), np.empty((1, 1), np.int8)
    gather_rows(rows, ids, 0, out)
    scatter_rows(rows, ids, 0, ids, out)


def _row_bytes(rows: np.ndarray, out: np.ndarray) -> int:
    assert rows.dtype == out.dtype and rows.shape[1:] == out.shape[1:] and out.flags.c_contiguous
    assert rows.ndim == 1 or rows[:1].flags.c_contiguous
    return rows.dtype.itemsize * int(np.prod(rows.shape[1:], dtype=np.int64))


@numba.njit(nogil=True, cache=True)
def _gather(rows, stride, size, ids, lo, out):
    for i in range(ids.shape[0]):
        _prefetch_row(rows, stride, size, ids, i + _AHEAD, lo)
        _copy_row(out + i * size, rows + (ids[i] - lo) * stride, size)


@numba.njit(nogil=True, cache=True)
def _scatter(rows, stride, size, ids, lo, positions, out):
    for i in range(ids.shape[0]):
        _prefetch_row(rows, stride, size, ids, i + _AHEAD, lo)
        _copy_row(out + positions[i] * size, rows + (ids[i] - lo) * stride, size)


@numba.njit(inline="always")
def _prefetch_row(rows, stride, size, ids, i, lo):
    if i < ids.shape[0]:
        row = rows + (ids[i] - lo) * stride
        for at in range(0, size, 64):
            prefetch(row + at)


@numba.njit(inline="always")
def _copy_row(target, source, size):
    at = 0
    while at + 16 <= size:
        copy(target + at, source + at, 16)
        at += 16
    while at + 4 <= size:
        copy(target + at, source + at, 4)
        at += 4
    while at < size:
        copy(target + at, source + at, 1)
        at += 1

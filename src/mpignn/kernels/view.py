"""Rows that are in the view of an array, and which are not.

Shapes: N rows asked for, W elements in a row.
"""

import numpy as np

from mpignn.kernels.compiled import kernel
from mpignn.kernels.simd import prefetch

_AHEAD = 16     # rows; ascending ids of a large graph are a cache line or more apart: the hardware foresees none


@kernel
def read_view(flat: np.ndarray, step: int, lo: int, hi: int, ids: np.ndarray, out: np.ndarray,
              missing: np.ndarray) -> int:
    """``out[i] = row ids[i]`` for the rows in the view.

    Args:
        flat: Elements of the rows ``lo:hi``; row r starts at element ``(r - lo) * step``.
        step, lo, hi: Step and bounds of the array.
        ids: (N,) int64 global row numbers.
        out: (N, W), written where the row is in the view.
        missing: (N,) int64, written: the places in ``ids`` of the rows that are not, ascending.

    Returns:
        Number of rows that are not in the view.
    """
    count, rows, size = 0, flat.ctypes.data, step * flat.itemsize
    for i in range(ids.shape[0]):
        if i + _AHEAD < ids.shape[0]:
            prefetch(rows + (ids[i + _AHEAD] - lo) * size)      # harmless where there is no such row here
        row = ids[i]
        if lo <= row < hi:
            for k in range(out.shape[1]):
                out[i, k] = flat[(row - lo) * step + k]
        else:
            missing[count] = i
            count += 1
    return count

"""Rows that are in the view of a window, and which are not.

Shapes: N rows asked for, W elements in a row.
"""

import numba


@numba.njit(nogil=True, cache=True)
def read_view(flat, step, lo, hi, ids, out, missing):
    """``out[i] = row ids[i]`` for the rows in the view.

    Args:
        flat: Elements of the rows ``lo:hi``; row r starts at element ``(r - lo) * step``.
        step, lo, hi: Of the window.
        ids: (N,) int64 global row numbers.
        out: (N, W), written where the row is in the view.
        missing: (N,) int64, written: the places in ``ids`` of the rows that are not, ascending.

    Returns:
        Number of rows that are not in the view.
    """
    count = 0
    for i in range(ids.shape[0]):
        row = ids[i]
        if lo <= row < hi:
            for k in range(out.shape[1]):
                out[i, k] = flat[(row - lo) * step + k]
        else:
            missing[count] = i
            count += 1
    return count

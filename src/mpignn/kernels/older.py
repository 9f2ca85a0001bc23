"""Which edges are older than what they are picked for.

Shapes: D destinations, M edges in the view, A edges of rows that were fetched, L edges of all rows.
"""

import numpy as np

from mpignn.kernels.compiled import kernel


@kernel
def mark_older(times: np.ndarray, times_away: np.ndarray, lo: int, away: np.ndarray, bounds: np.ndarray,
               limits: np.ndarray, first: np.ndarray, marks: np.ndarray) -> None:
    """Take the marks of the edges whose time is not less than the limit of their row, or not a number.

    Args:
        times: (M,) time of each edge in the view, the first being edge ``lo``; read only.
        times_away: (A,) the same of the rows that were fetched; read only.
        lo, away: As for `weigh.pick_weighted`.
        bounds: (D, 2) int64 global edge ids of the start and end of each row.
        limits: (D,) int64 where times are integers, else float64.
        first: (D,) int64 where the marks of each row begin.
        marks: (L,) bool, changed.
    """
    for i in range(limits.shape[0]):
        start, degree, limit = bounds[i, 0], bounds[i, 1] - bounds[i, 0], limits[i]
        if away[i] < 0:
            for p in range(degree):
                marks[first[i] + p] &= times[start - lo + p] < limit
        else:
            for p in range(degree):
                marks[first[i] + p] &= times_away[away[i] + p] < limit

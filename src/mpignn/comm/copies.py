"""Copies of rows that other nodes hold.

Shapes: C copies of rows, M places for rows of W elements, N rows asked for.
"""

import numpy as np


class Copies:
    """Rows of one array of a graph.

    Attributes:
        ids: (C,) int64 their numbers, ascending.
        rows: (M, W) memory that they lie in.
    """

    def __init__(self, ids: np.ndarray, rows: np.ndarray, slots: np.ndarray | None = None) -> None:
        """Not collective.  ``slots`` are (C,) int64 their places in ``rows``; None: in order."""
        self.ids, self.rows, self._slots = ids, rows, slots

    def find(self, ids: np.ndarray) -> np.ndarray:
        """(N,) int64 place of each row, -1 where there is no copy.  Not collective."""
        if not self.ids.size:
            return np.full(ids.size, -1, np.int64)
        at = np.minimum(np.searchsorted(self.ids, ids), self.ids.size - 1)
        return np.where(self.ids[at] == ids, at if self._slots is None else self._slots[at], -1)

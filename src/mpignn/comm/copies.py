"""Copies of rows that other nodes hold.

Shapes: C copies of rows, M places for rows of W elements, N rows asked for, R stretches of rows.
"""

import numpy as np


class Runs:
    """Numbers of rows that lie in stretches, such as the in-edges of some nodes: a stretch takes what one row would.

    Attributes:
        size: How many rows, C.
    """

    def __init__(self, bounds: np.ndarray) -> None:
        """Not collective.

        Args:
            bounds: (R, 2) int64 first row of each stretch and one past its last; ascending, none overlaps another.
        """
        bounds = bounds[bounds[:, 0] < bounds[:, 1]]
        apart = bounds[1:, 0] > bounds[:-1, 1]      # those that touch are one
        self._starts = bounds[np.concatenate((np.ones(min(1, len(bounds)), bool), apart)), 0]
        self._ends = bounds[np.concatenate((apart, np.ones(min(1, len(bounds)), bool))), 1]
        self._before = np.concatenate(([0], np.cumsum(self._ends - self._starts)))
        self.size = int(self._before[-1])

    def __getitem__(self, some: slice) -> np.ndarray:
        """(n,) int64 some of the numbers, in order.  Not collective."""
        places = np.arange(*some.indices(self.size))
        run = np.searchsorted(self._before, places, side="right") - 1
        numbers: np.ndarray = places - self._before[run] + self._starts[run]
        return numbers

    def find(self, ids: np.ndarray) -> np.ndarray:
        """(N,) int64 place of each row among these, -1 where it is none of them.  Not collective."""
        if not self.size:
            return np.full(ids.size, -1, np.int64)
        run = np.maximum(np.searchsorted(self._starts, ids, side="right") - 1, 0)
        within = ids - self._starts[run]
        return np.where((within >= 0) & (ids < self._ends[run]), self._before[run] + within, -1)


class Copies:
    """Rows of one array of a graph.

    Attributes:
        ids: (C,) int64 their numbers, ascending, as an array or as `Runs`.
        rows: (M, W) memory that they lie in.
    """

    def __init__(self, ids: np.ndarray | Runs, rows: np.ndarray, slots: np.ndarray | None = None) -> None:
        """Not collective.  ``slots`` are (C,) int64 their places in ``rows``; None: in order."""
        self.ids, self.rows, self._slots = ids, rows, slots

    def find(self, ids: np.ndarray) -> np.ndarray:
        """(N,) int64 place of each row, -1 where there is no copy.  Not collective."""
        if isinstance(self.ids, Runs):
            return self.ids.find(ids)
        if not self.ids.size:
            return np.full(ids.size, -1, np.int64)
        at = np.minimum(np.searchsorted(self.ids, ids), self.ids.size - 1)
        return np.where(self.ids[at] == ids, at if self._slots is None else self._slots[at], -1)

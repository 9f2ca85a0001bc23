"""Which rows of a table count, a bit for each.

Shapes: N rows, K of them that are kept.
"""

import bisect

import numpy as np


class Kept:
    """The rows of this rank that are kept, known block by block.

    Attributes:
        num_rows: N.
        count: K.
    """

    def __init__(self) -> None:
        self.num_rows = self.count = 0
        self._blocks: list[tuple[np.ndarray | None, int]] = []     # bits, None where all are set; how many
        self._begins: list[int] = []

    @staticmethod
    def of(mask: np.ndarray) -> "Kept":
        """Those of (N,) booleans."""
        made = Kept()
        made.add(mask)
        return made

    @staticmethod
    def all(count: int) -> "Kept":
        """So many rows, of which all are kept."""
        made = Kept()
        made._add(None, count, count)
        return made

    def add(self, mask: np.ndarray) -> None:
        """The next rows, by booleans."""
        count = int(np.count_nonzero(mask))
        self._add(None if count == mask.size else np.packbits(mask), mask.size, count)

    def rows(self, first: int, last: int) -> np.ndarray:
        """(last - first,) booleans of some rows."""
        found = np.ones(last - first, bool)
        for number in range(max(0, bisect.bisect_right(self._begins, first) - 1), len(self._blocks)):
            begin, (bits, size) = self._begins[number], self._blocks[number]
            if begin >= last:
                break
            lo, hi = max(first, begin), min(last, begin + size)
            if bits is not None and lo < hi:
                found[lo - first:hi - first] = np.unpackbits(bits, count=size)[lo - begin:hi - begin]
        return found

    def mask(self) -> np.ndarray:
        """(N,) booleans."""
        return self.rows(0, self.num_rows)

    def without(self, dropped: np.ndarray) -> "Kept":
        """The same without some, by (K,) booleans of those that are kept."""
        mask = self.mask()
        mask[np.flatnonzero(mask)[dropped]] = False
        return Kept.of(mask)

    def _add(self, bits: np.ndarray | None, size: int, count: int) -> None:
        self._begins.append(self.num_rows)
        self._blocks.append((bits, size))
        self.num_rows, self.count = self.num_rows + size, self.count + count

"""Rows of the part files of a graph wherever they are, by global row: the files are mapped and not loaded.

Shapes: N rows of an array, n rows asked for.
"""

import numpy as np

from mpignn.graph.array_key import ArrayKey
from mpignn.storage.arrays import verify_block
from mpignn.storage.read import GraphFile
from mpignn.storage.schema import axis


class MappedRows:
    """An array of all part files.  The files must stay as they are.

    Attributes:
        shape: (N, ...).
        dtype: Type of an element.
    """

    def __init__(self, graph: GraphFile, key: ArrayKey, verified: bool) -> None:
        """Not collective.

        Args:
            graph: Open; it may be closed afterwards.
            key: One of its arrays.
            verified: Compare each block of a file with its checksum when the first of its rows is read.

        Raises:
            DataError: A part file that is damaged.
        """
        info = graph.infos[key.path]
        self._starts, self._more = axis(key, graph.book)
        self.shape, self.dtype = (int(self._starts[-1]), *info.row_shape), info.dtype
        self._parts = [graph.stored(key.path, part) for part in range(graph.num_parts)]
        self._left = {(part, number) for part, array in enumerate(self._parts)
                      for number in range(len(array.blocks()))} if verified else set()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(n, ...) rows of an array; of an ``indptr`` (n, 2), where each row begins and ends.

        Args:
            rows: (n,) int64 global rows, any order, repeats allowed.

        Raises:
            DataError: A block does not match its checksum.
        """
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        out = np.empty((rows.size, 2) if self._more else (rows.size, *self.shape[1:]), self.dtype)
        cuts = np.searchsorted(rows, self._starts)
        for part in np.flatnonzero(np.diff(cuts)).tolist():
            begin, end = cuts[part:part + 2]
            out[order[begin:end]] = self._of_part(part, rows[begin:end] - self._starts[part])
        return out

    def part(self, part: int) -> np.ndarray:
        """(n, ...) what a part has of the array, mapped; checksums are not compared.  Not collective."""
        array = self._parts[part]
        if 0 in array.shape:
            return np.empty(array.shape, array.dtype)
        return np.memmap(array.path, array.dtype, "r", array.start(), array.shape)

    def _of_part(self, part: int, rows: np.ndarray) -> np.ndarray:
        """Rows of a part file, at least one, in ascending order."""
        array = self._parts[part]
        for number in range(rows[0] // array.block_rows, (rows[-1] + self._more) // array.block_rows + 1):
            if (part, number) in self._left:
                verify_block(array, number)
                self._left.remove((part, number))
        mapped = self.part(part)
        found: np.ndarray = mapped[rows[:, None] + np.arange(2)] if self._more else mapped[rows]
        return found

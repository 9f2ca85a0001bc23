"""Rows that come one after the other, nobody knows how many, in a file.

Shapes: N rows so far, n of them in hand.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike

from mpignn.large.arrays import FileArray
from mpignn.large.disk import full_disk_named
from mpignn.large.scratch import Scratch


class Spool:
    """Rows of one rank, in a file that all ranks may read once they know of it.

    Attributes:
        array: (N,) rows that were appended.
    """

    def __init__(self, scratch: Scratch, dtype: DTypeLike) -> None:
        """Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        self._out = scratch.out
        self.array: FileArray = scratch.own(dtype, 0)

    def append(self, rows: np.ndarray) -> None:
        """Put (n,) rows behind the others.  Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        first = self.array.size
        self.array = replace(self.array, shape=(first + rows.size,))
        with full_disk_named(self._out):
            self.array.write(first, rows)

    def remove(self) -> None:
        """Remove the file.  Not collective."""
        self.array.path.unlink()

"""Rows of a partitioned graph by original id, read from the part files when they are asked for.

Shapes: N nodes and E edges of a type, n rows asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpignn.graph.array_key import ArrayKey
from mpignn.large.arrays import LargeArray
from mpignn.storage.mapped import MappedRows
from mpignn.storage.read import GraphFile

Places = Callable[[np.ndarray], np.ndarray]     # of original ids: the global rows where these are stored


@dataclass(frozen=True)
class EdgePlaces:
    """Where the edges of a type are stored.  They are numbered by destination, its edges in neighbor order.

    Attributes:
        indptr: (N + 1,) int64 first edge of each destination, by original id.
        stored: (N + 1,) int64 the same by new id, of the edges as they are stored.
        new_id, orig_id: (N,) int64 ids of the destinations.
    """

    indptr: LargeArray
    stored: LargeArray
    new_id: LargeArray
    orig_id: LargeArray

    def places(self, edges: np.ndarray) -> np.ndarray:
        """(n,) int64 global ids of the edges of these numbers."""
        return _moved(edges, self.indptr, self.stored, self.new_id)

    def numbers(self, places: np.ndarray) -> np.ndarray:
        """(n,) int64 numbers of the edges of these global ids."""
        return _moved(places, self.stored, self.indptr, self.orig_id)


def _moved(ids: np.ndarray, here: LargeArray, there: LargeArray, row_there: LargeArray) -> np.ndarray:
    """Edges numbered by rows that lie in another order, in which each begins where ``there`` says."""
    rows = np.searchsorted(np.asarray(here), ids, side="right") - 1
    moved: np.ndarray = there[row_there[rows]] + (ids - here[rows])
    return moved


class OriginalRows:
    """An array of a partitioned graph in order of original id: indexed by ids or a slice, it reads these rows.

    It can be told to other ranks, which see the files, too.

    Attributes:
        shape: (N, ...) or (E, ...).
        dtype: Type of an element.
    """

    def __init__(self, graph: GraphFile, key: ArrayKey, places: Places) -> None:
        """Not collective.

        Args:
            graph: Open; it may be closed afterwards.
            key: One of its arrays, but no ``indptr``.
            places: Where the rows of original ids are stored.

        Raises:
            DataError: A part file that is damaged.
        """
        self._rows, self._places = MappedRows(graph, key, verified=True), places
        self.shape, self.dtype = self._rows.shape, self._rows.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows of these original ids.

        Raises:
            DataError: A block is damaged.
        """
        ids = np.arange(*rows.indices(self.shape[0])) if isinstance(rows, slice) else rows
        return self._rows.read(self._places(ids))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

"""In-edges of one edge type as compressed sparse columns.

Shapes: D destinations, E edges.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CSC:
    """In-edges by destination.

    Attributes:
        indptr: (D + 1,) int64; the in-edges of ``d`` are ``indptr[d]:indptr[d + 1]``.
        indices: (E,) int32 or int64 sources.
        edge_ids: (E,) int64 original edge id of each place, or None where place and id are the same.
    """

    indptr: np.ndarray
    indices: np.ndarray
    edge_ids: np.ndarray | None = None

    @property
    def num_dst(self) -> int:
        return self.indptr.shape[0] - 1

    @property
    def num_edges(self) -> int:
        return self.indices.shape[0]

"""What partitions are to have equally much of, and moving nodes until they do.

Shapes: N nodes of all types together, E edges of the symmetric graph, P partitions, C balances.
"""

import numpy as np

from mpignn.kernels import stream as kernels

_OF_NODES = 0.03        # by which a partition may be larger than the mean, in numbers of nodes
_PASSES = 10


class Loads:
    """How much each partition has of what is to be balanced, and the nodes that make it up.

    Attributes:
        parts: (N,) int64 partition of each node.
    """

    def __init__(self, parts: np.ndarray, num_parts: int, first: np.ndarray, columns: np.ndarray,
                 amounts: np.ndarray, tolerance: float) -> None:
        """Count the loads.

        Args:
            parts: (N,) int64; changed in place by what follows.
            num_parts: P.
            first, columns, amounts: What each node counts in which balance, as `mpignn.kernels.stream` has it.
            tolerance: By which share of the mean a load may be above it.
        """
        self.parts = parts
        self._first, self._columns, self._amounts = first, columns, amounts
        count = int(columns.max(initial=-1)) + 1
        places = columns.astype(np.int64) * num_parts + np.repeat(parts, np.diff(first))
        self._loads = np.zeros((count, num_parts), np.int64)
        np.add.at(self._loads.reshape(-1), places, amounts)
        total, largest = self._loads.sum(1), np.zeros(count, np.int64)
        np.maximum.at(largest, columns, amounts)
        # More than the mean of things that cannot be divided is above no limit.
        self._limits = np.maximum((total * (1 + tolerance) / num_parts).astype(np.int64), -(-total // num_parts))
        self._limits = np.maximum(np.maximum(self._limits, largest), 1)

    @staticmethod
    def of_nodes(parts: np.ndarray, num_parts: int) -> "Loads":
        """The loads where each node counts 1, to within 3 %."""
        count = parts.size
        return Loads(parts, num_parts, np.arange(count + 1), np.zeros(count, np.int32), np.ones(count, np.int64),
                     _OF_NODES)

    def refine(self, indptr: np.ndarray, indices: np.ndarray) -> None:
        """Move nodes to where most of their neighbors are, while no load goes above its limit.

        Args:
            indptr: (N + 1,) int64.
            indices: (E,) int32 or int64.
        """
        order = np.arange(self.parts.size)
        for _ in range(_PASSES):
            if not kernels.refine(indptr, indices, order, self._first, self._columns, self._amounts, self._limits,
                                  self._loads, self.parts):
                break

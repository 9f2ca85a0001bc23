"""How much each partition has of several things, and moving nodes with an eye on that.

Shapes: N nodes of all types together, E edges of the symmetric graph, P partitions, C things that are counted, K pairs
of a node and a thing that it has.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mpignn.kernels import stream as kernels
from mpignn.partition.union import Amounts

_PASSES, _ROUNDS = 10, 50


class Loads:
    """How much each partition has, and at most should have.

    Attributes:
        parts: (N,) int64 partition of each node.
    """

    def __init__(self, parts: np.ndarray, num_parts: int, asked: Sequence[Amounts]) -> None:
        """Count the loads; `allow` says how large they may be.

        Args:
            parts: (N,) int64; changed in place by what follows.
            num_parts: P.
            asked: C amounts.
        """
        self.parts = parts
        self._names = [name for name, _ in asked]
        self._loads = np.array([np.bincount(parts, amounts, num_parts) for _, amounts in asked], np.int64)
        self._limits = self._loads.max(1)
        nodes = [np.flatnonzero(amounts) for _, amounts in asked]
        every = np.concatenate(nodes)
        order = np.argsort(every, kind="stable")
        self._first = np.zeros(parts.size + 1, np.int64)
        np.cumsum(np.bincount(every, minlength=parts.size), out=self._first[1:])
        self._columns = np.repeat(np.arange(len(asked), dtype=np.int32), [some.size for some in nodes])[order]
        self._amounts = np.concatenate([amounts[some] for (_, amounts), some in zip(asked, nodes, strict=True)])[order]

    def allow(self, tolerance: float) -> None:
        """Set limits: the mean and ``tolerance`` of it, or the mean rounded up."""
        total, num_parts = self._loads.sum(1), self._loads.shape[1]
        self._limits = np.maximum((total * (1 + tolerance) / num_parts).astype(np.int64), -(-total // num_parts))

    def even_out(self, indptr: np.ndarray, indices: np.ndarray) -> None:
        """Move nodes out of partitions that are above a limit, until none is or no move makes it better.

        Args:
            indptr: (N + 1,) int64.
            indices: (E,) int32 or int64.
        """
        losses = np.empty(self.parts.size)
        for _ in range(_ROUNDS):
            if not any(self.above()):
                break
            kernels.find_losses(indptr, indices, self._first, self._columns, self._amounts, self._limits, self._loads,
                                self.parts, losses)
            order = np.argsort(losses, kind="stable")[:np.count_nonzero(np.isfinite(losses))]
            if not kernels.relieve(indptr, indices, order, self._first, self._columns, self._amounts, self._limits,
                                   self._loads, self.parts):
                break

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

    def above(self) -> Iterator[tuple[str, float]]:
        """What is above its limit somewhere, and the largest load as a share of the mean."""
        for name, loads, limit in zip(self._names, self._loads, self._limits, strict=True):
            if loads.max() > limit:
                yield name, float(loads.max() * loads.size / loads.sum())

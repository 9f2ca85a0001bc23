"""Metrics of the whole job from counts: sums over the trainers, never averages of averages."""

import numpy as np
import torch

from mpignn.transport.group import Group


class Accuracy:
    """Share of right answers over all seeds of all trainers."""

    def __init__(self):
        self._counts = np.zeros(2, np.int64)

    def add(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Count one batch.  Not collective.

        Args:
            logits: (seeds, classes).
            labels: (seeds,) int64.
        """
        self._counts += (int((logits.argmax(1) == labels).sum()), labels.shape[0])

    def value(self, trainers: Group) -> float | None:
        """Right / all, or None where there is nothing to count.  Collective over the trainers."""
        right, seen = trainers.all_sum(self._counts.copy())
        return float(right / seen) if seen else None

"""Metrics of the whole job from counts: sums over the trainers, never averages of averages.

Shapes: B seeds of a batch, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from mpignn.errors import ConfigError
from mpignn.transport.group import Group


class Metric(ABC):
    """A number that says how good a model is, equal for any number of trainers.

    Attributes:
        name: As in reports.
        more_is_better: Whether the best parameters are those that make it largest.
    """

    name: str
    more_is_better = True

    @abstractmethod
    def add(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Count one batch.  Not collective.

        Args:
            outputs: (B, ...) what the model says.
            labels: (B, ...) what it should say.
        """

    @abstractmethod
    def value(self, trainers: Group) -> float | None:
        """The metric over all that all trainers counted; None where that is nothing.  Collective over the trainers."""


class Accuracy(Metric):
    """Share of right answers over all seeds of all trainers."""

    name = "acc"

    def __init__(self):
        self._counts = np.zeros(2, np.int64)

    def add(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        self._counts += (int((outputs.argmax(1) == labels).sum()), labels.shape[0])

    def value(self, trainers: Group) -> float | None:
        right, seen = trainers.all_sum(self._counts.copy())
        return float(right / seen) if seen else None


METRICS: dict[str, type[Metric]] = {kind.name: kind for kind in (Accuracy,)}


def make_metrics(names: Sequence[str]) -> list[Metric]:
    """Metrics that have seen nothing, by their names.  Not collective.

    Raises:
        ConfigError: No such metric.
    """
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"metric {name!r} is not one of: {', '.join(METRICS)}")
    return [METRICS[name]() for name in names]

"""What a task is: which rows a batch brings, what the loss of a batch is, and by what a model is judged."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from mpignn.config import Config
from mpignn.dist.graph import DistGraph
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.train.goal import Goal
from mpignn.train.metrics import Metric, make_metrics
from mpignn.train.network import Network

Batch = Any     # whatever the loader of the task yields


class Task(ABC):
    """What is learnt.  The loop and the learner know nothing else of it.

    Attributes:
        goal: What the graph was asked for.
        outputs: Columns of what the model shall say of a seed.
        metrics: Names of what is measured; the first one chooses the best parameters.
    """

    def __init__(self, goal: Goal, outputs: int, metrics: Sequence[str]):
        self.goal, self.outputs, self.metrics = goal, outputs, tuple(metrics)

    def new_metrics(self) -> list[Metric]:
        """Metrics that have seen nothing.  Not collective."""
        return make_metrics(self.metrics)

    @abstractmethod
    def sampler(self, fanouts: Sequence[int]) -> NeighborSampler:
        """Draws the blocks, and says which rows come with them.  Not collective."""

    @abstractmethod
    def seeds(self, g: DistGraph, split: str) -> Any:
        """The seeds of a split, as the loader takes them; None where the graph has no such split.  Not collective."""

    @abstractmethod
    def loader(self, g: DistGraph, config: Config, split: str, sampler: NeighborSampler, seed: int, shuffle: bool):
        """Batches of a split.  Not collective.

        Returns:
            Like a `NodeDataLoader`: it can be iterated, has a length, ``set_epoch``, ``scale``, ``global_size``
            and ``stats``.
        """

    @abstractmethod
    def loss(self, network: Network, batch: Batch) -> torch.Tensor:
        """The loss, *summed* over this trainer's seeds, which may be none.  Not collective."""

    @abstractmethod
    def observe(self, network: Network, batch: Batch, metrics: Sequence[Metric]) -> None:
        """Tell the metrics of a batch.  Not collective."""

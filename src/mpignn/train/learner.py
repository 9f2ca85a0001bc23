"""A model that learns: equal on all trainers before and after every step.

Shapes: B seeds of this trainer's share, C classes.
"""

import time

import torch
import torch.distributed
from torch.nn.functional import cross_entropy

from mpignn.config import TrainConfig
from mpignn.graph.block import Block
from mpignn.train.optimizer import Adam, FlatParameters
from mpignn.train.task import NodeClassification
from mpignn.transport.group import Group

DTYPES = {"fp32": torch.float32, "fp64": torch.float64}


class Learner:
    """A model, its optimiser, and what it reads of a batch.

    Attributes:
        compute_s: Wall seconds of forward, backward and update since `reset_clock`.
        sync_s: Wall seconds of reducing gradients, waiting for slower trainers included.
    """

    def __init__(self, model: torch.nn.Module, task: NodeClassification, config: TrainConfig, trainers: Group):
        """Take the first trainer's parameters.  Collective over the trainers.

        Args:
            model: Maps (blocks, features) to (B, C) logits.
            task: What it reads and predicts.
            config: Settings of the optimisation.
            trainers: Those who learn together.
        """
        self._model = model.to(DTYPES[config.precision])
        self._task, self._dtype, self._trainers = task, DTYPES[config.precision], trainers
        self._flat = FlatParameters(self._model.parameters())
        self._optimizer = Adam(self._flat, config.lr, weight_decay=config.weight_decay)
        self._best = self._flat.values
        torch.distributed.broadcast(self._flat.values, src=0)
        self.reset_clock()

    def reset_clock(self) -> None:
        """Count time anew.  Not collective."""
        self.compute_s = self.sync_s = 0.0

    def step(self, blocks: list[Block], scale: float) -> float:
        """One optimiser step on the seeds of all trainers.  Collective over the trainers.

        Args:
            blocks: This trainer's share, possibly of no seeds.
            scale: Of the loader: trainers / seeds of all.

        Returns:
            The loss summed over the seeds of all trainers.
        """
        started = time.perf_counter()
        self._flat.grad.zero_()
        loss = cross_entropy(self.logits(blocks), self.labels(blocks), reduction="sum")
        (loss * scale).backward()
        total = torch.tensor([loss.item()], dtype=torch.float64)
        computed = time.perf_counter()
        torch.distributed.all_reduce(self._flat.grad)
        torch.distributed.all_reduce(total)
        synced = time.perf_counter()
        self._flat.grad /= self._trainers.size
        self._optimizer.step()
        self.compute_s += computed - started + time.perf_counter() - synced
        self.sync_s += synced - computed
        return total.item()

    def logits(self, blocks: list[Block]) -> torch.Tensor:
        """(B, C) what the model says of a batch.  Not collective."""
        features = blocks[0].src_frames[self._task.ntype][self._task.features]
        return self._model(blocks, features.to(self._dtype))

    def labels(self, blocks: list[Block]) -> torch.Tensor:
        """(B,) int64 what it should say.  Not collective."""
        return blocks[-1].dst_frames[self._task.ntype][self._task.labels]

    def train(self, mode: bool) -> None:
        """Switch dropout on or off.  Not collective."""
        self._model.train(mode)

    def keep(self) -> None:
        """Remember the parameters as they are.  Not collective."""
        self._best = self._flat.values.clone()

    def restore(self) -> None:
        """Go back to the parameters last kept, if any were.  Not collective."""
        self._flat.values.copy_(self._best)

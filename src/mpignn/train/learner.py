"""A network that learns: equal on all trainers before and after every step."""

import time

import torch
import torch.distributed

from mpignn.config import TrainConfig
from mpignn.train.network import Network
from mpignn.train.optimizer import Adam, FlatParameters
from mpignn.train.schedule import rate
from mpignn.train.task import Batch, Task
from mpignn.transport.group import Group


class Learner:
    """A network, its optimiser, and the reduction of gradients.

    Attributes:
        network: What learns.
        compute_s: Wall seconds of forward, backward and update since `reset_clock`.
        sync_s: Wall seconds of reducing gradients, waiting for slower trainers included.
    """

    def __init__(self, network: Network, config: TrainConfig, trainers: Group):
        """Take the first trainer's parameters.  Collective over the trainers.

        Args:
            network: Of the same shape on all trainers.
            config: Settings of the optimisation.
            trainers: Those who learn together.
        """
        self.network = network
        self._config, self._trainers, self._total_steps = config, trainers, 0
        self._flat = FlatParameters(network.parameters())
        self._optimizer = Adam(self._flat, config.lr, weight_decay=config.weight_decay)
        self._best = self._flat.values
        torch.distributed.broadcast(self._flat.values, src=0)
        self.reset_clock()

    def reset_clock(self) -> None:
        """Count time anew.  Not collective."""
        self.compute_s = self.sync_s = 0.0

    def plan(self, steps: int) -> None:
        """Say how many steps the whole run has, for the course of the learning rate.  Not collective."""
        self._total_steps = steps

    def step(self, task: Task, batch: Batch, scale: float) -> float:
        """One optimiser step on the seeds of all trainers.  Collective over the trainers.

        Args:
            task: Says what the loss is.
            batch: This trainer's share, possibly of no seeds.
            scale: Of the loader: trainers / seeds of all.

        Returns:
            The loss summed over the seeds of all trainers.
        """
        config = self._config
        started = time.perf_counter()
        self._flat.grad.zero_()
        loss = task.loss(self.network, batch)
        (loss * scale).backward()
        total = torch.tensor([loss.item()], dtype=torch.float64)
        computed = time.perf_counter()
        torch.distributed.all_reduce(self._flat.grad)
        torch.distributed.all_reduce(total)
        synced = time.perf_counter()
        self._flat.grad /= self._trainers.size
        if config.clip is not None:
            self._flat.clip(config.clip)
        self._optimizer.step(rate(config.schedule, self._optimizer.steps, self._total_steps, config.warmup_steps))
        self.compute_s += computed - started + time.perf_counter() - synced
        self.sync_s += synced - computed
        return total.item()

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of all that the next step depends on, equal on all trainers.  Not collective."""
        return {"parameters": self._flat.values.clone(), **self._optimizer.state()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` returned.  Not collective."""
        self._flat.values.copy_(state["parameters"])
        self._optimizer.load_state(state)

    def keep(self) -> None:
        """Remember the parameters as they are.  Not collective."""
        self._best = self._flat.values.clone()

    def restore(self) -> None:
        """Go back to the parameters last kept, if any were.  Not collective."""
        self._flat.values.copy_(self._best)

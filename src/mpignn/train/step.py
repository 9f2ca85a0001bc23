"""Optimizer steps of all trainers together, on a network that is equal on all of them before and after each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed

from mpignn.comm.group import Group
from mpignn.config import TrainConfig
from mpignn.duties import own_time
from mpignn.errors import TrainingError
from mpignn.train.embeddings import Embeddings
from mpignn.train.learning_rate import rate
from mpignn.train.network import Network
from mpignn.train.optimizer import Adam, FlatParameters
from mpignn.train.tasks.base import Batch, Task


class Learner:
    """A network, its optimizer, and the reduction of gradients.

    Attributes:
        network: What learns.
        compute_s: Wall seconds of forward, backward and update since `reset_clock`.
        sync_s: Wall seconds of reducing gradients, waiting for slower trainers included.
    """

    def __init__(self, network: Network, config: TrainConfig, trainers: Group, rows: Embeddings | None = None) -> None:
        """Take the first trainer's parameters.  Collective over the trainers.

        Args:
            network: One of the same shape on all trainers.
            config: Settings of the optimization.
            trainers: Those who learn together.
            rows: The embeddings of the network; None if it has none.
        """
        self.network, self._rows = network, rows
        self._config, self._trainers, self._total_steps = config, trainers, 0
        self._flat = FlatParameters(network.parameters())
        self._optimizer = Adam(self._flat, config.lr, weight_decay=config.weight_decay)
        self._best: torch.Tensor | None = None
        torch.distributed.broadcast(self._flat.values, src=0)
        self.reset_clock()

    def reset_clock(self) -> None:
        """Count time anew.  Not collective."""
        self.compute_s = self.sync_s = 0.0

    def plan(self, steps: int) -> None:
        """Say how many steps the whole run has, for the course of the learning rate.  Not collective."""
        self._total_steps = steps

    def step(self, task: Task, batch: Batch, scale: float, flags: Sequence[float] = ()) -> list[float]:
        """One optimizer step on the seeds of all trainers.  Collective over the trainers.

        Args:
            task: Says what the loss is.
            batch: This trainer's share, possibly of no seeds.
            scale: The loader's: trainers / seeds of all.
            flags: What else to sum over the trainers.

        Returns:
            The loss summed over the seeds of all trainers, and the sums of the flags.
        """
        config = self._config
        started = own_time()
        self._flat.grad.zero_()
        loss = task.loss(self.network, batch)
        (loss * scale).backward()
        total = torch.tensor([loss.item(), *flags], dtype=torch.float64)
        computed = own_time()
        torch.distributed.all_reduce(self._flat.grad)
        torch.distributed.all_reduce(total)
        synced = own_time()
        self._flat.grad /= self._trainers.size
        if config.clip is not None:
            self._flat.clip(config.clip)
        part = rate(config.schedule, self._optimizer.steps, self._total_steps, config.warmup_steps)
        self._optimizer.step(part)
        if self._rows is not None:
            self._rows.step(part)
        self.compute_s += computed - started + own_time() - synced
        self.sync_s += synced - computed
        return total.tolist()

    def check(self) -> None:
        """Raise if the steps have led to numbers that are not finite.  Collective over the trainers.

        The loss of a step is that of the parameters before it.

        Raises:
            TrainingError: On all trainers: a parameter, a learnt row, or what the optimizer keeps of one.
        """
        finite = self._optimizer.is_finite() and (self._rows is None or self._rows.is_finite())
        if self._trainers.all_sum(np.array([not finite], np.int64))[0]:
            raise TrainingError("the run has diverged: its parameters are no longer finite: lower --lr, or shorten "
                                "gradients by --clip")

    def state_dict(self) -> dict[str, Any]:
        """All that the next step and `restore` depend on, equal on all trainers.  Not collective."""
        return {"network": dict(self.network.state_dict()),
                "best": None if self._best is None else self._named(self._best), "optimizer": self._optimizer.state(),
                "rows": None if self._rows is None else self._rows.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.  Not collective."""
        self.network.load_state_dict(state["network"])
        best = state["best"]
        self._best = None if best is None else torch.cat([best[name].reshape(-1) for name in
                                                          self._named(self._flat.values)])
        self._optimizer.load_state(state["optimizer"])
        if self._rows is not None:
            self._rows.load_state_dict(state["rows"])

    def keep(self) -> None:
        """Remember the parameters as they are.  Collective over the trainers."""
        self._best = self._flat.values.clone()
        if self._rows is not None:
            self._rows.keep()

    def restore(self) -> Callable[[], None]:
        """Go back to the parameters last kept, if any were; returns what undoes that.

        Both are collective over the trainers.
        """
        now = self._flat.values.clone()
        if self._best is not None:
            self._flat.values.copy_(self._best)
        undo = None if self._rows is None else self._rows.restore()

        def back() -> None:
            self._flat.values.copy_(now)
            if undo is not None:
                undo()
        return back

    def _named(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        """A vector of all parameters as views of its pieces, by name."""
        learnt = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        pieces = values.split([p.numel() for p in learnt.values()])
        return {name: piece.view_as(p) for (name, p), piece in zip(learnt.items(), pieces, strict=True)}

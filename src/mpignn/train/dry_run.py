"""The first steps of a training that keeps nothing: does it work here, and how long will it take?"""

import math
import time
from dataclasses import dataclass

from mpignn import stop
from mpignn.config import Config
from mpignn.errors import TrainingError
from mpignn.log import beat
from mpignn.machine import private_memory
from mpignn.progress import each
from mpignn.report import forms
from mpignn.store.graph import DistGraph
from mpignn.train.step import Learner
from mpignn.train.tasks.base import Task

_STEPS = 8      # that are timed, at most, behind those that fill the queue of batches


@dataclass(frozen=True)
class Tried:
    """What some steps took.

    Attributes:
        steps: How many were timed.
        steps_per_epoch: Steps of a whole pass.
        seconds: Wall seconds of a step on the slowest trainer.
        shares: What part of it that trainer spent in what, by name.
        memory_bytes: Private memory of the largest trainer.
        loss: Loss of the first step; None where nothing learns.
    """

    steps: int
    steps_per_epoch: int
    seconds: float
    shares: dict[str, float]
    memory_bytes: int
    loss: float | None

    def lines(self, epochs: int) -> list[str]:
        """The findings in words, for so many epochs.  Not collective."""
        parts = ", ".join(f"{name} {forms.percent(share)}" for name, share in self.shares.items())
        loss = "" if self.loss is None else f"; the first loss is {self.loss:.4f}"
        epoch = self.seconds * self.steps_per_epoch
        return [f"dry run: {self.steps} of {self.steps_per_epoch} steps of an epoch, {1000 * self.seconds:.3g} ms "
                f"each on the slowest trainer ({parts}){loss}",
                f"an epoch takes about {forms.seconds(epoch)}, {epochs} epochs {forms.seconds(epoch * epochs)}, and "
                f"validation beside that; the largest trainer holds {forms.memory(self.memory_bytes)} for itself",
                "nothing was written; the same command without --dry-run trains"]


def try_out(g: DistGraph, learner: Learner | None, task: Task, config: Config) -> Tried:
    """Do the first steps of the first pass.  Collective over the trainers.

    Args:
        g: The graph.
        learner: Learns; None moves the data only.
        task: What is learnt.
        config: Settings of the run.

    Raises:
        TrainingError: On all trainers: the loss, or a parameter, is not finite.
        Stopped: On all trainers: one of them was asked to stop.
    """
    sampler = task.sampler(config.sampling.fanouts, None if learner is None else learner.network)
    loader = task.loader(g, config, "train", sampler, config.train.seed, shuffle=True)
    loader.set_epoch(0)
    length, first = len(loader), config.loader.prefetch
    first = first if first < length else 0
    steps = min(length - first, _STEPS)
    if learner is not None:
        learner.plan(config.train.epochs * length)

    def spent() -> list[float]:
        learnt = (0.0, 0.0) if learner is None else (learner.compute_s, learner.sync_s)
        return [time.perf_counter(), loader.stats.sample_s, loader.stats.fetch_s, *learnt]

    loss, began = None, spent()
    for number, batch in enumerate(each(loader, "step"), 1):
        if learner is not None:
            (total,) = learner.step(task, batch, loader.scale)
            loss = total / loader.global_size if loss is None else loss
            if not math.isfinite(total):
                raise TrainingError(f"the loss is {total} in step {number}: lower --lr, or look for features that are "
                                    "not finite")
        stop.check(g.trainers)
        beat(f"step {number}")
        if number == first:
            began = spent()
        if number == first + steps:
            break
    took = [end - begin for begin, end in zip(began, spent(), strict=True)]
    if learner is not None:
        learner.check()
    all_took, memory = zip(*g.trainers.allgather((took, private_memory())), strict=True)
    seconds, *parts = max(all_took)
    names = ("sampling", "fetching", "computing", "gradients")
    return Tried(steps, length, seconds / max(steps, 1), {name: part / seconds for name, part in zip(
        names, parts, strict=True)}, max(memory), loss)

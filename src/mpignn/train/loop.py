"""The training loop: the same steps on every trainer, losses and counts summed over all."""

import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from mpignn.config import Config
from mpignn.dist.graph import DistGraph
from mpignn.errors import TrainingError
from mpignn.kernels.rng import derive
from mpignn.log import phase
from mpignn.train.learner import Learner
from mpignn.train.report import Report
from mpignn.train.task import Task

_EVALUATION = 3         # stream of randomness, beside those of training


@dataclass
class Position:
    """Where a run stands, and by what its next decisions are made.

    Attributes:
        epoch: The pass that is under way or comes next.
        best: The best value of the task's first metric on the split val; None before the first.
        best_epoch: After which that was.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int = -1


def fit(g: DistGraph, learner: Learner | None, task: Task, config: Config, report: Report) -> dict[str, float | None]:
    """Train, validate, test; the parameters that are best by the task's first metric on val are tested.

    Collective over the trainers.

    Args:
        g: The graph; splits val and test may be missing.
        learner: Learns; None moves the data only.
        task: What is learnt.
        config: Settings of the run.
        report: Told of every step and epoch.

    Returns:
        ``val_<metric>``, the best, and ``test_<metric>`` for each metric of the task; None where there is no such split
        or no learner.

    Raises:
        TrainingError: The loss is not finite.
    """
    settings = config.train
    sampler = task.sampler(config.sampling.fanouts)
    training = task.loader(g, config, "train", sampler, settings.seed, shuffle=True)
    evaluations = {}
    if learner is not None:
        if config.eval_fanouts != config.sampling.fanouts:
            sampler = task.sampler(config.eval_fanouts)
        seed = derive(settings.seed, _EVALUATION)
        evaluations = {split: task.loader(g, config, split, sampler, seed, shuffle=False)
                       for split in ("val", "test") if task.seeds(g, split) is not None}
    position, result = Position(), dict.fromkeys([f"val_{name}" for name in task.metrics])
    started = time.perf_counter()
    report.plan(settings.epochs, len(training))
    for position.epoch in range(settings.epochs):
        epoch = position.epoch
        with phase(f"epoch {epoch}"):
            event = _epoch(g, learner, task, training, epoch, report)
        values = dict.fromkeys(result)
        due = settings.eval_every and (epoch + 1) % settings.eval_every == 0
        if "val" in evaluations and (due or epoch == settings.epochs - 1):
            values = evaluate(g, learner, task, evaluations["val"], "val")
            if _is_better(task, values["val_" + task.metrics[0]], position):
                result = values
                learner.keep()
        report.epoch(epoch=epoch, **values, **event)
    result |= dict.fromkeys([f"test_{name}" for name in task.metrics])
    if "test" in evaluations:
        learner.restore()
        result |= evaluate(g, learner, task, evaluations["test"], "test")
    report.final(**result, epochs=settings.epochs, seconds=time.perf_counter() - started)
    return result


def evaluate(g: DistGraph, learner: Learner, task: Task, loader, split: str) -> dict[str, float | None]:
    """The metrics of a split with sampled neighbours, the same draws in every call.  Collective over the trainers.

    Returns:
        ``<split>_<metric>`` for each metric of the task; None for a split of nothing.
    """
    metrics = task.new_metrics()
    network = learner.network
    network.eval()
    with phase(f"evaluate {split}"), torch.no_grad():
        for batch in loader:
            task.observe(network, batch, metrics)
        network.train()
        return {f"{split}_{metric.name}": metric.value(g.trainers) for metric in metrics}


def _is_better(task: Task, value: float | None, position: Position) -> bool:
    """Whether a value of the first metric is the best so far; if so it is noted."""
    first = task.new_metrics()[0]
    if value is None or position.best is not None and (
            value <= position.best if first.more_is_better else value >= position.best):
        return False
    position.best, position.best_epoch = value, position.epoch
    return True


def _epoch(g: DistGraph, learner: Learner | None, task: Task, loader, epoch: int, report: Report) -> dict:
    """One pass; returns the epoch's event but for its validation."""
    loader.set_epoch(epoch)
    if learner is not None:
        learner.reset_clock()
    loss_sum, seeds_seen = 0.0, 0
    began = step_began = time.perf_counter()
    for step, batch in enumerate(loader):
        loss = None
        if learner is not None:
            part = learner.step(task, batch, loader.scale)
            loss_sum, seeds_seen = loss_sum + part, seeds_seen + loader.global_size
            loss = part / loader.global_size
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} at epoch {epoch}, step {step}: lower --lr, or look for "
                                    "features that are not finite")
        now = time.perf_counter()
        report.step(epoch=epoch, step=step, loss=loss, seconds=now - step_began)
        step_began = now
    waiting = time.perf_counter()
    counts = np.zeros(2 + g.trainers.size, np.int64)
    counts[:2] = loader.stats.edges, loader.stats.rows
    counts[2 + g.trainers.rank] = loader.stats.seeds
    g.trainers.all_sum(counts)
    now = time.perf_counter()
    return {
        "loss": loss_sum / seeds_seen if seeds_seen else None, "seconds": now - began,
        "sample_s": loader.stats.sample_s, "fetch_s": loader.stats.fetch_s,
        "compute_s": learner.compute_s if learner else 0.0,
        "sync_s": (learner.sync_s if learner else 0.0) + now - waiting,
        "seeds": int(counts[2:].sum()), "edges": int(counts[0]), "rows": int(counts[1]),
        "seeds_per_trainer": counts[2:].tolist(),
    }

"""The training loop: the same steps on every trainer, losses and counts summed over all."""

import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from mpignn.config import Config
from mpignn.dist.graph import DistGraph
from mpignn.errors import TrainingError
from mpignn.log import phase
from mpignn.train.learner import Learner
from mpignn.train.network import Network
from mpignn.train.report import Report
from mpignn.train.task import Task


@dataclass
class Position:
    """Where a run stands, and by what its next decisions are made.

    Attributes:
        epoch: The pass that is under way or comes next.
        best: The best value of the task's first metric on the split val; None before the first.
        best_epoch: After which that was.
        worse: Validations since then.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int = -1
    worse: int = 0


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
    settings, first = config.train, f"val_{task.metrics[0]}"
    training = task.loader(g, config, "train", config.sampling.fanouts, settings.seed, shuffle=True)
    splits = [split for split in ("val", "test") if learner is not None and task.seeds(g, split) is not None]
    position, result = Position(), dict.fromkeys([f"val_{name}" for name in task.metrics])
    started = time.perf_counter()
    report.plan(settings.epochs, len(training))
    if learner is not None:
        learner.plan(settings.epochs * len(training))
    for position.epoch in range(settings.epochs):
        epoch = position.epoch
        with phase(f"epoch {epoch}"):
            event = _epoch(g, learner, task, training, epoch, report)
        values = dict.fromkeys(result)
        due = settings.eval_every and (epoch + 1) % settings.eval_every == 0
        if "val" in splits and (due or epoch == settings.epochs - 1):
            values = evaluate(g, learner.network, task, config, "val")
            if values[first] is not None and _is_better(task, values[first], position):
                result = values
                learner.keep()
        report.epoch(epoch=epoch, **values, **event)
        if settings.patience is not None and position.worse >= settings.patience:
            break
    result |= dict.fromkeys([f"test_{name}" for name in task.metrics])
    if "test" in splits:
        learner.restore()
        result |= evaluate(g, learner.network, task, config, "test")
    report.final(**result, epochs=min(position.epoch + 1, settings.epochs), seconds=time.perf_counter() - started)
    return result


def evaluate(g: DistGraph, network: Network, task: Task, config: Config, split: str) -> dict[str, float | None]:
    """The metrics of a task on a split, with the same draws in every call.  Collective over the trainers.

    Returns:
        ``<split>_<metric>`` for each metric of the task; None for a split of nothing.
    """
    network.eval()
    with phase(f"evaluate {split}"), torch.no_grad():
        metrics = task.measure(g, network, config, split)
        network.train()
        return {f"{split}_{metric.name}": metric.value(g.trainers) for metric in metrics}


def _is_better(task: Task, value: float, position: Position) -> bool:
    """Whether a value of the first metric is the best so far; it is noted."""
    better = position.best is None or (
        value > position.best if task.new_metrics()[0].more_is_better else value < position.best)
    if better:
        position.best, position.best_epoch, position.worse = value, position.epoch, 0
    else:
        position.worse += 1
    return better


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

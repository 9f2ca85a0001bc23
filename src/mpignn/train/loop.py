"""The training loop: the same steps on every trainer, losses and counts summed over all."""

import math
import time

import numpy as np
import torch

from mpignn.config import Config
from mpignn.dist.graph import DistGraph
from mpignn.errors import TrainingError
from mpignn.kernels.rng import derive
from mpignn.loader.node import NodeDataLoader
from mpignn.log import phase
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.train.learner import Learner
from mpignn.train.metrics import Accuracy
from mpignn.train.report import Report
from mpignn.train.task import NodeClassification

_EVALUATION = 3         # stream of randomness, beside those of training


def fit(g: DistGraph, learner: Learner | None, task: NodeClassification, config: Config,
        report: Report) -> dict[str, float | None]:
    """Train, validate, test; the parameters with the best validation accuracy are tested.

    Collective over the trainers.

    Args:
        g: The graph; splits val and test may be missing.
        learner: Learns; None moves the data only.
        task: What is learnt.
        config: Settings of the run.
        report: Told of every step and epoch.

    Returns:
        ``val_acc`` and ``test_acc``, None where there is no such split or no learner.

    Raises:
        TrainingError: The loss is not finite.
    """
    settings = config.train
    rows = {"prefetch_node_feats": {task.ntype: [task.features]}, "prefetch_labels": {task.ntype: [task.labels]}}
    sampler = NeighborSampler(config.sampling.fanouts, **rows)
    training = _loader(g, config, "train", task, sampler, settings.seed, shuffle=True)
    if config.eval_fanouts != config.sampling.fanouts:
        sampler = NeighborSampler(config.eval_fanouts, **rows)
    evaluations = {}
    if learner is not None:
        seed = derive(settings.seed, _EVALUATION)
        evaluations = {split: _loader(g, config, split, task, sampler, seed, shuffle=False)
                       for split in ("val", "test") if split in g.splits[task.ntype]}
    best = None
    started = time.perf_counter()
    report.plan(settings.epochs, len(training))
    for epoch in range(settings.epochs):
        with phase(f"epoch {epoch}"):
            event = _epoch(g, learner, training, epoch, report)
        val_acc = None
        due = settings.eval_every and (epoch + 1) % settings.eval_every == 0
        if "val" in evaluations and (due or epoch == settings.epochs - 1):
            val_acc = _accuracy(g, learner, evaluations, "val")
            if val_acc is not None and (best is None or val_acc > best):
                best = val_acc
                learner.keep()
        report.epoch(epoch=epoch, val_acc=val_acc, **event)
    test_acc = None
    if "test" in evaluations:
        learner.restore()
        test_acc = _accuracy(g, learner, evaluations, "test")
    report.final(val_acc=best, test_acc=test_acc, epochs=settings.epochs, seconds=time.perf_counter() - started)
    return {"val_acc": best, "test_acc": test_acc}


def _loader(g: DistGraph, config: Config, split: str, task: NodeClassification, sampler: NeighborSampler, seed: int,
            shuffle: bool) -> NodeDataLoader:
    return NodeDataLoader(
        g, {task.ntype: g.split(split, task.ntype)}, sampler, shuffle=shuffle, seed=seed,
        global_batch_size=config.global_batch_size(g.trainers.size), prefetch=config.loader.prefetch)


def _epoch(g: DistGraph, learner: Learner | None, loader: NodeDataLoader, epoch: int, report: Report) -> dict:
    """One pass; returns the epoch's event but for its validation."""
    loader.set_epoch(epoch)
    if learner is not None:
        learner.reset_clock()
    loss_sum, seeds_seen = 0.0, 0
    began = step_began = time.perf_counter()
    for step, (_, _, blocks) in enumerate(loader):
        loss = None
        if learner is not None:
            part = learner.step(blocks, loader.scale)
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


def _accuracy(g: DistGraph, learner: Learner, loaders: dict[str, NodeDataLoader], split: str) -> float | None:
    """Accuracy on a split with sampled neighbours, the same draws in every call; None for a split of nothing."""
    accuracy = Accuracy()
    learner.train(False)
    with phase(f"evaluate {split}"), torch.no_grad():
        for _, _, blocks in loaders[split]:
            accuracy.add(learner.logits(blocks), learner.labels(blocks))
        learner.train(True)
        return accuracy.value(g.trainers)

"""The training loop: the same steps on every trainer, gradients and losses summed over all.

Shapes: B seeds of this trainer's share, C classes.
"""

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed
from torch.nn.functional import cross_entropy

from mpignn.config import Config
from mpignn.dist.graph import DistGraph
from mpignn.errors import TrainingError
from mpignn.graph.block import Block
from mpignn.kernels.rng import derive
from mpignn.loader.node import NodeDataLoader
from mpignn.log import phase
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.train.metrics import Accuracy
from mpignn.train.optimizer import Adam, FlatParameters
from mpignn.train.report import Report
from mpignn.train.task import NodeClassification

_EVALUATION = 3         # stream of randomness, beside those of training


@dataclass(frozen=True)
class _Inputs:
    """Takes a batch apart."""

    task: NodeClassification
    dtype: torch.dtype

    def features_of(self, blocks: list[Block]) -> torch.Tensor:
        """(rows, columns) inputs of a batch."""
        return blocks[0].src_frames[self.task.ntype][self.task.features].to(self.dtype)

    def labels_of(self, blocks: list[Block]) -> torch.Tensor:
        """(B,) int64 answers of a batch."""
        return blocks[-1].dst_frames[self.task.ntype][self.task.labels]


@dataclass
class _Clock:
    """Wall seconds of the parts of an epoch on this trainer."""

    compute_s: float = 0.0
    sync_s: float = 0.0


def fit(g: DistGraph, model: torch.nn.Module | None, task: NodeClassification, config: Config,
        report: Report) -> dict[str, float | None]:
    """Train, validate, test; the parameters with the best validation accuracy are tested.

    Collective over the trainers.

    Args:
        g: The graph; splits val and test may be missing.
        model: Maps (blocks, features) to (B, C) logits; equal on all trainers.  None: move the data, learn nothing.
        task: What is learnt.
        config: Settings of the run.
        report: Told of every step and epoch.

    Returns:
        ``val_acc`` and ``test_acc``, None where there is no such split or no model.

    Raises:
        TrainingError: The loss is not finite.
    """
    settings = config.train
    inputs = _Inputs(task, {"fp32": torch.float32, "fp64": torch.float64}[settings.precision])
    sampler = NeighborSampler(config.sampling.fanouts)
    loader = _loader(g, config, "train", task, sampler, settings.seed, shuffle=True)
    eval_sampler = sampler if config.eval_fanouts == config.sampling.fanouts else NeighborSampler(config.eval_fanouts)
    eval_seed = derive(settings.seed, _EVALUATION)
    evaluations = {split: _loader(g, config, split, task, eval_sampler, eval_seed, shuffle=False)
                   for split in ("val", "test") if split in g.splits[task.ntype]}
    flat = FlatParameters(model.parameters()) if model is not None else None
    optimizer = Adam(flat, settings.lr, weight_decay=settings.weight_decay) if flat is not None else None
    if flat is not None:
        torch.distributed.broadcast(flat.values, src=0)
    best, best_values = None, None
    started = time.perf_counter()
    report.plan(settings.epochs, len(loader))
    for epoch in range(settings.epochs):
        with phase(f"epoch {epoch}"):
            event = _train_epoch(g, model, flat, optimizer, loader, epoch, inputs, report)
        val_acc = None
        last = epoch == settings.epochs - 1
        if model is not None and (last or settings.eval_every and (epoch + 1) % settings.eval_every == 0):
            val_acc = _accuracy(g, model, evaluations, "val", inputs)
            if val_acc is not None and (best is None or val_acc > best):
                best, best_values = val_acc, flat.values.clone()
        report.epoch(epoch=epoch, val_acc=val_acc, **event)
    if best_values is not None:
        flat.values.copy_(best_values)
    test_acc = _accuracy(g, model, evaluations, "test", inputs) if model is not None else None
    report.final(val_acc=best, test_acc=test_acc, epochs=settings.epochs, seconds=time.perf_counter() - started)
    return {"val_acc": best, "test_acc": test_acc}


def _accuracy(g: DistGraph, model: torch.nn.Module, loaders: dict[str, NodeDataLoader], split: str,
              inputs: _Inputs) -> float | None:
    """Accuracy on a split with sampled neighbours, the same draws in every call; None where there is no such split."""
    if split not in loaders:
        return None
    accuracy = Accuracy()
    model.eval()
    with phase(f"evaluate {split}"), torch.no_grad():
        for _, _, blocks in loaders[split]:
            accuracy.add(model(blocks, inputs.features_of(blocks)), inputs.labels_of(blocks))
        model.train()
        return accuracy.value(g.trainers)


def _loader(g: DistGraph, config: Config, split: str, task: NodeClassification, sampler: NeighborSampler, seed: int,
            shuffle: bool) -> NodeDataLoader:
    return NodeDataLoader(
        g, {task.ntype: g.split(split, task.ntype)}, sampler, shuffle=shuffle, seed=seed,
        global_batch_size=config.global_batch_size(g.trainers.size), prefetch=config.loader.prefetch,
        node_feats=[task.features], labels=[task.labels])


def _train_epoch(g: DistGraph, model, flat: FlatParameters | None, optimizer: Adam | None, loader: NodeDataLoader,
                 epoch: int, inputs: _Inputs, report: Report) -> dict:
    """One pass; returns the epoch's event but for its validation."""
    loader.set_epoch(epoch)
    clock = _Clock()
    loss_sum, seeds_seen = 0.0, 0
    began = step_began = time.perf_counter()
    for step, (_, _, blocks) in enumerate(loader):
        loss = None
        if model is not None:
            part = _step(g, model, flat, optimizer, loader, blocks, inputs, clock)
            loss_sum, seeds_seen = loss_sum + part, seeds_seen + loader.global_size
            loss = part / loader.global_size
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} at epoch {epoch}, step {step}: lower --lr, or look for "
                                    "features that are not finite")
        now = time.perf_counter()
        report.step(epoch=epoch, step=step, loss=loss, seconds=now - step_began)
        step_began = now
    waiting = time.perf_counter()
    counts = np.zeros(2 + g.trainers.size)
    counts[:2] = loader.stats.edges, loader.stats.rows
    counts[2 + g.trainers.rank] = loader.stats.seeds
    g.trainers.all_sum(counts)
    clock.sync_s += time.perf_counter() - waiting
    return {
        "loss": loss_sum / seeds_seen if seeds_seen else None, "seconds": time.perf_counter() - began,
        "sample_s": loader.stats.sample_s, "fetch_s": loader.stats.fetch_s,
        "compute_s": clock.compute_s, "sync_s": clock.sync_s, "seeds": int(counts[2:].sum()),
        "edges": int(counts[0]), "rows": int(counts[1]), "seeds_per_trainer": counts[2:].astype(int).tolist(),
    }


def _step(g: DistGraph, model, flat: FlatParameters, optimizer: Adam, loader: NodeDataLoader, blocks: list,
          inputs: _Inputs, clock: _Clock) -> float:
    """One optimiser step; returns the loss summed over the seeds of all trainers."""
    started = time.perf_counter()
    flat.grad.zero_()
    loss = cross_entropy(model(blocks, inputs.features_of(blocks)), inputs.labels_of(blocks), reduction="sum")
    (loss * loader.scale).backward()
    reduced = torch.tensor([loss.item()], dtype=torch.float64)
    computed = time.perf_counter()
    torch.distributed.all_reduce(flat.grad)
    torch.distributed.all_reduce(reduced)
    synced = time.perf_counter()
    flat.grad /= g.trainers.size
    optimizer.step()
    clock.compute_s += computed - started + time.perf_counter() - synced
    clock.sync_s += synced - computed
    return reduced.item()

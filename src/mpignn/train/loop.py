"""The training loop: the same steps on every trainer, losses and counts summed over all."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpignn import stop
from mpignn.config import Config
from mpignn.errors import Stopped, TrainingError
from mpignn.loader.base import DistDataLoader
from mpignn.log import beat, phase
from mpignn.store.graph import DistGraph
from mpignn.train.keeper import Keeper, no_sums
from mpignn.train.learner import Learner
from mpignn.train.network import Network
from mpignn.train.report import Report
from mpignn.train.task import Task

log = logging.getLogger(__name__)

_TIMES = ("seconds", "sample_s", "fetch_s", "compute_s", "sync_s")


def learn(g: DistGraph, learner: Learner | None, task: Task, config: Config, report: Report, run_dir: Path,
          training: DistDataLoader[Any] | None = None) -> dict[str, float | None]:
    """Train, validate, test; the parameters that are best by the task's first metric on val are tested.

    Where that metric is undefined, as ROC-AUC where val has one class, it chooses nothing: the last ones are.

    Begins, or goes on from a checkpoint, as the settings say.  Collective over the trainers.

    Args:
        g: The graph; splits val and test may be missing.
        learner: Learns; None moves the data only.
        task: What is learnt.
        config: Settings of the run.
        report: Told of all that happens; its callbacks may end training.
        run_dir: Where checkpoints go.
        training: Batches to learn from, as `Task.loader` describes them; None: those of the task.

    Returns:
        ``val_<metric>`` and ``test_<metric>`` of the chosen parameters for each metric of the task; None where there is
        no such split or no learner, or where it is undefined.

    Raises:
        TrainingError: On all trainers: a loss, the parameters or a metric are not finite; nothing of that is kept.
        Stopped: On all trainers: one of them was asked to stop; a checkpoint is written.
        ConfigError, DataError: On all trainers: there is no checkpoint to go on from, or it is not of this run.
        ResourceError: On all trainers: the disk is full.
    """
    settings = config.train
    if training is None:
        sampler = task.sampler(config.sampling.fanouts, None if learner is None else learner.network)
        training = task.loader(g, config, "train", sampler, settings.seed, shuffle=True)
    splits = [split for split in ("val", "test") if learner is not None and task.seeds(g, split)]
    no_val, no_test = (dict.fromkeys([f"{split}_{name}" for name in task.metrics]) for split in ("val", "test"))
    keeper = Keeper(g, learner, task, training, config, report, run_dir)
    keeper.begin()
    position = keeper.position
    report.plan(settings.epochs, len(training), position.steps)
    if learner is not None:
        learner.plan(settings.epochs * len(training))

    def tell_end(test: dict[str, float | None], finished: bool) -> None:
        report.stop({**no_val, **position.values, **test, "epochs": position.epoch, "seconds": keeper.seconds(),
                     "finished": finished})

    try:
        while not keeper.is_over():
            epoch = position.epoch
            with phase(f"epoch {epoch}", steady=True):
                event, sums = _epoch(g, learner, task, training, keeper, report)
            values, is_best = no_val, False
            due = settings.eval_every and (epoch + 1) % settings.eval_every == 0
            if learner is not None and "val" in splits and (due or epoch in (settings.epochs - 1, position.last_epoch)):
                values, is_best = _validate(g, learner, task, config, keeper, report, sums)
            position.epoch, position.sums = epoch + 1, no_sums()
            with keeper.stopping(no_sums):
                report.epoch({"epoch": epoch, **values, **event})
            keeper.after_epoch(is_best)
        test = _test(g, learner, task, config, keeper, report) if learner and "test" in splits else no_test
    except Stopped:
        tell_end(no_test, finished=False)
        raise
    tell_end(test, finished=True)
    g.trainers.agree(report.problem)
    return no_val | position.values | test


def evaluate(g: DistGraph, network: Network, task: Task, config: Config, split: str,
             whole: bool = False) -> dict[str, float | None]:
    """The metrics of a task on a split, with the same draws in every call.  Collective over the trainers.

    Args:
        whole: With all neighbours, by layer-wise inference.

    Returns:
        ``<split>_<metric>`` for each metric of the task; None for a split of nothing.

    Raises:
        TrainingError: On all trainers: what the network says is not finite, or so large that a metric is not.
        Stopped: On all trainers: one of them was asked to stop.
    """
    network.eval()
    with phase(f"evaluate {split}", steady=True), torch.no_grad():
        try:
            metrics = task.measure(g, network, config, split, whole)
        finally:
            network.train()
        values = {f"{split}_{metric.name}": metric.value(g.trainers) for metric in metrics}
    wrong = [name for name, value in values.items() if value is not None and not math.isfinite(value)]
    if wrong:
        raise TrainingError(f"{', '.join(wrong)}: the network has diverged: what it says of {split} is not finite, or "
                            "too large to be measured: lower --lr, or look for features that are not finite")
    return values


def _validate(g: DistGraph, learner: Learner, task: Task, config: Config, keeper: Keeper, report: Report,
              sums: dict[str, float]) -> tuple[dict[str, float | None], bool]:
    """Measure val after a pass with these sums; returns the metrics, and whether the first is better than before."""
    position, first = keeper.position, f"val_{task.metrics[0]}"
    with keeper.stopping(lambda: sums):
        values = evaluate(g, learner.network, task, config, "val")
        value = values[first]
        is_best = value is not None and (position.best is None or (
            value > position.best if task.new_metrics()[0].more_is_better else value < position.best))
        report.eval({"split": "val", "epoch": position.epoch, **values, "is_best": is_best})
    if value is None and not position.values and g.trainers.rank == 0:
        log.warning("%s is undefined: the seeds of val have no two classes, or no label at all; it chooses no "
                    "parameters, so the last ones are kept%s", first,
                    "" if config.train.patience is None else ", and --patience ends nothing")
    if is_best:
        position.best, position.best_epoch, position.worse = value, position.epoch, 0
        position.best_steps, position.values = position.steps, values
        learner.keep()
    elif value is not None:
        position.worse += 1
    elif position.best is None:
        position.values = values
    return values, is_best


def _test(g: DistGraph, learner: Learner, task: Task, config: Config, keeper: Keeper,
          report: Report) -> dict[str, float | None]:
    """The metrics of test by the best parameters."""
    position, undo = keeper.position, learner.restore()
    with keeper.stopping(no_sums, undo):
        values = evaluate(g, learner.network, task, config, "test")
        of_epoch = position.epoch - 1 if position.best is None else position.best_epoch
        report.eval({"split": "test", "epoch": of_epoch, **values})
    return values


def _epoch(g: DistGraph, learner: Learner | None, task: Task, loader: DistDataLoader[Any], keeper: Keeper,
           report: Report) -> tuple[dict[str, Any], dict[str, float]]:
    """One pass, or the rest of it; returns the epoch's event but for its validation, and this trainer's sums."""
    position = keeper.position
    epoch, before = position.epoch, position.sums
    loader.set_epoch(epoch)
    if learner is not None:
        learner.reset_clock()
    loss_sum, seeds_seen = before["loss_sum"], before["seeds_seen"]
    began = step_began = time.perf_counter()

    def sums() -> dict[str, float]:
        stats = loader.stats
        return {"loss_sum": loss_sum, "seeds_seen": seeds_seen, "seconds": time.perf_counter() - began,
                "sample_s": stats.sample_s, "fetch_s": stats.fetch_s,
                "compute_s": learner.compute_s if learner else 0.0, "sync_s": learner.sync_s if learner else 0.0,
                "seeds": stats.seeds, "edges": stats.edges, "rows": stats.rows}

    step = loader.state_dict()["step"]
    for batch in loader if position.last_epoch is None else ():     # what is left of one that was ended: no steps
        loss = None
        if learner is not None:
            part, *flags, done = learner.step(task, batch, loader.scale, keeper.flags())
            if done:
                position.last_epoch = epoch
            loss_sum, seeds_seen = loss_sum + part, seeds_seen + loader.global_size
            loss = part / loader.global_size
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} at epoch {epoch}, step {step}: lower --lr, or look for "
                                    "features that are not finite")
        del batch       # its memory serves the next one
        now = time.perf_counter()
        position.steps += 1
        with keeper.stopping(sums):
            report.step({"epoch": epoch, "step": step, "loss": loss, "seconds": now - step_began})
        beat(f"step {step}")
        if learner is not None:
            keeper.after_step(flags, sums)
        else:
            stop.check(g.trainers)
        if position.last_epoch is not None:
            break
        step, step_began = step + 1, time.perf_counter()
    if learner is not None:
        learner.check()
    waiting = time.perf_counter()
    mine = sums()
    counts = np.zeros(4 + g.trainers.size, np.int64)
    counts[:4] = mine["edges"], mine["rows"], mine["seeds"], report.done
    counts[4 + g.trainers.rank] = mine["seeds"]
    g.trainers.all_sum(counts)
    if counts[3]:
        position.last_epoch = epoch
    mine |= {"seconds": time.perf_counter() - began, "sync_s": mine["sync_s"] + time.perf_counter() - waiting}
    total = {name: before[name] + mine[name] for name in _TIMES}
    return {
        "loss": loss_sum / seeds_seen if seeds_seen else None, **total, "seeds": int(before["seeds"] + counts[2]),
        "edges": int(before["edges"] + counts[0]), "rows": int(before["rows"] + counts[1]),
        "seeds_per_trainer": counts[4:].tolist(),
    }, mine

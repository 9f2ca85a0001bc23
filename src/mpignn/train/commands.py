"""What the commands train, eval and infer do on the trainers."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mpignn import say
from mpignn.config import CHECKPOINTS, TRAINED, Config
from mpignn.errors import ConfigError, ResourceError, os_errors
from mpignn.files import read_file
from mpignn.log import phase
from mpignn.models import find_model
from mpignn.store.graph import DistGraph, published_graph
from mpignn.train import api, checkpoint, trained_model
from mpignn.train.class_counts import ClassCounts
from mpignn.train.dry_run import try_out
from mpignn.train.evaluation import evaluate
from mpignn.train.loop import Position
from mpignn.train.network import Network
from mpignn.train.report import report_evaluation
from mpignn.train.tasks.base import Labelled, Task

log = logging.getLogger(__name__)

_MOST_BYTES = 1 << 30       # of a list of nodes


def train(g: DistGraph, config: Config, run_dir: Path) -> None:
    """Train as configured.  Collective over the trainers.

    Raises:
        DataError: A label is negative, or larger than a class can be.
        TrainingError: On all trainers: a loss, the parameters or a metric are not finite; nothing of that is kept.
    """
    with phase("set up training"):
        task = api.make_task(g, config)
        _tell(g, task, config)
        network = None if config.train.data_path_only else api.make_network(g, task, config)
    api.fit(g, network, task, replace(config, train=replace(config.train, run_dir=str(run_dir))))
    if network is not None:
        _save_trained(g, task, network, config, run_dir)
    if g.trainers.rank == 0:
        say.tell(f"wrote {run_dir}; next: python -m mpignn report {run_dir}")


def dry_run(g: DistGraph, config: Config) -> None:
    """Do the first steps of what `train` would do, and tell what all of it would take.  Collective over the trainers.

    Raises:
        DataError, TrainingError: As `train`.
    """
    with phase("set up training"):
        task = api.make_task(g, config)
        _tell(g, task, config)
        network = None if config.train.data_path_only else api.make_network(g, task, config)
        learner = None if network is None else api.make_learner(g, network, config)
    with phase("dry run", steady=True):
        tried = try_out(g, learner, task, config)
    if g.trainers.rank == 0:
        say.tell("\n".join(tried.lines(config.train.epochs)))


def _save_trained(g: DistGraph, task: Task, network: Network, config: Config, run_dir: Path) -> None:
    """Keep the network for `evaluate_run` and `infer`.  Collective over the trainers."""
    try:
        about = trained_model.describe(g, task.goal, network).about()
        checkpoint.save(run_dir / TRAINED, 0, g, about=about, network=network)
    except ResourceError as error:      # of all trainers
        if config.checkpoint.on_checkpoint_error == "stop":
            raise
        log.warning("%s; eval and infer will not find what was learnt", error)


def evaluate_run(g: DistGraph, config: Config, run: Path, out: Path | None, sampled: bool) -> None:
    """Measure what a run has learnt, and write and tell it.  Collective over the trainers.

    Args:
        g: The graph.
        config: Settings of the run.
        run: Its folder.
        out: Folder for ``eval.json``; None: what was measured is only told.
        sampled: By sampled neighbors, as in training; not by all, layer after layer.

    Raises:
        DataError: On all trainers: the run has learnt nothing yet.
        ConfigError: On all trainers: it does not fit the graph.
    """
    task, network = _trained(g, config, run)
    if isinstance(task, Labelled):
        task.check_labels(g)
    found: dict[str, float | None] = {}
    classes = []
    for split in ("val", "test"):
        if task.seeds(g, split):
            counts = ClassCounts(task.goal)
            found |= evaluate(g, network, task, config, split, whole=not sampled, counts=counts)
            classes.append(counts.total(split, g.trainers))
    with g.trainers.all_or_none():
        if g.trainers.rank == 0:
            report_evaluation(out, found, [counted for counted in classes if counted is not None])


def infer(g: DistGraph, config: Config, run: Path, out: Path, split: str | None, sampled: bool,
          top_k: int | None = None, sources: Path | None = None, nodes: Path | None = None) -> None:
    """Write what a run's network says, as `api.infer` does.  Collective over the trainers.

    Args:
        g: The graph.
        config: Settings of the run.
        run: Its folder.
        out: The file.
        split: The edges' split, where the task is about edges; None: test, if there is one.
        sampled: By sampled neighbors, as for `evaluate_run`.
        top_k: How many new links of each source are wanted; None: none, but the edges of the split.
        sources: File with what the sources are called, one a line; None: all nodes that can be.
        nodes: File with what the nodes to predict are called, likewise; None: all.

    Raises:
        DataError: On all trainers: the run has learnt nothing yet; or no node is called as one in these files.
        ConfigError: On all trainers: it does not fit the graph.
        ConfigError, ResourceError: On all trainers: the file cannot be written.
    """
    task, network = _trained(g, config, run)
    called, wanted = (None if file is None else g.trainers.by_first(partial(_lines, file)) for file in (sources, nodes))
    api.infer(g, network, task, out, split, config.eval_fanouts if sampled else None, top_k, called, wanted)
    if g.trainers.rank == 0:
        say.tell(f"wrote {out}")


def _lines(path: Path) -> list[str]:
    """The lines of a text that are not empty."""
    try:
        with os_errors(ConfigError, f"{path}: cannot be read"):
            text = read_file(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: expected what nodes are called, one in a line") from error
    return [line for line in text.replace("\r\n", "\n").split("\n") if line]     # other ends of lines may be in ids


def _trained(g: DistGraph, config: Config, run: Path) -> tuple[Task, Network]:
    """The task and the network of a run, with its best parameters or the best so far.  Collective over the trainers."""
    with phase("load network"):
        def read() -> tuple[trained_model.TrainedModel, bool]:
            found = trained_model.read_trained(run)
            trained_model.check_graph(found, g.schema, published_graph(g).infos, g.source_id)
            return found, trained_model.has_ended(run)

        found, ended = g.trainers.by_first(read)
        task = api.make_task(g, config, found.goal)
        network = api.make_network(g, task, config)
        if ended:
            checkpoint.load(run / TRAINED, g, any_graph=True, network=network)
        else:
            _load_best_so_far(g, network, config, run)
        return task, network.eval()


class _Unused:
    """Takes the place of a loader where no step follows."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Whatever it is."""


def _load_best_so_far(g: DistGraph, network: Network, config: Config, run: Path) -> None:
    """Give a network the best parameters that a run which has not ended has found, and say of when they are.

    Before the first validation they are the latest ones.  Collective over the trainers.
    """
    learner = api.make_learner(g, network, config)
    found = checkpoint.load(run / CHECKPOINTS, g, any_graph=True, any_settings=True, learner=learner, loader=_Unused())
    learner.restore()
    position = Position(**found.about["position"])
    if position.best is None:
        told = f"its latest parameters, after {position.steps} steps, in epoch {position.epoch}; none were validated"
    else:
        told = (f"its best parameters so far, of epoch {position.best_epoch}, after {position.best_steps} of "
                f"{position.steps} steps")
    log.info("%s has not ended: these are %s (%s)", run, told, found.path)


def _tell(g: DistGraph, task: Task, config: Config) -> None:
    """Log what is about to happen."""
    fanouts = config.sampling.fanouts
    log.info("%s with %s of %d layer(s), %d training seeds in global batches of %d, fanouts per hop: %s (%d for the "
             "seeds)", task.goal.task, config.model.model, config.num_layers,
             sum(map(len, task.seeds(g, "train").values())), config.global_batch_size(g.trainers.size),
             ",".join(map(str, reversed(fanouts))), fanouts[-1])
    held_out = [split for split in ("val", "test") if task.seeds(g, split)]
    kept_out = task.goal.edge_mask is not None or task.seed_time is not None
    told = g.trainers.rank == 0 and not kept_out and find_model(config.model.model).sees_neighbors
    if told and task.goal.etypes and held_out:
        log.warning("edges of %s carry messages in training: name edge data that is false on them by --edge-mask, or "
                    "the figures will be too good", " and ".join(held_out))

"""The trainer role: build the model that the graph asks for, and train it."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mpignn import stop
from mpignn.config import Config
from mpignn.dist.graph import DistGraph
from mpignn.errors import MpignnError, ResourceError
from mpignn.kernels import dropout, edges, segment, sparse
from mpignn.log import phase
from mpignn.mpi.process_group import init_process_group
from mpignn.mpi.world import World
from mpignn.nn.memory import keep_freed
from mpignn.sampling.warm import warming
from mpignn.train import checkpoint, program, trained
from mpignn.train.loop import evaluate
from mpignn.train.network import Network
from mpignn.train.report import report_evaluation
from mpignn.train.task import Classes, Task
from mpignn.train.trained import Trained

log = logging.getLogger(__name__)


def warm(config: Config, graphs: Sequence[DistGraph], own_program: bool) -> None:
    """Compile the kernels of a run, or load them from the cache, unless asked to stop meanwhile.  Not collective.

    One rank of a node comes first: many that find the cache empty would all compile.

    Args:
        config: Of the run.
        graphs: What it reads.
        own_program: Whether a program of the user's runs, which may choose edges by any data that there is.
    """
    torch.set_num_threads(1)
    dtype = np.float64 if config.train.precision == "fp64" else np.float32
    half = np.uint16        # bfloat16, as kernels see it
    chosen_by = None if own_program else {config.sampling.edge_mask}
    wanted = [*((call,) for call in warming([g.service for g in graphs], chosen_by)),
              (segment.warm, dtype), (dropout.warm, dtype)]
    if config.train.precision == "bf16":
        wanted += [(segment.warm, half), (dropout.warm, half)]
    if config.model.model.startswith("gat"):
        wanted.append((edges.warm, dtype))
    if config.embedding.embed != "off":
        wanted.append((sparse.warm, config.embedding.embed_optimizer, dtype))
    with phase("compile kernels"):
        for compiled, *arguments in wanted:
            if stop.wish() is None:
                compiled(*arguments)


def start(world: World, config: Config) -> None:
    """Make torch ready: threads, its default process group, its generator.  Collective over the trainers."""
    keep_freed()
    torch.set_num_threads(world.num_threads)
    init_process_group(world)
    torch.manual_seed(config.train.seed)


def train(g: DistGraph, config: Config, run_dir: Path) -> None:
    """Train as configured.  Collective over the trainers.

    Raises:
        DataError: A label is negative, or larger than a class can be.
        TrainingError: The loss is not finite.
    """
    with phase("set up training"):
        task = program.make_task(g, config)
        _tell(g, task, config)
        network = None if config.train.data_path_only else program.make_network(g, task, config)
    program.fit(g, network, task, replace(config, train=replace(config.train, run_dir=str(run_dir))))
    if network is not None:
        _save_trained(g, task, network, config, run_dir)


def _save_trained(g: DistGraph, task: Task, network: Network, config: Config, run_dir: Path) -> None:
    """Keep the network for `evaluate_run` and `infer`.  Collective over the trainers."""
    try:
        goal, embedded = task.goal, tuple(g.ntypes[int(number)] for number in network.inputs.embeddings)
        about = Trained(goal, g.ntypes, g.canonical_etypes, embedded, g.source_id).about()
        checkpoint.save(run_dir / trained.FOLDER, 0, g, about=about, network=network)
    except ResourceError as error:      # of all trainers
        if config.checkpoint.on_checkpoint_error == "stop":
            raise
        log.warning("%s; eval and infer will not find what was learnt", error)


def evaluate_run(g: DistGraph, config: Config, run: Path, out: Path, sampled: bool) -> None:
    """Measure what a run has learnt, and write and tell it.  Collective over the trainers.

    Args:
        g: The graph.
        config: Settings of the run.
        run: Its folder.
        out: Folder for ``eval.json``.
        sampled: By sampled neighbours, as in training; not by all, layer after layer.

    Raises:
        DataError: On all trainers: the run has no trained network.
        ConfigError: On all trainers: it does not fit the graph.
    """
    task, network = _trained(g, config, run)
    if isinstance(task, Classes):
        task.check_classes(g)
    found = {}
    for split in ("val", "test"):
        if task.seeds(g, split) is not None:
            found |= evaluate(g, network, task, config, split, whole=not sampled)
    problem = None
    if g.trainers.rank == 0:
        try:
            report_evaluation(out, found)
        except MpignnError as error:
            problem = error
    g.trainers.agree(problem)


def infer(g: DistGraph, config: Config, run: Path, out: Path, split: str, sampled: bool) -> None:
    """Write what a run's network says, as `program.infer` does.  Collective over the trainers.

    Args:
        g: The graph.
        config: Settings of the run.
        run: Its folder.
        out: The file.
        split: Of the edges, where the task is about edges.
        sampled: By sampled neighbours, as for `evaluate_run`.

    Raises:
        DataError: On all trainers: the run has no trained network.
        ConfigError: On all trainers: it does not fit the graph.
        ConfigError, ResourceError: On all trainers: the file cannot be written.
    """
    task, network = _trained(g, config, run)
    program.infer(g, network, task, out, split, config.eval_fanouts if sampled else None)


def _trained(g: DistGraph, config: Config, run: Path) -> tuple[Task, Network]:
    """The task and the network of a run, with the parameters that it ended with.  Collective over the trainers."""
    with phase("load network"):
        problem, found = None, None
        if g.trainers.rank == 0:
            try:
                found = trained.read_trained(run)
                trained.check_graph(found, g.schema, g.service.infos, g.source_id)
            except MpignnError as error:
                problem = error
        g.trainers.agree(problem)
        task = program.make_task(g, config, g.trainers.bcast(found).goal)
        network = program.make_network(g, task, config)
        checkpoint.load(run / trained.FOLDER, g, any_graph=True, network=network)
        return task, network.eval()


def _tell(g: DistGraph, task: Task, config: Config) -> None:
    """Log what is about to happen."""
    fanouts = config.sampling.fanouts
    log.info("%s with %s of %d layer(s), %d training seeds in global batches of %d, fanouts per hop: %s (%d for the "
             "seeds)", task.goal.task, config.model.model, config.num_layers,
             sum(map(len, task.seeds(g, "train").values())), config.global_batch_size(g.trainers.size),
             ",".join(map(str, reversed(fanouts))), fanouts[-1])
    held_out = [split for split in ("val", "test") if task.seeds(g, split) is not None]
    told = g.trainers.rank == 0 and task.goal.edge_mask is None and config.model.model not in ("none", "mlp")
    if told and task.goal.etypes and held_out:
        log.warning("edges of %s carry messages in training: name edge data that is false on them by --edge-mask, or "
                    "the figures will be too good", " and ".join(held_out))

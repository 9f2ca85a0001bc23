"""The trainer role: build the model that the graph asks for, and train it."""

import logging
from collections.abc import Sequence
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
from mpignn.nn import make_model
from mpignn.nn.memory import keep_freed
from mpignn.sampling.warm import warming
from mpignn.train import checkpoint, predict
from mpignn.train.edge_task import make_edge_task
from mpignn.train.goal import Goal, find_goal
from mpignn.train.learner import Learner
from mpignn.train.learnt_rows import LearntRows, make_embeddings
from mpignn.train.link_task import make_link_task
from mpignn.train.loop import evaluate, fit
from mpignn.train.network import Inputs, Network
from mpignn.train.node_task import make_node_task
from mpignn.train.report import Report, RunReport, report_evaluation
from mpignn.train.task import Task

log = logging.getLogger(__name__)

TRAINED = "trained"     # in a run folder, the network with the best parameters
DTYPES = {"fp32": torch.float32, "fp64": torch.float64, "bf16": torch.bfloat16}      # of rows
_PARAMETERS = {**DTYPES, "bf16": torch.float32}


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
        goal = find_goal(config, g.schema, g.service.infos, g.splits)
        task = make_task(goal, g, config)
        _tell(g, task, config)
        learner = None
        if not config.train.data_path_only:
            network = make_network(g, task, config)
            embeddings = list(network.inputs.embeddings.values())
            learner = Learner(network, config.train, g.trainers,
                              LearntRows(embeddings, config, g.trainers.size) if embeddings else None)
    report = RunReport(run_dir, task.metrics) if g.trainers.rank == 0 else Report()
    try:
        fit(g, learner, task, config, report, run_dir)
    finally:
        report.close()
    if learner is not None:
        learner.restore()
        _save_trained(g, learner.network, config, run_dir)


def _save_trained(g: DistGraph, network: Network, config: Config, run_dir: Path) -> None:
    """Keep the network for `evaluate_run` and `infer`.  Collective over the trainers."""
    try:
        checkpoint.save(run_dir / TRAINED, 0, g, network=network)
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
        DataError: On all trainers: the run has no trained network, or one of another graph.
    """
    task, network = _trained(g, config, run)
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


def infer(g: DistGraph, config: Config, run: Path, out: Path, split: str) -> None:
    """Write what a run's network says, as `predict.write` does.  Collective over the trainers.

    Args:
        g: The graph.
        config: Settings of the run.
        run: Its folder.
        out: The file.
        split: Of the edges, where the task is about edges.

    Raises:
        DataError: On all trainers: the run has no trained network, or one of another graph.
        ConfigError, ResourceError: On all trainers: the file cannot be written.
    """
    task, network = _trained(g, config, run)
    predict.write(g, task, network, task.all_rows(g, network), split, out)


def _trained(g: DistGraph, config: Config, run: Path) -> tuple[Task, Network]:
    """The task and the network of a run, with the parameters that it ended with.  Collective over the trainers."""
    with phase("load network"):
        task = make_task(find_goal(config, g.schema, g.service.infos, g.splits), g, config)
        network = make_network(g, task, config)
        checkpoint.load(run / TRAINED, g, network=network)
        return task, network.eval()


def make_task(goal: Goal, g: DistGraph, config: Config) -> Task:
    """The task of a goal.  Collective over the trainers.

    Raises:
        ConfigError: Metrics that there are not.
        DataError: On all trainers: labels that cannot be classes.
    """
    if goal.task == "link_prediction":
        return make_link_task(goal, g, config.task)
    make = make_node_task if goal.ntype is not None else make_edge_task
    return make(goal, g, config.task.metrics)


def make_network(g: DistGraph, task: Task, config: Config) -> Network:
    """The network that a task and the settings ask for, with parameters from torch's generator.

    Collective over the trainers.
    """
    precision, widths = config.train.precision, task.goal.columns
    embeddings = make_embeddings(g, config, widths, _PARAMETERS[precision])
    inputs = Inputs(g.schema, task.goal.features, widths, DTYPES[precision], embeddings)
    columns = task.model_columns(config.model.hidden)
    layers = make_model(config.model, g.schema, inputs.columns, columns, config.num_layers)
    task.source_info = layers.needs_source_info
    return Network(inputs, layers, task.make_head(columns)).to(_PARAMETERS[precision])


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

"""The trainer role: build the model that the graph asks for, and train it."""

import logging
from pathlib import Path

import numpy as np
import torch

from mpignn.config import Config
from mpignn.dist.graph import DistGraph
from mpignn.errors import DataError
from mpignn.kernels import dropout, gather, permute, segment
from mpignn.log import phase
from mpignn.mpi.process_group import init_process_group
from mpignn.mpi.world import World
from mpignn.nn import make_model
from mpignn.sampling.neighbor import warm as warm_sampling
from mpignn.train.learner import Learner
from mpignn.train.loop import fit
from mpignn.train.report import Report, RunReport
from mpignn.train.task import NodeClassification, node_classification
from mpignn.transport.api import Request

log = logging.getLogger(__name__)


def warm(config: Config, index_dtypes: set[np.dtype]) -> None:
    """Compile the kernels of a run, or load them from the cache.  Not collective.

    One rank of a node comes first: many that find the cache empty would all compile.
    """
    torch.set_num_threads(1)
    with phase("compile kernels"):
        warm_sampling(index_dtypes)
        gather.warm()
        permute.warm()
        dtype = np.float64 if config.train.precision == "fp64" else np.float32
        segment.warm(dtype)
        dropout.warm(dtype)


def start(world: World, config: Config) -> None:
    """Make torch ready: threads, its default process group, its generator.  Collective over the trainers."""
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
        task = node_classification(config.graph.features, config.graph.labels, g.schema, g.service.infos, g.splits)
        _tell(g, task, config)
        classes = _num_classes(g, task)
        learner = None
        if not config.train.data_path_only:
            model = make_model(config.model.model, task.columns, config.model.hidden, classes, config.num_layers,
                               config.model.dropout, config.model.aggregator)
            learner = Learner(model, task, config.train, g.trainers)
    report = RunReport(run_dir) if g.trainers.rank == 0 else Report()
    try:
        fit(g, learner, task, config, report)
    finally:
        report.close()


def _tell(g: DistGraph, task: NodeClassification, config: Config) -> None:
    """Log what is about to happen."""
    fanouts = config.sampling.fanouts
    log.info("%s of %d layer(s), %d training nodes in global batches of %d, fanouts per hop: %s (%d for the seeds)",
             config.model.model, config.num_layers, len(g.split("train", task.ntype)),
             config.global_batch_size(g.trainers.size), ",".join(map(str, reversed(fanouts))), fanouts[-1])


def _num_classes(g: DistGraph, task: NodeClassification) -> int:
    """One more than the largest label in any split.  Collective over the trainers, who look at a share each."""
    labels, _ = g.service.node_data(task.ntype, task.labels)
    problem, largest = None, -1
    for name, ids in g.splits[task.ntype].items():
        mine = ids[g.trainers.rank::g.trainers.size]
        found = np.empty((mine.size, 1), labels.spec.dtype)
        g.service.transport.gather([Request(labels, mine, found)]).wait()
        if mine.size and found.min() < 0:
            orig = np.empty((1, 1), np.int64)
            at = mine[int(np.argmin(found)):][:1]
            g.service.transport.gather([Request(g.service.orig_ids(task.ntype), at, orig)]).wait()
            problem = DataError(f"{task.labels} of {task.ntype} {orig[0, 0]}, in split {name}, is {found.min()}: "
                                "labels are 0 or more; leave unlabelled nodes out of the splits")
        largest = max(largest, int(found.max(initial=-1)))
    if largest >= g.num_nodes(task.ntype):
        problem = DataError(f"{task.labels} of {task.ntype} go up to {largest}, but there are "
                            f"{g.num_nodes(task.ntype)} nodes: these are ids, not classes")
    g.trainers.agree(problem)
    return max(g.trainers.allgather(largest)) + 1

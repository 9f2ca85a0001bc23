"""The trainer role: build the model that the graph asks for, and train it."""

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
from mpignn.train.loop import fit
from mpignn.train.report import Report, RunReport
from mpignn.transport.api import Request


def warm(config: Config, index_dtypes: set[np.dtype]) -> None:
    """Compile the kernels of a run, or load them from the cache.  Not collective.

    One rank of a node comes first: many that find the cache empty would all compile.
    """
    torch.set_num_threads(1)
    with phase("compile kernels"):
        warm_sampling(index_dtypes)
        gather.warm()
        permute.warm()
        dtype = {"fp32": np.dtype(np.float32), "fp64": np.dtype(np.float64)}[config.train.precision]
        segment.warm(dtype)
        dropout.warm(dtype)


def train(world: World, g: DistGraph, config: Config, run_dir: Path) -> None:
    """Train as configured.  Collective over the trainers.

    Raises:
        DataError: The graph lacks the split, features or labels that the configuration names.
        TrainingError: The loss is not finite.
    """
    torch.set_num_threads(world.num_threads)
    with phase("set up training"):
        init_process_group(world)
        model = None
        problem, columns, classes = None, 0, 0
        try:
            columns, classes = _shape(g, config)
        except DataError as error:
            problem = error
        g.trainers.agree(problem)
        classes = max(g.trainers.allgather(classes))
        if not config.train.data_path_only:
            torch.manual_seed(config.train.seed)
            model = make_model(config.model.model, columns, config.model.hidden, classes, config.num_layers,
                               config.model.dropout, config.model.aggregator)
            if config.train.precision == "fp64":
                model = model.double()
    report = RunReport(run_dir) if g.trainers.rank == 0 else Report()
    try:
        fit(g, model, config, report)
    finally:
        report.close()


def _shape(g: DistGraph, config: Config) -> tuple[int, int]:
    """Columns of the features, and one more than the largest label that this trainer looked at.

    The trainers look at a share each of the labels of all splits.
    """
    ntype = g.split_ntype("train")
    features, row_shape = g.service.node_data(ntype, config.graph.features)
    if len(row_shape) != 1 or features.spec.dtype.kind != "f":
        raise DataError(f"node data {config.graph.features!r} of {ntype} is {features.spec.dtype} with rows of shape "
                        f"{row_shape}: the model reads one row of floating-point numbers per node")
    labels, row_shape = g.service.node_data(ntype, config.graph.labels)
    if row_shape != () or labels.spec.dtype.kind not in "iu":
        raise DataError(f"node data {config.graph.labels!r} of {ntype} is {labels.spec.dtype} with rows of shape "
                        f"{row_shape}: a class per node is one whole number")
    largest = -1
    for name, ids in g.splits[ntype].items():
        mine = ids[g.trainers.rank::g.trainers.size]
        found = np.empty((mine.size, 1), labels.spec.dtype)
        g.service.transport.gather([Request(labels, mine, found)]).wait()
        if mine.size and found.min() < 0:
            at = mine[int(np.argmin(found))]
            raise DataError(f"{config.graph.labels} of {ntype} {at} (new id), in split {name}, is {found.min()}: "
                            "labels are 0 or more; leave unlabelled nodes out of the splits")
        largest = max(largest, int(found.max(initial=-1)))
    return features.spec.width, largest + 1

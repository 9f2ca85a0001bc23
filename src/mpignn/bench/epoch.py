"""How long are an epoch of training and an evaluation, what the GNN rules of MLPerf time?

The job is that of `train`, without a run folder.  Beside it stand the products of matrices of an epoch, counted in one
step, at the speed of one large product; what no core of this machine does faster.
"""

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.store.graph import DistGraph
from mpignn.train import api
from mpignn.train.evaluation import evaluate

_PRODUCTS = "products of matrices"
_PARTS = ("sampling", "fetching", "computing", "summing gradients")
_WIDTH = 1024       # of the large product


def measure(g: DistGraph, asked: Asked) -> list[Figure]:
    """Train as configured, an epoch each time, and measure on val if there is such a split.

    Collective over the trainers.

    Raises:
        DataError, TrainingError: As the command `train`.
    """
    config = asked.config
    task = api.make_task(g, config)
    network = api.make_network(g, task, config)
    learner = api.make_learner(g, network, config)
    loader = task.loader(g, config, "train", task.sampler(config.sampling.fanouts, network), config.train.seed,
                         shuffle=True)
    learner.plan((asked.repeats + 1) * len(loader))
    with FlopCounterMode(display=False) as counter:
        for batch in loader:
            learner.step(task, batch, loader.scale)
            break
    flops = counter.get_total_flops() * len(loader)
    took: list[tuple[float, ...]] = []

    def epoch(repeat: int) -> float:
        loader.set_epoch(repeat)
        learner.reset_clock()
        for batch in loader:
            learner.step(task, batch, loader.scale)
            del batch       # its memory serves the next one
        took.append((loader.stats.sample_s, loader.stats.fetch_s, learner.compute_s, learner.sync_s))
        return 1

    def evaluation(_: int) -> float:
        evaluate(g, network, task, config, "val")
        return 1

    things = [Timed("training epoch", "s", epoch, _PRODUCTS if flops else "")]
    if task.seeds(g, "val"):
        things.append(Timed("evaluation", "s", evaluation))
    if flops:
        things.append(_products(flops, api.DTYPES[config.train.precision]))
    whole, *others = time_in_turn(g.trainers, things, asked.repeats)
    slowest = np.max(g.trainers.allgather(took[1:]), axis=0)
    parts = [Figure(f"  {name}", "s", tuple(slowest[:, number].tolist()),
                    whole.limit if name == "computing" else "") for number, name in enumerate(_PARTS)]
    return [whole, *parts, *others]


def _products(flops: int, dtype: torch.dtype) -> Timed:
    """So many operations of products, at the speed of one product, in seconds."""
    left, right, out = (torch.ones(_WIDTH, _WIDTH, dtype=dtype) for _ in range(3))

    def call(_: int) -> float:
        torch.mm(left, right, out=out)
        return 2 * _WIDTH**3 / flops
    return Timed(_PRODUCTS, "s", call)

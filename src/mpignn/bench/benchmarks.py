"""The benchmarks: one record each, for the command and for running them.

No benchmark is imported here: the module `mpignn.bench.NAME` has a function ``measure``, and may import torch.
"""

import enum
from dataclasses import dataclass
from pathlib import Path

from mpignn.config import Config, WorldConfig


class Where(enum.Enum):
    """Who runs ``measure`` of a benchmark, and what it is called with besides `Asked`."""

    GRAPH = "the trainers of a job, with the open graph"
    TRAINERS = "the trainers of a job, with their group"
    RANKS = "all ranks of a job, with the job and the path of the graph"
    ALONE = "one process, which starts jobs, with the path of the graph"


@dataclass(frozen=True)
class Asked:
    """What a benchmark shall do.

    Attributes:
        graph: The graph, or what a graph is made of; None: a synthetic one.
        nodes: Nodes of the synthetic graph.
        repeats: How often each thing is timed.
        parts: Partitions to make, where graphs are cut.
        np: Ranks of the jobs that are started.
        trainers: How many trainers these have, where that changes.
        config: Settings of the job.
        given: Names of the settings that were asked for.
        out: File that the result goes to as JSON; None: it is only told.
    """

    graph: str | None
    nodes: int
    repeats: int
    parts: int
    np: int
    trainers: tuple[int, ...]
    config: Config
    given: frozenset[str]
    out: Path | None


@dataclass(frozen=True)
class Benchmark:
    """What must be known of a benchmark before it runs.

    Attributes:
        name: As the command has it; the module of `mpignn.bench` is called so, too.
        text: What it measures, and beside what.
        where: Who runs it.
        settings: Settings of `mpignn.config` that it depends on.
        takes: What else of `Asked` it depends on, besides graph and repeats.
        reads_features: Whether it reads features of nodes, which the graph must have.
        all_train: Whether all ranks train, unless servers are asked for.
        trains: Whether it trains, so that a graph must be fit for that.
        reads_source: Whether it reads what a graph is made of, and not a partitioned graph.
    """

    name: str
    text: str
    where: Where
    settings: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    reads_features: bool = False
    all_train: bool = False
    trains: bool = False
    reads_source: bool = False


_ROLES = tuple(name for name in WorldConfig.__dataclass_fields__ if name != "device")      # cores are measured
_READS = ("features", "cache", "cache_policy")
_BATCHES = (*_ROLES, "fanouts", "batch_size")

BENCHMARKS = {benchmark.name: benchmark for benchmark in (
    Benchmark("sample", "drawing neighbors, beside reads of memory at random", Where.GRAPH, _BATCHES),
    Benchmark("gather", "feature rows of a batch, beside a plain copy", Where.GRAPH, (*_BATCHES, *_READS),
              reads_features=True),
    Benchmark("load", "loading a graph, beside reading its files", Where.RANKS, _ROLES),
    Benchmark("aggregate", "rows reduced along edges, beside a plain copy and torch", Where.GRAPH,
              (*_BATCHES, "hidden", "heads")),
    Benchmark("allreduce", "sums over the trainers, beside MPI's own", Where.TRAINERS, _ROLES, all_train=True),
    Benchmark("embedding", "learning rows of single nodes, beside a plain copy and torch", Where.GRAPH,
              (*_ROLES, "embed_dim"), all_train=True),
    Benchmark("epoch", "training and evaluation, beside products of matrices", Where.GRAPH,
              (*_BATCHES, *_READS, "global_batch_size", "task", "labels", "model", "hidden", "precision", "prefetch"),
              trains=True),
    Benchmark("partition", "cutting a graph, beside writing as many bytes", Where.RANKS, takes=("parts",),
              all_train=True, reads_source=True),
    Benchmark("startup", "launch to first step, beside importing torch", Where.ALONE, ("fanouts", "hidden"),
              takes=("np",)),
    Benchmark("scale", "an epoch of more and more trainers", Where.ALONE, ("fanouts", "global_batch_size", "hidden"),
              takes=("trainers",)))}

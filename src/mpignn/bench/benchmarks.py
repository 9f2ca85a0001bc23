"""The benchmarks: one record each, for the command and for running them.

No benchmark is imported here: the module `mpignn.bench.NAME` has a function ``measure``, and may import torch.
"""

import enum
from dataclasses import dataclass
from pathlib import Path

from mpignn.config import Config


class Where(enum.Enum):
    """Who runs ``measure`` of a benchmark, and what it is called with besides `Asked`."""

    TRAINERS = "the trainers of a job, with the open graph"
    JOB = "all ranks of a job, with the job and the path of the graph"
    ALONE = "one process, which starts jobs, with the path of the graph"


@dataclass(frozen=True)
class Asked:
    """What a benchmark shall do.

    Attributes:
        graph: The graph, or what a graph is made of; None: a synthetic one.
        nodes: Nodes of the synthetic graph.
        repeats: How often each thing is timed.
        config: Settings of the job.
        given: Names of the settings that were asked for.
        out: File that the result goes to as JSON; None: it is only told.
    """

    graph: str | None
    nodes: int
    repeats: int
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
        settings: Settings of `mpignn.config` that it depends on, besides those of ranks and roles.
        reads_features: Whether it reads features of nodes, which the graph must have.
    """

    name: str
    text: str
    where: Where
    settings: tuple[str, ...] = ()
    reads_features: bool = False


_BATCHES = ("fanouts", "batch_size")

BENCHMARKS = {benchmark.name: benchmark for benchmark in (
    Benchmark("sample", "drawing neighbors, beside reads of memory at random", Where.TRAINERS, _BATCHES),
    Benchmark("gather", "feature rows of a batch, beside a plain copy", Where.TRAINERS, (*_BATCHES, "features"), True))}

